/* object.c - calls about an object that exists: its base, its usable size, changing its size, freeing it. */
#include "api/object.h"

#include <errno.h>
#include <string.h>

#include "alloc/cache.h"
#include "alloc/central.h"
#include "alloc/guard.h"
#include "alloc/layout.h"
#include "alloc/leaks.h"
#include "alloc/pageheap.h"
#include "alloc/sample.h"
#include "alloc/slotmap.h"
#include "alloc/sweep.h"
#include "api/fault.h"
#include "gc/weak.h"
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
  if (GC_UNLIKELY(guards_on) && s.object != NULL && guard_is_gone(&s)) s.object = NULL;
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
struct slot object_expect(const void *p, const char *who) {
  struct slot s = object_find(p), any = slot_find(p);
  if (s.object != NULL && (s.object == p || object_is_tiny_block(&s))) return s;
  if (s.object != NULL)
    fatal("%s(%p): not the start of an object; the one around it starts at %p", who, p, (void *)s.object);
  if (any.object != NULL) fatal("%s(%p): no object is there: freed before, or never allocated", who, p);
  fatal("%s(%p): not an address of this heap", who, p);
}

struct slot object_expect_plain(const void *p, const char *who) {
  struct slot s = object_expect(p, who);
  if (page_is_watched(s.page) && weak_is_bound(&s))
    fatal("%s(%p): a weak reference or an ephemeron; its own call of gc_weak.h ends it", who, p);
  return s;
}

static void free_large(const struct slot *s) {
  struct central_counts *counts = central_counts(s->sc);
  sample_forget(s->page, 0);
  leaks_freed(s);
  if (slot_free_later(s->state)) return;
  while (!central_claim(s->sc, s->page)) span_wait_swept(s->page);
  atomic_add(&counts->freed, 1);
  atomic_add(&counts->large_freed_bytes, s->size);
  atomic_sub(&heap.live, s->size);
  span_free(s->page);
}

void object_free_slot(const struct slot *s) {
  if (object_is_tiny_block(s)) return;
  if (s->sc < 2) {
    free_large(s);
    return;
  }
#if GC_DEBUG || GC_TORTURE
  memset(s->object, 0xdb, s->size); /* what is freed must look freed */
#endif
  leaks_freed(s);
  sample_forget(s->page, slot_number(s));
  while (!central_free_slot(s->sc, s->page, s->state)) span_wait_swept(s->page);
}

/* Quarantine instead of freedom for s, which was checked, and freedom for others. False: told in *fault. */
static bool retire(const struct slot *s, struct guard_fault *fault, const char *who) {
  struct slot oldest;
  if (!guard_retire(s)) fatal("%s(%p): no object is there: freed before, or never allocated", who, (void *)s->object);
  while (guard_release(false, &oldest, fault)) {
    if (fault->kind != GUARD_WHOLE) return false;
    object_free_slot(&oldest);
  }
  return true;
}

static void free_guarded(void *p, const char *who) {
  struct guard_fault fault;
  library_enter();
  struct slot s = object_expect_plain(p, who);
  if (page_is_watched(s.page)) weak_object_freed(p);
  const char *found_by = guard_check(&s, &fault) ? who : "the end of quarantine";
  bool ok = fault.kind == GUARD_WHOLE && retire(&s, &fault, who);
  library_leave();
  if (!ok) fault_tell(&fault, found_by);
}

void object_free(void *p, const char *who) {
  if (GC_UNLIKELY(guards_on)) {
    free_guarded(p, who);
    return;
  }
  library_enter();
  struct slot s = object_expect_plain(p, who);
  if (page_is_watched(s.page)) weak_object_freed(p);
  object_free_slot(&s);
  library_leave();
}

void gc_free(void *p) {
  if (!object_is_nothing(p)) object_free(p, "gc_free");
}

void quarantine_empty(void) {
  struct guard_fault fault;
  for (bool more = guards_on; more;) {
    struct slot oldest;
    library_enter();
    more = guard_release(true, &oldest, &fault);
    bool ok = !more || fault.kind == GUARD_WHOLE;
    if (more && ok) object_free_slot(&oldest);
    library_leave();
    if (!ok) fault_tell(&fault, "the end of quarantine");
  }
}

static size_t usable(const struct slot *s) { return span_class_is_typed(s->sc) ? layout_room(s) : s->size; }

size_t gc_usable_size(const void *p) {
  if (object_is_nothing(p)) return 0;
  library_enter();
  struct slot s = object_find(p);
  bool tiny = s.object != NULL && object_is_tiny_block(&s);
  if (GC_UNLIKELY(guards_on) && s.object != NULL) s.size = min_size(guard_size(&s), s.size - GUARD_EXTRA);
  library_leave();
  if (tiny) return 1;
  return s.object == p ? usable(&s) : 0;
}

/* Staying is right when the slot is neither too small nor more than twice what is needed, and aligned as a
 * new object of that size would be: slots of 24 bytes are not for 9 to 16. */
static bool fits_in_place(const struct slot *s, size_t size) {
  if (guards_on) return false; /* so that whoever keeps the old address is found out */
  size_t room = usable(s);
  if (s->size == 24 && size <= 16) return false;
  if (span_class_is_typed(s->sc))
    return size <= room && (size > room / 2 || s->size <= 32); /* one past the end is in it */
  return size + (size_t)options.one_past_end <= room && (size > room / 2 || room <= 16) && size > 0;
}

/* What is known of the object at p goes on with the one at q. */
static void move_records(const struct slot *s, const void *p, const void *q) {
  library_enter();
  struct slot to = slot_find(q);
  if (page_is_watched(s->page)) weak_object_moved(p, q, &to);
  library_leave();
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

static const struct gc_layout *expect_layout(const struct slot *s, const char *who) {
  const struct gc_layout *l = layout_of(s);
  if (l == NULL) fatal("%s(%p): its layout was overwritten; the object has %zu bytes", who, s->object, usable(s));
  return l;
}

static GC_ENTRY void *move_object(const struct slot *s, const void *p, size_t size, const char *who) {
  const struct gc_layout *l = span_is_typed(s->page) ? expect_layout(s, who) : NULL;
  void *q = span_class_is_noscan(s->sc) ? gc_alloc_noscan(size) : gc_alloc_typed(size, l);
  if (q != NULL) memcpy(q, p, min_size(usable(s), size));
  return q;
}

GC_ENTRY void *object_resize(void *p, size_t size, const char *who) {
  library_enter();
  struct slot s = object_expect_plain(p, who);
  bool tiny = object_is_tiny_block(&s), whole = true;
  struct guard_fault fault;
  if (GC_UNLIKELY(guards_on)) {
    whole = !guard_check(&s, &fault);
    s.size = fault.size;
  }
  library_leave();
  if (!whole) fault_tell(&fault, who);
  if (!tiny && fits_in_place(&s, size)) return p;
  void *q = tiny ? move_tiny(p, (size_t)(s.object + s.size - (const char *)p), size) : move_object(&s, p, size, who);
  if (q == NULL) return !tiny && size <= s.size ? p : NULL; /* shrinking never fails */
  move_records(&s, p, q);
  if (!tiny) object_free(p, who);
  return q;
}

GC_ENTRY void *gc_realloc(void *p, size_t size) {
  if (object_is_nothing(p)) return gc_alloc(size);
  if (size != 0) return object_resize(p, size, "gc_realloc");
  object_free(p, "gc_realloc");
  return gc_alloc(0);
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
