/* test_fork.c - the child of a program with many threads has a working heap of its own. */
#include <sys/wait.h>

#include "beside.h"
#include "gc_stats.h"
#include "park.h"

enum { THREADS = 6, FORKS = 40 };

static atomic_bool stop;
static struct gc_stats stats;
static hidden before_fork;
static root keep;

/* In a child: no Check, whose reports belong to the parent. */
#define IN_CHILD(cond)                                                                        \
  do {                                                                                        \
    if (!(cond)) {                                                                            \
      dprintf(STDERR_FILENO, "child: %s:%d: does not hold: %s\n", __FILE__, __LINE__, #cond); \
      _exit(1);                                                                               \
    }                                                                                         \
  } while (0)

static void *allocate_until_stop(void *arg) {
  const uint64_t tag = 100 + (uintptr_t)arg;
  while (!atomic_load(&stop)) {
    root held;
    hidden h = chain_new(tag, &held);
    refill(100, 1 + (uintptr_t)arg * 100);
    REQUIRE(chain_ok(h, tag));
    gc_use(held);
  }
  return NULL;
}

static void await_child(pid_t pid) {
  int status;
  REQUIRE(pid > 0);
  REQUIRE(waitpid(pid, &status, 0) == pid);
  REQUIRE_MSG(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with status %x", (unsigned)status);
}

/* -- what a child does -- */
static NOINLINE void make_garbage(hidden *h, size_t n) {
  for (size_t i = 0; i < n; i++) {
    void *o = gc_alloc(100);
    IN_CHILD(o != NULL);
    h[i] = hide(o);
  }
}

static void child_collects(void) {
  enum { N = 2000 };
  static hidden garbage[N];
  IN_CHILD(chain_ok(before_fork, 1));
  make_garbage(garbage, N);
  scrub_stack();
  gc_collect();
  size_t gone = hidden_gone(garbage, N);
  IN_CHILD(gone * 100 >= N * 95);
  IN_CHILD(chain_ok(before_fork, 1));
  (void)gc_set_percent(20);
  for (int i = 0; i < 20; i++) {
    refill(500, 4000);
    root held;
    hidden h = chain_new(2, &held);
    refill(500, sizeof(struct link));
    IN_CHILD(chain_ok(h, 2));
    gc_use(held);
  }
  gc_read_stats(&stats);
  IN_CHILD(stats.heap_sys == stats.heap_idle + stats.heap_inuse);
  IN_CHILD(stats.heap_alloc <= stats.heap_inuse);
  gc_release_memory();
  IN_CHILD(chain_ok(before_fork, 1));
}

static void *short_thread(void *arg) {
  root held;
  hidden h = chain_new((uintptr_t)arg, &held);
  gc_collect();
  refill(200, sizeof(struct link));
  IN_CHILD(chain_ok(h, (uintptr_t)arg));
  gc_use(held);
  return NULL;
}

static void child_starts_threads(void) {
  pthread_t t[4];
  for (size_t i = 0; i < 4; i++) IN_CHILD(pthread_create(&t[i], NULL, short_thread, (void *)(uintptr_t)(i + 5)) == 0);
  for (size_t i = 0; i < 4; i++) IN_CHILD(pthread_join(t[i], NULL) == 0);
}

static void fork_once(bool threads) {
  pid_t pid = fork();
  if (pid == 0) {
    child_collects();
    if (threads) child_starts_threads();
    _exit(0);
  }
  await_child(pid);
  REQUIRE(chain_ok(before_fork, 1));
}

static void setup(void) { before_fork = chain_new(1, &keep); }

START_TEST(single_threaded) {
  setup();
  for (int i = 0; i < 5; i++) fork_once(i % 2 == 0);
  gc_collect();
  REQUIRE(chain_ok(before_fork, 1));
}
END_TEST

/* The forks hit the other threads anywhere: in a lock, in a refill, in a collection. */
static void *fork_from_here(void *unused) {
  for (int i = 0; i < FORKS; i++) fork_once(i % 4 == 0);
  return unused;
}

static void fork_beside_threads(bool from_main) {
  pthread_t t[THREADS], f;
  setup();
  for (size_t i = 0; i < THREADS; i++)
    REQUIRE(pthread_create(&t[i], NULL, allocate_until_stop, (void *)(uintptr_t)i) == 0);
  beside_begin(2000); /* as programs do; that a thread that only collects starves nobody is tested in births */
  if (from_main)
    fork_from_here(NULL);
  else
    REQUIRE(pthread_create(&f, NULL, fork_from_here, NULL) == 0 && pthread_join(f, NULL) == 0);
  atomic_store(&stop, true);
  for (size_t i = 0; i < THREADS; i++) REQUIRE(pthread_join(t[i], NULL) == 0);
  beside_end();
}

START_TEST(from_main_beside_threads) { fork_beside_threads(true); }
END_TEST
START_TEST(from_a_thread_beside_threads) { fork_beside_threads(false); }
END_TEST

/* The parent's write tracking goes on: changes made after a fork are seen by its collections. */
START_TEST(parent_goes_on) {
  enum { N = 5000 };
  root *table = gc_calloc(N, sizeof *table);
  struct rng r = {suite_seed()};
  REQUIRE(table != NULL);
  setup();
  for (int round = 0; round < 10; round++) {
    fork_once(false);
    for (int i = 0; i < 20000; i++) {
      size_t k = rng_below(&r, N);
      REQUIRE(table[k] == NULL || pattern_ok(table[k], 200, k));
      table[k] = gc_alloc(200);
      REQUIRE(table[k] != NULL);
      pattern_fill(table[k], 200, k);
    }
  }
}
END_TEST

/* A child of a child of a child. */
START_TEST(generations) {
  setup();
  for (int depth = 0; depth < 5; depth++) {
    pid_t pid = fork();
    if (pid != 0) {
      int status;
      if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        if (depth > 0) _exit(1);
        ck_abort_msg("a descendant failed");
      }
      if (depth > 0) _exit(0);
      return;
    }
    child_collects();
    child_starts_threads();
  }
  _exit(0);
}
END_TEST

int main(void) {
  Suite *s = suite_create("fork");
  TCase *tc = suite_case(s, "fork");
  tcase_add_test(tc, single_threaded);
  tcase_add_test(tc, from_main_beside_threads);
  tcase_add_test(tc, from_a_thread_beside_threads);
  tcase_add_test(tc, parent_goes_on);
  tcase_add_test(tc, generations);
  return suite_main(s);
}
