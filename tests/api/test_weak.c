/* test_weak.c - weak references and ephemerons of gc_weak.h, in cycles of both kinds.
 * Strict: a reference is clear exactly when its object is gone. Not strict: that an unreachable object goes (hide.h). */
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "cases.h"
#include "gc_frag.h"
#include "gc_stats.h"
#include "gc_weak.h"
#include "hide.h"
#include "misuse.h"

static struct gc_weak_stats counts(void) {
  struct gc_weak_stats s;
  gc_read_weak_stats(&s);
  REQUIRE(s.struct_size == sizeof s);
  return s;
}

static void collect(void) {
  scrub_stack();
  gc_collect();
}

/* -- objects of every sort -- */
enum { N = 2000 };
static gc_weak **weak;      /* an object in the heap, held here */
static root *volatile held; /* the same: every other object */
static hidden target[N];

static NOINLINE void *any_object(size_t i) {
  switch (i % 8) {
    case 0: return gc_alloc_noscan(1 + i % 15); /* shares a block */
    case 1: return gc_alloc_noscan(16 + i % 3000);
    case 2: return gc_alloc(i % 80 == 2 ? 40000 : 8);
    case 3: return gc_alloc_aligned(256, 100);
    default: return gc_alloc(8 + i % 600);
  }
}

static NOINLINE void fill(size_t i) {
  void *p = any_object(i);
  REQUIRE(p != NULL);
  target[i] = hide(p);
  weak[i] = gc_weak_create(p);
  REQUIRE(weak[i] != NULL && gc_weak_get(weak[i]) == p);
  if (i % 2 == 0) held[i] = p;
}

static NOINLINE void check(size_t i) {
  void *now = gc_weak_get(weak[i]), *was = reveal(target[i]);
  bool there = gc_base(was) != NULL;
  REQUIRE_MSG(now == NULL || now == was, "reference %zu is to another object", i);
  REQUIRE_MSG(held[i] == NULL || now == was, "reference %zu was cleared though its object is held", i);
  REQUIRE_MSG((now != NULL) == there, "reference %zu is %s, its object is %s", i, now != NULL ? "set" : "clear",
              there ? "there" : "gone");
}

static size_t still_set(size_t step) {
  size_t n = 0;
  for (size_t i = 1; i < N; i += step) n += gc_weak_get(weak[i]) != NULL;
  return n;
}

static void cleared_exactly_when_gone(void) {
  weak = gc_calloc(N, sizeof *weak);
  held = gc_calloc(N, sizeof *held);
  REQUIRE(weak != NULL && held != NULL);
  for (size_t i = 0; i < N; i++) fill(i);
  REQUIRE(counts().weak == N);
  collect();
  for (size_t i = 0; i < N; i++) check(i);
  REQUIRE_MSG(still_set(2) <= N / 20, "%zu of %d references to dead objects are set", still_set(2), N / 2);
  memset((void *)(uintptr_t)held, 0, N * sizeof *held);
  collect();
  for (size_t i = 0; i < N; i++) check(i);
  REQUIRE_MSG(still_set(1) <= N / 20, "%zu references to dead objects are set", still_set(1));
  REQUIRE(counts().weak <= N / 20);
  refill(20000, 32);
  for (size_t i = 0; i < N; i++) REQUIRE(gc_weak_get(weak[i]) == NULL || gc_weak_get(weak[i]) == reveal(target[i]));
}

/* -- no growth (bdwgc#182): neither references nobody holds, nor held ones whose objects are gone -- */
static NOINLINE void many_references(size_t n, void *to) {
  static gc_weak *volatile last;
  for (size_t i = 0; i < n; i++) {
    last = gc_weak_create(to != NULL ? to : gc_alloc(16));
    REQUIRE(last != NULL);
  }
  last = NULL;
}

