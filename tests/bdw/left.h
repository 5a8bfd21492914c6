/* left.h - how a test of the drop-in sees which objects a collection left.
 * Owns:     counting hidden addresses (tests/api/conceal.h) whose objects went, running a suite in both kinds of cycle.
 * Promises: a hidden address keeps nothing alive.
 * Never:    expects that every unreachable object goes: a stale word may keep a few. What is reachable must all be kept. */
#ifndef HOLDFAST_TEST_LEFT_H
#define HOLDFAST_TEST_LEFT_H

#undef GC_DEBUG /* of debug builds of ours; there it chooses other macros */
#define GC_THREADS
#define GC_NO_THREAD_REDIRECTS
#include <gc/gc.h>
#include <gc/gc_mark.h>

#include <string.h>
#include <unistd.h>

#include "conceal.h"
#include "suite.h"

static HELPER void only_forced_cycles(void) {
  GC_INIT();
  GC_disable();
}

static HELPER void collect(void) {
  scrub_stack();
  GC_enable();
  GC_gcollect();
  GC_disable();
}

/* How many of the n objects exist no more. Valid until the next allocation reuses their places. */
static HELPER size_t count_gone(const hidden *h, size_t n) {
  size_t gone = 0;
  for (size_t i = 0; i < n; i++) gone += GC_size(reveal(h[i])) == 0;
  return gone;
}

#define REQUIRE_LEFT(h, n)                                                            \
  do {                                                                                \
    size_t gone_ = count_gone((h), (n));                                              \
    REQUIRE_MSG(gone_ == 0, "%zu of %zu reachable objects went", gone_, (size_t)(n)); \
  } while (0)
#define REQUIRE_MOSTLY_GONE(h, n)                                                        \
  do {                                                                                   \
    size_t n_ = (n), gone_ = count_gone((h), n_);                                        \
    REQUIRE_MSG(gone_ * 100 >= n_ * 95, "only %zu of %zu dead objects went", gone_, n_); \
  } while (0)

/* The suite, and then the program once more, with cycles that mark beside it. What they do is chosen when the library is loaded. */
static HELPER int main_in_both_kinds_of_cycle(Suite *suite) {
  char name[] = "again", *arguments[] = {name, NULL};
  int failed = suite_main(suite);
  if (failed != 0 || getenv("GC_CONCURRENT") != NULL) return failed;
  setenv("GC_CONCURRENT", "always", 1);
  execv("/proc/self/exe", arguments);
  return 2;
}

#endif
