/* verify.c - see verify.h. */
#include "gc/verify.h"

#include "alloc/layout.h"
#include "gc/black.h"
#include "gc/roots.h"

static const void *unmarked GC_OWN_DATA; /* [STW] what was found */

static GC_NO_SANITIZE void expect_black(const char *at) {
  unsigned white = other_colour(atomic32_load_relaxed(&heap.live_colour));
  struct slot s = slot_find((const void *)racy_load_word(at));
  if (s.object != NULL && atomic8_load_relaxed(s.state) == white) unmarked = s.object;
}

/* The end of a typed object need not be told from its slot's: no pointer stands for the layout's word. */
static void expect_children_black(const struct slot *s, void *unused) {
  const struct gc_layout *l = layout_to_read(s);
  (void)unused;
  for (size_t i = 0; i < s->size / sizeof(uintptr_t); i++)
    if (layout_may_point(l, i)) expect_black(s->object + i * sizeof(uintptr_t));
}

const char *mark_verify(void) {
  struct range piece;
  unmarked = NULL;
  roots_rewind();
  while (roots_take(&piece))
    for (const char *at = piece.lo; at + sizeof(uintptr_t) <= piece.hi; at += sizeof(uintptr_t)) expect_black(at);
  if (unmarked != NULL) return "a root points to an object that was not marked";
  black_each(expect_children_black, NULL);
  if (unmarked != NULL) return "a marked object points to one that was not marked";
  return NULL;
}
