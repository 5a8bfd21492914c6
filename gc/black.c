/* black.c - see black.h. */
#include "gc/black.h"

#include "alloc/slotmap.h"

static void each_black_in(uint32_t page, black_visit *visit, void *arg) {
  struct slot s = slot_find(page_address(page));
  unsigned black = atomic32_load_relaxed(&heap.live_colour);
  uint32_t block = span_block(page);
  for (unsigned g = 0; g < (s.sc < 2 ? 1 : span_class_groups(s.sc)); g++) {
    uint64_t left = group_equal(slotmap_group(block, g), black);
    for (left &= ~black_held_back(&s, g, left); left != 0; left &= left - 1) {
      s.object = page_address(page) + ((size_t)g * 64 + (unsigned)__builtin_ctzll(left)) * s.size;
      visit(&s, arg);
    }
  }
}

void black_each(black_visit *visit, void *arg) {
  size_t pages = atomic_load_relaxed(&heap.limit) >> PAGE_SHIFT;
  for (uint32_t page = 0; page < pages; page++) {
    uint64_t d = page_desc(page);
    if (desc_is_first(d) && !desc_is_noscan(d)) each_black_in(page, visit, arg);
  }
}
