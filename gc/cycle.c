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
 *    try takes as long as it must.
 *  7 End and resume as above.
 *
 * What must hold: an object reachable from a root at the (last) stop is black at the end (INV-MARK-2); a free
 * slot is never marked (INV-MARK-3); nothing between stop and resume takes memory from malloc, calls the
 * loader or waits for another thread of the program (INV-STOP-2). Debug builds re-mark with other code and
 * count the whole heap twice before they resume. */
#include "gc/cycle.h"

#include <string.h>

#include "alloc/cache.h"
#include "alloc/central.h"
#include "alloc/heapcheck.h"
#include "alloc/pageheap.h"
#include "alloc/scavenge.h"
#include "alloc/sweep.h"
#include "gc/assist.h"
#include "gc/background.h"
#include "gc/collector.h"
#include "gc/finalize.h"
#include "gc/kept.h"
#include "gc/mark.h"
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
#define CLEAN_ROUNDS 8
/* Times GC_MAX_PAUSE_US of marking; less is done faster in a stop. Arming and the faults made binary-trees of 50 MiB twice
 * as slow. */
#define WORTH 30
#define CROWD 4                /* busy threads per processor beyond which cycles are stopped ones */
#define SLOW_PASSES 20         /* over all that is armed, with the program stopped half of the time */
#define SLICE_LEAST 256        /* OS pages cleaned between looks at the clock, then */
#define TURN_MOST 4            /* times GC_MAX_PAUSE_US that it may be stopped at a time, when less does not gain */
#define STEP_PAGES 4096        /* OS pages listed and cleaned at a time, otherwise */
#define SURVIVORS_BLACK 250    /* of 1000 births: from here on they are better born black */
#define PRESSURE_PERCENT 90    /* of the soft limit: live bytes that the program is told of */
#define NS_PER_DIRTY_PAGE 1000 /* to look at its objects again, in a stop, by two markers */
/* Times GC_MAX_PAUSE_US that a stop may take before writers are slowed instead: turns of slowing them become as long, and there
 * are 20 of them. */
#define NEARLY TURN_MOST

static struct {
  struct lock lock;
  uint64_t pause_ns;                   /* [L:CYCLE] of the current cycle's stops */
  uint64_t heap_at_start, heap_at_end; /* [L:CYCLE] heap.live */
  uint64_t held_before;                /* [L:CYCLE] what of these caches held when the last cycle ended */
  uint64_t taken[SPAN_CLASSES];        /* [L:CYCLE] bytes_taken when births began to be black */
  int survivors[SPAN_CLASSES]; /* [L:CYCLE] of 1000 births, those that survived the last cycle beside the program */
  struct cycle_record current; /* [L:CYCLE] what the trace line tells */
  atomic_word cpu_ns;          /* [A] CPU time of all markers of this cycle */
  atomic_word
      mark_ns_per_mib; /* [A; written L:CYCLE] CPU time per MiB marked, of the last cycles; to choose the kind */

  struct lock settings;
  struct pacer pacer;       /* [L:SETTINGS] */
  uint64_t held;            /* [L:SETTINGS] of heap.live after the last cycle: what caches held, not handed out */
  unsigned disabled;        /* [L:SETTINGS] depth of gc_disable */
  bool marking;             /* [L:SETTINGS] a cycle marks beside the program */
  uint64_t pressure;        /* [L:SETTINGS] live bytes beyond PRESSURE_PERCENT that the program was not told of */
  uint64_t ended_ns;        /* [L:CYCLE] when the last cycle ended */
  struct cycle_stats stats; /* [L:SETTINGS] */
} cycle GC_OWN_DATA = {.lock = LOCK_INIT(CYCLE), .settings = LOCK_INIT(SETTINGS), .mark_ns_per_mib = 200000};

atomic_word cycle_trigger GC_OWN_DATA = UINT64_MAX;
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

/* While a cycle marks beside the program, every refill asks whether the thread owes it help.
 * heap.live counts a cached span as full. What caches held at the last cycle is no growth: with many idle
 * threads it alone could exceed the goal, and each refill would start a cycle. */
