/* test_heapcheck.c - the heap checker names each kind of fault. A fault is planted in a sound heap, the checker
 * asked, the fault taken out again, and the checker must be content. */
#include "unit.h"

#include "alloc/central.h"
#include "alloc/inside.h"
#include "alloc/layout.h"
#include "alloc/pages.h"
#include "alloc/slotmap.h"
#include "gc_frag.h"

static void *volatile keep[2000];
static uint32_t partial_page, other_page, long_page, large_page, cached_page; /* spans of the heap below */

#define CLS_24 3u    /* 341 slots: bytes past the last one */
#define CLS_1408 34u /* two pages */

static uint32_t page_with(void *p) { return slot_find(p).page; }

/* Listed spans of three classes, one large object, and one span in the cache. */
static void build_heap(void) {
  quiet_heap();
  for (size_t i = 0; i < 1000; i++) REQUIRE((keep[i] = gc_alloc(24)) != NULL);
  for (size_t i = 1000; i < 1100; i++) REQUIRE((keep[i] = gc_alloc(1400)) != NULL);
  REQUIRE((keep[1100] = gc_alloc(100000)) != NULL);
  flush_own_cache();
  REQUIRE((keep[1101] = gc_alloc(64)) != NULL);
  partial_page = page_with(keep[999]); /* 1000 objects leave the third span of 341 partly used */
  other_page = page_with(keep[0]);
  long_page = page_with(keep[1000]);
  large_page = page_with(keep[1100]);
  cached_page = page_with(keep[1101]);
  REQUIRE(heap.spans[cached_page].state == SPAN_CACHED && heap.spans[partial_page].partial);
  REQUIRE_WHOLE();
}

#define EXPECT_FAULT(text)                                                                                       \
  do {                                                                                                           \
    const char *what_ = heapcheck();                                                                             \
    REQUIRE_MSG(what_ != NULL && strstr(what_, text) != NULL, "found '%s', not '%s'", what_ ? what_ : "", text); \
  } while (0)

/* Plants `value` in an lvalue, expects the sentence, restores. */
#define PLANT(lvalue, value, text)   \
  do {                               \
    __typeof__(lvalue) was = lvalue; \
    (lvalue) = (value);              \
    EXPECT_FAULT(text);              \
    (lvalue) = was;                  \
    REQUIRE_WHOLE();                 \
  } while (0)

static atomic_u8 *slot_byte(uint32_t page, unsigned i) { return slotmap_group(span_block(page), i / 64) + i % 64; }
static unsigned live_colour(void) { return atomic32_load_relaxed(&heap.live_colour); }

START_TEST(counts) {
  struct span *s = &heap.spans[partial_page];
  PLANT(s->live, (uint16_t)(s->live + 1), "a span's count is not what its slot bytes say");
  PLANT(s->live, (uint16_t)(s->live - 1), "a span's count is not what its slot bytes say");
  struct central_counts *c = central_counts(span_class(CLS_24, 0));
  PLANT(c->freed, c->freed + 1, "the counters of a class");
  PLANT(c->retired, c->retired - 1, "the counters of a class");
  c = central_counts(0);
  PLANT(c->retired, c->retired + 1, "the counters of a class");
  struct cached_span *k = &tl_cache->span[span_class(6, 0)];
  PLANT(k->taken, k->taken + 1, "the counters of a class");
}
END_TEST

START_TEST(slot_bytes) {
  unsigned slots = class_slots[CLS_24];
  atomic_u8 *first = slot_byte(partial_page, 0), *last = slot_byte(partial_page, slots - 1);
  PLANT(*first, (unsigned char)other_colour(live_colour()), "a dead slot in a swept span");
  PLANT(*first, FREED_WHILE_MARKING, "a dead slot in a swept span");
  PLANT(*first, 4, "a slot byte has no meaning");
  PLANT(*first, 0, "a span's count is not what its slot bytes say");
  PLANT(*last, (unsigned char)live_colour(), "a span's count is not what its slot bytes say");
  PLANT(*slot_byte(partial_page, slots), (unsigned char)live_colour(), "a slot byte past the last slot");
  PLANT(*slot_byte(partial_page, slots + 20), 255, "a slot byte has no meaning");
  PLANT(*slot_byte(cached_page, 0), (unsigned char)other_colour(live_colour()), "a dead slot in a swept span");
  PLANT(*slot_byte(cached_page, 0), 0, "the counters of a class");
  PLANT(*slot_byte(large_page, 0), (unsigned char)other_colour(live_colour()), "a dead slot in a swept span");
}
END_TEST

START_TEST(places) {
  struct span *s = &heap.spans[partial_page], *c = &heap.spans[cached_page], *large = &heap.spans[large_page];
  PLANT(s->state, SPAN_CACHED, "a listed span has another state");
  PLANT(large->state, SPAN_SWEEPING, "a listed span has another state");
  PLANT(s->gen, (unsigned char)(s->gen + 1), "a span is on the wrong half of the lists");
  PLANT(c->state, SPAN_LISTED, "a cached span has another state");
  PLANT(c->owner, (uint16_t)(c->owner + 1), "a cached span names another owner");
  PLANT(c->owner, 0, "a cached span names another owner");
  struct cached_span *k = &tl_cache->span[span_class(6, 0)];
  uint64_t offered = tl_cache->group[span_class(6, 0)].free;
  PLANT(k->claimed, k->claimed & ~(offered & (0 - offered)), "a cache offers slots it did not claim");
}
END_TEST

