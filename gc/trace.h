/* trace.h - one line per cycle on stderr, when GC_TRACE=1. Grammar: docs/collection.md. */
#ifndef HOLDFAST_TRACE_H
#define HOLDFAST_TRACE_H

#include "runtime/probe.h"

/* Moments of a cycle, monotonic ns. */
enum { AT_START, AT_STOP, AT_STOPPED, AT_MARKED, AT_RESUME, AT_END, AT_COUNT };

#define TRACE_ROUNDS 8

struct cycle_record {
  uint64_t number, heap_before, live_after, objects, next_gc;
  uint64_t at[AT_COUNT];        /* of the last stop */
  uint64_t assist_ns;           /* CPU time that threads of the program gave */
  uint64_t longest_ns;          /* the longest stop */
  uint64_t pause_ns;            /* all its stops */
  uint64_t pages[TRACE_ROUNDS]; /* OS pages found dirty by each round of cleaning */
  uint64_t last_pages;          /* and by the last stop */
  unsigned reason, markers, overflows, stops, rounds, turns;
  const char *why;   /* not beside the program, a literal */
  bool beside, lost; /* marked beside the program; the tracker went away meanwhile */
  bool stuck;        /* the program wrote faster than cleaning went, so the last stop had to take what it takes */
};

/* What a cycle does now, for who watches it. */
enum phase { PHASE_SWEEP, PHASE_ARM, PHASE_HINTS, PHASE_MARK, PHASE_CLEAN, PHASE_SLOW, PHASE_STOP, PHASE_END };
GC_INLINE void trace_phase(enum phase phase) { PROBE1(phase, (int)phase); }

void trace_init(void); /* the program's start, for the @ column */
void trace_cycle(const struct cycle_record *r);

#endif
