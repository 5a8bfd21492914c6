/* closure.h - marking that tells of each object it marks: slower than gc/mark.h, by one thread, for chains of ephemerons,
 * where each link would otherwise need a phase of marking of its own. Same marks, same rule when two markers meet
 * (INV-MARK-1), so it may run beside the program where mark_beside may. What an object holds and does not fit the
 * stack is forgotten as in gc/mark.h, and found by mark_finish. */
#ifndef HOLDFAST_CLOSURE_H
#define HOLDFAST_CLOSURE_H

#include "alloc/span.h"

/* The word will be looked at. False: there is no room. */
bool closure_push(uintptr_t word);
/* Marks what the pushed words lead to. met(s) is called for every object that turns black, and may push. */
void closure_run(void (*met)(const struct slot *s));

#endif
