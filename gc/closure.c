/* closure.c - see closure.h. */
#include "gc/closure.h"

#include "alloc/layout.h"
#include "gc/mark.h"
#include "runtime/meta.h"
#include "runtime/torture.h"

#define ROOM (GC_TORTURE ? (size_t)1 << 8 : (size_t)1 << 21) /* words; address space, touched on use */

/* [own] of the thread that runs the cycle. */
static struct {
  uintptr_t *stack;
  size_t top;
} closure GC_OWN_DATA;

bool closure_push(uintptr_t word) {
  if (!heap_contains(word)) return true;
  if (closure.stack == NULL) closure.stack = meta_map(ROOM * sizeof *closure.stack);
  if (closure.stack == NULL || closure.top == ROOM) return false;
  closure.stack[closure.top++] = word;
  return true;
}

static GC_NO_SANITIZE void push_contents(const struct slot *s) {
  const struct gc_layout *l = layout_to_read(s);
  if (span_class_is_noscan(s->sc)) return;
  for (size_t i = s->size / sizeof(uintptr_t); i-- > 0;)
    if (layout_may_point(l, i) && !closure_push(racy_load_word(s->object + i * sizeof(uintptr_t)))) mark_forget();
}

void closure_run(void (*met)(const struct slot *s)) {
  unsigned black = atomic32_load_relaxed(&heap.live_colour);
  while (closure.top > 0) {
    struct slot s = slot_find((const void *)closure.stack[--closure.top]);
    if (s.object == NULL || atomic8_load_relaxed(s.state) != other_colour(black)) continue;
    TORTURE_STEP(); /* an assist, or gc_free */
    atomic8_store_relaxed(s.state, black);
    mark_note(s.size);
    push_contents(&s);
    met(&s);
  }
}
