/* dirty.h - which memory has been written since it was last asked about, told by the kernel's page tables.
 *
 * A range is watched once. Arming protects its OS pages against unnoticed writes: the first write to each is
 * resolved by the kernel itself - no signal, no handler, no error from read(2) into it - and leaves a mark.
 * Collecting lists the marked pages and, in the same step, can arm them again. Costs, measured: 0.7 us for the
 * first write to a page, 10 ms to arm 1 GiB, 0.3 ms to look through 1 GiB.
 *
 * The tracker may be missing (old kernel, a seccomp filter, no descriptor left) and may go away (a daemon closes
 * all descriptors, and the number may be another file then; the child of a fork). Every call says so, and what was
 * not reported must then be taken for written.                                            INV-DIRTY-1 */
#ifndef HOLDFAST_DIRTY_H
#define HOLDFAST_DIRTY_H

#include "runtime/base.h"

/* Watches [lo, lo + size), reserved or ready. False: no tracking from here on; dirty_reason says why. */
bool dirty_init(char *lo, size_t size);
bool dirty_works(void);
const char *dirty_reason(void); /* why it does not work; a literal */

/* Protects the OS pages of [lo, hi) that are not yet. False: the tracker is lost. */
bool dirty_arm(const char *lo, const char *hi);

/* Writing is free again. Costs about as much as arming; not doing it costs the first write to each page. */
bool dirty_disarm(const char *lo, const char *hi);

/* Calls f for runs of OS pages of [lo, hi) written since they were armed, or never armed; with rearm, each page is
 * protected again before it is reported. May end early, after `most` pages or a stretch: *next is where to go on,
 * hi when all were reported. False: the tracker is lost, and anything may have been written. */
bool dirty_collect(const char *lo, const char *hi, bool rearm, size_t most, void (*f)(void *arg, struct range r),
                   void *arg, const char **next);

/* In the child of a fork the old descriptors tell of the parent's memory: new ones are opened. */
void dirty_fork_child(void);

#endif
