/* cycle.h - one collection. The questions about it are in settings.h. */
#ifndef HOLDFAST_CYCLE_H
#define HOLDFAST_CYCLE_H

#include "gc/settings.h"

void cycle_init(void);

/* Runs a cycle. One that was asked for (not CYCLE_HEAP) begins after the call and has ended at the return; a CYCLE_HEAP
 * may go on beside the program, and does nothing when it is no longer due when its turn comes.
 * May be called by any number of threads; stops not deferred. */
void cycle_run(enum cycle_reason reason);

/* The same by the collector's thread, marking beside the program. */
void cycle_run_beside(enum cycle_reason reason);

/* For a layer that lets the program take part in cycles (api/bdw). All are set at init, or NULL; CYCLE is held, so they start no
 * cycle and wait for none who might want one. began: as a cycle begins; the program runs. stopping: just before the world
 * stops for what may be the last time of the cycle, and resumed just after it runs again (ended: the cycle is over, else it was
 * not the last time): in between, no thread of the program holds what the first acquires and the second gives back. forking:
 * the same for a fork, in the thread that forks; before it and, on both sides, after it. */
extern void (*cycle_began_hook)(void), (*cycle_stopping_hook)(void), (*cycle_resumed_hook)(bool ended);
extern void (*cycle_forking_hook)(bool before);

/* Called by who wants a cycle, or none to run for a while, before it waits for CYCLE: a place to end a program that would wait
 * for itself. In the stop, just before the world runs again: resuming. Set at init, or NULL. */
extern void (*cycle_asked_hook)(void), (*cycle_resuming_hook)(void);

/* For the same, before a cycle is begun or asked for, while none marks beside the program; no lock is held. False: not now; a
 * CYCLE_HEAP is asked for again when the heap has grown by an eighth. Set at init, or NULL. */
extern bool (*cycle_wanted_hook)(enum cycle_reason reason);
/* The same question, with CYCLE held: the answer counts until the cycle has ended. */
extern bool (*cycle_allowed_hook)(void);

/* For weak references and finalizers (gc/verdict.h): called in the last stop of each cycle, when all that is reachable is
 * black and what is white is about to die (alloc/slotmap.h). True: it has put words on the list of roots
 * (roots_add_word), which are marked too; then it is called again, perhaps in a later stop only, when marking took too long in
 * this one (resumed, not ended, comes between). As all code in a stop: no malloc, no loader, no
 * waiting. Set at init, or NULL. */
extern bool (*cycle_marked_hook)(void);

/* For diagnostics: called in the last stop of each cycle after the above, when black is what stays and white what dies, before
 * that is the truth; what it blackens stays. As all code in a stop. Set at init, or NULL. */
extern void (*cycle_judged_hook)(void);

/* Called by whoever ran a cycle, and by whoever waited for it, when it is over and no lock is held. Set at init, or NULL. */
extern void (*cycle_over_hook)(void);

/* Threads wait for the cycle that is under way to end, to run one themselves or to keep others out. */
bool cycle_is_awaited(void);

/* Returns when whoever was sweeping has filed what was in hand. Stops not deferred. */
void cycle_wait_for_sweepers(void);

/* No cycle is under way or begins between the two: the first waits for the one that is, the second must come soon. Stops not
 * deferred before, deferred in between. */
void cycle_keep_out(void), cycle_let_in(void);

/* fork: no cycle runs, and no thread of the program but the caller is or comes inside the library until
 * cycle_fork_unlock, which both sides of the fork call. Other threads run on outside: one may hold a lock of
 * the C library that fork itself needs. */
void cycle_fork_lock(void);
void cycle_fork_unlock(void);

#endif
