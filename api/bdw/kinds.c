/* kinds.c - kinds of objects that programs make: what of them is read, and by whom.
 * Owns:     the tables of kinds and mark procedures; the mark stack that procedures are given.
 * Promises: a kind whose descriptor tells lengths or bits is read by markers, beside the program too. One with a mark procedure,
 *           or whose objects have descriptors of their own, is traced (gc/traced.h): its procedure is called only in stops, and
 *           for objects that the program was given, cleared before; never for free ones.
 * Disclaim procedures are finalizers of their own kind: they run after the cycle, in a thread of the program, and
 *           until then the object and what it leads to stay. */
#include "api/bdw/kinds.h"

#include <string.h>

#include "alloc/layout.h"
#include "api/object.h"
#include "gc/finalize.h"
#include "gc/traced.h"
#include "gc_typed.h"
#include "runtime/meta.h"

#define KINDS_MAX 4096
#define STACK_MAX 4096         /* entries of a mark stack */
#define LIST_ENTRIES 129       /* of 16 bytes to 2 KiB, and none */
#define PREFIX_MOST (64 * KIB) /* of an object, as a layout: what is longer is read whole */

struct kind {
  GC_word descr;
  bool add_size;
  bool traced;                    /* else markers read it */
  size_t stride;                  /* bytes of an element; 0: there is one */
  const struct gc_layout *layout; /* by which markers read it; NULL: all of it */
  GC_disclaim_proc disclaim;      /* NULL: none */
  bool disclaim_first;            /* what its objects lead to dies after them */
};

struct GC_finalizer_closure {
  void (*proc)(void *object, void *data);
  void *cd;
};

struct GC_ms_entry {
  char *start;
  GC_word descr;
};

static struct {
  struct kind *kind;            /* [const once mapped] entries below `count` but for disclaim [const] */
  atomic_u32 count;             /* [A; written under bdw_lock] */
  GC_mark_proc proc[PROCS_MAX]; /* [const once set] */
  unsigned procs;               /* [bdw_lock] */
  atomic_u32 finalized;         /* [A; written under bdw_lock] the kind of GC_finalized_malloc; 0: none yet */
  struct GC_ms_entry *stack;    /* [const once mapped, with the first traced kind; entries STW] */
} kinds GC_OWN_DATA = {.count = KINDS_FIXED, .procs = PROCS_RESERVED};

static void *no_objects[LIST_ENTRIES];
void **GC_objfreelist_ptr = no_objects, **GC_aobjfreelist_ptr = no_objects, **GC_uobjfreelist_ptr = no_objects,
     **GC_auobjfreelist_ptr = no_objects;

/* ---- descriptors ---- */

/* What a layout says that another description says too. */
struct description {
  size_t words; /* that the element has and the description tells of */
  GC_word descr;
  const struct gc_layout *same; /* NULL: descr is not of PROC_LAYOUT */
};

static bool may_point(const struct description *d, size_t word) {
  if (d->same != NULL) return layout_has_pointer(d->same, word);
  return (d->descr & DESCR_TAGS) == DESCR_LENGTH || (d->descr >> (63 - word) & 1);
}

static void fill(const void *arg, uint64_t *bits) {
  const struct description *d = arg;
  for (size_t i = 0; i < d->words; i++) bits[i / 64] |= (uint64_t)may_point(d, i) << i % 64;
}

static const struct gc_layout *layout_at(GC_word env) {
  return (const struct gc_layout *)(const void *)(layouts.base + env * LAYOUT_UNIT);
}

static bool describe(GC_word descr, struct description *d) {
  *d = (struct description){64 - DESCR_TAG_BITS, descr, NULL};
  switch (descr & DESCR_TAGS) {
    case DESCR_LENGTH: d->words = descr / sizeof(GC_word); return true;
    case DESCR_BITMAP: return true;
    case DESCR_PROC:
      if ((descr >> DESCR_TAG_BITS) % PROCS_MAX != PROC_LAYOUT) return false;
      d->same = layout_at(descr >> (DESCR_TAG_BITS + PROC_BITS));
      d->words = d->same->count * (size_t)64;
      return true;
    default: return false;
  }
}

