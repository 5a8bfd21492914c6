/* alloc.c - gc_alloc and its kind, and the ladder that an allocation climbs.
 *
 * Small objects (up to 32 KiB), from the top:
 *  1 The size is rounded to one of 67 classes; with the kind (scanned or noscan) that gives the span
 *    class. The thread's cache has, per span class, a mask of up to 64 slots that are its own: take the
 *    lowest bit (alloc/cache.h). No lock, no atomic operation, no test but "is the mask empty".
 *  2 Mask empty: claim the free slots of the next 64 of the thread's span.
 *  3 Span used up: take one with free slots from the class's central list (alloc/central.h), sweeping
 *    spans of that class left by the last cycle if there are no swept ones.
 *  4 None: a new span from the page heap (alloc/pageheap.h), after sweeping other classes if that means
 *    touching memory the process does not have yet.
 *  5 No run of free pages: the heap grows by 4 MiB chunks of the reservation (runtime/os.h).
 * Noscan objects under 16 bytes share 16-byte blocks on rung 1. Large objects start at rung 4.
 *
 * Before climbing, the slow path starts a cycle when one is due. When memory is refused, by the system or by the
 * hard limit, it collects, gives back what is free, and climbs again. Then the program's pressure callback is called
 * if there is one, and it climbs again, without and with a collection; then the caller gets NULL and ENOMEM.
 *
 * The way back: sweeping frees slots; a span with none in use goes to the page heap, the scavenger returns
 * free pages to the system (alloc/sweep.h, alloc/scavenge.h).
 *
 * Zeroing is done last and outside all locks and deferred stops: gigabytes of it must not delay a stop.
 * A sampled object (alloc/sample.h) never comes from rung 1; its call stack is noted last, outside too.
 * Rung 1 is all that runs undeferred, and INV-FAST-1 says why a stop may come there at any instruction. */
#include "gc_alloc.h"

#include <errno.h>
#include <string.h>

#include "alloc/cache.h"
#include "alloc/central.h"
#include "alloc/guard.h"
#include "alloc/layout.h"
#include "alloc/pageheap.h"
#include "alloc/scavenge.h"
#include "alloc/sweep.h"
#include "api/object.h"
#include "api/profile.h"
#include "gc/cycle.h"
#include "gc_typed.h"
#include "runtime/init.h"
#include "runtime/options.h"
#include "runtime/probe.h"
#include "runtime/thread.h"

/* What size 0 returns. Its address is all that counts; it lies in no span. */
const char zero_size_object[16] __attribute__((aligned(16)));

typedef uint64_t __attribute__((may_alias)) zero_word;
typedef long long zero_vector __attribute__((vector_size(16), may_alias));

/* Clears a slot. Written out, since the compiler turns loops into rep stos, which costs 15 ns for what
 * takes 1 (measured on a prototype). Stores overlap in the middle instead of branching on the exact size. */
GC_INLINE void zero_slot(char *p, size_t size) {
  if (size <= 32) {
    *(zero_word *)p = 0;
    *(zero_word *)(p + ((size / 2) & ~(size_t)7)) = 0;
    *(zero_word *)(p + (((size - 8) / 2) & ~(size_t)7)) = 0;
    *(zero_word *)(p + size - 8) = 0;
    return;
  }
  const zero_vector zero = {0, 0};
  *(zero_vector *)p = zero;
  *(zero_vector *)(p + 16) = zero;
  *(zero_vector *)(p + size - 32) = zero;
  *(zero_vector *)(p + size - 16) = zero;
  if (size <= 64) return;
  *(zero_vector *)(p + 32) = zero;
  *(zero_vector *)(p + 48) = zero;
  *(zero_vector *)(p + size - 64) = zero;
  *(zero_vector *)(p + size - 48) = zero;
}

GC_INLINE void *zeroed(char *p, const struct slot_group *g) {
  if (g->size <= 128)
    zero_slot(p, g->size);
  else if (!g->zeroed)
    memset(p, 0, g->size); /* below, not clearing saved nothing in a prototype */
  return p;
}

/* ---- the slow path ---- */

