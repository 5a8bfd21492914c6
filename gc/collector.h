/* collector.h - the thread that runs cycles beside the program, and those who wait for it. */
#ifndef HOLDFAST_COLLECTOR_H
#define HOLDFAST_COLLECTOR_H

#include "gc/cycle.h"

/* Has a cycle run by the collector's thread; for CYCLE_HEAP returns at once, else when a cycle that began after the
 * call has ended. False when there is no such thread and none can be started. Stops not deferred. */
bool collector_ask(enum cycle_reason reason);

/* Waits, stops allowed, while the thread runs a cycle or is about to: the longer the more bytes the heap is over its
 * goal, and not for ever. */
void collector_wait(uint64_t over);

/* Somebody waits for a cycle that was asked for. */
bool collector_is_awaited(void);

void collector_fork_child(void); /* it does not exist there */

#endif