bool descr_layout(GC_word descr, size_t stride, const struct gc_layout **layout) {
  size_t element = stride != 0 ? stride : ELEMENT_MOST;
  struct description d;
  *layout = NULL;
  if (!describe(descr, &d)) return false;
  d.words = min_size(d.words, element / sizeof(GC_word));
  if (d.words > PREFIX_MOST / sizeof(GC_word)) return true;
  library_enter();
  *layout = layout_intern(element, d.words, fill, &d);
  library_leave();
  return true;
}

/* ---- making kinds and procedures ---- */

void **GC_new_free_list_inner(void) {
  library_enter(); /* the allocation lock is held with stops allowed, metadata's is not */
  void **list = meta_alloc(LIST_ENTRIES * sizeof *list);
  library_leave();
  if (list == NULL) fatal("GC_new_free_list: no memory");
  return list;
}

void **GC_new_free_list(void) {
  bdw_lock();
  void **list = GC_new_free_list_inner();
  bdw_unlock();
  return list;
}

static void ask(char *object, uintptr_t what);

/* With the size added, a length is the whole object's. */
static void choose_readers(struct kind *k) {
  bool is_all = k->add_size && (k->descr & DESCR_TAGS) == DESCR_LENGTH;
  k->traced = !is_all && !descr_layout(k->descr, k->stride, &k->layout);
  if (!k->traced || kinds.stack != NULL) return;
  kinds.stack = meta_map(STACK_MAX * sizeof *kinds.stack);
  if (kinds.stack == NULL) fatal("GC_new_kind: no memory for a mark stack");
  traced_call = ask;
}

unsigned kinds_new(GC_word descr, bool add_size, size_t stride) {
  unsigned n = atomic32_load_relaxed(&kinds.count);
  if (kinds.kind == NULL) kinds.kind = meta_map(KINDS_MAX * sizeof *kinds.kind);
  if (kinds.kind == NULL || n == KINDS_MAX) fatal("GC_new_kind: no more than %d kinds", KINDS_MAX);
  struct kind *k = &kinds.kind[n];
  *k = (struct kind){.descr = descr, .add_size = add_size, .stride = stride};
  choose_readers(k);
  atomic32_store_release(&kinds.count, n + 1); /* pairs with kind_at: its fields are set */
  return n;
}

unsigned GC_new_kind_inner(void **free_list, GC_word descriptor, int add_size, int clear) {
  (void)free_list; /* objects are cleared in any case: a procedure must not meet what was there before */
  (void)clear;
  return kinds_new(descriptor, add_size != 0, 0);
}

unsigned GC_new_kind(void **free_list, GC_word descriptor, int add_size, int clear) {
  bdw_init();
  bdw_lock();
  unsigned kind = GC_new_kind_inner(free_list, descriptor, add_size, clear);
  bdw_unlock();
  return kind;
}

static struct kind *kind_at(int kind, const char *who) {
  unsigned n = (unsigned)kind;
  if (kind < KINDS_FIXED || n >= atomic32_load_acquire(&kinds.count)) fatal("%s: there is no kind %d", who, kind);
  return &kinds.kind[n];
}

void kinds_set_proc(unsigned number, GC_mark_proc proc) { kinds.proc[number % PROCS_MAX] = proc; }

unsigned GC_new_proc_inner(GC_mark_proc proc) {
  if (kinds.procs == PROCS_MAX) fatal("GC_new_proc: no more than %d mark procedures", PROCS_MAX - PROCS_RESERVED);
  kinds_set_proc(kinds.procs, proc);
  return kinds.procs++;
}

unsigned GC_new_proc(GC_mark_proc proc) {
  bdw_lock();
  unsigned number = GC_new_proc_inner(proc);
  bdw_unlock();
  return number;
}

/* ---- asking traced objects, in stops ---- */

static GC_NO_SANITIZE void name_word(const char *at) { traced_name(racy_load_word(at)); }

static void name_words(const char *at, size_t words) {
  for (size_t i = 0; i < words; i++) name_word(at + i * sizeof(GC_word));
}

static void name_bits(const char *at, GC_word bits) {
  for (bits &= ~(GC_word)DESCR_TAGS; bits != 0; bits <<= 1, at += sizeof(GC_word))
    if (bits >> 63) name_word(at);
}

static void name_by_layout(const char *at, const struct gc_layout *l) {
  for (size_t i = 0; i < l->count * (size_t)64; i++)
    if (l->bits[i / 64] >> i % 64 & 1) name_word(at + i * sizeof(GC_word));
}

