/* cycle.c - a collection from beginning to end. run_stopped() and run_beside() are the two kinds of cycle, each a
 * list of steps; cycle_run() chooses.
 *
 * Stopped, for small heaps and where the kernel cannot track writes:
 *  1 Finish.  Sweeping of the previous cycle is completed while the program runs, so that every slot byte
 *    is free or of the live colour.
 *  2 Stop.    All threads of the program are stopped (runtime/world), inside the loader's lock, and the
 *    roots are listed: data, TLS, stacks with registers, registered ranges.
 *  3 Colours. Live and other colour trade places (alloc/slotmap.h): every object is white now, and nothing
 *    had to be cleared. Slots that threads have claimed but not handed out turn black, and the last slot each
 *    thread took becomes a root (alloc/cache.h).
 *  4 Mark.    Markers - this thread and workers, as many as the live bytes justify - take pieces of roots
 *    and trace; idle ones are given work from the bottom of busy ones' stacks. If a mark stack was
 *    full, all black objects are looked at again.
 *  5 End.     Weak references and finalizers have their turn (gc/verdict.h). The generation is raised: all
 *    spans on central lists are unswept now. Spans in caches are swept at once, since only their owner may touch
 *    them later. The trigger of the next cycle is set.
 *  6 Resume.  Threads run. Dead slots are freed a span at a time, by allocation that needs them and by the
 *    background thread (alloc/sweep.h, gc/background.c), which also returns free pages to the system.
 *
 * Beside the program (by the collector's thread, gc/collector.c): incremental update. What counts is that the last,
 * stopped pass sees everything written since it was last scanned.
 *  1 Begin.   Finish as above. From now on no slot becomes free (heap_is_marking). The colours trade places without a
 *    stop: a thread that has not noticed claims slots of a colour that is white by now, which is allowed.
 *  2 Arm.     Write tracking starts (gc/remark).
 *  3 Hints.   Words of data and stacks, read while the program changes them: where to start, not the truth.
 *  4 Mark     from there, and from what is known of ephemerons and finalizers then; in between a stop without marking, for hints
 *    that the program itself gives.
 *  5 Clean.   Pages written since are armed again and their black objects scanned again, until few are left.
 *  6 Stop.    Roots, the last dirty pages, fresh spans, and what they lead to. When that takes longer than
 *    GC_MAX_PAUSE_US the world runs again, what is known is marked beside it, and 5 and 6 are repeated; the last
 *    try takes as long as it must. So too when what finalizers will be given takes longer: what was decided of them
 *    stands (gc/verdict.h).
 *  7 End and resume as above.
 *
 * What must hold: an object reachable from a root at the (last) stop is black at the end (INV-MARK-2); a free
 * slot is never marked (INV-MARK-3); nothing between stop and resume takes memory from malloc, calls the
 * loader or waits for another thread of the program (INV-STOP-2). Debug builds re-mark with other code and
 * count the whole heap twice before they resume. */
#include "gc/cycle.h"

#include "alloc/cache.h"
#include "alloc/central.h"
#include "alloc/heapcheck.h"
#include "alloc/scavenge.h"
#include "alloc/sweep.h"
#include "gc/assist.h"
#include "gc/background.h"
#include "gc/clean.h"
#include "gc/collector.h"
#include "gc/finalize.h"
#include "gc/kept.h"
#include "gc/mark.h"
#include "gc/markers.h"
#include "gc/pacer.h"
#include "gc/remark.h"
#include "gc/roots.h"
#include "gc/trace.h"
#include "gc/traced.h"
#include "gc/verdict.h"
#include "gc/verify.h"
#include "gc/watch.h"
#include "gc/workers.h"
#include "runtime/dirty.h"
#include "runtime/lock.h"
#include "runtime/options.h"
#include "runtime/os.h"
#include "runtime/probe.h"
#include "runtime/thread.h"
#include "runtime/world.h"

