/* settings.c - see settings.h. */
#include "gc/settings.h"

#include <string.h>

#include "alloc/pageheap.h"
#include "gc/assist.h"
#include "gc/collector.h"
#include "gc/markers.h"
#include "gc/pacer.h"
#include "gc/roots.h"
#include "gc/trace.h"
#include "runtime/lock.h"
#include "runtime/options.h"
#include "runtime/os.h"
#include "runtime/thread.h"

#define PRESSURE_PERCENT 90 /* of the soft limit: live bytes that the program is told of */

static struct {
  struct lock lock;
  struct pacer pacer;       /* [L:SETTINGS] */
  uint64_t held;            /* [L:SETTINGS] of heap.live after the last cycle: what caches held, not handed out */
  unsigned disabled;        /* [L:SETTINGS] depth of gc_disable */
  bool marking;             /* [L:SETTINGS] a cycle marks beside the program */
  uint64_t pressure;        /* [L:SETTINGS] live bytes beyond PRESSURE_PERCENT that the program was not told of */
  uint64_t ended_ns;        /* [L:CYCLE] when the last cycle ended */
  struct cycle_stats stats; /* [L:SETTINGS] */
} settings GC_OWN_DATA = {.lock = LOCK_INIT(SETTINGS)};

atomic_word cycle_trigger GC_OWN_DATA = UINT64_MAX;

/* While a cycle marks beside the program, every refill asks whether the thread owes it help.
 * heap.live counts a cached span as full. What caches held at the last cycle is no growth: with many idle
 * threads it alone could exceed the goal, and each refill would start a cycle. */
static void publish_trigger(void) {
  uint64_t trigger = settings.marking ? settings.pacer.start : settings.pacer.trigger;
  bool never = (settings.disabled && !settings.marking) || trigger == UINT64_MAX;
  settings.stats.next_gc = settings.pacer.goal;
  atomic_store_relaxed(&cycle_trigger, never ? UINT64_MAX : trigger + settings.held);
}

/* What counts against the limits and is no heap of the pacer's: metadata, and what spans in use hold beyond the heap.
 * At the end of a cycle, before its garbage is swept, that is fragmentation at the heap's highest. */
static void measure_overhead(uint64_t heap_now, uint64_t held) {
  struct pageheap_totals t = pageheap_totals();
  uint64_t counted = heap_now - min_size(held, heap_now);
  pacer_set_overhead(&settings.pacer, t.metadata + t.inuse - min_size(counted, t.inuse));
}

static void publish_limits(void) {
  pageheap_set_limits(settings.stats.memory_limit, settings.stats.hard_limit);
  pacer_set_limit(&settings.pacer, min_size(settings.stats.memory_limit, settings.stats.hard_limit));
  measure_overhead(atomic_load_relaxed(&heap.live), settings.held);
  publish_trigger();
}

static void note_pressure(uint64_t live) {
  uint64_t most = settings.stats.memory_limit / 100 * PRESSURE_PERCENT;
  settings.pressure = live > most ? live - most : 0;
  if (settings.pressure > 0) atomic32_store_relaxed(&pageheap_note, 1);
}

static void lock_settings(void) {
  thread_defer_stops();
  lock_acquire(&settings.lock);
}

static void unlock_settings(void) {
  lock_release(&settings.lock);
  thread_allow_stops();
}

void settings_init(void) {
  pacer_init(&settings.pacer, options.percent);
  settings.pacer.cpus = os_cpu_count();
  settings.stats.memory_limit = options.memory_limit;
  settings.stats.hard_limit = options.hard_limit;
  publish_limits();
}

/* ---- a cycle ---- */

uint64_t settings_cycles(void) { return settings.stats.num_gc; }

void settings_marking_begins(uint64_t heap_now) {
  lock_settings();
  settings.marking = true;
  pacer_cycle_started(&settings.pacer, heap_now - min_size(settings.held, heap_now));
  publish_trigger();
  unlock_settings();
}

struct owed settings_owed(uint64_t marked) {
  lock_settings();
  uint64_t now = atomic_load_relaxed(&heap.live), most = pacer_most(&settings.pacer);
  now -= min_size(settings.held, now);
  struct owed owed = {pacer_assist_debt(&settings.pacer, now, marked), now > most ? now - most : 0};
  unlock_settings();
  return owed;
}

