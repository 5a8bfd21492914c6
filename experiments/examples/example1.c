/* example1.c - one object of an array keeps the whole array (Example 1 of "Memory Fragmentation in Go").
 *
 * An array of 2^20 16-byte objects is one 16 MiB object to the collector, and an address inside it keeps
 * all of it. Expected above phase 1, MiB: 16 at (2), 16 at (3), 0 at (4).
 * Reading: examples.h for why roots are volatile and steps out of line. */
#include "examples.h"

enum { COUNT = 1 << 20 };

static char *volatile slice;
static char *volatile object;

EXAMPLE_STEP void make_slice(void) {
  slice = example_new((size_t)COUNT * EXAMPLE_SMALL);
  example_use(slice);
}

EXAMPLE_STEP void keep_one_object(void) {
  object = &slice[0];
  slice = NULL;
  example_use(slice, object);
}

EXAMPLE_STEP void keep_nothing(void) {
  object = NULL;
  example_use(slice, object);
}

static void run(void) {
  example_print_memory_stats(); /* (1) */
  make_slice();
  example_print_memory_stats(); /* (2) */
  keep_one_object();
  example_print_memory_stats(); /* (3) */
  keep_nothing();
  example_print_memory_stats(); /* (4) */
}

int main(int argc, char **argv) { return example_main(argc, argv, 1, run); }
