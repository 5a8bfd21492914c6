/* background.c - see background.h. Sweeping goes first, in short batches: what the program allocates
 * from meanwhile it sweeps itself. Then the excess over the scavenger's goal goes back in 64 KiB steps, at
 * most 1 % of a processor, as in Go. A heap too small for a thread is left to allocation and the next cycle. */
#include "gc/background.h"

#include <time.h>

#include "alloc/pageheap.h"
#include "alloc/scavenge.h"
#include "alloc/sweep.h"
#include "runtime/config.h"
#include "runtime/lock.h"
#include "runtime/options.h"
#include "runtime/os.h"
#include "runtime/thread.h"

#define SWEEP_SPANS 32            /* per step */
#define WORTH_A_THREAD (16 * MIB) /* bytes of heap in use, or to give back */
#define SCAVENGE_SHARE 100        /* sleeps this many times as long as it worked */

static struct {
  atomic_u32 started; /* [A] 1: the thread exists, or is being created */
  atomic_u32 bell;    /* [A] counts wakes; futex */
  struct lock step;   /* rank BACKGROUND: held while a step runs, and by who must not meet one */
} background GC_OWN_DATA = {.step = LOCK_INIT(BACKGROUND)};

static void sweep_phase(void) {
  for (bool more = true; more;) {
    lock_acquire(&background.step);
    more = sweep_some(SWEEP_SPANS);
    lock_release(&background.step);
  }
}

static void scavenge_phase(unsigned heard) {
  while (atomic32_load_relaxed(&background.bell) == heard) {
    uint64_t start = os_now_ns();
    lock_acquire(&background.step);
    size_t done = scavenge_step(SCAVENGE_STEP);
    lock_release(&background.step);
    if (done == 0) return;
    uint64_t rest = (os_now_ns() - start) * SCAVENGE_SHARE;
    struct timespec t = {(time_t)(rest / 1000000000u), (long)(rest % 1000000000u)};
    nanosleep(&t, NULL);
  }
}

static void *body(void *arg) {
  thread_stay_internal();
  (void)arg;
  for (unsigned heard = 0;;) {
    unsigned now = atomic32_load_acquire(&background.bell);
    if (now == heard) {
      os_futex_wait(&background.bell, heard, 0);
      continue;
    }
    heard = now;
    sweep_phase();
    scavenge_phase(heard);
  }
  return NULL;
}

bool background_is_wanted(void) {
  if (!options.background) return false;
  thread_defer_stops();
  struct pageheap_totals t = pageheap_totals();
  thread_allow_stops();
  return t.inuse >= WORTH_A_THREAD || t.sys - t.released >= WORTH_A_THREAD;
}

/* The thread is created with no lock of ours held and stops allowed: see workers_start. */
void background_wake(void) {
  if (atomic32_cas(&background.started, 0, 1) && thread_start_internal(body, NULL) != 0)
    atomic32_store_relaxed(&background.started, 0);
  atomic32_add(&background.bell, 1);
  os_futex_wake(&background.bell, 1);
}

void background_hold(void) { lock_acquire(&background.step); }
void background_let_go(void) { lock_release(&background.step); }

void background_fork_child(void) {
  atomic32_store_relaxed(&background.started, 0);
  atomic32_store_relaxed(&background.bell, 0);
}