/* One attempt, stops deferred: a small object from the cache, refilled. */
static char *small_attempt(struct cache *c, unsigned sc) {
  struct slot_group *g = &c->group[sc];
  if (g->free == 0 && !cache_refill(c, sc)) return NULL;
  return slot_take(g);
}

static char *tiny_attempt(struct cache *c, size_t size) {
  char *p = tiny_take(c, size);
  if (p == NULL && cache_refill_tiny(c)) p = tiny_take(c, size);
  if (p != NULL) atomic_own_add(&c->tiny_objects, 1);
  return p;
}

struct request {
  size_t size, align; /* bytes; align 0: what the class gives */
  unsigned noscan;
  bool is_zero;                   /* out: the memory is zero already */
  size_t bytes;                   /* out: of the slot, to clear */
  const struct gc_layout *layout; /* of a typed object, else NULL */
};

/* Counted, and perhaps noted, as an object of its own. */
static void sample_large(struct sampler *s, size_t bytes) {
  sampler_attend(s);
  if (!sampler_pass(s, 1, bytes)) sampler_hit(s);
}

static char *large_attempt(struct cache *c, struct request *r) {
  size_t pages = (r->size + PAGE_SIZE - 1) >> PAGE_SHIFT, align = max_size(r->align >> PAGE_SHIFT, 1);
  sweep_before_growing(pages);
  uint32_t page = span_alloc_large(pages, align, r->layout != NULL ? LARGE_TYPED : r->noscan, &r->is_zero);
  if (page == NO_PAGE) return NULL;
  if (r->layout != NULL) layout_store_large(page, r->layout);
  r->bytes = pages << PAGE_SHIFT;
  atomic_add(&central_counts(r->noscan)->retired, 1);
  atomic_add(&central_counts(r->noscan)->large_bytes, r->bytes);
  atomic_add(&heap.live, r->bytes);
  central_give(r->noscan, page);
  sample_large(&c->sampler, r->bytes);
  return page_address(page);
}

/* The span class whose slots are aligned: spans start on pages, so its size must be a multiple. 0: none. */
static unsigned class_for(const struct request *r) {
  if (r->size > SMALL_MAX || r->align > PAGE_SIZE) return 0;
  unsigned cls = guards_on ? size_class_by_table(r->size) : size_class(r->size);
  for (; cls > 0 && cls < SIZE_CLASSES; cls++)
    if (r->align == 0 || class_size[cls] % r->align == 0)
      return r->layout != NULL ? span_class_typed(cls) : span_class(cls, r->noscan);
  return 0;
}

static char *attempt(struct cache *c, struct request *r) {
  if (r->noscan && r->size < tiny_limit && r->align == 0) return tiny_attempt(c, r->size);
  unsigned sc = class_for(r);
  if (sc < 2) return large_attempt(c, r);
  if (span_class_is_typed(sc)) cache_open_typed(c);
  char *p = small_attempt(c, sc);
  r->is_zero = p != NULL && c->group[sc].zeroed;
  r->bytes = span_class_size(sc);
  return p;
}

/* A thread that left a blocking call without its end (cancelled) has a cache that is not its tl_cache. */
static struct cache *own_cache(void) {
  runtime_ensure_init();
  struct thread *t = thread_register_self();
  if (tl_cache != &empty_cache) return tl_cache;
  thread_defer_stops();
  if (t->cache == NULL) t->cache = cache_create();
  if (t->cache != NULL) tl_cache = t->cache;
  thread_allow_stops();
  return t->cache;
}

#if GC_TORTURE
static void torture(struct cache *c) {
  if (options.torture > 0 && ++c->allocations % (uint64_t)options.torture == 0) cycle_run(CYCLE_FORCED);
}
#else
static void torture(struct cache *c) { (void)c; }
#endif

/* A size that no collection could make room for is refused at once. */
static bool is_impossible(const struct request *r) {
  return r->size + r->align > heap.pages * PAGE_SIZE || r->size > PTRDIFF_MAX;
}

