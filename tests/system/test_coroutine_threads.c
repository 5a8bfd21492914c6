/* test_coroutine_threads.c - coroutines that threads take turns on, that come and go beside cycles, and that a fork finds running; what
 * their calls refuse. What a stack holds: test_coroutines.c. */
#include "beside.h"
#include "cases.h"
#include "coroutine.h"
#include "misuse.h"

/* -- threads take turns on coroutines, beside cycles -- */
enum { COROUTINES = 12, RUNNERS = 3, VISITS = 4000, HOLDS = 8 };
static struct {
  pthread_mutex_t mutex;
  struct coroutine *queue[COROUTINES];
  size_t first, count;
  unsigned long visits;
} ready = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static struct coroutine *take_ready(void) {
  pthread_mutex_lock(&ready.mutex);
  struct coroutine *c = ready.count != 0 ? ready.queue[ready.first] : NULL;
  if (c != NULL) {
    ready.first = (ready.first + 1) % COROUTINES;
    ready.count--;
    ready.visits++;
  }
  pthread_mutex_unlock(&ready.mutex);
  return c;
}

static void put_ready(struct coroutine *c) {
  pthread_mutex_lock(&ready.mutex);
  ready.queue[(ready.first + ready.count++) % COROUTINES] = c;
  pthread_mutex_unlock(&ready.mutex);
}

static bool enough_visits(void) {
  pthread_mutex_lock(&ready.mutex);
  bool enough = ready.visits > VISITS * suite_scale() && beside_cycles() > 5;
  pthread_mutex_unlock(&ready.mutex);
  return enough;
}

/* At a depth that changes, objects in frames; one of them is made anew each time. */
static NOINLINE void deeper(struct coroutine *c, size_t depth, root from_above) {
  root held[HOLDS];
  for (uint64_t i = 0; i < HOLDS; i++) {
    held[i] = gc_alloc(40 + i * 8);
    REQUIRE(held[i] != NULL);
    pattern_fill(held[i], 40 + i * 8, c->tag + i);
  }
  for (int turn = 0; turn < 5; turn++) {
    come_back(c);
    size_t k = rng_below(&c->rng, HOLDS);
    for (uint64_t i = 0; i < HOLDS; i++)
      REQUIRE_MSG(gc_base(held[i]) == held[i] && pattern_ok(held[i], 40 + i * 8, c->tag + i), "lost");
    held[k] = gc_alloc(40 + k * 8);
    pattern_fill(held[k], 40 + k * 8, c->tag + k);
    if (depth > 0 && turn == 2) deeper(c, depth - 1, held[k]);
  }
  if (from_above != NULL) REQUIRE(gc_base(from_above) == from_above);
}

static void wander(struct coroutine *c) {
  c->rng.state = suite_seed() + c->tag;
  while (!enough_visits()) deeper(c, rng_below(&c->rng, 12), NULL);
}

static void *visit_coroutines(void *seed) {
  struct moves own;
  moves_init(&own, suite_seed() + (uintptr_t)seed);
  size_t over = 0;
  while (!enough_visits() || over < 100) {
    struct coroutine *c = take_ready();
    if (c != NULL && !c->over) go_on(c);
    if (c != NULL) put_ready(c);
    moves_run(&own, 5);
    over += enough_visits();
  }
  moves_check(&own);
  free(own.tag);
  return NULL;
}

static void threads_take_turns(void) {
  pthread_t t[RUNNERS];
  for (uint64_t i = 0; i < COROUTINES; i++) {
    struct coroutine *c = coroutine_new(wander, NULL, MIB);
    c->tag = i * 100;
    put_ready(c);
  }
  beside_begin(1000);
  for (uintptr_t i = 0; i < RUNNERS; i++) REQUIRE(pthread_create(&t[i], NULL, visit_coroutines, (void *)i) == 0);
  for (int i = 0; i < RUNNERS; i++) REQUIRE(pthread_join(t[i], NULL) == 0);
  beside_end();
  printf("%lu visits, %lu cycles", ready.visits, beside_cycles());
}

/* Born, run once and gone, beside cycles: registration is what changes. */
static void hold_once(struct coroutine *c) {
  root held;
  hidden h = chain_new(c->tag, &held);
  come_back(c);
  REQUIRE(chain_ok(h, c->tag));
  gc_use(held);
}

static void come_and_go(void) {
  beside_begin(200);
  for (uint64_t i = 0; i < 400 * suite_scale(); i++) {
    struct coroutine *c = started(hold_once, 128 * KIB, i);
    if (i % 16 == 0) beside_await(1);
    go_on(c);
    coroutine_delete(c);
  }
  beside_end();
}

static atomic_int stage;