/* The cache forgets its span: it is in no place then. */
START_TEST(span_in_no_place) {
  struct cached_span *k = &tl_cache->span[span_class(6, 0)];
  PLANT(k->page, NO_PAGE, "pages in use are not those of the spans");
  uint32_t second = heap.spans[other_page].next;
  REQUIRE(second != NO_PAGE); /* two full spans of 24 bytes, one after the other */
  PLANT(heap.spans[other_page].next, NO_PAGE, "pages in use are not those of the spans");
  PLANT(heap.desc[long_page], heap.desc[long_page] & ~((uint64_t)0xff << 32), "a span is on another class's list");
}
END_TEST

/* All slots of a span on the partial list are taken, or none. */
START_TEST(wrong_list) {
  struct span *s = &heap.spans[partial_page];
  unsigned char was[6 * 64];
  uint16_t live = s->live;
  void *bytes = (void *)(uintptr_t)slot_byte(partial_page, 0);
  memcpy(was, bytes, sizeof was);
  memset(bytes, (int)live_colour(), class_slots[CLS_24]);
  s->live = class_slots[CLS_24];
  EXPECT_FAULT("a span is on the wrong list");
  memset(bytes, 0, sizeof was);
  s->live = 0;
  EXPECT_FAULT("an empty span was not given back");
  memcpy(bytes, was, sizeof was);
  s->live = live;
  REQUIRE_WHOLE();
}
END_TEST

START_TEST(page_tables) {
  uint32_t page;
  bool zero;
  REQUIRE(pages_alloc(1, 1, &page, &zero)); /* taken, and in no span */
  EXPECT_FAULT("the page bitmap and the descriptor disagree");
  pages_free(page, 1);
  REQUIRE_WHOLE();
  PLANT(heap.desc[long_page + 1], 0, "the page bitmap and the descriptor disagree");
  PLANT(heap.desc[large_page + 12], 0, "the page bitmap and the descriptor disagree");
  PLANT(heap.desc[page + 1], DESC_USED, "the page bitmap and the descriptor disagree");
  PLANT(heap.spans[large_page].pages, 12, "a page lies outside its span");
  PLANT(heap.spans[large_page].pages, 14, "pages in use are not those of the spans");
  pages_free(large_page, 1);
  EXPECT_FAULT("the page bitmap and the descriptor disagree");
}
END_TEST

/* A span that claims to be two: its second page says that it is a first one. */
START_TEST(span_in_two_places) {
  uint64_t place_bits = (uint64_t)0xff << 40;
  PLANT(heap.desc[large_page + 5], heap.desc[large_page] & ~place_bits, "");
  PLANT(heap.desc[long_page + 1], heap.desc[long_page + 1] & ~place_bits, "a span is in no place, or in two");
}
END_TEST

/* The span that was in the cache has one object of 64 bytes, at its beginning. */
START_TEST(released_inside) {
  REQUIRE(gc_release_inside() == inside.bytes);
  REQUIRE_WHOLE();
  if (os_page_size() >= PAGE_SIZE) return;
  const char *start = page_address(cached_page), *end = page_address(cached_page + 1), *at = inside_next(start, end);
  REQUIRE(at == start + os_page_size() && heap.spans[cached_page].live == 1);
  PLANT(inside.bytes, inside.bytes + os_page_size(), "heap_released_inside");
  struct central_counts *c = central_counts(span_class(6, 0));
  struct span *s = &heap.spans[cached_page];
  unsigned last = class_slots[6] - 1;
  *slot_byte(cached_page, last) = (unsigned char)live_colour(); /* an object, counted, where the memory is gone */
  s->live++;
  c->retired++;
  EXPECT_FAULT("an OS page that is given back holds an object");
  inside_forget(at, at + 1);
  REQUIRE_WHOLE();
}
END_TEST

/* What stands in the place of the layout's word: 0 is one that was not stored yet, an address is none. */
START_TEST(layouts_overwritten) {
  REQUIRE((keep[0] = gc_alloc_typed(40, some_typed_layout())) != NULL);
  REQUIRE((keep[1] = gc_alloc_typed(50000, some_typed_layout())) != NULL && gc_usable_size(keep[0]) == 40);
  uint64_t *small = keep[0];
  REQUIRE_WHOLE();
  PLANT(small[5], (uintptr_t)small, "a typed object has lost its layout");
  PLANT(small[5], small[5] + 1, "a typed object has lost its layout");
  PLANT(small[5], 5, "a typed object has lost its layout");
  atomic_word *place = (atomic_word *)(uintptr_t)slotmap_group(span_block(page_with(keep[1])), 1);
  PLANT(*place, 0, "a typed object has lost its layout");
}
END_TEST

int main(void) {
  Suite *s = suite_create("heapcheck");
  TCase *tc = suite_case(s, "heapcheck");
  tcase_add_checked_fixture(tc, build_heap, NULL);
  tcase_add_test(tc, counts);
  tcase_add_test(tc, slot_bytes);
  tcase_add_test(tc, places);
  tcase_add_test(tc, span_in_no_place);
  tcase_add_test(tc, wrong_list);
  tcase_add_test(tc, page_tables);
  tcase_add_test(tc, span_in_two_places);
  tcase_add_test(tc, released_inside);
  tcase_add_test(tc, layouts_overwritten);
  return suite_main(s);
}
