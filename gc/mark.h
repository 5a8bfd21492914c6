/* mark.h - tracing: from the roots' words to every object they lead to. Any number of markers at once,
 * never recursive, memory bounded. Marks are single bytes in the slot map (alloc/slotmap.h).
 *
 * One marker's loop: take a word from its stack, find its slot's byte, ask the processor to fetch byte and
 * object, and put it into a ring behind MARK_RING others that were asked for earlier; take the oldest
 * of those, mark it if it is white, and put its words that point into the heap on the stack. The ring is
 * worth 2x on heaps in order and 3x on scattered ones (measured on a prototype). */
#ifndef HOLDFAST_MARK_H
#define HOLDFAST_MARK_H

#include "runtime/atomic.h"

bool mark_init(void); /* false when there is no memory for a mark stack */

/* For a cycle with at most n markers, colours exchanged, roots sealed. Returns how many there are to be: fewer
 * when memory for their stacks is refused, at least 1. */
unsigned mark_begin(unsigned n);
/* When a phase is broken off, monotonic ns: at soft when a marker has found so much that it had better go on beside the
 * program, else at hard. Roots and dirty pages that lead to nothing but black objects would take as long the next time. */
struct deadline {
  uint64_t soft, hard;
};
#define DEADLINE_NEVER ((struct deadline){UINT64_MAX, UINT64_MAX})

/* A phase: mark_run of at most n markers, broken off at the deadline. What one phase leaves the next goes on with. Returns
 * the number of markers. */
unsigned mark_phase_begin(unsigned n, struct deadline deadline);
bool mark_phase_done(void); /* nothing is left of it, and nothing was dropped */
/* Runs as marker `index` until nothing is left anywhere. Call n of them, in any threads. */
void mark_run(unsigned index);
/* After all have returned: whatever was dropped because a stack was full is found again. */
void mark_finish(void);

/* Marks about `bytes` of what other markers gave away, as a thread of the program, stops deferred; one at a time and
 * not while a phase begins. False: there was nothing to take. What is left of it the next phase adopts. */
bool mark_assist(uint64_t bytes);
bool mark_assist_has_left(void);

/* Has mark_finish look at every black object again. */
void mark_forget(void);
/* Counts an object that gc/closure.h marked, between phases. */
void mark_note(uint64_t bytes);

uint64_t mark_bytes(void);        /* bytes of objects marked; an object two markers met at once counts twice */
uint64_t mark_noscan_bytes(void); /* of these, in objects without pointers */
uint64_t mark_objects(void);
unsigned mark_overflows(void); /* full stacks in the last cycle */

#endif
