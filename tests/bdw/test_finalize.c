/* test_finalize.c - finalizers of the drop-in, in cycles of both kinds.
 * Strict: never for a reachable object, never twice, never out of order. Not strict: that an unreachable object is found (hidden.h). */
#include "hidden.h"

#include <setjmp.h>

enum { N = 500, BODY = 6, THREADS = 4 };

struct thing {
  struct thing *to;
  uint64_t i, body[BODY];
};

typedef void register_function(void *obj, GC_finalization_proc fn, void *cd, GC_finalization_proc *ofn, void **ocd);
static register_function *const kinds[] = {GC_register_finalizer, GC_register_finalizer_ignore_self,
                                           GC_register_finalizer_no_order, GC_register_finalizer_unreachable};

static struct thing **held;     /* in the heap, or NULL */
static atomic_uint runs[2 * N]; /* by thing */
static atomic_uint depth, deepest, total;
static pthread_t runner;

static NOINLINE struct thing *thing_new(uint64_t i) {
  struct thing *t = GC_MALLOC(sizeof *t);
  REQUIRE(t != NULL);
  t->i = i;
  fill(t->body, BODY, i);
  return t;
}

static void check(const struct thing *t) {
  REQUIRE_MSG(t->i < 2 * N && is_filled(t->body, BODY, t->i), "a thing was freed or overwritten");
}

/* The client data: NULL, or a thing of the same number, held by nobody else. */
static void on_end(void *obj, void *cd) {
  struct thing *t = obj;
  unsigned d = atomic_fetch_add(&depth, 1) + 1;
  if (d > atomic_load(&deepest)) atomic_store(&deepest, d);
  check(t);
  if (t->to != NULL) check(t->to);
  if (cd != NULL) check(cd);
  REQUIRE_MSG(cd == NULL || ((struct thing *)cd)->i == t->i, "another's client data");
  REQUIRE_MSG(held == NULL || held[t->i] != t, "an object that is held was finalized");
  runner = pthread_self();
  atomic_fetch_add(&runs[t->i], 1);
  atomic_fetch_add(&total, 1);
  atomic_fetch_sub(&depth, 1);
}

static size_t ran(size_t from, size_t to, unsigned times) {
  size_t n = 0;
  for (size_t i = from; i < to; i++) {
    REQUIRE_MSG(atomic_load(&runs[i]) <= times, "thing %zu was finalized %u times", i, atomic_load(&runs[i]));
    n += atomic_load(&runs[i]) == times;
  }
  return n;
}

static void hold_some(void) {
  held = GC_MALLOC_UNCOLLECTABLE(2 * N * sizeof *held);
  REQUIRE(held != NULL);
}

/* -- once, with its data, while it is whole -- */
static NOINLINE void register_each(void) {
  for (size_t i = 0; i < N; i++) {
    struct thing *t = thing_new(i);
    t->to = thing_new(i);
    kinds[i % 4](t, on_end, i % 3 == 0 ? thing_new(i) : NULL, NULL, NULL);
    if (i >= N / 2) held[i] = t;
  }
}

static void once_each(void) {
  GC_INIT();
  hold_some();
  register_each();
  collect();
  REQUIRE_MOSTLY(ran(0, N / 2, 1), (size_t)N / 2);
  REQUIRE(ran(N / 2, N, 0) == N / 2);
  memset((void *)held, 0, N * sizeof *held);
  collect();
  collect();
  REQUIRE_MOSTLY(ran(0, N, 1), (size_t)N);
}

/* -- the old one comes back -- */
static void other_end(void *obj, void *cd) {
  (void)obj, (void)cd;
  REQUIRE_MSG(false, "a finalizer ran that was replaced, or removed");
}

static NOINLINE void exchange(register_function *f, uint64_t i) {
  GC_finalization_proc fn = other_end;
  void *cd = &fn;
  struct thing *t = thing_new(i);
  f(t, other_end, t, &fn, &cd);
  REQUIRE(fn == NULL && cd == NULL);
  f(t, on_end, NULL, &fn, &cd);
  REQUIRE(fn == other_end && cd == t);
  f(t, other_end, &fn, NULL, NULL);
  f(t, NULL, &cd, &fn, &cd);
  REQUIRE(fn == other_end && cd == &fn);
  f(t, NULL, NULL, &fn, &cd);
  REQUIRE(fn == NULL && cd == NULL);
  f(t, i % 2 == 0 ? on_end : NULL, NULL, NULL, NULL);
}

