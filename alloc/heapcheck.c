/* heapcheck.c - see heapcheck.h. Checks INV-SPAN-1 (every span in exactly one place), the list it is on
 * against its contents, slot bytes against counts, and the counters against the walk. */
#include "alloc/heapcheck.h"

#include "alloc/cache.h"
#include "alloc/central.h"
#include "alloc/inside.h"
#include "alloc/layout.h"
#include "alloc/pageheap.h"
#include "alloc/pages.h"
#include "alloc/sample.h"
#include "alloc/slotmap.h"
#include "alloc/sweep.h"
#include "runtime/os.h"
#include "runtime/print.h"

static struct {
  char message[160];
  bool failed;
  uint64_t listed_pages, cached_pages; /* from the lists and the caches */
  uint64_t listed_spans, cached_spans;
  uint64_t objects[SPAN_CLASSES]; /* from the slot bytes */
  uint64_t large_bytes;
} check GC_OWN_DATA;

static void fail(const char *what, uint32_t page, uint64_t expected, uint64_t found) {
  if (check.failed) return;
  check.failed = true;
  format_text(check.message, sizeof check.message, "%s (page %u, class %u: expected %lu, found %lu)", what, page,
              page == NO_PAGE ? 0 : span_class_of(page), (unsigned long)expected, (unsigned long)found);
}

/* Allocated objects of a typed span name their layouts. */
static void check_layouts(uint32_t page) {
  struct slot s = slot_find(page_address(page));
  unsigned live_colour = atomic32_load_relaxed(&heap.live_colour);
  for (unsigned g = 0; g < (s.sc < 2 ? 1 : span_class_groups(s.sc)); g++)
    for (uint64_t left = group_equal(slotmap_group(span_block(page), g), live_colour); left != 0; left &= left - 1) {
      unsigned i = g * 64 + (unsigned)__builtin_ctzll(left);
      s.object = page_address(page) + i * s.size;
      if (!layout_is_whole(&s)) fail("a typed object has lost its layout: was its end overwritten?", page, 0, i);
    }
}

/* Slot bytes: 0 or a colour; the dead colour only in unswept spans; nothing past the last slot. */
static void check_bytes(uint32_t page, unsigned sc, bool swept) {
  uint32_t block = span_block(page);
  unsigned slots = sc < 2 ? 1 : span_class_slots(sc), live_colour = atomic32_load_relaxed(&heap.live_colour);
  for (unsigned g = 0; g < (slots + 63) / 64; g++) {
    const atomic_u8 *group = slotmap_group(block, g);
    uint64_t none = group_equal(group, 0), live = group_equal(group, live_colour);
    uint64_t dead = group_equal(group, other_colour(live_colour));
    dead |= group_equal(group, FREED_WHILE_MARKING);
    if ((none | live | dead) != ~(uint64_t)0) fail("a slot byte has no meaning", page, 0, g);
    if (swept && dead != 0) fail("a dead slot in a swept span", page, 0, g);
    if (((live | dead) & ~group_valid(slots, g)) != 0) fail("a slot byte past the last slot", page, 0, g);
    check.objects[sc] += count_bits(live | dead);
  }
  if (span_is_typed(page)) check_layouts(page);
}

static void check_listed(uint32_t page, bool partial, bool swept, void *arg) {
  unsigned sc = *(unsigned *)arg;
  const struct span *s = &heap.spans[page];
  check.listed_pages += span_pages(page);
  check.listed_spans++;
  if (atomic8_load_relaxed(&s->state) != SPAN_LISTED)
    fail("a listed span has another state", page, SPAN_LISTED, s->state);
  if (span_class_of(page) != sc) fail("a span is on another class's list", page, sc, span_class_of(page));
  if (span_is_swept(page) != swept) fail("a span is on the wrong half of the lists", page, swept, !swept);
  check_bytes(page, sc, swept);
  if (sc < 2) {
    check.large_bytes += span_bytes(page);
    return;
  }
  unsigned live = span_count_live(page);
  if (s->live != live) fail("a span's count is not what its slot bytes say", page, live, s->live);
  if (swept && partial != (live < span_class_slots(sc))) fail("a span is on the wrong list", page, live, partial);
  if (swept && live == 0) fail("an empty span was not given back", page, 0, 0);
}

