/* examples.h - what the examples of the article "Memory Fragmentation in Go" (2023, measured with Go
 * 1.21.3) share when they are written for Holdfast: its four helpers, and its figures to compare with.
 *
 * Owns:    the measurement, the comparison with the article, the command line of example1 ... example4.
 * Promise: a figure depends on what the example keeps, not on the compiler, its options or luck. The
 *          collector takes any word on a stack or in a register for a pointer, so one forgotten copy of
 *          an address can keep 16 MiB alive. Three rules prevent that:
 *            1. pointers that outlive a step are in static volatile variables: a known place, and the
 *               compiler may neither drop a store of NULL nor keep the old value elsewhere;
 *            2. code that touches heap addresses is in functions marked EXAMPLE_STEP: their copies are in
 *               frames that are gone, and main and run, whose frames stay, never see an address;
 *            3. before each collection the stack of those gone frames is overwritten (stale.h).
 * Reading: example1.c, then example_measure in examples.c, then article.c. */
#ifndef HOLDFAST_EXAMPLES_H
#define HOLDFAST_EXAMPLES_H

#include <stddef.h>

#include "article.h"
#include "gc_alloc.h"
#include "stale.h"

#define EXAMPLE_NOINLINE STALE_NOINLINE
#define EXAMPLE_STEP static EXAMPLE_NOINLINE

#define EXAMPLE_MIB (1024.0 * 1024.0)
#define EXAMPLE_MAX_BASELINE 0.41 /* MiB of heap usage at phase 1: what Go's runtime itself needed    */

/* Stands for [16]byte and [32]byte: objects of so many bytes. */
enum { EXAMPLE_SMALL = 16, EXAMPLE_MEDIUM = 32 };

/* One measurement, in MiB. */
struct example_figures {
  double heap_usage;        /* heap_sys - heap_released                  */
  double max_fragmentation; /* heap_inuse - heap_alloc                   */
  double rss;               /* resident set size, as the kernel tells it */
};

/* Allocate: an array of n pointers, each to its own zeroed object of size bytes. */
void **example_allocate(size_t n, size_t size);

/* Copy: a new array of every step-th pointer of array[start, stop). */
void **example_copy(void **array, size_t start, size_t stop, size_t step);

/* One zeroed object without pointers (new, or make for an array of bytes). Ends the program when
 * memory is refused, as the other two do. */
void *example_new(size_t size);

/* PrintMemoryStats: collects, returns free memory to the system, prints one line for the next phase and
 * compares it with the article. */
void example_print_memory_stats(void);

/* Use: the objects count as used here. The roots being volatile, no store depends on it; it is what a
 * program without volatile roots would need. */
#define example_use(...) gc_use(__VA_ARGS__)

/* The measurement of example_print_memory_stats, without printing. */
void example_measure(struct example_figures *out);

/* Rounds away the sign of a difference that prints as zero. */
double example_tidy(double mib);

/* What is wrong with the difference off to the article, or with the baseline; NULL when nothing is. */
const char *example_fault(const struct example_figures *baseline, const struct example_figures *off);

/* Flushes stdout. Returns 1, with a line on stderr, when something printed so far was lost; else 0. */
int example_output_lost(const char *program);

/* main of an example: reads the arguments ([--csv]), calls run, returns the exit status. */
int example_main(int argc, char **argv, int example, void (*run)(void));

#endif
