/* loops.h - the two loops that are measured alone (garbage.c, trees.c) and in pairs (twothreads.c).
 * Compiled once per allocator, in a file of their own so that no caller inlines them. */
#ifndef BENCH_LOOPS_H
#define BENCH_LOOPS_H

#include <stddef.h>
#include <stdint.h>

/* Allocates count objects of size bytes, writes the first word of each and drops it at once. */
void loop_garbage(size_t size, uint64_t count);

/* How many objects of this size stand for `objects` of 16 bytes: half as many per fourfold size, so that
 * each size runs for about as long. */
uint64_t loop_garbage_count(size_t size, uint64_t objects);

/* binary-trees of the benchmarks game. Returns the number of nodes allocated; a tree whose nodes do not
 * add up ends the program. */
uint64_t loop_trees(unsigned depth);

#endif
