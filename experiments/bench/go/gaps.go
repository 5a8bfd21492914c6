// gaps.go - the Go twin of gaps.h: the times between consecutive moments of a loop, in a histogram of 16
// buckets per power of two.
package main

import (
	"math/bits"
	"time"
)

const gapFine = 16

type gaps struct {
	last, count, max uint64
	buckets          [64 * gapFine]uint64
}

var programStart = time.Now()

// Monotonic, as CLOCK_MONOTONIC in C.
func nowNs() uint64 { return uint64(time.Since(programStart)) }

func (g *gaps) start() {
	*g = gaps{}
	g.last = nowNs()
}

func (g *gaps) add(ns uint64) {
	bucket := ns
	if ns >= gapFine {
		shift := uint64(bits.Len64(ns) - 5)
		bucket = shift*gapFine + ns>>shift
	}
	g.buckets[bucket]++
	g.count++
	if ns > g.max {
		g.max = ns
	}
}

func (g *gaps) tick() uint64 {
	now := nowNs()
	g.add(now - g.last)
	g.last = now
	return now
}

func bucketEnd(bucket uint64) uint64 {
	if bucket < 2*gapFine {
		return bucket
	}
	return (bucket%gapFine+gapFine+1)<<(bucket/gapFine-1) - 1
}

func (g *gaps) quantile(share float64) uint64 {
	above := g.count - uint64(float64(g.count)*share)
	for bucket := uint64(len(g.buckets)); bucket > 0; bucket-- {
		n := g.buckets[bucket-1]
		if n > above {
			if end := bucketEnd(bucket - 1); end < g.max {
				return end
			}
			return g.max
		}
		above -= n
	}
	return g.max
}