/* What an object's own descriptor is; a length of 0 when it has none yet. */
static GC_NO_SANITIZE GC_word own_descriptor(const char *object, GC_word descr) {
  GC_signed_word place = (GC_signed_word)(descr & ~(GC_word)DESCR_TAGS);
  if (place >= 0) return racy_load_word(object + place);
  const char *type = (const char *)racy_load_word(object);
  return type != NULL ? racy_load_word(type - place - PER_OBJECT_BIAS) : 0;
}

static struct GC_ms_entry *call_proc(struct GC_ms_entry e, struct GC_ms_entry *top) {
  GC_word rest = e.descr >> DESCR_TAG_BITS, env = rest >> PROC_BITS;
  if (rest % PROCS_MAX == PROC_LAYOUT) {
    name_by_layout(e.start, layout_at(env));
    return top;
  }
  GC_mark_proc proc = kinds.proc[rest % PROCS_MAX];
  if (proc == NULL) fatal("a descriptor names mark procedure %u, which there is not", (unsigned)(rest % PROCS_MAX));
  top = proc((GC_word *)(void *)e.start, top, kinds.stack + STACK_MAX - 1, env);
  if (top < kinds.stack || top >= kinds.stack + STACK_MAX) fatal("a mark procedure has left its mark stack");
  return top;
}

/* The word at the bottom of the stack is no entry: top is where the last one is. */
static void name_all(char *start, GC_word descr) {
  struct GC_ms_entry *top = kinds.stack;
  *++top = (struct GC_ms_entry){start, descr};
  while (top > kinds.stack) {
    struct GC_ms_entry e = *top--;
    switch (e.descr & DESCR_TAGS) {
      case DESCR_LENGTH: name_words(e.start, e.descr / sizeof(GC_word)); break;
      case DESCR_BITMAP: name_bits(e.start, e.descr); break;
      case DESCR_PROC: top = call_proc(e, top); break;
      default: *++top = (struct GC_ms_entry){e.start, own_descriptor(e.start, e.descr)}; break;
    }
  }
}

static void ask(char *object, uintptr_t what) {
  const struct kind *k = &kinds.kind[what];
  if (k->stride == 0 && !k->add_size) {
    name_all(object, k->descr);
    return;
  }
  size_t size = slot_find(object).size, stride = k->stride != 0 ? k->stride : size;
  GC_word descr = k->descr + (k->add_size ? size : 0);
  for (size_t at = 0; at + stride <= size; at += stride) name_all(object + at, descr);
}

/* Names the object at once: nothing is left on the stack that was given. */
struct GC_ms_entry *GC_mark_and_push(void *object, struct GC_ms_entry *top, struct GC_ms_entry *limit, void **from) {
  (void)limit;
  (void)from;
  if (!traced_is_asking()) bdw_unsupported("GC_mark_and_push", "call it from a mark procedure");
  traced_name((uintptr_t)object);
  return top;
}

/* ---- objects ---- */

static void disclaim_object(void *object, void *kind);

/* Has the death of the object in the slot announced. The objects of one kind die in order, or all at once. */
static bool announce_death(const struct slot *s, uintptr_t kind) {
  unsigned how = kinds.kind[kind].disclaim_first ? FINALIZE_ORDERED : FINALIZE_UNORDERED;
  struct finalization f = {disclaim_object, (void *)kind, how};
  return finalize_set(s->object, s, &f, NULL);
}

/* Tells the collector of an object that must be asked, or whose death is to be announced. */
static bool introduce(void *p, int kind, const struct kind *k) {
  library_enter();
  struct slot s = slot_find(p);
  bool ok = !k->traced || traced_add(p, &s, (uintptr_t)kind);
  if (ok && k->disclaim != NULL) ok = announce_death(&s, (uintptr_t)kind);
  library_leave();
  return ok;
}

/* All of the slot is cleared: a procedure may ask for the object's size and look at it. */
static GC_ENTRY void *alloc_traced(size_t bytes) {
  void *p = gc_alloc_noscan(bdw_round(bytes));
  return p != NULL ? memset(p, 0, gc_usable_size(p)) : NULL;
}

GC_ENTRY void *bdw_kind_alloc(int kind, size_t bytes) {
  const struct kind *k = kind_at(kind, "GC_generic_malloc");
  void *p = k->traced ? alloc_traced(bytes) : gc_alloc_typed(bdw_round(bytes), k->layout);
  if (p == NULL || (!k->traced && k->disclaim == NULL) || introduce(p, kind, k)) return p;
  gc_free(p);
  return NULL;
}

