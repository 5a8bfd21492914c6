/* watch.h - the table of what is to happen to single objects: one record for each finalizer, weak reference, ephemeron,
 * uncollectable object, link and toggle reference (docs/finalizers.md, docs/bdw.md). Found by the object's address (gc/hash.h);
 * and walked, by index, when a cycle decides (gc/verdict.h).
 *
 * Promises: a record's object is in use: who frees a slot takes its records off first (watched, gc/weak.h), and what a
 *   cycle finds unreachable has lost them, or is kept, when it ends.                                        INV-WATCH-1
 * Records lie in metadata, which is no root and is never scanned: no record keeps its object alive by itself.
 * Never: calls the program, or allocates in the heap. All calls under the lock, stops deferred, or in the stop. */
#ifndef HOLDFAST_WATCH_H
#define HOLDFAST_WATCH_H

#include "alloc/span.h"

/* kind               object is              other and value are
 *   WATCH_FINALIZER   to be finalized        -, the argument
 *   WATCH_QUEUED      waiting for its turn   -, the argument; both are roots
 *   WATCH_CANCELLED   none: it was freed     (still linked by next_queued)
 *   WATCH_WEAK        what is referred to    the handle, -; cleared before finalizers are queued
 *   WATCH_LONG_WEAK   the same               the same; cleared when the object is freed
 *   WATCH_EPHEMERON   the key                the handle, the value
 *   WATCH_KEPT        uncollectable          -, its place in gc/kept.h
 *   WATCH_LINK        what is referred to    a word of the program's (gc/links.h), -; cleared as WATCH_WEAK
 *   WATCH_LONG_LINK   the same               the same; cleared as WATCH_LONG_WEAK
 *   WATCH_DEAD        none: it died          -, the next of these: watch_bury
 *   WATCH_DEAD_LINK   the same               the word, the same
 *   WATCH_TOGGLE      what is referred to    -, the object when the reference is a strong one
 *   WATCH_TRACED      read by the program    -, what it is to its procedure (gc/traced.h) */
enum watch_kind {
  WATCH_NONE,
  WATCH_FINALIZER,
  WATCH_QUEUED,
  WATCH_CANCELLED,
  WATCH_WEAK,
  WATCH_LONG_WEAK,
  WATCH_EPHEMERON,
  WATCH_KEPT,
  WATCH_LINK,
  WATCH_LONG_LINK,
  WATCH_TOGGLE,
  WATCH_DEAD,
  WATCH_DEAD_LINK,
  WATCH_TRACED,
  WATCH_KINDS
};

/* watch.how: what else is to be known of the value, and of a finalizer's turn. */
enum watch_how {
  HOW_HELD = 1,   /* the value is reachable, whatever becomes of the object */
  HOW_FIRST = 2,  /* before what the object points to, whose turn is in a later cycle */
  HOW_SELF = 4,   /* and if it points to itself, its turn never comes */
  HOW_SURELY = 8, /* also when it must wait for another to be FIRST */
  HOW_LAST = 16   /* only when nothing that is queued in this cycle leads to the object */
};

typedef void finalizer(void *object, void *arg);

struct watch {        /* all fields [L:WATCH; STW] */
  uint32_t next;      /* with the same hash, or unused; 0 ends it */
  uint32_t next_open; /* gc/verdict.c: not decided yet in this cycle */
  union {
    uint32_t next_queued; /* gc/finalize.c, gc/traced.c */
    uint32_t next_link;   /* gc/links.c: with the same hash of the link's address */
  };
  uint32_t asked;   /* the cycle (watch_cycle) for which value was handed to marking; of traced ones, the stop */
  uint8_t kind;     /* enum watch_kind */
  bool is_open;     /* linked by next_open */
  uint8_t how;      /* enum watch_how */
  uint8_t doomed;   /* gc/verdict.c */
  uint32_t prev;    /* with the same hash; 0: it is the first */
  char *object;     /* its start; of a tiny object, its own, in the middle of a slot */
  atomic_u8 *state; /* the slot's byte; NULL: always reachable */
  union {
    struct handle *other; /* weak references, ephemerons */
    atomic_word *link;    /* [the word itself: A, the program's; written in the stop] links */
    finalizer *f;         /* finalizers, queued or not */
  };
  atomic_u8 *
      other_state; /* the byte of the slot that the handle is, or the link is in; NULL: always reachable, or there is none */
  uintptr_t value; /* kept while object and other are reachable; 0: nothing */
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct watch) == 64, "a cache line per record");

void watch_lock(void), watch_unlock(void);

/* A record for the object at p in slot s (s.object NULL: one that is always reachable). 0: memory is refused. */
uint32_t watch_new(enum watch_kind kind, const void *p, const struct slot *s);
void watch_set_other(uint32_t i, void *other, const struct slot *s); /* s.object NULL: not in the heap */
void watch_free(uint32_t i);                                         /* taken off everything but the lists of others */
void watch_cancel(uint32_t i);                                       /* no longer found, but not unused yet */

/* Leaving the hashes takes 100,000 records 0.1 s, which no stop has: in the stop that finds an object dead, or what its handle or
 * link lies in, its record becomes a dead one (WATCH_DEAD, or _LINK), which nobody finds though it is still in the way. Later,
 * under the lock, so many of these are freed; false: there are no more. */
void watch_bury(uint32_t i, enum watch_kind dead);
bool watch_free_dead(unsigned most);

void watch_retarget(uint32_t i, const void *p, const struct slot *s);

/* Any value below watch_end() but 0; kind WATCH_NONE: unused. */
struct watch *watch_at(uint32_t i);
uint32_t watch_end(void);

/* The first record after `after` (0: from the start) whose object is at p; 0: none. */
uint32_t watch_find(const void *p, uint32_t after);

/* The record that the address lies in; 0: none. */
uint32_t watch_around(const void *at);

uint64_t watch_count(enum watch_kind kind);
void watch_changed(uint32_t i, enum watch_kind kind); /* the record is of another kind from now on */

GC_INLINE uint32_t watch_cycle(void) { return atomic32_load_relaxed(&heap.gen) + 1; }
GC_INLINE bool is_marked(const atomic_u8 *state) {
  return state == NULL || atomic8_load_relaxed(state) == atomic32_load_relaxed(&heap.live_colour);
}

/* [A] Table by page: atomic_u32, records of objects in the span that begins there; 0: none yet. */
extern atomic_word watch_counts;

/* Whether an object of the span may have a record. Of an object that the caller owns, no without the lock is no. */
GC_INLINE bool page_is_watched(uint32_t page) {
  const atomic_u32 *counts = (const atomic_u32 *)atomic_load_acquire(&watch_counts); /* pairs with watch.c's set_up */
  return GC_UNLIKELY(counts != NULL) && atomic32_load_relaxed(&counts[page]) != 0;
}

/* NULL, or what is wrong. World stopped, cycle over. */
const char *watch_check(void);

#endif
