/* debug.c - objects that know where in the program they were allocated, and that tell when they are overwritten or freed twice.
 *
 *   base                                            what the program has
 *   | file | line | size | sign                   | size bytes of the program | end, 8 to 15 bytes |
 *
 * An object of the heap like any other, which GC_base finds and GC_size measures. The sign says that a header is there, in
 * which state, and of this address, so that a copy means nothing; it is no address itself, nor are the end's words.
 *   whole   from the moment when all else is in place
 *   told    overwritten, and told so once
 *   freed   by GC_debug_free; the object stays until nothing refers to it, full of GONE, so that a second GC_debug_free
 *           is told from a first. Uncollectable ones and those of the program's kinds go at once.
 * Signs are taken off what a cycle finds dead, since memory without pointers is not cleared before it is used again, and a
 * sign of old would be believed.
 *
 * Who is found overwritten: by GC_debug_free and GC_debug_realloc, and in each cycle's last stop by a walk over all objects, once
 * there was a debug object. It costs only programs that want it. One line each, on standard error; then the program goes on. */
#include "api/bdw/debug.h"

#include <errno.h>
#include <string.h>

#include "alloc/slotmap.h"
#include "alloc/walk.h"
#include "api/bdw/alloc.h"
#include "api/bdw/misc.h"
#include "api/bdw/typed.h"
#include "runtime/os.h"
#include "runtime/print.h"

#define SIGN_WHOLE ((uintptr_t)0xdbc1000000000000u)
#define SIGN_TOLD ((uintptr_t)0xdbc2000000000000u)
#define SIGN_FREED ((uintptr_t)0xdbc3000000000000u)
#define END 0xed
#define GONE 0xdb
#define NAME_BYTES 128 /* of a file's name, in a report */
#define REPORTS 16     /* kept from a stop; the rest is found by the next cycle */

struct header {
  const char *file;
  long line;
  size_t size; /* that was asked for */
  atomic_word sign;
};

#define HEADER sizeof(struct header)
_Static_assert(sizeof(struct header) == 32, "as in that library, and a multiple of 16");
size_t GC_debug_header_size GC_OWN_DATA = sizeof(struct header);
size_t GC_get_debug_header_size(void) { return HEADER; }

static atomic_u32 in_use GC_OWN_DATA; /* [A] 1: there has been a debug object */

static char *object_of(const struct header *h) { return (char *)(uintptr_t)h + HEADER; }
static size_t end_of(size_t size) { return round_up(size, 8) + 8; }

/* ---- what is wrong with an object ---- */

enum fault { FAULT_NONE, FAULT_HEADER, FAULT_END };

/* Read where the program may write wrongly at the same time. */
static GC_NO_SANITIZE size_t first_overwritten(const struct header *h) {
  const volatile unsigned char *p = (const volatile unsigned char *)object_of(h);
  size_t i = h->size;
  while (i < end_of(h->size) && p[i] == END) i++;
  return i;
}

/* room: bytes of the slot. */
static GC_NO_SANITIZE enum fault fault_of(const struct header *h, size_t room) {
  if (h->size > room || HEADER + end_of(h->size) > room) return FAULT_HEADER;
  return first_overwritten(h) < end_of(h->size) ? FAULT_END : FAULT_NONE;
}

struct report {
  const char *file;
  void *object;
  size_t size, offset;
  long line;
  enum fault fault;
};

static GC_NO_SANITIZE struct report report_on(const struct header *h, enum fault fault) {
  size_t offset = fault == FAULT_END ? first_overwritten(h) : 0;
  return (struct report){h->file, object_of(h), h->size, offset, h->line, fault};
}

/* The header may have been overwritten, so nothing is believed: read by the kernel, and only if it looks like a name. */
static const char *name_of(const char *file, char name[NAME_BYTES]) {
  for (size_t i = 0; i < NAME_BYTES - 1; i++) {
    if (!os_read_memory(&name[i], file + i, 1)) break;
    if (name[i] == '\0' && i > 0) return name;
    if (name[i] < ' ') break;
  }
  return "<unknown>";
}

