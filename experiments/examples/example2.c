/* example2.c - objects allocated one by one go one by one (Example 2 of "Memory Fragmentation in Go").
 *
 * 2^20 objects of 16 bytes and 8 MiB of pointers to them; then one object is kept. Unlike in example1 it
 * keeps only its own page. Expected above phase 1, MiB: 24 at (2), 0.01 at (3).
 * Reading: examples.h for why roots are volatile and steps out of line. */
#include "examples.h"

enum { COUNT = 1 << 20 };

static void **volatile slice;
static void *volatile object;

EXAMPLE_STEP void allocate_slice(void) {
  slice = example_allocate(COUNT, EXAMPLE_SMALL);
  example_use(slice);
}

EXAMPLE_STEP void keep_one_object(void) {
  object = slice[0];
  slice = NULL;
  example_use(slice, object);
}

static void run(void) {
  example_print_memory_stats(); /* (1) */
  allocate_slice();
  example_print_memory_stats(); /* (2) */
  keep_one_object();
  example_print_memory_stats(); /* (3) */
}

int main(int argc, char **argv) { return example_main(argc, argv, 2, run); }
