/* test_births.c - threads that are born and die while collections run, in every way a thread can end.
 * Many alive at once: test_blocked.c. */
#include <dlfcn.h>

#include "beside.h"
#include "gc_stats.h"
#include "park.h"

static atomic_uint ended, checked;

/* What every short thread does: its argument is an object that nobody else holds. */
struct order {
  uint64_t tag;
  uint64_t body[6];
};

static struct order *order_new(uint64_t tag) {
  struct order *o = gc_alloc(sizeof *o);
  REQUIRE(o != NULL);
  o->tag = tag;
  pattern_fill(o->body, sizeof o->body, tag);
  return o;
}

static void order_do(const struct order *o) {
  REQUIRE_MSG(pattern_ok(o->body, sizeof o->body, o->tag), "the argument was freed before the thread ran");
  root held;
  hidden h = chain_new(o->tag, &held);
  refill(20, sizeof(struct order));
  REQUIRE(chain_ok(h, o->tag));
  gc_use(held);
  atomic_fetch_add(&checked, 1);
}

static void cleanup(void *o) {
  order_do(o);
  atomic_fetch_add(&ended, 1);
}

static void *by_return(void *o) {
  order_do(o);
  atomic_fetch_add(&ended, 1);
  return NULL;
}

static void *by_exit(void *o) {
  order_do(o);
  atomic_fetch_add(&ended, 1);
  pthread_exit(NULL);
}

static void *by_exit_with_cleanup(void *o) {
  pthread_cleanup_push(cleanup, o);
  order_do(o);
  pthread_exit(NULL);
  pthread_cleanup_pop(0);
}

static void *by_detach(void *o) {
  REQUIRE(pthread_detach(pthread_self()) == 0);
  return by_return(o);
}

static void *by_cancel(void *o) {
  pthread_cleanup_push(cleanup, o);
  for (;;) {
    order_do(o);
    pthread_testcancel();
  }
  pthread_cleanup_pop(0);
  return NULL;
}

static const struct end {
  void *(*body)(void *);
  bool detached, cancelled;
} ends[] = {
    {by_return, false, false}, {by_return, true, false}, {by_exit, false, false}, {by_exit_with_cleanup, false, false},
    {by_detach, true, false},  {by_cancel, false, true},
};
#define ENDS ((int)(sizeof ends / sizeof *ends))

static NOINLINE void start_one(pthread_t *t, const struct end *end, uint64_t tag) {
  pthread_attr_t attr;
  REQUIRE(pthread_attr_init(&attr) == 0);
  if (end->detached && end->body != by_detach)
    REQUIRE(pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED) == 0);
  REQUIRE(pthread_create(t, &attr, end->body, order_new(tag)) == 0);
  REQUIRE(pthread_attr_destroy(&attr) == 0);
}

/* Rounds of a few threads each, so that detached ones do not pile up. */
static void churn(const struct end *end, unsigned threads) {
  enum { AT_ONCE = 8 };
  pthread_t t[AT_ONCE];
  for (unsigned done = 0; done < threads; done += AT_ONCE) {
    for (unsigned i = 0; i < AT_ONCE; i++) start_one(&t[i], end, done + i);
    scrub_stack();
    for (unsigned i = 0; i < AT_ONCE && !end->detached; i++) {
      if (end->cancelled) REQUIRE(pthread_cancel(t[i]) == 0);
      void *result;
      REQUIRE(pthread_join(t[i], &result) == 0);
      REQUIRE(result == (end->cancelled ? PTHREAD_CANCELED : NULL));
    }
    while (end->detached && atomic_load(&ended) < done + AT_ONCE) sched_yield();
  }
}

/* A thread may be cancelled before its cleanup handler stands, so the count is exact for others only. */
START_TEST(born_and_dying) {
  enum { COUNT = 1200 };
  beside_begin(2000);
  churn(&ends[_i], COUNT);
  beside_end();
  REQUIRE(atomic_load(&ended) == COUNT || (ends[_i].cancelled && atomic_load(&ended) < COUNT));
  REQUIRE(ends[_i].cancelled || atomic_load(&checked) >= COUNT);
}
END_TEST

