// trees.go - the Go twin of trees.c: wall time of binary-trees, one goroutine.
package main

import "time"

type node struct {
	left, right *node
}

func build(depth uint64) *node {
	n := &node{}
	if depth > 0 {
		n.left = build(depth - 1)
		n.right = build(depth - 1)
	}
	return n
}

func (n *node) count() uint64 {
	if n.left == nil {
		return 1
	}
	return 1 + n.left.count() + n.right.count()
}

func check(n *node, depth uint64) {
	if n.count() != 2<<depth-1 {
		fail("a tree has lost or gained nodes")
	}
}

func trees(depth uint64) {
	const minDepth = 4
	check(build(depth+1), depth+1)
	longLived := build(depth)
	for d := uint64(minDepth); d <= depth; d += 2 {
		for left := uint64(1) << (depth - d + minDepth); left > 0; left-- {
			check(build(d), d)
		}
	}
	check(longLived, depth)
}

func main() {
	var depth uint64
	parse(option{"--depth", &depth, 19, 12, 4, 28})
	start := time.Now()
	trees(depth)
	row("trees_time", seconds(start), "s")
}
