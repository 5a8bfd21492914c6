/* test_world.c - runtime/thread.h, runtime/world.h: stopped threads do not run, threads that defer stops are not
 * stopped, registration, and the gate that a fork closes. */
#include <signal.h>

#include "unit.h"

#include "gc/cycle.h"
#include "runtime/interpose.h"
#include "runtime/standin.h"
#include "runtime/world.h"

enum { RUNNERS = 4, STOPS = 60 };

static atomic_word counter[RUNNERS];
static atomic_u32 finish;

static void *count_up(void *arg) {
  atomic_word *c = &counter[(uintptr_t)arg];
  while (atomic32_load_acquire(&finish) == 0) atomic_own_add(c, 1);
  return NULL;
}

/* Counts between deferring and allowing, the way the library's own code does. */
static void *count_deferred(void *arg) {
  atomic_word *c = &counter[(uintptr_t)arg];
  while (atomic32_load_acquire(&finish) == 0) {
    thread_defer_stops();
    atomic_own_add(c, 1);
    thread_allow_stops();
  }
  return NULL;
}

/* In a system call, which the stop interrupts. */
static void *wait_in_kernel(void *arg) {
  atomic_own_add(&counter[(uintptr_t)arg], 1);
  while (atomic32_load_acquire(&finish) == 0) os_futex_wait(&finish, 0, 0);
  return NULL;
}

static void require_still(const uint64_t *seen) {
  for (int look = 0; look < 20; look++) {
    sched_yield();
    for (int i = 0; i < RUNNERS; i++) REQUIRE_MSG(atomic_load_relaxed(&counter[i]) == seen[i], "thread %d runs", i);
  }
}

static void stop_and_look(void) {
  uint64_t seen[RUNNERS];
  world_stop(__builtin_frame_address(0), true);
  REQUIRE(world_is_stopped());
  for (int i = 0; i < RUNNERS; i++) seen[i] = atomic_load_relaxed(&counter[i]);
  require_still(seen);
  for (struct thread *t = threads_first(); t != NULL; t = threads_next(t))
    REQUIRE(t->state != THREAD_RUNNING || (t->defer == 0) == (t != tl_thread));
  world_start();
  REQUIRE(!world_is_stopped());
}

START_TEST(counters_stand_still) {
  static void *(*const bodies[RUNNERS])(void *) = {count_up, count_deferred, count_up, wait_in_kernel};
  pthread_t id[RUNNERS];
  for (uintptr_t i = 0; i < RUNNERS; i++) start_thread(&id[i], bodies[i], (void *)i);
  for (int i = 0; i < RUNNERS; i++)
    while (atomic_load_relaxed(&counter[i]) == 0) sched_yield();
  for (int n = 0; n < STOPS; n++) {
    uint64_t before = atomic_load_relaxed(&counter[n % 3]);
    stop_and_look();
    while (n % 10 == 0 && atomic_load_relaxed(&counter[n % 3]) == before) sched_yield(); /* they run again */
  }
  atomic32_store_release(&finish, 1);
  os_futex_wake(&finish, 1);
  for (int i = 0; i < RUNNERS; i++) pthread_join(id[i], NULL);
}
END_TEST

/* ---- deferral ---- */

static atomic_u32 phase, stop_done, left;

static void *stopper(void *unused) {
  thread_register_self();
  await(&phase, 1);
  world_stop(__builtin_frame_address(0), true);
  atomic32_store_release(&stop_done, 1);
  for (int i = 0; i < 20; i++) {
    sched_yield();
    REQUIRE(atomic32_load_acquire(&left) == 0); /* the other is parked on its way out */
  }
  world_start();
  return unused;
}

/* The stop has begun and its signal has come, and this thread still runs: until it allows stops, `depth`
 * times. */
START_TEST(deferred_threads_run_on) {
  pthread_t id;
  int depth = _i;
  start_thread(&id, stopper, NULL);
  for (int i = 0; i < depth; i++) thread_defer_stops();
  atomic32_store_release(&phase, 1);
  while (tl_thread->pending == 0) {
    REQUIRE_MSG(atomic32_load_acquire(&stop_done) == 0, "stopped all the same");
    sched_yield();
  }
  REQUIRE(world_is_stopped() && tl_thread->defer == (unsigned)depth);
  for (int i = 0; i < depth; i++) {
    for (int k = 0; k < 20; k++) sched_yield();
    REQUIRE(atomic32_load_acquire(&stop_done) == 0 && tl_thread->pending == 1);
    thread_allow_stops(); /* the last one parks here */
  }
  atomic32_store_release(&left, 1);
  REQUIRE(atomic32_load_acquire(&stop_done) == 1 && tl_thread->pending == 0 && tl_thread->defer == 0);
  pthread_join(id, NULL);
}
END_TEST

/* ---- blocked threads ---- */

static atomic_u32 wants_back;