static void tell(const struct report *r, const char *found_by) {
  char name[NAME_BYTES] = "";
  const char *file = name_of(r->file, name);
  if (r->fault == FAULT_END)
    print_line("holdfast: %s: object %p of %zu bytes, made at %s:%ld, was overwritten behind its end, at byte %zu",
               found_by, r->object, r->size, file, r->line, r->offset);
  else
    print_line("holdfast: %s: object %p, made at %s:%ld, was overwritten before its beginning", found_by, r->object,
               file, r->line);
}

/* ---- making ---- */

static GC_ENTRY void *make(size_t size, int kind, const char *file, int line) {
  size_t bytes = HEADER + end_of(size); /* one past the end is inside: the byte for that need not be added */
  struct header *h = GC_generic_malloc(size < PTRDIFF_MAX ? bytes - bdw_extra : size, kind);
  if (h == NULL) return NULL;
  h->file = file;
  h->line = line;
  h->size = size;
  memset(object_of(h) + size, END, end_of(size) - size);
  if (atomic32_load_relaxed(&in_use) == 0) atomic32_store_relaxed(&in_use, 1);
  atomic_store_release(&h->sign, SIGN_WHOLE ^ (uintptr_t)h); /* a stop that sees it sees the rest */
  return object_of(h);
}

GC_ENTRY void *GC_debug_malloc(size_t bytes, const char *file, int line) {
  return make(bytes, KIND_NORMAL, file, line);
}
GC_ENTRY void *GC_debug_malloc_atomic(size_t bytes, const char *file, int line) {
  return make(bytes, KIND_ATOMIC, file, line);
}
GC_ENTRY void *GC_debug_malloc_uncollectable(size_t bytes, const char *file, int line) {
  return make(bytes, KIND_UNCOLLECTABLE, file, line);
}
GC_ENTRY void *GC_debug_malloc_atomic_uncollectable(size_t bytes, const char *file, int line) {
  return make(bytes, KIND_ATOMIC_UNCOLLECTABLE, file, line);
}
GC_ENTRY void *GC_debug_malloc_ignore_off_page(size_t bytes, const char *file, int line) {
  return GC_debug_malloc(bytes, file, line);
}
GC_ENTRY void *GC_debug_malloc_atomic_ignore_off_page(size_t bytes, const char *file, int line) {
  return GC_debug_malloc_atomic(bytes, file, line);
}
GC_ENTRY void *GC_debug_malloc_stubborn(size_t bytes, const char *file, int line) {
  return GC_debug_malloc(bytes, file, line);
}
GC_ENTRY void *GC_debug_malloc_replacement(size_t bytes) { return GC_debug_malloc(bytes, "malloc", 0); }
GC_ENTRY void *GC_debug_generic_or_special_malloc(size_t bytes, int kind, const char *file, int line) {
  return make(bytes, kind, file, line);
}

/* The layout that the table describes begins behind the header: the program's mark procedure knows of that. */
GC_ENTRY void *GC_debug_gcj_malloc(size_t bytes, void *vtable, const char *file, int line) {
  int kind = GC_gcj_debug_kind != 0 ? GC_gcj_debug_kind : KIND_NORMAL;
  void **p = make(max_size(bytes, sizeof vtable), kind, file, line);
  if (p != NULL) *p = vtable;
  return p;
}

GC_ENTRY char *GC_debug_strndup(const char *s, size_t n, const char *file, int line) {
  size_t length = strnlen(s, n);
  char *copy = GC_debug_malloc_atomic(length + 1, file, line);
  if (copy == NULL) {
    errno = ENOMEM;
    return NULL;
  }
  memcpy(copy, s, length);
  copy[length] = '\0';
  return copy;
}

GC_ENTRY char *GC_debug_strdup(const char *s, const char *file, int line) {
  return s != NULL ? GC_debug_strndup(s, strlen(s), file, line) : NULL;
}

/* ---- freeing and resizing ---- */

/* NULL: p is none of ours; then it is told, if it should have been one, and *base is the object that p is the start of. */
static struct header *header_of(void *p, const char *who) {
  char *base = GC_base(p);
  if (base == NULL || GC_size(base) == 0) fatal("%s(%p): no object is there: freed before, or never allocated", who, p);
  if ((char *)p - base == (ptrdiff_t)HEADER) return (struct header *)(void *)base;
  if (p != base) fatal("%s(%p): not the start of an object; the one around it starts at %p", who, p, (void *)base);
  print_line("holdfast: %s: object %p was not made by a debug variant", who, p);
  return NULL;
}

