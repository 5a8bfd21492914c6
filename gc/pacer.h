/* pacer.h - when a cycle starts, when it should have ended, and who marks meanwhile.
 * Owns:     nothing but the struct: no clock, no globals, so that a test can drive it through any workload.
 * Promises: integers only; every division rounds down; no overflow: sizes and times above 2^63 - 1 count as that.
 * Never:    waits, and locks nothing: who calls holds what protects the struct. pacer_assist_debt and
 *           pacer_markers only read it.
 * Next:     docs/pacing.md has the formulas and where each comes from.
 *
 * Heap always means heap.live without what caches held after the last cycle. */
#ifndef HOLDFAST_PACER_H
#define HOLDFAST_PACER_H

#include "runtime/config.h"

#define PACER_SAMPLES 4 /* cycles that the expected allocation remembers */

struct pacer {
  /* what the program asked for */
  int percent;       /* growth of the live heap in which a cycle should end; negative: no goal from growth */
  uint64_t floor;    /* bytes of heap below which growth is no goal */
  uint64_t divisor;  /* not 0: growth by the other library's rule, instead of percent, with this free space divisor */
  unsigned cpus;     /* that the program may use; 1 until the owner stores it */
  uint64_t limit;    /* bytes of memory; UINT64_MAX: none */
  uint64_t overhead; /* bytes that count against the limit and neither are nor can become live heap */

  /* what the last cycles were like */
  uint64_t live;                   /* bytes marked by the last cycle, births counted */
  uint64_t noscan;                 /* of these, bytes of objects without pointers */
  uint64_t roots;                  /* bytes of roots it scanned */
  unsigned threads;                /* that allocated since the one before, at most one per processor; at least 1 */
  bool concurrent;                 /* the program ran while it marked */
  uint64_t samples[PACER_SAMPLES]; /* bytes allocated per MiB of marking, had no thread assisted; a ring */
  unsigned next_sample;            /* index in it */
  uint64_t cpu_ns;                 /* the limiter's bucket: collector's time less the program's, never below 0 */
  uint64_t relief;                 /* bytes allocated while the collector's share of CPU time falls to a third */

  /* what follows */
  uint64_t goal;    /* bytes of heap at which the next cycle should have ended; UINT64_MAX: none */
  uint64_t trigger; /* bytes of heap at which it starts, at most goal; UINT64_MAX: never */
  uint64_t start;   /* bytes of heap when the running cycle started */
};

/* What a cycle was like. Times in nanoseconds, sizes in bytes; zeros where nothing is known. */
struct pacer_report {
  uint64_t live;              /* marked, births counted */
  uint64_t noscan;            /* of these, objects without pointers; births beside the program count as others */
  uint64_t heap_at_start;     /* when the cycle started ... */
  uint64_t heap_at_end;       /* ... and when marking ended, before live replaced it */
  uint64_t mark_ns;           /* wall time from start of marking to its end */
  uint64_t mutator_assist_ns; /* CPU time that threads of the program spent marking */
  uint64_t cycle_cpu_ns;      /* CPU time of all markers, assists not counted */
  uint64_t interval_ns;       /* wall time since the previous cycle's end */
  uint64_t root_bytes;        /* stacks and data, scanned */
  unsigned threads;           /* that allocated, at most one per processor */
  bool concurrent;
};

void pacer_init(struct pacer *p, int percent);
void pacer_set_percent(struct pacer *p, int percent);
void pacer_set_floor(struct pacer *p, uint64_t bytes);
/* The goal is about the size that the heap of the other library (Boehm's, 8.2) would have: docs/pacing.md. 0: by percent again. */
void pacer_set_divisor(struct pacer *p, uint64_t divisor);
void pacer_set_limit(struct pacer *p, uint64_t bytes);
void pacer_set_overhead(struct pacer *p, uint64_t bytes);

/* A cycle that marks beside the program starts at this heap: what it owes is counted from here. */
void pacer_cycle_started(struct pacer *p, uint64_t heap_now);
void pacer_cycle_ended(struct pacer *p, const struct pacer_report *r);

/* Bytes that a thread owes to marking per 1024 bytes it allocates now; 0 while marking is on schedule. marked:
 * bytes marked and roots scanned by this cycle so far. Births are better left out: with them marking looks
 * further on than it is, and a program that allocates very fast doubles its heap (docs/pacing.md). */
uint64_t pacer_assist_debt(const struct pacer *p, uint64_t heap_now, uint64_t marked);

/* Bytes of heap in a cycle beside the program from which on threads do not get on before it has ended. */
uint64_t pacer_most(const struct pacer *p);

/* How many markers should run beside the program. */
unsigned pacer_markers(const struct pacer *p, unsigned cpus);

#endif
