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

/* Puts "function+offset (file+offset)" into the buffer, as far as the loader knows it, for the call before the return
 * address pc; returns its length. Where the thread may be stopped: dladdr takes the loader's lock. */
size_t profile_frame_name(char *to, size_t size, const void *pc);

/* The same for the innermost frames of a site (alloc/sample.h), on one line; SAMPLE_NO_SITE gives the empty text. */
size_t profile_site_name(char *to, size_t size, uint32_t site);

/* Whether there is anything to describe. */
bool profile_has_samples(void);

#endif
