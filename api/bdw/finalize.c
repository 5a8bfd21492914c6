/* finalize.c - finalizers of the other library, on those of gc/finalize.h. How turns are decided differs by flags of the records
 * (gc/watch.h); who runs them, here: never a thread of ours, but one of the program's that calls for memory, or asks.
 *
 * Differences. The client data are roots as long as the finalizer is registered, as there. What an object that is to be
 * finalized leads to is kept until its finalizer has run, with GC_java_finalization and without; that variable only says,
 * when a finalizer is registered, whether it is one of the `unreachable` kind or a plain one. */
#include "api/bdw/finalize.h"

#include <errno.h>

#include "alloc/pageheap.h"
#include "api/bdw/params.h"
#include "api/object.h"
#include "gc/finalize.h"
#include "gc/verdict.h"
#include "runtime/options.h"

int GC_finalize_on_demand;
GC_finalizer_notifier_proc GC_finalizer_notifier;

static struct {
  atomic_u32 due;    /* [A] 1: there is something for bdw_final_attend to do */
  atomic_word await; /* [A; written under bdw_lock] a GC_await_finalize_proc; 0: none */
  atomic_u32 told;   /* [A] generation of the last cycle that was attended to */
  atomic_word stuck; /* [A] objects that wait for each other, as last warned of */
} final GC_OWN_DATA;

/* [own] The frame in which this thread runs finalizers, NULL: it does not; and how often, in the one that runs, others were due. */
static GC_TLS char *running;
static GC_TLS unsigned skipped;
#define PATIENCE 50 /* times, about one per cycle */

/* By hand: the thread of gc/finalize.c does not exist. */
void bdw_final_init(void) {
  options.finalizers = 1;
  attended_hook = bdw_final_attend;
}

/* ---- registering ---- */

static void store(const struct finalization *before, GC_finalization_proc *ofn, void **ocd) {
  if (ofn != NULL) *ofn = before->f;
  if (ocd != NULL) *ocd = before->arg;
}

/* Until the old data are stored, this frame is what keeps them. */
static void set(void *obj, GC_finalization_proc fn, void *cd, GC_finalization_proc *ofn, void **ocd, unsigned how) {
  struct finalization now = {fn, cd, how | HOW_HELD}, before = {NULL, NULL, 0};
  library_enter();
  struct slot s = object_find(obj);
  bool is_object = s.object != NULL, ok = true;
  const void *p = is_object && !object_is_tiny_block(&s) ? s.object : obj;
  if (is_object && (fn != NULL || page_is_watched(s.page))) ok = finalize_set(p, &s, &now, &before);
  library_leave();
  if (ok)
    store(&before, ofn, ocd);
  else
    bdw_refused(sizeof(struct watch));
}

void GC_register_finalizer(void *obj, GC_finalization_proc fn, void *cd, GC_finalization_proc *ofn, void **ocd) {
  set(obj, fn, cd, ofn, ocd, HOW_FIRST | HOW_SELF);
}

void GC_register_finalizer_ignore_self(void *obj, GC_finalization_proc fn, void *cd, GC_finalization_proc *ofn,
                                       void **ocd) {
  set(obj, fn, cd, ofn, ocd, HOW_FIRST);
}

void GC_register_finalizer_no_order(void *obj, GC_finalization_proc fn, void *cd, GC_finalization_proc *ofn,
                                    void **ocd) {
  set(obj, fn, cd, ofn, ocd, 0);
}

void GC_register_finalizer_unreachable(void *obj, GC_finalization_proc fn, void *cd, GC_finalization_proc *ofn,
                                       void **ocd) {
  set(obj, fn, cd, ofn, ocd, HOW_FIRST | HOW_SELF | (GC_java_finalization != 0 ? HOW_LAST : 0));
}

/* ---- running ---- */

int GC_should_invoke_finalizers(void) { return atomic32_load_relaxed(&finalize_waiting) != 0; }

/* Who is told of each object that is queued is told before anyone takes it: the collector does that under bdw_lock. */
static bool take(struct finalization *f, void **object) {
  if (GC_LIKELY(atomic_load_relaxed(&final.await) == 0)) return finalize_take(f, object);
  bdw_lock();
  bool found = finalize_take(f, object);
  bdw_unlock();
  return found;
}

