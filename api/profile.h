/* profile.h - allocation sites: noting the call stacks of sampled objects, and reading what was noted. What is sampled,
 * and for how long it is kept: alloc/sample.h. */
#ifndef HOLDFAST_PROFILE_H
#define HOLDFAST_PROFILE_H

#include <stdio.h>

#include "alloc/sample.h"

/* After everything else is ready: GC_PROFILE. */
void profile_init(void);

/* The object at p was sampled at that mean distance. Called in GC_ENTRY code, where the thread may be stopped. errno is
 * kept. */
void profile_note(const void *p, uint64_t mean);

/* What is known now, in memory of its own; figures is NULL when that was refused or there is nothing. */
struct profile {
  struct sample_totals totals;
  struct sample_figures *figures; /* by site, totals.sites of them */
};
struct profile profile_read(unsigned percent);
void profile_discard(struct profile *p);

/* Whether there is anything to describe. */
bool profile_has_samples(void);

#endif
