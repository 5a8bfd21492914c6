/* test_signals.c - collections and the program's own signals: handlers on either stack, threads that
 * wait for signals. System calls that collections interrupt are in test_blocked.c. */
#include <sys/mman.h>

#include "gc_stats.h"
#include "park.h"

static struct park park;

/* -- inside a handler: the only reference lies on one of the two stacks -- */
static atomic_bool on_handler_stack;

static NOINLINE void spin(void) {
  park.held = NULL; /* in its place now */
  atomic_store(&park.ready_word, 1);
  while (atomic_load(&park.go_word) == 0) sched_yield();
}

static void handler(int sig) {
  volatile uintptr_t held[8] = {(uintptr_t)sig};
  if (atomic_load(&on_handler_stack)) held[3] = (uintptr_t)reveal(park.head);
  spin();
  held[3] += held[0]; /* a use: the word lives to here */
}

static void install(int flags) {
  struct sigaction a = {0};
  a.sa_handler = handler;
  a.sa_flags = flags;
  sigemptyset(&a.sa_mask);
  REQUIRE(sigaction(SIGUSR1, &a, NULL) == 0);
}

static void use_altstack(void) {
  const size_t size = 128 * 1024;
  stack_t s = {0};
  s.ss_sp = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  s.ss_size = size;
  REQUIRE(s.ss_sp != MAP_FAILED && sigaltstack(&s, NULL) == 0);
}

static NOINLINE void raise_holding(void *held) {
  root here = held;
  REQUIRE(raise(SIGUSR1) == 0);
  gc_use(here);
}

static void hold_below_handler(struct park *p) { raise_holding(reveal(p->head)); }

static void hold_in_handler(struct park *p) {
  (void)p;
  scrub_stack();
  REQUIRE(raise(SIGUSR1) == 0);
}

static void hold_below_handler_altstack(struct park *p) {
  use_altstack();
  hold_below_handler(p);
}

static void hold_in_handler_altstack(struct park *p) {
  use_altstack();
  hold_in_handler(p);
}

static void check_handler(void (*hold)(struct park *), bool in_handler, int flags) {
  pthread_t t;
  atomic_store(&on_handler_stack, in_handler);
  install(flags);
  park_start(&park, &t, hold);
  while (atomic_load(&park.ready_word) == 0) sched_yield();
  collect_hard();
  REQUIRE_MSG(chain_ok(park.head, park.tag), "the chain was freed or overwritten");
  park_go(&park);
  REQUIRE(pthread_join(t, NULL) == 0);
}

START_TEST(below_handler_same_stack) { check_handler(hold_below_handler, false, 0); }
END_TEST
START_TEST(in_handler_same_stack) { check_handler(hold_in_handler, true, 0); }
END_TEST
START_TEST(below_handler_altstack) { check_handler(hold_below_handler_altstack, false, SA_ONSTACK); }
END_TEST
START_TEST(in_handler_altstack) { check_handler(hold_in_handler_altstack, true, SA_ONSTACK); }
END_TEST

/* The main thread on its signal stack, collected by another. */
static void *collect_then_go(void *unused) {
  while (atomic_load(&park.ready_word) == 0) sched_yield();
  collect_hard();
  REQUIRE_MSG(chain_ok(park.head, 77), "the chain was freed or overwritten");
  atomic_store(&park.go_word, 1);
  return unused;
}

static NOINLINE void make_main_chain(void) { park.head = chain_new(77, &park.held); }

START_TEST(main_thread_on_altstack) {
  pthread_t t;
  atomic_store(&on_handler_stack, _i == 0);
  use_altstack();
  install(SA_ONSTACK);
  make_main_chain();
  REQUIRE(pthread_create(&t, NULL, collect_then_go, NULL) == 0);
  if (_i == 0)
    hold_in_handler(&park);
  else
    hold_below_handler(&park);
  REQUIRE(pthread_join(t, NULL) == 0);
}
END_TEST

