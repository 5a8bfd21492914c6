/* alloc.c - allocation, freeing and questions about objects, as the other library's programs call them.
 *
 * Sizes are rounded to multiples of 16, whose classes are aligned as that library aligns, with one byte more while it is to
 * count that a pointer stands one past the end (bdw_round). So no object shares a block, and each, of size 0 too, has an
 * address of its own. Scanned objects come cleared, atomic ones do not.
 *
 * Lists (GC_malloc_many, GC_generic_malloc_many) are what lies ready in the thread's cache, taken at once.
 * Ignored: ignore_off_page, since every pointer into an object keeps it here, and stubborn objects, which that library
 * no longer has. */
#include "api/bdw/alloc.h"

#include <errno.h>
#include <string.h>

#include "api/bdw/params.h"
#include "api/bdw/stats.h"
#include "gc/weak.h"
#include "gc_alloc.h"

/* Of a list of objects: a block of that library, so that callers get as many as they are used to. */
#define LIST_BYTES 4096

void *bdw_refused(size_t bytes) {
  bdw_warn("%lu bytes cannot be had: the limit or the system refuses them", bytes);
  return GC_oom_fn(bytes);
}

/* ---- the common ones ---- */

GC_ENTRY void *GC_malloc(size_t bytes) {
  void *p = gc_alloc(bdw_round(bytes));
  return GC_LIKELY(p != NULL) ? p : bdw_refused(bytes);
}

GC_ENTRY void *GC_malloc_atomic(size_t bytes) {
  void *p = gc_alloc_noscan(bdw_round(bytes));
  return GC_LIKELY(p != NULL) ? p : bdw_refused(bytes);
}

GC_ENTRY void *GC_malloc_ignore_off_page(size_t bytes) { return GC_malloc(bytes); }
GC_ENTRY void *GC_malloc_atomic_ignore_off_page(size_t bytes) { return GC_malloc_atomic(bytes); }
GC_ENTRY void *GC_malloc_stubborn(size_t bytes) { return GC_malloc(bytes); }

GC_ENTRY void *GC_memalign(size_t align, size_t bytes) {
  void *p = gc_alloc_aligned(max_size(align, 16), bdw_round(bytes));
  return p != NULL ? p : bdw_refused(bytes);
}

GC_ENTRY int GC_posix_memalign(void **out, size_t align, size_t bytes) {
  if (align % sizeof(void *) != 0 || align == 0 || (align & (align - 1)) != 0) return EINVAL;
  *out = GC_memalign(align, bytes);
  return *out != NULL ? 0 : ENOMEM;
}

GC_ENTRY char *GC_strndup(const char *s, size_t n) {
  size_t length = strnlen(s, n);
  char *copy = GC_malloc_atomic(length + 1);
  if (copy == NULL) {
    errno = ENOMEM;
    return NULL;
  }
  memcpy(copy, s, length);
  copy[length] = '\0';
  return copy;
}

GC_ENTRY char *GC_strdup(const char *s) { return s != NULL ? GC_strndup(s, strlen(s)) : NULL; }

/* ---- uncollectable objects ---- */

/* The variable is the program's to change, too. */
static void count_kept(size_t bytes) { __atomic_fetch_add(&GC_non_gc_bytes, bytes, __ATOMIC_RELAXED); }

/* Stops deferred. */
static bool is_kept(const struct slot *s) {
  bool kept = false;
  if (!page_is_watched(s->page)) return false;
  watch_lock();
  for (uint32_t i = watch_find(s->object, 0); i != 0 && !kept; i = watch_find(s->object, i))
    kept = watch_at(i)->kind == WATCH_KEPT;
  watch_unlock();
  return kept;
}

/* The object is p's, and kept from now on. NULL: memory for that is refused. */
static void *keep(void *p) {
  if (p == NULL) return NULL;
  library_enter();
  struct slot s = slot_find(p);
  bool ok = weak_keep(p, &s);
  library_leave();
  if (!ok) return NULL;
  count_kept(s.size);
  return p;
}

GC_ENTRY void *GC_malloc_uncollectable(size_t bytes) {
  void *p = keep(gc_alloc(bdw_round(bytes)));
  return p != NULL ? p : bdw_refused(bytes);
}

GC_ENTRY void *GC_malloc_atomic_uncollectable(size_t bytes) {
  void *p = keep(gc_alloc_noscan(bdw_round(bytes)));
  return p != NULL ? p : bdw_refused(bytes);
}

/* ---- by kind ---- */

GC_ENTRY void *GC_generic_malloc(size_t bytes, int kind) {
  switch (kind) {
    case KIND_ATOMIC: return GC_malloc_atomic(bytes);
    case KIND_NORMAL: return GC_malloc(bytes);
    case KIND_UNCOLLECTABLE: return GC_malloc_uncollectable(bytes);
    case KIND_ATOMIC_UNCOLLECTABLE: return GC_malloc_atomic_uncollectable(bytes);
    default: break;
  }
  void *p = bdw_kind_alloc(kind, bytes);
  return p != NULL ? p : bdw_refused(bytes);
}

