/* sweep.c - see sweep.h. */
#include "alloc/sweep.h"

#include "alloc/cache.h"
#include "alloc/central.h"
#include "alloc/guard.h"
#include "alloc/leaks.h"
#include "alloc/pageheap.h"
#include "alloc/sample.h"
#include "alloc/slotmap.h"
#include "runtime/torture.h"

/* Where to look for unswept spans next; a hint shared by all sweepers. [A] A value of span_classes() or more: none
 * were found by the last look. */
static atomic_u32 cursor GC_OWN_DATA = SPAN_CLASSES;

static unsigned dead_colour(void) { return other_colour(atomic32_load_relaxed(&heap.live_colour)); }

/* What was freed must look freed: the poison is no address and no plausible count. */
static void poison(uint32_t page, unsigned group, uint64_t dead, size_t size) {
  for (; dead != 0; dead &= dead - 1) {
    char *p = page_address(page) + ((size_t)group * 64 + (unsigned)__builtin_ctzll(dead)) * size;
    if (guards_on) guard_bury(p, size);
    memset(p, 0xdb, size);
  }
}

/* Slots of a small span that are about to become free. */
static GC_NOINLINE void bury(uint32_t page, unsigned group, uint64_t dead, size_t size) {
  leaks_swept(page_address(page), size, group, dead);
  if (GC_TORTURE || GC_DEBUG || guards_on) poison(page, group, dead, size);
}

/* Frees the dead slots of a small span; returns the number of slots still allocated. Runs beside gc_free of
 * other slots only on a cached span, where group_store writes the dead bytes alone. */
static unsigned sweep_slots(uint32_t page, unsigned sc) {
  uint32_t block = span_block(page);
  unsigned slots = span_class_slots(sc), groups = span_class_groups(sc), live = 0, freed = 0;
  unsigned dead_byte = dead_colour();
  bool sampled = span_has_samples(page), watched = GC_TORTURE || GC_DEBUG || leaks_wanted || guards_on;
  for (unsigned g = 0; g < groups; g++) {
    atomic_u8 *group = slotmap_group(block, g);
    uint64_t dead = group_equal(group, dead_byte) | group_equal(group, FREED_WHILE_MARKING);
    uint64_t free_slots = group_equal(group, 0) & group_valid(slots, g);
    unsigned n = count_bits(dead);
    live += count_bits(group_valid(slots, g)) - count_bits(free_slots) - n;
    if (n == 0) continue;
    TORTURE_STEP();
    freed += n;
    if (GC_UNLIKELY(sampled)) samples_died(page, g, dead);
    if (GC_UNLIKELY(watched)) bury(page, g, dead, span_class_size(sc));
    group_store(group, dead, 0);
  }
  if (freed > 0) {
    atomic8_store_relaxed(&heap.spans[page].zeroed, 0);
    atomic_add(&central_counts(sc)->freed, freed);
  }
  return live;
}

bool sweep_span(uint32_t page) {
  struct span *s = &heap.spans[page];
  unsigned sc = span_class_of(page);
  bool keep = true;
  GC_CHECK(atomic8_load_relaxed(&s->state) == SPAN_SWEEPING && !span_is_swept(page));
  if (sc >= 2) {
    s->live = (uint16_t)sweep_slots(page, sc);
  } else if (atomic8_load_relaxed(slotmap_group(span_block(page), 0)) != atomic32_load_relaxed(&heap.live_colour)) {
    atomic_add(&central_counts(sc)->freed, 1);
    atomic_add(&central_counts(sc)->large_freed_bytes, span_bytes(page));
    sample_forget(page, 0);
    leaks_swept(page_address(page), 0, 0, 1);
    if (guards_on) guard_bury(page_address(page), span_bytes(page));
    keep = false;
  }
  atomic8_store_release(&s->gen, atomic32_load_relaxed(&heap.gen) & 0xff); /* pairs with span_is_swept */
  return keep;
}

