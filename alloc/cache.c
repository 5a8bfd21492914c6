/* cache.c - see cache.h: refilling, giving back, and what the collector does with caches in the stop. */
#include "alloc/cache.h"

#include "alloc/central.h"
#include "alloc/guard.h"
#include "alloc/inside.h"
#include "alloc/layout.h"
#include "alloc/leaks.h"
#include "alloc/slotmap.h"
#include "alloc/sweep.h"
#include "runtime/lock.h"
#include "runtime/meta.h"
#include "runtime/thread.h"
#include "runtime/torture.h"

const struct cache empty_cache;
GC_TLS struct cache *tl_cache = (struct cache *)(uintptr_t)&empty_cache;

#define CACHES_MAX 65535

static struct {
  struct lock lock;
  atomic_word first;       /* [A] struct cache *; grows at the head, never shrinks */
  struct cache **by_index; /* [const] table; entries [A by span owner] */
  uint32_t count;          /* [L:CACHES] */
} caches GC_OWN_DATA = {.lock = LOCK_INIT(CACHES)};

struct cache *cache_first(void) {
  return (struct cache *)atomic_load_acquire(&caches.first);
}

static struct cache *find_unused(void) {
  struct cache *c = cache_first();
  while (c != NULL && c->in_use) c = c->next;
  return c;
}

static void open_classes(struct cache *c, unsigned from, unsigned to) {
  for (unsigned sc = from; sc < to; sc++) {
    c->span[sc].page = NO_PAGE;
    c->group[sc].size = (uint32_t)span_class_size(sc);
  }
  c->classes = to;
}

void cache_open_typed(struct cache *c) {
  if (c->classes < SPAN_CLASSES) open_classes(c, TYPED_FIRST, SPAN_CLASSES);
}

static struct cache *new_cache(void) {
  struct cache *c = NULL;
  if (caches.by_index == NULL) caches.by_index = meta_map((CACHES_MAX + 1) * sizeof(struct cache *));
  if (caches.by_index != NULL && caches.count < CACHES_MAX) c = meta_map(sizeof *c);
  if (c == NULL) return NULL;
  c->index = ++caches.count;
  sampler_init(&c->sampler, c->index);
  caches.by_index[c->index] = c;
  open_classes(c, 0, TYPED_FIRST);
  c->next = cache_first();
  atomic_store_release(&caches.first, (uintptr_t)c); /* pairs with cache_first: its fields are set */
  return c;
}

struct cache *cache_create(void) {
  lock_acquire(&caches.lock);
  struct cache *c = find_unused();
  if (c == NULL) c = new_cache();
  if (c != NULL) c->in_use = true;
  lock_release(&caches.lock);
  if (c != NULL) tl_cache = c;
  return c;
}

/* ---- claiming ---- */

/* A sample lies within the slots of mask. Those before it are claimed, or it alone when there are none; the rest of the
 * group is looked at again. Handed out in this order, the sampled one is what the caller of cache_refill gets. */
static GC_NOINLINE uint64_t up_to_sample(struct cache *c, unsigned sc, uint64_t mask) {
  uint64_t before = sampler_before(&c->sampler, c->group[sc].size), rest = mask;
  c->span[sc].again = true;
  if (before == 0) {
    sampler_hit(&c->sampler);
    return mask & (0 - mask);
  }
  sampler_pass(&c->sampler, before, c->group[sc].size);
  for (; before > 0; before--) rest &= rest - 1;
  return mask & ~rest;
}

static void clear_layouts(char *base, uint64_t mask, size_t size) {
  for (; mask != 0; mask &= mask - 1) layout_clear(base + (unsigned)__builtin_ctzll(mask) * size, size);
}

/* Claims what is free in the next groups of the cached span; false when the span has no more. The bytes are
 * stored before the mask is: a stop cannot come between (deferred), but gc_base on another thread can. */
