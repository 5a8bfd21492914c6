/* beside.h - a thread that collects without a break beside the work of a test.
 * Owns:     the thread, how many cycles it has completed. One at a time in a process. */
#ifndef HOLDFAST_TEST_BESIDE_H
#define HOLDFAST_TEST_BESIDE_H

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "hide.h"

static struct {
  pthread_t thread;
  atomic_bool over;
  atomic_ulong cycles;
  size_t pause; /* objects allocated between two cycles: what the others get done meanwhile */
} beside;

static HELPER void *beside_main(void *unused) {
  while (!atomic_load(&beside.over)) {
    gc_collect();
    atomic_fetch_add(&beside.cycles, 1);
    refill(beside.pause, 64);
  }
  return unused;
}

/* pause 0: one cycle after the other. */
static HELPER void beside_begin(size_t pause) {
  beside.pause = pause;
  atomic_store(&beside.over, false);
  REQUIRE(pthread_create(&beside.thread, NULL, beside_main, NULL) == 0);
}

static HELPER void beside_end(void) {
  atomic_store(&beside.over, true);
  REQUIRE(pthread_join(beside.thread, NULL) == 0);
}

static inline unsigned long beside_cycles(void) { return atomic_load(&beside.cycles); }

/* Returns after n cycles that began after the call. */
static inline void beside_await(unsigned long n) {
  const unsigned long until = beside_cycles() + n + 1; /* one may be under way */
  while (beside_cycles() < until) sched_yield();
}

#endif