/* -- a storm of the program's own signals over allocating threads -- */
static atomic_bool stop;
static atomic_uint handled;

static void count_signal(int sig) { atomic_fetch_add(&handled, sig == SIGUSR2); }

static void *allocate_until_stop(void *arg) {
  const uint64_t tag = (uint64_t)(uintptr_t)arg;
  while (!atomic_load(&stop)) {
    root held;
    hidden h = chain_new(tag, &held);
    refill(50, sizeof(struct link));
    REQUIRE_MSG(chain_ok(h, tag), "thread %" PRIu64, tag);
    gc_use(held);
  }
  return NULL;
}

START_TEST(signal_storm) {
  enum { THREADS = 4 };
  pthread_t t[THREADS];
  struct sigaction a = {0};
  a.sa_handler = count_signal;
  sigfillset(&a.sa_mask); /* blocks the stop signal, too, while the handler runs */
  REQUIRE(sigaction(SIGUSR2, &a, NULL) == 0);
  for (size_t i = 0; i < THREADS; i++)
    REQUIRE(pthread_create(&t[i], NULL, allocate_until_stop, (void *)(uintptr_t)(i + 1)) == 0);
  for (int i = 0; i < 2000; i++) {
    REQUIRE(pthread_kill(t[i % THREADS], SIGUSR2) == 0);
    if (i % 20 == 0) gc_collect();
  }
  atomic_store(&stop, true);
  for (size_t i = 0; i < THREADS; i++) REQUIRE(pthread_join(t[i], NULL) == 0);
  REQUIRE(atomic_load(&handled) > 0);
}
END_TEST

/* -- the usual signal thread: blocks all, waits for all, and must see only what was sent to it -- */
static void *wait_for_usr1(void *out) {
  sigset_t all;
  sigfillset(&all);
  atomic_store(&park.ready_word, 1);
  return sigwait(&all, out) == 0 ? out : NULL;
}

START_TEST(sigwait_for_everything) {
  pthread_t t;
  sigset_t all, old;
  int got = 0;
  void *result;
  sigfillset(&all);
  REQUIRE(pthread_sigmask(SIG_BLOCK, &all, &old) == 0);
  REQUIRE(pthread_create(&t, NULL, wait_for_usr1, &got) == 0);
  while (atomic_load(&park.ready_word) == 0) sched_yield();
  collect_hard();
  REQUIRE(pthread_kill(t, SIGUSR1) == 0);
  REQUIRE(pthread_join(t, &result) == 0 && result == &got);
  REQUIRE_MSG(got == SIGUSR1, "sigwait took signal %d, which nobody sent for the program", got);
  REQUIRE(pthread_sigmask(SIG_SETMASK, &old, NULL) == 0);
}
END_TEST

/* The program sees the mask it set: what the library keeps open for itself is its own affair. */
START_TEST(mask_reads_back) {
  sigset_t set, old;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigaddset(&set, SIGTERM);
  REQUIRE(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
  gc_collect();
  REQUIRE(pthread_sigmask(SIG_BLOCK, NULL, &old) == 0);
  REQUIRE(sigismember(&old, SIGUSR1) == 1 && sigismember(&old, SIGTERM) == 1 && sigismember(&old, SIGUSR2) == 0);
  REQUIRE(sigismember(&set, SIGUSR1) == 1);
  REQUIRE(pthread_sigmask(-1, &set, NULL) == EINVAL);
}
END_TEST

int main(void) {
  Suite *s = suite_create("signals");
  TCase *tc = suite_case(s, "signals");
  tcase_add_test(tc, below_handler_same_stack);
  tcase_add_test(tc, in_handler_same_stack);
  tcase_add_test(tc, below_handler_altstack);
  tcase_add_test(tc, in_handler_altstack);
  tcase_add_loop_test(tc, main_thread_on_altstack, 0, 2);
  tcase_add_test(tc, signal_storm);
  tcase_add_test(tc, sigwait_for_everything);
  tcase_add_test(tc, mask_reads_back);
  return suite_main(s);
}
