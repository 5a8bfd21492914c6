// examples.go - the twin of examples.c: Examples 1 to 4 of "Memory Fragmentation in Go", a process for each; see there. The
// figures to compare with are the article's (experiments/examples/article.c has the source).
package main

import (
	"fmt"
	"math"
	"runtime"
)

const (
	count    = 1 << 20
	newCount = 1 << 19
	step     = 512
	maxOff   = 0.10 // MiB, as in article.h
)

type tiny [16]byte
type medium [32]byte

var (
	array  []tiny
	slice  []*tiny
	kept   []*tiny
	more   []*medium
	object *tiny
	label  string
	phase  int
	// Per example and phase: usage and fragmentation, MiB.
	article = map[string][][2]float64{
		"example 1": {{0.41, 0.24}, {16.41, 0.24}, {16.41, 0.24}, {0.41, 0.24}},
		"example 2": {{0.44, 0.27}, {24.44, 0.26}, {0.45, 0.27}},
		"example 3": {{0.41, 0.25}, {24.41, 0.24}, {16.41, 16.19}, {36.39, 16.17}},
		"example 4": {{0.41, 0.24}, {16.42, 16.20}, {0.47, 0.25}},
	}
)

func addPhase(live uint64) {
	phase++
	measure(label, float64(phase), live, "")
}

func allocate() {
	slice = make([]*tiny, count)
	for i := range slice {
		slice[i] = new(tiny)
	}
}

func keepEvery() {
	kept = make([]*tiny, count/step)
	for i := range kept {
		kept[i] = slice[i*step]
	}
	slice = nil
}

const (
	objects   = count * 16
	pointers  = count * 8
	survivors = count / step * (16 + 8)
)

func example1() {
	array = make([]tiny, count)
	addPhase(objects)
	object, array = &array[0], nil
	addPhase(objects)
	object = nil
	addPhase(0)
}

func example2() {
	allocate()
	addPhase(objects + pointers)
	object, slice = slice[0], nil
	addPhase(16)
}

func example3() {
	allocate()
	addPhase(objects + pointers)
	keepEvery()
	addPhase(survivors)
	more = make([]*medium, newCount)
	for i := range more {
		more[i] = new(medium)
	}
	addPhase(survivors + newCount*(32+8))
}

func example4() {
	allocate()
	keepEvery()
	addPhase(survivors)
	for i, old := range kept {
		kept[i] = new(tiny)
		*kept[i] = *old
	}
	addPhase(survivors)
}

func runExample(which string) {
	label = "example " + which
	collected() // what the first reading needs is there
	addPhase(0)
	map[string]func(){"1": example1, "2": example2, "3": example3, "4": example4}[which]()
	runtime.KeepAlive([]any{array, slice, kept, more, object})
}

func runAll() {
	runParts("1", "2", "3", "4")
	for _, r := range rows {
		if r.T == 1 {
			continue
		}
		base, figures := find(r.Variant, 1), article[r.Variant]
		usage := (float64(r.HeapUsage) - float64(base.HeapUsage)) / mib
		fragmentation := r.fragmentation() - base.fragmentation()
		theirs := figures[int(r.T)-1]
		theirUsage, theirFragmentation := theirs[0]-figures[0][0], theirs[1]-figures[0][1]
		r.addExtra("usage_mib=%.2f;fragmentation_mib=%.2f;article_usage_mib=%.2f;article_fragmentation_mib=%.2f", usage,
			fragmentation, theirUsage, theirFragmentation)
		expect(math.Abs(usage-theirUsage) <= maxOff && math.Abs(fragmentation-theirFragmentation) <= maxOff, "%s",
			fmt.Sprintf("%s, phase %.0f: usage %.2f and fragmentation %.2f MiB more than at first, the article has %.2f and %.2f",
				r.Variant, r.T, usage, fragmentation, theirUsage, theirFragmentation))
	}
}

func main() {
	runScenario(&scenario{
		name:     "examples",
		question: "What do the article's four examples hold on each allocator, and what does compaction by hand win?",
		workload: "2^20 objects of 16 bytes: one array with an address kept inside it (1), one by one and one kept (2), every 512th kept and another size allocated (3), every 512th kept and copied (4).",
		metric:   "heap usage and heap in use minus heap allocated at each phase, minus those of phase 1.",
		finding:  "Every phase is within 0.10 MiB of the article's: 16 MiB held by one address or by every 512th object, almost nothing after compaction.",
		run:      runAll,
		part:     runExample,
	})
}