/* sampled: as from sampler_take_due. */
static GC_ENTRY void *finish(char *p, const struct request *r, uint64_t sampled) {
  if (!r->noscan && !r->is_zero) memset(p, 0, r->bytes);
  if (r->layout != NULL && r->bytes <= SMALL_MAX) layout_store_small(p, r->bytes, r->layout);
  if (GC_UNLIKELY(sampled != 0)) profile_note(p, sampled);
  return p;
}

/* After try number `tries` has failed. False: there is nothing left to do. */
static bool make_room(const struct request *r, int tries) {
  if (tries == 3 || (tries == 1 && !pressure_call(r->size))) return false;
  if (tries == 0) quarantine_empty();
  if (tries != 1) collect_for_memory();
  return true;
}

/* GC_DEBUG: before a stop can come, since cycles look at the guards. */
static void guard(char *p, struct request *r) {
  guard_set(p, r->bytes, r->size - GUARD_EXTRA);
  r->bytes = r->size - GUARD_EXTRA;
}

static GC_ENTRY void *allocate(struct request *r) {
  struct cache *c = own_cache();
  if (c == NULL || is_impossible(r)) {
    errno = ENOMEM;
    return NULL;
  }
  torture(c);
  if (GC_UNLIKELY(atomic32_load_relaxed(&pageheap_note) != 0)) limits_attend();
  if (cycle_is_due()) cycle_run(CYCLE_HEAP);
  for (int tries = 0;; tries++) {
    thread_defer_stops();
    char *p = attempt(c, r);
    if (GC_UNLIKELY(guards_on) && p != NULL) guard(p, r);
    uint64_t sampled = sampler_take_due(&c->sampler);
    thread_allow_stops();
    if (GC_LIKELY(p != NULL)) return finish(p, r, sampled);
    if (!make_room(r, tries)) break;
  }
  errno = ENOMEM;
  return NULL;
}

static GC_ENTRY GC_NOINLINE void *allocate_general(size_t size, size_t align, unsigned noscan) {
  struct request r = {size, align, noscan, false, 0, NULL};
  if (size == 0 && align <= sizeof zero_size_object) return (void *)(uintptr_t)zero_size_object;
  if (size == 0) r.size = 1;
  if (options.one_past_end && size >= SMALL_MAX && size < PTRDIFF_MAX) r.size++; /* the class table adds it below */
  if (GC_UNLIKELY(guards_on) && size < PTRDIFF_MAX) r.size += GUARD_EXTRA;
  return allocate(&r);
}

/* A small object whose group is used up, which is nearly always all there is to it: claim the next one. */
static GC_ENTRY GC_NOINLINE void *allocate_slow(size_t size, unsigned noscan) {
  PROBE2(alloc__slow, size, noscan);
  struct cache *c = tl_cache;
  unsigned cls = size <= SMALL_MAX ? size_class(size) : 0;
  bool usual = cls != 0 && c != &empty_cache && !(noscan && size < tiny_limit) && !GC_TORTURE && !cycle_is_due() &&
               atomic32_load_relaxed(&pageheap_note) == 0;
  if (!usual) return allocate_general(size, 0, noscan);
  unsigned sc = span_class(cls, noscan);
  thread_defer_stops();
  bool ok = c->group[sc].free != 0 || cache_refill(c, sc);
  char *p = ok ? slot_take(&c->group[sc]) : NULL;
  uint64_t sampled = sampler_take_due(&c->sampler);
  thread_allow_stops();
  if (GC_UNLIKELY(p == NULL)) return allocate_general(size, 0, noscan);
  if (!noscan) zeroed(p, &c->group[sc]);
  if (GC_UNLIKELY(sampled != 0)) profile_note(p, sampled);
  return p;
}

/* ---- the fast paths ---- */

/* In torture builds every allocation is slow: the caches stay hidden. */
GC_INLINE struct cache *fast_cache(void) { return GC_TORTURE ? (struct cache *)(uintptr_t)&empty_cache : tl_cache; }

GC_ENTRY void *gc_alloc(size_t size) {
  if (GC_UNLIKELY(size > SMALL_MAX)) return allocate_slow(size, 0);
  struct slot_group *g = &fast_cache()->group[span_class(size_class(size), 0)];
  char *p = slot_take(g);
  if (GC_UNLIKELY(p == NULL)) return allocate_slow(size, 0);
  return zeroed(p, g);
}

