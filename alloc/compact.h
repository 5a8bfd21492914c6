/* compact.h - where an object that the program is ready to move had better be: per span class, a plan of which spans are
 * kept and which are to come free, made once per cycle when it is first asked for, and single slots in the kept ones.
 *
 * The plan. L objects in partly used spans of n slots need K = L / n spans, rounded up. The K densest are kept, of equal
 * ones those at lower addresses; the others are vacated. Objects only ever move from spans that are not kept to ones that are, and
 * while a plan holds spans only join the kept ones: nothing moves twice, however the program walks. What has been moved out of a span
 * still counts there until the next cycle frees it; since the plan looks at neither, later objects do not move into it.
 * Except for gc_free: a span that it takes below the line is kept no longer. It takes no more copies from then on, and
 * those that it holds may move once more, to a span that is kept; so each further round of moves has a gc_free to answer for it.
 *                                                                                                      INV-COMPACT-1
 * Owns no span: all are on their central lists all the time (alloc/central.h), those of caches and of sweepers are left
 * alone. Never allocates heap memory, never writes to objects. Callers defer stops. */
#ifndef HOLDFAST_COMPACT_H
#define HOLDFAST_COMPACT_H

#include "alloc/span.h"

void compact_init(unsigned from, unsigned to); /* for these classes */

/* STAY: the object is well where it is, or there is no better place. MOVE: *to is a slot of a denser span, claimed, to be
 * written and handed out before stops are allowed; with to NULL it is an answer only. AGAIN: a piece of planning was done, a few
 * ten microseconds; ask again, after letting a stop in. s: an allocated slot of a swept span, of a small class. */
enum compact_answer { COMPACT_STAY, COMPACT_MOVE, COMPACT_AGAIN };
enum compact_answer compact_find(const struct slot *s, char **to);

#endif