#define ATTEMPTS 4 /* stops of a cycle beside the program; the last has no deadline */
/* Times GC_MAX_PAUSE_US of marking; less is done faster in a stop. Arming and the faults made binary-trees of 50 MiB twice
 * as slow. */
#define WORTH 30
#define CROWD 4             /* busy threads per processor beyond which cycles are stopped ones */
#define SURVIVORS_BLACK 250 /* of 1000 births: from here on they are better born black */

static struct {
  struct lock lock;
  uint64_t heap_at_start;       /* [L:CYCLE] heap.live */
  uint64_t taken[SPAN_CLASSES]; /* [L:CYCLE] bytes_taken when births began to be black */
  int survivors[SPAN_CLASSES];  /* [L:CYCLE] of 1000 births, those that survived the last cycle beside the program */
  struct cycle_record current;  /* [L:CYCLE] what the trace line tells */
  atomic_word mark_ns_per_mib;  /* [A; written L:CYCLE] CPU time per MiB marked, of the last cycles */
} cycle GC_OWN_DATA = {.lock = LOCK_INIT(CYCLE), .mark_ns_per_mib = 200000};

void (*cycle_began_hook)(void) GC_OWN_DATA;
bool (*cycle_wanted_hook)(enum cycle_reason reason) GC_OWN_DATA;
bool (*cycle_allowed_hook)(void) GC_OWN_DATA;
void (*cycle_stopping_hook)(void) GC_OWN_DATA;
bool (*cycle_marked_hook)(void) GC_OWN_DATA;
void (*cycle_judged_hook)(void) GC_OWN_DATA;
void (*cycle_resumed_hook)(bool ended) GC_OWN_DATA;
void (*cycle_forking_hook)(bool before) GC_OWN_DATA;
void (*cycle_asked_hook)(void) GC_OWN_DATA;
void (*cycle_resuming_hook)(void) GC_OWN_DATA;
void (*cycle_over_hook)(void) GC_OWN_DATA;

void cycle_init(void) {
  if (!mark_init() || !roots_init() || !remark_init()) fatal("the system refuses memory for marking");
  dirty_init(heap.base, heap.pages << PAGE_SHIFT);
  for (unsigned sc = 0; sc < SPAN_CLASSES; sc++) cycle.survivors[sc] = 1000;
  settings_init();
}

/* ---- steps of both kinds ---- */

static void begin_record(enum cycle_reason reason, bool beside) {
  markers_begin();
  cycle.heap_at_start = atomic_load_relaxed(&heap.live);
  cycle.current = (struct cycle_record){
      .number = settings_cycles() + 1, .reason = reason, .beside = beside, .heap_before = cycle.heap_at_start};
  assist_begin();
  cycle.current.at[AT_START] = os_now_ns();
  if (cycle_began_hook != NULL) cycle_began_hook();
  PROBE2(cycle__start, (int)reason, (int)beside);
}

/* What other threads have in hand they finish before the stop, or before world_wait_for_leavers returns; no span is
 * left that they could begin with. */
static void finish_sweeping(void) {
  trace_phase(PHASE_SWEEP);
  background_hold();
  sweep_all();
}

static void exchange_colours(void) {
  unsigned white = atomic32_load_relaxed(&heap.live_colour);
  atomic32_store_relaxed(&heap.live_colour, other_colour(white)); /* births are white from here on */
}

/* In the stop: what caches hold survives. */
static void blacken_caches(void) {
  unsigned black = atomic32_load_relaxed(&heap.live_colour);
  for (struct cache *c = cache_first(); c != NULL; c = c->next) cache_stopped(c, black, roots_add_word, NULL);
  roots_seal();
}

/* Threads that took a span since the last cycle, as far as they can run at the same time. */
static unsigned allocating_threads(void) {
  unsigned n = 0;
  for (struct cache *c = cache_first(); c != NULL; c = c->next) n += cache_was_busy(c);
  return n < os_cpu_count() ? n : os_cpu_count();
}