static void *block(void *unused) {
  thread_register_self();
  thread_block(__builtin_dwarf_cfa());
  atomic32_store_release(&phase, 1);
  await(&wants_back, 1);
  atomic32_store_release(&phase, 2);
  thread_unblock();
  atomic32_store_release(&left, 1);
  return unused;
}

static const struct thread *other_thread(void) {
  const struct thread *t = threads_first();
  while (t == tl_thread) t = threads_next((struct thread *)(uintptr_t)t);
  return t;
}

/* The stop does not wait for it, nor send it a signal, and it runs on; it does not come back before the world runs again. */
START_TEST(blocked_threads_are_held) {
  pthread_t id;
  start_thread(&id, block, NULL);
  await(&phase, 1);
  for (int i = 0; i < 3; i++) {
    world_stop(__builtin_frame_address(0), true);
    const struct thread *t = other_thread();
    REQUIRE(t->blocked == THREAD_HELD && t->parked == 0 && t->pending == 0);
    if (i == 2) atomic32_store_release(&wants_back, 1);
    if (i == 2) await(&phase, 2);
    for (int k = 0; k < 50; k++) {
      sched_yield();
      REQUIRE(atomic32_load_acquire(&left) == 0);
    }
    world_start();
    if (i < 2) REQUIRE(t->blocked == THREAD_BLOCKED);
  }
  pthread_join(id, NULL);
  REQUIRE(atomic32_load_acquire(&left) == 1);
}
END_TEST

/* ---- registration ---- */

static bool is_listed(const struct thread *t) {
  bool found = false;
  threads_lock();
  for (struct thread *k = threads_first(); k != NULL; k = threads_next(k)) found |= k == t;
  threads_unlock();
  return found;
}

static unsigned listed(void) {
  unsigned n = 0;
  threads_lock();
  for (struct thread *t = threads_first(); t != NULL; t = threads_next(t)) n++;
  threads_unlock();
  return n;
}

static void *check_own_record(void *arg) {
  struct thread *t = tl_thread;
  char local = 0;
  REQUIRE(t != NULL && t == thread_register_self() && is_listed(t));
  REQUIRE(t->state == THREAD_RUNNING && t->tid == os_thread_id() && t->defer == 0);
  REQUIRE(&local < t->stack_base && t->stack_base - &local < (ptrdiff_t)MIB);
  REQUIRE(t->start == check_own_record && t->start_arg == arg);
  return t;
}

static void *behind_our_back(void *unused) {
  (void)unused;
  REQUIRE(tl_thread == NULL);
  char *o = gc_alloc(40); /* registers */
  REQUIRE(o != NULL && tl_thread != NULL && is_listed(tl_thread) && tl_thread->cache == tl_cache);
  REQUIRE((char *)&o < tl_thread->stack_base);
  gc_collect();
  REQUIRE(gc_base(o) == o);
  return tl_thread;
}

START_TEST(registration) {
  pthread_t id;
  void *record;
  unsigned before = listed();
  REQUIRE(tl_thread != NULL && is_listed(tl_thread));
  for (int i = 0; i < 20; i++) {
    int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) =
        i % 2 ? real_pthread_create : pthread_create;
    REQUIRE(create(&id, NULL, i % 2 ? behind_our_back : check_own_record, &id) == 0);
    REQUIRE(pthread_join(id, &record) == 0);
    REQUIRE(record != NULL && listed() == before && !is_listed(record));
  }
}
END_TEST

static void *internal_body(void *arg) {
  sigset_t set;
  REQUIRE(tl_thread == NULL);
  real_pthread_sigmask(SIG_BLOCK, NULL, &set);
  /* All are blocked: the stop signal is never sent here, but the program may be sent one of its own. */
  REQUIRE(sigismember(&set, SIGTERM) == 1 && sigismember(&set, SIGUSR1) == 1);
  REQUIRE(sigismember(&set, world_signal()) == 1 && sigismember(&set, standin_signal()) == 1);
  thread_defer_stops(); /* means nothing here, and does no harm */
  thread_allow_stops();
  atomic32_store_release((atomic_u32 *)arg, 1);
  return NULL;
}

START_TEST(internal_threads_are_not_listed) {
  static atomic_u32 done;
  unsigned before = listed();
  REQUIRE(thread_start_internal(internal_body, (void *)(uintptr_t)&done) == 0);
  await(&done, 1);
  REQUIRE(listed() == before);
}
END_TEST

/* The stop signal cannot be blocked by blocking everything; the program sees it blocked. */
START_TEST(stop_signal_stays_deliverable) {
  sigset_t all, now;
  sigfillset(&all);
  REQUIRE(pthread_sigmask(SIG_SETMASK, &all, NULL) == 0 && sigprocmask(SIG_BLOCK, &all, NULL) == 0);
  REQUIRE(pthread_sigmask(SIG_BLOCK, NULL, &now) == 0);
  REQUIRE(sigismember(&now, world_signal()) == 1 && sigismember(&now, SIGUSR1) == 1);
  REQUIRE(real_pthread_sigmask(SIG_BLOCK, NULL, &now) == 0);
  REQUIRE(sigismember(&now, world_signal()) == 0 && sigismember(&now, standin_signal()) == 1);
}
END_TEST

