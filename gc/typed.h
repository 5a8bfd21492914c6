/* typed.h - the part of marking that reads typed objects by their layouts (alloc/layout.h). Owns nothing. */
#ifndef HOLDFAST_TYPED_H
#define HOLDFAST_TYPED_H

#include "alloc/layout.h"

/* Words [from, to) of an object. */
struct words {
  const char *object;
  size_t from, to;
};

/* Puts those words that may hold a pointer by the layout, and point to [base, base + limit), on the stack whose top is given,
 * the last first; returns the new top. Room for to - from entries, and one more. layout NULL: all words may. */
uintptr_t *typed_push(uintptr_t *top, struct words w, const struct gc_layout *layout, uintptr_t base, uintptr_t limit);

#endif
