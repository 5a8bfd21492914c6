// compaction.go - the twin of compaction.c and compactor.c: when to compact by hand, on the structures of compaction_stores.go. The
// same entries, the same random numbers, the same rows; see there. What differs: the forwarding table is a Go map, which the
// collector sees, and the tree needs no counts of references.
package main

import (
	"strings"
	"time"
	"unsafe"
)

const (
	kinds    = 16
	ticks    = 80
	perKept  = 8192
	minSaved = 25 // %
)

var sizes = [kinds]int{48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768}

// ---- the compactor ----

type policy struct {
	name  string
	kind  int
	value float64
}

const (
	never = iota
	doubled
	every
	fragmented
)

var policies = []policy{{"never", never, 0}, {"doubled", doubled, 0}, {"every_4", every, 4}, {"every_16", every, 16},
	{"fragmented_25", fragmented, 0.25}, {"fragmented_50", fragmented, 0.5}}

type compactor struct {
	policy
	leastLive, lastTick, lowLive, left uint64
	looked                             bool
	passes, objects, bytes             uint64
	spent                              time.Duration
	forwarding                         map[unsafe.Pointer]unsafe.Pointer
}

func (c *compactor) due(tick, live uint64, at row) bool {
	fragmentation := at.HeapInuse - at.HeapAlloc
	if live < c.lowLive {
		c.lowLive = live
	}
	if !c.looked {
		c.looked = true
		c.left = 0
		if c.passes > 0 {
			c.left = fragmentation
		}
	}
	switch c.kind {
	case doubled:
		from := c.lowLive
		if from < c.leastLive {
			from = c.leastLive
		}
		return live >= 2*from
	case every:
		return float64(tick-c.lastTick) >= c.value
	case fragmented:
		limit := c.value * float64(at.HeapUsage)
		return float64(fragmentation) > limit && float64(fragmentation)-float64(c.left) >= limit/2
	}
	return false
}

func (c *compactor) count(size uintptr) {
	c.objects++
	c.bytes += uint64(size)
}

func (c *compactor) copyPayload(old *payload) *payload {
	c.count(uintptr(old.size))
	moved := newBytes(int(old.size))
	copy(unsafe.Slice((*byte)(unsafe.Pointer(moved)), int(old.size)), old.bytes())
	return moved
}

// ---- a tick ----

type temporary struct {
	payload *payload
	node    *node
}

type variant struct {
	store       store
	compactor   compactor
	temporaries []temporary
	peak        uint64
	sum         [2]uint64
	insertions  uint64
	at          row // the figures after the last collection
}

func keptPerTick() int {
	if small {
		return 32
	}
	return 256
}

func (v *variant) makeEntries(size int) {
	group := perKept / size
	v.temporaries = make([]temporary, keptPerTick()*group)
	for kept := 0; kept < keptPerTick(); kept++ {
		chosen := int(below(uint64(group)))
		for i := 0; i < group; i++ {
			p := newPayload(random(), size)
			if i == chosen {
				v.store.add(p)
			} else {
				v.temporaries[kept*group+i] = temporary{p, new(node)}
			}
		}
	}
	v.insertions += uint64(keptPerTick())
}

func (v *variant) notePeak() {
	if usage := peek().HeapUsage; usage > v.peak {
		v.peak = usage
	}
}

func (v *variant) compactWhenDue(tick int) {
	c := &v.compactor
	live := uint64(v.store.entries())
	if !c.due(uint64(tick), live, v.at) {
		return
	}
	began := time.Now()
	v.store.compact(c)
	c.spent += time.Since(began)
	c.lastTick, c.lowLive, c.looked = uint64(tick), live, false
	c.passes++
	v.notePeak()
	v.at = collected()
}

func (v *variant) playTick(tick int) {
	v.makeEntries(sizes[tick%kinds])
	steady := 0
	if tick >= ticks/2 {
		steady = 1
		v.store.remove(keptPerTick())
	}
	v.store.tick()
	v.notePeak()
	v.temporaries = nil
	v.at = collected()
	v.compactWhenDue(tick)
	v.sum[steady] += v.at.HeapUsage
}

// STRUCTURE/POLICY
func part(name string) {
	structure, policyName, _ := strings.Cut(name, "/")
	v := &variant{}
	c := &v.compactor
	for _, s := range stores {
		if s.name == structure {
			v.store = s.make()
		}
	}
	for _, p := range policies {
		if p.name == policyName {
			c.policy = p
		}
	}
	if v.store == nil || c.name == "" {
		die(1, "there is no variant %s", name)
	}
	c.leastLive = uint64(keptPerTick())
	for tick := 0; tick < ticks; tick++ {
		v.playTick(tick)
		if structure == "list" && tick+1 < ticks {
			add(v.at, name, float64(tick+1), v.store.liveBytes(), "passes=%d", c.passes)
		}
	}
	if v.store.verify() != v.store.entries() {
		die(1, "%s: entries were lost", name)
	}
	add(v.at, name, ticks, v.store.liveBytes(),
		"passes=%d;objects=%d;bytes=%d;ms=%.2f;usage_avg=%d;usage_growing=%d;usage_steady=%d;usage_peak=%d;insertions=%d",
		c.passes, c.objects, c.bytes, float64(c.spent.Nanoseconds())/1e6, (v.sum[0]+v.sum[1])/ticks, v.sum[0]/(ticks/2),
		v.sum[1]/(ticks/2), v.peak, v.insertions)
}

// ---- the finding ----

func judge(i int, p policy) {
	row, neverRow := find(stores[i].name+"/"+p.name, ticks), find(stores[i].name+"/never", ticks)
	saved := func(usage string) float64 { return 100 - 100*row.number(usage)/neverRow.number(usage) }
	growing, steady := saved("usage_growing"), saved("usage_steady")
	row.addExtra("saved=%.1f;saved_growing=%.1f;saved_steady=%.1f", saved("usage_avg"), growing, steady)
	expect(growing > minSaved, "%s saves only %.1f %% while the structure grows", row.Variant, growing)
	if p.kind != doubled {
		expect(steady > minSaved, "%s saves only %.1f %% while the live data stays", row.Variant, steady)
		return
	}
	expect(steady < minSaved, "%s saves %.1f %% while the live data stays", row.Variant, steady)
	copies := row.number("objects") / row.number("insertions")
	expect(copies <= 2*stores[i].objectsPerEntry, "%s copies %.2f objects per entry of %g", row.Variant, copies,
		stores[i].objectsPerEntry)
}

func run() {
	for i, s := range stores {
		for j, p := range policies {
			runParts(s.name + "/" + p.name)
			progress(i*len(policies)+j+1, len(stores)*len(policies))
		}
	}
	for i := range stores {
		for _, p := range policies[1:] {
			judge(i, p)
		}
	}
}

func main() {
	runScenario(&scenario{
		name:     "compaction",
		question: "When should a program compact by hand, and what does it cost against what it wins?",
		workload: "Four structures take one entry of every 8 KiB out of bursts of 16 sizes in turn; they grow, then stay " +
			"the same size while entries come and go.",
		metric: "Heap usage after each tick, averaged and peak, against the objects and bytes copied and the time.",
		finding: "Compacting when the live count has doubled costs at most two copies per entry and helps while a " +
			"structure grows, but not while its length stays the same; every so many ticks, or by the share of max " +
			"fragmentation, helps in both.",
		run:  run,
		part: part,
	})
}