/* Bytes ever claimed by caches from spans of the class, or allocated as large objects. */
static uint64_t bytes_taken(unsigned sc) {
  const struct central_counts *counts = central_counts(sc);
  uint64_t taken = atomic_load_relaxed(&counts->retired);
  if (sc < 2) return atomic_load_relaxed(&counts->large_bytes);
  for (struct cache *c = cache_first(); c != NULL; c = c->next) taken += atomic_load_relaxed(&c->span[sc].taken);
  return taken * span_class_size(sc);
}

/* What was born black was not marked, but survives. */
static uint64_t bytes_born_black(void) {
  uint64_t bytes = 0, black = atomic32_load_relaxed(&heap.live_colour);
  if (!cycle.current.beside) return 0;
  caches_lock(); /* no thread's counts move to the class's between two reads */
  for (unsigned sc = 0; sc < span_classes(); sc++)
    if (atomic8_load_relaxed(&heap.birth[sc]) == black) bytes += bytes_taken(sc) - cycle.taken[sc];
  caches_unlock();
  return bytes;
}

static void report(uint64_t live, uint64_t heap_at_end) {
  struct pacer_report report = {.live = live,
                                .noscan = mark_noscan_bytes(),
                                .heap_at_start = cycle.heap_at_start,
                                .heap_at_end = heap_at_end,
                                .mark_ns = os_now_ns() - cycle.current.at[AT_START],
                                .mutator_assist_ns = assist_ns(),
                                .cycle_cpu_ns = markers_cpu_ns(),
                                .root_bytes = roots_bytes(),
                                .threads = allocating_threads(),
                                .concurrent = cycle.current.beside};
  settings_marking_ended(&report);
}

static void make_marks_the_truth(void) {
  uint64_t live = mark_bytes() + bytes_born_black();
  uint64_t heap_at_end = atomic_load_relaxed(&heap.live);
  atomic32_store_relaxed(&heap.marking, 0); /* in the stop: nobody is inside the library */
  if (cycle.current.beside) remark_survivors(cycle.survivors);
  heap_set_births(atomic32_load_relaxed(&heap.live_colour));
  sweep_start();
  atomic_store_relaxed(&heap.live, live);
  for (struct cache *c = cache_first(); c != NULL; c = c->next) cache_sweep(c);
  cycle.current.live_after = live;
  report(live, heap_at_end);
}

static void check_everything(const char *(*checker)(void)) {
  const char *what = GC_DEBUG || GC_TORTURE ? checker() : NULL;
  if (what != NULL) fatal("cycle %lu: %s", (unsigned long)cycle.current.number, what);
}

/* The stop in which marking may end: roots are listed, and who wants to be alone with the program is asked first. */
static void stop_and_gather(char *sp, bool brief) {
  if (cycle_stopping_hook != NULL) cycle_stopping_hook();
  roots_stop_and_gather(sp, brief);
}

static void resume(bool ended) {
  if (cycle_resuming_hook != NULL) cycle_resuming_hook();
  world_start();
  if (cycle_resumed_hook != NULL) cycle_resumed_hook(ended);
}

/* Beside the program marking takes twice the time: a heap that came there by chance would never come back. */
static void measure_speed(void) {
  uint64_t before = atomic_load_relaxed(&cycle.mark_ns_per_mib), ns = markers_cpu_ns() / (cycle.current.beside ? 2 : 1);
  if (mark_bytes() >= MIB) atomic_store_relaxed(&cycle.mark_ns_per_mib, (before + ns / (mark_bytes() / MIB)) / 2);
}

static void account(void) {
  settings_note_cycle(&cycle.current);
  cycle.current.objects = mark_objects();
  cycle.current.overflows = mark_overflows();
  measure_speed();
}

/* What traced objects name, and what a finalizer will be given, stays, with all it refers to. The second decides what dies, so
 * the first comes to its end before each of its steps. False: the deadline came first. */
static bool ask_hook(struct deadline deadline) {
  while (traced_marked() || (cycle_marked_hook != NULL && cycle_marked_hook())) {
    roots_seal();
    markers_run(cycle.current.markers, deadline);
    if (deadline.hard != UINT64_MAX && !mark_phase_done()) return false;
    mark_finish();
  }
  return true;
}

