/* test_uncollectable.c - gc_alloc_uncollectable: kept and searched until gc_free, in cycles of both kinds, in any number. */
#include "beside.h"
#include "cases.h"
#include "gc_stats.h"
#include "gc_weak.h"
#include "misuse.h"

struct box {
  struct box *child; /* an ordinary object that only this one holds */
  uint64_t tag, size;
};

static size_t box_size(struct rng *r) {
  size_t dice = rng_below(r, 64);
  if (dice == 0) return 33000 + rng_below(r, 100000);
  return sizeof(struct box) + rng_below(r, dice < 4 ? 8000 : 200);
}

static NOINLINE void box_fill(struct box *b, uint64_t tag, size_t size) {
  b->tag = tag;
  b->size = size;
  b->child = gc_alloc(sizeof *b);
  REQUIRE(b->child != NULL);
  b->child->tag = ~tag;
}

static NOINLINE hidden box_new(struct rng *r) {
  size_t size = box_size(r);
  struct box *b = gc_alloc_uncollectable(size);
  REQUIRE(b != NULL && all_zero(b, size));
  box_fill(b, rng_next(r) | UINT64_C(0xff) << 56, size);
  return hide(b);
}

static NOINLINE void box_check(hidden h, size_t i) {
  const struct box *b = reveal(h);
  REQUIRE_MSG(gc_base(b) == (const void *)b, "uncollectable object %zu was freed", i);
  REQUIRE_MSG(gc_base(b->child) == (const void *)b->child && b->child->tag == ~b->tag, "%zu was not searched", i);
}

static uint64_t count(void) {
  struct gc_weak_stats s;
  gc_read_weak_stats(&s);
  REQUIRE(s.struct_size == sizeof s);
  return s.uncollectable;
}

static NOINLINE hidden hide_child(hidden h) { return hide(((struct box *)reveal(h))->child); }
static NOINLINE void free_box(hidden h) { gc_free(reveal(h)); }

static void collect_and_refill(void) {
  scrub_stack();
  gc_collect();
  refill(3000, sizeof(struct box));
}

static void kept_until_freed(void) {
  enum { N = 3000 };
  struct rng r = {suite_seed()};
  hidden *h = hidden_new(N), *child = hidden_new(N / 2);
  for (int i = 0; i < N; i++) h[i] = box_new(&r);
  REQUIRE(count() == N);
  for (int i = 0; i < 3; i++) collect_and_refill();
  for (size_t i = 0; i < N; i++) box_check(h[i], i);
  for (size_t i = 0; i < N / 2; i++) {
    child[i] = hide_child(h[2 * i]);
    free_box(h[2 * i]);
    REQUIRE(gc_base(reveal(h[2 * i])) == NULL);
  }
  REQUIRE(count() == N / 2);
  scrub_stack();
  gc_collect();
  REQUIRE_MOSTLY_GONE(child, N / 2);
  for (size_t i = 1; i < N; i += 2) box_check(h[i], i);
}

static NOINLINE void change_size(hidden *h, struct rng *r) {
  struct box *b = reveal(*h);
  size_t size = box_size(r);
  b = gc_realloc(b, size);
  REQUIRE(b != NULL);
  b->size = size;
  *h = hide(b);
}

static void realloc_keeps_the_kind(void) {
  enum { N = 500 };
  struct rng r = {suite_seed()};
  hidden *h = hidden_new(N);
  for (int i = 0; i < N; i++) h[i] = box_new(&r);
  for (int round = 0; round < 4; round++) {
    for (int i = 0; i < N; i++) change_size(&h[i], &r);
    collect_and_refill();
    for (size_t i = 0; i < N; i++) box_check(h[i], i);
    REQUIRE(count() == N);
  }
  for (int i = 0; i < N; i++) REQUIRE(gc_realloc(reveal(h[i]), 0) != NULL);
  REQUIRE(count() == 0);
}

/* Threads make, resize and free theirs while cycles run, so that blocks of words change at every moment of a cycle. */
enum { THREADS = 3, EACH = 400, MOVES = 6000, CYCLES = 15 };

static NOINLINE void make_move(hidden *h, struct rng *r, size_t i) {
  box_check(h[i], i);
  if (rng_below(r, 3) == 0) {
    change_size(&h[i], r);
  } else {
    free_box(h[i]);
    h[i] = box_new(r);
  }
}

static void *play(void *number) {
  struct rng r = {suite_seed() * 100 + (uintptr_t)number};
  hidden *h = hidden_new(EACH);
  for (int i = 0; i < EACH; i++) h[i] = box_new(&r);
  for (int i = 0; i < MOVES || beside_cycles() < CYCLES; i++) make_move(h, &r, rng_below(&r, EACH));
  for (size_t i = 0; i < EACH; i++) {
    box_check(h[i], i);
    free_box(h[i]);
  }
  return NULL;
}

static void beside_cycles_that_run(void) {
  pthread_t t[THREADS];
  beside_begin(200);
  for (uintptr_t i = 0; i < THREADS; i++) REQUIRE(pthread_create(&t[i], NULL, play, (void *)i) == 0);
  for (int i = 0; i < THREADS; i++) REQUIRE(pthread_join(t[i], NULL) == 0);
  beside_end();
  REQUIRE(count() == 0);
  printf("%lu cycles", beside_cycles());
}

static void very_many(void) {
  enum { N = 200000 };
  static struct gc_stats before, after;
  hidden *h = hidden_new(N);
  for (int round = 0; round < 2; round++) {
    for (int i = 0; i < N; i++) h[i] = hide(gc_alloc_uncollectable(16));
    gc_collect();
    for (int i = 0; i < N; i++) REQUIRE(gc_base(reveal(h[i])) == reveal(h[i]));
    for (int i = 0; i < N; i++) free_box(h[i]);
    gc_read_stats(round == 0 ? &before : &after);
    REQUIRE(count() == 0);
  }
  REQUIRE_MSG(after.gc_sys <= before.gc_sys + (1 << 20), "records grew: %" PRIu64 " -> %" PRIu64, before.gc_sys,
              after.gc_sys);
}

static void free_twice(void *p) {
  gc_free(p);
  gc_free(p);
}
static void free_inside(void *p) { gc_free((char *)p + 8); }

static void small_print(void) {
  volatile size_t zero = 0;
  void *p = gc_alloc_uncollectable(100);
  REQUIRE(gc_alloc_uncollectable(zero) == gc_alloc(zero) && count() == 1);
  errno = 0;
  REQUIRE(gc_alloc_uncollectable(SIZE_MAX / 2) == NULL && errno == ENOMEM && count() == 1);
  misuse(free_twice, p, "gc_free");
  misuse(free_inside, p, "gc_free");
  gc_free(p);
}

static const struct test_case cases[] = {
    {"kept_until_freed", kept_until_freed, NULL},
    {"realloc_keeps_the_kind", realloc_keeps_the_kind, NULL},
    {"beside_cycles_that_run", beside_cycles_that_run, NULL},
    {"very_many", very_many, NULL},
    {"small_print", small_print, NULL},
};

int main(int argc, char **argv) { return cases_main(argc, argv, "uncollectable", CASES(cases)); }
