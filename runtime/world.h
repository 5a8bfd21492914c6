/* world.h - stopping and resuming the program's threads.
 * A stop is a number. The stopper (who holds CYCLE) raises `requested`, sends every running thread the stop
 * signal and sleeps until all have acknowledged; a thread acknowledges from the signal handler,
 * or, when it had deferred stops, on its way out of the library. They sleep until `resumed` equals
 * `requested`. Measured on a 2-core machine: about 40 us for one running thread, 0.2 ms for 64. */
#ifndef HOLDFAST_WORLD_H
#define HOLDFAST_WORLD_H

#include "runtime/base.h"

struct left_at;

void world_init(void); /* installs the handler */

/* Stops all registered threads but the caller; takes and keeps the thread list lock. sp: the caller's own
 * stack below which nothing of the program lives. brief: it will be over in less time than a wake through the kernel
 * takes, and no other thread of ours needs a processor meanwhile, so stopped threads may spin. */
void world_stop(char *sp, bool brief);
void world_start(void);
bool world_is_stopped(void);

/* Threads that came inside the library between the last two stops: about as many as want a processor. */
unsigned world_busy_threads(void);

/* Returns when every thread that was inside the library (stops deferred) has been outside, or is now: whatever the
 * caller wrote before is seen by all that goes on inside from here. Stops nobody where the kernel has membarrier(2). */
void world_wait_for_leavers(void);

/* Parks the calling thread if a stop is in effect, with its registers on its stack. */
void world_park_self(void);

/* Calls f(sp, arg) with all callee-saved registers spilled to the stack at or above sp. */
void world_with_spilled_registers(void (*f)(char *sp, void *arg), void *arg);

/* Notes that the calling thread leaves its stack at top, at or above which all lies that lives there, and copies all
 * between top and here, and the callee-saved registers. For a function called by one of ours whose caller's stack
 * pointer is top (__builtin_dwarf_cfa()). */
void world_note_left(struct left_at *at, char *top);

int world_signal(void); /* the stop signal; 0: not initialised */

#endif
