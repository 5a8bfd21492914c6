// marktree.go - the Go twin of marktree.c: time of runtime.GC() with one live tree of 32-byte nodes.
package main

import (
	"runtime"
	"runtime/debug"
	"sort"
	"time"
)

const passes = 5

type node struct {
	left, right *node
	id, zero    uint64
}

var root *node

func buildDFS(levels uint64, nextID *uint64) *node {
	n := &node{id: *nextID}
	*nextID++
	if levels > 1 {
		n.left = buildDFS(levels-1, nextID)
		n.right = buildDFS(levels-1, nextID)
	}
	return n
}

// The slice is garbage on return; the first of the measured collections frees it.
func buildRandom(count uint64) *node {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	nodes := make([]*node, count)
	for i := range nodes {
		nodes[i] = &node{id: uint64(i)}
	}
	seed := uint64(1)
	for i := count - 1; i > 0; i-- {
		j := random(&seed) % (i + 1)
		nodes[i], nodes[j] = nodes[j], nodes[i]
	}
	for i := uint64(0); 2*i+2 < count; i++ {
		nodes[i].left, nodes[i].right = nodes[2*i+1], nodes[2*i+2]
	}
	return nodes[0]
}

func (n *node) countAndSum(sum *uint64) uint64 {
	*sum += n.id
	if n.left == nil {
		return 1
	}
	return 1 + n.left.countAndSum(sum) + n.right.countAndSum(sum)
}

func collectMs() float64 {
	var ms []float64
	for i := 0; i < passes; i++ {
		start := time.Now()
		runtime.GC()
		ms = append(ms, seconds(start)*1e3)
	}
	sort.Float64s(ms)
	return ms[passes/2]
}

func runDFS(levels uint64) {
	var id uint64
	bytes := float64(uint64(32) << levels)
	start := time.Now()
	root = buildDFS(levels, &id)
	build := seconds(start)
	built := rss()
	row("marktree_dfs_mark", collectMs(), "ms")
	row("marktree_dfs_build", build, "s")
	row("marktree_dfs_rss_built", built/bytes, "x")
	row("marktree_dfs_rss_collected", rss()/bytes, "x")
}

func main() {
	var levels, randomLayout uint64
	parse(option{"--levels", &levels, 25, 18, 2, 32}, option{"--random", &randomLayout, 0, 0, 0, 0})
	count := uint64(1)<<levels - 1
	if randomLayout != 0 {
		root = buildRandom(count)
		row("marktree_random_mark", collectMs(), "ms")
	} else {
		runDFS(levels)
	}
	var sum uint64
	if root.countAndSum(&sum) != count || sum != count*(count-1)/2 {
		fail("a node was lost")
	}
}
