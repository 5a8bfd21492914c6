// tiny.go - the twin of tiny.c: tiny blocks, objects of size 0, what rounding to size classes wastes, large buffers with and
// without a pool. The same objects, the same random numbers, the same rows; see there.
//
// Go puts every object under 16 bytes without pointers into a block shared with others. Without tiny blocks, in mix/slots and
// in the histogram, such an object is therefore made as one or two pointers: the smallest object of Go's that has a slot of its
// own, and in the same size class.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"os"
	"runtime"
	"sort"
	"strconv"
	"syscall"
	"time"
	"unsafe"
)

const (
	inUse    = 8
	largeMin = 64 << 10
	largeMax = 1 << 20
	mixBytes = 1 + 2 + 8
	maxLine  = 4096
	maxSize  = 64 << 20
	// Bytes that the runtime may allocate meanwhile for itself.
	slack = 4096
)

var (
	mix     = [3]int{1, 2, 8}
	objects []unsafe.Pointer
	ones    [largeMax]byte
)

func newTiny(size int) unsafe.Pointer { return unsafe.Pointer(&make([]byte, size)[0]) }

// In a slot of its own.
func newSlot(size int) unsafe.Pointer {
	switch {
	case size <= 8:
		return unsafe.Pointer(new(*byte))
	case size < 16:
		return unsafe.Pointer(new([2]*byte))
	}
	return newTiny(size)
}

// Append makes the capacity what the allocator would waste anyway.
func slotBytes(size int) int { return cap(append([]byte(nil), make([]byte, size)...)) }

func used(after, before row) float64 {
	return math.Max(0, float64(after.HeapAlloc)-float64(before.HeapAlloc))
}

// ---- the mix ----

func measureMix(variant string, make func(int) unsafe.Pointer, expected float64) {
	n := 3 << 18
	if small {
		n = 3 << 14
	}
	objects = newPointers(n)
	before := collected()
	for i := range objects {
		objects[i] = make(mix[i%len(mix)])
	}
	after := collected()
	asked := float64(n / len(mix) * mixBytes)
	taken := used(after, before)
	utilisation := 100 * asked / taken
	add(after, variant, float64(n), uint64(n*8)+uint64(asked), "asked=%.0f;used=%.0f;utilisation=%.2f", asked, taken, utilisation)
	expect(math.Abs(asked/taken-expected)*taken < slack, "%s: the utilisation is %.2f %%, not %.2f %%", variant, utilisation,
		100*expected)
	objects = nil
}

func newPointers(n int) []unsafe.Pointer { return make([]unsafe.Pointer, n) }

// ---- size 0 ----

func measureZero() {
	n := 1 << 20
	if small {
		n = 1 << 16
	}
	objects = newPointers(n)
	before := collected()
	addresses := 1
	for i := range objects {
		if i%2 == 1 {
			objects[i] = unsafe.Pointer(new([0]*byte))
		} else {
			objects[i] = unsafe.Pointer(new([0]byte))
		}
		if i > 0 && objects[i] != objects[i-1] {
			addresses++
		}
	}
	after := collected()
	add(after, "zero", float64(n), uint64(n*8), "addresses=%d;used=%.0f", addresses, used(after, before))
	expect(addresses == 1 && used(after, before) < slack, "objects of size 0 have %d addresses and take %.0f bytes", addresses,
		used(after, before))
	objects = nil
}

// ---- classes ----

type line struct{ size, count uint64 }

// As histogram.c has it.
var histogram = []line{
	{2, 235}, {8, 479}, {16, 502}, {24, 943}, {27, 30}, {28, 33}, {32, 42}, {40, 48}, {48, 294},
	{56, 259}, {60, 50}, {64, 262}, {65, 59}, {107, 33}, {108, 38}, {111, 41}, {112, 44}, {113, 33},
	{114, 49}, {121, 44}, {123, 31}, {124, 34}, {128, 47}, {176, 38}, {184, 31}, {192, 37}, {208, 61},
	{256, 71}, {272, 35}, {304, 31}, {336, 41}, {368, 35}, {400, 30}, {408, 58}, {432, 42}, {464, 53},
	{512, 111}, {576, 32}, {688, 34}, {816, 43}, {856, 31}, {880, 38}, {912, 37}, {1024, 156}, {1472, 30},
	{2048, 133}, {4096, 58}, {7160, 349}, {32768, 103}}

var histogramPath *string

func parseLine(fields [][]byte) (l line, wrong string) {
	if len(fields) != 2 {
		return l, "not two whole numbers, size and count"
	}
	for i, to := range []*uint64{&l.size, &l.count} {
		var err error
		if *to, err = strconv.ParseUint(string(fields[i]), 10, 64); err != nil {
			return l, "not two whole numbers, size and count"
		}
	}
	if l.size == 0 || l.size > maxSize {
		return l, "the size is not between 1 and 64 MiB"
	}
	if l.count == 0 {
		return l, "the count is 0"
	}
	return l, ""
}

func readHistogram(path string) {
	text, err := os.ReadFile(path)
	if err != nil {
		die(2, "--histogram %v", err)
	}
	histogram = nil
	total := 0.0
	for i, at := range bytes.Split(text, []byte("\n")) {
		fields := bytes.Fields(at)
		if len(fields) == 0 || fields[0][0] == '#' {
			continue
		}
		l, wrong := parseLine(fields)
		total += float64(l.size) * float64(l.count)
		if wrong == "" && len(histogram) == maxLine {
			wrong = "more than 4096 lines with sizes"
		}
		if wrong == "" && total > 1<<60 {
			wrong = "more than 2^60 bytes up to here"
		}
		if wrong != "" {
			die(2, "--histogram %s: line %d: %s", path, i+1, wrong)
		}
		histogram = append(histogram, l)
	}
	if len(histogram) == 0 {
		die(2, "--histogram %s: no line with a size and a count", path)
	}
}

