/* pool.c - see pool.h. A few hundred exchanges happen per cycle, so one lock serves. */
#include "gc/pool.h"

#include "runtime/config.h"
#include "runtime/lock.h"
#include "runtime/os.h"

#define POOL_WORDS 1024
#define SPINS 400 /* looks before sleeping; work usually comes within microseconds or not at all */

static struct {
  struct lock lock;
  uintptr_t word[POOL_WORDS]; /* [L:MARK] */
  atomic_u32 count;           /* [A; written L:MARK] */
  atomic_u32 idle;            /* [A; written L:MARK] markers waiting in pool_take */
  atomic_u32 bell;            /* [A] futex: changes when there is work, or no more work */
  unsigned markers;           /* [const while marking] */
  atomic_u32 wanting;         /* [A] 1: an assist looks for work */
  atomic_u32 closed;          /* [A] 1: marking is broken off; nobody waits and nothing is taken */
} pool GC_OWN_DATA = {.lock = LOCK_INIT(MARK)};

static void ring(void) {
  atomic32_add(&pool.bell, 1);
  os_futex_wake(&pool.bell, MARKERS_MAX);
}

void pool_begin(unsigned markers) {
  pool.markers = markers;
  atomic32_store_relaxed(&pool.closed, 0);
  atomic32_store_relaxed(&pool.idle, 0);
}

void pool_close(void) {
  atomic32_store_release(&pool.closed, 1); /* pairs with the acquire in pool_take */
  ring();
}

bool pool_is_closed(void) { return atomic32_load_relaxed(&pool.closed) != 0; }

bool pool_is_hungry(void) {
  bool wanted = atomic32_load_relaxed(&pool.idle) != 0 || atomic32_load_relaxed(&pool.wanting) != 0;
  return wanted && atomic32_load_relaxed(&pool.count) == 0;
}

bool pool_has_work(void) { return atomic32_load_relaxed(&pool.count) != 0; }

void pool_want(bool wanting) { atomic32_store_relaxed(&pool.wanting, wanting); }

size_t pool_put(const uintptr_t *from, size_t n) {
  lock_acquire(&pool.lock);
  unsigned count = atomic32_load_relaxed(&pool.count);
  n = min_size(n, POOL_WORDS - count);
  for (size_t i = 0; i < n; i++) pool.word[count + i] = from[i];
  atomic32_store_relaxed(&pool.count, count + (unsigned)n);
  lock_release(&pool.lock);
  if (n > 0) ring();
  return n;
}

/* Under the lock. */
static size_t take_now(uintptr_t *to, size_t max) {
  unsigned count = atomic32_load_relaxed(&pool.count);
  size_t n = min_size(max, count);
  for (size_t i = 0; i < n; i++) to[i] = pool.word[count - n + i];
  atomic32_store_relaxed(&pool.count, count - (unsigned)n);
  return n;
}

size_t pool_try_take(uintptr_t *to, size_t max) {
  if (atomic32_load_relaxed(&pool.count) == 0) return 0;
  lock_acquire(&pool.lock);
  size_t n = take_now(to, max);
  lock_release(&pool.lock);
  return n;
}

static void wait_for_bell(unsigned heard) {
  for (int i = 0; i < SPINS && os_cpu_count() >= pool.markers; i++) {
    if (atomic32_load_relaxed(&pool.bell) != heard) return;
    cpu_relax();
  }
  os_futex_wait(&pool.bell, heard, 0);
}

/* A marker is idle only with an empty stack and ring, and takes work before it stops being idle, both under
 * the lock; so when all are idle and the store is empty, nothing is left. */
size_t pool_take(uintptr_t *to, size_t max) {
  bool counted = false;
  for (;;) {
    unsigned heard = atomic32_load_acquire(&pool.bell); /* before the look: a later ring is not missed */
    if (atomic32_load_acquire(&pool.closed) != 0) return 0;
    lock_acquire(&pool.lock);
    size_t n = take_now(to, max);
    if (!counted && n == 0) atomic32_store_relaxed(&pool.idle, atomic32_load_relaxed(&pool.idle) + 1);
    if (counted && n > 0) atomic32_store_relaxed(&pool.idle, atomic32_load_relaxed(&pool.idle) - 1);
    counted = true;
    bool all_idle = n == 0 && atomic32_load_relaxed(&pool.idle) == pool.markers;
    lock_release(&pool.lock);
    if (n > 0) return n;
    if (all_idle) {
      ring(); /* the others wait for this */
      return 0;
    }
    wait_for_bell(heard);
  }
}