/* A thread that collects without a break must not keep others from being born and from dying. */
START_TEST(births_are_not_starved) {
  beside_begin(0);
  churn(&ends[0], 400);
  beside_end();
  REQUIRE(atomic_load(&ended) == 400);
}
END_TEST

/* After thousands of threads the heap is what it was: their caches came back. */
START_TEST(dead_threads_leave_nothing) {
  static struct gc_stats before, after;
  churn(&ends[0], 200);
  gc_release_memory();
  gc_read_stats(&before);
  churn(&ends[0], 2000);
  gc_release_memory();
  gc_read_stats(&after);
  REQUIRE_MSG(after.heap_inuse <= before.heap_inuse + (1 << 20), "heap_inuse %" PRIu64 " -> %" PRIu64,
              before.heap_inuse, after.heap_inuse);
  REQUIRE_MSG(after.gc_sys <= before.gc_sys + (1 << 20), "gc_sys %" PRIu64 " -> %" PRIu64, before.gc_sys, after.gc_sys);
}
END_TEST

/* -- the argument of a thread that has not run yet: its creator collects at once -- */
static void *check_argument(void *o) {
  order_do(o);
  return NULL;
}

static NOINLINE pthread_t start_with_argument(uint64_t tag) {
  pthread_t t;
  REQUIRE(pthread_create(&t, NULL, check_argument, order_new(tag)) == 0);
  return t;
}

START_TEST(argument_of_a_thread_not_yet_running) {
  cpu_set_t here;
  CPU_ZERO(&here);
  CPU_SET((size_t)sched_getcpu(), &here);
  /* On one processor the new thread usually waits until the collection stops its creator. */
  REQUIRE(sched_setaffinity(0, sizeof here, &here) == 0);
  for (uint64_t i = 0; i < 300; i++) {
    pthread_t t = start_with_argument(i);
    scrub_stack();
    gc_collect();
    refill(500, sizeof(struct order));
    REQUIRE(pthread_join(t, NULL) == 0);
  }
  REQUIRE(atomic_load(&checked) == 300);
}
END_TEST

/* -- what a thread returns belongs to whoever joins it, however late -- */
static atomic_int tid;

static void *return_chain(void *arg) {
  struct park *p = arg;
  root held;
  p->head = chain_new(9, &held);
  atomic_store(&tid, (int)gettid());
  return held;
}

static void *exit_with_chain(void *arg) { pthread_exit(return_chain(arg)); }

/* Waits until the kernel no longer lists the thread. */
static void await_end(void) {
  char path[64];
  while (atomic_load(&tid) == 0) sched_yield();
  snprintf(path, sizeof path, "/proc/self/task/%d", atomic_load(&tid));
  while (access(path, F_OK) == 0) sched_yield();
}

START_TEST(result_of_an_ended_thread) {
  static struct park p;
  void *result;
  pthread_t t;
  REQUIRE(pthread_create(&t, NULL, _i == 0 ? return_chain : exit_with_chain, &p) == 0);
  await_end();
  collect_hard();
  REQUIRE_MSG(chain_ok(p.head, 9), "freed before it was joined");
  REQUIRE(pthread_join(t, &result) == 0 && result == reveal(p.head));
  result = NULL;
}
END_TEST

/* -- destructors of keys run when the thread is half gone -- */
static pthread_key_t key;
static atomic_uint destroyed;

static void allocate_at_the_end(void *value) {
  uintptr_t rounds = *(uintptr_t *)value;
  root held;
  hidden h = chain_new(rounds, &held);
  refill(20, 64);
  REQUIRE(chain_ok(h, rounds));
  gc_use(held);
  atomic_fetch_add(&destroyed, 1);
  if (rounds > 1) {
    uintptr_t *next = gc_alloc(sizeof *next);
    REQUIRE(next != NULL);
    *next = rounds - 1;
    REQUIRE(pthread_setspecific(key, next) == 0);
  }
}

