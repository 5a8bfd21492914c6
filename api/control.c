/* control.c - calls that steer collection: when, how much, from which roots. */
#include <errno.h>
#include <stdarg.h>

#include "alloc/cache.h"
#include "alloc/inside.h"
#include "alloc/scavenge.h"
#include "alloc/sweep.h"
#include "api/object.h"
#include "gc/cycle.h"
#include "gc/roots.h"
#include "gc_alloc.h"
#include "gc_frag.h"
#include "runtime/options.h"

/* In short pieces, since others may want to stop this thread. When nothing is left to take, the background thread or
 * an allocating one may still have a batch in hand: until it is filed, its dead objects count as live. */
static void sweep_everything(void) {
  for (bool more = true; more;) {
    library_enter();
    more = sweep_some(SWEEP_BATCH);
    library_leave();
  }
  cycle_wait_for_sweepers();
}

/* Unlike other threads', it can be given back. */
static void flush_own_cache(void) {
  library_enter();
  if (tl_cache != &empty_cache) cache_flush(tl_cache);
  library_leave();
}

/* This thread's cache goes back first, so that nothing of it is kept. */
static void collect(enum cycle_reason reason) {
  flush_own_cache();
  cycle_run(reason);
  sweep_everything();
}

static void release_free_pages(void) {
  library_enter();
  scavenge_all();
  library_leave();
}

void collect_fully(void) { collect(CYCLE_FORCED); }

void collect_for_memory(void) {
  collect(CYCLE_MEMORY);
  release_free_pages();
}

void gc_collect(void) { collect_fully(); }

#define PIECES 16 /* some 2 ms, that a cycle which has become due may have to wait */

uint64_t gc_release_inside(void) {
  uint32_t at = 0;
  uint64_t bytes = 0;
  flush_own_cache();
  sweep_everything();
  for (bool more = true; more;) {
    cycle_keep_out();
    for (int i = 0; more && i < PIECES; i++) more = inside_release_some(&at, &bytes);
    cycle_let_in();
  }
  return bytes;
}

void gc_release_memory(void) {
  collect_fully();
  release_free_pages();
  if (options.release_inside) gc_release_inside();
}

void gc_disable(void) {
  library_enter();
  library_leave();
  cycle_disable();
}

void gc_enable(void) {
  library_enter();
  library_leave();
  cycle_enable();
}

int gc_set_percent(int percent) {
  library_enter();
  library_leave();
  return cycle_set_percent(percent);
}

int gc_add_roots(void *lo, void *hi) {
  if ((char *)hi < (char *)lo) {
    errno = EINVAL;
    return -1;
  }
  library_enter();
  bool ok = roots_add(lo, hi);
  library_leave();
  if (ok) return 0;
  errno = ENOMEM;
  return -1;
}

void gc_remove_roots(void *lo, void *hi) {
  library_enter();
  roots_remove(lo, hi);
  library_leave();
}

/* The call itself is the barrier: the compiler cannot see into it. */
void gc_use_(int ignored, ...) {
  va_list args;
  va_start(args, ignored);
  __asm__ volatile("" ::: "memory");
  va_end(args);
}
