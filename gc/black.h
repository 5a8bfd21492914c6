/* black.h - going through black objects, which marking does again for what was written since, and when it had to forget
 * something; the verifier too. Reads descriptors and slot bytes, never objects. */
#ifndef HOLDFAST_BLACK_H
#define HOLDFAST_BLACK_H

#include "alloc/cache.h"

/* Of slots that a thread claimed, those not handed out: what is in them are the words of dead objects. Handed out a
 * moment later, a slot is written after we looked, in a span that is fresh or on a page that was armed. */
GC_INLINE uint64_t black_held_back(const struct slot *first, unsigned group, uint64_t of) {
  uint64_t held = 0;
  struct slot s = *first;
  if (first->sc < 2 || GC_LIKELY(atomic8_load_acquire(&heap.spans[first->page].state) != SPAN_CACHED)) return 0;
  for (; of != 0; of &= of - 1) {
    unsigned i = (unsigned)__builtin_ctzll(of);
    s.object = page_address(first->page) + ((size_t)group * 64 + i) * first->size;
    if (cache_holds_back(&s)) held |= (uint64_t)1 << i;
  }
  return held;
}

/* Calls visit for every black object that is not noscan, once, s->object its first byte. */
typedef void black_visit(const struct slot *s, void *arg);
void black_each(black_visit *visit, void *arg);

#endif