static void nothing_grows(void) {
  enum { MANY = 60000, ROUNDS = 6 };
  static struct gc_stats first, last;
  static root keep;
  keep = gc_alloc(64);
  for (int round = 0; round < ROUNDS; round++) {
    many_references(MANY, round % 2 == 0 ? keep : NULL);
    collect();
    REQUIRE_MSG(counts().weak <= MANY / 20, "%" PRIu64 " records are left of %d", counts().weak, MANY);
    gc_read_stats(round < 2 ? &first : &last);
  }
  REQUIRE_MSG(last.gc_sys <= first.gc_sys + (1 << 20), "gc_sys %" PRIu64 " -> %" PRIu64, first.gc_sys, last.gc_sys);
  REQUIRE(gc_base(keep) == keep);
}

/* -- what the program does to the object -- */
static void free_and_realloc(void) {
  void *p = gc_alloc(40);
  gc_weak *a = gc_weak_create(p), *b = gc_weak_create_long(p);
  gc_ephemeron *e = gc_ephemeron_create(p, a);
  REQUIRE(gc_weak_get(a) == p && gc_weak_get(b) == p && gc_ephemeron_get_key(e) == p && gc_ephemeron_get_value(e) == a);
  void *q = gc_realloc(p, 4000);
  REQUIRE(q != p && gc_weak_get(a) == q && gc_weak_get(b) == q && gc_ephemeron_get_key(e) == q);
  collect();
  REQUIRE(gc_weak_get(a) == q && gc_weak_get(b) == q && gc_ephemeron_get_value(e) == a);
  gc_free(q);
  REQUIRE(gc_weak_get(a) == NULL && gc_weak_get(b) == NULL);
  REQUIRE(gc_ephemeron_get_key(e) == NULL && gc_ephemeron_get_value(e) == NULL);
  void *tiny = gc_alloc_noscan(3);
  a = gc_weak_create(tiny);
  tiny = gc_realloc(tiny, 300);
  REQUIRE(gc_weak_get(a) == tiny);
  gc_weak_destroy(a);
  gc_weak_destroy(b);
  gc_ephemeron_destroy(e);
  REQUIRE(counts().weak == 0 && counts().ephemerons == 0);
  gc_use(tiny);
}

struct node {
  struct node *next;
  gc_weak *self;
  uint64_t body[6];
};

static NOINLINE struct node *sparse_list(size_t n, size_t keep_every) {
  struct node *head = NULL;
  for (size_t i = 0; i < n; i++) {
    struct node *x = gc_alloc(sizeof *x);
    REQUIRE(x != NULL);
    if (i % keep_every != 0) continue;
    x->next = head;
    x->self = gc_weak_create(x);
    head = x;
  }
  return head;
}

static void moved_by_compaction(void) {
  static struct node *volatile list;
  size_t moved = 0;
  list = sparse_list(40000, 50);
  collect();
  for (struct node *x = list, *before = NULL; x != NULL; before = x, x = x->next) {
    struct node *y = gc_reallocate(x);
    moved += y != x;
    REQUIRE_MSG(gc_weak_get(y->self) == y, "a weak reference did not follow its object");
    REQUIRE((void *)gc_reallocate(y->self) == (void *)y->self && !gc_should_move(y->self));
    x = y;
    if (before != NULL)
      before->next = x;
    else
      list = x;
  }
  REQUIRE_MSG(moved > 0, "nothing was moved");
  collect();
  for (struct node *x = list; x != NULL; x = x->next) REQUIRE(gc_weak_get(x->self) == x);
  printf("%zu moved", moved);
}

/* -- ephemerons -- */
struct value {
  void *points_to;
  uint64_t tag;
};
static gc_ephemeron **pair;
static hidden values[N];

static NOINLINE void pair_new(size_t i) {
  void *key = gc_alloc(48);
  struct value *v = gc_alloc(sizeof *v);
  REQUIRE(key != NULL && v != NULL);
  v->points_to = i % 3 == 0 ? key : NULL; /* no reason to keep either */
  v->tag = i;
  target[i] = hide(key);
  values[i] = hide(v);
  pair[i] = gc_ephemeron_create(key, v);
  REQUIRE(pair[i] != NULL);
  if (i % 2 == 0) held[i] = key;
}