static NOINLINE void exchange_all(void) {
  for (size_t i = 0; i < N; i++) exchange(kinds[i / 2 % 4], i);
}

static void old_ones_return(void) {
  static struct thing not_of_the_heap;
  GC_INIT();
  for (int k = 0; k < 4; k++) {
    struct thing *volatile none = NULL;
    GC_finalization_proc fn = other_end;
    void *cd = &fn;
    kinds[k](&not_of_the_heap, other_end, NULL, &fn, &cd);
    REQUIRE(fn == NULL && cd == NULL);
    fn = other_end;
    kinds[k](none, other_end, NULL, &fn, NULL);
    REQUIRE(fn == NULL);
  }
  exchange_all();
  collect();
  size_t n = 0;
  for (size_t i = 0; i < N; i++) {
    REQUIRE(atomic_load(&runs[i]) <= (i % 2 == 0));
    n += atomic_load(&runs[i]);
  }
  REQUIRE_MOSTLY(n, (size_t)N / 2);
}

/* -- order -- */

/* Chains of three; kind says how each is registered. */
static NOINLINE void make_chains(const int kind[3], size_t chains) {
  for (size_t i = 0; i < chains; i++) {
    struct thing *a = thing_new(3 * i), *b = thing_new(3 * i + 1), *c = thing_new(3 * i + 2);
    a->to = b;
    b->to = c;
    kinds[kind[0]](a, on_end, NULL, NULL, NULL);
    kinds[kind[1]](b, on_end, NULL, NULL, NULL);
    kinds[kind[2]](c, on_end, NULL, NULL, NULL);
  }
}

enum { ORDERED, IGNORE_SELF, NO_ORDER, UNREACHABLE, CHAINS = N / 3 };

static size_t ran_of(size_t place) {
  size_t n = 0;
  for (size_t i = 0; i < CHAINS; i++) {
    REQUIRE(atomic_load(&runs[3 * i + place]) <= 1);
    n += atomic_load(&runs[3 * i + place]);
  }
  return n;
}

static void require_order(const char *who, const int kind[3], const int turn[3]) {
  memset((void *)runs, 0, sizeof runs);
  GC_disable(); /* no collection but those that are counted */
  make_chains(kind, CHAINS);
  GC_enable();
  for (int t = 1; t <= 3; t++) {
    collect();
    for (size_t place = 0; place < 3; place++) {
      size_t n = ran_of(place);
      REQUIRE_MSG(turn[place] <= t ? n * 100 >= CHAINS * 95 : n == 0, "%s: after %d collections %zu of %d at place %zu",
                  who, t, n, CHAINS, place);
    }
    scrub_stack();
  }
}

static void turns_come_in_order(void) {
  GC_INIT();
  require_order("ordered", (int[]){ORDERED, ORDERED, ORDERED}, (int[]){1, 2, 3});
  require_order("ignoring self", (int[]){IGNORE_SELF, IGNORE_SELF, ORDERED}, (int[]){1, 2, 3});
  require_order("no order", (int[]){NO_ORDER, NO_ORDER, NO_ORDER}, (int[]){1, 1, 1});
  require_order("no order behind an ordered one", (int[]){ORDERED, NO_ORDER, NO_ORDER}, (int[]){1, 2, 2});
  require_order("unreachable", (int[]){NO_ORDER, UNREACHABLE, UNREACHABLE}, (int[]){1, 2, 3});
  require_order("unreachable behind one that waits", (int[]){ORDERED, NO_ORDER, UNREACHABLE}, (int[]){1, 2, 3});
}

static void without_java(void) {
  GC_INIT();
  REQUIRE(GC_get_java_finalization() == 1);
  GC_set_java_finalization(0);
  require_order("unreachable is plain", (int[]){NO_ORDER, UNREACHABLE, NO_ORDER}, (int[]){1, 1, 2});
}

/* -- cycles, of one and two; data that lead back -- */
static NOINLINE void make_cycles(size_t n) {
  for (size_t i = 0; i < n; i++) {
    struct thing *a = thing_new(2 * i), *b = thing_new(2 * i + 1);
    unsigned how = (unsigned)(i % 6);
    a->to = how < 3 ? b : a;
    b->to = how < 3 ? a : NULL;
    kinds[how % 3](a, on_end, NULL, NULL, NULL);
    if (how < 3) kinds[how](b, on_end, NULL, NULL, NULL);
  }
}

