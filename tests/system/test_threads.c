/* test_threads.c - sixteen threads allocate, check and hand over objects while collections run. */
#include "gc_stats.h"
#include "park.h"

enum { THREADS = 16, SLOTS = 64, SHARED = 256 };

/* -- each thread owns a table; a shadow in its own numbers knows what must be in it -- */
struct entry {
  uint64_t tag;
  size_t size;
  bool noscan;
};

static size_t pick_size(struct rng *r) {
  switch (rng_below(r, 20)) {
    case 0: return 1 + rng_below(r, 100000);
    case 1:
    case 2: return 1 + rng_below(r, 9000);
    default: return 1 + rng_below(r, 400);
  }
}

static void replace(void *volatile *slot, struct entry *e, struct rng *r) {
  e->size = pick_size(r);
  e->tag = rng_next(r);
  e->noscan = rng_below(r, 3) == 0;
  void *p = e->noscan ? gc_alloc_noscan(e->size) : gc_alloc(e->size);
  REQUIRE(p != NULL);
  if (!e->noscan) REQUIRE_MSG(all_zero(p, e->size), "%zu bytes are not zero", e->size);
  pattern_fill(p, e->size, e->tag);
  *slot = p;
}

static void check_entry(void *p, const struct entry *e) {
  REQUIRE_MSG(p == NULL || pattern_ok(p, e->size, e->tag), "%zu bytes %s overwritten", e->size,
              e->noscan ? "noscan" : "scanned");
}

/* where: 0 the thread's stack, 1 its TLS, 2 an object of the heap */
static __thread root tls_table[SLOTS];

static void work(struct rng *r, size_t rounds, int where) {
  root stack_table[SLOTS] = {NULL};
  root *heap_table = gc_calloc(SLOTS, sizeof *heap_table);
  struct entry shadow[SLOTS] = {{0}};
  root *table = where == 0 ? stack_table : where == 1 ? tls_table : heap_table;
  REQUIRE(heap_table != NULL);
  for (size_t i = 0; i < rounds; i++) {
    size_t k = rng_below(r, SLOTS);
    check_entry(table[k], &shadow[k]);
    switch (rng_below(r, 8)) {
      case 0: table[k] = NULL; break;
      case 1:
        if (table[k] != NULL) gc_free(table[k]);
        table[k] = NULL;
        break;
      default: replace(&table[k], &shadow[k], r);
    }
  }
  for (size_t k = 0; k < SLOTS; k++) check_entry(table[k], &shadow[k]);
}

static void *worker(void *arg) {
  size_t n = (size_t)(uintptr_t)arg;
  struct rng r = {suite_seed() * 100 + n};
  work(&r, 6000, (int)(n % 3));
  return NULL;
}

static void run(size_t n, void *(*body)(void *), pthread_t *t) {
  for (size_t i = 0; i < n; i++) REQUIRE(pthread_create(&t[i], NULL, body, (void *)(uintptr_t)i) == 0);
}

static void join(size_t n, pthread_t *t) {
  for (size_t i = 0; i < n; i++) REQUIRE(pthread_join(t[i], NULL) == 0);
}

static uint64_t cycles(void) {
  static struct gc_stats s;
  gc_read_stats(&s);
  return s.num_gc;
}

START_TEST(shadow_with_automatic_cycles) {
  pthread_t t[THREADS];
  uint64_t before = cycles();
  (void)gc_set_percent(20);
  run(THREADS, worker, t);
  join(THREADS, t);
  REQUIRE_MSG(cycles() > before + 2, "only %" PRIu64 " cycles: the test proves nothing", cycles() - before);
}
END_TEST

START_TEST(shadow_with_forced_cycles) {
  pthread_t t[THREADS];
  run(THREADS, worker, t);
  for (int i = 0; i < 100; i++) gc_collect();
  join(THREADS, t);
}
END_TEST

static void *collector(void *unused) {
  for (int i = 0; i < 30; i++) gc_collect();
  return unused;
}

/* Many ask for a collection at once. */
START_TEST(collections_at_once) {
  pthread_t t[THREADS], c[4];
  uint64_t before = cycles();
  run(4, collector, c);
  run(THREADS, worker, t);
  join(THREADS, t);
  join(4, c);
  REQUIRE(cycles() > before);
}
END_TEST

