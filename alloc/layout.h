/* layout.h - which words of a typed object may hold pointers.
 *
 * A layout is a period in words and a bitmap of the words in it that may; it repeats through the object. Layouts are
 * interned, so the same description is the same record, and permanent: one piece of address space holds them all, one after
 * another, and a record never changes once its address was handed out.
 *
 * Typed objects live in spans of their own (DESC_TYPED), so that scanned and noscan ones need not know of them. An
 * object names its layout by a word:
 *   small  the last word of its slot, which is not the program's (layout_room);
 *   large  the first word of a second block of the span's slot map.
 * The word is a tag and the record's place, and stands for itself: one that is no layout's - 0, or what a program wrote
 * past its object's end - means that all words are scanned.
 *
 * When the word is written. It is 0 before the slot counts as allocated: claiming a slot clears it, and a new block of the
 * slot map is clear. A thread takes a slot, clears it, stores the word, and hands the object out. A marker that comes
 * earlier scans all of the slot, which holds words of dead objects, as for a scanned object's slot, and zeros; none is
 * the new object's yet, since the program has no address to write to. What the program writes later is written after the
 * word: so who rescans the page because of the one also sees the other, wherever the two lie: a rescan protects the page
 * first, and what was written before that, in the writer's order, is seen.                        INV-TYPED-1 */
#ifndef HOLDFAST_LAYOUT_H
#define HOLDFAST_LAYOUT_H

#include "alloc/slotmap.h"
#include "alloc/span.h"

enum layout_kind { LAYOUT_NOSCAN, LAYOUT_SCANNED, LAYOUT_TYPED }; /* no word, all words, some words may hold pointers */

struct gc_layout {
  uint64_t word;          /* [const], as all but next: what names it in an object */
  size_t element_size;    /* bytes; of a layout with pointers a multiple of 8 */
  uint32_t kind;          /* enum layout_kind */
  uint32_t count;         /* words of bits, up to the last that is not 0 */
  struct gc_layout *next; /* [L:LAYOUT] in the same bucket */
  uint64_t hash;
  uint64_t bits[]; /* bit i: word i of an element may hold a pointer */
};

/* The tag is no address, no plausible number, and not what freed memory is filled with. */
#define LAYOUT_TAG ((uint64_t)0x9ec7ab1e << 32)
#define LAYOUT_UNIT 16 /* bytes; records start at multiples */
#define LAYOUT_WORD sizeof(uint64_t)

struct layouts {
  char *base;       /* [const once set, before used is] */
  atomic_word used; /* [A] units; grows */
  atomic_word hash; /* [A] bytes of the table that finds equal ones; grows */
};
extern struct layouts layouts;

/* The record of a description: word i of the element may hold a pointer when bit(arg, i), for words below `words`. NULL:
 * memory is refused. Stops deferred. */
typedef void layout_fill(const void *arg, uint64_t *bits);
const struct gc_layout *layout_intern(size_t element_size, size_t words, layout_fill *fill, const void *arg);

/* Metadata: records and the table that finds them. */
GC_INLINE uint64_t layout_bytes(void) {
  return atomic_load_relaxed(&layouts.used) * LAYOUT_UNIT + atomic_load_relaxed(&layouts.hash);
}

/* Whether l is the address of a layout: safe with any value. */
GC_INLINE bool layout_is_known(const struct gc_layout *l) {
  uint64_t offset = (uint64_t)((uintptr_t)l - (uintptr_t)layouts.base);
  if (offset % LAYOUT_UNIT != 0 || offset / LAYOUT_UNIT >= atomic_load_relaxed(&layouts.used)) return false;
  return l->word == (LAYOUT_TAG | offset / LAYOUT_UNIT);
}

/* The slow and obvious way, for checking. */
GC_INLINE bool layout_has_pointer(const struct gc_layout *l, size_t word) {
  size_t i = word % (l->element_size / sizeof(uintptr_t));
  return l->kind == LAYOUT_SCANNED || (i / 64 < l->count && (l->bits[i / 64] >> i % 64 & 1) != 0);
}

/* ---- objects ---- */

GC_INLINE bool span_is_typed(uint32_t page) { return (page_desc(page) & DESC_TYPED) != 0; }

/* The size class of a small typed object: room for the word, and 16-byte alignment; 0: it is a large one. */
GC_INLINE unsigned typed_size_class(size_t size) {
  unsigned cls = size <= SMALL_MAX - LAYOUT_WORD ? size_class(size + LAYOUT_WORD) : 0;
  return cls + (cls == 3); /* class 3 has slots of 24 bytes */
}

/* Bytes that the program may use of the slot, in a typed span. */
GC_INLINE size_t layout_room(const struct slot *s) { return s->sc < 2 ? s->size : s->size - LAYOUT_WORD; }

const struct gc_layout *layout_of(const struct slot *s); /* NULL: its word names none, so all words are scanned */

/* For those that read objects slowly, of spans that are not noscan: by which layout, NULL: none, and whether a word may hold a
 * pointer by it. */
GC_INLINE const struct gc_layout *layout_to_read(const struct slot *s) {
  return span_is_typed(s->page) ? layout_of(s) : NULL;
}
GC_INLINE bool layout_may_point(const struct gc_layout *l, size_t word) {
  return l == NULL || layout_has_pointer(l, word);
}

/* Of an allocated slot in a typed span: its word names a layout, or, of a small one, was not stored yet; false: the program
 * wrote over it. */
bool layout_is_whole(const struct slot *s);

/* Of a slot that is about to be claimed: what a dead object left is no layout of the next one. Nobody else looks at the
 * memory of a free slot. */
GC_INLINE void layout_clear(char *slot, size_t slot_bytes) {
  atomic_store_relaxed((atomic_word *)(void *)(slot + slot_bytes - LAYOUT_WORD), 0);
}

/* Released: who finds the word finds the record. The fence: what the program writes to the object is not seen before. */
GC_INLINE void layout_store(atomic_word *place, const struct gc_layout *l) {
  atomic_store_release(place, l->word);
  write_fence();
}

GC_INLINE void layout_store_small(char *object, size_t slot_bytes, const struct gc_layout *l) {
  layout_store((atomic_word *)(void *)(object + slot_bytes - LAYOUT_WORD), l);
}

GC_INLINE void layout_store_large(uint32_t page, const struct gc_layout *l) {
  layout_store((atomic_word *)(uintptr_t)slotmap_group(span_block(page), 1), l);
}

#endif
