/* control.c - initialisation, and collections: when they happen, who is told, what the program may ask for.
 * Owns: the hooks of gc/cycle.h and gc/roots.h as far as the drop-in needs them. Of a cycle, in order:
 *   wanted    GC_dont_gc, and for those that begin by themselves the stop function, can say no; then the start callback,
 *             in the thread of the program that wants the cycle
 *   began     event START, toggle references; the rest may come in the collector's own thread
 *   stopping  bdw_lock is taken, a thread of the program is awaited (meet.c), toggle references, event PRE_STOP_WORLD; the world stops
 *   gathering events POST_STOP_WORLD, MARK_START; what the program pushes becomes roots. An attempt that took too long goes
 *             to resuming and comes again.
 *   marked    objects with mark procedures (gc/traced.h), then links and finalizers (gc/verdict.h), until none wants more marked
 *   judged    event MARK_END
 *   resuming  event PRE_START_WORLD
 *   resumed   POST_START_WORLD, RECLAIM_START, RECLAIM_END, END: sweeping is left to whoever allocates. The program is told
 *             what is going to be finalized; bdw_lock is given back.
 *   over      finalizers are due; they run at the end of calls that collect, or with an allocation */
#include "api/bdw/control.h"

#include "alloc/pageheap.h"
#include "alloc/scavenge.h"
#include "api/bdw/misc.h"
#include "api/bdw/stats.h"
#include "gc/cycle.h"
#include "gc/roots.h"
#include "gc_alloc.h"
#include "runtime/options.h"
#include "runtime/os.h"

int GC_dont_gc;

static GC_TLS bool in_cycle; /* this thread runs one */

static struct {
  atomic_u32 made;      /* [A] 1: bdw_init has been called */
  atomic_u32 called;    /* [A] 1: GC_init has */
  atomic_u32 begun;     /* [A] cycles begun */
  atomic_u32 announced; /* [A] of these, or the next one, the last that the start callback was called for */
  bool incremental;     /* [A] the program asked for it */
  atomic_word expanded; /* [A] bytes that it asked for with GC_expand_hp */
  uint64_t told_size;   /* [L:CYCLE] of the heap, to GC_on_heap_resize */
  GC_stop_func stop;    /* [A] */
  void (*judged)(void), (*over)(void); /* [const] the library's own, called before ours */
} control GC_OWN_DATA;

/* ---- hooks ---- */

static void tell(GC_EventType event) {
  GC_on_collection_event_proc f = GC_get_on_collection_event();
  if (f != NULL) f(event);
}

/* Once for each cycle, whatever number of threads want it. */
static void announce(unsigned cycle) {
  unsigned last = atomic32_load_relaxed(&control.announced);
  GC_start_callback_proc f = GC_get_start_callback();
  if (last < cycle && atomic32_cas(&control.announced, last, cycle) && f != NULL) f();
}

/* GC_disable takes CYCLE after it has counted up: from then on the answer is no. */
static bool on_allowed(void) { return __atomic_load_n(&GC_dont_gc, __ATOMIC_SEQ_CST) == 0; }

static bool on_wanted(enum cycle_reason reason) {
  params_take();
  if (!on_allowed()) return false;
  if (reason == CYCLE_HEAP && (!params_automatic() || control.stop() != 0)) return false;
  announce(atomic32_load_relaxed(&control.begun) + 1);
  return true;
}

static void on_began(void) {
  in_cycle = true;
  announce(atomic32_add(&control.begun, 1) + 1); /* when two were wanted at once, nobody else has */
  tell(GC_EVENT_START);
  bdw_final_began();
}

static void on_stopping(void) {
  bdw_lock_for_stop();
  bdw_meet_await();
  bdw_final_stopping();
  tell(GC_EVENT_PRE_STOP_WORLD);
}

static void on_gathering(void) {
  tell(GC_EVENT_POST_STOP_WORLD);
  bdw_threads_stopped();
  tell(GC_EVENT_MARK_START);
  bdw_roots_gather();
}

static void on_judged(void) {
  if (control.judged != NULL) control.judged();
  bdw_debug_judge();
  tell(GC_EVENT_MARK_END);
}

static void on_resuming(void) {
  bdw_threads_resuming();
  tell(GC_EVENT_PRE_START_WORLD);
}

static uint64_t heap_size(void) {
  thread_defer_stops();
  struct pageheap_totals t = pageheap_totals();
  thread_allow_stops();
  return t.sys - t.released;
}

static void tell_size(void) {
  uint64_t size = heap_size();
  if (GC_on_heap_resize != NULL && size != control.told_size) GC_on_heap_resize(size);
  control.told_size = size;
}

/* GC_PRINT_STATS. Neither trace.h's line, which is for those who know this collector, nor that library's. */
static void print_stats(void) {
  GC_log_printf("collection %lu: %lu KiB live of a heap of %lu KiB\n", GC_get_gc_no(),
                (unsigned long)(cycle_live_bytes() / KIB), (unsigned long)(heap_size() / KIB));
}

static void on_resumed(bool ended) {
  tell(GC_EVENT_POST_START_WORLD);
  if (ended) {
    bdw_final_ended();
    bdw_count_cycle();
    tell(GC_EVENT_RECLAIM_START);
    tell(GC_EVENT_RECLAIM_END);
    tell(GC_EVENT_END);
    tell_size();
    if (env_print_stats()) print_stats();
    in_cycle = false;
  }
  bdw_unlock_after_stop();
  bdw_meet_over();
}

