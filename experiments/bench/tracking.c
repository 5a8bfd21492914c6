/* tracking.c - what a running cycle costs the program: iterations per second while a second thread is
 * inside gc_collect, against iterations per second while it rests and allocation may start no cycle.
 * Three programs on one live tree: random walks that only read (the markers take processor time and
 * memory bandwidth, nothing is tracked), stores to random nodes, and replacing subtrees. Holdfast only.
 * An iteration during which the other thread began or ended a collection counts for neither. */
#include "allocator.h"
#include "cycles.h"
#include "nodes.h"

static uint64_t levels, cycles, rest_ms; /* options */

/* Static data: what makes the tree reachable. volatile, or a compiler drops a root that is only written. */
static struct node *volatile tree_root;
static struct node **table;
static uint64_t seed = 1;

static void visit(void) {
  if (!nodes_visit(tree_root, (unsigned)levels, &seed)) bench_die("a node was lost");
}

static void store(void) {
  uint64_t number = bench_random(&seed) & ((UINT64_C(1) << levels) - 1);
  nodes_swap(table[number ? number : 1]);
}

static void replace(void) {
  nodes_replace(tree_root, (unsigned)levels, &seed);
  nodes_churn(NODES_SUBTREE);
}

static const struct job {
  const char *name;
  void (*step)(void);
} jobs[] = {{"visit", visit}, {"store", store}, {"replace", replace}};

enum { JOBS = sizeof jobs / sizeof jobs[0] };

static void row(const struct job *job, const char *what, double value, const char *unit) {
  char name[64];
  snprintf(name, sizeof name, "tracking_%s_%s", job->name, what);
  bench_row(name, value, unit);
}

static void run(const struct job *job) {
  uint64_t count[CYCLES_DONE] = {0}, ns[CYCLES_DONE] = {0};
  cycles_begin(cycles, rest_ms);
  uint64_t last = bench_now_ns();
  for (enum cycles_state state = CYCLES_REST; state != CYCLES_DONE;) {
    job->step();
    uint64_t now = bench_now_ns();
    enum cycles_state next = cycles_state();
    if (next == state) {
      count[state]++;
      ns[state] += now - last;
    }
    state = next;
    last = now;
  }
  cycles_end();
  double inside = (double)count[CYCLES_COLLECT] * 1e3 / (double)(ns[CYCLES_COLLECT] ? ns[CYCLES_COLLECT] : 1);
  double outside = (double)count[CYCLES_REST] * 1e3 / (double)ns[CYCLES_REST];
  row(job, "inside", inside, "Mop/s");
  row(job, "outside", outside, "Mop/s");
  row(job, "ratio", inside / outside, "x");
}

int main(int argc, char **argv) {
  const struct bench_option options[] = {{"--levels", &levels, 25, 17, 6, 32},
                                         {"--cycles", &cycles, 4, 2, 1, 1000},
                                         {"--rest-ms", &rest_ms, 300, 20, 1, 60000}};
  bench_begin(argc, argv, options, 3);
  bench_warm((3 * sizeof(struct node)) << levels);
  tree_root = nodes_build((unsigned)levels);
  table = nodes_table(tree_root, (unsigned)levels);
  BENCH_COLLECT();
  BENCH_PAUSE();
  /* Replacing comes last: it makes the table wrong. */
  for (size_t i = 0; i < JOBS; i++) run(&jobs[i]);
  BENCH_RESUME();
  nodes_verify(tree_root, (unsigned)levels);
  return 0;
}
