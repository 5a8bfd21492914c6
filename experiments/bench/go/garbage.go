// garbage.go - the Go twin of garbage.c: time per object allocated, written once and dropped.
// Each type holds a pointer word, so that the object is one the collector would have to scan, as gc_alloc's are.
package main

import (
	"fmt"
	"time"
)

type object16 struct {
	word uint64
	next *byte
}

type object64 struct {
	object16
	rest [3]object16
}

type object256 struct {
	object16
	rest [15]object16
}

// Not inlined: the object would otherwise stay on the stack.
//
//go:noinline
func new16() *object16 { return new(object16) }

//go:noinline
func new64() *object64 { return new(object64) }

//go:noinline
func new256() *object256 { return new(object256) }

func garbage(size, count uint64) {
	switch size {
	case 16:
		for i := uint64(0); i < count; i++ {
			new16().word = i
		}
	case 64:
		for i := uint64(0); i < count; i++ {
			new64().word = i
		}
	case 256:
		for i := uint64(0); i < count; i++ {
			new256().word = i
		}
	default:
		fail("--size must be 16, 64 or 256")
	}
}

func run(size, objects uint64) {
	count := objects
	for s := size; s > 16; s /= 4 {
		count /= 2
	}
	start := time.Now()
	garbage(size, count)
	row(fmt.Sprintf("garbage_%d", size), seconds(start)*1e9/float64(count), "ns/object")
}

func main() {
	var size, objects uint64
	parse(option{"--size", &size, 0, 0, 16, 256}, option{"--objects", &objects, 50000000, 1000000, 16, 100000000000})
	if size != 0 {
		run(size, objects)
		return
	}
	for s := uint64(16); s <= 256; s *= 4 {
		run(s, objects)
	}
}