static bool claim_group(struct cache *c, unsigned sc) {
  struct cached_span *s = &c->span[sc];
  struct slot_group *g = &c->group[sc];
  unsigned slots = span_class_slots(sc), groups = span_class_groups(sc);
  uint32_t block = span_block(s->page);
  if (GC_UNLIKELY(s->again)) s->next_group--;
  s->again = false;
  while (s->next_group < groups) {
    unsigned n = s->next_group++;
    atomic_u8 *bytes = slotmap_group(block, n);
    uint64_t mask = group_equal(bytes, 0) & group_valid(slots, n);
    if (mask == 0) continue;
    unsigned count = count_bits(mask);
    if (!sampler_pass(&c->sampler, count, g->size)) {
      mask = up_to_sample(c, sc, mask);
      count = count_bits(mask);
    }
    unsigned claims = atomic32_load_relaxed(&s->claims);
    atomic32_store_relaxed(&s->claims, claims + 1);
    if (GC_UNLIKELY(span_class_is_typed(sc)))
      clear_layouts(page_address(s->page) + (size_t)n * 64 * g->size, mask, g->size);
    write_fence();  /* pairs with the fence in claims_same: who reads a byte from below sees the count changed */
    TORTURE_STEP(); /* a marker may set a mark in this group */
    group_store(bytes, mask, span_birth_colour(s->page, sc));
    TORTURE_STEP(); /* claimed, and not yet held back */
    if (sc == TINY_SPAN_CLASS)
      atomic_store_relaxed(tiny_bits(block, n), atomic_load_relaxed(tiny_bits(block, n)) & ~mask);
    s->claimed = mask;
    atomic_own_add(&s->taken, count);
    char *base = page_address(s->page) + (size_t)n * 64 * g->size;
    inside_handed_out(base + (unsigned)__builtin_ctzll(mask) * (size_t)g->size,
                      base + (64u - (unsigned)__builtin_clzll(mask)) * (size_t)g->size);
    atomic_store_relaxed((atomic_word *)(void *)&g->base, (uintptr_t)base);
    read_fence(); /* the bytes were seen free; the gc_free that freed one had cleared zeroed before */
    g->zeroed = atomic8_load_acquire(&heap.spans[s->page].zeroed);
    atomic_store_release((atomic_word *)(void *)&g->free, mask); /* pairs with cache_holds_back */
    atomic32_store_release(&s->claims, claims + 2);              /* pairs with claims_begin: bytes and mask agree */
    return true;
  }
  return false;
}

static void own_span(struct cache *c, unsigned sc, uint32_t page) {
  heap.spans[page].owner = (uint16_t)c->index;
  heap.spans[page].partial = 0;
  c->span[sc].page = page;
  c->span[sc].next_group = 0;
  c->span[sc].again = false;
  TORTURE_STEP();
  atomic8_store_release(&heap.spans[page].state, SPAN_CACHED); /* pairs with span_wait_swept, cache_holds_back */
}

/* Another span for the one that is used up. */
static bool exchange_span(struct cache *c, unsigned sc) {
  uint32_t old = c->span[sc].page;
  c->span[sc].page = NO_PAGE;
  c->span[sc].claimed = 0;
  c->exchanges++;
  uint32_t page = central_exchange(sc, old, true);
  if (page != NO_PAGE) own_span(c, sc, page);
  return page != NO_PAGE;
}

bool cache_refill(struct cache *c, unsigned sc) {
  GC_CHECK(c->group[sc].free == 0);
  sampler_attend(&c->sampler);
  if (c->span[sc].page != NO_PAGE && claim_group(c, sc)) return true;
  while (exchange_span(c, sc))
    if (claim_group(c, sc)) return true;
  return false;
}

bool cache_refill_tiny(struct cache *c) {
  struct slot_group *g = &c->group[TINY_SPAN_CLASS];
  if (g->free == 0 && !cache_refill(c, TINY_SPAN_CLASS)) return false;
  unsigned bit = (unsigned)__builtin_ctzll(g->free);
  char *p = slot_take(g);
  struct cached_span *s = &c->span[TINY_SPAN_CLASS];
  atomic_word *bits = tiny_bits(span_block(s->page), s->next_group - 1);
  atomic_store_relaxed(bits, atomic_load_relaxed(bits) | (uint64_t)1 << bit);
  c->tiny = p;
  c->tiny_end = p + TINY_SIZE;
  atomic_own_add(&c->tiny_blocks, 1);
  return true;
}

/* ---- giving back ---- */

/* Diagnostics must know that these were never objects. Stops deferred since before the flag was looked at, so they are not swept
 * meanwhile; freeing them then clears `zeroed`. */
static void dropped(char *base, size_t size, uint64_t slots) {
  if (!leaks_wanted && !guards_on) return;
  for (; slots != 0; slots &= slots - 1) {
    struct slot s = slot_find(base + (unsigned)__builtin_ctzll(slots) * size);
    leaks_freed(&s);
    if (guards_on) guard_drop(&s);
  }
}

/* While markers run beside the program the slots cannot become free, and stay allocated until they are swept. */
static void return_span(struct cache *c, unsigned sc) {
  struct slot_group *g = &c->group[sc];
  struct cached_span *s = &c->span[sc];
  uint32_t page = s->page;
  atomic_u8 *bytes = slotmap_group(span_block(page), s->next_group > 0 ? s->next_group - 1 : 0);
  s->page = NO_PAGE;
  s->claimed = 0;
  uint64_t kept = g->free;
  bool returned = central_return(sc, page, bytes, kept);
  atomic_store_release((atomic_word *)(void *)&g->free, 0); /* before taken falls: see handed_out in api/stats.c */
  write_fence();
  if (returned)
    atomic_own_add(&s->taken, 0 - (uint64_t)count_bits(kept));
  else
    dropped(g->base, g->size, kept);
}

void cache_flush(struct cache *c) {
  c->tiny = c->tiny_end = NULL;
  for (unsigned sc = 2; sc < c->classes; sc++) {
    if (c->span[sc].page != NO_PAGE) return_span(c, sc);
  }
}