static NOINLINE void make_returning_data(size_t n) {
  for (size_t i = 0; i < n; i++) {
    struct thing *t = thing_new(i);
    kinds[i % 4](t, on_end, t, NULL, NULL);
  }
}

static void quiet(char *message, GC_word arg) { (void)message, (void)arg; }

static void cycles_stay(void) {
  GC_INIT();
  GC_set_warn_proc(quiet);
  make_cycles(N);
  for (int i = 0; i < 4; i++) collect();
  size_t one = 0, two = 0;
  for (size_t i = 0; i < N; i++) {
    unsigned how = (unsigned)(i % 6), a = atomic_load(&runs[2 * i]), b = atomic_load(&runs[2 * i + 1]);
    bool may = how == 2 || how == 4 || how == 5;
    REQUIRE_MSG(a <= may && b <= (how == 2), "%u of kind %u ran %u and %u times", (unsigned)i, how, a, b);
    one += how >= 4 ? a : 0;
    two += how == 2 ? a + b : 0;
  }
  REQUIRE_MOSTLY(one, (size_t)N / 6 * 2);
  REQUIRE_MOSTLY(two, (size_t)(N + 3) / 6 * 2);
}

static void data_are_reachable(void) {
  GC_INIT();
  GC_set_warn_proc(quiet);
  make_returning_data(N);
  for (int i = 0; i < 3; i++) collect();
  REQUIRE(ran(0, N, 0) == N);
}

/* -- back to life -- */
static struct thing *saved[N];

static void save(void *obj, void *cd) {
  struct thing *t = obj;
  on_end(obj, NULL);
  saved[t->i] = t;
  if (cd != NULL) GC_register_finalizer_no_order(t, on_end, NULL, NULL, NULL);
}

static NOINLINE void make_savers(void) {
  static char again;
  for (size_t i = 0; i < N; i++) {
    struct thing *t = thing_new(i);
    t->to = thing_new(i);
    GC_register_finalizer(t, save, i % 2 == 0 ? &again : NULL, NULL, NULL);
  }
}

static void resurrection(void) {
  GC_INIT();
  make_savers();
  collect();
  REQUIRE_MOSTLY(ran(0, N, 1), (size_t)N);
  for (int i = 0; i < 3; i++) {
    refill(2 * N, sizeof(struct thing));
    collect();
  }
  REQUIRE_MOSTLY(ran(0, N, 1), (size_t)N);
  size_t twice = 0;
  for (size_t i = 0; i < N; i++)
    if (saved[i] != NULL) check(saved[i]), check(saved[i]->to);
  memset(saved, 0, sizeof saved);
  collect();
  for (size_t i = 0; i < N; i++) {
    REQUIRE(atomic_load(&runs[i]) <= (i % 2 == 0 ? 2 : 1));
    twice += atomic_load(&runs[i]) == 2;
  }
  REQUIRE_MOSTLY(twice, (size_t)N / 2);
}

/* -- on demand -- */
static atomic_uint notified;

static void notify(void) {
  REQUIRE(GC_get_finalizer_notifier() == notify); /* no lock is held */
  refill(10, 64);
  atomic_fetch_add(&notified, 1);
  runner = pthread_self();
}

static NOINLINE void make_plain(size_t from, size_t to) {
  for (size_t i = from; i < to; i++) {
    struct thing *t = thing_new(i);
    t->to = thing_new(i);
    GC_register_finalizer_no_order(t, on_end, NULL, NULL, NULL);
  }
}

#pragma GCC diagnostic ignored "-Wdeprecated-declarations" /* the variable is what programs link with */
static void on_demand(void) {
  GC_INIT();
  GC_set_finalize_on_demand(1);
  REQUIRE(GC_get_finalize_on_demand() == 1 && GC_finalize_on_demand == 1);
  GC_set_finalizer_notifier(notify);
  collect();
  REQUIRE(atomic_load(&notified) == 0 && !GC_should_invoke_finalizers() && GC_invoke_finalizers() == 0);
  make_plain(0, N);
  collect();
  REQUIRE_MSG(atomic_load(&notified) == 1 && runner == pthread_self(), "notified %u times", atomic_load(&notified));
  REQUIRE(GC_should_invoke_finalizers() && ran(0, N, 0) == N);
  for (int i = 0; i < 3; i++) {
    refill(4 * N, sizeof(struct thing)); /* it must not be among what is queued */
    collect();
  }
  REQUIRE(ran(0, N, 0) == N);
  int n = GC_invoke_finalizers();
  REQUIRE_MOSTLY((size_t)n, (size_t)N);
  REQUIRE(ran(0, N, 1) == (size_t)n && !GC_should_invoke_finalizers());
  GC_set_finalizer_notifier(NULL);
  make_plain(N, 2 * N);
  collect();
  REQUIRE(ran(N, 2 * N, 0) == N);
  GC_set_finalize_on_demand(0);
  GC_gcollect();
  REQUIRE_MOSTLY(ran(N, 2 * N, 1), (size_t)N);
}

