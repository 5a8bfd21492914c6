/* init.c - puts the layers together: order of initialisation, what happens at a thread's end and at fork. */
#include "runtime/init.h"

#include <pthread.h>

#include "alloc/cache.h"
#include "alloc/central.h"
#include "alloc/compact.h"
#include "alloc/guard.h"
#include "alloc/leaks.h"
#include "alloc/pageheap.h"
#include "alloc/slotmap.h"
#include "api/fault.h"
#include "api/object.h"
#include "api/profile.h"
#include "gc/background.h"
#include "gc/collector.h"
#include "gc/cycle.h"
#include "gc/finalize.h"
#include "gc/trace.h"
#include "gc/verdict.h"
#include "gc/workers.h"
#include "gc_alloc.h"
#include "runtime/dirty.h"
#include "runtime/images.h"
#include "runtime/interpose.h"
#include "runtime/options.h"
#include "runtime/standin.h"
#include "runtime/thread.h"
#include "runtime/world.h"

void (*runtime_init_hook)(void) = gc_init;

static bool initialised GC_OWN_DATA; /* plain: set before the program can have a second thread */

static void on_thread_exit(struct thread *t) {
  if (t->cache != NULL) cache_retire(t->cache);
  t->cache = NULL;
}

static void begin_fork(void) {
  thread_register_self();
  cycle_fork_lock();
}

/* The other threads are gone: their records and caches go back, our own threads start anew when needed. */
static void end_fork_in_child(void) {
  threads_fork_child();
  standin_fork_child();
  workers_fork_child();
  background_fork_child();
  collector_fork_child();
  finalize_fork_child();
  dirty_fork_child();
  limits_fork_child();
  leaks_forget();
  caches_fork_child();
  cycle_fork_unlock();
}

static GC_TLS bool forks_by_hand; /* [own] between begin and end */

static void before_fork(void) {
  if (!forks_by_hand) begin_fork();
}
static void after_fork(void) {
  if (!forks_by_hand) cycle_fork_unlock();
}
static void after_fork_in_child(void) {
  if (!forks_by_hand) end_fork_in_child();
}

void fork_begin_by_hand(void) {
  begin_fork();
  forks_by_hand = true;
}

void fork_end_by_hand(bool in_child) {
  if (!forks_by_hand) return;
  forks_by_hand = false;
  if (in_child)
    end_fork_in_child();
  else
    cycle_fork_unlock();
}

/* Quarantine first: what is in it is no leak. */
static void on_judged(void) {
  if (guards_on) guards_judge();
  if (leaks_wanted) leaks_count();
}

/* Diagnostics that were asked for. */
static void debug_init(void) {
  if (options.leaks && !leaks_init()) fatal("the system refuses memory for GC_LEAKS");
  if (options.debug && !guards_init()) fatal("the system refuses memory for GC_DEBUG");
  if (options.leaks || options.debug) cycle_judged_hook = on_judged;
  if (options.debug) cycle_over_hook = fault_tell_pending;
}

/* Lower layers first; the handler before the first thread that it may meet. */
void gc_init(void) {
  if (GC_LIKELY(initialised)) return;
  initialised = true;
  options_read();
  if (!options.debug) sizeclass_init(options.one_past_end);
  if (options.leaks) sizeclass_no_tiny(); /* one that shares a block cannot be freed */
  heap_reserve();
  if (!slotmap_init() || !pageheap_init()) fatal("the system refuses memory for the page tables");
  central_init(0, TYPED_FIRST);
  compact_init(0, TYPED_FIRST);
  trace_init();
  cycle_init();
  cycle_marked_hook = verdict_marked;
  thread_exit_hook = on_thread_exit;
  interpose_init();
  images_init();
  world_init();
  threads_init();
  pthread_atfork(before_fork, after_fork, after_fork_in_child);
  profile_init();
  debug_init();
}

/* Before the program's own constructors, so that the thread that runs them is known as the main one. */
__attribute__((constructor(101))) static void at_load(void) { gc_init(); }