void cache_retire(struct cache *c) {
  cache_flush(c);
  if (c == tl_cache) tl_cache = (struct cache *)(uintptr_t)&empty_cache;
  lock_acquire(&caches.lock); /* statistics see the counts in one place or the other */
  for (unsigned sc = 2; sc < c->classes; sc++) {
    atomic_add(&central_counts(sc)->retired, atomic_load_relaxed(&c->span[sc].taken));
    atomic_store_relaxed(&c->span[sc].taken, 0);
  }
  c->in_use = false;
  lock_release(&caches.lock);
}

bool cache_holds_back(const struct slot *s) {
  unsigned owner = heap.spans[s->page].owner;
  if (atomic8_load_acquire(&heap.spans[s->page].state) != SPAN_CACHED || owner == 0) return false;
  const struct slot_group *g = &caches.by_index[owner]->group[s->sc];
  /* The owner may refill meanwhile: base and mask belong together only if base stays the same. It changes
   * while the mask is 0, and is released before the new mask. */
  char *base = (char *)atomic_load_acquire((const atomic_word *)(const void *)&g->base);
  uint64_t mask = atomic_load_acquire((const atomic_word *)(const void *)&g->free);
  if (base != (char *)atomic_load_acquire((const atomic_word *)(const void *)&g->base)) return false;
  ptrdiff_t distance = s->object - base;
  if (distance < 0 || (size_t)distance >= 64 * s->size) return false;
  return mask >> ((size_t)distance / s->size) & 1;
}

/* A mask that is not 0 is of the span itself: another is taken only when all of it is handed out. */
bool claims_begin(struct claims *out, uint32_t page, unsigned sc) {
  const struct cache *c = caches.by_index[heap.spans[page].owner];
  const struct slot_group *g = &c->group[sc];
  out->of = &c->span[sc];
  out->number = atomic32_load_acquire(&out->of->claims);
  out->mask = atomic_load_acquire((const atomic_word *)(const void *)&g->free);
  out->group = 0;
  if (out->mask == 0) return out->number % 2 == 0;
  size_t offset = atomic_load_relaxed((const atomic_word *)(const void *)&g->base) - (uintptr_t)page_address(page);
  out->group = (unsigned)(offset / (64 * span_class_size(sc)));
  return out->number % 2 == 0 && out->group < span_class_groups(sc);
}

bool claims_same(const struct claims *c) {
  read_fence();
  return atomic32_load_relaxed(&c->of->claims) == c->number;
}

unsigned cache_held_slots(uint32_t page) {
  unsigned owner = heap.spans[page].owner, sc = span_class_of(page);
  if (sc < 2 || atomic8_load_acquire(&heap.spans[page].state) != SPAN_CACHED || owner == 0) return 0;
  const struct slot_group *g = &caches.by_index[owner]->group[sc];
  uint64_t mask = atomic_load_acquire((const atomic_word *)(const void *)&g->free);
  const char *base = (const char *)atomic_load_acquire((const atomic_word *)(const void *)&g->base);
  /* The owner may be about to refill from this span: then its group is still one of another. */
  return (size_t)(base - page_address(page)) < span_bytes(page) ? count_bits(mask) : 0;
}

/* ---- fork ---- */

void caches_lock(void) { lock_acquire(&caches.lock); }
void caches_unlock(void) { lock_release(&caches.lock); }

void caches_fork_child(void) {
  for (struct cache *c = cache_first(); c != NULL; c = c->next)
    if (c->in_use && c != tl_cache) cache_retire(c);
}

/* ---- in the stop ---- */

static void last_taken(const struct slot_group *g, uint64_t claimed, void (*f)(void *arg, const void *p), void *arg) {
  uint64_t taken = claimed & ~g->free;
  /* Slots are handed out lowest first, so the last one is the highest. */
  if (taken != 0) f(arg, g->base + (63u - (unsigned)__builtin_clzll(taken)) * (size_t)g->size);
}

void cache_stopped(struct cache *c, unsigned colour, void (*f)(void *arg, const void *p), void *arg) {
  if (c->tiny_end != NULL) f(arg, c->tiny_end - TINY_SIZE);
  for (unsigned sc = 2; sc < c->classes; sc++) {
    struct cached_span *s = &c->span[sc];
    struct slot_group *g = &c->group[sc];
    if (s->page == NO_PAGE || s->next_group == 0) continue;
    group_store(slotmap_group(span_block(s->page), s->next_group - 1), g->free, colour);
    last_taken(g, s->claimed, f, arg);
  }
}

bool cache_was_busy(struct cache *c) {
  bool busy = c->exchanges != c->exchanges_seen;
  c->exchanges_seen = c->exchanges;
  return busy;
}

/* Counted as handed out: all of the span's slots, as before the cycle (central_exchange). What marking counted
 * already is taken off again, so the estimate stays high by at most the free slots. */
void cache_sweep(struct cache *c) {
  for (unsigned sc = 2; sc < c->classes; sc++) {
    uint32_t page = c->span[sc].page;
    if (page == NO_PAGE) continue;
    unsigned marked = sweep_cached_span(page) - count_bits(c->group[sc].free);
    atomic_add(&heap.live, (uint64_t)(span_class_slots(sc) - marked) * span_class_size(sc));
  }
}