/* In the child of a fork what another thread ran on is empty, and the rest goes on. */
static void spin_in_body(struct coroutine *c) {
  root held;
  c->head = chain_new(c->tag, &held);
  atomic_store(&stage, 1);
  while (atomic_load(&stage) == 1) sched_yield();
  REQUIRE(chain_ok(c->head, c->tag));
  gc_use(held);
}
static void *run_coroutine(void *c) {
  go_on(c);
  return NULL;
}

static void forks(void) {
  struct coroutine *mine = started(make_and_hold, 256 * KIB, 20),
                   *theirs = coroutine_new(spin_in_body, NULL, 256 * KIB);
  pthread_t t;
  int status;
  theirs->tag = 21;
  REQUIRE(pthread_create(&t, NULL, run_coroutine, theirs) == 0);
  while (atomic_load(&stage) != 1) sched_yield();
  pid_t pid = fork();
  if (pid == 0) {
    collect_hard();
    REQUIRE(chain_ok(mine->head, 20) && !chain_ok(theirs->head, 21));
    go_on(mine);
    coroutine_delete(theirs);
    coroutine_delete(mine);
    _exit(0);
  }
  REQUIRE(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  collect_hard();
  atomic_store(&stage, 2);
  REQUIRE(pthread_join(t, NULL) == 0);
}

/* -- arguments and misuse -- */
START_TEST(arguments) {
  char memory[4096];
  errno = 0;
  gc_stack *s = gc_stack_register(memory, memory);
  REQUIRE(s == NULL && errno == EINVAL);
  s = gc_stack_register(memory + 100, memory);
  REQUIRE(s == NULL && errno == EINVAL);
  gc_stack_unregister(NULL);
  gc_stack_switch(NULL);
  s = gc_stack_register(memory, memory + sizeof memory);
  REQUIRE(s != NULL);
  gc_stack_unregister(s);
  gc_stack *again = gc_stack_register(memory, memory + sizeof memory);
  REQUIRE(again == s); /* records are used again */
  gc_stack_unregister(again);
}
END_TEST

static char other_memory[256 * 1024];
static gc_stack *a_stack(void) {
  gc_stack *s = gc_stack_register(other_memory, other_memory + sizeof other_memory);
  REQUIRE(s != NULL);
  return s;
}
static void switch_foreign(void) { gc_stack_switch((gc_stack *)(void *)other_memory); }
static void switch_inside(void) { gc_stack_switch((gc_stack *)(void *)((char *)a_stack() + 8)); }
static void switch_gone(void) {
  gc_stack *s = a_stack();
  gc_stack_unregister(s);
  gc_stack_switch(s);
}
static void unregister_twice(void) {
  gc_stack *s = a_stack();
  gc_stack_unregister(s);
  gc_stack_unregister(s);
}
static void unregister_foreign(void) { gc_stack_unregister((gc_stack *)(void *)other_memory); }
static void unregister_in_use(void) {
  gc_stack *s = a_stack();
  gc_stack_switch(s);
  gc_stack_unregister(s);
}
static void *switch_to(void *s) {
  gc_stack_switch(s);
  return NULL;
}
static void two_threads_on_one(void) {
  gc_stack *s = a_stack();
  pthread_t t;
  gc_stack_switch(s);
  REQUIRE(pthread_create(&t, NULL, switch_to, s) == 0);
  (void)pthread_join(t, NULL);
}

START_TEST(misuse) {
  require_misuse(switch_foreign, "gc_stack_switch: ");
  require_misuse(switch_inside, "is not a registered stack");
  require_misuse(switch_gone, "is not a registered stack");
  require_misuse(unregister_twice, "gc_stack_unregister: ");
  require_misuse(unregister_foreign, "is not a registered stack");
  require_misuse(unregister_in_use, "a thread runs on the stack");
  require_misuse(two_threads_on_one, "another thread runs on the stack");
}
END_TEST

/* A thread that ends on a stack leaves it empty; it can be unregistered, or entered by another thread. */
START_TEST(thread_ends_on_a_stack) {
  gc_stack *s = a_stack();
  pthread_t t;
  for (int i = 0; i < 3; i++) REQUIRE(pthread_create(&t, NULL, switch_to, s) == 0 && pthread_join(t, NULL) == 0);
  gc_collect();
  gc_stack_unregister(s);
}
END_TEST

static const struct test_case cases[] = {
    {"threads_take_turns", threads_take_turns, NULL},
    {"come_and_go", come_and_go, NULL},
    {"forks", forks, NULL},
};

int main(int argc, char **argv) {
  int status = cases_run(argc, argv, CASES(cases));
  if (status >= 0) return status;
  Suite *s = suite_create("coroutine_threads");
  TCase *tc = suite_case(s, "coroutine_threads");
  tcase_add_test(tc, arguments);
  tcase_add_test(tc, misuse);
  tcase_add_test(tc, thread_ends_on_a_stack);
  cases_add(s);
  return suite_main(s);
}
