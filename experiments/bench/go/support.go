// support.go - options, rows and resident memory of the Go twins; built together with each of them.
// Same option names, row names and output as the C programs (support.c).
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

type option struct {
	name        string
	value       *uint64
	full, small uint64
	min, max    uint64 // max 0: a flag
}

func fail(text string) {
	fmt.Fprintln(os.Stderr, text)
	os.Exit(2)
}

func parse(options ...option) {
	small := false
	for _, arg := range os.Args[1:] {
		small = small || arg == "--small"
	}
	for _, o := range options {
		*o.value = o.full
		if small {
			*o.value = o.small
		}
	}
	for i := 1; i < len(os.Args); i++ {
		if os.Args[i] != "--small" {
			i = parseOne(i, options)
		}
	}
}

// parseOne handles the argument at i and returns the index of the last one it used.
func parseOne(i int, options []option) int {
	name := os.Args[i]
	if name == "--version" {
		fmt.Println("allocator go", strings.TrimPrefix(runtime.Version(), "go"))
		os.Exit(0)
	}
	for _, o := range options {
		if o.name != name {
			continue
		}
		if o.max == 0 {
			*o.value = 1
			return i
		}
		if i+1 < len(os.Args) {
			n, err := strconv.ParseUint(os.Args[i+1], 10, 64)
			if err == nil && n >= o.min && n <= o.max {
				*o.value = n
				return i + 1
			}
		}
		fail(fmt.Sprintf("%s needs a whole number from %d to %d", name, o.min, o.max))
	}
	fail("unknown option " + name)
	return i
}

func row(name string, value float64, unit string) {
	fmt.Printf("%s %.6g %s\n", name, value, unit)
}

func seconds(start time.Time) float64 {
	return time.Since(start).Seconds()
}

func rss() float64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		fail("cannot read /proc/self/statm")
	}
	pages, _ := strconv.ParseFloat(strings.Fields(string(text))[1], 64)
	return pages * float64(os.Getpagesize())
}

func random(state *uint64) uint64 {
	*state += 0x9e3779b97f4a7c15
	z := *state
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb
	return z ^ (z >> 31)
}
