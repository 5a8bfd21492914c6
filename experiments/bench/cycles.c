/* cycles.c - the thread that collects; see cycles.h. */
#include "cycles.h"

#include "allocator.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

static struct {
  pthread_t thread;
  uint64_t count, rest_ms, collect_ns;
  atomic_int state; /* relaxed: it only sorts measurements */
} self;

static void enter(enum cycles_state state) { atomic_store_explicit(&self.state, state, memory_order_relaxed); }

enum cycles_state cycles_state(void) {
  return (enum cycles_state)atomic_load_explicit(&self.state, memory_order_relaxed);
}

static void rest(void) {
  struct timespec time = {(time_t)(self.rest_ms / 1000), (long)(self.rest_ms % 1000) * 1000000};
  if (self.rest_ms) nanosleep(&time, NULL);
}

static void *collect(void *unused) {
  for (uint64_t i = 0; i < self.count; i++) {
    rest();
    enter(CYCLES_COLLECT);
    uint64_t start = bench_now_ns();
    BENCH_COLLECT();
    self.collect_ns += bench_now_ns() - start;
    enter(CYCLES_REST);
  }
  rest();
  enter(CYCLES_DONE);
  return unused;
}

void cycles_begin(uint64_t count, uint64_t rest_ms) {
  self.count = count;
  self.rest_ms = rest_ms;
  self.collect_ns = 0;
  enter(CYCLES_REST);
  if (pthread_create(&self.thread, NULL, collect, NULL)) bench_die("cannot start a thread");
}

uint64_t cycles_end(void) {
  pthread_join(self.thread, NULL);
  return self.collect_ns;
}
