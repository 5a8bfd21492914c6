/* frag.h - a walk over all spans beside the running program, and the figures of fragmentation of one span.
 *
 * The walk goes through the page descriptors, in address order, in short pieces: in each it holds stops and one class's
 * CENTRAL lock for at most FRAG_STEP spans, so that neither a stop nor an allocation waits for long. Every span is seen
 * at one moment (INV-FRAG-1):
 *   SPAN_LISTED     The lock keeps it there. When it is swept, its count is the number of objects, and its slot bytes
 *                   are looked at only when it is neither full nor empty. Unswept, those of the live colour are objects:
 *                   the stop that ends marking makes a span unswept, so the colours do not trade places meanwhile.
 *   SPAN_CACHED     The lock keeps it there; what its owner has not handed out is no object (claims_begin).
 *   SPAN_SWEEPING   in somebody's hands, who will be done soon: the piece ends, and the next begins there.
 *   SPAN_NONE       being freed: passed over.
 * What gc_free has freed while markers run beside the program counts until the cycle has ended, as in gc_stats. A span that
 * is made behind the walk is missed. Never writes to the heap or its tables; never takes memory. */
#ifndef HOLDFAST_FRAG_H
#define HOLDFAST_FRAG_H

#include "alloc/span.h"

#define FRAG_STEP 64   /* spans, or pages that are in none, that a piece of the walk looks at */
#define FRAG_GROUPS 16 /* groups of the class with most slots */

struct frag_span {
  uint32_t page, pages;
  unsigned sc, slots; /* a large object is a span of one slot */
  unsigned objects, claimed;
  unsigned age; /* cycles since it was made, modulo AGE_MASK + 1 */
  bool cached, unswept, typed;
  uint64_t used[FRAG_GROUPS]; /* partly used (below): bit per slot that holds an object */
  unsigned claimed_group;     /* where the claimed slots are: */
  uint64_t claimed_mask;
};

/* Neither full nor empty: used is filled. */
GC_INLINE bool frag_is_partly_used(const struct frag_span *s) { return s->objects != 0 && s->objects != s->slots; }
GC_INLINE size_t frag_slot_bytes(const struct frag_span *s) {
  return s->sc < 2 ? (size_t)s->pages << PAGE_SHIFT : span_class_size(s->sc);
}

struct frag_walk {
  uint32_t page; /* where to go on; 0 at first */
  bool waits;    /* the span there is in somebody's hands: let other threads run */
};

/* A piece of the walk: visit(span, arg) for each span, in which nothing may be waited for. Stops deferred; they should be
 * allowed between two pieces. A visit returns for how many more spans it took the time: the piece ends so much sooner.
 * False: it was the last. */
typedef unsigned frag_visit(const struct frag_span *s, void *arg);
bool frag_step(struct frag_walk *w, frag_visit *visit, void *arg);

/* Bytes of the OS pages in a partly used span that no object and no claimed slot touches. */
size_t frag_free_os_bytes(const struct frag_span *s);

/* Looks for spans of one class whose objects would fit over each other's gaps. Bounded: each span is compared with at most
 * FRAG_POOL others, and most not at all once FRAG_TIRED in a row found no partner. */
#define FRAG_POOL 16
#define FRAG_TIRED 256
#define FRAG_RESTS 16 /* when tired, one span in so many is still tried */

struct frag_pool {
  uint64_t valid; /* bit per entry */
  unsigned next, failures, rest;
  struct {
    unsigned objects;
    uint64_t used[FRAG_GROUPS];
  } kept[FRAG_POOL]; /* without a partner so far */
};

/* For each partly used span of the class that no thread allocates from: true when it completes a pair. */
bool frag_pair(struct frag_pool *pool, const struct frag_span *s);

#endif
