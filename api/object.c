/* object.c - calls about an object that exists: its base, its usable size, changing its size, freeing it. */
#include "api/object.h"

#include <errno.h>
#include <string.h>

#include "alloc/cache.h"
#include "alloc/central.h"
#include "alloc/layout.h"
#include "alloc/pageheap.h"
#include "alloc/sample.h"
#include "alloc/slotmap.h"
#include "alloc/sweep.h"
#include "gc_typed.h"
#include "runtime/options.h"

static bool slot_is_free(const atomic_u8 *state) {
  unsigned byte = atomic8_load_acquire(state);
  return byte == 0 || byte == FREED_WHILE_MARKING;
}

struct slot object_find(const void *p) {
  struct slot s = slot_find(p);
  if (s.object == NULL) return s;
  if (atomic8_load_relaxed(&heap.spans[s.page].state) != SPAN_NONE) span_wait_swept(s.page);
  if (page_desc(s.page) == 0 || slot_is_free(s.state) || cache_holds_back(&s)) s.object = NULL;
  return s;
}

bool object_is_tiny_block(const struct slot *s) {
  if (s->sc != TINY_SPAN_CLASS) return false;
  size_t index = (size_t)(s->object - page_address(s->page)) / TINY_SIZE;
  return atomic_load_relaxed(tiny_bits(span_block(s->page), (unsigned)(index / 64))) >> (index % 64) & 1;
}

void *gc_base(const void *p) {
  library_enter();
  struct slot s = object_find(p);
  library_leave();
  return s.object;
}

/* The object that starts at p, or a line that says what p is instead. A tiny object may start anywhere in
 * its block. Stops deferred, up to the end of what the caller does with it: a cycle in between could leave
 * the span in a sweeper's hands. */
static struct slot expect_object(const void *p, const char *who) {
  struct slot s = object_find(p), any = slot_find(p);
  if (s.object != NULL && (s.object == p || object_is_tiny_block(&s))) return s;
  if (s.object != NULL)
    fatal("%s(%p): not the start of an object; the one around it starts at %p", who, p, (void *)s.object);
  if (any.object != NULL) fatal("%s(%p): no object is there: freed before, or never allocated", who, p);
  fatal("%s(%p): not an address of this heap", who, p);
}

static bool is_nothing(const void *p) { return p == NULL || p == (const void *)zero_size_object; }

static void free_large(const struct slot *s) {
  struct central_counts *counts = central_counts(s->sc);
  sample_forget(s->page, 0);
  if (slot_free_later(s->state)) return;
  while (!central_claim(s->sc, s->page)) span_wait_swept(s->page);
  atomic_add(&counts->freed, 1);
  atomic_add(&counts->large_freed_bytes, s->size);
  atomic_sub(&heap.live, s->size);
  span_free(s->page);
}

static void free_slot(const struct slot *s) {
  if (object_is_tiny_block(s)) return;
  if (s->sc < 2) {
    free_large(s);
    return;
  }
#if GC_DEBUG || GC_TORTURE
  memset(s->object, 0xdb, s->size); /* what is freed must look freed */
#endif
  sample_forget(s->page, (unsigned)((size_t)(s->object - page_address(s->page)) / s->size));
  while (!central_free_slot(s->sc, s->page, s->state)) span_wait_swept(s->page);
}

void gc_free(void *p) {
  if (is_nothing(p)) return;
  library_enter();
  struct slot s = expect_object(p, "gc_free");
  free_slot(&s);
  library_leave();
}

static size_t usable(const struct slot *s) { return span_class_is_typed(s->sc) ? layout_room(s) : s->size; }

size_t gc_usable_size(const void *p) {
  if (is_nothing(p)) return 0;
  library_enter();
  struct slot s = object_find(p);
  bool tiny = s.object != NULL && object_is_tiny_block(&s);
  library_leave();
  if (tiny) return 1;
  return s.object == p ? usable(&s) : 0;
}

/* Staying is right when the slot is neither too small nor more than twice what is needed, and aligned as a
 * new object of that size would be: slots of 24 bytes are not for 9 to 16. */
static bool fits_in_place(const struct slot *s, size_t size) {
  size_t room = usable(s);
  if (s->size == 24 && size <= 16) return false;
  if (span_class_is_typed(s->sc))
    return size <= room && (size > room / 2 || s->size <= 32); /* one past the end is in it */
  return size + (size_t)options.one_past_end <= room && (size > room / 2 || room <= 16) && size > 0;
}

/* A tiny object's own size is not known, so up to the end of its block is copied; the new one may lie in the
 * same block, and the old bytes are taken before it is allocated. */
static GC_ENTRY void *move_tiny(const char *p, size_t old, size_t size) {
  char bytes[TINY_SIZE];
  memcpy(bytes, p, old);
  void *q = gc_alloc_noscan(size);
  if (q != NULL) memcpy(q, bytes, min_size(old, size));
  return q;
}

static const struct gc_layout *expect_layout(const struct slot *s) {
  const struct gc_layout *l = layout_of(s);
  if (l == NULL) fatal("gc_realloc(%p): its layout was overwritten; the object has %zu bytes", s->object, usable(s));
  return l;
}

static GC_ENTRY void *move_object(const struct slot *s, const void *p, size_t size) {
  const struct gc_layout *l = span_is_typed(s->page) ? expect_layout(s) : NULL;
  void *q = span_class_is_noscan(s->sc) ? gc_alloc_noscan(size) : gc_alloc_typed(size, l);
  if (q != NULL) memcpy(q, p, min_size(usable(s), size));
  return q;
}

GC_ENTRY void *gc_realloc(void *p, size_t size) {
  if (is_nothing(p)) return gc_alloc(size);
  library_enter();
  struct slot s = expect_object(p, "gc_realloc");
  bool tiny = object_is_tiny_block(&s);
  library_leave();
  if (size == 0) {
    gc_free(p);
    return gc_alloc(0);
  }
  if (!tiny && fits_in_place(&s, size)) return p;
  void *q = tiny ? move_tiny(p, (size_t)(s.object + s.size - (const char *)p), size) : move_object(&s, p, size);
  if (q == NULL) return !tiny && size <= s.size ? p : NULL; /* shrinking never fails */
  if (!tiny) gc_free(p);
  return q;
}

GC_ENTRY char *gc_strndup(const char *s, size_t n) {
  size_t length = strnlen(s, n);
  char *copy = gc_alloc_noscan(length + 1);
  if (copy == NULL) return NULL;
  memcpy(copy, s, length);
  copy[length] = '\0';
  return copy;
}

GC_ENTRY char *gc_strdup(const char *s) { return gc_strndup(s, strlen(s)); }
