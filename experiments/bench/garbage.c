/* garbage.c - time per object that is allocated zeroed, written once and dropped at once, with everything
 * that follows from it: collecting, sweeping, freeing.
 * Long enough for the first touch of the heap's memory to count for nothing. Without --size all three sizes run in turn in one heap; the runner gives each a process of its own. */
#include "allocator.h"
#include "loops.h"

static void run(size_t size, uint64_t objects) {
  uint64_t count = loop_garbage_count(size, objects);
  char name[32];
  snprintf(name, sizeof name, "garbage_%zu", size);
  uint64_t start = bench_now_ns();
  loop_garbage(size, count);
  bench_row(name, (double)(bench_now_ns() - start) / (double)count, "ns/object");
}

int main(int argc, char **argv) {
  uint64_t size, objects;
  const struct bench_option options[] = {{"--size", &size, 0, 0, 8, 1 << 20},
                                         {"--objects", &objects, 200000000, 1000000, 1, 100000000000}};
  bench_begin(argc, argv, options, 2);
  if (size) {
    run((size_t)size, objects);
  } else {
    for (size_t s = 16; s <= 256; s *= 4) run(s, objects);
  }
  return 0;
}