/* Many wait for the same collections, and all the time something is queued. */
static void count_notice(void) { atomic_fetch_add(&notified, 1); }

static void *collect_often(void *unused) {
  for (int i = 0; i < 100; i++) GC_gcollect();
  return unused;
}

static void one_notice_per_collection(void) {
  pthread_t t[THREADS];
  GC_INIT();
  GC_set_finalize_on_demand(1);
  make_plain(0, N);
  collect();
  REQUIRE(GC_should_invoke_finalizers());
  GC_set_finalizer_notifier(count_notice);
  GC_word before = GC_get_gc_no();
  for (int i = 0; i < THREADS; i++) REQUIRE(pthread_create(&t[i], NULL, collect_often, NULL) == 0);
  for (int i = 0; i < THREADS; i++) REQUIRE(pthread_join(t[i], NULL) == 0);
  GC_word cycles = GC_get_gc_no() - before;
  unsigned n = atomic_load(&notified);
  printf("%u notices of %lu collections", n, (unsigned long)cycles);
  REQUIRE_MSG(n > 0 && n <= cycles, "%u notices of %lu collections", n, (unsigned long)cycles);
}

/* -- by allocation -- */
static void allocating_end(void *obj, void *cd) {
  on_end(obj, cd);
  unsigned d = atomic_fetch_add(&depth, 1) + 1;
  if (d > atomic_load(&deepest)) atomic_store(&deepest, d);
  refill(100, 64);
  if (((struct thing *)obj)->i % 64 == 0) GC_gcollect();
  atomic_fetch_sub(&depth, 1);
}

static NOINLINE void make_allocating(void) {
  for (size_t i = 0; i < N; i++) GC_register_finalizer(thing_new(i), allocating_end, NULL, NULL, NULL);
}

static void allocation_runs_them(void) {
  GC_INIT();
  make_allocating();
  scrub_stack();
  /* Every cycle comes by itself. */
  for (int i = 0; atomic_load(&total) < N * 95 / 100; i++) {
    REQUIRE_MSG(i < 100000, "allocation ran only %u finalizers", atomic_load(&total));
    refill(1000, 512);
  }
  REQUIRE(ran(0, N, 1) <= N && pthread_equal(runner, pthread_self()));
  REQUIRE_MSG(atomic_load(&deepest) <= 2, "finalizers ran inside of each other, %u deep", atomic_load(&deepest));
}

/* -- one that never returns -- */
static jmp_buf out;

static void jump(void *obj, void *cd) {
  on_end(obj, cd);
  longjmp(out, 1);
}

static NOINLINE void make_jumping(void) {
  for (size_t i = 0; i < N; i++) GC_register_finalizer(thing_new(i), jump, NULL, NULL, NULL);
}

static void they_may_jump_out(void) {
  GC_INIT();
  make_jumping();
  for (volatile int i = 0; i < 4 * N; i++)
    if (setjmp(out) == 0) collect();
  REQUIRE_MOSTLY(ran(0, N, 1), (size_t)N);
}

/* -- all of them -- */
static void another_end(void *obj, void *cd) {
  struct thing *t = obj;
  atomic_fetch_add(&runs[t->i], 1);
  if (cd != NULL) GC_register_finalizer(t, another_end, NULL, NULL, NULL);
}

static void all_at_the_end(void) {
  static char again;
  GC_INIT();
  struct thing **kept = GC_MALLOC(N * sizeof *kept);
  for (size_t i = 0; i < N; i++)
    GC_register_finalizer(kept[i] = thing_new(i), another_end, i % 2 == 0 ? &again : NULL, NULL, NULL);
  GC_finalize_all();
  for (size_t i = 0; i < N; i++) REQUIRE(atomic_load(&runs[kept[i]->i]) == (i % 2 == 0 ? 2 : 1));
  GC_reachable_here(kept);
}

