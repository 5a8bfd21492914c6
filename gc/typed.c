/* typed.c - see typed.h. Elements are short as a rule: one word of bits, a few of them set. */
#include "gc/typed.h"

/* Branch-free, as push_words in mark.c: what may be a pointer mostly is one, or NULL. */
GC_INLINE GC_NO_SANITIZE uintptr_t *push_word(uintptr_t *top, const char *at, uintptr_t base, uintptr_t limit) {
  uintptr_t word = racy_load_word(at);
  *top = word;
  return top + (word - base < limit);
}

static GC_NO_SANITIZE uintptr_t *push_all(uintptr_t *top, struct words w, uintptr_t base, uintptr_t limit) {
  for (size_t i = w.to; i-- > w.from;) top = push_word(top, w.object + i * sizeof(uintptr_t), base, limit);
  return top;
}

/* The words of [from, to) among the 64 that begin at word `first`, as bits. */
GC_INLINE uint64_t within(uint64_t bits, size_t first, size_t from, size_t to) {
  if (first >= to || first + 64 <= from) return 0;
  if (first < from) bits &= ~(uint64_t)0 << (from - first);
  if (to - first < 64) bits &= ((uint64_t)1 << (to - first)) - 1;
  return bits;
}

GC_NO_SANITIZE uintptr_t *typed_push(uintptr_t *top, struct words w, const struct gc_layout *layout, uintptr_t base,
                                     uintptr_t limit) {
  if (GC_UNLIKELY(layout == NULL)) return push_all(top, w, base, limit);
  size_t period = layout->element_size / sizeof(uintptr_t), count = layout->count;
  size_t lowest = w.from - w.from % period, element = (w.to - 1) - (w.to - 1) % period;
  for (;; element -= period) {
    for (size_t i = count; i-- > 0;) {
      size_t first = element + i * 64;
      uint64_t bits = within(layout->bits[i], first, w.from, w.to);
      for (; bits != 0; bits &= ~((uint64_t)1 << (63 - __builtin_clzll(bits))))
        top =
            push_word(top, w.object + (first + 63 - (unsigned)__builtin_clzll(bits)) * sizeof(uintptr_t), base, limit);
    }
    if (element == lowest) return top;
  }
}
