/* finalize.h - finalizers: setting them, the queue of those whose turn has come, and who runs them: the thread that
 * is started for them, or whoever asks. That thread is a thread of the program to all others: registered, stopped and
 * scanned. Which turn has come is gc/verdict.h's to say.
 *
 * Promises: each runs once per setting, with no lock held, oldest first; between leaving the queue, which is a root, and
 *   the call, the object's address is on the stack of the thread that runs it. */
#ifndef HOLDFAST_FINALIZE_H
#define HOLDFAST_FINALIZE_H

#include "gc/watch.h"

/* For the object at p in slot s. f NULL: none from now on. False: memory is refused. Stops deferred. */
bool finalize_set(const void *p, const struct slot *s, finalizer *f, void *arg, bool unordered);

/* In the stop: the object is to be finalized. */
void finalize_queue(uint32_t i);

/* Runs the oldest one in this thread. False: there was none. Stops not deferred. */
bool finalize_run_one(void);

/* After a cycle, no lock held, stops not deferred: has the thread run what is queued, unless GC_FINALIZERS says otherwise. */
void finalize_wake(void);

void finalize_fork_child(void); /* the thread does not exist there */

#endif