static NOINLINE void pair_check(size_t i) {
  void *key = gc_ephemeron_get_key(pair[i]);
  struct value *v = gc_ephemeron_get_value(pair[i]);
  REQUIRE_MSG((key != NULL) == (v != NULL), "pair %zu is half gone", i);
  REQUIRE_MSG(held[i] == NULL || key == held[i], "pair %zu was cleared though its key is held", i);
  REQUIRE_MSG((key != NULL) == (gc_base(reveal(target[i])) != NULL), "pair %zu is not as its key", i);
  if (v == NULL) return;
  REQUIRE(gc_base(v) == (void *)v && v->tag == i && (i % 3 != 0 || v->points_to == key));
}

static NOINLINE size_t drop_pairs(void) {
  size_t n = 0;
  for (size_t i = 0; i < N; i += 2, n++) {
    values[n] = values[i];
    pair[i] = NULL;
  }
  return n;
}

static void values_live_as_keys_do(void) {
  pair = gc_calloc(N, sizeof *pair);
  held = gc_calloc(N, sizeof *held);
  for (size_t i = 0; i < N; i++) pair_new(i);
  for (int round = 0; round < 2; round++) {
    collect();
    for (size_t i = 0; i < N; i++) pair_check(i);
  }
  REQUIRE_MSG(counts().ephemerons <= N / 2 + N / 20, "%" PRIu64 " ephemerons are left", counts().ephemerons);
  size_t n = drop_pairs(); /* the keys are still held: an ephemeron that nobody holds keeps nothing */
  collect();
  REQUIRE_MOSTLY_GONE(values, n);
  REQUIRE(counts().ephemerons <= N / 20);
}

/* key 0 is held; value i is key i + 1. Made in the worst order, the last first, and in the best. */
enum { LINKS = 20000 };

static NOINLINE void link_new(gc_ephemeron **e, root *keys, size_t i) {
  e[i] = gc_ephemeron_create(keys[i], keys[i + 1]);
  REQUIRE(e[i] != NULL);
}

static void chain(bool backwards) {
  static gc_ephemeron **e;
  static root *volatile keys, *volatile first;
  static hidden h[LINKS];
  e = gc_calloc(LINKS, sizeof *e);
  keys = gc_calloc(LINKS + 1, sizeof *keys);
  for (size_t i = 0; i <= LINKS; i++) keys[i] = gc_alloc(24);
  for (size_t i = 0; i < LINKS; i++) link_new(e, keys, backwards ? LINKS - 1 - i : i);
  for (size_t i = 0; i < LINKS; i++) h[i] = hide(keys[i]);
  first = gc_calloc(1, sizeof *first);
  first[0] = keys[0];
  gc_free((void *)(uintptr_t)keys);
  keys = NULL;
  collect();
  collect();
  for (size_t i = 0; i < LINKS; i++) REQUIRE_MSG(gc_ephemeron_get_key(e[i]) == reveal(h[i]), "link %zu is gone", i);
  REQUIRE(counts().ephemerons == LINKS);
  first = NULL;
  collect();
  REQUIRE_MOSTLY_GONE(h, LINKS);
}

static void chain_forwards(void) { chain(false); }
static void chain_backwards(void) { chain(true); }

/* -- a thread that the library does not know: getting is the first it hears of it -- */
static struct {
  gc_weak *weak; /* a root */
  root strong;
  hidden h;
  atomic_int stage;
} stranger;

static void *get_and_hold(void *unused) {
  root p = gc_weak_get(stranger.weak);
  REQUIRE(p == reveal(stranger.h));
  atomic_store(&stranger.stage, 1);
  while (atomic_load(&stranger.stage) != 2) sched_yield();
  REQUIRE_MSG(gc_weak_get(stranger.weak) == p, "a reference was cleared though an unknown thread held the object");
  REQUIRE(gc_base(p) == p && pattern_ok(p, 64, 7));
  return unused;
}

static NOINLINE void stranger_init(void) {
  void *p = gc_alloc(64);
  pattern_fill(p, 64, 7);
  stranger.h = hide(p);
  stranger.weak = gc_weak_create(p);
  stranger.strong = p;
}

