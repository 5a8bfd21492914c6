/* marker.h - one marker, for the files that trace: its stack and its ring, what it reads of the heap, how words get on the stack.
 * The loop, marker_drain, is in mark.c and is described in mark.h; rescan.c feeds it with what was written meanwhile. */
#ifndef HOLDFAST_MARKER_H
#define HOLDFAST_MARKER_H

#include "alloc/slotmap.h"

#define SHARE_MAX 256 /* entries given away or taken at a time */

struct candidate {
  char *object;
  atomic_u8 *state; /* NULL: empty place in the ring */
  uint32_t size;    /* of the slot; not of a large one */
  uint32_t scan;    /* bytes to scan, 0: none; or one of these: */
};
#define LARGE UINT32_MAX       /* in chunks */
#define TYPED (UINT32_MAX - 1) /* as its layout says */
#define LARGE_NOSCAN (UINT32_MAX - 2)

struct marker {
  uintptr_t *stack; /* [own] */
  size_t room;      /* words of it */
  size_t left;      /* [own; collector between phases] entries that a phase which was broken off left on the stack */
  atomic_word bytes, objects; /* [own, read by others as progress] */
  atomic_word scanned;        /* [own, read when marking is over] of the bytes, those of objects with pointers */
  uint64_t most;              /* [own] bytes after which a drain is broken off */
  uint64_t begun;             /* [collector between phases] bytes when the phase began */
  bool overflow;
  struct candidate ring[MARK_RING];
} __attribute__((aligned(128)));

/* What the loop needs of a size class, in one line. */
struct class_info {
  uint32_t size, magic;
};
extern struct class_info marker_class[SIZE_CLASSES]; /* [const] */

/* What the loop reads at every step, in locals: the compiler must assume that each store to the stack may
 * change any field, and would load them all again. */
struct view {
  uintptr_t base, limit;
  const atomic_word *desc;
  atomic_u8 *slotmap;
  unsigned white;
};

/* Puts the words that point into the heap on the stack, the last first: the first comes off first, and
 * memory is walked in the order in which it was built. Branch-free: about half of all words are pointers,
 * in no order that a predictor could learn.
 * Four words at a time with AVX-512 was no faster: marking waits for memory. */
GC_INLINE GC_NO_SANITIZE uintptr_t *push_words(const struct view *v, uintptr_t *top, const char *at, size_t words) {
  for (size_t b = words * sizeof(uintptr_t); b > 64; b -= 64) __builtin_prefetch(at + b - 1); /* the first is here */
  for (size_t i = words; i-- > 0;) {
    uintptr_t w = racy_load_word(at + i * sizeof(uintptr_t));
    *top = w;
    top += w - v->base < v->limit;
  }
  return top;
}

/* Room for what one object or chunk can push, and its continuation. What does not fit is forgotten: its
 * parent is black, and mark_finish looks at all black objects again. */
GC_INLINE bool marker_has_room(struct marker *m, const uintptr_t *top, size_t words) {
  if (GC_LIKELY(top + words + 1 + MARK_RING <= m->stack + m->room)) return true;
  m->overflow = true;
  return false;
}

/* Where in the span of the page with descriptor d the word points, and to which of its slots. Two functions, since no local's
 * address may be taken here: gcc's address sanitizer, which does not look into a drain, would leave its stack poisoned. */
GC_INLINE uint32_t place_in_span(uint64_t d, size_t offset) {
  return (uint32_t)(offset & (PAGE_SIZE - 1)) + (uint32_t)(desc_place(d) << PAGE_SHIFT);
}
GC_INLINE uint32_t slot_index(uint64_t d, uint32_t in_span) {
  return (uint32_t)(((uint64_t)in_span * marker_class[desc_byte(d) / 2].magic) >> 32);
}

/* Marks until stack (filled up to top) and ring are empty; m->left says how much is left if it is broken off. */
void marker_drain(struct marker *m, const struct view *heap_view, uintptr_t *top);
bool marker_must_break_off(const struct marker *m);

/* Of the words in [from, top), those that are left to do; returns the new top. On a page that is looked at again nearly all
 * lead to what is black, and the drain would ask memory for each of these objects, too: twice as long. */
uintptr_t *marker_keep_white(const struct view *heap_view, uintptr_t *from, uintptr_t *top);

#endif
