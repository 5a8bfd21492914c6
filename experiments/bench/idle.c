/* idle.c - the processor time that a process with a large live heap takes while it does nothing: that of
 * all threads but this one, which sleeps. Before: some garbage, and time to clear it away. */
#include "allocator.h"
#include "nodes.h"

#include <time.h>

/* Static data: what makes the tree reachable. volatile, or a compiler drops a root that is only written. */
static struct node *volatile tree_root;

static int64_t cpu_ns(clockid_t clock) {
  struct timespec time;
  clock_gettime(clock, &time);
  return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* Of threads that have ended too. */
static int64_t cpu_of_others(void) { return cpu_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_ns(CLOCK_THREAD_CPUTIME_ID); }

static void sleep_ms(uint64_t ms) {
  struct timespec time = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
  while (nanosleep(&time, &time)) continue;
}

int main(int argc, char **argv) {
  uint64_t levels, ops, settle_ms, idle_ms, seed = 1;
  const struct bench_option options[] = {{"--levels", &levels, 25, 17, 6, 32},
                                         {"--ops", &ops, 2000000, 20000, 0, 100000000000},
                                         {"--settle-ms", &settle_ms, 10000, 100, 0, 1000000},
                                         {"--idle-ms", &idle_ms, 10000, 100, 1, 1000000}};
  bench_begin(argc, argv, options, 4);
  tree_root = nodes_build((unsigned)levels);
  for (uint64_t i = 0; i < ops; i++) nodes_replace(tree_root, (unsigned)levels, &seed);
  int64_t stopped = cpu_of_others();
  sleep_ms(settle_ms);
  int64_t before = cpu_of_others();
  sleep_ms(idle_ms);
  int64_t after = cpu_of_others();
  nodes_verify(tree_root, (unsigned)levels);
  /* The two clocks are read one after the other: where nothing ran the difference is about -1 us. */
  bench_row("idle_cpu", after > before ? (double)(after - before) / 1e6 : 0, "ms");
  bench_row("idle_settling_cpu", before > stopped ? (double)(before - stopped) / 1e6 : 0, "ms");
  return 0;
}
