/* test_finalizer.c - finalizers of gc_weak.h, in cycles of both kinds, run by the library's thread or by hand.
 * Strict: never for a reachable object, never twice, never out of order. Not strict: that an unreachable object is found (hide.h). */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "cases.h"
#include "gc_stats.h"
#include "gc_weak.h"
#include "hide.h"
#include "misuse.h"

enum { N = 600 };

struct thing {
  struct thing *to, *back;
  gc_weak *weak, *long_weak;
  uint64_t i, body[8];
};

struct note { /* an argument, held by nobody else */
  uint64_t i, body[4];
};

static root *volatile held;
static hidden thing[N], note[N];
static atomic_uint runs[N];   /* by thing */
static atomic_uint when[N];   /* it ran, counted from 1 */
static atomic_uint clock_now; /* finalizers run so far */
static atomic_bool held_ran;

static void by_hand(const char *name) {
  (void)name;
  setenv("GC_FINALIZERS", "manual", 1);
}

static struct gc_weak_stats counts(void) {
  struct gc_weak_stats s;
  gc_read_weak_stats(&s);
  return s;
}

static void collect(void) {
  scrub_stack();
  gc_collect();
}

static size_t collect_and_run(void) {
  collect();
  size_t n = gc_run_finalizers();
  scrub_stack();
  return n;
}

static NOINLINE struct thing *thing_new(uint64_t i) {
  struct thing *t = gc_alloc(sizeof *t);
  REQUIRE(t != NULL);
  t->i = i;
  pattern_fill(t->body, sizeof t->body, i);
  thing[i] = hide(t);
  return t;
}

static NOINLINE struct note *note_new(uint64_t i) {
  struct note *n = gc_alloc(sizeof *n);
  REQUIRE(n != NULL);
  n->i = i;
  pattern_fill(n->body, sizeof n->body, ~i);
  note[i] = hide(n);
  return n;
}

static void on_end(void *object, void *arg) {
  struct thing *t = object;
  const struct note *n = arg;
  REQUIRE_MSG(t == reveal(thing[t->i]) && gc_base(t) == (void *)t, "finalized: not the object");
  REQUIRE_MSG(pattern_ok(t->body, sizeof t->body, t->i), "finalized after it was freed");
  REQUIRE_MSG(n == NULL || (n->i == t->i && pattern_ok(n->body, sizeof n->body, ~n->i)), "the argument was freed");
  REQUIRE_MSG(t->weak == NULL || gc_weak_get(t->weak) == NULL, "a weak reference outlived its object");
  REQUIRE_MSG(t->long_weak == NULL || gc_weak_get(t->long_weak) == t, "a long weak reference was cleared too early");
  if (held != NULL && held[t->i] != NULL) atomic_store(&held_ran, true);
  atomic_fetch_add(&runs[t->i], 1);
  atomic_store(&when[t->i], atomic_fetch_add(&clock_now, 1) + 1);
}

static void require_runs(size_t from, size_t to, unsigned times) {
  size_t n = 0;
  for (size_t i = from; i < to; i++) {
    unsigned r = atomic_load(&runs[i]);
    REQUIRE_MSG(r <= times, "object %zu was finalized %u times", i, r);
    n += r == times;
  }
  REQUIRE_MSG(n * 100 >= (to - from) * 95, "only %zu of %zu were finalized", n, to - from);
  REQUIRE_MSG(!atomic_load(&held_ran), "an object that is held was finalized");
}

/* -- once, with the argument, before it is freed -- */
static NOINLINE void set_one(size_t i) {
  struct thing *t = thing_new(i);
  int r = i % 2 == 0 ? gc_set_finalizer(t, on_end, note_new(i)) : gc_set_finalizer_unordered(t, on_end, note_new(i));
  REQUIRE(r == 0);
  t->weak = gc_weak_create(t);
  t->long_weak = gc_weak_create_long(t);
  if (i >= N / 2) held[i] = t;
}

