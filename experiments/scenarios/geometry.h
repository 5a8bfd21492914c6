/* geometry.h - how each allocator lays objects out, and what follows when every k-th of them is kept.
 *
 * Owns:    the prediction that steps.c holds against the measurement.
 * Promise: from documented constants (Go, Holdfast) or from what the allocator says of itself (jemalloc's
 *          arenas.bin.*, bdwgc's GC_size), never from the figures that it is compared with.
 * Reading: geometry.c has the formula and its argument. */
#ifndef EXPERIMENTS_GEOMETRY_H
#define EXPERIMENTS_GEOMETRY_H

#include <stddef.h>
#include <stdint.h>

#include "goclass.h"

/* Objects of one size. span 0: the allocator has no spans (glibc), nothing is predicted. */
struct geometry {
  size_t slot;  /* bytes that one slot takes                           */
  size_t span;  /* bytes that come and go together                     */
  size_t slots; /* in a span                                           */
  size_t share; /* objects that share a slot: more than 1 below 16 bytes */
};

struct prediction {
  uint64_t kept;       /* objects                                   */
  uint64_t live_slots; /* slots that hold one or more of them       */
  uint64_t spans;      /* spans that hold one or more of them       */
  uint64_t inuse;      /* bytes of these spans                      */
  uint64_t alloc;      /* bytes of these slots                      */
};

struct geometry geometry_of(size_t size, int noscan);

/* Of n objects, allocated one after the other from an empty heap, every step-th is kept, from the first on. */
struct prediction geometry_predict(const struct geometry *geometry, uint64_t n, uint64_t step);

#endif
