/* pageheap.h - gives out spans and takes them back: page runs, slot map blocks, descriptors, growth in
 * chunks. The last rung of the ladder before the system. Spans leave and enter in state SPAN_SWEEPING,
 * exclusively the caller's. Callers defer stops. */
#ifndef HOLDFAST_PAGEHEAP_H
#define HOLDFAST_PAGEHEAP_H

#include "alloc/span.h"

bool pageheap_init(void); /* false when memory for the page bitmaps is refused */

/* A new span of a small class; NO_PAGE when memory is refused. Its slots are all free, zeroed tells. */
uint32_t span_alloc(unsigned sc);

/* A span for one object of `pages` pages, aligned to align pages, with its slot allocated (live colour);
 * NO_PAGE when refused. sc: 0, NOSCAN or LARGE_TYPED. *zero: the memory is zero. */
uint32_t span_alloc_large(size_t pages, size_t align, unsigned sc, bool *zero);

/* Gives the span's pages back. */
void span_free(uint32_t page);

/* Whether n pages can be had without growing and without touching released memory is not asked: this
 * tells only whether the heap must grow for them. For the decision to sweep first. */
bool pageheap_must_grow(size_t pages);

/* Whether n pages more would bring memory to a limit, all free pages given back: the same. */
bool pageheap_is_near_limit(size_t pages);

/* Returns at most max bytes of free pages, highest first, to the system; returns the bytes. */
size_t pageheap_scavenge(size_t max);

/* Limits of memory, which is sys - released + metadata of the totals; UINT64_MAX: none. A span that would bring it
 * over the hard limit, all free pages given back, is refused. A span that is given while memory is over either has free
 * pages given back before it is touched. Nothing is given back by setting: that is the next call's. */
void pageheap_set_limits(uint64_t soft, uint64_t hard);
size_t pageheap_scavenge_beyond_limits(size_t max); /* as pageheap_scavenge, down to the limits */

/* [A] 1: what happened calls for cycle_attend; raised when spans and metadata alone have passed the soft limit. */
extern atomic_u32 pageheap_note;

struct pageheap_totals {
  uint64_t sys, inuse, released, metadata; /* bytes */
};
struct pageheap_totals pageheap_totals(void); /* agree with each other */

/* Takes up to max of the spans for scanned objects that were made since marking began beside the program (first
 * pages); how many. 0: none are left. */
size_t pageheap_take_fresh(uint32_t *page, size_t max);

#endif
