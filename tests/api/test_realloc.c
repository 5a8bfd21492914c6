/* test_realloc.c - gc_realloc in every direction: contents and kind kept, tails zero, the old object freed. */
#include "hide.h"

static const size_t sizes[] = {1,    5,    8,    15,    16,    17,    24,    25,     64,     100,     500,    1000,
                               2048, 5000, 8192, 16000, 32768, 32769, 40000, 100000, 262144, 1000000, 4194304};
#define SIZES (sizeof sizes / sizeof *sizes)

static root keep;

static size_t lesser(size_t a, size_t b) { return a < b ? a : b; }

/* Fills the whole usable size, so that a tail that is zero was made zero by gc_realloc. */
static void check_scanned(size_t from, size_t to) {
  char *p = gc_alloc(from);
  REQUIRE(p != NULL);
  size_t usable = gc_usable_size(p);
  pattern_fill(p, usable, from);
  char *q = gc_realloc(p, to);
  REQUIRE(q != NULL && gc_base(q) == q);
  REQUIRE_MSG(gc_usable_size(q) >= to, "%zu -> %zu: usable %zu", from, to, gc_usable_size(q));
  REQUIRE_MSG(pattern_ok(q, lesser(from, to), from), "%zu -> %zu: contents", from, to);
  if (to > usable) REQUIRE_MSG(all_zero(q + usable, to - usable), "%zu -> %zu: tail is not zero", from, to);
  REQUIRE((uintptr_t)q % (to <= 8 || (to >= 17 && to <= 24) ? 8 : 16) == 0);
  memset(q, 0xff, gc_usable_size(q));
  gc_free(q);
}

static void check_noscan(size_t from, size_t to) {
  char *p = gc_alloc_noscan(from);
  REQUIRE(p != NULL);
  pattern_fill(p, from, from);
  char *q = gc_realloc(p, to);
  REQUIRE(q != NULL);
  REQUIRE_MSG(pattern_ok(q, lesser(from, to), from), "noscan %zu -> %zu: contents", from, to);
  memset(q, 0xff, to);
}

/* Twice, so that the second round works on memory that the first has dirtied. */
START_TEST(every_pair_of_sizes) {
  for (int round = 0; round < 2; round++)
    for (size_t to = 0; to < SIZES; to++) {
      check_scanned(sizes[_i], sizes[to]);
      check_noscan(sizes[_i], sizes[to]);
    }
}
END_TEST

START_TEST(small_steps) {
  char *p = NULL;
  size_t usable = 0;
  for (size_t n = 1; n <= 20000; n += 1 + n / 50) {
    p = gc_realloc(p, n);
    REQUIRE(p != NULL);
    REQUIRE(pattern_ok(p, usable, 9));
    if (n > usable) REQUIRE(all_zero(p + usable, n - usable));
    usable = gc_usable_size(p);
    pattern_fill(p, usable, 9);
  }
  for (size_t n = 20000; n > 1; n -= 1 + n / 50) {
    p = gc_realloc(p, n);
    REQUIRE(p != NULL && gc_usable_size(p) >= n);
    REQUIRE(pattern_ok(p, n, 9));
  }
}
END_TEST

/* A large object grown and shrunk with others around it. */
START_TEST(large_among_neighbours) {
  enum { N = 8 };
  struct rng r = {suite_seed()};
  static char *volatile p[N];
  size_t size[N] = {0};
  for (int step = 0; step < 400; step++) {
    size_t i = rng_below(&r, N), to = 30000 + rng_below(&r, 3000000);
    char *q = gc_realloc(p[i], to);
    REQUIRE(q != NULL);
    REQUIRE_MSG(pattern_ok(q, lesser(size[i], to), i), "step %d", step);
    p[i] = q;
    size[i] = to;
    pattern_fill(q, to, i);
    for (size_t k = 0; k < N; k++) REQUIRE(pattern_ok(p[k], size[k], k));
  }
}
END_TEST

START_TEST(same_size_stays) {
  for (size_t i = 0; i < SIZES; i++) {
    char *p = gc_alloc(sizes[i]);
    REQUIRE(p != NULL);
    hidden old = hide(p);
    REQUIRE_MSG(gc_realloc(p, sizes[i]) == reveal(old), "size %zu moved without need", sizes[i]);
  }
}
END_TEST

