/* test_bulk.c - references in bulk beside cycles: arrays of addresses copied and moved by memcpy and memmove
 * across OS pages, in the ways that these have for small, large and very large sizes, and arrays that
 * gc_realloc grows to hundreds of megabytes. */
#include "beside.h"
#include "cases.h"

#define MIB ((size_t)1024 * 1024)

enum { CYCLES = 10 };

static struct rng rng;

static NOINLINE void *object_new(uint64_t tag) {
  void *p = gc_alloc(24 + tag % 100);
  REQUIRE(p != NULL);
  pattern_fill(p, 24 + tag % 100, tag);
  return p;
}

static void object_check(void *p, uint64_t tag) {
  REQUIRE_MSG(gc_base(p) == p && pattern_ok(p, 24 + tag % 100, tag), "object %" PRIu64 " was lost", tag);
}

/* -- copying: a run of addresses in an array of which the rest is empty -- */
struct run {
  void **array; /* in the struct, on a stack */
  size_t room, at, length;
};

static void run_new(struct run *r, size_t room, size_t length) {
  *r = (struct run){gc_calloc(room, sizeof(void *)), room, 0, length};
  REQUIRE(r->array != NULL);
  for (size_t i = 0; i < length; i++) r->array[i] = object_new(i);
}

static void run_check(const struct run *r) {
  for (size_t i = 0; i < r->length; i++) object_check(r->array[r->at + i], i);
}

/* Within the array; where old and new place overlap, memmove decides the order. */
static void run_move(struct run *r) {
  size_t from = r->at, to = rng_below(&rng, r->room - r->length);
  if (rng_below(&rng, 2) == 0) { /* a few words only */
    size_t step = rng_below(&rng, 9);
    to = from + step + r->length <= r->room ? from + step : from;
  }
  memmove(&r->array[to], &r->array[from], r->length * sizeof(void *));
  size_t lo = to < from ? to + r->length : from, hi = to < from ? from + r->length : to;
  if (lo < from) lo = from;
  if (hi > from + r->length) hi = from + r->length;
  if (hi > lo) memset(&r->array[lo], 0, (hi - lo) * sizeof(void *));
  r->at = to;
}

/* Into an array that was not there before; the old one is emptied, and garbage. */
static NOINLINE void run_copy(struct run *r) {
  void **array = gc_calloc(r->room, sizeof(void *));
  size_t to = rng_below(&rng, r->room - r->length);
  REQUIRE(array != NULL);
  memcpy(&array[to], &r->array[r->at], r->length * sizeof(void *));
  memset(&r->array[r->at], 0, r->length * sizeof(void *));
  r->array = array;
  r->at = to;
}

#if defined(__x86_64__)
/* As the C library does on some machines, and kernels. */
static void run_copy_by_words(struct run *r) {
  void **array = gc_calloc(r->room, sizeof(void *)), **to = array, **from = &r->array[r->at];
  size_t n = r->length;
  REQUIRE(array != NULL);
  __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
  memset(&r->array[r->at], 0, r->length * sizeof(void *));
  r->array = array;
  r->at = 0;
}
#else
#define run_copy_by_words run_copy
#endif

/* pause: see beside.h; as long as a cycle or longer, so that this thread gets on. */
static NOINLINE void copy_runs(size_t room, size_t length, uint64_t times, size_t pause) {
  struct run r;
  rng.state = suite_seed() + room;
  run_new(&r, room, length);
  beside_begin(pause);
  for (uint64_t i = 0; i < times * suite_scale() || beside_cycles() < CYCLES; i++) {
    switch (rng_below(&rng, 4)) {
      case 0: run_copy(&r); break;
      case 1: run_copy_by_words(&r); break;
      default: run_move(&r);
    }
    if (i % 16 == 0) run_check(&r);
  }
  beside_end();
  run_check(&r);
  printf("%lu cycles", beside_cycles());
}

static void copy_small(void) { copy_runs(1500, 700, 10000, 500); }
static void copy_large(void) { copy_runs(64 * 1024, 20000, 300, 10000); }
/* Beyond the size at which memcpy writes past the caches. */
static void copy_very_large(void) { copy_runs(4 * MIB, MIB, 8, 400000); }

/* -- growing by gc_realloc: every STRIDE-th word is an address, the others like no address -- */
enum { STRIDE = 256 };

static void fill_words(uint64_t *a, size_t from, size_t to) {
  for (size_t i = from; i < to; i++)
    a[i] = i % STRIDE == 0 ? (uint64_t)(uintptr_t)object_new(i) : i | UINT64_C(0xff) << 56;
}

static void check_words(const uint64_t *a, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (i % STRIDE == 0)
      object_check((void *)(uintptr_t)a[i], i);
    else
      REQUIRE_MSG(a[i] == (i | UINT64_C(0xff) << 56), "word %zu of %zu changed", i, n);
  }
}

/* 256 MiB, or up to 1 GiB by HOLDFAST_TEST_SCALE. */
static size_t largest_words(void) { return 256 * MIB / 8 * (suite_scale() < 4 ? (size_t)suite_scale() : 4); }

static size_t grown(size_t words) {
  size_t bigger = 2 * words + rng_below(&rng, words);
  return bigger < largest_words() ? bigger : largest_words();
}

static NOINLINE uint64_t *grow(uint64_t *a, size_t words, size_t bigger) {
  a = gc_realloc(a, bigger * sizeof *a);
  REQUIRE_MSG(a != NULL, "%zu words", bigger);
  fill_words(a, words, bigger);
  return a;
}

/* In steps of a factor of two to three, each beside cycles; checked whole twice and at the end. */
static void grow_by_realloc(void) {
  uint64_t *a = NULL;
  size_t words = 0;
  rng.state = suite_seed();
  beside_begin(3000000);
  for (int step = 0; words < largest_words(); step++) {
    size_t bigger = words == 0 ? 100 : grown(words);
    a = grow(a, words, bigger);
    words = bigger;
    if (step % 8 == 0) check_words(a, words);
  }
  beside_end();
  gc_collect();
  check_words(a, words);
  printf("%zu MiB, %lu cycles", words * 8 / MIB, beside_cycles());
}

/* Up and down: what is cut off may go, what stays may not. */
static void grow_and_shrink(void) {
  uint64_t *a = NULL;
  size_t words = 0;
  rng.state = suite_seed();
  beside_begin(10000);
  for (uint64_t step = 0; step < 150 * suite_scale(); step++) {
    size_t next = 100 + rng_below(&rng, step % 10 == 0 ? MIB : 20000);
    if (next > words)
      a = grow(a, words, next);
    else
      REQUIRE((a = gc_realloc(a, next * sizeof *a)) != NULL);
    words = next;
    check_words(a, words);
  }
  beside_end();
  printf("%lu cycles", beside_cycles());
}

static const struct test_case cases[] = {
    {"copy_small", copy_small, NULL},           {"copy_large", copy_large, NULL},
    {"copy_very_large", copy_very_large, NULL}, {"grow_by_realloc", grow_by_realloc, NULL},
    {"grow_and_shrink", grow_and_shrink, NULL},
};

int main(int argc, char **argv) { return cases_main(argc, argv, "bulk", CASES(cases)); }