/* This thread is in a finalizer, further down the same stack. The frame may have been left by longjmp, or an exception: that
 * shows at a call from less deep in the stack, or else is taken to be so after a while. */
static bool is_running(void) {
  if (running == NULL || (char *)__builtin_frame_address(0) >= running) return false;
  return ++skipped < PATIENCE;
}

GC_NOINLINE int GC_invoke_finalizers(void) {
  struct finalization f;
  void *object;
  int n = 0;
  library_enter(); /* the thread is known from here on: what it takes is on its stack */
  library_leave();
  char *before = running;
  running = __builtin_frame_address(0);
  for (; take(&f, &object); n++) {
    skipped = 0;
    f.f(object, f.arg);
  }
  running = before;
  return n;
}

/* Finalizers may register others. */
void GC_finalize_all(void) {
  for (uint64_t queued = 1; queued > 0;) {
    library_enter();
    queued = finalize_queue_all();
    library_leave();
    GC_invoke_finalizers();
  }
}

/* ---- after a cycle ---- */

void bdw_final_ended(void) {
  GC_await_finalize_proc tell = (GC_await_finalize_proc)atomic_load_relaxed(&final.await);
  if (tell == NULL) return;
  for (void *object; (object = finalize_next_new()) != NULL;) tell(object);
}

static uint64_t stuck_now(void) {
  thread_defer_stops();
  watch_lock();
  uint64_t n = verdict_counts().stuck;
  watch_unlock();
  thread_allow_stops();
  return n;
}

static void set_due(void) {
  atomic32_store_relaxed(&final.due, 1);
  atomic32_store_relaxed(&pageheap_note, 1); /* for the slow path */
}

/* Whoever ran the cycle may be a thread of ours, and whoever waited for it may be in the middle of anything: the next that asks
 * for memory attends. Once per cycle. */
void bdw_final_over(void) {
  unsigned cycle = atomic32_load_relaxed(&heap.gen);
  bool due = GC_should_invoke_finalizers() || stuck_now() > atomic_load_relaxed(&final.stuck);
  if (due && atomic32_swap(&final.told, cycle) != cycle) set_due();
}

static void warn_of_cycles(void) {
  uint64_t stuck = stuck_now();
  if (stuck > atomic_load_relaxed(&final.stuck))
    bdw_warn("Finalization cycle: %p objects wait for each other and will not be finalized\n", stuck);
  atomic_store_relaxed(&final.stuck, stuck);
}

static void run_or_notify(void) {
  GC_finalizer_notifier_proc notify = GC_finalizer_notifier;
  if (GC_finalize_on_demand == 0)
    GC_invoke_finalizers();
  else if (notify != NULL && GC_should_invoke_finalizers())
    notify();
}

/* In a finalizer this thread runs no other one; it goes on with the rest after that. */
void bdw_final_attend(void) {
  if (atomic32_load_relaxed(&final.due) == 0 || (GC_finalize_on_demand == 0 && is_running())) return;
  if (!atomic32_cas(&final.due, 1, 0)) return;
  int saved = errno;
  warn_of_cycles();
  run_or_notify();
  errno = saved;
}

/* ---- settings ---- */

/* What waits since it was on demand does not wait for another cycle. */
void GC_set_finalize_on_demand(int on) {
  GC_finalize_on_demand = on;
  if (on == 0 && GC_should_invoke_finalizers()) set_due();
}
int GC_get_finalize_on_demand(void) { return GC_finalize_on_demand; }

void GC_set_finalizer_notifier(GC_finalizer_notifier_proc fn) {
  bdw_lock();
  GC_finalizer_notifier = fn;
  bdw_unlock();
}

GC_finalizer_notifier_proc GC_get_finalizer_notifier(void) {
  bdw_lock();
  GC_finalizer_notifier_proc fn = GC_finalizer_notifier;
  bdw_unlock();
  return fn;
}

void GC_set_await_finalize_proc(GC_await_finalize_proc fn) {
  bdw_lock();
  atomic_store_relaxed(&final.await, (uintptr_t)fn);
  bdw_unlock();
}

GC_await_finalize_proc GC_get_await_finalize_proc(void) {
  bdw_lock();
  GC_await_finalize_proc fn = (GC_await_finalize_proc)atomic_load_relaxed(&final.await);
  bdw_unlock();
  return fn;
}

void GC_push_finalizer_structures(void) {}