static void *set_key(void *unused) {
  uintptr_t *value = gc_alloc(sizeof *value);
  REQUIRE(value != NULL);
  *value = 3;
  REQUIRE(pthread_setspecific(key, value) == 0);
  return unused;
}

START_TEST(key_destructors_allocate) {
  beside_begin(2000);
  REQUIRE(pthread_key_create(&key, allocate_at_the_end) == 0);
  for (int i = 0; i < 300; i++) {
    pthread_t t;
    REQUIRE(pthread_create(&t, NULL, set_key, NULL) == 0 && pthread_join(t, NULL) == 0);
  }
  beside_end();
  REQUIRE(atomic_load(&destroyed) == 900);
}
END_TEST

/* -- a thread made behind the library's back registers itself with its first allocation -- */
typedef int create_fn(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

static create_fn *libc_create(void) {
  create_fn *create;
  void *libc = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
  REQUIRE(libc != NULL);
  void *found = dlsym(libc, "pthread_create");
  REQUIRE(found != NULL);
  memcpy(&create, &found, sizeof create);
  return create;
}

static void hold_on_stack(struct park *p) {
  root held = reveal(p->head);
  park_wait(p);
  gc_use(held);
}

START_TEST(thread_behind_our_back) {
  static struct park p;
  pthread_t t;
  p.hold = hold_on_stack;
  p.tag = 11;
  REQUIRE(sem_init(&p.ready, 0, 0) == 0 && sem_init(&p.go, 0, 0) == 0 && pipe(p.fd) == 0);
  REQUIRE(libc_create()(&t, NULL, park_main, &p) == 0);
  park_ready(&p);
  collect_hard();
  REQUIRE(chain_ok(p.head, p.tag));
  park_go(&p);
  REQUIRE(pthread_join(t, NULL) == 0);
  collect_hard();
}
END_TEST

START_TEST(threads_behind_our_back_die) {
  create_fn *create = libc_create();
  beside_begin(2000);
  for (uint64_t i = 0; i < 300; i++) {
    pthread_t t;
    root argument = order_new(i);
    REQUIRE(create(&t, NULL, check_argument, argument) == 0 && pthread_join(t, NULL) == 0);
  }
  beside_end();
  REQUIRE(atomic_load(&checked) == 300);
}
END_TEST

/* Threads that never allocate are stopped and scanned, too. */
static root only_in_main;

static void *never_allocates(void *arg) {
  struct park *p = arg;
  root held = only_in_main;
  only_in_main = NULL;
  park_wait(p);
  gc_use(held);
  return NULL;
}

START_TEST(thread_that_never_allocates) {
  static struct park p;
  pthread_t t;
  REQUIRE(sem_init(&p.ready, 0, 0) == 0 && sem_init(&p.go, 0, 0) == 0 && pipe(p.fd) == 0);
  p.head = chain_new(5, &only_in_main);
  REQUIRE(pthread_create(&t, NULL, never_allocates, &p) == 0);
  park_ready(&p);
  collect_hard();
  REQUIRE(chain_ok(p.head, 5));
  park_go(&p);
  REQUIRE(pthread_join(t, NULL) == 0);
}
END_TEST

int main(void) {
  Suite *s = suite_create("births");
  TCase *tc = suite_case(s, "births");
  tcase_add_loop_test(tc, born_and_dying, 0, ENDS);
  tcase_add_test(tc, births_are_not_starved);
  tcase_add_test(tc, dead_threads_leave_nothing);
  tcase_add_test(tc, argument_of_a_thread_not_yet_running);
  tcase_add_loop_test(tc, result_of_an_ended_thread, 0, 2);
  tcase_add_test(tc, key_destructors_allocate);
  tcase_add_test(tc, thread_behind_our_back);
  tcase_add_test(tc, threads_behind_our_back_die);
  tcase_add_test(tc, thread_that_never_allocates);
  return suite_main(s);
}
