/* example3.c - the worst case of fragmentation (Example 3 of "Memory Fragmentation in Go").
 *
 * A page holds 512 objects of 16 bytes. Keeping every 512th of 2^20 keeps every page: 32 KiB of objects
 * hold 16 MiB (3), and objects of another size class cannot use the gaps (4).
 * Expected above phase 1, MiB: 24 at (2), 16 at (3), 36 at (4); fragmentation 16 at (3) and (4).
 * Reading: examples.h for why roots are volatile and steps out of line. */
#include "examples.h"

enum { COUNT = 1 << 20, NEW_COUNT = 1 << 19, STEP = 512 };

static void **volatile slice;
static void **volatile bad_slice;
static void **volatile new_slice;

EXAMPLE_STEP void allocate_slice(void) {
  slice = example_allocate(COUNT, EXAMPLE_SMALL);
  example_use(slice);
}

EXAMPLE_STEP void keep_every_512th(void) {
  bad_slice = example_copy(slice, 0, COUNT, STEP);
  slice = NULL;
  example_use(slice, bad_slice);
}

EXAMPLE_STEP void allocate_another_class(void) {
  new_slice = example_allocate(NEW_COUNT, EXAMPLE_MEDIUM);
  example_use(slice, bad_slice, new_slice);
}

static void run(void) {
  example_print_memory_stats(); /* (1) */
  allocate_slice();
  example_print_memory_stats(); /* (2) */
  keep_every_512th();
  example_print_memory_stats(); /* (3) */
  allocate_another_class();
  example_print_memory_stats(); /* (4) */
}

int main(int argc, char **argv) { return example_main(argc, argv, 3, run); }
