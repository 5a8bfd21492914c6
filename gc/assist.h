/* assist.h - threads of the program that allocate faster than marking goes on, and so mark a part themselves. */
#ifndef HOLDFAST_ASSIST_H
#define HOLDFAST_ASSIST_H

#include "runtime/base.h"

void assist_begin(void); /* a cycle begins: nothing is owed */

/* A thread is about to take a span while marking runs; debt: bytes of marking per 1024 bytes it allocates. Marks in short
 * pieces, or waits when there is nothing to take. Stops not deferred. */
void assist_pay(uint64_t debt);

/* No thread marks between the two; open: from now on there may be work for one. */
void assist_hold(void);
void assist_let_go(bool open);

/* Between phases: waits for the assist that is under way, and tells whether it left work. */
bool assist_has_left(void);

uint64_t assist_ns(void); /* CPU time given since assist_begin */

/* How long threads were kept, marking and waiting, of all cycles: buckets of time_bucket (runtime/base.h). */
void assist_read_histogram(uint64_t out[TIME_BUCKETS]);

#endif