static void publish_trigger(void) {
  uint64_t trigger = cycle.marking ? cycle.pacer.start : cycle.pacer.trigger;
  bool never = (cycle.disabled && !cycle.marking) || trigger == UINT64_MAX;
  cycle.stats.next_gc = cycle.pacer.goal;
  atomic_store_relaxed(&cycle_trigger, never ? UINT64_MAX : trigger + cycle.held);
}

/* What counts against the limits and is no heap of the pacer's: metadata, and what spans in use hold beyond the heap.
 * At the end of a cycle, before its garbage is swept, that is fragmentation at the heap's highest. */
static void measure_overhead(uint64_t heap_now, uint64_t held) {
  struct pageheap_totals t = pageheap_totals();
  uint64_t counted = heap_now - min_size(held, heap_now);
  pacer_set_overhead(&cycle.pacer, t.metadata + t.inuse - min_size(counted, t.inuse));
}

static void publish_limits(void) {
  pageheap_set_limits(cycle.stats.memory_limit, cycle.stats.hard_limit);
  pacer_set_limit(&cycle.pacer, min_size(cycle.stats.memory_limit, cycle.stats.hard_limit));
  measure_overhead(atomic_load_relaxed(&heap.live), cycle.held);
  publish_trigger();
}

static void note_pressure(uint64_t live) {
  uint64_t most = cycle.stats.memory_limit / 100 * PRESSURE_PERCENT;
  cycle.pressure = live > most ? live - most : 0;
  if (cycle.pressure > 0) atomic32_store_relaxed(&pageheap_note, 1);
}

void cycle_init(void) {
  if (!mark_init() || !roots_init() || !remark_init()) fatal("the system refuses memory for marking");
  dirty_init(heap.base, heap.pages << PAGE_SHIFT);
  pacer_init(&cycle.pacer, options.percent);
  cycle.pacer.cpus = os_cpu_count();
  for (unsigned sc = 0; sc < SPAN_CLASSES; sc++) cycle.survivors[sc] = 1000;
  cycle.stats.memory_limit = options.memory_limit;
  cycle.stats.hard_limit = options.hard_limit;
  publish_limits();
}

/* ---- steps of both kinds ---- */

static void begin_record(enum cycle_reason reason, bool beside) {
  atomic_store_relaxed(&cycle.cpu_ns, 0);
  cycle.heap_at_start = atomic_load_relaxed(&heap.live);
  cycle.pause_ns = 0;
  cycle.current = (struct cycle_record){.reason = reason, .beside = beside, .heap_before = cycle.heap_at_start};
  assist_begin();
  cycle.current.at[AT_START] = os_now_ns();
  if (cycle_began_hook != NULL) cycle_began_hook();
  PROBE2(cycle__start, (int)reason, (int)beside);
}

/* What a cycle does now, for who watches it. */
enum phase { PHASE_SWEEP, PHASE_ARM, PHASE_HINTS, PHASE_MARK, PHASE_CLEAN, PHASE_SLOW, PHASE_STOP, PHASE_END };
static void enter(enum phase phase) { PROBE1(phase, (int)phase); }

/* What other threads have in hand they finish before the stop, or before world_wait_for_leavers returns; no span is
 * left that they could begin with. */
