/* typed.c - objects whose layout a descriptor tells.
 * Owns:     what is known of descriptors that objects were made with; the kinds of gcj's objects.
 * Promises: lengths and bits become layouts (alloc/layout.h), which markers read beside the program. Others are traced, as kinds of
 *           their own (kinds.c). Descriptors are words as gc_mark.h of that library says, so they may stand in types too.
 * Costs:    an allocation looks its descriptor up in a table, without a lock. What is known is never forgotten: descriptors stand for
 *           types of the program. */
#include "api/bdw/typed.h"

#include <string.h>

#include "alloc/layout.h"
#include "api/bdw/kinds.h"
#include "api/object.h"
#include "gc_typed.h"
#include "runtime/meta.h"

#define BUCKETS 1024

/* A descriptor, of objects or of elements of so many bytes. */
struct known {
  GC_word descr; /* [const], as all */
  size_t stride;
  int kind; /* 0: objects have the layout */
  const struct gc_layout *layout;
  const struct known *next;
};

static atomic_word bucket[BUCKETS] GC_OWN_DATA; /* [A; written under bdw_lock] the newest struct known */

int GC_gcj_kind, GC_gcj_debug_kind;

/* ---- descriptors ---- */

struct bitmap {
  const GC_word *bits;
  size_t n;
};

static bool has(const struct bitmap *b, size_t i) { return b->bits[i / 64] >> i % 64 & 1; }

static void fill(const void *arg, uint64_t *bits) {
  const struct bitmap *b = arg;
  for (size_t i = 0; i < b->n; i++) bits[i / 64] |= (uint64_t)has(b, i) << i % 64;
}

/* Names a layout, which is permanent, by its place. Without memory for it, all words that it tells of may point. */
static GC_descr describe_by_layout(const struct bitmap *b) {
  library_enter();
  const struct gc_layout *l = layout_intern(ELEMENT_MOST, b->n, fill, b);
  library_leave();
  if (l == NULL) return b->n * sizeof(GC_word);
  return DESCR_OF_PROC(PROC_LAYOUT, (GC_word)((const char *)l - layouts.base) / LAYOUT_UNIT);
}

GC_descr GC_make_descriptor(const GC_word *bits, size_t n) {
  struct bitmap b = {bits, n};
  GC_word word = 0;
  size_t set = 0;
  while (b.n > 0 && !has(&b, b.n - 1)) b.n--;
  for (size_t i = 0; i < b.n; i++) set += has(&b, i);
  if (set == b.n) return b.n * sizeof(GC_word);
  if (b.n > 64 - DESCR_TAG_BITS) return describe_by_layout(&b);
  for (size_t i = 0; i < b.n; i++) word |= (GC_word)has(&b, i) << (63 - i);
  return word | DESCR_BITMAP;
}

static size_t bucket_of(GC_word descr, size_t stride) { return ((descr ^ stride << 32) * 0x9e3779b97f4a7c15u) >> 54; }

static const struct known *find(GC_word descr, size_t stride) {
  const struct known *k = (const struct known *)atomic_load_acquire(&bucket[bucket_of(descr, stride)]);
  while (k != NULL && (k->descr != descr || k->stride != stride)) k = k->next;
  return k;
}

static const struct known *add(GC_word descr, size_t stride) {
  atomic_word *head = &bucket[bucket_of(descr, stride)];
  library_enter(); /* the allocation lock is held with stops allowed, metadata's is not */
  struct known *k = meta_alloc(sizeof *k);
  library_leave();
  if (k == NULL) return NULL;
  *k = (struct known){.descr = descr, .stride = stride, .next = (const struct known *)atomic_load_relaxed(head)};
  if (!descr_layout(descr, stride, &k->layout)) k->kind = (int)kinds_new(descr, false, stride);
  atomic_store_release(head, (uintptr_t)k); /* pairs with find: its fields are set */
  return k;
}

