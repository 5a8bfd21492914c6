/* refill.c - allocation into a heap of which a random half has died: 256 MiB of 32-byte objects.
 * Measured: the refill alone, and dropping + collecting + refilling together, each per refilled object.
 * The holes are listed beforehand, so the measured loops have no branch that depends on chance. */
#include "allocator.h"

enum { OBJECT = 32 };

/* Static data: what makes the objects reachable. volatile, or it would be optimised into a register. */
static uint64_t **volatile objects_root;

static void fill(uint64_t **objects, uint64_t count) {
  for (uint64_t i = 0; i < count; i++) {
    uint64_t *object = bench_alloc(OBJECT);
    *object = i;
    objects[i] = object;
  }
}

static uint64_t choose_holes(uint32_t *holes, uint64_t count) {
  uint64_t seed = 1, chosen = 0;
  for (uint64_t i = 0; i < count; i++) {
    holes[chosen] = (uint32_t)i;
    chosen += bench_random(&seed) & 1;
  }
  return chosen;
}

static void drop(uint64_t **objects, const uint32_t *holes, uint64_t count) {
  for (uint64_t k = 0; k < count; k++) {
    bench_drop(objects[holes[k]]);
    objects[holes[k]] = NULL;
  }
}

static void refill(uint64_t **objects, const uint32_t *holes, uint64_t count, uint64_t first) {
  for (uint64_t k = 0; k < count; k++) {
    uint64_t *object = bench_alloc(OBJECT);
    *object = first + k;
    objects[holes[k]] = object;
  }
}

/* Object i still holds i, and hole k holds what its refill wrote: nothing live was handed out twice. */
static void verify(uint64_t **objects, uint64_t count, const uint32_t *holes, uint64_t hole_count) {
  uint64_t k = 0;
  for (uint64_t i = 0; i < count; i++) {
    int is_hole = k < hole_count && holes[k] == i;
    if (!objects[i] || *objects[i] != (is_hole ? count + k : i)) bench_die("an object was lost");
    k += (uint64_t)is_hole;
  }
}

int main(int argc, char **argv) {
  uint64_t mib;
  const struct bench_option options[] = {{"--mib", &mib, 256, 8, 1, 65536}};
  bench_begin(argc, argv, options, 1);
  uint64_t count = mib * 1048576 / OBJECT;
  uint64_t **objects = objects_root = bench_alloc((size_t)count * sizeof *objects);
  uint32_t *holes = bench_map((size_t)count * sizeof *holes);
  fill(objects, count);
  uint64_t hole_count = choose_holes(holes, count);

  uint64_t start = bench_now_ns();
  drop(objects, holes, hole_count);
  BENCH_COLLECT();
  uint64_t collected = bench_now_ns();
  refill(objects, holes, hole_count, count);
  uint64_t end = bench_now_ns();

  verify(objects, count, holes, hole_count);
  bench_row("refill", (double)(end - collected) / (double)hole_count, "ns/object");
  bench_row("refill_with_collect", (double)(end - start) / (double)hole_count, "ns/object");
  return 0;
}
