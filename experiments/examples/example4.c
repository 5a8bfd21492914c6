/* example4.c - compaction by hand (Example 4 of "Memory Fragmentation in Go").
 *
 * The fragmented heap of example3 (2); then each of the 2048 objects is replaced by a copy. The copies
 * share a few pages and the others are given back (3). Expected above phase 1, MiB: 16 at (2), under 0.1
 * at (3).
 * Reading: examples.h for why roots are volatile and steps out of line. */
#include <string.h>

#include "examples.h"

enum { COUNT = 1 << 20, STEP = 512, KEPT = COUNT / STEP };

static void **volatile slice;
static void **volatile bad_slice;

EXAMPLE_STEP void fragment(void) {
  slice = example_allocate(COUNT, EXAMPLE_SMALL);
  bad_slice = example_copy(slice, 0, COUNT, STEP);
  slice = NULL;
  example_use(slice, bad_slice);
}

EXAMPLE_STEP void compact(void) {
  void **objects = bad_slice;
  for (size_t i = 0; i < KEPT; i++) {
    void *copy = example_new(EXAMPLE_SMALL);
    memcpy(copy, objects[i], EXAMPLE_SMALL);
    objects[i] = copy;
  }
  example_use(slice, bad_slice);
}

static void run(void) {
  example_print_memory_stats(); /* (1) */
  fragment();
  example_print_memory_stats(); /* (2) */
  compact();
  example_print_memory_stats(); /* (3) */
}

int main(int argc, char **argv) { return example_main(argc, argv, 4, run); }
