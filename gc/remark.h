/* remark.h - what must be looked at again because the program wrote to it while markers ran beside it: armed spans'
 * OS pages that the tracker (runtime/dirty.h) reports, and spans made since, which are never armed at birth: one
 * fault per 4 KiB would cost new objects more than looking at them once more does.
 *
 * Every span in use that holds scanned objects is armed or fresh while markers run beside the program; so an
 * object that was scanned before it was last written lies on a dirty page or in a fresh span.       INV-REMARK-1 */
#ifndef HOLDFAST_REMARK_H
#define HOLDFAST_REMARK_H

#include "runtime/base.h"

bool remark_init(void); /* false when memory is refused */

/* Arms the spans that are there. heap_is_marking. False: the tracker is lost. */
bool remark_arm(void);

/* Lists what was written, at most about `most` OS pages at a time: again and again, until none is left to list, each time
 * with phases of marking until all pieces are taken; past the deadline (monotonic ns, UINT64_MAX: none) fewer, perhaps none.
 * False: none listed and none left, or the tracker is lost: dirty_works tells.
 * In the last stop (begin: last) remark_list_last does it with that many markers, as many OS pages at a time as the table
 * holds; pages are not armed again, and fresh spans stay fresh. */
void remark_begin(bool last);
bool remark_list(size_t most, uint64_t deadline);
bool remark_list_last(unsigned markers);
bool remark_take(struct range *piece);

/* Of the births of this cycle that are probed (span_birth_colour), how many of 1000 were marked, per span class; a
 * class of which too few were born keeps its figure. At the end of marking, world stopped. */
void remark_survivors(int *of_1000);

/* The tracker's checker, after the last listing with the world still stopped: NULL when every armed page that was not
 * listed is as it was when it was armed, else a sentence. Debug builds only. */
const char *remark_check(void);

/* After the cycle: frees the program from faulting once per page, unless it hardly writes at all. */
void remark_disarm(void);

uint64_t remark_pages(void); /* OS pages listed since remark_begin */

#endif
