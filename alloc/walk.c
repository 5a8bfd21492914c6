/* walk.c - see walk.h. */
#include "alloc/walk.h"

#include "alloc/cache.h"
#include "alloc/slotmap.h"

_Static_assert(WALK_GROUPS * 64 >= PAGE_SIZE / 8, "every slot of a span has a bit");

/* The slots that the span's owner holds back. */
static void leave_out_held(uint32_t page, unsigned sc, uint64_t *slots) {
  struct claims held;
  if (atomic8_load_relaxed(&heap.spans[page].state) != SPAN_CACHED || heap.spans[page].owner == 0) return;
  if (claims_begin(&held, page, sc)) slots[held.group] &= ~held.mask;
}

static void walk_span(uint32_t page, unsigned colour, walk_visit *f, void *arg) {
  uint64_t slots[WALK_GROUPS] = {0}, any = 0;
  unsigned sc = span_class_of(page), n = sc < 2 ? 1 : span_class_slots(sc);
  uint32_t block = span_block(page);
  for (unsigned g = 0; g < (n + 63) / 64; g++)
    slots[g] = group_equal(slotmap_group(block, g), colour) & group_valid(n, g);
  if (sc >= 2) leave_out_held(page, sc, slots);
  for (unsigned g = 0; g < WALK_GROUPS; g++) any |= slots[g];
  if (any != 0) f(arg, page, slots);
}

void walk_objects(unsigned colour, walk_visit *f, void *arg) {
  size_t pages = atomic_load_relaxed(&heap.limit) >> PAGE_SHIFT;
  for (uint32_t page = 0; page < pages; page++)
    if (desc_is_first(page_desc(page))) walk_span(page, colour, f, arg);
}
