/* limits.c - memory limits: setting them, and asking the program for memory before it is refused some.
 * What keeps them is elsewhere: the pacer's goal (gc/pacer.h), the page heap (alloc/pageheap.h), and the ladder in
 * api/alloc.c. */
#include <errno.h>

#include "alloc/pageheap.h"
#include "api/object.h"
#include "gc/cycle.h"
#include "gc_alloc.h"
#include "runtime/config.h"
#include "runtime/lock.h"

/* Not among our own data, since arg is a root. */
static struct {
  struct lock lock;
  void (*f)(size_t bytes_wanted, void *arg); /* [L:PRESSURE] NULL: none */
  void *arg;                                 /* [L:PRESSURE] */
  struct thread *runner;                     /* [L:PRESSURE] the thread inside f; NULL: none */
} pressure = {.lock = LOCK_INIT(PRESSURE)};

static void lock_pressure(void) {
  library_enter();
  lock_acquire(&pressure.lock);
}

static void unlock_pressure(void) {
  lock_release(&pressure.lock);
  library_leave();
}

void gc_set_pressure_callback(void (*f)(size_t bytes_wanted, void *arg), void *arg) {
  lock_pressure();
  pressure.f = f;
  pressure.arg = arg;
  unlock_pressure();
}

static void end_call(void) {
  lock_pressure();
  pressure.runner = NULL;
  unlock_pressure();
  cycle_take_pressure(); /* a cycle that the callback ran is no reason for the next call */
}

/* Without waiting for a thread that is inside already: it may wait for this one. */
bool pressure_call(size_t bytes_wanted) {
  lock_pressure();
  void (*f)(size_t, void *) = pressure.f;
  void *arg = pressure.arg;
  bool ours = pressure.runner == tl_thread, run = f != NULL && pressure.runner == NULL;
  if (run) pressure.runner = tl_thread;
  unlock_pressure();
  if (run) {
    int saved = errno;
    f(bytes_wanted, arg);
    errno = saved;
    end_call();
  }
  return f != NULL && !ours;
}

void (*attended_hook)(void) GC_OWN_DATA;

void limits_attend(void) {
  atomic32_store_relaxed(&pageheap_note, 0);
  cycle_attend();
  uint64_t bytes = cycle_take_pressure();
  if (bytes > 0) pressure_call(bytes);
  if (attended_hook != NULL) attended_hook();
}

void limits_fork_child(void) {
  if (pressure.runner != tl_thread) pressure.runner = NULL;
}

/* What is over goes back in short pieces, since others may want to stop this thread. */
static size_t set_limit(enum cycle_limit which, size_t bytes) {
  library_enter();
  library_leave();
  uint64_t before = cycle_set_limit(which, bytes);
  for (bool more = true; more;) {
    library_enter();
    more = pageheap_scavenge_beyond_limits(CHUNK_SIZE) != 0;
    library_leave();
  }
  return before;
}

size_t gc_set_memory_limit(size_t bytes) { return set_limit(LIMIT_SOFT, bytes); }
size_t gc_set_hard_limit(size_t bytes) { return set_limit(LIMIT_HARD, bytes); }
