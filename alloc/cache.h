/* cache.h - what a thread allocates from without asking anybody: per span class one span, and of that
 * span one group of at most 64 slots at a time.
 *
 * The fast path and the stop signal. A thread may be stopped between any two instructions of slot_take.
 * Taking a slot is one store, of the mask of slots not handed out yet; the collector never changes a mask.
 * At the stop, every slot that is still in the mask counts as allocated, and so does the last one taken:
 * whichever instruction the thread stands at, the slot it is about to return is one of these two, or its
 * address is in a register (INV-FAST-1, argued in docs/allocation.md, tested by tests/system/test_fastpath). */
#ifndef HOLDFAST_CACHE_H
#define HOLDFAST_CACHE_H

#include "alloc/sample.h"
#include "alloc/span.h"

struct slot_group {
  uint64_t free;   /* [own; read STW] slots claimed for this thread and not handed out; bit i: base + i * size */
  char *base;      /* [own] first slot of the group */
  uint32_t size;   /* [own] bytes of a slot */
  uint32_t zeroed; /* [own] the slots' memory is zero already */
};

struct cached_span {
  uint32_t page;       /* [own; STW] NO_PAGE: none */
  uint16_t next_group; /* [own] first group not claimed from yet */
  bool again;          /* [own] but the last one was claimed from only up to a sample: it is looked at again */
  uint64_t claimed;    /* [own; STW] slots of the current group that were claimed */
  atomic_word taken;   /* [own, read by statistics] slots ever claimed, less those given back */
  atomic_u32 claims;   /* [own, read by claims_begin] odd while slots are being claimed: bytes and mask do not agree */
};

/* What is of typed classes lies at the ends of both tables: a thread that allocates no typed objects has less memory in use
 * for it, and loops go to `classes` only. */
struct cache {
  struct slot_group group[SPAN_CLASSES]; /* hot: the fast path reads nothing else */
  char *tiny, *tiny_end;                 /* [own; STW] rest of the current tiny block; NULL: none */
  unsigned classes;                      /* [own; STW] TYPED_FIRST; SPAN_CLASSES: typed ones are ready */
  atomic_word tiny_objects, tiny_blocks; /* [own, read by statistics] */
  struct sampler sampler;                /* [own] which of its slots are samples */
  uint64_t allocations;                  /* [own] torture builds count here */
  uint32_t exchanges, exchanges_seen;    /* [own; STW] spans taken; of these, known to the collector */
  struct cache *next;                    /* [const once listed] all caches, in use or not */
  uint32_t index;                        /* [const] 1-based; spans name their owner by it */
  bool in_use;                           /* [L:CACHES] */
  struct cached_span span[SPAN_CLASSES];
};

/* This thread's cache; empty_cache before its first allocation, so that the fast path needs no test. */
extern GC_TLS struct cache *tl_cache;
extern const struct cache empty_cache;

/* The whole fast path but for zeroing. NULL: the group is used up. */
GC_INLINE void *slot_take(struct slot_group *g) {
  uint64_t free = g->free;
  if (GC_UNLIKELY(free == 0)) return NULL;
  *(volatile uint64_t *)&g->free = free & (free - 1);
  return g->base + (size_t)(unsigned)__builtin_ctzll(free) * g->size;
}

/* A tiny object: the next aligned place in the current block. */
GC_INLINE void *tiny_take(struct cache *c, size_t size) {
  uintptr_t low_bit = size & (0 - size);
  char *p = (char *)round_up((uintptr_t)c->tiny, low_bit);
  if (GC_UNLIKELY((ptrdiff_t)size > c->tiny_end - p)) return NULL;
  c->tiny = p + size;
  return p;
}

/* All that follows: stops deferred. */

struct cache *cache_create(void);       /* for the calling thread: sets tl_cache; NULL when memory is refused */
void cache_open_typed(struct cache *c); /* before its first refill of a typed class */
void cache_retire(struct cache *c);     /* the thread ends: spans go to the central lists */

/* Claims the next slots for sc. False when memory is refused. */
bool cache_refill(struct cache *c, unsigned sc);
/* A fresh tiny block becomes the current one. False when memory is refused. */
bool cache_refill_tiny(struct cache *c);
/* Gives everything back: slots not handed out, and spans. */
void cache_flush(struct cache *c);
/* Whether the slot was claimed by the cache that owns its span, and not handed out. Racy for other threads. */
bool cache_holds_back(const struct slot *s);
/* How many slots of the span that is so. */
unsigned cache_held_slots(uint32_t page);

/* What the owner of a cached span has claimed of it and not handed out, to be set off against its slot bytes. Under the
 * class's CENTRAL lock: the span stays cached, and only claiming changes its bytes from free. begin, read the bytes, then
 * ask whether no claim came in between. begin fails when one is under way. */
struct claims {
  const struct cached_span *of;
  unsigned number;
  unsigned group; /* of the span, in which */
  uint64_t mask;  /* these slots are claimed and not handed out */
};
bool claims_begin(struct claims *out, uint32_t page, unsigned sc);
bool claims_same(const struct claims *c);

/* The stop, for each cache: what is not handed out takes the survivors' colour; f(p) is called for the last
 * slot taken of each class and for the tiny block. After marking: sweep the cached spans. */
void cache_stopped(struct cache *c, unsigned colour, void (*f)(void *arg, const void *p), void *arg);
void cache_sweep(struct cache *c);

/* Whether the cache took a span since this was asked last. World stopped. */
bool cache_was_busy(struct cache *c);

/* In the child of a fork: caches but the calling thread's belong to threads that are gone; retires them. */
void caches_fork_child(void);

/* Keeps caches from being retired, so that counts do not move while they are read. */
void caches_lock(void);
void caches_unlock(void);

struct cache *cache_first(void); /* the list of all caches; for the stop and for statistics */

#endif