/* -- told of each before it runs -- */
static atomic_uint awaited[N];

static void await_one(void *obj) {
  struct thing *t = obj;
  check(t);
  REQUIRE_MSG(atomic_load(&runs[t->i]) == 0, "told of a thing that was finalized");
  atomic_fetch_add(&awaited[t->i], 1);
}

static void told_before(void) {
  GC_INIT();
  GC_set_await_finalize_proc(await_one);
  REQUIRE(GC_get_await_finalize_proc() == await_one);
  make_plain(0, N);
  collect();
  REQUIRE_MOSTLY(ran(0, N, 1), (size_t)N);
  for (size_t i = 0; i < N; i++) REQUIRE(atomic_load(&awaited[i]) == atomic_load(&runs[i]));
}

/* -- freed and moved by hand -- */
static NOINLINE void make_freed(void) {
  for (size_t i = 0; i < N; i++) {
    struct thing *t = thing_new(i);
    GC_register_finalizer(t, i % 2 == 0 ? other_end : on_end, NULL, NULL, NULL);
    if (i % 2 == 0)
      GC_FREE(t);
    else
      REQUIRE(GC_REALLOC(t, 40 * sizeof *t) != t);
  }
}

static void freed_and_moved(void) {
  GC_INIT();
  make_freed();
  refill(4 * N, sizeof(struct thing));
  collect();
  size_t n = 0;
  for (size_t i = 1; i < N; i += 2) n += atomic_load(&runs[i]);
  REQUIRE_MOSTLY(n, (size_t)N / 2);
}

/* -- many, from many threads, beside cycles -- */
enum { MANY = 100000 };
static atomic_uint many_runs[THREADS * MANY];
static atomic_uint busy;

static void many_end(void *obj, void *cd) {
  uintptr_t i = *(uintptr_t *)obj;
  REQUIRE(i < THREADS * MANY && cd == NULL);
  REQUIRE_MSG(atomic_fetch_add(&many_runs[i], 1) == 0, "finalized twice");
}

static NOINLINE void *make_many(void *number) {
  size_t first = (uintptr_t)number * MANY;
  for (size_t i = first; i < first + MANY; i++) {
    uintptr_t *p = GC_MALLOC_ATOMIC(sizeof *p);
    REQUIRE(p != NULL);
    *p = i;
    kinds[i % 4](p, many_end, NULL, NULL, NULL);
  }
  atomic_fetch_sub(&busy, 1);
  return NULL;
}

static void many_threads(void) {
  pthread_t t[THREADS];
  GC_INIT();
  atomic_store(&busy, THREADS);
  for (uintptr_t i = 0; i < THREADS; i++) REQUIRE(pthread_create(&t[i], NULL, make_many, (void *)i) == 0);
  unsigned cycles = 0;
  for (; atomic_load(&busy) != 0; cycles++) GC_gcollect();
  for (int i = 0; i < THREADS; i++) REQUIRE(pthread_join(t[i], NULL) == 0);
  collect();
  collect();
  size_t n = 0;
  for (size_t i = 0; i < THREADS * MANY; i++) n += atomic_load(&many_runs[i]);
  printf("%u cycles", cycles);
  REQUIRE_MOSTLY(n, (size_t)THREADS * MANY);
}

static const struct test_case cases[] = {
    {"once_each", once_each, NULL},
    {"old_ones_return", old_ones_return, NULL},
    {"turns_come_in_order", turns_come_in_order, NULL},
    {"without_java", without_java, NULL},
    {"cycles_stay", cycles_stay, NULL},
    {"data_are_reachable", data_are_reachable, NULL},
    {"resurrection", resurrection, NULL},
    {"on_demand", on_demand, NULL},
    {"one_notice_per_collection", one_notice_per_collection, NULL},
    {"allocation_runs_them", allocation_runs_them, NULL},
    {"they_may_jump_out", they_may_jump_out, NULL},
    {"all_at_the_end", all_at_the_end, NULL},
    {"told_before", told_before, NULL},
    {"freed_and_moved", freed_and_moved, NULL},
    {"many_threads", many_threads, NULL},
};

int main(int argc, char **argv) { return cases_main(argc, argv, "bdw_finalize", CASES(cases)); }