void settings_postpone(void) {
  lock_settings();
  uint64_t now = atomic_load_relaxed(&heap.live);
  if (!settings.marking) atomic_store_relaxed(&cycle_trigger, now + max_size(now / 8, MIB));
  unlock_settings();
}

unsigned settings_markers(void) { return pacer_markers(&settings.pacer, os_cpu_count()); }

void settings_marking_ended(struct pacer_report *report) {
  uint64_t now = os_now_ns();
  lock_settings();
  uint64_t held = settings.held, end = report->heap_at_end;
  settings.held = atomic_load_relaxed(&heap.live) - report->live;
  settings.marking = false;
  measure_overhead(end, held);
  report->heap_at_start -= min_size(held, report->heap_at_start);
  report->heap_at_end -= min_size(held, end);
  report->interval_ns = now - settings.ended_ns;
  settings.ended_ns = now;
  pacer_cycle_ended(&settings.pacer, report);
  publish_trigger();
  note_pressure(report->live);
  unlock_settings();
}

void settings_note_stop(struct cycle_record *record, uint64_t ns) {
  lock_settings();
  settings.stats.pause_hist[time_bucket(ns)]++;
  settings.stats.pause_total_ns += ns;
  unlock_settings();
  record->pause_ns += ns;
  record->stops++;
  if (ns > record->longest_ns) record->longest_ns = ns;
}

/* Go's PauseNs is per cycle: the sum of its stops. */
void settings_note_cycle(struct cycle_record *record) {
  struct cycle_stats *s = &settings.stats;
  lock_settings();
  s->pause_ns[s->num_gc % 256] = record->pause_ns;
  s->pause_end[s->num_gc % 256] = s->last_gc = os_wall_ns();
  s->num_gc++;
  s->num_forced += record->reason != CYCLE_HEAP;
  s->cpu_ns += markers_cpu_ns();
  s->live_bytes = record->live_after;
  s->stack_bytes = roots_stack_bytes();
  s->root_bytes = roots_bytes();
  record->next_gc = settings.pacer.goal;
  record->assist_ns = assist_ns();
  s->assist_ns += record->assist_ns;
  unlock_settings();
}

/* ---- for everybody ---- */

void cycle_disable(void) {
  lock_settings();
  settings.disabled++;
  publish_trigger();
  unlock_settings();
}

void cycle_enable(void) {
  lock_settings();
  if (settings.disabled > 0) settings.disabled--;
  publish_trigger();
  unlock_settings();
}

int cycle_set_percent(int percent) {
  lock_settings();
  int before = settings.pacer.percent;
  pacer_set_percent(&settings.pacer, percent < 0 ? -1 : percent);
  publish_trigger();
  unlock_settings();
  return before;
}

void cycle_set_divisor(uint64_t divisor) {
  lock_settings();
  pacer_set_divisor(&settings.pacer, divisor);
  publish_trigger();
  unlock_settings();
}

void cycle_set_floor(uint64_t bytes) {
  lock_settings();
  pacer_set_floor(&settings.pacer, bytes);
  publish_trigger();
  unlock_settings();
}

uint64_t cycle_set_limit(enum cycle_limit which, uint64_t bytes) {
  lock_settings();
  uint64_t *limit = which == LIMIT_HARD ? &settings.stats.hard_limit : &settings.stats.memory_limit, before = *limit;
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
  uint64_t now = atomic_load_relaxed(&heap.live), size = now - min_size(settings.held, now), goal = settings.pacer.goal;
  if (!settings.marking && size > settings.pacer.live + max_size(settings.pacer.live / 16, MIB)) {
    measure_overhead(now, settings.held);
    publish_trigger();
  }
  unlock_settings();
  if (size > goal) collector_wait(size - goal);
}

uint64_t cycle_take_pressure(void) {
  lock_settings();
  uint64_t bytes = settings.pressure;
  settings.pressure = 0;
  unlock_settings();
  return bytes;
}

void cycle_read_stats(struct cycle_stats *out) {
  lock_settings();
  memcpy(out, &settings.stats, sizeof *out);
  assist_read_histogram(out->assist_hist);
  if (settings.disabled) out->next_gc = UINT64_MAX;
  unlock_settings();
}

uint64_t cycle_live_bytes(void) {
  lock_settings();
  uint64_t live = settings.stats.live_bytes;
  unlock_settings();
  return live;
}
