/* gc_debug.h - what a program, or whoever runs it, asks when something is wrong: figures for
 * monitoring, why an object is kept, what was dropped without being freed.
 * What writes where it should not is found by the option GC_DEBUG=1.
 * docs/diagnostics.md tells how to use it, and what the options and probes that go with it do. */
#ifndef HOLDFAST_GC_DEBUG_H
#define HOLDFAST_GC_DEBUG_H

#include <stdio.h>

#include "gc_alloc.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Writes every figure of gc_stats.h but the pause rings as OpenMetrics text, which Prometheus reads too, and ends it
 * with "# EOF". Names are Go's go_memstats_* with holdfast_ for go_; amounts are in bytes, times in seconds, both
 * as exact as the figures. A limit that is not set is +Inf. Returns 0, or -1 when writing failed.
 * From any thread; other threads run on. Not async-signal-safe: it takes locks and uses stdio. */
GC_API int gc_print_metrics(FILE *to);

/* Tells on `to` (NULL: stderr) why the object that p points into is kept: the shortest path to it from a root, a line
 * for each word on the way, with the addresses, sizes and offsets of the objects, and the root by its symbol, or file and
 * offset, thread and place on its stack, registered range or thread cache. Or that p points to no object, or to one that
 * nothing keeps. Roots other than stacks come first; a path from a stack is told only when there is no other, and the
 * words of the caller's own stack that point to the object itself only when nothing else keeps it: the caller has
 * such a word in hand, more often than not, and so may have compilers' leftovers.
 * Sites of allocation are told as far as GC_PROFILE notes them.
 * Returns 1: kept; 0: not kept, or no object (p may be any value, NULL too); -1 with errno: ENOMEM, no memory for the search, or
 * what writing set. Stops the program for as long as one processor takes to mark the heap, and takes 16 bytes per slot
 * while it does. Waits for a cycle that is under way. From any thread; not async-signal-safe. */
GC_API int gc_why_alive(const void *p, FILE *to);

/* In leak mode (GC_LEAKS=1): runs a collection, then tells on `to` what became unreachable so far without gc_free, by call stack
 * as far as GC_PROFILE noted it (1: all) and otherwise by size, most bytes first: objects and bytes of their slots. Each
 * object counts once. The same is told on stderr at exit. Kept for good by the program is no leak, and what a stale word
 * keeps is not seen. In the child of a fork counting starts at 0. Not in leak mode: tells how to turn it on.
 * Returns 0, or -1 when writing failed or memory is refused. From any thread; not async-signal-safe. */
GC_API int gc_print_leaks(FILE *to);

#ifdef __cplusplus
}
#endif
#endif