/* Kinds with the same layout are as good as each other. */
static int kind_of_layout(const struct gc_layout *l) {
  for (unsigned i = KINDS_FIXED; i < atomic32_load_acquire(&kinds.count); i++)
    if (!kinds.kind[i].traced && kinds.kind[i].layout == l) return (int)i;
  return -1;
}

int bdw_kind_of(const struct slot *s) {
  uintptr_t traced = page_is_watched(s->page) ? traced_what(s->object) : 0;
  if (traced != 0) return (int)traced;
  return span_is_typed(s->page) ? kind_of_layout(layout_of(s)) : -1;
}

/* ---- disclaiming ---- */

/* As that library does, under the lock. What is not to go yet is asked again when it is found unreachable the next time. */
static void disclaim_object(void *object, void *kind) {
  const struct kind *k = &kinds.kind[(uintptr_t)kind];
  bdw_lock();
  int keep = k->disclaim(object);
  bdw_unlock();
  if (keep == 0) {
    gc_free(object);
    return;
  }
  library_enter();
  struct slot s = slot_find(object);
  bool ok = announce_death(&s, (uintptr_t)kind);
  library_leave();
  if (!ok) bdw_warn("no memory to announce the death of the object at %p", (GC_word)object);
}

void GC_register_disclaim_proc(int kind, GC_disclaim_proc proc, int mark_from_all) {
  if (kind >= 0 && kind < KINDS_FIXED) {
    bdw_unsupported("GC_register_disclaim_proc",
                    "only for kinds that GC_new_kind made; for others there are finalizers");
    return;
  }
  struct kind *k = kind_at(kind, "GC_register_disclaim_proc");
  bdw_lock();
  k->disclaim_first = mark_from_all != 0;
  k->disclaim = proc;
  bdw_unlock();
}

/* The first word is the closure's address plus this, so that an object that was not set up yet is told apart. */
#define CLOSURE 1

static int run_closure(void *object) {
  GC_word *p = object;
  const struct GC_finalizer_closure *c = (const struct GC_finalizer_closure *)(p[0] - CLOSURE);
  if ((p[0] & CLOSURE) != 0) c->proc(p + 1, c->cd);
  return 0;
}

void GC_init_finalized_malloc(void) {
  bdw_init();
  bdw_lock();
  if (atomic32_load_relaxed(&kinds.finalized) == 0) {
    unsigned kind = kinds_new(DESCR_LENGTH, true, 0);
    kinds.kind[kind].disclaim = run_closure;
    kinds.kind[kind].disclaim_first = true;
    atomic32_store_release(&kinds.finalized, kind);
  }
  bdw_unlock();
}

GC_ENTRY void *GC_finalized_malloc(size_t bytes, const struct GC_finalizer_closure *closure) {
  if (atomic32_load_acquire(&kinds.finalized) == 0) GC_init_finalized_malloc();
  size_t all = bytes + sizeof(GC_word) > bytes ? bytes + sizeof(GC_word) : SIZE_MAX;
  GC_word *p = bdw_kind_alloc((int)atomic32_load_relaxed(&kinds.finalized), all);
  if (p == NULL) return bdw_refused(bytes);
  p[0] = (GC_word)closure + CLOSURE;
  return p + 1;
}

/* ---- all objects ---- */

/* A span may be freed, and another made, while it is gone through: what is found is an object in any case. */
static void each_object_in(uint32_t page, GC_reachable_object_proc f, void *data) {
  struct slot first = slot_find(page_address(page));
  unsigned n = first.sc < 2 ? 1 : span_class_slots(first.sc);
  for (unsigned i = 0; i < n && first.object != NULL; i++) {
    char *at = first.object + i * first.size;
    struct slot s = object_find(at);
    if (s.object == at) f(at, s.size, data);
  }
}

/* The caller holds the allocation lock: no cycle ends, and what no cycle has found unreachable yet counts as reachable. */
void GC_enumerate_reachable_objects_inner(GC_reachable_object_proc f, void *data) {
  library_enter();
  for (uint32_t page = 0; page < atomic_load_relaxed(&heap.limit) >> PAGE_SHIFT; page++)
    if (desc_is_first(page_desc(page))) each_object_in(page, f, data);
  library_leave();
}
