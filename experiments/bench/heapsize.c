/* heapsize.c - the pause against the size of the heap: one process grows from 64 MiB to 8 GiB of live
 * objects, and at each doubling a second thread collects a few times, while this one does a little work and
 * watches the clock. Live objects are trees of 32-byte nodes; with --noscan, 1 KiB objects that the
 * collector need not search, and the arrays of pointers to them.
 * Rows: longest gap per size (and the longest pause, where the allocator says it), and the growth per GiB
 * as the slope of the straight line through the sizes. --small keeps the names and makes all a 256th. */
#include "allocator.h"
#include "cycles.h"
#include "gaps.h"
#include "nodes.h"

#include <string.h>

enum { STEPS = 8, UNITS_MAX = 1 << (STEPS - 1), UNIT_MIB = 64, BLOB = 1024 };

static uint64_t unit_levels, cycles, rest_ms, rate, steps, noscan; /* options */

/* Static data: what makes the objects reachable. A unit is 64 MiB: a tree, or an array of blobs. */
static struct node *trees[UNITS_MAX];
static uint64_t **blobs[UNITS_MAX];
static struct gaps gaps;
static uint64_t seed = 1;

static uint64_t blobs_per_unit(void) { return (UINT64_C(32) << unit_levels) / BLOB; }

static uint64_t **blobs_build(uint64_t unit) {
  uint64_t **unit_blobs = bench_alloc((size_t)blobs_per_unit() * sizeof *unit_blobs);
  for (uint64_t i = 0; i < blobs_per_unit(); i++) {
    unit_blobs[i] = bench_alloc_noscan(BLOB);
    memset(unit_blobs[i], 1, BLOB);
    *unit_blobs[i] = unit << 32 | i;
  }
  return unit_blobs;
}

static void grow(uint64_t unit) {
  if (noscan)
    blobs[unit] = blobs_build(unit);
  else
    trees[unit] = nodes_build((unsigned)unit_levels);
}

static void verify(uint64_t units) {
  for (uint64_t unit = 0; unit < units; unit++) {
    if (!noscan) {
      nodes_verify(trees[unit], (unsigned)unit_levels);
      continue;
    }
    for (uint64_t i = 0; i < blobs_per_unit(); i++)
      if (*blobs[unit][i] != (unit << 32 | i)) bench_die("an object was lost");
  }
}

/* A little work: one subtree, or one object, replaced. */
static void operate(uint64_t units) {
  uint64_t unit = bench_random(&seed) % units;
  if (!noscan) {
    nodes_replace(trees[unit], (unsigned)unit_levels, &seed);
    return;
  }
  uint64_t i = bench_random(&seed) % blobs_per_unit();
  uint64_t *blob = bench_alloc_noscan(BLOB);
  *blob = unit << 32 | i;
  blobs[unit][i] = blob;
}

static void watch(uint64_t units) {
  cycles_begin(cycles, rest_ms);
  gaps_start(&gaps);
  for (uint64_t due = gaps.first; cycles_state() != CYCLES_DONE;) {
    if (gaps_tick(&gaps) < due) continue;
    operate(units);
    due += 1000000000u / rate;
  }
  cycles_end();
}

static void row(const char *what, uint64_t units, double value, const char *unit) {
  char name[64];
  int length = snprintf(name, sizeof name, "heapsize%s_%s", noscan ? "_noscan" : "", what);
  if (units) snprintf(name + length, sizeof name - (size_t)length, "_%llu", (unsigned long long)units * UNIT_MIB);
  bench_row(name, value, unit);
}

/* ms per GiB: the slope of the line of least squares through (GiB, ms), size i being 2^i units. */
static double slope(const double *ms) {
  double n = (double)steps, x_sum = 0, y_sum = 0, xx = 0, xy = 0;
  for (uint64_t i = 0; i < steps; i++) {
    double x = (double)(UNIT_MIB << i) / 1024;
    x_sum += x;
    y_sum += ms[i];
    xx += x * x;
    xy += x * ms[i];
  }
  return steps > 1 ? (n * xy - x_sum * y_sum) / (n * xx - x_sum * x_sum) : 0;
}

int main(int argc, char **argv) {
  const struct bench_option options[] = {{"--unit-levels", &unit_levels, 21, 13, 6, 24},
                                         {"--steps", &steps, STEPS, STEPS, 1, STEPS},
                                         {"--cycles", &cycles, 5, 1, 1, 200},
                                         {"--rest-ms", &rest_ms, 50, 5, 0, 60000},
                                         {"--rate", &rate, 10000, 10000, 1, 1000000},
                                         {"--noscan", &noscan, 0, 0, 0, 0}};
  double gap[STEPS], stopped[STEPS];
  bench_begin(argc, argv, options, sizeof options / sizeof options[0]);
  bench_warm(((size_t)40 << unit_levels) << (steps - 1));
  for (uint64_t step = 0, built = 0; step < steps; step++) {
    uint64_t units = UINT64_C(1) << step;
    while (built < units) grow(built++);
    BENCH_COLLECT();
    uint64_t before = bench_cycles();
    watch(units);
    gap[step] = (double)gaps.max / 1e6;
    stopped[step] = (double)bench_pause_max(before) / 1e6;
    row("gap", units, gap[step], "ms");
    if (BENCH_HAS_PAUSES) row("stopped", units, stopped[step], "ms");
  }
  row("gap_growth", 0, slope(gap), "ms/GiB");
  if (BENCH_HAS_PAUSES) row("stopped_growth", 0, slope(stopped), "ms/GiB");
  verify(UINT64_C(1) << (steps - 1));
  return 0;
}
