/* assist.c - see assist.h. One thread at a time marks; the others wait for it, which slows them as well. */
#include "gc/assist.h"

#include "alloc/span.h"
#include "gc/mark.h"
#include "gc/pool.h"
#include "runtime/config.h"
#include "runtime/lock.h"
#include "runtime/os.h"
#include "runtime/thread.h"

#define GRAIN (8 * KIB)  /* bytes that a refill takes, about */
#define PIECE (64 * KIB) /* marked at a time, some 20 us: stops are deferred meanwhile */
#define PIECES_MOST 4    /* paid at a time: what is owed beyond is paid by later refills */
#define OWED_MOST (1 * MIB)
#define PATIENCE 4 /* looks for work, before the rest of a debt is forgiven */
#define NAP_NS 50000
#define LOOKS 200

static struct {
  struct lock lock;
  atomic_word ns;                 /* [A] */
  atomic_u32 open;                /* [A] 1: the cycle's first phase has begun, so there may be work */
  atomic_word owed;               /* [A] bytes: debts too small to be worth a piece add up */
  atomic_word kept[TIME_BUCKETS]; /* [A] how often a thread was kept so long */
} assist GC_OWN_DATA = {.lock = LOCK_INIT(ASSIST)};

void assist_begin(void) {
  atomic_store_relaxed(&assist.ns, 0);
  atomic32_store_relaxed(&assist.open, 0);
  atomic_store_relaxed(&assist.owed, 0);
}

uint64_t assist_ns(void) { return atomic_load_relaxed(&assist.ns); }

/* True when something was marked. */
static bool mark_piece(uint64_t bytes) {
  bool marked = false;
  thread_defer_stops();
  if (heap_is_marking() && lock_try(&assist.lock)) {
    uint64_t start = os_thread_cpu_ns();
    pool_want(true);
    for (int i = 0; i < LOOKS && !pool_has_work(); i++) cpu_relax(); /* a marker looks every 64 objects */
    marked = mark_assist(bytes);
    pool_want(false);
    atomic_add(&assist.ns, os_thread_cpu_ns() - start);
    lock_release(&assist.lock);
  }
  thread_allow_stops();
  return marked;
}

/* A futex that nobody wakes: unlike nanosleep it is no place where the thread can be cancelled. */
static void nap(void) {
  static atomic_u32 never GC_OWN_DATA;
  os_futex_wait(&never, 0, NAP_NS);
}

void assist_hold(void) { lock_acquire(&assist.lock); }
void assist_let_go(bool open) {
  atomic32_store_relaxed(&assist.open, open);
  lock_release(&assist.lock);
}

void assist_read_histogram(uint64_t out[TIME_BUCKETS]) {
  for (int i = 0; i < TIME_BUCKETS; i++) out[i] = atomic_load_relaxed(&assist.kept[i]);
}

static void pay(uint64_t owed) {
  for (int looks = 0; owed > 0 && looks < PATIENCE && heap_is_marking();) {
    uint64_t piece = owed < PIECE ? owed : PIECE;
    if (mark_piece(piece)) {
      owed -= piece;
    } else {
      looks++;
      nap();
    }
  }
}

void assist_pay(uint64_t debt) {
  if (debt == 0 || atomic32_load_relaxed(&assist.open) == 0) return;
  uint64_t owed = atomic_add(&assist.owed, debt * (GRAIN / 1024)) + debt * (GRAIN / 1024);
  if (owed < PIECE) return;
  uint64_t now = min_size(owed, PIECES_MOST * PIECE), start = os_now_ns();
  atomic_store_relaxed(&assist.owed, min_size(owed - now, OWED_MOST)); /* two threads may both pay: no harm */
  pay(now);
  atomic_add(&assist.kept[time_bucket(os_now_ns() - start)], 1);
}

bool assist_has_left(void) {
  lock_acquire(&assist.lock);
  bool left = mark_assist_has_left();
  lock_release(&assist.lock);
  return left;
}
