/* unit.h - what the tests of the internals share.
 * Owns:     captured stderr, threads that a test waits for, a thread's own cache, REQUIRE_WHOLE.
 * Promises: after quiet_heap no cycle starts by itself; a test that wants one runs it.
 * Never:    waits for time to pass: every wait is for an event. */
#ifndef HOLDFAST_TEST_UNIT_H
#define HOLDFAST_TEST_UNIT_H

#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "suite.h"

#include "alloc/cache.h"
#include "alloc/heapcheck.h"
#include "alloc/pageheap.h"
#include "gc_typed.h"
#include "runtime/options.h"
#include "runtime/os.h"
#include "runtime/thread.h"

#define UNUSED_OK __attribute__((unused))

/* The heap is whole. No other thread may be at work in it. */
#define REQUIRE_WHOLE()                                         \
  do {                                                          \
    const char *what_ = heapcheck();                            \
    REQUIRE_MSG(what_ == NULL, "line %d: %s", __LINE__, what_); \
  } while (0)

/* Runs f with stderr going to memory; returns the length of what it wrote, text ends with a 0. */
static UNUSED_OK size_t capture_stderr(void (*f)(void *), void *arg, char *text, size_t size) {
  int file = memfd_create("stderr", 0), saved = dup(2);
  REQUIRE(file >= 0 && saved >= 0 && dup2(file, 2) == 2);
  f(arg);
  REQUIRE(dup2(saved, 2) == 2);
  close(saved);
  ssize_t n = pread(file, text, size - 1, 0);
  close(file);
  REQUIRE(n >= 0);
  text[n] = '\0';
  return (size_t)n;
}

static UNUSED_OK void start_thread(pthread_t *id, void *(*body)(void *), void *arg) {
  REQUIRE(pthread_create(id, NULL, body, arg) == 0);
}

/* Waits until another thread has stored `value`; yields, so that one processor is enough. */
static UNUSED_OK void await(const atomic_u32 *p, unsigned value) {
  while (atomic32_load_acquire(p) != value) sched_yield();
}

/* No cycle unless the test asks for one, no background thread. */
static UNUSED_OK void quiet_heap(void) {
  options.background = 0;
  options.torture = 0;
  gc_disable();
}

/* The calling thread's cache, made when it has none. */
static UNUSED_OK struct cache *own_test_cache(void) {
  if (tl_cache == &empty_cache) REQUIRE(gc_alloc(1) != NULL);
  return tl_cache;
}

/* Of two words the second may hold a pointer. The first layout brings the typed span classes with it. */
static UNUSED_OK const gc_layout *some_typed_layout(void) {
  static const size_t at[] = {8};
  return gc_layout_offsets(16, at, 1);
}

static UNUSED_OK void flush_own_cache(void) {
  thread_defer_stops();
  if (tl_cache != &empty_cache) cache_flush(tl_cache);
  thread_allow_stops();
}

#endif