GC_ENTRY void *gc_alloc_noscan(size_t size) {
  if (GC_UNLIKELY(size > SMALL_MAX)) return allocate_slow(size, NOSCAN);
  struct cache *c = fast_cache();
  void *p;
  if (size < tiny_limit) {
    p = size > 0 ? tiny_take(c, size) : NULL;
    if (GC_LIKELY(p != NULL)) atomic_own_add(&c->tiny_objects, 1);
  } else {
    p = slot_take(&c->group[span_class(size_class(size), NOSCAN)]);
  }
  return GC_LIKELY(p != NULL) ? p : allocate_slow(size, NOSCAN);
}

GC_ENTRY void *gc_calloc(size_t n, size_t size) {
  size_t bytes;
  if (__builtin_mul_overflow(n, size, &bytes)) {
    errno = ENOMEM;
    return NULL;
  }
  return gc_alloc(bytes);
}

GC_ENTRY void *gc_alloc_aligned(size_t alignment, size_t size) {
  if (alignment == 0 || (alignment & (alignment - 1)) != 0) {
    errno = EINVAL;
    return NULL;
  }
  if (alignment <= 8 && size != 0) return gc_alloc(size);
  return allocate_general(size, alignment, 0);
}

/* Stops are deferred while the list grows: no cycle can end that would miss a noscan object which only another names. */
GC_ENTRY void *allocate_linked(size_t size, unsigned noscan, size_t most) {
  zero_word *first = noscan ? gc_alloc_noscan(size) : gc_alloc(size), *last = first;
  if (first == NULL) return NULL;
  thread_defer_stops();
  struct slot_group *g = &tl_cache->group[span_class(size <= SMALL_MAX ? size_class(size) : 0, noscan)];
  for (size_t n = 1; n < most && !GC_TORTURE; n++) {
    zero_word *p = slot_take(g);
    if (p == NULL) break;
    if (!noscan) zeroed((char *)p, g);
    *last = (uintptr_t)p;
    last = p;
  }
  *last = 0;
  thread_allow_stops();
  return first;
}

/* ---- typed objects ---- */

/* The word that names the layout is added here, and the alignment keeps to the classes that typed_size_class knows. */
static GC_ENTRY GC_NOINLINE void *typed_slow(size_t size, const struct gc_layout *layout) {
  if (guards_on) return allocate_general(size, 0, 0); /* scanned as a whole: a red zone lies where the layout would */
  struct request r = {size + LAYOUT_WORD, 16, 0, false, 0, layout};
  if (size > SMALL_MAX - LAYOUT_WORD) {
    r.size = size;
    if (options.one_past_end && size < PTRDIFF_MAX) r.size++;
    r.size = max_size(r.size, SMALL_MAX + 1);
  }
  return allocate(&r);
}

/* Without pointers, with nothing but pointers, or without a layout. Noscan objects under 16 bytes share memory: no more
 * than is theirs may be cleared. */
static GC_ENTRY GC_NOINLINE void *typed_uncommon(size_t size, const struct gc_layout *layout) {
  if (size == 0 || layout == NULL) return gc_alloc(size);
  if (!layout_is_known(layout)) fatal("gc_alloc_typed: %p is no layout", (const void *)layout);
  if (layout->kind == LAYOUT_SCANNED) return gc_alloc(size);
  void *p = gc_alloc_noscan(size);
  return p != NULL ? memset(p, 0, size) : NULL;
}

GC_ENTRY void *gc_alloc_typed(size_t size, const gc_layout *layout) {
  if (GC_UNLIKELY(!layout_is_known(layout) || layout->kind != LAYOUT_TYPED || size == 0))
    return typed_uncommon(size, layout);
  unsigned cls = typed_size_class(size);
  if (GC_UNLIKELY(cls == 0)) return typed_slow(size, layout);
  struct slot_group *g = &fast_cache()->group[span_class_typed(cls)];
  char *p = slot_take(g);
  if (GC_UNLIKELY(p == NULL)) return typed_slow(size, layout);
  zeroed(p, g);
  layout_store_small(p, g->size, layout);
  return p;
}