/* Of two threads that free one object at the same time one comes first. What is told of is freed as well. */
static bool take(struct header *h, const char *who) {
  char name[NAME_BYTES] = "";
  uintptr_t whole = SIGN_WHOLE ^ (uintptr_t)h, told = SIGN_TOLD ^ (uintptr_t)h, freed = SIGN_FREED ^ (uintptr_t)h;
  uintptr_t sign = atomic_load_acquire(&h->sign);
  bool known = sign == whole || sign == told || sign == freed;
  enum fault fault = known ? fault_of(h, GC_size(h)) : FAULT_HEADER;
  if (sign == freed || !atomic_cas(&h->sign, sign, freed)) {
    print_line("holdfast: %s: object %p of %zu bytes, made at %s:%ld, was freed before", who, (void *)object_of(h),
               h->size, name_of(h->file, name), h->line);
    return false;
  }
  struct report r = report_on(h, fault);
  if (fault != FAULT_NONE && sign != told) tell(&r, who);
  if (fault == FAULT_HEADER) h->size = GC_size(h) - HEADER - end_of(0); /* whatever it was */
  return true;
}

static void discard(struct header *h) {
  int kind = GC_get_kind_and_size(h, NULL);
  memset(object_of(h), GONE, h->size);
  if (kind != KIND_ATOMIC && kind != KIND_NORMAL) GC_free(h);
}

void GC_debug_free(void *p) {
  if (p == NULL) return;
  struct header *h = header_of(p, "GC_debug_free");
  if (h == NULL)
    GC_free(p);
  else if (take(h, "GC_debug_free"))
    discard(h);
}

GC_ENTRY void *GC_debug_realloc(void *p, size_t bytes, const char *file, int line) {
  if (p == NULL) return GC_debug_malloc(bytes, file, line);
  if (bytes == 0) {
    GC_debug_free(p);
    return NULL;
  }
  struct header *h = header_of(p, "GC_debug_realloc");
  if (h == NULL) return GC_realloc(p, bytes);
  void *q = make(bytes, GC_get_kind_and_size(h, NULL), file, line);
  if (q == NULL) return NULL;
  bool ours = take(h, "GC_debug_realloc");
  memcpy(q, p, min_size(h->size, bytes));
  if (ours) discard(h);
  return q;
}

GC_ENTRY void *GC_debug_realloc_replacement(void *p, size_t bytes) { return GC_debug_realloc(p, bytes, "realloc", 0); }

/* ---- in a stop ---- */

static struct {
  atomic_u32 state; /* [A] 0: a cycle may write; 1: to be told; 2: being told */
  unsigned count;   /* [STW in state 0, else const] */
  struct report at[REPORTS];
} found GC_OWN_DATA;

static GC_NO_SANITIZE void look_at(struct header *h, size_t room) {
  if (room < HEADER + end_of(0) || found.count == REPORTS) return;
  if (atomic_load_relaxed(&h->sign) != (SIGN_WHOLE ^ (uintptr_t)h)) return;
  enum fault fault = fault_of(h, room);
  if (fault == FAULT_NONE) return;
  found.at[found.count++] = report_on(h, fault);
  atomic_store_relaxed(&h->sign, SIGN_TOLD ^ (uintptr_t)h);
}

static GC_NO_SANITIZE void unsign(struct header *h, size_t room) {
  uintptr_t sign = room >= HEADER ? atomic_load_relaxed(&h->sign) ^ (uintptr_t)h : 0;
  if (sign == SIGN_WHOLE || sign == SIGN_TOLD || sign == SIGN_FREED) atomic_store_relaxed(&h->sign, 0);
}

/* arg: not NULL, when the objects are dead. */
static void visit_span(void *arg, uint32_t page, const uint64_t *slots) {
  unsigned sc = span_class_of(page);
  size_t size = sc < 2 ? span_bytes(page) : span_class_size(sc);
  for (unsigned g = 0; g < WALK_GROUPS; g++)
    for (uint64_t rest = slots[g]; rest != 0; rest &= rest - 1) {
      struct header *h = (struct header *)(void *)walk_object(page, size, g, rest);
      if (arg != NULL)
        unsign(h, size);
      else
        look_at(h, size);
    }
}

