// steps.go - the Go twin of steps.c: every k-th of many objects kept, beside what the slots of a span predict.
// The formula is explained in geometry.c.
package main

import (
	"fmt"
	"math"
	"runtime"
)

const (
	allBytes = 16 << 20
	maxOff   = 0.10 // MiB, as in article.h
)

var (
	slice, kept []*byte
	sizes       = []int{8, 16, 24, 32, 48, 64, 96, 128, 256, 512, 1024, 2048}
	steps       = []int{1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192}
	fewSizes    = []int{8, 16, 48, 2048}
	fewSteps    = []int{1, 16, 128, 256, 512, 1024, 2048, 8192}
	// The article's step table: heapUsage and maxFragmentation minus baseline, MiB (article.c has the source).
	article = map[int][2]float64{128: {16.07, 15.88}, 256: {16.03, 15.94}, 512: {16.00, 15.94}, 1024: {8.04, 8.00}, 2048: {4.03, 3.99}}
)

func keepEvery(n, size, step int) {
	slice = make([]*byte, n)
	for i := range slice {
		slice[i] = &make([]byte, size)[0]
	}
	kept = make([]*byte, (n+step-1)/step)
	for i := range kept {
		kept[i] = slice[i*step]
	}
	slice = nil
}

func runRow(part string) {
	var size, step int
	fmt.Sscanf(part, "%d/%d", &size, &step)
	base := *measure("base", 0, 0, "")
	rows = nil
	keepEvery(allBytes/size, size, step)
	measure(fmt.Sprintf("size=%d", size), float64(step), uint64(len(kept)*size), "base_alloc=%d;base_inuse=%d;base_usage=%d",
		base.HeapAlloc, base.HeapInuse, base.HeapUsage)
	runtime.KeepAlive(kept)
}

// predict returns the bytes in use and allocated. All the sizes here are classes of their own with one-page spans; those
// under 16 bytes share blocks of 16.
func predict(size, step int) (inuse, alloc float64) {
	const page = 8192
	n, share, slot := allBytes/size, 1, size
	if size < 16 {
		slot, share = 16, 16/size
	}
	count := (n + step - 1) / step
	last, perSpan := (count-1)*step, page/slot*share
	live, spans := count, count
	if step <= share {
		live = last/share + 1
	}
	if step <= perSpan {
		spans = last/perSpan + 1
	}
	return float64(spans * page), float64(live * slot)
}

func off(a, b float64) bool { return math.Abs(a-b) > maxOff }

// compare holds a row against the prediction. The array of the kept addresses is large, or smaller than the tolerance.
func compare(r *row, size, step int) {
	usage := (float64(r.HeapUsage) - r.number("base_usage")) / mib
	inuse := (float64(r.HeapInuse) - r.number("base_inuse")) / mib
	alloc := (float64(r.HeapAlloc) - r.number("base_alloc")) / mib
	spans, slots := predict(size, step)
	array := float64((allBytes/size+step-1)/step*8) / mib
	r.addExtra("usage_mib=%.3f;fragmentation_mib=%.3f;predicted_usage_mib=%.3f;predicted_fragmentation_mib=%.3f", usage,
		inuse-alloc, spans/mib+array, (spans-slots)/mib)
	expect(!off(inuse, spans/mib+array) && !off(inuse-alloc, (spans-slots)/mib),
		"size %d, step %d: in use %.2f, fragmentation %.2f MiB, predicted %.2f and %.2f", size, step, inuse, inuse-alloc,
		spans/mib+array, (spans-slots)/mib)
	if row, ok := article[step]; ok && size == 16 {
		r.addExtra("article_usage_mib=%.2f;article_fragmentation_mib=%.2f", row[0], row[1])
		expect(!off(usage, row[0]) && !off(inuse-alloc, row[1]), "step %d: usage %.2f and fragmentation %.2f MiB, the article has %.2f and %.2f",
			step, usage, inuse-alloc, row[0], row[1])
	}
}

func runCurve() {
	if small {
		sizes, steps = fewSizes, fewSteps
	}
	for i, size := range sizes {
		for j, step := range steps {
			runParts(fmt.Sprintf("%d/%d", size, step))
			compare(rows[len(rows)-1], size, step)
			progress(i*len(steps)+j+1, len(sizes)*len(steps))
		}
	}
}

func main() {
	runScenario(&scenario{
		name:     "steps",
		question: "How much memory do survivors hold when every k-th object of a size is kept, and can it be predicted?",
		workload: "16 MiB of objects of one size without pointers, one after the other into an empty heap; then all but every k-th are dropped; a process for each size and k.",
		metric:   "heap in use and heap in use minus heap allocated, both minus the empty heap's.",
		finding:  "With m objects in a span, min(n / m, n / k) of the spans survive, each 1 / min(k, m) full; each row is within 0.10 MiB of that and of the article's.",
		run:      runCurve,
		part:     runRow,
	})
}
