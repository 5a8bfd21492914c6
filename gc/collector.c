/* collector.c - see collector.h. It sleeps on a futex and uses no processor while no cycle is due. */
#include "gc/collector.h"

#include "runtime/os.h"
#include "runtime/thread.h"

#define NAP_NS 50000
#define NAPS_LEAST 4
#define NAPS_MOST 200         /* some 20 ms, with the timer's slack */
#define NAP_BYTES (256 * KIB) /* over the goal, for one nap more */

static struct {
  atomic_u32 started; /* [A] 1: the thread is being created; 2: it exists */
  atomic_u32 bell;    /* [A] counts requests; futex of the thread */
  atomic_u32 due;     /* [A] 1: a CYCLE_HEAP was asked for and has not begun */
  atomic_u32 running; /* [A] 1: it runs a cycle, or is about to */
  atomic_u32 asked;   /* [A] number of the newest forced cycle asked for */
  atomic_u32 ended;   /* [A] newest such number for which a cycle has ended; futex of those who wait */
  atomic_u32 reason;  /* [A] enum cycle_reason of the newest one */
} collector GC_OWN_DATA;

static void ring(void) {
  atomic32_add(&collector.bell, 1);
  os_futex_wake(&collector.bell, 1);
}

static void run_one(void) {
  unsigned asked = atomic32_load_acquire(&collector.asked);
  bool forced = asked != atomic32_load_relaxed(&collector.ended);
  atomic32_store_relaxed(&collector.running, 1);
  atomic32_store_release(&collector.due, 0);
  cycle_run_beside(forced ? (enum cycle_reason)atomic32_load_relaxed(&collector.reason) : CYCLE_HEAP);
  atomic32_store_relaxed(&collector.running, 0);
  if (!forced) return;
  atomic32_store_release(&collector.ended, asked); /* pairs with wait_for */
  os_futex_wake(&collector.ended, ~0u >> 1);
}

static void *body(void *arg) {
  thread_stay_internal();
  (void)arg;
  for (unsigned heard = 0;;) {
    unsigned now = atomic32_load_acquire(&collector.bell); /* before the look: a later request rings again */
    if (now == heard) {
      os_futex_wait(&collector.bell, heard, 0);
      continue;
    }
    heard = now;
    run_one();
  }
  return NULL;
}

static bool is_busy(void) {
  return atomic32_load_acquire(&collector.due) != 0 || atomic32_load_relaxed(&collector.running) != 0;
}

/* A futex that nobody wakes: unlike nanosleep it is no place where the thread can be cancelled. */
void collector_wait(uint64_t over) {
  static atomic_u32 never GC_OWN_DATA;
  for (uint64_t naps = min_size(NAPS_LEAST + over / NAP_BYTES, NAPS_MOST); naps > 0 && is_busy(); naps--)
    os_futex_wait(&never, 0, NAP_NS);
}

bool collector_is_awaited(void) {
  return atomic32_load_acquire(&collector.asked) != atomic32_load_acquire(&collector.ended);
}

/* Waits with stops allowed: the cycle will stop this thread. */
static void wait_for(unsigned number) {
  for (;;) {
    unsigned ended = atomic32_load_acquire(&collector.ended);
    if ((int)(ended - number) >= 0) return;
    os_futex_wait(&collector.ended, ended, 0);
  }
}

/* Who comes while another thread creates it runs the cycle itself: the creation may fail. */
static bool start(void) {
  if (atomic32_load_relaxed(&collector.started) == 2) return true;
  if (!atomic32_cas(&collector.started, 0, 1)) return false;
  bool ok = thread_start_internal(body, NULL) == 0;
  atomic32_store_relaxed(&collector.started, ok ? 2 : 0);
  return ok;
}

bool collector_ask(enum cycle_reason reason) {
  if (!start()) return false;
  if (reason == CYCLE_HEAP && atomic32_load_relaxed(&collector.due) != 0) return true;
  if (reason == CYCLE_HEAP) {
    atomic32_store_relaxed(&collector.due, 1);
    ring();
    return true;
  }
  atomic32_store_relaxed(&collector.reason, reason);
  unsigned number = atomic32_add(&collector.asked, 1) + 1;
  ring();
  wait_for(number);
  return true;
}

void collector_fork_child(void) {
  atomic32_store_relaxed(&collector.started, 0);
  atomic32_store_relaxed(&collector.bell, 0);
  atomic32_store_relaxed(&collector.due, 0);
  atomic32_store_relaxed(&collector.running, 0);
  atomic32_store_relaxed(&collector.asked, atomic32_load_relaxed(&collector.ended));
}