unsigned sweep_cached_span(uint32_t page) {
  unsigned live = sweep_slots(page, span_class_of(page));
  heap.spans[page].partial = 1; /* what its owner has claimed may be free now: to be counted */
  atomic8_store_release(&heap.spans[page].gen, atomic32_load_relaxed(&heap.gen) & 0xff);
  return live;
}

unsigned span_count_live(uint32_t page) {
  unsigned sc = span_class_of(page), slots = span_class_slots(sc), live = 0;
  uint32_t block = span_block(page);
  for (unsigned g = 0; g < span_class_groups(sc); g++) {
    uint64_t used = ~group_equal(slotmap_group(block, g), 0) & group_valid(slots, g);
    live += count_bits(used);
  }
  return live;
}

unsigned span_count_objects(uint32_t page) {
  unsigned sc = span_class_of(page), slots = span_class_slots(sc), n = 0;
  uint32_t block = span_block(page);
  bool marking = heap_is_marking();
  unsigned live_colour = atomic32_load_relaxed(&heap.live_colour);
  for (unsigned g = 0; g < span_class_groups(sc); g++) {
    const atomic_u8 *group = slotmap_group(block, g);
    uint64_t none = group_equal(group, 0) | group_equal(group, FREED_WHILE_MARKING);
    n += count_bits((marking ? ~none : group_equal(group, live_colour)) & group_valid(slots, g));
  }
  unsigned held = cache_held_slots(page);
  return n > held ? n - held : 0;
}

/* At most `most` spans of one class, from the cursor on. 0 when a whole round found none. */
static unsigned sweep_next(unsigned most, size_t *freed_pages) {
  for (unsigned sc = atomic32_load_relaxed(&cursor); sc < span_classes(); sc++) {
    unsigned n = central_sweep(sc, most, freed_pages);
    if (n != 0) return n;
    if (atomic32_load_relaxed(&cursor) == sc) atomic32_store_relaxed(&cursor, sc + 1);
  }
  return 0;
}

bool sweep_some(unsigned n) {
  size_t freed = 0;
  while (n > 0) {
    unsigned done = sweep_next(n, &freed);
    if (done == 0) return false;
    n -= done;
  }
  return true;
}

size_t sweep_all(void) {
  size_t freed = 0;
  while (sweep_next(SWEEP_BATCH, &freed) != 0) continue;
  return freed;
}

/* Bounded: in a heap full of live objects sweeping all of it finds nothing, and takes 4 ms per GiB. */
#define SWEEP_BEFORE_GROWING 128
#define SWEEP_NEAR_LIMIT 4096 /* where growing means passing a memory limit, or being refused */

void sweep_before_growing(size_t n) {
  size_t freed = 0, spans = 0, done;
  if (atomic32_load_relaxed(&cursor) >= span_classes()) return;
  bool near = pageheap_is_near_limit(n);
  if (!near && !pageheap_must_grow(n)) return;
  size_t most = (near ? SWEEP_NEAR_LIMIT : SWEEP_BEFORE_GROWING) + n;
  while (freed < n && spans < most && (done = sweep_next(8, &freed)) != 0) spans += done;
}

void span_wait_swept(uint32_t page) {
  struct span *s = &heap.spans[page];
  for (;;) {
    unsigned state = atomic8_load_acquire(&s->state);       /* pairs with the release in file() and init_span */
    if (state == SPAN_CACHED || state == SPAN_NONE) return; /* cached spans are swept in the stop */
    if (state == SPAN_LISTED && span_is_swept(page)) return;
    size_t freed = 0;
    if (state != SPAN_LISTED || central_sweep(span_class_of(page), 1, &freed) == 0) cpu_relax();
  }
}

void sweep_start(void) {
  atomic32_store_relaxed(&heap.gen, atomic32_load_relaxed(&heap.gen) + 1);
  atomic32_store_relaxed(&cursor, 0);
}
