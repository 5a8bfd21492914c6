/* span.h - the heap's address arithmetic: page -> span -> slot -> state.
 *
 * page: 8 KiB of heap. span: a run of pages holding slots of one span class, or one large object. slot:
 * place for one object. Everything about them lives outside the heap, in three tables indexed by page:
 *
 *   desc[page]    8 bytes, all that marking reads: the span class, the page's place in its span, and
 *                 where the span's slot states are. 0: the page is in no span.
 *   spans[page]   16 bytes at the span's first page: list links, counts, state. Marking does not read it.
 *   slot map      one byte per slot, in blocks of 64 that the span owns (slotmap.h).
 *
 * An ambiguous word becomes a slot by: subtract the base, compare, shift, load desc, multiply.   INV-FIND-1 */
#ifndef HOLDFAST_SPAN_H
#define HOLDFAST_SPAN_H

#include "alloc/sizeclass.h"
#include "runtime/atomic.h"
#include "runtime/check.h"

#define NO_PAGE UINT32_MAX

/* Page descriptor, one word, published whole:
 *   bits  0-31  slot map block of the span; for a page inside a large object, the object's first page
 *   bits 32-39  span class; of a typed span, the noscan class of its size: marking's inner loop reads neither
 *   bits 40-46  place of the page in its span (small classes: at most 9)
 *   bit  47     typed: what of the objects is scanned, their layouts tell (alloc/layout.h)
 *   bit  48     a page inside a large object, not its first
 *   bits 49-62  when the span was made: the low bits of the generation then
 *   bit  63     in use */
#define DESC_USED ((uint64_t)1 << 63)
#define DESC_INSIDE ((uint64_t)1 << 48)
#define DESC_TYPED ((uint64_t)1 << 47)
#define AGE_MASK 0x3fffu
GC_INLINE uint32_t desc_low(uint64_t d) { return (uint32_t)d; }
GC_INLINE unsigned desc_byte(uint64_t d) { return (unsigned)(d >> 32) & 0xff; } /* for marking's inner loop */
GC_INLINE unsigned desc_class(uint64_t d) {
  unsigned byte = desc_byte(d);
  if (GC_LIKELY((d & DESC_TYPED) == 0)) return byte;
  return byte < 2 ? 0 : span_class_typed(byte / 2);
}
GC_INLINE bool desc_is_noscan(uint64_t d) { return (desc_byte(d) & NOSCAN) != 0 && (d & DESC_TYPED) == 0; }
GC_INLINE size_t desc_place(uint64_t d) { return (size_t)(d >> 40) & 0x7f; }
GC_INLINE unsigned desc_born(uint64_t d) { return (unsigned)(d >> 49) & AGE_MASK; }

/* Of the first page of a span? While one is made, its later pages are described before the first. */
GC_INLINE bool desc_is_first(uint64_t d) {
  if (d == 0) return false;
  return desc_byte(d) < 2 ? (d & DESC_INSIDE) == 0 : desc_place(d) == 0;
}

/* state of a span       in                          moved by
 *   SPAN_NONE           page heap                   span_alloc, span_free (HEAP lock around the pages)
 *   SPAN_CACHED         one thread's cache          the owner, stops deferred
 *   SPAN_SWEEPING       nobody's list, one sweeper  whoever took it off an unswept list (CENTRAL lock)
 *   SPAN_LISTED         a central list              under that class's CENTRAL lock
 * A listed span is swept when its gen equals the heap's; large spans are only ever listed or sweeping. */
enum span_state { SPAN_NONE, SPAN_CACHED, SPAN_SWEEPING, SPAN_LISTED };

struct span {
  uint32_t next, prev; /* [L:CENTRAL] links of the list it is on */
  union {
    uint32_t pages; /* [const] large: pages of the object */
    struct {
      uint16_t live;  /* [L:CENTRAL, sweeper] small: slots not free when last swept or given back */
      uint16_t owner; /* [A by state] small: 1 + index of the cache that owns it, 0 if none */
    };
  };
  atomic_u8 state;  /* [A] enum span_state; released after the fields above, acquired by span_wait_swept */
  atomic_u8 gen;    /* [A] sweep generation; see state */
  uint8_t partial;  /* [L:CENTRAL; STW] listed: on the partial list, not the full one; cached: a slot was freed */
  atomic_u8 zeroed; /* [A] never used since it came zeroed from the system; cleared before a slot is freed */
};
#define SPAN_VACATED 2 /* partial: and objects are being moved out of it */
_Static_assert(sizeof(struct span) == 16, "metadata budget: 24 bytes per page");

