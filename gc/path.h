/* path.h - why an object is kept: the shortest way to it from a root, found by a tracer of its own with the world stopped.
 * Works whatever the collector is doing: it takes the cycle's lock, reads slot bytes and never writes one, and has marks and
 * parents in memory that it maps and gives back. Costs a stop as long as marking the whole heap with one processor, and
 * 16 bytes per slot.
 * What records add is followed, too: values of ephemerons whose keys are reached, arguments of finalizers, queued finalizers.
 * Order of looking: from all roots but stacks; when these do not lead there, from stacks too; last, the words on the caller's own stack that
 * point to the object itself, since whoever asks has its address at hand. */
#ifndef HOLDFAST_PATH_H
#define HOLDFAST_PATH_H

#include "gc/roots.h"

#define PATH_ENDS 12   /* steps kept at each end of a long path */
#define PATH_ABOVE 256 /* words kept of what lies above a word on a stack */

enum path_answer { PATH_NOT_HEAP, PATH_NO_OBJECT, PATH_UNREACHABLE, PATH_ALIVE, PATH_NO_MEMORY };

/* What the address of a step stands in. The others are values of records (gc/watch.h). */
enum path_edge {
  EDGE_WORD,      /* a root, or the object of the step before */
  EDGE_KEY,       /* an ephemeron that has this object as its key */
  EDGE_EPHEMERON, /* an ephemeron, which the object is */
  EDGE_ARGUMENT,  /* the object's finalizer */
};

struct path_step {
  enum path_edge edge;
  uintptr_t word;   /* where the address stands: in a root, or in the object of the step before */
  uintptr_t value;  /* what stands there: an address in the object */
  uintptr_t object; /* its start */
  size_t size;      /* of its slot, bytes */
  unsigned sc;      /* its span class */
  uint32_t site;    /* where it was allocated, or SAMPLE_NO_SITE */
};

struct path {
  enum path_answer answer;
  struct path_step target; /* PATH_UNREACHABLE, PATH_ALIVE: the object; word is not set */
  size_t length;           /* PATH_ALIVE: steps; those at both ends are in step[] */
  struct path_step step[2 * PATH_ENDS];
  struct root_place root; /* of the first step's word */
  bool only_stacks;       /* no other root leads there */
  bool only_own_words;    /* nothing does but so many words on the caller's own stack */
  size_t own_words;
  unsigned
      above_count; /* words from the first step's word up, when it lies on a stack: a return address is among them */
  uintptr_t above[PATH_ABOVE];
};

/* hidden: the complement of the address, so that the question itself is no reference; for the same reason *out must not
 * be where roots are. Stops not deferred. */
void path_find(uintptr_t hidden, struct path *out);

/* The place of step i of a path that shows both ends. */
GC_INLINE const struct path_step *path_step(const struct path *p, size_t i) {
  return &p->step[i < PATH_ENDS ? i : 2 * PATH_ENDS - (p->length - i)];
}

#endif
