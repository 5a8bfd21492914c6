/* scavenge.h - how much free memory the heap keeps, and giving the rest back. The mechanism of giving
 * back is the page heap's; when, is gc/background.c's. */
#ifndef HOLDFAST_SCAVENGE_H
#define HOLDFAST_SCAVENGE_H

#include "runtime/base.h"

/* After a cycle: keep this many bytes of heap memory resident (in use or free), give back what is beyond.
 * As Go: the goal of the next cycle plus SCAVENGE_RETAIN_PERCENT. */
void scavenge_set_goal(uint64_t next_gc);

/* Bytes beyond the goal that could be given back now; 0: nothing to do. */
uint64_t scavenge_excess(void);

/* Gives back at most max bytes of the excess; returns how many. */
size_t scavenge_step(size_t max);

/* Gives back all free pages, whatever the goal. */
void scavenge_all(void);

#endif