struct heap {
  char *base;             /* [const] of the reservation, chunk-aligned */
  size_t pages;           /* [const] reserved */
  atomic_word limit;      /* [A] bytes from base that are committed; grows; released after the tables are ready */
  atomic_word *desc;      /* [const] table; entries [A], see span_publish */
  struct span *spans;     /* [const] table */
  atomic_u8 *slotmap;     /* [const] */
  atomic_u32 live_colour; /* [A; written L:CYCLE] the byte that allocated slots carry: 1 or 2 */
  atomic_u32 classes;     /* [A] TYPED_FIRST, and SPAN_CLASSES from the first layout on: see span_classes */
  atomic_u8 birth[SPAN_CLASSES]; /* [A; written L:CYCLE] the byte that claimed slots get: live_colour, or while marking
                                    white, where few births survive */
  atomic_u32 probe_colour; /* [A; written L:CYCLE] the same for every PROBES-th span, always white while marking */
  atomic_u32 marking;      /* [A; raised before world_wait_for_leavers, lowered STW] see heap_is_marking */
  atomic_u32 gen;          /* [A; written STW] sweep generation, low 8 bits count */
  atomic_word live;        /* [A] bytes: survivors plus what was handed to caches since. Errs high */
  atomic_word freed_spans; /* [A] counts up between the moment a span's pages have no descriptor any more and the
                              moment they may have another; who finds it unchanged looked at one span (alloc/frag.c) */
};
extern struct heap heap;

/* Reserves address space and tables; aborts with one line when refused. */
void heap_reserve(void);
/* Makes the tables ready for `bytes` of heap. HEAP lock. */
bool heap_commit_tables(size_t bytes);

GC_INLINE char *page_address(uint32_t page) { return heap.base + ((size_t)page << PAGE_SHIFT); }
GC_INLINE uint32_t page_of(const void *p) { return (uint32_t)((size_t)((const char *)p - heap.base) >> PAGE_SHIFT); }
GC_INLINE bool heap_contains(uintptr_t p) { return p - (uintptr_t)heap.base < atomic_load_relaxed(&heap.limit); }
GC_INLINE uint64_t page_desc(uint32_t page) { return atomic_load_acquire(&heap.desc[page]); } /* see span_publish */
/* Markers run beside the program: no slot byte may become 0 and no span may be freed, since a marker may be about to
 * store to the byte. True for as long as the caller defers stops: the collector raises the flag, waits until all who
 * may have read the old value have left the library, and only then marks.                             INV-MARK-4 */
GC_INLINE bool heap_is_marking(void) { return atomic32_load_relaxed(&heap.marking) != 0; }
#define PROBES 16 /* one span in so many tells, whatever the births' colour, how many births survive */
GC_INLINE unsigned span_birth_colour(uint32_t page, unsigned sc) {
  return page % PROBES == 0 ? atomic32_load_relaxed(&heap.probe_colour) : atomic8_load_relaxed(&heap.birth[sc]);
}
GC_INLINE void heap_set_births(unsigned colour) {
  for (unsigned sc = 0; sc < SPAN_CLASSES; sc++) atomic8_store_relaxed(&heap.birth[sc], colour);
  atomic32_store_relaxed(&heap.probe_colour, colour);
}

/* Classes that may have spans, for loops over them. Released once their lists are ready, before the first of their spans can
 * be asked for; a cycle that still reads the smaller number has nothing of theirs to do. */
GC_INLINE unsigned span_classes(void) { return atomic32_load_acquire(&heap.classes); }

#define FREED_WHILE_MARKING 3 /* slot byte: freed by gc_free, or given back by a cache, to be swept as dead */
GC_INLINE unsigned other_colour(unsigned colour) { return 3 - colour; }

/* A slot found from an address. */
struct slot {
  char *object;     /* its first byte; NULL: the address is in no slot */
  atomic_u8 *state; /* its byte in the slot map */
  uint32_t page;    /* first page of its span */
  unsigned sc;      /* span class */
  size_t size;      /* bytes */
};

/* Which of its span's slots it is. */
GC_INLINE uint32_t slot_number(const struct slot *s) {
  return s->sc < 2 ? 0 : (uint32_t)((size_t)(s->object - page_address(s->page)) / s->size);
}

/* The slot that holds address p, allocated or not. Safe for any value. */
struct slot slot_find(const void *p);

/* Makes the pages' descriptors point to the span: large when sc < 2 or LARGE_TYPED. The slots' bytes must be set up before. */
void span_publish(uint32_t page, unsigned sc, uint32_t pages, uint32_t block);
void span_unpublish(uint32_t page, uint32_t pages);

/* gc_free while marking runs: leaves the slot to the sweeper and returns true. A marker that saw it white just before
 * may bring it back to life until the next cycle. */
GC_INLINE bool slot_free_later(atomic_u8 *state) {
  if (!heap_is_marking()) return false;
  atomic8_store_relaxed(state, FREED_WHILE_MARKING);
  return true;
}

GC_INLINE uint32_t span_block(uint32_t page) { return desc_low(page_desc(page)); }
GC_INLINE unsigned span_class_of(uint32_t page) { return desc_class(page_desc(page)); }
GC_INLINE uint32_t span_pages(uint32_t page) {
  unsigned sc = span_class_of(page);
  return sc < 2 ? heap.spans[page].pages : span_class_pages(sc);
}
GC_INLINE size_t span_bytes(uint32_t page) { return (size_t)span_pages(page) << PAGE_SHIFT; }
GC_INLINE bool span_is_swept(uint32_t page) {
  return atomic8_load_acquire(&heap.spans[page].gen) == (uint8_t)atomic32_load_relaxed(&heap.gen);
}

#endif
