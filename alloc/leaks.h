/* leaks.h - leak mode (GC_LEAKS=1): what cycles found unreachable and nobody had freed, by call stack, and where none
 * was noted by span class. Counted in the last stop of a cycle, when black is what stays and white what dies: each object
 * once, since it is swept next. What gc_free has freed is told by its first word: while markers run beside the program,
 * freeing only marks the slot, and a marker that comes too late brings it back to life until the next cycle. */
#ifndef HOLDFAST_LEAKS_H
#define HOLDFAST_LEAKS_H

#include "alloc/sample.h"

struct leak_tally {
  uint64_t objects, bytes; /* of their slots */
};

struct leaks {
  struct leak_tally total;
  struct leak_tally by_site[SAMPLE_SITES_MAX];
  struct leak_tally by_class[SPAN_CLASSES]; /* without a call stack */
};

bool leaks_init(void);                  /* GC_LEAKS; false: memory is refused */
void leaks_count(void);                 /* world stopped, marking finished, slots of dead objects white */
const struct leaks *leaks_so_far(void); /* NULL: not counted. Cycles kept out while it is read */
void leaks_forget(void);                /* the child of a fork: what its parent leaked is its parent's */

extern bool leaks_wanted; /* [const] after init */
void leaks_stamp(const struct slot *s);

void leaks_unstamp(char *span, size_t size, unsigned group, uint64_t slots);

/* gc_free of an object, or a slot that was claimed and is given back while markers run: it is no leak. Otherwise its slot is free
 * at once. */
GC_INLINE void leaks_freed(const struct slot *s) {
  if (GC_UNLIKELY(leaks_wanted) && heap_is_marking()) leaks_stamp(s);
}

/* These slots of a group are about to become free: a noscan object made there could have the stamp for its contents. */
GC_INLINE void leaks_swept(char *span, size_t size, unsigned group, uint64_t slots) {
  if (GC_UNLIKELY(leaks_wanted)) leaks_unstamp(span, size, group, slots);
}

#endif