GC_ENTRY void *GC_generic_malloc_ignore_off_page(size_t bytes, int kind) { return GC_generic_malloc(bytes, kind); }
GC_ENTRY void *GC_generic_or_special_malloc(size_t bytes, int kind) { return GC_generic_malloc(bytes, kind); }
GC_ENTRY void *GC_malloc_kind(size_t bytes, int kind) { return GC_generic_malloc(bytes, kind); }
GC_ENTRY void *GC_malloc_kind_global(size_t bytes, int kind) { return GC_generic_malloc(bytes, kind); }

GC_ENTRY void *GC_generic_malloc_uncollectable(size_t bytes, int kind) {
  switch (kind) {
    case KIND_ATOMIC:
    case KIND_ATOMIC_UNCOLLECTABLE: return GC_malloc_atomic_uncollectable(bytes);
    case KIND_NORMAL:
    case KIND_UNCOLLECTABLE: return GC_malloc_uncollectable(bytes);
    default: break;
  }
  void *p = keep(bdw_kind_alloc(kind, bytes));
  return p != NULL ? p : bdw_refused(bytes);
}

/* ---- lists ---- */

/* bytes: a multiple of 16, all counted. */
static GC_ENTRY void *list_of(size_t bytes, unsigned noscan) {
  void *p = allocate_linked(bytes, noscan, max_size(LIST_BYTES / bytes, 1));
  return p != NULL ? p : bdw_refused(bytes);
}

GC_ENTRY void *GC_malloc_many(size_t bytes) { return list_of(bdw_round(bytes), 0); }

/* Here the caller has added what lies past the end. */
GC_ENTRY void GC_generic_malloc_many(size_t bytes, int kind, void **result) {
  if (kind == KIND_ATOMIC || kind == KIND_NORMAL) {
    *result = list_of(bytes == 0 ? 16 : round_up(bytes, 16), kind == KIND_ATOMIC ? NOSCAN : 0);
    return;
  }
  *result = GC_generic_malloc(bytes - min_size(bytes, bdw_extra), kind);
  if (*result != NULL) *(void **)*result = NULL;
}

/* ---- questions ---- */

/* What is known of the object that starts at p. */
struct facts {
  bool exists, kept;
  int own_kind; /* that the program made; -1: none */
  bool noscan;
  size_t size;
};

static struct facts facts_of(const void *p) {
  struct facts f = {.own_kind = -1};
  bdw_look();
  struct slot s = object_find(p);
  if (s.object != NULL && s.object == p)
    f = (struct facts){true, is_kept(&s), bdw_kind_of(&s), span_class_is_noscan(s.sc), s.size};
  bdw_looked();
  return f;
}

/* Guile asks this so often that looking whether the object is free, which that library does not do either, took a fifth of
 * its time. Nothing here depends on a stop: the span of an object that the caller has stays what it is. */
void *GC_base(void *p) { return slot_find(p).object; }

size_t GC_size(const void *p) {
  bdw_look();
  struct slot s = object_find(p);
  bdw_looked();
  return s.object != NULL && s.object == p ? s.size : 0;
}

/* Of what page is enough, as there: Guile asks at each set-cdr!, and looking up the slot took a tenth of its time. */
int GC_is_heap_ptr(const void *p) { return heap_contains((uintptr_t)p) && page_desc(page_of(p)) != 0; }

int GC_get_kind_and_size(const void *p, size_t *size) {
  struct facts f = facts_of(p);
  if (!f.exists) fatal("GC_get_kind_and_size(%p): not the start of an object", p);
  if (size != NULL) *size = f.size;
  if (f.own_kind >= 0) return f.own_kind;
  if (f.kept) return f.noscan ? KIND_ATOMIC_UNCOLLECTABLE : KIND_UNCOLLECTABLE;
  return f.noscan ? KIND_ATOMIC : KIND_NORMAL;
}

/* ---- freeing, changing the size ---- */

void GC_free(void *p) {
  if (p == NULL) return;
  library_enter();
  struct slot s = slot_find(p);
  bool kept = s.object == p && is_kept(&s);
  library_leave();
  object_free(p, "GC_free");
  if (kept) count_kept(0 - s.size);
  bdw_count_freed(s.size);
}

/* An object of a kind that the program made is made anew. */
static GC_ENTRY void *move_to_kind(void *p, const struct facts *f, size_t bytes) {
  void *q = f->kept ? GC_generic_malloc_uncollectable(bytes, f->own_kind) : GC_generic_malloc(bytes, f->own_kind);
  if (q == NULL) return NULL;
  memcpy(q, p, min_size(f->size, bytes));
  GC_free(p);
  return q;
}

GC_ENTRY void *GC_realloc(void *p, size_t bytes) {
  if (p == NULL) return GC_malloc(bytes);
  if (bytes == 0) {
    GC_free(p);
    return NULL;
  }
  struct facts f = facts_of(p);
  if (f.own_kind >= 0) return bytes <= f.size / 2 || bytes > f.size ? move_to_kind(p, &f, bytes) : p;
  void *q = object_resize(p, bdw_round(bytes), "GC_realloc");
  if (q == NULL) return bdw_refused(bytes);
  if (q == p) return q;
  if (f.kept) count_kept(facts_of(q).size - f.size);
  bdw_count_freed(f.size);
  return q;
}
