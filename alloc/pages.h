/* pages.h - which pages of the heap are in use: one bit per page, address-ordered first fit.
 * Owns the bitmaps and the choice; commits and releases nothing itself. All calls under the HEAP lock,
 * which alloc/pageheap.c holds. */
#ifndef HOLDFAST_PAGES_H
#define HOLDFAST_PAGES_H

#include "alloc/span.h"

/* Of a free page: released = not resident (given back or never touched), zero = contents known to be zero.
 * Of a page in use: used only. */
bool pages_init(size_t pages); /* for a heap of at most this many pages; false when refused */
void pages_add_chunk(void);    /* CHUNK_PAGES fresh pages behind the last: free, released, zero */
size_t pages_limit(void);      /* pages added so far */

/* Takes n pages at an address that is a multiple of align pages (a power of two). *zero: all are zero. False
 * when no run is long enough. */
bool pages_alloc(size_t n, size_t align, uint32_t *page, bool *zero);
void pages_free(uint32_t page, size_t n);

/* The highest run of free pages not yet released, at most max pages; false when there is none. The caller
 * gives them back to the system, then calls pages_set_released. */
bool pages_find_unreleased(size_t max, uint32_t *page, size_t *n);
void pages_set_released(uint32_t page, size_t n, bool zero);

size_t pages_tail_free(void); /* free pages at the very end: growth need only add the rest */
bool pages_is_used(uint32_t page);
size_t pages_in_use(void), pages_released(void); /* counts */

#endif
