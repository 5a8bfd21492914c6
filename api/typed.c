/* typed.c - gc_layout_bitmap and gc_layout_offsets: descriptions are checked here, and become records in alloc/layout.c.
 * gc_alloc_typed is with the other allocations, in alloc.c. */
#include "gc_typed.h"

#include <errno.h>
#include <string.h>

#include "alloc/layout.h"
#include "api/object.h"

#define WORD sizeof(uintptr_t)

static const gc_layout *refuse(int error) {
  errno = error;
  return NULL;
}

/* words: how far pointers reach, so that no more is kept; 0: there are none. */
static const gc_layout *intern(size_t element_size, size_t words, layout_fill *fill, const void *arg) {
  if (element_size == 0 || words > element_size / WORD || (words != 0 && element_size % WORD != 0))
    return refuse(EINVAL);
  library_enter();
  const gc_layout *l = layout_intern(element_size, words, fill, arg);
  library_leave();
  return l != NULL ? l : refuse(ENOMEM);
}

struct description {
  const uint64_t *bits;
  const size_t *offsets;
  size_t n; /* entries */
};

static void fill_bitmap(const void *arg, uint64_t *bits) {
  const struct description *d = arg;
  if (d->n != 0) memcpy(bits, d->bits, d->n * sizeof *bits);
}

const gc_layout *gc_layout_bitmap(size_t element_size, const uint64_t *bits, size_t words) {
  if (bits == NULL && words != 0) return refuse(EINVAL);
  while (words > 0 && bits[words - 1] == 0) words--;
  if (words > element_size / WORD / 64 + 1) return refuse(EINVAL); /* the product below cannot overflow */
  struct description d = {bits, NULL, words};
  size_t reach = words != 0 ? words * 64 - (unsigned)__builtin_clzll(bits[words - 1]) : 0;
  return intern(element_size, reach, fill_bitmap, &d);
}

static void fill_offsets(const void *arg, uint64_t *bits) {
  const struct description *d = arg;
  for (size_t i = 0; i < d->n; i++) {
    size_t word = d->offsets[i] / WORD;
    bits[word / 64] |= (uint64_t)1 << word % 64;
  }
}

const gc_layout *gc_layout_offsets(size_t element_size, const size_t *offsets, size_t n) {
  struct description d = {NULL, offsets, n};
  size_t reach = 0;
  if (offsets == NULL && n != 0) return refuse(EINVAL);
  for (size_t i = 0; i < n; i++) {
    if (offsets[i] % WORD != 0 || offsets[i] / WORD >= element_size / WORD) return refuse(EINVAL);
    if (offsets[i] / WORD + 1 > reach) reach = offsets[i] / WORD + 1;
  }
  return intern(element_size, reach, fill_offsets, &d);
}