static void once_each(void) {
  held = gc_calloc(N, sizeof *held);
  for (size_t i = 0; i < N; i++) set_one(i);
  REQUIRE(counts().finalizers == N);
  size_t n = collect_and_run();
  REQUIRE(n == atomic_load(&clock_now));
  require_runs(0, N / 2, 1);
  require_runs(N / 2, N, 0);
  collect();
  REQUIRE(gc_run_finalizers() <= N / 20);
  REQUIRE_MOSTLY_GONE(thing, N / 2);
  REQUIRE_MOSTLY_GONE(note, N / 2);
  held = NULL;
  n = collect_and_run() + collect_and_run();
  require_runs(0, N, 1);
  collect();
  REQUIRE_MOSTLY_GONE(thing, N);
  REQUIRE(counts().finalizers <= N / 20 && counts().finalizers_queued == 0);
}

/* What is queued and not run yet stays through cycles. */
static void queued_ones_stay(void) {
  for (size_t i = 0; i < N; i++) {
    struct thing *t = thing_new(i);
    t->to = thing_new(i); /* an object behind it */
    thing[i] = hide(t);
    REQUIRE(gc_set_finalizer(t, on_end, note_new(i)) == 0);
  }
  for (int i = 0; i < 3; i++) {
    collect();
    refill(2000, sizeof(struct thing));
    refill(2000, sizeof(struct note));
  }
  REQUIRE(counts().finalizers_queued >= N * 95 / 100);
  gc_run_finalizers();
  require_runs(0, N, 1);
}

/* -- order: thing i points to i + N/3, that to i + 2N/3 -- */
enum { THIRD = N / 3 };

static NOINLINE void triple(size_t i, int kind) {
  struct thing *a = thing_new(i), *b = thing_new(i + THIRD), *c = thing_new(i + 2 * THIRD);
  a->to = b;
  b->to = c;
  a->back = a; /* pointers into itself do not count */
  c->back = kind == 1 ? a : NULL;
  int (*set)(void *, void (*)(void *, void *), void *) = kind == 2 ? gc_set_finalizer_unordered : gc_set_finalizer;
  REQUIRE(set(c, on_end, NULL) == 0 && set(a, on_end, NULL) == 0 && set(b, on_end, NULL) == 0);
}

static void in_order(void) {
  for (size_t i = 0; i < THIRD; i++) triple(i, 0);
  for (int turn = 0; turn < 3; turn++) {
    collect();
    struct gc_weak_stats s = counts();
    REQUIRE(s.finalizers_stuck == 0 && s.finalizers_waiting <= (unsigned)(2 - turn) * THIRD + N / 20);
    gc_run_finalizers();
    for (size_t i = 0; i < N; i++) REQUIRE(atomic_load(&runs[i]) == 0 || i < (size_t)(turn + 1) * THIRD);
  }
  require_runs(0, N, 1);
  for (size_t i = 0; i < N - THIRD; i++)
    REQUIRE(atomic_load(&runs[i + THIRD]) == 0 || atomic_load(&when[i]) < atomic_load(&when[i + THIRD]));
  collect();
  REQUIRE_MOSTLY_GONE(thing, N);
}

static NOINLINE void break_cycles(gc_weak **w) {
  for (size_t i = 0; i < THIRD; i++) {
    struct thing *c = gc_weak_get(w[i]);
    REQUIRE_MSG(c != NULL, "an object on a cycle was freed");
    c->back = NULL;
  }
}

static void cycles_wait(void) {
  static gc_weak **w;
  w = gc_calloc(THIRD, sizeof *w);
  for (size_t i = 0; i < THIRD; i++) {
    triple(i, 1);
    w[i] = gc_weak_create_long(reveal(thing[i + 2 * THIRD]));
  }
  for (int i = 0; i < 3; i++) REQUIRE(collect_and_run() == 0);
  REQUIRE_MSG(counts().finalizers_stuck >= N * 95 / 100, "%" PRIu64 " are told", counts().finalizers_stuck);
  for (size_t i = 0; i < N; i++) REQUIRE(gc_base(reveal(thing[i])) == reveal(thing[i]));
  break_cycles(w);
  for (int i = 0; i < 3; i++) collect_and_run();
  require_runs(0, N, 1);
  REQUIRE(counts().finalizers_stuck <= N / 20);
}

static void unordered_ones_do_not(void) {
  for (size_t i = 0; i < THIRD; i++) triple(i, 2);
  REQUIRE(collect_and_run() >= N * 95 / 100);
  require_runs(0, N, 1);
}

/* An unordered one may look at ordered ones it points to: they come after it, in the same cycle. */
static NOINLINE void mixed_pair(size_t i) {
  struct thing *a = thing_new(i), *b = thing_new(i + N / 2);
  a->to = b;
  REQUIRE(gc_set_finalizer(b, on_end, NULL) == 0 && gc_set_finalizer_unordered(a, on_end, NULL) == 0);
}