/* Marking is finished and the world stopped since `stopped_at`. */
static void end_and_resume(uint64_t stopped_at) {
  trace_phase(PHASE_END);
  if (cycle.current.beside && dirty_works()) check_everything(remark_check);
  check_everything(mark_verify);
  check_everything(traced_check);
  if (cycle_judged_hook != NULL) cycle_judged_hook();
  traced_judged();
  make_marks_the_truth();
  check_everything(heapcheck);
  check_everything(watch_check);
  check_everything(kept_check);
  settings_note_stop(&cycle.current, os_now_ns() - stopped_at);
  account();
  cycle.current.at[AT_RESUME] = os_now_ns();
  resume(true);
  background_let_go();
  verdict_over();
  cycle.current.at[AT_END] = os_now_ns();
  scavenge_set_goal(cycle.current.next_gc);
  PROBE3(cycle__end, cycle.current.number, cycle.current.live_after, cycle.current.objects);
  trace_cycle(&cycle.current);
}

/* ---- the cycle with the world stopped ---- */

/* sp: the caller's stack, registers spilled above it. CYCLE is held. */
static void run_stopped(char *sp, void *arg) {
  uint64_t *at = cycle.current.at;
  unsigned markers = workers_available(cycle_live_bytes());
  begin_record(*(enum cycle_reason *)arg, false);
  cycle.current.why = dirty_works() ? "not worth a thread" : dirty_reason();
  finish_sweeping();
  at[AT_STOP] = os_now_ns();
  trace_phase(PHASE_STOP);
  stop_and_gather(sp, markers == 1);
  at[AT_STOPPED] = os_now_ns();
  exchange_colours();
  traced_gather();
  blacken_caches();
  cycle.current.markers = markers = mark_begin(markers);
  trace_phase(PHASE_MARK);
  markers_run(markers, DEADLINE_NEVER);
  mark_finish();
  at[AT_MARKED] = os_now_ns();
  ask_hook(DEADLINE_NEVER);
  end_and_resume(at[AT_STOP]);
}

/* ---- the cycle beside the program ---- */

/* After arming: a black object that was written before its span was armed would never be looked at again.
 * Survivors among the births are better born black, since a stop need not trace through them; the dead are better born
 * white, since they need not be scanned and are freed in the same cycle. */
static void choose_births(void) {
  unsigned black = atomic32_load_relaxed(&heap.live_colour);
  caches_lock();
  for (unsigned sc = 0; sc < span_classes(); sc++)
    if (cycle.survivors[sc] > SURVIVORS_BLACK) {
      cycle.taken[sc] = bytes_taken(sc);
      atomic8_store_relaxed(&heap.birth[sc], black);
    }
  caches_unlock();
}

static void begin_marking(void) {
  finish_sweeping();
  settings_marking_begins(cycle.heap_at_start);
  atomic32_store_relaxed(&heap.marking, 1);
  world_wait_for_leavers();
  exchange_colours();
  unsigned markers = workers_available(cycle_live_bytes());
  assist_hold();
  mark_begin(markers);
  assist_let_go(false);
}

/* A stop without marking, for hints that the program gives only while it is stopped (gc/traced.h): what an interpreter has on its
 * own stack alone would be marked in the last stop else. */
static void hint_stopped(void) {
  if (!roots_wants_hint_stop()) return;
  uint64_t start = os_now_ns();
  char here;
  if (cycle_stopping_hook != NULL) cycle_stopping_hook();
  world_stop(&here, false);
  roots_hint_stopped();
  resume(false);
  settings_note_stop(&cycle.current, os_now_ns() - start);
  roots_seal();
  markers_run_beside();
}

/* Everything that was black already may have been written: as after an overflow, all of it is scanned again. */
static void distrust_all(void) {
  cycle.current.lost = true;
  mark_forget();
}

