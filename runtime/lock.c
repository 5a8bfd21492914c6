/* lock.c - see lock.h. The three-state futex mutex after U. Drepper, "Futexes Are Tricky". */
#include "runtime/lock.h"

#include "runtime/os.h"
#include "runtime/thread.h"

#if GC_DEBUG
/* The ranks this thread holds, in the order taken. [own] */
static GC_TLS unsigned char held[LOCK_RANKS * 2];
static GC_TLS const struct lock *held_lock[LOCK_RANKS * 2];
static GC_TLS unsigned held_count;
static const char *const rank_name[] = {
#define LOCK(name, protects, not_protected, stopped) #name,
#include "runtime/lockrank.def"
#undef LOCK
};

void lock_rank_push(const struct lock *l) {
  if (held_count > 0 && held[held_count - 1] >= l->rank)
    fatal("lock rank: %s taken while %s is held", rank_name[l->rank], rank_name[held[held_count - 1]]);
  GC_ASSERT(held_count < sizeof held);
  held[held_count] = (unsigned char)l->rank;
  held_lock[held_count++] = l;
}

/* Locks are mostly, not always, released in reverse order. */
void lock_rank_pop(const struct lock *l) {
  unsigned i = held_count;
  while (i > 0 && held_lock[i - 1] != l) i--;
  GC_ASSERT(i > 0);
  for (; i < held_count; i++) {
    held[i - 1] = held[i];
    held_lock[i - 1] = held_lock[i];
  }
  held_count--;
}

bool lock_is_held(const struct lock *l) {
  for (unsigned i = 0; i < held_count; i++)
    if (held_lock[i] == l) return true;
  return false;
}
#endif

bool lock_try(struct lock *l) {
  if (!atomic32_cas(&l->state, 0, 1)) return false;
  lock_rank_push(l);
  return true;
}

void lock_wait(struct lock *l) {
  for (int i = 0; i < 100 && os_cpu_count() > 1; i++) {
    cpu_relax();
    if (atomic32_load_relaxed(&l->state) == 0 && atomic32_cas(&l->state, 0, 1)) return;
  }
  while (atomic32_swap(&l->state, 2) != 0) os_futex_wait(&l->state, 2, 0);
}

/* The state was 2 and is 1 now: still held, by nobody. */
void lock_wake(struct lock *l) {
  atomic32_store_release(&l->state, 0); /* pairs with the CAS or swap of the next holder */
  os_futex_wake(&l->state, 1);
}

/* HANDED: released while others waited; only one of those may take it. Without it a thread that collects in a
 * loop would take CYCLE and THREADS again before any waiter has woken, and starve births and deaths of
 * threads for ever. */
#define HANDED 3

void lock_acquire_stoppable(struct lock *l) {
  bool waited = false;
  for (;;) {
    thread_defer_stops();
    if (atomic32_cas(&l->state, 0, 1) || (waited && atomic32_cas(&l->state, HANDED, 1))) break;
    thread_allow_stops(); /* a stop that waited for us happens here */
    if (!waited) atomic32_add(&l->waiters, 1);
    waited = true;
    /* A cycle of a small heap is over in less than a sleep and a wake would take. */
    for (int i = 0; i < 2000 && os_cpu_count() > 1 && atomic32_load_relaxed(&l->state) == 1; i++) cpu_relax();
    if (atomic32_load_relaxed(&l->state) == 1) os_futex_wait(&l->state, 1, 0);
  }
  if (waited) atomic32_sub(&l->waiters, 1);
  lock_rank_push(l);
}

/* A waiter announces itself before it looks at the state, and we look at the waiters after we change it: one
 * of both sees the other. A waiter leaves only by taking the lock, so HANDED never lacks a taker. */
void lock_release_stoppable(struct lock *l) {
  lock_rank_pop(l);
  atomic32_store_release(&l->state, atomic32_load_relaxed(&l->waiters) != 0 ? HANDED : 0); /* pairs with the CAS */
  full_fence();
  if (atomic32_load_relaxed(&l->waiters) != 0) os_futex_wake(&l->state, ~0u >> 1);
  thread_allow_stops();
}
