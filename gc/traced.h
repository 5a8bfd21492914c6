/* traced.h - objects whose pointers the program names itself: markers do not read them, and a procedure of the program, called
 * for each, says what they refer to (mark procedures of api/bdw). They are noscan objects with a record (gc/watch.h).
 *
 * The procedure may look at anything, an interpreter's stack for one, while the program changes it; so it is called only
 * while the world is stopped:
 *  - once in the middle of a cycle beside the program, for the objects that are black by then. That stop marks nothing: what
 *    was named is a hint, and is marked beside the program, so that the last stop finds it done;
 *  - in each stop that may be the last, first for the objects that are black, then for those that turn black, until no
 *    more do. The first rounds are marked by all markers; what then is still to come is a chain of such objects, and is
 *    followed by gc/closure.h, so that a chain in any order takes time in proportion to its length.
 * Time in the last stop: a look at each record and a call for each object that lives.
 *
 * Promises: an object that is black when a cycle ends was asked in its last stop, and what it named is black.  INV-TRACED-1
 *   The record of an object that dies goes in the same stop. */
#ifndef HOLDFAST_TRACED_H
#define HOLDFAST_TRACED_H

#include "gc/watch.h"

/* The procedure; `what` is what traced_add was given. It calls traced_name for each pointer. As all code in a stop: no malloc,
 * no loader, no waiting. Set before the first object is added. */
extern void (*traced_call)(char *object, uintptr_t what);
void traced_name(uintptr_t word);
bool traced_is_asking(void); /* it is being called */

/* The object at p, in slot s, is traced from now on. Its contents are such that the procedure may be called. False: memory is
 * refused. Stops deferred. */
bool traced_add(const void *p, const struct slot *s, uintptr_t what);
/* What the object at p was added with; 0: it was not. Stops deferred, or in a stop. */
uintptr_t traced_what(const void *p);
bool traced_any(void);

/* What follows: world stopped. */

void traced_hint(void); /* adds words to the list of roots */
/* Begins a stop that may be the last: colours are exchanged, the list of roots is not sealed. */
void traced_gather(void);
/* As cycle_marked_hook. */
bool traced_marked(void);
/* Names what the object refers to, perhaps without itself: words go to the list of roots. */
void traced_name_children(const struct slot *s, bool but_itself);
/* Black is what stays. */
void traced_judged(void);

unsigned traced_rounds(void); /* of asking those that turned black, in the last stop */

/* Asks all again: NULL, or what is wrong. Marking is finished. */
const char *traced_check(void);

#endif