/* In the stop. False: the deadline came first. Looking through the page tables (0.5 ms per GiB) would take as long the
 * next time, so the budget is for what is found. Without a deadline all is listed, also after an overflow: the
 * tracker's checker wants to know what was written. */
static bool mark_the_rest(unsigned markers, struct deadline deadline) {
  bool bounded = deadline.hard != UINT64_MAX;
  markers_run(markers, deadline);
  remark_begin(true);
  for (bool first = true; (!bounded || mark_phase_done()) && remark_list_last(markers); first = false) {
    if (bounded && first)
      deadline.soft = deadline.hard = os_now_ns() + (uint64_t)options.max_pause_us * 1000 * CLEAN_NEARLY;
    markers_run(markers, deadline);
  }
  if (!dirty_works()) distrust_all();
  if (bounded && !mark_phase_done()) return false;
  mark_finish();
  return true;
}

/* In the stop, which ends before marking does: what markers have taken they go on with beside the program. INV-VERDICT-1 */
static void put_off(bool deciding) {
  if (deciding) {
    verdict_put_off();
    roots_words_again();
  } else {
    roots_discard(); /* they are stacks and data that change from now on */
  }
}

static struct deadline within(uint64_t soft) {
  return (struct deadline){soft, soft + (uint64_t)options.max_pause_us * 1000 * CLEAN_NEARLY};
}

static bool stop_and_finish(unsigned attempt) {
  trace_phase(PHASE_STOP);
  unsigned markers = workers_available(cycle_live_bytes());
  bool last = attempt == ATTEMPTS || cycle.current.stuck || !dirty_works();
  uint64_t start = os_now_ns(), budget = (uint64_t)options.max_pause_us * 1000;
  stop_and_gather((char *)__builtin_frame_address(0), false);
  cycle.current.at[AT_STOP] = start;
  cycle.current.at[AT_STOPPED] = os_now_ns();
  /* Where stopping alone takes longer than the budget, each try must still get on. */
  struct deadline deadline = within(max_size(start + budget * 3 / 4, cycle.current.at[AT_STOPPED] + budget / 4));
  if (last) deadline = DEADLINE_NEVER;
  traced_gather();
  blacken_caches();
  cycle.current.markers = markers;
  bool marked = mark_the_rest(markers, deadline);
  cycle.current.last_pages = remark_pages();
  cycle.current.at[AT_MARKED] = os_now_ns();
  if (!last) deadline = within(os_now_ns() + budget);
  if (marked && ask_hook(deadline)) {
    end_and_resume(start);
    return true;
  }
  put_off(marked);
  settings_note_stop(&cycle.current, os_now_ns() - start);
  resume(false);
  markers_run_beside();
  return false;
}

/* CYCLE is held, by the collector's thread. */
static void run_beside(enum cycle_reason reason) {
  bool little_left = true;
  begin_record(reason, true);
  begin_marking();
  trace_phase(PHASE_ARM);
  if (remark_arm()) {
    choose_births();
    trace_phase(PHASE_HINTS);
    roots_hint(reason == CYCLE_HEAP);
    trace_phase(PHASE_MARK);
    markers_run_beside();
    hint_stopped();
    verdict_beside(markers_run_beside);
    little_left = clean_beside(&cycle.current);
  }
  for (unsigned attempt = 1;; attempt++) {
    cycle.current.stuck = !little_left && !clean_slowing_writers(&cycle.current);
    if (stop_and_finish(attempt)) break;
    little_left = clean_beside(&cycle.current);
  }
  remark_disarm();
}

/* ---- who runs it ---- */

static void ask(void) {
  if (cycle_asked_hook != NULL) cycle_asked_hook();
}

/* A stop of which most is over before the program would notice is not worth a thread and a fault per written page. */
static bool is_worth_a_thread(void) {
  uint64_t mib = cycle_live_bytes() / MIB;
  return mib * atomic_load_relaxed(&cycle.mark_ns_per_mib) > (uint64_t)options.max_pause_us * 1000 * WORTH;
}

/* Among so many threads that want a processor the collector's would hardly get one, and the heap would outgrow its
 * goal: 500 that allocate made a cycle last seconds. */
