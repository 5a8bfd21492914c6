/* goclass.h - Go's size classes, as the case studies mean them: the slot sizes and the pages of a span, from Go's
 * src/runtime/sizeclasses.go (the same from Go 1.16 to 1.21).
 *
 * Owns:    the table, and Go's rule by which a slice of bytes grows (src/runtime/slice.go, growslice, Go 1.18 and later).
 * Why:     chunks of a database grow by this rule on every allocator, as they did in the case study; and the number
 *          of slots in a span predicts what Go and Holdfast do. Holdfast has the same table inside; experiments see
 *          public headers only, so steps.c compares the two.
 * Reading: steps.c, tsdb.c. */
#ifndef EXPERIMENTS_GOCLASS_H
#define EXPERIMENTS_GOCLASS_H

#include <stddef.h>

enum { GO_PAGE = 8192, GO_LARGEST_SMALL = 32768, GO_TINY_BLOCK = 16 };

struct go_class {
  size_t slot;  /* bytes of a slot                             */
  size_t span;  /* bytes of a span                             */
  size_t slots; /* in a span; 1 for large objects              */
};

/* The class of an object of size bytes; of a large one, its pages. size > 0. */
struct go_class go_class_of(size_t size);

/* The capacity of a slice of bytes, capacity so far (over 0), after append needed one byte more. */
size_t go_grow(size_t capacity);

#endif