static void unknown_thread(void) {
  int (*create_thread)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
  pthread_t t;
  void *libc = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD), *found = dlsym(libc, "pthread_create");
  REQUIRE(libc != NULL && found != NULL);
  memcpy(&create_thread, &found, sizeof create_thread);
  stranger_init();
  REQUIRE(create_thread(&t, NULL, get_and_hold, NULL) == 0);
  while (atomic_load(&stranger.stage) != 1) sched_yield();
  stranger.strong = NULL;
  for (int i = 0; i < 3; i++) {
    collect();
    refill(1000, 64);
  }
  atomic_store(&stranger.stage, 2);
  REQUIRE(pthread_join(t, NULL) == 0);
}

/* -- small print -- */
static void get(void *w) { gc_use(gc_weak_get(w)); }
static void get_key(void *e) { gc_use(gc_ephemeron_get_key(e)); }
static void destroy(void *w) { gc_weak_destroy(w); }
static void destroy_twice(void *w) {
  gc_weak_destroy(w);
  gc_weak_destroy(w);
}
static void create(void *p) { gc_use(gc_weak_create(p)); }
static void create_pair(void *p) { gc_use(gc_ephemeron_create(p, NULL)); }
static void free_it(void *p) { gc_free(p); }
static void realloc_it(void *p) { gc_use(gc_realloc(p, 1000)); }

static void misuses(void) {
  static uint64_t mine[4];
  char *p = gc_alloc(100);
  gc_weak *w = gc_weak_create(p);
  gc_ephemeron *e = gc_ephemeron_create(p, NULL);
  errno = 0;
  REQUIRE(gc_weak_create(NULL) == NULL && errno == EINVAL);
  errno = 0;
  REQUIRE(gc_ephemeron_create(NULL, p) == NULL && errno == EINVAL);
  REQUIRE(gc_weak_get(NULL) == NULL && gc_ephemeron_get_key(NULL) == NULL && gc_ephemeron_get_value(NULL) == NULL);
  gc_weak_destroy(NULL);
  gc_ephemeron_destroy(NULL);
  void *bad[] = {p, p + 8, e, mine, (char *)w + 8, (char *)w + 1, (void *)(uintptr_t)8, (void *)~(uintptr_t)7};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    misuse(get, bad[i], "gc_weak_get");
    misuse(destroy, bad[i], "gc_weak_destroy");
  }
  misuse(get_key, w, "gc_ephemeron_get_key");
  misuse(destroy_twice, w, "gc_weak_destroy");
  misuse(create, p + 8, "gc_weak_create");
  misuse(create, mine, "gc_weak_create");
  misuse(create_pair, p + 8, "gc_ephemeron_create");
  misuse(free_it, w, "gc_free");
  misuse(free_it, e, "gc_free");
  misuse(realloc_it, w, "gc_realloc");
  REQUIRE(gc_weak_get(w) == p && gc_ephemeron_get_key(e) == p);
}

static void never_unreachable(void) {
  volatile size_t zero = 0;
  void *p = gc_alloc(zero);
  static gc_weak *w;
  static gc_ephemeron *e;
  static root to_itself;
  w = gc_weak_create(p);
  e = gc_ephemeron_create(p, gc_alloc(64));
  to_itself = gc_weak_create(w); /* a reference is an object like others */
  collect();
  REQUIRE(gc_weak_get(w) == p && gc_ephemeron_get_key(e) == p);
  REQUIRE(gc_base(gc_ephemeron_get_value(e)) == gc_ephemeron_get_value(e) && gc_weak_get(to_itself) == w);
}

static const struct test_case cases[] = {
    {"cleared_exactly_when_gone", cleared_exactly_when_gone, NULL},
    {"nothing_grows", nothing_grows, NULL},
    {"free_and_realloc", free_and_realloc, NULL},
    {"moved_by_compaction", moved_by_compaction, NULL},
    {"values_live_as_keys_do", values_live_as_keys_do, NULL},
    {"chain_forwards", chain_forwards, NULL},
    {"chain_backwards", chain_backwards, NULL},
    {"unknown_thread", unknown_thread, NULL},
    {"misuses", misuses, NULL},
    {"never_unreachable", never_unreachable, NULL},
};

int main(int argc, char **argv) { return cases_main(argc, argv, "weak", CASES(cases)); }
