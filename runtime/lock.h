/* lock.h - futex locks with ranks. A thread takes a lock only with stops deferred (thread.h), or by
 * lock_acquire_stoppable, so that a stopped thread never holds one (but PROGRAM). Ranks: lockrank.def. */
#ifndef HOLDFAST_LOCK_H
#define HOLDFAST_LOCK_H

#include "runtime/atomic.h"
#include "runtime/check.h"
#include "runtime/torture.h"

enum lock_rank {
#define LOCK(name, protects, not_protected, stopped) RANK_##name,
#include "runtime/lockrank.def"
#undef LOCK
  LOCK_RANKS
};

struct lock {
  atomic_u32 state;   /* [A] 0 free, 1 held, 2 held and somebody may be waiting in the kernel;
                       3 (stoppable locks) handed to one of the waiters */
  unsigned rank;      /* [const] enum lock_rank */
  atomic_u32 waiters; /* [A] threads in lock_acquire_stoppable */
};

#define LOCK_INIT(r) \
  { 0, RANK_##r, 0 }

#if GC_DEBUG
void lock_rank_push(const struct lock *l);
void lock_rank_pop(const struct lock *l);
bool lock_is_held(const struct lock *l); /* by this thread */
#define GC_CHECK_HELD(l) GC_CHECK(lock_is_held(l))
#else
GC_INLINE void lock_rank_push(const struct lock *l) { (void)l; }
GC_INLINE void lock_rank_pop(const struct lock *l) { (void)l; }
#define GC_CHECK_HELD(l) ((void)(l))
#endif

bool lock_try(struct lock *l);
void lock_wait(struct lock *l); /* the slow paths of the next two */
void lock_wake(struct lock *l);

/* Acquire: sees all that the last holder wrote before lock_release. */
GC_INLINE void lock_acquire(struct lock *l) {
  TORTURE_STEP();
  lock_rank_push(l);
  if (GC_UNLIKELY(!atomic32_cas(&l->state, 0, 1))) lock_wait(l);
}

GC_INLINE void lock_release(struct lock *l) {
  lock_rank_pop(l);
  if (GC_UNLIKELY(atomic32_sub(&l->state, 1) != 1)) lock_wake(l);
  TORTURE_STEP();
}

/* For locks that the stopper of the world holds (CYCLE, THREADS): waits in a place where the thread may be
 * stopped. The caller must not defer stops; on return it does, until lock_release_stoppable. */
void lock_acquire_stoppable(struct lock *l);
void lock_release_stoppable(struct lock *l);
GC_INLINE bool lock_is_awaited(const struct lock *l) { return atomic32_load_relaxed(&l->waiters) != 0; }

#endif
