/* walk.h - all objects of a colour, span by span. World stopped, no sweeping under way. */
#ifndef HOLDFAST_WALK_H
#define HOLDFAST_WALK_H

#include "alloc/span.h"

#define WALK_GROUPS 16 /* of 64 slots: 1024 slots in the class with most */

/* slots: bit i of word g is slot 64 * g + i of the span that begins at page; not 0 throughout. */
typedef void walk_visit(void *arg, uint32_t page, const uint64_t *slots);

/* Slots whose byte is `colour` and which a thread has not just claimed and not handed out: objects. */
void walk_objects(unsigned colour, walk_visit *f, void *arg);

GC_INLINE char *walk_object(uint32_t page, size_t size, unsigned group, uint64_t mask) {
  return page_address(page) + ((size_t)group * 64 + (unsigned)__builtin_ctzll(mask)) * size;
}

#endif
