/* finalize.c - see finalize.h. */
#include "gc/finalize.h"

#include "gc/verdict.h"
#include "runtime/options.h"
#include "runtime/os.h"
#include "runtime/thread.h"

static struct {
  uint32_t first, last; /* [L:WATCH; STW] the queue, linked by next_queued; 0: empty */
  uint32_t fresh;       /* [L:WATCH; STW] the first that finalize_next_new did not return; 0: none */
  atomic_u32 started;   /* [A] 1: the thread exists, or is being created */
  atomic_u32 bell;      /* [A] counts wakes; futex */
} queue GC_OWN_DATA;

atomic_u32 finalize_waiting GC_OWN_DATA;

static uint32_t find_finalizer(const void *p) {
  uint32_t i = watch_find(p, 0);
  while (i != 0 && watch_at(i)->kind != WATCH_FINALIZER) i = watch_find(p, i);
  return i;
}

static void write_finalizer(uint32_t i, const struct finalization *now) {
  struct watch *w = watch_at(i);
  w->f = now->f;
  w->value = (uintptr_t)now->arg;
  w->how = (uint8_t)now->how;
  w->asked = 0;  /* the new argument has not been marked */
  w->doomed = 0; /* between two stops of a cycle: the program has it again, by a long weak reference */
  verdict_reopen(i);
}

bool finalize_set(const void *p, const struct slot *s, const struct finalization *now, struct finalization *before) {
  watch_lock();
  uint32_t i = find_finalizer(p);
  const struct watch *w = i != 0 ? watch_at(i) : NULL;
  if (before != NULL)
    *before = w != NULL ? (struct finalization){w->f, (void *)w->value, w->how} : (struct finalization){NULL, NULL, 0};
  bool ok = true;
  if (now->f == NULL) {
    if (i != 0) watch_free(i);
  } else {
    if (i == 0) i = watch_new(WATCH_FINALIZER, p, s);
    ok = i != 0;
    if (ok) write_finalizer(i, now);
  }
  watch_unlock();
  return ok;
}

void finalize_queue(uint32_t i) {
  struct watch *w = watch_at(i);
  watch_changed(i, WATCH_QUEUED);
  w->asked = 0;
  w->next_queued = 0;
  if (queue.last != 0)
    watch_at(queue.last)->next_queued = i;
  else
    queue.first = i;
  queue.last = i;
  if (queue.fresh == 0) queue.fresh = i;
  atomic32_store_relaxed(&finalize_waiting, atomic32_load_relaxed(&finalize_waiting) + 1);
  verdict_reopen(i); /* outside of a stop: its object and argument are roots now */
}

uint64_t finalize_queue_all(void) {
  uint64_t n = 0;
  watch_lock();
  for (uint32_t i = 1; i < watch_end(); i++) {
    if (watch_at(i)->kind != WATCH_FINALIZER) continue;
    finalize_queue(i);
    n++;
  }
  watch_unlock();
  return n;
}

/* Takes the oldest entry off the queue; false when it is empty. A cancelled one is an entry too, with f NULL. */
static bool take(struct watch *out) {
  uint32_t i = queue.first;
  if (i == 0) return false;
  *out = *watch_at(i);
  queue.first = out->next_queued;
  if (queue.first == 0) queue.last = 0;
  if (queue.fresh == i) queue.fresh = queue.first;
  atomic32_store_relaxed(&finalize_waiting, atomic32_load_relaxed(&finalize_waiting) - 1);
  watch_free(i);
  return true;
}

bool finalize_take(struct finalization *f, void **object) {
  struct watch w;
  if (atomic32_load_relaxed(&finalize_waiting) == 0) return false;
  thread_defer_stops();
  watch_lock();
  bool found;
  do found = take(&w);
  while (found && w.kind == WATCH_CANCELLED);
  watch_unlock();
  if (found) {
    *f = (struct finalization){w.f, (void *)w.value, w.how};
    *object = w.object;
  }
  thread_allow_stops();
  return found;
}

GC_NOINLINE bool finalize_run_one(void) {
  struct finalization f;
  void *object;
  bool found = finalize_take(&f, &object);
  if (found) f.f(object, f.arg);
  return found;
}

void *finalize_next_new(void) {
  void *object = NULL; /* of a cancelled one, too */
  watch_lock();
  for (; queue.fresh != 0 && object == NULL; queue.fresh = watch_at(queue.fresh)->next_queued)
    object = watch_at(queue.fresh)->object;
  watch_unlock();
  return object;
}

/* ---- the thread ---- */

#define STACK (8 * MIB) /* as a program's thread has: the functions are the program's */

/* What the last call left on the stack must not keep its object while the thread sleeps. */
static GC_NOINLINE void scrub_stack(void) {
  volatile uintptr_t dead[512];
  for (size_t i = 0; i < sizeof dead / sizeof dead[0]; i++) dead[i] = 0;
}

static void *body(void *arg) {
  thread_register_self();
  for (;;) {
    unsigned heard = atomic32_load_acquire(&queue.bell); /* before the look: a later wake rings again */
    while (finalize_run_one()) continue;
    scrub_stack();
    os_futex_wait(&queue.bell, heard, 0);
  }
  return arg;
}

void finalize_wake(void) {
  if (atomic32_load_relaxed(&finalize_waiting) == 0 || options.finalizers != 0) return;
  if (atomic32_cas(&queue.started, 0, 1) && thread_start_internal_sized(body, NULL, STACK) != 0)
    atomic32_store_relaxed(&queue.started, 0); /* after the next cycle again */
  atomic32_add(&queue.bell, 1);
  os_futex_wake(&queue.bell, 1);
}

void finalize_fork_child(void) {
  atomic32_store_relaxed(&queue.started, 0);
  atomic32_store_relaxed(&queue.bell, 0);
}
