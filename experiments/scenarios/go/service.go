// service.go - the Go twin of service.c: the same bursts, entries and limits. Go's memory limit is soft, so memory counts
// as refused when the heap is still above the limit after a collection that gave all free memory back.
package main

import (
	"math"
	"runtime"
	"runtime/debug"
)

const (
	requestCount = 4
	favourites   = 3
	slices       = 4
	keep         = 6
	keepSize     = 256
	keepBytes    = 1023
	runBytes     = 1024
	together     = "together"
	taskAlone    = "separated_task"
	serviceAlone = "separated_service"
)

var objectSizes = []int{32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320,
	384, 448, 512, 640, 768, 1024, 1280, 1536, 2048, 3072, 4096, 8192}

type burst struct {
	objects              []*byte
	bytes, target        int
	keepAt, mayKeep, run int
	favourites           [favourites]int
}

type sizing struct {
	entries, entryBytes, requestBytes, servedPerEntry int
	taskLimit, serviceLimit                           int64
}

var (
	size      sizing
	entry     burst
	requests  [requestCount]burst
	kept      []*byte
	keptBytes int
	served    int
)

func readSizing() sizing {
	if small {
		return sizing{10000, 64 << 10, 4 << 20, 128 << 10, 11 << 20, 20 << 20}
	}
	return sizing{50000, 128 << 10, 10 << 20, 256 << 10, 48 << 20, 48 << 20}
}

func anySize() int { return objectSizes[below(uint64(len(objectSizes)))] }

func (b *burst) begin(target int) {
	*b = burst{target: target, mayKeep: keepBytes, keepAt: int(below(uint64(2 * target / keep)))}
	for i := range b.favourites {
		b.favourites[i] = anySize()
	}
}

func (b *burst) allocate(size int, task bool) {
	object := &make([]byte, size)[0]
	if task && b.bytes >= b.keepAt && size <= keepSize && size <= b.mayKeep {
		b.keepAt += int(below(uint64(2 * b.target / keep)))
		b.mayKeep -= size
		keptBytes += size
		kept = append(kept, object)
		return
	}
	b.bytes += size
	b.objects = append(b.objects, object)
}

func (b *burst) advance(bytes int, task bool) {
	for end := b.bytes + bytes; b.bytes < end; b.run++ {
		size := 0
		if which := b.run % (favourites + 1); which < favourites {
			size = b.favourites[which]
		} else {
			size = anySize()
		}
		for done := 0; done < runBytes; done += size {
			b.allocate(size, task)
		}
	}
}

func serve(bytes int) {
	for i := range requests {
		r := &requests[i]
		if r.bytes >= r.target {
			r.begin(size.requestBytes)
			served++
		}
		r.advance(bytes/requestCount, false)
	}
}

func oneEntry(task, service bool) {
	if task {
		entry.begin(size.entryBytes)
	}
	for slice := 0; slice < slices; slice++ {
		if task {
			entry.advance(size.entryBytes/slices, true)
		}
		if service {
			serve(size.servedPerEntry / slices)
		}
	}
	entry = burst{}
}

func limitOf(variant string) int64 {
	switch variant {
	case taskAlone:
		return size.taskLimit
	case serviceAlone:
		return size.serviceLimit
	}
	return size.taskLimit + size.serviceLimit
}

// The limit is for the heap: Go's own counts the runtime's needs, too, which are added to it.
func used() (heap, runtimeOwn int64) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapSys - m.HeapReleased), int64(m.Sys - m.HeapSys)
}

func isOver(limit int64) bool {
	heap, own := used()
	debug.SetMemoryLimit(limit + own)
	if heap <= limit {
		return false
	}
	debug.FreeOSMemory()
	heap, _ = used()
	return heap > limit
}

func addRow(variant string, done int, refused bool) {
	bytes, flag := keptBytes+entry.bytes, 0
	for i := range requests {
		bytes += requests[i].bytes
	}
	if refused {
		flag = 1
	}
	measure(variant, float64(done), uint64(bytes), "kept=%d;served=%d;refused=%d", keptBytes, served, flag)
}

func runPart(variant string) {
	size = readSizing()
	task, service := variant != serviceAlone, variant != taskAlone
	limit, count := limitOf(variant), 100
	if small {
		count = 25
	}
	for i := range requests {
		requests[i].begin(size.requestBytes * (i + 1) / requestCount)
	}
	isOver(limit)
	addRow(variant, 0, false)
	for done, refused := 0, false; done < size.entries && !refused; {
		oneEntry(task, service)
		refused = done%20 == 0 && isOver(limit)
		if !refused {
			done++
		}
		if refused || done%(size.entries/count) == 0 {
			addRow(variant, done, refused)
		}
	}
	runtime.KeepAlive(kept)
}

func meanFragmentation(variant string, from, to float64) float64 {
	sum, count := 0.0, 0
	for _, r := range rows {
		if r.Variant == variant && r.T > from && r.T <= to {
			sum += r.fragmentation()
			count++
		}
	}
	return sum / math.Max(float64(count), 1)
}

func lastRow(variant string) *row {
	var last *row
	for _, r := range rows {
		if r.Variant == variant {
			last = r
		}
	}
	return last
}

func check() {
	end, limit := lastRow(together), float64(limitOf(together))
	expect(end.number("refused") == 1, "together: %.0f entries done, and the limit was not hit", end.T)
	expect(float64(end.Live) < 0.75*limit, "together: at the limit, %.1f of %.1f MiB were live, so it was not fragmentation",
		float64(end.Live)/mib, limit/mib)
	for _, variant := range []string{taskAlone, serviceAlone} {
		last := lastRow(variant)
		expect(last.number("refused") == 0, "%s: hit its limit after %.0f entries", variant, last.T)
	}
	all := float64(size.entries)
	early, late := meanFragmentation(serviceAlone, 0, all/4), meanFragmentation(serviceAlone, all*3/4, all)
	expect(late <= 1.5*early, "separated_service: fragmentation grew from %.1f to %.1f MiB", early, late)
	expect(2*late <= meanFragmentation(together, end.T*3/4, end.T), "fragmentation late on: together %.1f MiB, the service alone %.1f",
		meanFragmentation(together, end.T*3/4, end.T), late)
}

func runAll() {
	size = readSizing()
	runParts(together, taskAlone, serviceAlone)
	for _, variant := range []string{together, taskAlone, serviceAlone} {
		lastRow(variant).addExtra("limit=%d", limitOf(variant))
	}
	check()
	progress(1, 1)
}

func main() {
	runScenario(&scenario{
		name:     "service",
		question: "Why does a service run out of memory beside a task that keeps next to nothing, and does separating them help?",
		workload: "A task of 50,000 entries that each keep under 1 KiB out of a burst, beside requests of 10 MiB bursts, four at a time: in one process under a memory limit, then in two that share the limit.",
		metric:   "heap usage, live bytes and fragmentation over the entries done.",
		finding:  "Together, memory is refused while under three quarters of the limit are live; apart, both finish in the same memory, and the fragmentation of the service does not grow.",
		run:      runAll,
		part:     runPart,
	})
}