START_TEST(null_and_zero) {
  volatile size_t zero = 0;
  void *z = gc_alloc(zero);
  char *p = gc_realloc(NULL, 100);
  REQUIRE(p != NULL && all_zero(p, 100));
  memset(p, 0xff, 100);
  hidden old = hide(p);
  REQUIRE(gc_realloc(p, zero) == z);
  REQUIRE_MSG(gc_base(reveal(old)) == NULL, "not freed");
  REQUIRE(gc_realloc(NULL, zero) == z);
  REQUIRE(gc_realloc(z, zero) == z);
  p = gc_realloc(z, 200);
  REQUIRE(p != NULL && p != z && all_zero(p, 200));
  memset(p, 0xff, 200);
  gc_free(p);
}
END_TEST

START_TEST(old_object_is_freed) {
  static const size_t from[] = {16, 64, 1000, 20000, 100000};
  for (size_t i = 0; i < 5; i++) {
    char *p = gc_alloc(from[i]);
    REQUIRE(p != NULL);
    hidden old = hide(p);
    char *q = gc_realloc(p, from[i] * 20);
    REQUIRE(q != NULL);
    if (q != reveal(old)) REQUIRE(gc_base(reveal(old)) == NULL);
    p = gc_realloc(q, 10);
    REQUIRE(p != NULL && gc_usable_size(p) >= 10);
  }
}
END_TEST

/* -- the kind is kept: a scanned object is searched in its new tail too, a noscan one nowhere -- */
enum { N = 1000 };

static NOINLINE void grow_and_point(hidden *h, size_t to, bool noscan) {
  void **table = gc_alloc(N * sizeof *table);
  keep = table;
  for (size_t i = 0; i < N; i++) {
    void **p = noscan ? gc_alloc_noscan(32) : gc_alloc(32);
    REQUIRE(p != NULL);
    p = gc_realloc(p, to);
    REQUIRE(p != NULL);
    if (noscan) memset(p, 0, to);
    void *target = gc_alloc(48);
    REQUIRE(target != NULL);
    pattern_fill(target, 48, i);
    p[to / sizeof *p - 1] = target;
    h[i] = hide(target);
    table[i] = p;
  }
}

static const size_t grown[] = {32, 64, 2000, 40000};

START_TEST(scanned_stays_scanned) {
  hidden *h = hidden_new(N);
  grow_and_point(h, grown[_i], false);
  scrub_stack();
  gc_collect();
  refill(2 * N, 48);
  for (size_t i = 0; i < N; i++) REQUIRE(pattern_ok(reveal(h[i]), 48, i));
}
END_TEST

START_TEST(noscan_stays_noscan) {
  hidden *h = hidden_new(N);
  grow_and_point(h, grown[_i], true);
  scrub_stack();
  gc_collect();
  REQUIRE_MOSTLY_GONE(h, N);
}
END_TEST

/* Pointers held by the object alone live through its moves, also with collections in between. */
START_TEST(growing_vector_of_pointers) {
  void **v = NULL;
  for (size_t n = 0; n < 200000; n++) {
    if ((n & (n - 1)) == 0) {
      v = gc_realloc(v, (n == 0 ? 1 : 2 * n) * sizeof *v);
      REQUIRE(v != NULL);
    }
    uint64_t *p = gc_alloc(16);
    REQUIRE(p != NULL);
    p[0] = n;
    v[n] = p;
    if (n % 50000 == 0) gc_collect();
  }
  refill(100000, 16);
  for (size_t n = 0; n < 200000; n++) REQUIRE(*(uint64_t *)v[n] == n);
}
END_TEST

int main(void) {
  Suite *s = suite_create("realloc");
  TCase *tc = suite_case(s, "realloc");
  tcase_add_loop_test(tc, every_pair_of_sizes, 0, (int)SIZES);
  tcase_add_test(tc, small_steps);
  tcase_add_test(tc, large_among_neighbours);
  tcase_add_test(tc, same_size_stays);
  tcase_add_test(tc, null_and_zero);
  tcase_add_test(tc, old_object_is_freed);
  tcase_add_loop_test(tc, scanned_stays_scanned, 0, 4);
  tcase_add_loop_test(tc, noscan_stays_noscan, 0, 4);
  tcase_add_test(tc, growing_vector_of_pointers);
  return suite_main(s);
}