type classUse struct{ slot, objects, asked uint64 }

func waste(asked, taken uint64) float64 { return 100 - 100*float64(asked)/float64(taken) }

// sumClasses returns the classes by slot, and all of them as one with the bytes of all slots in slot.
func sumClasses() (classes []*classUse, all classUse) {
	bySlot := map[uint64]*classUse{}
	for _, l := range histogram {
		slot := uint64(slotBytes(int(l.size)))
		c := bySlot[slot]
		if c == nil {
			c = &classUse{slot: slot}
			bySlot[slot] = c
			classes = append(classes, c)
		}
		c.objects += l.count
		c.asked += l.count * l.size
		all.objects += l.count
		all.asked += l.count * l.size
		all.slot += l.count * slot
	}
	sort.Slice(classes, func(i, j int) bool { return classes[i].slot < classes[j].slot })
	return classes, all
}

// How many objects of a line are made, so that all together take some 64 MiB.
func scaled(l line, total uint64) int {
	bytes := 64 << 20
	if small {
		bytes = 8 << 20
	}
	return int(float64(l.count) * (float64(bytes) / float64(total)))
}

func measureClasses() {
	classes, all := sumClasses()
	count, predicted := 0, uint64(0)
	for _, l := range histogram {
		count += scaled(l, all.slot)
		predicted += uint64(scaled(l, all.slot) * slotBytes(int(l.size)))
	}
	objects = newPointers(count + 1)
	before := collected()
	made := 0
	for _, l := range histogram {
		for n := scaled(l, all.slot); n > 0; n-- {
			objects[made] = newSlot(int(l.size))
			made++
		}
	}
	after := collected()
	for _, c := range classes {
		add(after, fmt.Sprintf("class %d", c.slot), float64(c.slot), c.asked, "objects=%d;asked=%d;slots=%d;waste=%.2f", c.objects,
			c.asked, c.objects*c.slot, waste(c.asked, c.objects*c.slot))
	}
	taken := used(after, before)
	add(after, "classes", 0, all.asked, "objects=%d;asked=%d;slots=%d;waste=%.2f;predicted=%d;used=%.0f", all.objects, all.asked,
		all.slot, waste(all.asked, all.slot), predicted, taken)
	if predicted > 0 {
		off := 100 * (taken/float64(predicted) - 1)
		expect(math.Abs(off) < 0.1, "the histogram takes %.2f %% more bytes than its size classes say", off)
	}
	objects = nil
}

// ---- large buffers ----

func faults() uint64 {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return uint64(usage.Minflt)
}

func cycles() uint32 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.NumGC
}

func uses() int {
	if small {
		return 1000
	}
	return 10000
}

var buffers [inUse][]byte

func runLarge(variant string) {
	var pool [][]byte
	pooled, made, madeBytes := variant == "large/pool", 0, uint64(0)
	began, cyclesBefore, faultsBefore := time.Now(), cycles(), faults()
	for i := 0; i < uses(); i++ {
		size := largeMin + int(below(largeMax-largeMin+1))
		at := &buffers[i%inUse]
		if pooled && *at != nil {
			pool = append(pool, *at)
		}
		*at = nil
		if len(pool) > 0 {
			*at, pool = pool[len(pool)-1], pool[:len(pool)-1]
		} else {
			room := size
			if pooled {
				room = largeMax
			}
			*at = make([]byte, room)
			made++
			madeBytes += uint64(room)
		}
		copy((*at)[:size], ones[:])
	}
	ms := float64(time.Since(began).Nanoseconds()) / 1e6
	faulted := (faults() - faultsBefore) * uint64(os.Getpagesize())
	live := madeBytes
	if live > inUse*largeMax {
		live = inUse * largeMax
	}
	add(peek(), variant, float64(uses()), live, "allocations=%d;bytes=%d;faulted=%d;cycles=%d;ms=%.1f", made, madeBytes, faulted,
		cycles()-cyclesBefore, ms)
	runtime.KeepAlive(buffers)
}

func measureLarge() {
	runParts("large/fresh")
	runParts("large/pool")
	fresh, pool := find("large/fresh", float64(uses())), find("large/pool", float64(uses()))
	expect(fresh.number("allocations") == float64(uses()) && pool.number("allocations") == inUse,
		"the pool made %g buffers for %d uses", pool.number("allocations"), uses())
	expect(pool.number("faulted") <= fresh.number("faulted"), "the pool touches more fresh memory")
}

func runAll() {
	if *histogramPath != "" {
		readHistogram(*histogramPath)
	}
	measureMix("mix/tiny", newTiny, 11.0/16)
	measureMix("mix/slots", newSlot, 11.0/24)
	progress(1, 4)
	measureZero()
	measureClasses()
	progress(2, 4)
	measureLarge()
	progress(4, 4)
}

func main() {
	for i := range ones {
		ones[i] = 1
	}
	runScenario(&scenario{
		name:     "tiny",
		question: "What do the smallest, the empty, the rounded and the largest objects cost?",
		workload: "Objects of 1, 2 and 8 bytes; of size 0; of the sizes of a histogram; large buffers used once each.",
		metric:   "Bytes asked for against bytes of slots; allocations, bytes faulted in and time of large buffers.",
		finding:  "Tiny blocks raise the utilisation of the mix from 45.83 % to 68.75 %; all objects of size 0 are one address and take nothing; a histogram takes what its size classes say; a pool makes eight large buffers, not one per use.",
		run:      runAll,
		part:     runLarge,
		options: func(flags *flag.FlagSet) {
			histogramPath = flags.String("histogram", "", "lines \"size count\" for the waste per size class (built in: those of a git log)")
		},
	})
}
