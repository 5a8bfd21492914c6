/* sizeclass.h - from a size to its class, and from a class to its span. Tables: sizeclass_tab.h. */
#ifndef HOLDFAST_SIZECLASS_H
#define HOLDFAST_SIZECLASS_H

#include "alloc/sizeclass_tab.h"
#include "runtime/config.h"

/* A span class is a size class with a kind. Scanned and noscan: class * 2 + noscan, so that the fast paths need no table;
 * 0 and 1 are large objects. Typed (alloc/layout.h), behind them: one per size class but the large one, whose typed objects
 * are of class 0. Typed classes exist from the first layout on (span_classes). */
#define NOSCAN 1u
#define TYPED_FIRST (2 * SIZE_CLASSES)
#define SPAN_CLASSES (TYPED_FIRST + SIZE_CLASSES - 1)
#define LARGE_TYPED SPAN_CLASSES /* names what a span is made for, and is no class: the span is of class 0 */

_Static_assert(SIZE_CLASSES == 68, "Go's 67 classes and the large one");
_Static_assert(TYPED_FIRST <= 256, "what marking reads of a span class fits the byte it has in a page descriptor");

#define TINY_SIZE 16                      /* bytes of a tiny block */
#define TINY_SPAN_CLASS (2u * 2 + NOSCAN) /* where tiny blocks live: 16 bytes, noscan */

/* class_by_8 and class_by_128 as the options want them: with GC_ONE_PAST_END each size has the class of
 * size + 1, at no cost to the fast path. Before sizeclass_init all is class 0, whose groups are always empty:
 * the first allocation takes the slow path, which initialises. [const] after init */
struct class_map {
  uint8_t by_8[1024 / 8 + 1], by_128[(SMALL_MAX - 1024) / 128 + 1];
};
extern struct class_map class_map;
extern size_t tiny_limit; /* [const] noscan objects below this many bytes are tiny: TINY_SIZE, or 0 */

void sizeclass_init(bool one_past_end);
/* The same look-up where the maps are left empty on purpose (alloc/guard.h). */
GC_INLINE unsigned size_class_by_table(size_t size) {
  return size <= 1024 ? class_by_8[(size + 7) / 8] : size <= SMALL_MAX ? class_by_128[(size - 1024 + 127) / 128] : 0;
}
void sizeclass_no_tiny(void); /* then: every noscan object has a slot of its own */

/* The class for size <= SMALL_MAX; 0 for size 0, and for SMALL_MAX with one more byte. */
GC_INLINE unsigned size_class(size_t size) {
  return size <= 1024 ? class_map.by_8[(size + 7) / 8] : class_map.by_128[(size - 1024 + 127) / 128];
}

GC_INLINE unsigned span_class(unsigned cls, unsigned noscan) { return cls * 2 + noscan; }
GC_INLINE unsigned span_class_typed(unsigned cls) { return TYPED_FIRST - 1 + cls; } /* cls 1 or more */
GC_INLINE bool span_class_is_typed(unsigned sc) { return sc >= TYPED_FIRST; }
GC_INLINE bool span_class_is_noscan(unsigned sc) { return sc < TYPED_FIRST && (sc & NOSCAN) != 0; }
GC_INLINE unsigned class_of(unsigned sc) { return sc < TYPED_FIRST ? sc / 2 : sc - (TYPED_FIRST - 1); }
GC_INLINE unsigned span_class_slots(unsigned sc) { return class_slots[class_of(sc)]; }
GC_INLINE unsigned span_class_groups(unsigned sc) { return (class_slots[class_of(sc)] + 63u) / 64; }
GC_INLINE size_t span_class_size(unsigned sc) { return class_size[class_of(sc)]; }
GC_INLINE unsigned span_class_pages(unsigned sc) { return class_pages[class_of(sc)]; }

#endif