static GC_NOINLINE const struct known *learn(GC_word descr, size_t stride) {
  bdw_init();
  bdw_lock();
  const struct known *k = find(descr, stride);
  if (k == NULL) k = add(descr, stride);
  bdw_unlock();
  return k;
}

/* ---- objects ---- */

/* A small typed object has room behind it for a pointer one past its end. */
static GC_ENTRY void *alloc(size_t bytes, GC_descr descr, size_t stride) {
  bool is_all = (descr & DESCR_TAGS) == DESCR_LENGTH && descr >= (stride != 0 ? stride : bytes) && descr != 0;
  if (is_all) return gc_alloc(bdw_round(bytes));
  const struct known *k = find(descr, stride);
  if (GC_UNLIKELY(k == NULL)) k = learn(descr, stride);
  if (k == NULL) return NULL;
  if (GC_UNLIKELY(k->kind != 0)) return bdw_kind_alloc(k->kind, bytes);
  bool has_room = k->layout != NULL && k->layout->kind == LAYOUT_TYPED && typed_size_class(bytes) != 0;
  return gc_alloc_typed(has_room && bytes != 0 ? bytes : bdw_round(bytes), k->layout);
}

GC_ENTRY void *GC_malloc_explicitly_typed(size_t bytes, GC_descr descr) {
  void *p = alloc(bytes, descr, 0);
  return GC_LIKELY(p != NULL) ? p : bdw_refused(bytes);
}

GC_ENTRY void *GC_malloc_explicitly_typed_ignore_off_page(size_t bytes, GC_descr descr) {
  return GC_malloc_explicitly_typed(bytes, descr);
}

/* A single element is an object; an element of none is nothing to repeat. */
GC_ENTRY void *GC_calloc_explicitly_typed(size_t n, size_t bytes, GC_descr descr) {
  size_t all;
  if (__builtin_mul_overflow(n, bytes, &all)) return bdw_refused(SIZE_MAX);
  void *p = alloc(all, descr, n <= 1 ? 0 : round_up(bytes, sizeof(GC_word)));
  return p != NULL ? p : bdw_refused(all);
}

/* ---- gcj ---- */

#define TYPE_DESCR sizeof(GC_word) /* bytes from a type's start to its descriptor */

/* Negative, as the bytes are from the type's start and not the object's. */
static GC_word descr_by_type(void) {
  return (GC_word)(-(GC_signed_word)(TYPE_DESCR + PER_OBJECT_BIAS)) | DESCR_PER_OBJECT;
}

void GC_init_gcj_malloc(int proc_number, void *proc) {
  GC_mark_proc mark = (GC_mark_proc)(uintptr_t)proc;
  if (proc_number < 0 || proc_number >= PROC_LAYOUT)
    fatal("GC_init_gcj_malloc(%d): mark procedures with known numbers are 0 to %d", proc_number, PROC_LAYOUT - 1);
  bdw_init();
  bdw_lock();
  if (GC_gcj_kind == 0) {
    kinds_set_proc((unsigned)proc_number, mark);
    GC_gcj_debug_kind = (int)kinds_new(DESCR_OF_PROC(proc_number, 1), false, 0);
    GC_gcj_kind = (int)kinds_new(descr_by_type(), false, 0);
  }
  bdw_unlock();
}

/* A type's descriptor does not change once there are objects, so it is read here: nearly all tell bits, and such objects need not
 * be traced. */
GC_ENTRY void *GC_gcj_malloc(size_t bytes, void *type) {
  GC_word **p = alloc(bytes, ((const GC_word *)type)[TYPE_DESCR / sizeof(GC_word)], 0);
  if (p == NULL) return bdw_refused(bytes);
  *p = type;
  return p;
}

GC_ENTRY void *GC_gcj_malloc_ignore_off_page(size_t bytes, void *type) { return GC_gcj_malloc(bytes, type); }