static void check_cache(const struct cache *c) {
  for (unsigned sc = 2; sc < c->classes; sc++) {
    uint32_t page = c->span[sc].page;
    if (page == NO_PAGE) continue;
    check.cached_pages += span_pages(page);
    check.cached_spans++;
    if (heap.spans[page].state != SPAN_CACHED)
      fail("a cached span has another state", page, SPAN_CACHED, heap.spans[page].state);
    if (heap.spans[page].owner != c->index)
      fail("a cached span names another owner", page, c->index, heap.spans[page].owner);
    if (span_class_of(page) != sc) fail("a cached span is of another class", page, sc, span_class_of(page));
    check_bytes(page, sc, true);
    if ((c->group[sc].free & ~c->span[sc].claimed) != 0) fail("a cache offers slots it did not claim", page, 0, sc);
    check.objects[sc] -= count_bits(c->group[sc].free);
  }
}

/* Every page: in the bitmap exactly when it has a descriptor; descriptors of a span agree. */
static void check_pages(void) {
  uint64_t used = 0, spans = 0;
  for (uint32_t page = 0; page < pages_limit(); page++) {
    uint64_t d = page_desc(page);
    if ((d != 0) != pages_is_used(page)) fail("the page bitmap and the descriptor disagree", NO_PAGE, page, d != 0);
    if (d == 0) continue;
    used++;
    bool large = desc_class(d) < 2;
    spans += desc_is_first(d);
    uint32_t first = large ? (d & DESC_INSIDE ? desc_low(d) : page) : page - (uint32_t)desc_place(d);
    if (page - first >= span_pages(first)) fail("a page lies outside its span", page, first, page);
  }
  if (used != check.listed_pages + check.cached_pages)
    fail("pages in use are not those of the spans", NO_PAGE, check.listed_pages + check.cached_pages, used);
  if (spans != check.listed_spans + check.cached_spans)
    fail("a span is in no place, or in two", NO_PAGE, check.listed_spans + check.cached_spans, spans);
  if (used << PAGE_SHIFT != pageheap_totals().inuse)
    fail("heap_inuse", NO_PAGE, used << PAGE_SHIFT, pageheap_totals().inuse);
}

static void check_counters(void) {
  for (unsigned sc = 0; sc < span_classes(); sc++) {
    const struct central_counts *counts = central_counts(sc);
    uint64_t n = atomic_load_relaxed(&counts->retired) - atomic_load_relaxed(&counts->freed);
    for (struct cache *c = cache_first(); c != NULL; c = c->next)
      n += atomic_load_relaxed(&c->span[sc].taken) - count_bits(c->group[sc].free);
    if (n != check.objects[sc])
      fail("the counters of a class are not what its spans hold", NO_PAGE, check.objects[sc], n);
  }
}

/* No slot that the OS page touches is in use; it lies in a small span. */
static void check_released(const char *at) {
  uint32_t page = page_of(at);
  uint64_t d = page_desc(page);
  if (d == 0 || desc_class(d) < 2) {
    fail("an OS page is given back inside no span", NO_PAGE, page, d != 0);
    return;
  }
  page -= (uint32_t)desc_place(d);
  size_t size = span_class_size(desc_class(d)), offset = (size_t)(at - page_address(page));
  for (size_t i = offset / size; i < span_class_slots(desc_class(d)) && i * size < offset + os_page_size(); i++)
    if (atomic8_load_relaxed(slotmap_group(span_block(page), (unsigned)(i / 64)) + i % 64) != 0)
      fail("an OS page that is given back holds an object", page, 0, i);
}

static void check_inside(void) {
  uint64_t bytes = 0;
  const char *end = heap.base + (pages_limit() << PAGE_SHIFT);
  for (const char *at = heap.base; (at = inside_next(at, end)) != NULL; at += os_page_size()) {
    check_released(at);
    bytes += os_page_size();
  }
  if (bytes != atomic_load_relaxed(&inside.bytes))
    fail("heap_released_inside", NO_PAGE, bytes, atomic_load_relaxed(&inside.bytes));
}

const char *heapcheck(void) {
  memset(&check, 0, sizeof check);
  for (unsigned sc = 0; sc < span_classes(); sc++) central_each(sc, check_listed, &sc);
  for (struct cache *c = cache_first(); c != NULL; c = c->next) check_cache(c);
  check_pages();
  check_counters();
  check_inside();
  const char *what = sample_check();
  if (what != NULL) fail(what, NO_PAGE, 0, 0);
  return check.failed ? check.message : NULL;
}
