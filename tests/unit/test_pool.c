/* test_pool.c - gc/pool.h: markers exchange work, each word is taken once, and all end when nothing is left. */
#include "unit.h"

#include "gc/pool.h"

enum { MOST = 6, DEPTH = 14, STACK = 4096 };

/* A word of work stands for a tree: depth d has two subtrees of depth d - 1. So the total is known. */
static atomic_word done, exchanged;

struct worker {
  pthread_t id;
  uintptr_t stack[STACK];
  size_t top;
};
static struct worker workers[MOST];

static void share(struct worker *w) {
  size_t n = pool_put(w->stack, w->top / 2);
  memmove(w->stack, w->stack + n, (w->top - n) * sizeof w->stack[0]);
  w->top -= n;
  atomic_add(&exchanged, n);
}

static void work(struct worker *w) {
  while (w->top > 0) {
    uintptr_t depth = w->stack[--w->top];
    atomic_add(&done, 1);
    for (int i = 0; i < 2 && depth > 1; i++) w->stack[w->top++] = depth - 1;
    REQUIRE(w->top < STACK);
    if (w->top >= 2 && pool_is_hungry()) share(w);
  }
}

static void *worker_body(void *arg) {
  struct worker *w = arg;
  work(w);
  while ((w->top = pool_take(w->stack, 16)) != 0) work(w);
  return NULL;
}

/* Only worker 0 has work at first; the rest come hungry. */
START_TEST(all_work_is_done_once) {
  unsigned n = (unsigned)_i;
  for (int round = 0; round < 10; round++) {
    pool_begin(n);
    atomic_store_relaxed(&done, 0);
    workers[0].stack[0] = DEPTH;
    workers[0].top = 1;
    for (unsigned i = 0; i < n; i++) start_thread(&workers[i].id, worker_body, &workers[i]);
    for (unsigned i = 0; i < n; i++) pthread_join(workers[i].id, NULL);
    REQUIRE_MSG(atomic_load_relaxed(&done) == ((uint64_t)1 << DEPTH) - 1, "round %d: %lu", round, (unsigned long)done);
  }
}
END_TEST

/* With a worker that is certain to wait before the first word is put, words do change hands. */
static void *take_and_count(void *taken) {
  uintptr_t word[8];
  for (size_t n; (n = pool_take(word, 8)) != 0;)
    for (size_t i = 0; i < n; i++) {
      REQUIRE(word[i] >= 1 && word[i] <= 100);
      atomic_add(taken, word[i]);
    }
  return NULL;
}

START_TEST(a_waiting_worker_gets_work) {
  pthread_t id;
  atomic_word taken = 0;
  uintptr_t words[100], own[8];
  for (uintptr_t i = 0; i < 100; i++) words[i] = i + 1;
  pool_begin(2);
  start_thread(&id, take_and_count, (void *)(uintptr_t)&taken);
  while (!pool_is_hungry()) sched_yield();
  REQUIRE(pool_put(words, 100) == 100);
  REQUIRE(!pool_is_hungry() || taken > 0);
  uint64_t mine = 0;
  for (size_t n; (n = pool_take(own, 8)) != 0;)
    for (size_t i = 0; i < n; i++) mine += own[i];
  pthread_join(id, NULL);
  REQUIRE(mine + taken == 5050);
}
END_TEST

START_TEST(alone) {
  uintptr_t in[1500], out[1500];
  for (size_t i = 0; i < 1500; i++) in[i] = i;
  pool_begin(1);
  REQUIRE(!pool_is_hungry());
  size_t taken_over = pool_put(in, 1500);
  REQUIRE(taken_over >= 256 && taken_over < 1500); /* it is small, and says so */
  REQUIRE(pool_put(in, 10) == 0);
  size_t n = pool_take(out, 100);
  REQUIRE(n == 100 && pool_put(in, 10) == 10);
  size_t rest = 0;
  while ((n = pool_take(out, 300)) != 0) rest += n;
  REQUIRE(rest == taken_over - 100 + 10);
}
END_TEST

int main(void) {
  Suite *s = suite_create("pool");
  TCase *tc = suite_case(s, "pool");
  tcase_set_timeout(tc, 60); /* a lost marker hangs */
  tcase_add_loop_test(tc, all_work_is_done_once, 1, MOST + 1);
  tcase_add_test(tc, a_waiting_worker_gets_work);
  tcase_add_test(tc, alone);
  return suite_main(s);
}
