/* test_span.c - alloc/span.h: every byte of a span of every class is found in its slot, or in none. */
#include "unit.h"

#include "alloc/slotmap.h"
#include "alloc/span.h"

static void require_none(const void *p) {
  struct slot s = slot_find(p);
  REQUIRE_MSG(s.object == NULL && s.state == NULL && s.page == NO_PAGE, "%p is in a slot", p);
}

static void check_small_byte(uint32_t page, unsigned sc, size_t offset) {
  const char *base = page_address(page);
  size_t size = span_class_size(sc), index = offset / size;
  if (index >= span_class_slots(sc)) {
    require_none(base + offset); /* the tail */
    return;
  }
  struct slot s = slot_find(base + offset);
  REQUIRE_MSG(s.object == base + index * size, "class %u, offset %zu: %p", sc, offset, (void *)s.object);
  REQUIRE(s.page == page && s.sc == sc && s.size == size);
  REQUIRE(s.state == slotmap_group(span_block(page), (unsigned)(index / 64)) + index % 64);
}

static uint32_t make_span(unsigned sc) {
  uint32_t page = span_alloc(sc);
  REQUIRE(page != NO_PAGE && span_class_of(page) == sc && span_pages(page) == span_class_pages(sc));
  REQUIRE(span_bytes(page) == span_class_pages(sc) * PAGE_SIZE && span_is_swept(page));
  REQUIRE(heap.spans[page].state == SPAN_SWEEPING && heap.spans[page].live == 0);
  return page;
}

/* Freed only at the end: each span has neighbours. */
START_TEST(every_byte_of_every_class) {
  static uint32_t page[SPAN_CLASSES];
  for (unsigned sc = 2; sc < SPAN_CLASSES; sc++) page[sc] = make_span(sc);
  for (unsigned sc = 2; sc < SPAN_CLASSES; sc++)
    for (size_t offset = 0; offset < span_bytes(page[sc]); offset++) check_small_byte(page[sc], sc, offset);
  for (unsigned sc = 2; sc < SPAN_CLASSES; sc++) {
    size_t bytes = span_bytes(page[sc]);
    span_free(page[sc]);
    for (size_t offset = 0; offset < bytes; offset += 64) require_none(page_address(page[sc]) + offset);
    REQUIRE(heap.spans[page[sc]].state == SPAN_NONE);
  }
}
END_TEST

static void check_large_byte(uint32_t page, size_t pages, unsigned noscan, size_t offset) {
  struct slot s = slot_find(page_address(page) + offset);
  REQUIRE_MSG(s.object == page_address(page) && s.page == page, "offset %zu: page %u", offset, s.page);
  REQUIRE(s.sc == noscan && s.size == pages * PAGE_SIZE && s.state == slotmap_group(span_block(page), 0));
}

static uint32_t make_large(size_t pages, size_t align, unsigned noscan) {
  bool zero = false;
  uint32_t page = span_alloc_large(pages, align, noscan, &zero);
  REQUIRE(page != NO_PAGE && page % align == 0 && zero);
  REQUIRE(span_pages(page) == pages && span_class_of(page) == noscan);
  REQUIRE(*slotmap_group(span_block(page), 0) == atomic32_load_relaxed(&heap.live_colour));
  return page;
}

START_TEST(large_objects) {
  static const size_t lengths[] = {5, 6, 64, 256, 257, 512, 513, 1300};
  uint32_t page[8];
  for (unsigned i = 0; i < 8; i++) page[i] = make_large(lengths[i], i % 2 ? 1 : 16, i % 2);
  for (unsigned i = 0; i < 8; i++)
    for (size_t p = 0; p < lengths[i]; p++)
      for (size_t k = 0; k < PAGE_SIZE; k += p < 3 ? 1 : 1023)
        check_large_byte(page[i], lengths[i], i % 2, p * PAGE_SIZE + k);
  for (unsigned i = 0; i < 8; i++) {
    span_free(page[i]);
    for (size_t p = 0; p < lengths[i]; p++) require_none(page_address(page[i]) + p * PAGE_SIZE);
  }
}
END_TEST

START_TEST(outside_of_the_heap) {
  static int in_data;
  int on_stack = 0;
  require_none(heap.base); /* nothing is committed yet */
  uint32_t page = make_span(4);
  char *limit = heap.base + atomic_load_relaxed(&heap.limit);
  require_none(NULL);
  require_none((const void *)(uintptr_t)-1);
  require_none(heap.base - 1);
  require_none(limit);
  require_none(limit - 1); /* a free page */
  require_none(heap.base + heap.pages * PAGE_SIZE);
  require_none(&in_data);
  require_none(&on_stack);
  require_none((const void *)((uintptr_t)page_address(page) | (uintptr_t)1 << 63));
  for (unsigned bit = 48; bit < 64; bit++) require_none((const void *)((uintptr_t)heap.base ^ (uintptr_t)1 << bit));
}
END_TEST

START_TEST(descriptors) {
  uint32_t small = make_span(span_class(34, 1)), large = make_large(9, 1, 0);
  unsigned n = class_pages[34];
  for (unsigned i = 0; i < n; i++) {
    uint64_t d = page_desc(small + i);
    REQUIRE((d & DESC_USED) && desc_class(d) == 69 && desc_place(d) == i && desc_low(d) == span_block(small));
  }
  REQUIRE((page_desc(large) & DESC_USED) && !(page_desc(large) & DESC_INSIDE));
  for (uint32_t i = 1; i < 9; i++)
    REQUIRE((page_desc(large + i) & DESC_INSIDE) && desc_low(page_desc(large + i)) == large);
  REQUIRE(page_of(page_address(small)) == small && page_of(page_address(small) + PAGE_SIZE - 1) == small);
  REQUIRE(other_colour(1) == 2 && other_colour(2) == 1);
}
END_TEST

int main(void) {
  Suite *s = suite_create("span");
  TCase *tc = suite_case(s, "span");
  tcase_add_test(tc, every_byte_of_every_class);
  tcase_add_test(tc, large_objects);
  tcase_add_test(tc, outside_of_the_heap);
  tcase_add_test(tc, descriptors);
  return suite_main(s);
}
