/* verdict.h - what a cycle decides about the objects that have records (gc/watch.h), in its last stop: which weak references
 * are cleared, which ephemerons end, whose finalizers are queued. As cycle_marked_hook asks: step by step, with marking of
 * what each step wants kept in between.
 *
 *  1 Converge. The value of a record whose object and handle are black is marked (an ephemeron's, a finalizer's argument, all
 *              of a queued one); which may turn others black; until none is left.
 *  2 Decide.   What is white now the program cannot reach. Weak references and links to it are cleared, ephemerons with such keys
 *              end. Of objects with finalizers, unordered ones are taken; what ordered ones point to is marked, but not they.
 *  3 Converge again. Ordered ones that are still white nobody points to: they are taken. The others wait for their turn.
 *  4 Queue     what was taken, mark it, converge. Then what is to be LAST and still is white (enum watch_how), and converge.
 *  5 End.      What is white is freed: long weak references and links are cleared, records of handles that die go.
 *
 * Put off. When marking takes too long in a stop of a cycle beside the program, the world runs again while it is finished, and
 * the next stop begins at 1: it decides about what has changed since. What was decided stands. Each step came when all
 * that the program could reach was black, so what was white nobody can reach but by a long weak reference or link; who fetches
 * it by one has it as if the cycle had ended with that stop: other weak references to it are cleared, an unordered finalizer runs,
 * an ordered one waits. What was queued may be run, and freed, at once.                                                 INV-VERDICT-1
 *
 * Time in the stop. Records that are settled - object and handle black, value marked - stay so until the cycle ends, so they are
 * looked at once. A cycle beside the program does that, and most of 1, beside it: the stop has the `open` list, of what
 * was white then and what was made since. Chains of ephemerons are followed by gc/closure.h after a few rounds,
 * so no order of their making costs more than one look at each per round and one at each link. */
#ifndef HOLDFAST_VERDICT_H
#define HOLDFAST_VERDICT_H

#include "runtime/base.h"

/* cycle_marked_hook. */
bool verdict_marked(void);

/* The world runs again: what the stop left to do is done, in short turns of the lock. */
void verdict_over(void);

/* At the end of a stop in which marking is not finished: the next stop begins anew. */
void verdict_put_off(void);

/* Beside the program, after arming and marking: decides what can be decided. mark: marks from the sealed roots. */
void verdict_beside(void (*mark)(void));

/* The record is new or changed: if the open list is made already it must be on it. Under the lock. */
void verdict_reopen(uint32_t record);

/* Objects with ordered finalizers that the last cycle found unreachable and made wait; of these, all stuck: when it
 * found none whose turn had come, so that they lie on cycles, or behind some. Under the lock. */
struct verdict_counts {
  uint64_t waiting, stuck;
};
struct verdict_counts verdict_counts(void);

#endif