static void finish_sweeping(void) {
  enter(PHASE_SWEEP);
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

static void mark_timed(unsigned index) {
  uint64_t start = os_thread_cpu_ns();
  mark_run(index);
  atomic_add(&cycle.cpu_ns, os_thread_cpu_ns() - start);
}

static void mark_phase(unsigned markers, struct deadline deadline) {
  assist_hold(); /* the phase takes over what an assist left */
  markers = mark_phase_begin(markers, deadline);
  assist_let_go(true);
  workers_run(markers, mark_timed);
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

static void report_to_pacer(uint64_t live) {
  uint64_t now = os_now_ns(), held = cycle.held_before;
  struct pacer_report report = {.live = live,
                                .heap_at_start = cycle.heap_at_start - min_size(held, cycle.heap_at_start),
                                .heap_at_end = cycle.heap_at_end - min_size(held, cycle.heap_at_end),
                                .mark_ns = now - cycle.current.at[AT_START],
                                .mutator_assist_ns = assist_ns(),
                                .cycle_cpu_ns = atomic_load_relaxed(&cycle.cpu_ns),
                                .interval_ns = now - cycle.ended_ns,
                                .root_bytes = roots_bytes(),
                                .threads = allocating_threads(),
                                .concurrent = cycle.current.beside};
  cycle.ended_ns = now;
  pacer_cycle_ended(&cycle.pacer, &report);
}

static void make_marks_the_truth(void) {
  uint64_t live = mark_bytes() + bytes_born_black();
  cycle.heap_at_end = atomic_load_relaxed(&heap.live);
  cycle.held_before = cycle.held;
  atomic32_store_relaxed(&heap.marking, 0); /* in the stop: nobody is inside the library */
  if (cycle.current.beside) remark_survivors(cycle.survivors);
  heap_set_births(atomic32_load_relaxed(&heap.live_colour));
  sweep_start();
  atomic_store_relaxed(&heap.live, live);
  for (struct cache *c = cache_first(); c != NULL; c = c->next) cache_sweep(c);
  cycle.current.live_after = live;
  lock_acquire(&cycle.settings);
  cycle.held = atomic_load_relaxed(&heap.live) - live;
  cycle.marking = false;
  measure_overhead(cycle.heap_at_end, cycle.held_before);
  report_to_pacer(live);
  publish_trigger();
  note_pressure(live);
  lock_release(&cycle.settings);
}

static void check_everything(const char *(*checker)(void)) {
  const char *what = GC_DEBUG || GC_TORTURE ? checker() : NULL;
  if (what != NULL) fatal("cycle %lu: %s", (unsigned long)cycle.stats.num_gc + 1, what);
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

/* A stop of the cycle is over. */
static void record_pause(uint64_t ns) {
  lock_acquire(&cycle.settings);
  cycle.stats.pause_hist[time_bucket(ns)]++;
  cycle.stats.pause_total_ns += ns;
  lock_release(&cycle.settings);
  cycle.pause_ns += ns;
  cycle.current.stops++;
  if (ns > cycle.current.longest_ns) cycle.current.longest_ns = ns;
}

/* Go's PauseNs is per cycle: the sum of its stops. */
static void account(void) {
  struct cycle_stats *s = &cycle.stats;
  lock_acquire(&cycle.settings);
  s->pause_ns[s->num_gc % 256] = cycle.pause_ns;
  s->pause_end[s->num_gc % 256] = s->last_gc = os_wall_ns();
  s->num_gc++;
  s->num_forced += cycle.current.reason != CYCLE_HEAP;
  s->cpu_ns += atomic_load_relaxed(&cycle.cpu_ns);
  s->live_bytes = cycle.current.live_after;
  s->stack_bytes = roots_stack_bytes();
  s->root_bytes = roots_bytes();
  cycle.current.number = s->num_gc;
  cycle.current.next_gc = cycle.pacer.goal;
  cycle.current.assist_ns = assist_ns();
  s->assist_ns += cycle.current.assist_ns;
  lock_release(&cycle.settings);
  cycle.current.objects = mark_objects();
  cycle.current.overflows = mark_overflows();
  uint64_t before = atomic_load_relaxed(&cycle.mark_ns_per_mib);
  /* Beside the program marking takes twice the time: a heap that came there by chance would never come back. */
  uint64_t ns = atomic_load_relaxed(&cycle.cpu_ns) / (cycle.current.beside ? 2 : 1);
  if (mark_bytes() >= MIB) atomic_store_relaxed(&cycle.mark_ns_per_mib, (before + ns / (mark_bytes() / MIB)) / 2);
}

/* What traced objects name, and what a finalizer will be given, stays, with all it refers to. The second decides what dies, so
 * the first comes to its end before each of its steps. */
static void ask_hook(void) {
  while (traced_marked() || (cycle_marked_hook != NULL && cycle_marked_hook())) {
    roots_seal();
    mark_phase(cycle.current.markers, DEADLINE_NEVER);
    mark_finish();
  }
}

/* Marking is finished and the world stopped since `stopped_at`. */
static void end_and_resume(uint64_t stopped_at) {
  enter(PHASE_END);
  ask_hook();
  if (cycle.current.beside && dirty_works()) check_everything(remark_check);
  check_everything(mark_verify);
  check_everything(traced_check);
  if (cycle_judged_hook != NULL) cycle_judged_hook();
  traced_judged();
  make_marks_the_truth();
  check_everything(heapcheck);
  check_everything(watch_check);
  check_everything(kept_check);
  record_pause(os_now_ns() - stopped_at);
  account();
  cycle.current.at[AT_RESUME] = os_now_ns();
  resume(true);
  background_let_go();
  cycle.current.at[AT_END] = os_now_ns();
  scavenge_set_goal(cycle.current.next_gc);
  PROBE3(cycle__end, cycle.current.number, cycle.current.live_after, cycle.current.objects);
  trace_cycle(&cycle.current);
}

/* ---- the cycle with the world stopped ---- */

/* sp: the caller's stack, registers spilled above it. CYCLE is held. */
static void run_stopped(char *sp, void *arg) {
  uint64_t *at = cycle.current.at;
  unsigned markers = workers_available(cycle.stats.live_bytes);
  begin_record(*(enum cycle_reason *)arg, false);
  cycle.current.why = dirty_works() ? "not worth a thread" : dirty_reason();
  finish_sweeping();
  at[AT_STOP] = os_now_ns();
  enter(PHASE_STOP);
  stop_and_gather(sp, markers == 1);
  at[AT_STOPPED] = os_now_ns();
  exchange_colours();
  traced_gather();
  blacken_caches();
  cycle.current.markers = markers = mark_begin(markers);
  enter(PHASE_MARK);
  mark_phase(markers, DEADLINE_NEVER);
  mark_finish();
  at[AT_MARKED] = os_now_ns();
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
  lock_acquire(&cycle.settings);
  cycle.marking = true;
  pacer_cycle_started(&cycle.pacer, cycle.heap_at_start - min_size(cycle.held, cycle.heap_at_start));
  publish_trigger();
  lock_release(&cycle.settings);
  atomic32_store_relaxed(&heap.marking, 1);
  world_wait_for_leavers();
  exchange_colours();
  assist_hold();
  mark_begin(workers_available(cycle.stats.live_bytes));
  assist_let_go(false);
}

/* Markers beside the program, which keeps most of the processors; until no assist has work in hand either. */
static void mark_beside(void) {
  do mark_phase(pacer_markers(&cycle.pacer, os_cpu_count()), DEADLINE_NEVER);
  while (assist_has_left());
  if (!mark_phase_done()) mark_finish();
}

/* A stop without marking, for hints that the program gives only while it is stopped (gc/traced.h): what an interpreter has on its
 * own stack alone would be marked in the last stop else. */
static void hint_stopped(void) {
  if (!roots_wants_hint_stop()) return;
  uint64_t start = os_now_ns();
  char here;
  if (cycle_stopping_hook != NULL) cycle_stopping_hook();
  world_stop(&here, true);
  roots_hint_stopped();
  resume(false);
  record_pause(os_now_ns() - start);
  roots_seal();
  mark_beside();
}

static bool fits_stops(uint64_t pages, unsigned stops) {
  return pages < UINT32_MAX && pages * NS_PER_DIRTY_PAGE < (uint64_t)options.max_pause_us * 1000 * stops;
}

static void record_round(uint64_t pages) {
  if (cycle.current.rounds < TRACE_ROUNDS) cycle.current.pages[cycle.current.rounds] = pages;
  cycle.current.rounds++;
}

/* What a pass leaves is what was written behind it, about half of what it found: it goes through memory in small
 * steps, each listed and scanned. Passes stop gaining at what is written while one finds nothing: protecting a 2 MiB block
 * again costs 17 us while threads run. False: what is left is too much for a stop. */
static bool clean(void) {
  enter(PHASE_CLEAN);
  uint64_t before = UINT64_MAX;
  bool nearly = true;
  for (unsigned round = 0; round < CLEAN_ROUNDS && dirty_works(); round++) {
    remark_begin(false);
    while (remark_list(STEP_PAGES, UINT64_MAX)) mark_beside();
    uint64_t pages = remark_pages();
    record_round(pages);
    nearly = fits_stops(pages / 2, NEARLY);
    if (fits_stops(pages / 2, 1) || pages > before / 10 * 8) break;
    before = pages;
  }
  return nearly;
}

/* OS pages cleaned between looks at the clock, in a turn of so many ns. */
static size_t slice_of(uint64_t ns) { return max_size(ns / NS_PER_DIRTY_PAGE, SLICE_LEAST); }

/* A part of a pass with the world stopped; false when the pass is over. What is listed is scanned before anything is
 * listed again: a page that is armed and not scanned would be lost. */
static bool turn_stopped(uint64_t ns, uint64_t *took) {
  unsigned markers = workers_available(cycle.stats.live_bytes);
  uint64_t start = os_now_ns();
  char here;
  world_stop(&here, false);
  uint64_t deadline = max_size(start + ns, os_now_ns() + ns / 4);
  bool more = true;
  while (more && os_now_ns() < deadline) {
    more = remark_list(slice_of(ns), deadline);
    mark_phase(markers, (struct deadline){deadline, deadline});
    if (!mark_phase_done()) break;
  }
  world_start();
  record_pause(*took = os_now_ns() - start);
  cycle.current.turns++;
  mark_beside();
  return more;
}

/* The next part while the program runs. */
static bool turn_beside(uint64_t ns) {
  uint64_t until = os_now_ns() + ns;
  bool more = true;
  while (more && os_now_ns() < until) {
    more = remark_list(slice_of(ns), until);
    mark_beside();
  }
  return more;
}

/* Cleaning alone does not gain on the program: it is stopped for as long as it runs, in short turns, while cleaning goes
 * on. A page costs its writer a fault of 0.7 us and two markers half as much, so with one writer this converges: to
 * the pages written during a pass of few milliseconds. Starting a turn costs some 0.1 ms, so turns grow when there is no gain.
 * False when it does not converge, or not to what fits a stop. */
static bool slow_writers(void) {
  enter(PHASE_SLOW);
  uint64_t before = UINT64_MAX, budget = (uint64_t)options.max_pause_us * 1000, ns = budget * 3 / 4, took = 0;
  for (unsigned pass = 0; pass < SLOW_PASSES && dirty_works(); pass++) {
    remark_begin(false);
    while (turn_beside(took) && turn_stopped(ns, &took)) continue;
    uint64_t pages = remark_pages();
    if (fits_stops(pages / 2, 1)) return true;
    bool gained = pages < before / 10 * 9;
    if (!gained && ns >= TURN_MOST * budget) return false;
    if (!gained) ns = min_size(2 * ns, TURN_MOST * budget);
    before = pages;
  }
  return false;
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
  mark_phase(markers, deadline);
  remark_begin(true);
  for (bool first = true; (!bounded || mark_phase_done()) && remark_list_last(markers); first = false) {
    if (bounded && first) deadline.soft = deadline.hard = os_now_ns() + (uint64_t)options.max_pause_us * 1000 * NEARLY;
    mark_phase(markers, deadline);
  }
  if (!dirty_works()) distrust_all();
  if (bounded && !mark_phase_done()) return false;
  mark_finish();
  return true;
}

static bool stop_and_finish(unsigned attempt) {
  enter(PHASE_STOP);
  unsigned markers = workers_available(cycle.stats.live_bytes);
  bool last = attempt == ATTEMPTS || cycle.current.stuck || !dirty_works();
  uint64_t start = os_now_ns(), budget = (uint64_t)options.max_pause_us * 1000;
  stop_and_gather((char *)__builtin_frame_address(0), false);
  cycle.current.at[AT_STOP] = start;
  cycle.current.at[AT_STOPPED] = os_now_ns();
  /* Where stopping alone takes longer than the budget, each try must still get on. */
  uint64_t soft = max_size(start + budget * 3 / 4, cycle.current.at[AT_STOPPED] + budget / 4);
  struct deadline deadline = {soft, soft + budget * NEARLY};
  if (last) deadline = DEADLINE_NEVER;
  traced_gather();
  blacken_caches();
  cycle.current.markers = markers;
  bool done = mark_the_rest(markers, deadline);
  cycle.current.last_pages = remark_pages();
  cycle.current.at[AT_MARKED] = os_now_ns();
  if (done) {
    end_and_resume(start);
    return true;
  }
  roots_discard(); /* they are stacks and data that change from now on */
  record_pause(os_now_ns() - start);
  resume(false);
  mark_beside();
  return false;
}

/* CYCLE is held, by the collector's thread. */
static void run_beside(enum cycle_reason reason) {
  bool little_left = true;
  begin_record(reason, true);
  begin_marking();
  enter(PHASE_ARM);
  if (remark_arm()) {
    choose_births();
    enter(PHASE_HINTS);
    roots_hint(reason == CYCLE_HEAP);
    enter(PHASE_MARK);
    mark_beside();
    hint_stopped();
    verdict_beside(mark_beside);
    little_left = clean();
  }
  for (unsigned attempt = 1;; attempt++) {
    cycle.current.stuck = !little_left && !slow_writers();
    if (stop_and_finish(attempt)) break;
    little_left = clean();
  }
  remark_disarm();
}

static void lock_settings(void) {
  thread_defer_stops();
  lock_acquire(&cycle.settings);
}

static void unlock_settings(void) {
  lock_release(&cycle.settings);
  thread_allow_stops();
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

/* A thread that allocates while marking runs helps it, in proportion and in short pieces, so that the heap does not
 * outgrow its goal. */
static void help(void) {
  lock_settings();
  uint64_t now = atomic_load_relaxed(&heap.live);
  uint64_t debt = pacer_assist_debt(&cycle.pacer, now - min_size(cycle.held, now), mark_bytes());
  unlock_settings();
  assist_pay(debt);
}

static void postpone(void) {
  lock_settings();
  uint64_t now = atomic_load_relaxed(&heap.live);
  if (!cycle.marking) atomic_store_relaxed(&cycle_trigger, now + max_size(now / 8, MIB));
  unlock_settings();
}

void cycle_run(enum cycle_reason reason) {
  ask();
  if (reason == CYCLE_HEAP && heap_is_marking()) {
    help();
    return;
  }
  if (cycle_wanted_hook != NULL && !cycle_wanted_hook(reason)) {
    postpone();
    return;
  }
  workers_start(atomic_load_relaxed(&heap.live));
  if (!should_be_beside(reason) || !collector_ask(reason)) run_here(reason);
  tell_it_is_over();
}

/* ---- settings and statistics ---- */

void cycle_disable(void) {
  lock_settings();
  cycle.disabled++;
  publish_trigger();
  unlock_settings();
}

void cycle_enable(void) {
  lock_settings();
  if (cycle.disabled > 0) cycle.disabled--;
  publish_trigger();
  unlock_settings();
}

int cycle_set_percent(int percent) {
  lock_settings();
  int before = cycle.pacer.percent;
  pacer_set_percent(&cycle.pacer, percent < 0 ? -1 : percent);
  publish_trigger();
  unlock_settings();
  return before;
}

void cycle_set_floor(uint64_t bytes) {
  lock_settings();
  pacer_set_floor(&cycle.pacer, bytes);
  publish_trigger();
  unlock_settings();
}

uint64_t cycle_set_limit(enum cycle_limit which, uint64_t bytes) {
  lock_settings();
  uint64_t *limit = which == LIMIT_HARD ? &cycle.stats.hard_limit : &cycle.stats.memory_limit, before = *limit;
  *limit = bytes;
  publish_limits();
  unlock_settings();
  return before;
}

/* Spans in use have passed the soft limit. A heap beyond its goal is why when the collector has been asked for a cycle:
 * it may wait for a processor, or have marked all that is known while the program goes on. Otherwise spans hold more
 * beyond the heap than the last cycle saw, and the goal is too high; but when the heap has hardly grown since, another
 * cycle would find nothing. */
void cycle_attend(void) {
  lock_settings();
  uint64_t now = atomic_load_relaxed(&heap.live), size = now - min_size(cycle.held, now), goal = cycle.pacer.goal;
  if (!cycle.marking && size > cycle.pacer.live + max_size(cycle.pacer.live / 16, MIB)) {
    measure_overhead(now, cycle.held);
    publish_trigger();
  }
  unlock_settings();
  if (size > goal) collector_wait(size - goal);
}

uint64_t cycle_take_pressure(void) {
  lock_settings();
  uint64_t bytes = cycle.pressure;
  cycle.pressure = 0;
  unlock_settings();
  return bytes;
}

void cycle_read_stats(struct cycle_stats *out) {
  lock_settings();
  memcpy(out, &cycle.stats, sizeof *out);
  assist_read_histogram(out->assist_hist);
  if (cycle.disabled) out->next_gc = UINT64_MAX;
  unlock_settings();
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

uint64_t cycle_live_bytes(void) {
  lock_settings();
  uint64_t live = cycle.stats.live_bytes;
  unlock_settings();
  return live;
}

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