/* ---- the gate ---- */

static atomic_u32 at_gate, inside;

static void *come_in(void *unused) {
  atomic32_store_release(&at_gate, 1);
  await(&phase, 1);
  atomic32_store_release(&at_gate, 2);
  thread_defer_stops();
  atomic32_store_release(&inside, 1);
  thread_allow_stops();
  return unused;
}

/* The thread waits outside, where it can be stopped; the one that closed the gate goes in and out. */
START_TEST(gate_keeps_others_out) {
  pthread_t id;
  start_thread(&id, come_in, NULL);
  await(&at_gate, 1);
  cycle_fork_lock();
  REQUIRE(!world_is_stopped() && thread_gate == 1);
  atomic32_store_release(&phase, 1);
  await(&at_gate, 2);
  for (int i = 0; i < 200; i++) {
    sched_yield();
    REQUIRE(atomic32_load_acquire(&inside) == 0);
    thread_defer_stops();
    thread_allow_stops();
  }
  cycle_fork_unlock();
  REQUIRE(thread_gate == 0);
  pthread_join(id, NULL);
  REQUIRE(atomic32_load_acquire(&inside) == 1);
}
END_TEST

START_TEST(stopped_at_the_gate) {
  pthread_t id;
  start_thread(&id, come_in, NULL);
  await(&at_gate, 1);
  world_stop(__builtin_frame_address(0), true);
  threads_close_gate();
  world_start();
  atomic32_store_release(&phase, 1);
  await(&at_gate, 2);
  for (int i = 0; i < STOPS; i++) {
    world_stop(__builtin_frame_address(0), true);
    REQUIRE(atomic32_load_acquire(&inside) == 0);
    world_start();
  }
  threads_open_gate();
  pthread_join(id, NULL);
  REQUIRE(atomic32_load_acquire(&inside) == 1);
}
END_TEST

static void *allocate_on(void *arg) {
  void *volatile mine[64] = {NULL};
  for (size_t i = 0; atomic32_load_acquire(&finish) == 0; i++) {
    REQUIRE((mine[i % 64] = gc_alloc(16 + i % 3000)) != NULL);
    atomic_own_add(&counter[(uintptr_t)arg], 1);
  }
  return NULL;
}

/* Whatever the others were doing: the child has a whole heap, one thread, and can allocate and collect. */
static void in_child(void) {
  REQUIRE(thread_gate == 0 && listed() == 1 && tl_thread->tid == os_thread_id());
  REQUIRE_WHOLE();
  for (size_t i = 0; i < 2000; i++) REQUIRE(gc_alloc(16 + i % 3000) != NULL);
  gc_collect();
  REQUIRE_WHOLE();
}

START_TEST(forks_beside_allocating_threads) {
  pthread_t id[2];
  options.background = 0;
#ifdef __SANITIZE_ADDRESS__
  options.markers =
      1; /* the sanitizer's list of threads is locked while one starts, for ever in the child of that moment */
#endif
  for (uintptr_t i = 0; i < 2; i++) start_thread(&id[i], allocate_on, (void *)i);
  for (int n = 0; n < 10; n++) {
    uint64_t before = atomic_load_relaxed(&counter[n % 2]);
    while (atomic_load_relaxed(&counter[n % 2]) < before + 100) sched_yield();
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
      in_child();
      _exit(42);
    }
    REQUIRE(child > 0 && waitpid(child, &status, 0) == child);
    REQUIRE_MSG(WIFEXITED(status) && WEXITSTATUS(status) == 42, "child %d: status %x", n, (unsigned)status);
  }
  atomic32_store_release(&finish, 1);
  for (int i = 0; i < 2; i++) pthread_join(id[i], NULL);
  cycle_keep_out(); /* one may go on beside the program */
  REQUIRE_WHOLE();
  cycle_let_in();
}
END_TEST

int main(void) {
  Suite *s = suite_create("world");
  TCase *tc = suite_case(s, "stop");
  tcase_add_test(tc, counters_stand_still);
  tcase_add_loop_test(tc, deferred_threads_run_on, 1, 4);
  tcase_add_test(tc, blocked_threads_are_held);
  tc = suite_case(s, "threads");
  tcase_add_test(tc, registration);
  tcase_add_test(tc, internal_threads_are_not_listed);
  tcase_add_test(tc, stop_signal_stays_deliverable);
  tc = suite_case(s, "fork");
  tcase_add_test(tc, gate_keeps_others_out);
  tcase_add_test(tc, stopped_at_the_gate);
  tcase_add_test(tc, forks_beside_allocating_threads);
  return suite_main(s);
}
