/* rescan.c - see rescan.h. Reads the program's memory beside it: each word through racy_load_word. */
#include "gc/rescan.h"

#include "alloc/layout.h"
#include "gc/black.h"
#include "gc/marker.h"
#include "gc/remark.h"
#include "gc/typed.h"
#include "runtime/torture.h"

/* The black slots of a group, whose first slot is at `at`, as far as they lie in r: neighbours at once. */
static GC_NO_SANITIZE uintptr_t *rescan_group(struct marker *m, const struct view *v, uintptr_t *top, uint64_t black,
                                              char *at, size_t size, struct range r) {
  for (unsigned i = 0, n = 0; black != 0; black &= n < 64 ? ~(uint64_t)0 << n : 0) {
    i = (unsigned)__builtin_ctzll(black);
    uint64_t rest = ~(black >> i);
    n = rest == 0 ? 64 : i + (unsigned)__builtin_ctzll(rest); /* slots i to n - 1 */
    char *lo = at + i * size, *hi = at + n * size;
    if (lo < r.lo) lo = r.lo;
    if (hi > r.hi) hi = r.hi;
    if (lo >= hi) continue;
    TORTURE_STEP();
    if (!marker_has_room(m, top, (size_t)(hi - lo) / sizeof(uintptr_t))) break;
    top = push_words(v, top, lo, (size_t)(hi - lo) / sizeof(uintptr_t));
  }
  return top;
}

/* What the layout says of the part of a typed object that lies in r. */
static uintptr_t *rescan_typed(struct marker *m, const struct view *v, uintptr_t *top, const struct slot *s,
                               struct range r) {
  size_t from = r.lo > s->object ? (size_t)(r.lo - s->object) / sizeof(uintptr_t) : 0;
  size_t to = min_size((size_t)(r.hi - s->object), layout_room(s)) / sizeof(uintptr_t);
  if (from >= to || !marker_has_room(m, top, to - from)) return top;
  return typed_push(top, (struct words){s->object, from, to}, layout_of(s), v->base, v->limit);
}

static uintptr_t *rescan_typed_group(struct marker *m, const struct view *v, uintptr_t *top, uint64_t black,
                                     struct slot s, char *at, struct range r) {
  for (; black != 0; black &= black - 1) {
    s.object = at + (unsigned)__builtin_ctzll(black) * s.size;
    TORTURE_STEP();
    if (s.object < r.hi) top = rescan_typed(m, v, top, &s, r);
  }
  return top;
}

static uintptr_t *rescan_slots(struct marker *m, const struct view *v, uintptr_t *top, const struct slot *first,
                               struct range r) {
  char *span = page_address(first->page);
  unsigned slots = span_class_slots(first->sc), black = other_colour(v->white);
  uint32_t block = span_block(first->page);
  bool typed = span_class_is_typed(first->sc);
  for (unsigned g = (unsigned)((size_t)(first->object - span) / first->size / 64); g < (slots + 63) / 64; g++) {
    char *at = span + (size_t)g * 64 * first->size;
    if (at >= r.hi) break;
    uint64_t mask = group_equal(slotmap_group(block, g), black) & group_valid(slots, g);
    mask &= ~black_held_back(first, g, mask);
    top =
        typed ? rescan_typed_group(m, v, top, mask, *first, at, r) : rescan_group(m, v, top, mask, at, first->size, r);
  }
  return top;
}

/* The words of black objects of the page that lie in [lo, hi); the object may have been scanned before they were
 * written. A white one needs nothing: it is scanned when it is found. */
static GC_NO_SANITIZE uintptr_t *rescan_page(struct marker *m, const struct view *v, uintptr_t *top, uint32_t page,
                                             char *lo, char *hi) {
  uint64_t d = page_desc(page);
  if (d == 0 || desc_is_noscan(d)) return top;
  struct slot first = slot_find(lo);
  if (first.object == NULL) return top; /* in the unused tail of a span */
  if (first.sc >= 2) return rescan_slots(m, v, top, &first, (struct range){lo, hi});
  size_t words = (size_t)(hi - lo) / sizeof(uintptr_t);
  if (atomic8_load_relaxed(first.state) != other_colour(v->white)) return top;
  if (d & DESC_TYPED) return rescan_typed(m, v, top, &first, (struct range){lo, hi});
  if (!marker_has_room(m, top, words)) return top;
  return push_words(v, top, lo, words);
}

/* A run of OS pages: what they point to and is white goes on the stack. */
static uintptr_t *rescan(struct marker *m, const struct view *v, uintptr_t *top, struct range r) {
  for (char *lo = r.lo; lo < r.hi;) {
    char *end = page_address(page_of(lo) + 1), *hi = end < r.hi ? end : r.hi;
    top = marker_keep_white(v, top, rescan_page(m, v, top, page_of(lo), lo, hi));
    lo = hi;
  }
  return top;
}

/* Each drain begins with an empty ring, so it waits until there is enough to fill it. A piece is finished before a phase is broken
 * off. */
void rescan_pieces(struct marker *m, const struct view *v) {
  uintptr_t *top = m->stack;
  struct range piece;
  while (m->left == 0 && !marker_must_break_off(m) && remark_take(&piece)) {
    top = rescan(m, v, top, piece);
    if (top - m->stack < SHARE_MAX) continue;
    marker_drain(m, v, top);
    top = m->stack;
  }
  if (top > m->stack) marker_drain(m, v, top);
}
