/* livetree.c - what a program with a large live tree notices of the collector. It reads the clock in each
 * short iteration of its loop, and the longest gap between two readings is the result. Three programs:
 *   (default)   replaces random subtrees and drops short-lived objects at full speed
 *   --rate N    the same, N replacements a second for --ms ms; delays are counted from when each was due
 *   --stores    exchanges the children of uniformly random nodes at full speed, allocates nothing, and a
 *               second thread collects: more is written than a collector can follow. "running" is the
 *               share of its collecting time that the program was not held up
 * Before each, unmeasured: one collection, then replacements until five quarters of the tree's size were
 * allocated, so that the heap has its size and its memory was touched. Each run ends with a check of all
 * nodes. */
#include "allocator.h"
#include "cycles.h"
#include "gaps.h"
#include "nodes.h"

enum { SWAPS = 4, QUIET_PASSES = 3 };

static uint64_t levels, ops, churn, rate, ms, stores, cycles; /* options */

/* Static data: what makes the tree reachable. volatile, or a compiler drops a root that is only written. */
static struct node *volatile tree_root;
static struct gaps gaps, delays;
static uint64_t seed = 1;

static void row(const char *workload, const char *what, double value, const char *unit) {
  char name[64];
  snprintf(name, sizeof name, "%s_%s", workload, what);
  bench_row(name, value, unit);
}

static void row_gaps(const char *workload, uint64_t cycles_before) {
  row(workload, "gap", (double)gaps.max / 1e6, "ms");
  if (BENCH_HAS_PAUSES) row(workload, "stopped", (double)bench_pause_max(cycles_before) / 1e6, "ms");
  if (BENCH_COLLECTS) row(workload, "cycles", (double)(bench_cycles() - cycles_before), "cycles");
}

static void operate(void) {
  nodes_replace(tree_root, (unsigned)levels, &seed);
  nodes_churn(churn);
}

static void warm_up(void) {
  uint64_t nodes = UINT64_C(5) << levels >> 2;
  for (uint64_t made = 0; made < nodes; made += NODES_SUBTREE + churn) operate();
}

static void run_full_speed(double build) {
  uint64_t before = bench_cycles();
  gaps_start(&gaps);
  for (uint64_t i = 0; i < ops; i++) {
    operate();
    gaps_tick(&gaps);
  }
  row_gaps("livetree", before);
  row("livetree", "gap_p9999", (double)gaps_quantile(&gaps, 0.9999) / 1e3, "us");
  row("livetree", "time", gaps_seconds(&gaps), "s");
  row("livetree", "build", build, "s");
}

/* A replacement is never skipped: after a long gap those that became due are made at full speed. */
static void paced(uint64_t ns) {
  uint64_t due = bench_now_ns(), end = due + ns;
  gaps_start(&gaps);
  gaps_start(&delays);
  for (uint64_t now = due; now < end; now = gaps_tick(&gaps)) {
    if (now < due) continue;
    operate();
    gaps_add(&delays, bench_now_ns() - due);
    due += 1000000000u / rate;
  }
}

static void run_paced(void) {
  uint64_t before = bench_cycles();
  paced(ms * 1000000);
  row_gaps("paced", before);
  row("paced", "delay_p9999", (double)gaps_quantile(&delays, 0.9999) / 1e3, "us");
  row("paced", "rate", (double)delays.count / gaps_seconds(&gaps) / 1e3, "kop/s");
}

static double quiet_collect_ms(void) {
  double times[QUIET_PASSES];
  for (int i = 0; i < QUIET_PASSES; i++) {
    uint64_t start = bench_now_ns();
    BENCH_COLLECT();
    times[i] = (double)(bench_now_ns() - start) / 1e6;
  }
  return bench_median(times, QUIET_PASSES);
}

/* Stores until the collecting thread is done; counts the stores by what that thread did at the end of an
 * iteration. Returns the ns it spent collecting. */
static uint64_t store_while_collecting(struct node **table, uint64_t stored[CYCLES_DONE]) {
  uint64_t mask = (UINT64_C(1) << levels) - 1;
  cycles_begin(cycles, ms / 160);
  gaps_start(&gaps);
  for (enum cycles_state state; (state = cycles_state()) != CYCLES_DONE; stored[state] += SWAPS) {
    for (int i = 0; i < SWAPS; i++) {
      uint64_t number = bench_random(&seed) & mask;
      nodes_swap(table[number ? number : 1]);
    }
    gaps_tick(&gaps);
  }
  return cycles_end();
}

static void run_stores(void) {
  uint64_t stored[CYCLES_DONE] = {0}, before = bench_cycles();
  struct node **table = nodes_table(tree_root, (unsigned)levels);
  double inside = (double)store_while_collecting(table, stored) / 1e9;
  double stalled = (double)gaps.stalled / 1e9;
  row_gaps("stores", before);
  double quiet = quiet_collect_ms(); /* afterwards: a tree with exchanged children is slower to mark */
  row("stores", "collect_quiet", quiet, "ms");
  row("stores", "gap_over_quiet", (double)gaps.max / 1e6 - quiet, "ms");
  row("stores", "running", stalled < inside ? 1 - stalled / inside : 0, "share");
  row("stores", "rate_in_cycle", (double)stored[CYCLES_COLLECT] / inside / 1e6, "Mstore/s");
  row("stores", "rate_no_cycle", (double)stored[CYCLES_REST] / (gaps_seconds(&gaps) - inside) / 1e6, "Mstore/s");
  nodes_table_free(table, (unsigned)levels);
}

int main(int argc, char **argv) {
  const struct bench_option options[] = {
      {"--levels", &levels, 25, 17, 6, 32},    {"--ops", &ops, 6000000, 100000, 8, 100000000000},
      {"--churn", &churn, 16, 16, 0, 10000},   {"--rate", &rate, 0, 0, 1, 10000000},
      {"--ms", &ms, 40000, 200, 10, 10000000}, {"--stores", &stores, 0, 0, 0, 0},
      {"--cycles", &cycles, 5, 2, 1, 1000}};
  bench_begin(argc, argv, options, sizeof options / sizeof options[0]);
  bench_warm((3 * sizeof(struct node)) << levels);
  uint64_t start = bench_now_ns();
  tree_root = nodes_build((unsigned)levels);
  double build = (double)(bench_now_ns() - start) / 1e9;
  BENCH_COLLECT();
  warm_up();
  if (stores)
    run_stores();
  else if (rate)
    run_paced();
  else
    run_full_speed(build);
  nodes_verify(tree_root, (unsigned)levels);
  return 0;
}