static bool is_crowded(void) { return world_busy_threads() > CROWD * os_cpu_count(); }

static bool should_be_beside(enum cycle_reason reason) {
  if (!dirty_works() || options.concurrent == 0 || is_crowded()) return false;
  if (options.concurrent == 2) return true;
  return is_worth_a_thread() && (reason == CYCLE_HEAP || !threads_is_only_one());
}

/* CYCLE is held. */
static bool should_run(enum cycle_reason reason) {
  return (reason != CYCLE_HEAP || cycle_is_due()) && (cycle_allowed_hook == NULL || cycle_allowed_hook());
}

bool cycle_is_awaited(void) { return lock_is_awaited(&cycle.lock); }

static void run_here(enum cycle_reason reason) {
  lock_acquire_stoppable(&cycle.lock);
  bool run = should_run(reason);
  if (run) world_with_spilled_registers(run_stopped, &reason);
  lock_release_stoppable(&cycle.lock);
  if (run && background_is_wanted()) background_wake();
}

/* No lock is held, and stops are allowed. */
static void tell_it_is_over(void) {
  finalize_wake();
  if (cycle_over_hook != NULL) cycle_over_hook();
}

/* Outside CYCLE this thread takes no lock of ours: nobody could keep it from holding one at a fork. */
void cycle_run_beside(enum cycle_reason reason) {
  workers_start(atomic_load_relaxed(&heap.live));
  lock_acquire_stoppable(&cycle.lock);
  bool run = should_run(reason);
  if (run) run_beside(reason);
  bool wake = run && background_is_wanted();
  lock_release_stoppable(&cycle.lock);
  if (wake) background_wake();
  tell_it_is_over();
}

/* Far beyond its goal the collector's thread has lost the race with those that allocate. */
static void wait_for_it(uint64_t excess) {
  if (excess > 0) collector_wait(excess);
}

/* A thread that allocates while marking runs helps it, in proportion and in short pieces, so that the heap does not
 * outgrow its goal. */
static void help(void) {
  struct owed owed = settings_owed(mark_bytes());
  assist_pay(owed.debt);
  wait_for_it(owed.excess);
}

void cycle_run(enum cycle_reason reason) {
  ask();
  if (reason == CYCLE_HEAP && heap_is_marking()) {
    help();
    return;
  }
  if (cycle_wanted_hook != NULL && !cycle_wanted_hook(reason)) {
    settings_postpone();
    return;
  }
  workers_start(atomic_load_relaxed(&heap.live));
  if (!should_be_beside(reason) || !collector_ask(reason))
    run_here(reason);
  else if (reason == CYCLE_HEAP)
    wait_for_it(settings_owed(0).excess);
  tell_it_is_over();
}

void cycle_wait_for_sweepers(void) {
  ask();
  lock_acquire_stoppable(&cycle.lock); /* a cycle holds BACKGROUND and waits for leavers: not beside us */
  background_hold();
  background_let_go();
  world_wait_for_leavers();
  lock_release_stoppable(&cycle.lock);
}

void cycle_keep_out(void) {
  ask();
  lock_acquire_stoppable(&cycle.lock);
}
void cycle_let_in(void) { lock_release_stoppable(&cycle.lock); }

/* ---- fork ---- */

/* A stop brings every thread to a place outside the library; the gate, closed before they go on, keeps them
 * out of it. The thread list stays locked, so that the child can go through it. */
void cycle_fork_lock(void) {
  ask();
  lock_acquire_stoppable(&cycle.lock);
  background_hold();
  if (cycle_forking_hook != NULL) cycle_forking_hook(true);
  world_stop(__builtin_frame_address(0), true);
  threads_close_gate();
  world_start();
  threads_lock();
}

void cycle_fork_unlock(void) {
  threads_unlock();
  threads_open_gate();
  if (cycle_forking_hook != NULL) cycle_forking_hook(false);
  background_let_go();
  lock_release_stoppable(&cycle.lock);
}
