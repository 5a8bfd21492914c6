/* finalize.h - finalizers: setting them, the queue of those whose turn has come, and who runs them: the thread that
 * is started for them, or whoever asks. That thread is a thread of the program to all others: registered, stopped and
 * scanned. Which turn has come is gc/verdict.h's to say.
 *
 * Promises: each runs once per setting, with no lock held, oldest first; between leaving the queue, which is a root, and
 *   the call, the object's address is on the stack of the thread that runs it. */
#ifndef HOLDFAST_FINALIZE_H
#define HOLDFAST_FINALIZE_H

#include "gc/watch.h"

struct finalization {
  finalizer *f; /* NULL: none */
  void *arg;
  unsigned how; /* enum watch_how */
};
#define FINALIZE_ORDERED HOW_FIRST
#define FINALIZE_UNORDERED HOW_SURELY

/* For the object at p in slot s, instead of *before (if not NULL). False: memory is refused. Stops deferred. */
bool finalize_set(const void *p, const struct slot *s, const struct finalization *now, struct finalization *before);

/* Under the lock or in the stop: the object is to be finalized. */
void finalize_queue(uint32_t i);

/* All objects that have finalizers are, reachable or not. Returns how many. Stops deferred. */
uint64_t finalize_queue_all(void);

extern atomic_u32
    finalize_waiting; /* [A; written under L:WATCH or STW] entries of the queue, for a look without the lock */

/* Takes the oldest one off the queue, to be run by this thread; or does that, too. False: there was none. Stops not deferred. */
bool finalize_take(struct finalization *f, void **object);
bool finalize_run_one(void);

/* The oldest object in the queue that this did not return before; NULL: none. Stops deferred. */
void *finalize_next_new(void);

/* After a cycle, no lock held, stops not deferred: has the thread run what is queued, unless GC_FINALIZERS says otherwise. */
void finalize_wake(void);

void finalize_fork_child(void); /* the thread does not exist there */

#endif