void bdw_debug_judge(void) {
  unsigned black = atomic32_load_relaxed(&heap.live_colour);
  if (atomic32_load_relaxed(&in_use) == 0) return;
  walk_objects(other_colour(black), visit_span, &found);
  if (atomic32_load_acquire(&found.state) != 0) return; /* pairs with bdw_debug_tell: it has read them all */
  found.count = 0;
  walk_objects(black, visit_span, NULL);
  if (found.count != 0) atomic32_store_release(&found.state, 1);
}

void bdw_debug_tell(void) {
  if (!atomic32_cas(&found.state, 1, 2)) return; /* pairs with the release above */
  for (unsigned i = 0; i < found.count; i++) tell(&found.at[i], "a collection");
  atomic32_store_release(&found.state, 0);
}

/* ---- what is the same, or only displaced ---- */

void GC_debug_change_stubborn(const void *p) { (void)p; }
void GC_debug_end_stubborn_change(const void *p) { (void)p; }
void GC_debug_ptr_store_and_dirty(void *p, const void *q) { *(const void **)p = q; }

void GC_debug_register_displacement(size_t offset) {
  GC_register_displacement(offset);
  GC_register_displacement(offset + HEADER);
}

/* ---- finalizers ---- */

/* Belongs to the base; the program's wants what the program has. A collected object, so that the data stay reachable. */
struct displaced {
  GC_finalization_proc fn;
  void *data;
};

static void run_displaced(void *base, void *data) {
  struct displaced *d = data;
  d->fn((char *)base + HEADER, d->data);
}

typedef void registrar(void *obj, GC_finalization_proc fn, void *data, GC_finalization_proc *old_fn, void **old_data);

/* Stands for: the call has refused, and nothing is to be told. */
static void unchanged(void *obj, void *data) {
  (void)obj;
  (void)data;
}

static void set_finalizer(registrar *set, void *obj, GC_finalization_proc fn, void *data, GC_finalization_proc *old_fn,
                          void **old_data) {
  char *base = GC_base(obj);
  GC_finalization_proc was = unchanged;
  void *was_data = NULL;
  struct displaced *d = NULL;
  if (base == NULL || obj == base) {
    set(obj, fn, data, old_fn, old_data);
    return;
  }
  if ((char *)obj - base != (ptrdiff_t)HEADER)
    fatal("GC_debug_register_finalizer(%p): not the start of an object; the one around it starts at %p", obj,
          (void *)base);
  if (fn != NULL) {
    d = GC_malloc(sizeof *d);
    if (d == NULL) return;
    *d = (struct displaced){fn, data};
  }
  set(base, fn != NULL ? run_displaced : NULL, d, &was, &was_data);
  if (was == unchanged) return;
  struct displaced old = was == run_displaced ? *(struct displaced *)was_data : (struct displaced){was, was_data};
  if (old_fn != NULL) *old_fn = old.fn;
  if (old_data != NULL) *old_data = old.data;
}

void GC_debug_register_finalizer(void *obj, GC_finalization_proc fn, void *data, GC_finalization_proc *old_fn,
                                 void **old_data) {
  set_finalizer(GC_register_finalizer, obj, fn, data, old_fn, old_data);
}

void GC_debug_register_finalizer_ignore_self(void *obj, GC_finalization_proc fn, void *data,
                                             GC_finalization_proc *old_fn, void **old_data) {
  set_finalizer(GC_register_finalizer_ignore_self, obj, fn, data, old_fn, old_data);
}

void GC_debug_register_finalizer_no_order(void *obj, GC_finalization_proc fn, void *data, GC_finalization_proc *old_fn,
                                          void **old_data) {
  set_finalizer(GC_register_finalizer_no_order, obj, fn, data, old_fn, old_data);
}

void GC_debug_register_finalizer_unreachable(void *obj, GC_finalization_proc fn, void *data,
                                             GC_finalization_proc *old_fn, void **old_data) {
  set_finalizer(GC_register_finalizer_unreachable, obj, fn, data, old_fn, old_data);
}