static void mixed(void) {
  for (size_t i = 0; i < N / 2; i++) mixed_pair(i);
  collect_and_run();
  require_runs(0, N, 1);
  for (size_t i = 0; i < N / 2; i++)
    REQUIRE(atomic_load(&runs[i]) + atomic_load(&runs[i + N / 2]) < 2 ||
            atomic_load(&when[i]) < atomic_load(&when[i + N / 2]));
}

/* -- resurrection -- */
static root *volatile saved;

static void save(void *object, void *arg) {
  struct thing *t = object;
  on_end(object, NULL);
  saved[t->i] = t;
  if (arg != NULL) REQUIRE(gc_set_finalizer(t, on_end, NULL) == 0);
}

static void resurrected(void) {
  saved = gc_calloc(N, sizeof *saved);
  for (size_t i = 0; i < N; i++)
    REQUIRE(gc_set_finalizer(thing_new(i), save, i < N / 2 ? (void *)(uintptr_t)1 : NULL) == 0);
  collect_and_run();
  require_runs(0, N, 1);
  for (int i = 0; i < 2; i++) REQUIRE(collect_and_run() <= N / 20);
  for (size_t i = 0; i < N; i++) REQUIRE(saved[i] == NULL || pattern_ok(((struct thing *)saved[i])->body, 64, i));
  saved = NULL;
  collect_and_run();
  require_runs(0, N / 2, 2); /* it was set again */
  require_runs(N / 2, N, 1);
  collect();
  REQUIRE_MOSTLY_GONE(thing, N);
}

/* -- set, replaced, removed, dropped, moved -- */
static void wrong(void *object, void *arg) {
  REQUIRE_MSG(false, "a finalizer ran that was taken away: %p %p", object, arg);
}

static NOINLINE void change_one(size_t i) {
  struct thing *t = thing_new(i);
  REQUIRE(gc_set_finalizer(t, wrong, note_new(i)) == 0);
  switch (i % 4) {
    case 0: REQUIRE(gc_set_finalizer(t, on_end, note_new(i)) == 0); break;
    case 1: REQUIRE(gc_set_finalizer(t, NULL, NULL) == 0 && gc_set_finalizer(t, NULL, NULL) == 0); break;
    case 2: gc_free(t); break;
    default:
      t = gc_realloc(t, 3000);
      thing[i] = hide(t);
      REQUIRE(t != NULL && gc_set_finalizer_unordered(t, on_end, NULL) == 0);
      break;
  }
}

static void changed(void) {
  for (size_t i = 0; i < N; i++) change_one(i);
  REQUIRE_MSG(counts().finalizers == N / 2, "%" PRIu64 " finalizers are set", counts().finalizers);
  collect_and_run();
  size_t n = 0;
  for (size_t i = 0; i < N; i++) n += atomic_load(&runs[i]);
  REQUIRE_MSG(n * 100 >= N / 2 * 95, "only %zu ran", n);
}

/* A finalizer frees another object that is queued. */
static void free_other(void *object, void *arg) {
  struct thing *t = object;
  (void)arg;
  on_end(t, NULL);
  gc_free(t->to);
}

static NOINLINE void free_pair(size_t i) {
  struct thing *a = thing_new(i), *b = thing_new(i + N / 2);
  a->to = b;
  REQUIRE(gc_set_finalizer_unordered(a, free_other, NULL) == 0 && gc_set_finalizer(b, wrong, NULL) == 0);
}

static void freed_while_queued(void) {
  for (size_t i = 0; i < N / 2; i++) free_pair(i);
  size_t n = collect_and_run();
  require_runs(0, N / 2, 1);
  REQUIRE(n == atomic_load(&clock_now) && counts().finalizers_queued == 0);
}

/* -- objects of any sort -- */
static atomic_uint sorts;
static void count_sort(void *object, void *arg) {
  REQUIRE(gc_base(object) != NULL && gc_base(arg) == arg && *(uintptr_t *)arg == ~(uintptr_t)object);
  atomic_fetch_add(&sorts, 1);
}

