/* background.h - the thread that sweeps and gives pages back between cycles, at a pace that leaves the
 * processors to the program; it sleeps when there is nothing to do. */
#ifndef HOLDFAST_BACKGROUND_H
#define HOLDFAST_BACKGROUND_H

#include "runtime/base.h"

bool background_is_wanted(void); /* whether there is enough to do for a thread */
void background_wake(void);      /* after a cycle: starts the thread the first time it has something to do */

/* Waits until the thread is between two steps, and keeps it there: a cycle must not exchange colours, nor a
 * fork copy the heap, while a span is half swept. Stops of the program do not stop this thread. INV-SWEEP-1 */
void background_hold(void);
void background_let_go(void);
void background_fork_child(void); /* the thread does not exist there */

#endif
