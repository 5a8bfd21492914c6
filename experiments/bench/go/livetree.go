// livetree.go - the Go twin of livetree.c, without --stores: longest gap in the loop of a program that
// replaces random subtrees of a large live tree and drops short-lived objects.
package main

import (
	"runtime"
	"time"
)

const (
	subtreeLevels = 4
	subtreeNodes  = 1<<subtreeLevels - 1
)

type node struct {
	left, right *node
	id, check   uint64
}

var (
	root                         *node
	levels, ops, churn, rate, ms uint64
	seed                         = uint64(1)
	gapTimes, delays             gaps
)

func build(levels, id uint64) *node {
	n := &node{id: id, check: ^id}
	if levels > 1 {
		n.left = build(levels-1, 2*id)
		n.right = build(levels-1, 2*id+1)
	}
	return n
}

// Not inlined: the object would otherwise stay on the stack.
//
//go:noinline
func newNode() *node { return new(node) }

func operate() {
	path := random(&seed)
	n := root
	for steps := levels - subtreeLevels; steps > 1; steps-- {
		if path&1 != 0 {
			n = n.right
		} else {
			n = n.left
		}
		path >>= 1
	}
	if path&1 != 0 {
		n.right = build(subtreeLevels, n.right.id)
	} else {
		n.left = build(subtreeLevels, n.left.id)
	}
	for i := uint64(0); i < churn; i++ {
		newNode().id = i
	}
}

func verify(n *node, levels, id uint64) {
	if n == nil || n.id != id || n.check != ^id {
		fail("a node was lost")
	}
	if levels > 1 {
		verify(n.left, levels-1, 2*id)
		verify(n.right, levels-1, 2*id+1)
	}
}

func numGC() uint32 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.NumGC
}

func rowGaps(workload string, before uint32) {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	var longest uint64
	for n := before; n < stats.NumGC; n++ {
		if pause := stats.PauseNs[n%256]; pause > longest {
			longest = pause
		}
	}
	row(workload+"_gap", float64(gapTimes.max)/1e6, "ms")
	row(workload+"_stopped", float64(longest)/1e6, "ms")
	row(workload+"_cycles", float64(stats.NumGC-before), "cycles")
}

func runFullSpeed(buildSeconds float64) {
	before := numGC()
	start := time.Now()
	gapTimes.start()
	for i := uint64(0); i < ops; i++ {
		operate()
		gapTimes.tick()
	}
	elapsed := seconds(start)
	rowGaps("livetree", before)
	row("livetree_gap_p9999", float64(gapTimes.quantile(0.9999))/1e3, "us")
	row("livetree_time", elapsed, "s")
	row("livetree_build", buildSeconds, "s")
}

func paced(ns uint64) {
	gapTimes.start()
	delays.start()
	due := gapTimes.last
	for now, end := due, due+ns; now < end; now = gapTimes.tick() {
		if now < due {
			continue
		}
		operate()
		delays.add(nowNs() - due)
		due += 1000000000 / rate
	}
}

func runPaced() {
	before := numGC()
	start := time.Now()
	paced(ms * 1000000)
	elapsed := seconds(start)
	rowGaps("paced", before)
	row("paced_delay_p9999", float64(delays.quantile(0.9999))/1e3, "us")
	row("paced_rate", float64(delays.count)/elapsed/1e3, "kop/s")
}

func main() {
	parse(option{"--levels", &levels, 25, 17, 6, 32}, option{"--ops", &ops, 6000000, 100000, 8, 100000000000},
		option{"--churn", &churn, 16, 16, 0, 10000}, option{"--rate", &rate, 0, 0, 1, 10000000},
		option{"--ms", &ms, 40000, 200, 10, 10000000})
	start := time.Now()
	root = build(levels, 1)
	buildSeconds := seconds(start)
	runtime.GC()
	for made := uint64(0); made < 5<<levels>>2; made += subtreeNodes + churn {
		operate()
	}
	if rate != 0 {
		runPaced()
	} else {
		runFullSpeed(buildSeconds)
	}
	verify(root, levels, 1)
}
