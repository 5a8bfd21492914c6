/* weak.c - the calls of gc_weak.h, and gc_alloc_uncollectable. What they set up is in gc/watch.h; what a cycle makes of it in
 * gc/verdict.h; why reading a weak reference needs no lock in gc/weak.h. */
#include "gc_weak.h"

#include <errno.h>
#include <string.h>

#include "api/object.h"
#include "gc/finalize.h"
#include "gc/verdict.h"
#include "gc/weak.h"

static bool refuse_null(const void *p) {
  if (p == NULL) errno = EINVAL;
  return p == NULL;
}

/* ---- finalizers ---- */

static int set_finalizer(void *obj, const struct finalization *now, const char *who) {
  if (refuse_null(obj)) return -1;
  if (object_is_nothing(obj)) return 0;
  library_enter();
  struct slot s = object_expect(obj, who);
  bool ok = (now->f == NULL && !page_is_watched(s.page)) || finalize_set(obj, &s, now, NULL);
  library_leave();
  if (!ok) errno = ENOMEM;
  return ok ? 0 : -1;
}

int gc_set_finalizer(void *obj, void (*fn)(void *obj, void *arg), void *arg) {
  return set_finalizer(obj, &(struct finalization){fn, arg, FINALIZE_ORDERED}, "gc_set_finalizer");
}

int gc_set_finalizer_unordered(void *obj, void (*fn)(void *obj, void *arg), void *arg) {
  return set_finalizer(obj, &(struct finalization){fn, arg, FINALIZE_UNORDERED}, "gc_set_finalizer_unordered");
}

size_t gc_run_finalizers(void) {
  size_t n = 0;
  library_enter(); /* their objects will be on this thread's stack */
  library_leave();
  while (finalize_run_one()) n++;
  return n;
}

/* ---- weak references and ephemerons ---- */

/* With stops deferred throughout: no cycle ends between finding the object and binding. */
static bool bind(struct handle *h, enum watch_kind kind, const void *p, uintptr_t value, const char *who) {
  library_enter();
  struct slot place = slot_find(h), s = {NULL, NULL, NO_PAGE, 0, 0};
  if (!object_is_nothing(p)) s = object_expect(p, who);
  bool ok = weak_bind(h, &place, kind, p, &s, value);
  library_leave();
  return ok;
}

static GC_ENTRY struct handle *create(enum watch_kind kind, const void *p, uintptr_t value, const char *who) {
  if (refuse_null(p)) return NULL;
  struct handle *h = gc_alloc_noscan(sizeof *h);
  if (h == NULL || bind(h, kind, p, value, who)) return h;
  errno = ENOMEM;
  return NULL;
}

/* The thread must be known before it holds what a cycle might free. */
static const struct handle *expect_handle(const void *h, bool ephemeron, const char *who) {
  if (GC_UNLIKELY(tl_thread == NULL)) {
    library_enter();
    library_leave();
  }
  if (GC_UNLIKELY(!handle_is(h, ephemeron)))
    fatal("%s(%p): not %s, or one that was destroyed", who, h, ephemeron ? "an ephemeron" : "a weak reference");
  return h;
}

/* Between the load and the caller's use a stop may come: the address is in a register of this thread then. */
static void *load(const atomic_word *p) {
  void *object = (void *)atomic_load_relaxed(p);
  TORTURE_STEP();
  return object;
}

static void destroy(void *h, bool ephemeron, const char *who) {
  if (h == NULL) return;
  expect_handle(h, ephemeron, who);
  library_enter();
  struct slot s = object_expect(h, who);
  weak_unbind(h);
  object_free_slot(&s);
  library_leave();
}

GC_ENTRY gc_weak *gc_weak_create(void *obj) { return (gc_weak *)create(WATCH_WEAK, obj, 0, "gc_weak_create"); }
GC_ENTRY gc_weak *gc_weak_create_long(void *obj) {
  return (gc_weak *)create(WATCH_LONG_WEAK, obj, 0, "gc_weak_create_long");
}

void *gc_weak_get(gc_weak *w) {
  if (w == NULL) return NULL;
  return load(&expect_handle(w, false, "gc_weak_get")->target);
}

void gc_weak_destroy(gc_weak *w) { destroy(w, false, "gc_weak_destroy"); }

GC_ENTRY gc_ephemeron *gc_ephemeron_create(void *key, void *value) {
  return (gc_ephemeron *)create(WATCH_EPHEMERON, key, (uintptr_t)value, "gc_ephemeron_create");
}

void *gc_ephemeron_get_key(gc_ephemeron *e) {
  if (e == NULL) return NULL;
  return load(&expect_handle(e, true, "gc_ephemeron_get_key")->target);
}

void *gc_ephemeron_get_value(gc_ephemeron *e) {
  if (e == NULL) return NULL;
  return load(&expect_handle(e, true, "gc_ephemeron_get_value")->value);
}

void gc_ephemeron_destroy(gc_ephemeron *e) { destroy(e, true, "gc_ephemeron_destroy"); }

/* ---- uncollectable objects ---- */

GC_ENTRY void *gc_alloc_uncollectable(size_t size) {
  void *p = gc_alloc(size);
  if (object_is_nothing(p)) return p;
  library_enter();
  struct slot s = slot_find(p);
  bool ok = weak_keep(p, &s);
  library_leave();
  if (ok) return p;
  errno = ENOMEM;
  return NULL;
}

void gc_read_weak_stats(struct gc_weak_stats *out) {
  memset(out, 0, sizeof *out);
  out->struct_size = sizeof *out;
  library_enter();
  watch_lock();
  out->finalizers = watch_count(WATCH_FINALIZER);
  out->finalizers_queued = watch_count(WATCH_QUEUED);
  out->finalizers_waiting = verdict_counts().waiting;
  out->finalizers_stuck = verdict_counts().stuck;
  out->weak = watch_count(WATCH_WEAK) + watch_count(WATCH_LONG_WEAK);
  out->ephemerons = watch_count(WATCH_EPHEMERON);
  out->uncollectable = watch_count(WATCH_KEPT);
  watch_unlock();
  library_leave();
}