static void on_over(void) {
  if (control.over != NULL) control.over();
  bdw_debug_tell();
  bdw_final_over();
}

/* ---- initialisation ---- */

static int never_stop(void) { return 0; }

static void set_hooks(void) {
  control.stop = never_stop;
  control.judged = cycle_judged_hook;
  control.over = cycle_over_hook;
  cycle_wanted_hook = on_wanted;
  cycle_allowed_hook = on_allowed;
  cycle_began_hook = on_began;
  cycle_stopping_hook = on_stopping;
  roots_program_hook = on_gathering;
  cycle_judged_hook = on_judged;
  cycle_resuming_hook = on_resuming;
  cycle_resumed_hook = on_resumed;
  cycle_over_hook = on_over;
  fatal_hook = params_abort;
}

void bdw_init(void) {
  runtime_ensure_init();
  if (!atomic32_cas(&control.made, 0, 1)) return;
  set_hooks();
  bdw_threads_init();
  bdw_final_init();
  env_read(ENV_LOAD);
  params_take();
}

/* After api/init.c's, and like that before the program's own constructors: programs allocate without GC_init. */
__attribute__((constructor(102))) static void at_load(void) { bdw_init(); }

/* What the program set before, the environment has the last word on. */
static void first_init(void) {
  env_read(ENV_INIT);
  GC_parallel = (options.markers > 0 ? options.markers : (int)os_cpu_count()) - 1;
  if (GC_find_leak) GC_set_find_leak(1);
}

/* Variables may have been assigned, and are known from here on. */
void GC_init(void) {
  bdw_init();
  library_enter();
  library_leave();
  if (atomic32_cas(&control.called, 0, 1)) first_init();
  params_take();
}

/* A first allocation initialises, too. */
int GC_is_init_called(void) {
  return atomic32_load_relaxed(&control.called) != 0 || cycle_live_bytes() != 0 || heap.live != 0;
}

/* There is nothing to give back before the process ends. */
void GC_deinit(void) { atomic32_store_relaxed(&control.called, 0); }

/* ---- collections ---- */

/* A callback that a cycle has called cannot wait for one. */
static const char not_here[] = "a callback of a collection cannot ask for another one";
static bool may_collect(void) { return GC_dont_gc == 0 && !in_cycle; }

/* What the heap is not going to need until the next cycle goes back at once, in short pieces, since others may want to
 * stop this thread. The background thread would take seconds for it. */
static void release_excess(void) {
  for (bool more = true; more;) {
    library_enter();
    more = scavenge_step(MIB) != 0;
    library_leave();
  }
}

void GC_gcollect_and_unmap(void) {
  if (in_cycle) bdw_unsupported("GC_gcollect_and_unmap", not_here);
  if (!may_collect()) return;
  gc_release_memory();
  bdw_final_attend();
}

int GC_try_to_collect(GC_stop_func stop) {
  if (in_cycle) bdw_unsupported("GC_try_to_collect", not_here);
  if (!may_collect() || stop() != 0) return 0;
  if (GC_get_force_unmap_on_gcollect()) {
    gc_release_memory();
  } else {
    gc_collect();
    release_excess();
  }
  bdw_final_attend();
  return 1;
}

void GC_gcollect(void) { GC_try_to_collect(control.stop); }

/* Asked before a collection: there is no other time when one could be left out. */
void GC_set_stop_func(GC_stop_func f) { control.stop = f; }
GC_stop_func GC_get_stop_func(void) { return control.stop; }

/* What allocation would do at its next slow path. 1: a cycle goes on beside the program. */
int GC_collect_a_little(void) {
  if (in_cycle) bdw_unsupported("GC_collect_a_little", not_here);
  if (!may_collect()) return 0;
  library_enter();
  library_leave();
  if (cycle_is_due() || heap_is_marking()) cycle_run(CYCLE_HEAP);
  return heap_is_marking();
}

/* None ends after the return: programs hide pointers then. */
void GC_disable(void) {
  __atomic_fetch_add(&GC_dont_gc, 1, __ATOMIC_SEQ_CST);
  if (in_cycle) return;
  library_enter();
  library_leave();
  cycle_keep_out();
  cycle_let_in();
}

void GC_enable(void) {
  int depth = __atomic_load_n(&GC_dont_gc, __ATOMIC_RELAXED);
  while (depth > 0 &&
         !__atomic_compare_exchange_n(&GC_dont_gc, &depth, depth - 1, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
    continue;
}

int GC_is_disabled(void) { return GC_dont_gc != 0; }

/* ---- incremental collection: cycles run beside the program in any case ---- */

void control_go_incremental(void) {
  if (GC_dont_gc == 0 && GC_find_leak == 0 && !env_disable_incremental()) control.incremental = true;
}

void GC_enable_incremental(void) {
  GC_init();
  control_go_incremental();
}

int GC_is_incremental_mode(void) { return control.incremental; }
int GC_incremental_protection_needs(void) { return 0; } /* the kernel tracks writes: no page is protected */

void GC_start_incremental_collection(void) {
  if (in_cycle) bdw_unsupported("GC_start_incremental_collection", not_here);
  if (control.incremental && may_collect()) cycle_run(CYCLE_FORCED);
}

/* ---- the size of the heap ---- */

/* The heap grows when memory is needed. What a program wants with this is no collection before so much is used. */
int GC_expand_hp(size_t bytes) {
  if (bytes > heap.pages << PAGE_SHIFT) return 0;
  library_enter();
  library_leave();
  cycle_set_floor(atomic_add(&control.expanded, bytes) + bytes);
  return 1;
}
