/* finalize.c - see finalize.h. */
#include "gc/finalize.h"

#include "gc/verdict.h"
#include "runtime/options.h"
#include "runtime/os.h"
#include "runtime/thread.h"

static struct {
  uint32_t first, last; /* [L:WATCH; STW] the queue, linked by next_queued; 0: empty */
  atomic_u32 waiting;   /* [A; written under L:WATCH or STW] entries of it, for a look without the lock */
  atomic_u32 started;   /* [A] 1: the thread exists, or is being created */
  atomic_u32 bell;      /* [A] counts wakes; futex */
} queue GC_OWN_DATA;

static uint32_t find_finalizer(const void *p) {
  uint32_t i = watch_find(p, 0);
  while (i != 0 && watch_at(i)->kind != WATCH_FINALIZER) i = watch_find(p, i);
  return i;
}

bool finalize_set(const void *p, const struct slot *s, finalizer *f, void *arg, bool unordered) {
  watch_lock();
  uint32_t i = find_finalizer(p);
  bool ok = true;
  if (f == NULL) {
    if (i != 0) watch_free(i);
  } else {
    if (i == 0) i = watch_new(WATCH_FINALIZER, p, s);
    ok = i != 0;
  }
  if (ok && f != NULL) {
    struct watch *w = watch_at(i);
    w->f = f;
    w->value = (uintptr_t)arg;
    w->unordered = unordered;
    w->asked = 0; /* the new argument has not been marked */
    verdict_reopen(i);
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
  atomic32_store_relaxed(&queue.waiting, atomic32_load_relaxed(&queue.waiting) + 1);
}

/* Takes the oldest entry off the queue; false when it is empty. A cancelled one is an entry too, with f NULL. */
static bool take(struct watch *out) {
  uint32_t i = queue.first;
  if (i == 0) return false;
  *out = *watch_at(i);
  queue.first = out->next_queued;
  if (queue.first == 0) queue.last = 0;
  atomic32_store_relaxed(&queue.waiting, atomic32_load_relaxed(&queue.waiting) - 1);
  watch_free(i);
  return true;
}

GC_NOINLINE bool finalize_run_one(void) {
  struct watch w;
  if (atomic32_load_relaxed(&queue.waiting) == 0) return false;
  thread_defer_stops();
  watch_lock();
  bool found;
  do found = take(&w);
  while (found && w.kind == WATCH_CANCELLED);
  watch_unlock();
  thread_allow_stops();
  if (found) w.f(w.object, (void *)w.value);
  return found;
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
  if (atomic32_load_relaxed(&queue.waiting) == 0 || options.finalizers != 0) return;
  if (atomic32_cas(&queue.started, 0, 1) && thread_start_internal_sized(body, NULL, STACK) != 0)
    atomic32_store_relaxed(&queue.started, 0); /* after the next cycle again */
  atomic32_add(&queue.bell, 1);
  os_futex_wake(&queue.bell, 1);
}

void finalize_fork_child(void) {
  atomic32_store_relaxed(&queue.started, 0);
  atomic32_store_relaxed(&queue.bell, 0);
}