static NOINLINE void sort_new(size_t i) {
  static const size_t size[] = {1, 5, 15, 16, 100, 5000, 40000, 300000};
  void *p = i % 16 < 8 ? gc_alloc_noscan(size[i % 8]) : gc_alloc(size[i % 8]);
  uintptr_t *arg = gc_alloc(sizeof *arg);
  REQUIRE(p != NULL && arg != NULL);
  *arg = ~(uintptr_t)p;
  REQUIRE((i % 3 ? gc_set_finalizer : gc_set_finalizer_unordered)(p, count_sort, arg) == 0);
}

static void of_any_sort(void) {
  for (size_t i = 0; i < N; i++) sort_new(i);
  collect_and_run();
  REQUIRE_MSG(atomic_load(&sorts) >= N * 95 / 100, "%u of %d", atomic_load(&sorts), N);
}

/* -- the library's thread -- */
static pthread_t main_thread;

static void allocate_and_collect(void *object, void *arg) {
  REQUIRE_MSG(!pthread_equal(pthread_self(), main_thread), "not in a thread of its own");
  refill(20, 100);
  on_end(object, arg);
  if (atomic_load(&clock_now) % 200 == 0) gc_collect();
}

static void by_the_thread(void) {
  main_thread = pthread_self();
  for (size_t i = 0; i < N; i++) REQUIRE(gc_set_finalizer(thing_new(i), allocate_and_collect, note_new(i)) == 0);
  collect();
  while (atomic_load(&clock_now) < N * 95 / 100) {
    sched_yield();
    collect();
  }
  require_runs(0, N, 1);
}

static NOINLINE void set_from(size_t from, size_t to) {
  for (size_t i = from; i < to; i++) REQUIRE(gc_set_finalizer(thing_new(i), on_end, note_new(i)) == 0);
}

static void await_runs(size_t from, size_t to) {
  for (size_t n = 0; n * 100 < (to - from) * 95; sched_yield()) {
    collect();
    n = 0;
    for (size_t i = from; i < to; i++) n += atomic_load(&runs[i]);
  }
  require_runs(from, to, 1);
}

/* The child starts a thread of its own, for what was set before the fork and after. */
static void in_a_child(void) {
  set_from(0, N / 3);
  await_runs(0, N / 3);
  set_from(N / 3, 2 * N / 3);
  pid_t pid = fork();
  REQUIRE(pid >= 0);
  set_from(2 * N / 3, N);
  await_runs(N / 3, N);
  if (pid == 0) _exit(0);
  int status;
  REQUIRE(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* -- misuse -- */
static void set(void *p) { gc_set_finalizer(p, on_end, NULL); }
static void set_unordered(void *p) { gc_set_finalizer_unordered(p, on_end, NULL); }

static void misuses(void) {
  static uint64_t mine[4];
  volatile size_t zero = 0;
  char *p = gc_alloc(100);
  int status = 0;
  hidden gone = hide(gc_alloc(1000));
  gc_free(reveal(gone));
  errno = 0;
  REQUIRE(gc_set_finalizer(NULL, on_end, NULL) == -1 && errno == EINVAL);
  errno = 0;
  REQUIRE(gc_set_finalizer_unordered(NULL, NULL, NULL) == -1 && errno == EINVAL);
  REQUIRE(gc_set_finalizer(gc_alloc(zero), wrong, NULL) == 0 && counts().finalizers == 0);
  void *bad[] = {p + 8, mine, &status, (void *)(uintptr_t)8, reveal(gone)};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    misuse(set, bad[i], "gc_set_finalizer");
    misuse(set_unordered, bad[i], "gc_set_finalizer_unordered");
  }
  gc_use(p);
}

static const struct test_case cases[] = {
    {"once_each", once_each, by_hand},
    {"queued_ones_stay", queued_ones_stay, by_hand},
    {"in_order", in_order, by_hand},
    {"cycles_wait", cycles_wait, by_hand},
    {"unordered_ones_do_not", unordered_ones_do_not, by_hand},
    {"mixed", mixed, by_hand},
    {"resurrected", resurrected, by_hand},
    {"changed", changed, by_hand},
    {"freed_while_queued", freed_while_queued, by_hand},
    {"of_any_sort", of_any_sort, by_hand},
    {"by_the_thread", by_the_thread, NULL},
    {"in_a_child", in_a_child, NULL},
    {"misuses", misuses, NULL},
};

int main(int argc, char **argv) { return cases_main(argc, argv, "finalizer", CASES(cases)); }