/* Release, percent, disable and statistics from everywhere. */
static void *meddler(void *arg) {
  static __thread struct gc_stats s;
  struct rng r = {suite_seed() + (uintptr_t)arg};
  for (int i = 0; i < 60; i++) {
    switch (rng_below(&r, 5)) {
      case 0: gc_release_memory(); break;
      case 1: (void)gc_set_percent((int)(20 + rng_below(&r, 200))); break;
      case 2: gc_read_stats(&s); break;
      case 3: gc_collect(); break;
      default:
        gc_disable();
        refill(200, 100);
        gc_enable();
    }
  }
  return NULL;
}

START_TEST(meddling) {
  pthread_t t[THREADS], m[4];
  run(4, meddler, m);
  run(THREADS, worker, t);
  join(THREADS, t);
  join(4, m);
}
END_TEST

/* -- objects handed from thread to thread, on the way only in a shared word -- */
struct parcel {
  uint64_t tag, size;
  _Atomic(struct parcel *) inner; /* a parcel within */
};
static _Atomic(struct parcel *) shared[SHARED];

static struct parcel *parcel_new(struct rng *r, int depth) {
  size_t size = sizeof(struct parcel) + rng_below(r, 300);
  struct parcel *p = gc_alloc(size);
  REQUIRE(p != NULL);
  p->tag = rng_next(r) | UINT64_C(0xff) << 56; /* like no address */
  p->size = size;
  pattern_fill(p + 1, size - sizeof *p, p->tag);
  if (depth > 0) atomic_store(&p->inner, parcel_new(r, depth - 1));
  return p;
}

static void parcel_check(const struct parcel *p) {
  for (; p != NULL; p = atomic_load(&((struct parcel *)(uintptr_t)p)->inner)) {
    REQUIRE(p->size >= sizeof *p && p->size < sizeof *p + 300);
    REQUIRE_MSG(pattern_ok(p + 1, p->size - sizeof *p, p->tag), "a parcel was damaged on its way");
  }
}

static void *courier(void *arg) {
  struct rng r = {suite_seed() * 7 + (uintptr_t)arg};
  for (int i = 0; i < 20000; i++) {
    size_t k = rng_below(&r, SHARED);
    struct parcel *mine = rng_below(&r, 4) == 0 ? NULL : parcel_new(&r, (int)rng_below(&r, 5));
    struct parcel *got = atomic_exchange(&shared[k], mine);
    parcel_check(got);
    /* Its inner part travels on alone, moved from one word to another behind the marker's back. */
    if (got != NULL && got->inner != NULL) {
      struct parcel *inner = atomic_exchange(&got->inner, NULL);
      parcel_check(atomic_exchange(&shared[(k + 7) % SHARED], inner));
    }
  }
  return NULL;
}

START_TEST(hand_over) {
  pthread_t t[THREADS];
  (void)gc_set_percent(20);
  run(THREADS, courier, t);
  for (int i = 0; i < 60; i++) gc_collect();
  join(THREADS, t);
  for (size_t k = 0; k < SHARED; k++) parcel_check(atomic_load(&shared[k]));
}
END_TEST

/* -- the classic trap of a concurrent marker: the last reference moves from unmarked to marked ground -- */
enum { RING = 4096 };
static struct parcel *volatile *ring; /* a large scanned object */

static void *mover(void *arg) {
  struct rng r = {suite_seed() * 13 + (uintptr_t)arg};
  size_t lo = (uintptr_t)arg * (RING / 4), at = lo;
  for (int i = 0; i < 200000; i++) {
    struct parcel *p = ring[at];
    ring[at] = NULL;
    at = lo + rng_below(&r, RING / 4);
    parcel_check(p);
    parcel_check(ring[at]); /* which is dropped */
    ring[at] = p != NULL ? p : parcel_new(&r, 1);
    if (i % 64 == 0) {
      at = lo + rng_below(&r, RING / 4);
      ring[at] = parcel_new(&r, 2);
    }
  }
  return NULL;
}

START_TEST(moving_references) {
  pthread_t t[4];
  ring = gc_calloc(RING, sizeof *ring);
  REQUIRE(ring != NULL);
  run(4, mover, t);
  for (int i = 0; i < 50; i++) gc_collect();
  join(4, t);
  for (size_t i = 0; i < RING; i++) parcel_check(ring[i]);
}
END_TEST

int main(void) {
  Suite *s = suite_create("threads");
  TCase *tc = suite_case(s, "threads");
  tcase_add_test(tc, shadow_with_automatic_cycles);
  tcase_add_test(tc, shadow_with_forced_cycles);
  tcase_add_test(tc, collections_at_once);
  tcase_add_test(tc, meddling);
  tcase_add_test(tc, hand_over);
  tcase_add_test(tc, moving_references);
  return suite_main(s);
}
