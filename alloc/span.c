/* span.c - see span.h: the reservation, its tables, and the look-up of ambiguous addresses. */
#include "alloc/span.h"

#include "alloc/slotmap.h"
#include "runtime/os.h"

struct heap heap GC_OWN_DATA;

#define TABLE_STEP (256 * MIB) /* bytes of heap whose tables are committed at once: few mprotect calls */

static char *reserve_aligned(size_t size, size_t alignment) {
  char *p = os_reserve(size + alignment);
  if (p == NULL) return NULL;
  char *q = (char *)round_up((uintptr_t)p, alignment);
  if (q > p) os_unreserve(p, (size_t)(q - p));
  if (q + size < p + size + alignment) os_unreserve(q + size, (size_t)(p + alignment - q));
  return q;
}

/* Heap and tables must all be granted; a failed attempt leaves nothing behind. */
static bool try_reserve(size_t bytes) {
  size_t pages = bytes >> PAGE_SHIFT;
  size_t desc = round_up(pages * sizeof(atomic_word), os_page_size());
  size_t spans = round_up(pages * sizeof(struct span), os_page_size());
  char *h = reserve_aligned(bytes, CHUNK_SIZE);
  char *t = h != NULL ? reserve_aligned(desc + spans, os_page_size()) : NULL;
  char *m = t != NULL ? reserve_aligned(slotmap_reserve_bytes(pages), 2 * MIB) : NULL;
  if (m == NULL) {
    if (t != NULL) os_unreserve(t, desc + spans);
    if (h != NULL) os_unreserve(h, bytes);
    return false;
  }
  heap.base = h;
  heap.pages = pages;
  heap.desc = (atomic_word *)t;
  heap.spans = (struct span *)(t + desc);
  heap.slotmap = (atomic_u8 *)m;
  return true;
}

void heap_reserve(void) {
  size_t bytes = HEAP_RESERVE_MAX, limit = os_address_space_limit();
  while (bytes > limit / 2 && bytes > HEAP_RESERVE_MIN) bytes /= 2; /* the program needs address space too */
  while (!try_reserve(bytes)) {
    bytes /= 2;
    if (bytes < HEAP_RESERVE_MIN) fatal("the system refuses even %zu MiB of address space", HEAP_RESERVE_MIN / MIB);
  }
  atomic32_store_relaxed(&heap.live_colour, 1);
  atomic32_store_relaxed(&heap.classes, TYPED_FIRST);
  heap_set_births(1);
}

bool heap_commit_tables(size_t bytes) {
  static size_t committed GC_OWN_DATA; /* [L:HEAP] bytes of heap whose tables are ready */
  if (bytes <= committed) return true;
  size_t from = committed >> PAGE_SHIFT, to = min_size(round_up(bytes, TABLE_STEP) >> PAGE_SHIFT, heap.pages);
  size_t page = os_page_size();
  char *d = (char *)heap.desc + round_down(from * sizeof(atomic_word), page);
  char *s = (char *)heap.spans + round_down(from * sizeof(struct span), page);
  if (!os_commit(d, round_up((uintptr_t)(heap.desc + to) - (uintptr_t)d, page))) return false;
  if (!os_commit(s, round_up((uintptr_t)(heap.spans + to) - (uintptr_t)s, page))) return false;
  committed = to << PAGE_SHIFT;
  return true;
}

static struct slot large_slot(const char *p, uint64_t d) {
  uint32_t first = d & DESC_INSIDE ? desc_low(d) : page_of(p);
  struct slot s = {page_address(first), NULL, first, desc_class(d), 0};
  s.state = heap.slotmap + (size_t)span_block(first) * 64;
  s.size = (size_t)heap.spans[first].pages << PAGE_SHIFT;
  return s;
}

struct slot slot_find(const void *p) {
  const struct slot none = {NULL, NULL, NO_PAGE, 0, 0};
  if (!heap_contains((uintptr_t)p)) return none;
  uint32_t page = page_of(p);
  uint64_t d = page_desc(page);
  if (d == 0) return none;
  if (desc_byte(d) < 2) return large_slot(p, d);
  uint32_t first = page - (uint32_t)desc_place(d);
  size_t offset = (size_t)((const char *)p - page_address(first));
  unsigned cls = desc_byte(d) / 2;
  struct slot s = {NULL, NULL, first, desc_class(d), class_size[cls]};
  size_t index = (offset * class_magic[cls]) >> 32;
  if (index >= class_slots[cls]) return none;
  s.object = page_address(first) + index * s.size;
  s.state = heap.slotmap + (size_t)desc_low(d) * 64 + index;
  return s;
}

/* Publish: pairs with the acquire in page_desc. Without it a marker that follows a stale word could see
 * the descriptor and still read the slot map bytes of the block's last owner. */
void span_publish(uint32_t page, unsigned sc, uint32_t pages, uint32_t block) {
  uint64_t born = atomic32_load_relaxed(&heap.gen) & AGE_MASK, byte = sc;
  bool large = sc < 2 || sc == LARGE_TYPED, typed = span_class_is_typed(sc);
  if (typed) byte = (large ? 0 : class_of(sc) * 2) + NOSCAN;
  uint64_t common = DESC_USED | byte << 32 | born << 49 | (typed ? DESC_TYPED : 0);
  for (uint32_t i = pages; i-- > 1;) {
    uint64_t d = large ? common | DESC_INSIDE | page : common | (uint64_t)i << 40 | block;
    atomic_store_release(&heap.desc[page + i], d);
  }
  atomic_store_release(&heap.desc[page], common | block);
}

void span_unpublish(uint32_t page, uint32_t pages) {
  for (uint32_t i = 0; i < pages; i++) atomic_store_release(&heap.desc[page + i], 0);
}
