/* workers.c - see workers.h. */
#include "gc/workers.h"

#include "runtime/config.h"
#include "runtime/options.h"
#include "runtime/os.h"
#include "runtime/thread.h"

#define SPINS 1000

static struct {
  atomic_u32 job;            /* [A] number of the current job * 256 + markers it wants; futex of the sleepers */
  atomic_u32 running;        /* [A] workers that have not finished it, futex of the caller */
  void (*f)(unsigned index); /* [const while a job runs]; released by job */
  atomic_u32 started;        /* [A] workers that exist */
  atomic_u32 starting;       /* [A] 1: some thread is starting workers */
} workers GC_OWN_DATA;

static void *body(void *arg) {
  thread_stay_internal();
  unsigned index = (unsigned)(uintptr_t)arg, done = 0;
  for (;;) {
    unsigned job = atomic32_load_acquire(&workers.job); /* pairs with workers_run's release: f */
    if (job == done) {
      os_futex_wait(&workers.job, done, 0);
      continue;
    }
    done = job;
    if (index >= job % 256) continue; /* not wanted: f may be changing */
    workers.f(index);
    if (atomic32_sub(&workers.running, 1) == 1) os_futex_wake(&workers.running, 1);
  }
  return NULL;
}

static unsigned useful(uint64_t bytes) {
  unsigned most = options.markers != 0 ? (unsigned)options.markers : os_cpu_count();
  return (unsigned)min_size(min_size(most, MARKERS_MAX), 1 + bytes / MARK_BYTES_PER_WORKER);
}

/* One thread at a time starts workers; another that comes meanwhile goes on with those there are. */
void workers_start(uint64_t bytes) {
  unsigned wanted = useful(bytes);
  if (atomic32_load_relaxed(&workers.started) + 1 >= wanted || !atomic32_cas(&workers.starting, 0, 1)) return;
  for (unsigned n; (n = atomic32_load_relaxed(&workers.started)) + 1 < wanted;) {
    if (thread_start_internal(body, (void *)(uintptr_t)(n + 1)) != 0) break;
    atomic32_store_release(&workers.started, n + 1); /* pairs with the acquire below */
  }
  atomic32_store_release(&workers.starting, 0);
}

unsigned workers_available(uint64_t bytes) {
  return (unsigned)min_size(useful(bytes), atomic32_load_acquire(&workers.started) + 1);
}

static void wait_until_done(void) {
  unsigned n;
  for (int i = 0; i < SPINS && atomic32_load_acquire(&workers.running) != 0; i++) cpu_relax();
  while ((n = atomic32_load_acquire(&workers.running)) != 0) os_futex_wait(&workers.running, n, 0);
}

/* The number wanted travels in the same word as the job: a worker that wakes late for a job that did not
 * want it cannot take the next one's number for it. */
void workers_run(unsigned n, void (*f)(unsigned index)) {
  workers.f = f;
  atomic32_store_relaxed(&workers.running, n - 1);
  if (n > 1) {
    atomic32_store_release(&workers.job, (atomic32_load_relaxed(&workers.job) / 256 + 1) * 256 + n);
    os_futex_wake(&workers.job, MARKERS_MAX);
  }
  f(0);
  wait_until_done();
}

void workers_fork_child(void) {
  atomic32_store_relaxed(&workers.started, 0);
  atomic32_store_relaxed(&workers.starting, 0);
  atomic32_store_relaxed(&workers.job, 0);
  atomic32_store_relaxed(&workers.running, 0);
}
