/* trees.c - wall time of binary-trees (benchmarks game), nodes of two pointers, one thread.
 * The malloc family frees every tree node by node; the collectors find out for themselves. */
#include "allocator.h"
#include "loops.h"

int main(int argc, char **argv) {
  uint64_t depth;
  const struct bench_option options[] = {{"--depth", &depth, 19, 12, 4, 28}};
  bench_begin(argc, argv, options, 1);
  uint64_t start = bench_now_ns();
  loop_trees((unsigned)depth);
  bench_row("trees_time", (double)(bench_now_ns() - start) / 1e9, "s");
  return 0;
}
