/* settings.h - what cycles are told, and what they tell: when the next is due, growth rate and limits, statistics. One lock
 * (SETTINGS) for all of it, and for the pacer (pacer.h) that makes a goal of it. */
#ifndef HOLDFAST_SETTINGS_H
#define HOLDFAST_SETTINGS_H

#include "alloc/span.h"

struct cycle_record; /* gc/trace.h */
struct pacer_report; /* gc/pacer.h */

/* ---- for everybody; stops are deferred in here ---- */

enum cycle_reason { CYCLE_HEAP, CYCLE_FORCED, CYCLE_MEMORY };

/* Whether allocation should start a cycle now. */
extern atomic_word cycle_trigger; /* [A; written L:CYCLE] heap.live at which a cycle is due */
GC_INLINE bool cycle_is_due(void) { return atomic_load_relaxed(&heap.live) >= atomic_load_relaxed(&cycle_trigger); }

uint64_t cycle_live_bytes(void); /* that the last cycle left */

/* Automatic cycles off and on, nesting; the growth rate. */
void cycle_disable(void), cycle_enable(void);
int cycle_set_percent(int percent); /* returns the previous one */
/* No cycle ends, by itself, at a smaller heap than this, unless a limit asks for it. */
void cycle_set_floor(uint64_t bytes);
void cycle_set_divisor(uint64_t divisor); /* see pacer_set_divisor */

/* Limits of memory (alloc/pageheap.h); UINT64_MAX: none. Returns the previous one. */
enum cycle_limit { LIMIT_SOFT, LIMIT_HARD };
uint64_t cycle_set_limit(enum cycle_limit which, uint64_t bytes);

/* After pageheap_note: looks again at what counts against the limits. May make a cycle due. */
void cycle_attend(void);

/* Bytes by which the live heap is over 90 % of the soft limit since the last cycle; told once per cycle, else 0. */
uint64_t cycle_take_pressure(void);

struct cycle_stats {
  uint64_t memory_limit, hard_limit;
  uint64_t next_gc, last_gc, pause_total_ns, num_gc, num_forced, cpu_ns, assist_ns, live_bytes, stack_bytes, root_bytes;
  uint64_t pause_ns[256], pause_end[256], pause_hist[TIME_BUCKETS], assist_hist[TIME_BUCKETS];
};
void cycle_read_stats(struct cycle_stats *out);

/* ---- for who runs a cycle: CYCLE is held, stops are deferred ---- */

void settings_init(void);
uint64_t settings_cycles(void); /* that have ended */

/* A cycle begins to mark beside the program, at so many bytes of heap.live. */
void settings_marking_begins(uint64_t heap_now);
/* How many markers should run: of the pacer, what only who holds CYCLE writes. */
unsigned settings_markers(void);
/* What a thread of the program owes to it now (pacer_assist_debt), and how many bytes of heap are beyond pacer_most. Anybody. */
struct owed {
  uint64_t debt, excess;
};
struct owed settings_owed(uint64_t marked);

/* The cycle that is due is not wanted now: it is due again when the heap has grown by an eighth. Anybody. */
void settings_postpone(void);

/* Marking has ended and heap.live is what is left and what caches hold. The report's sizes of heap are those of heap.live. */
void settings_marking_ended(struct pacer_report *report);

/* A stop of the cycle is over. */
void settings_note_stop(struct cycle_record *record, uint64_t ns);

/* All its stops are: the last part of its record. */
void settings_note_cycle(struct cycle_record *record);

#endif
