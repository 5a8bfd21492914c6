/* test_sizes.c - what a size gives: alignment, usable bytes, the zero-size object, refusal of impossible
 * sizes with ENOMEM, and errno that is left alone on success. */
#include "hide.h"

/* The promise in gc_alloc.h, restated. */
static size_t promised_alignment(size_t size, bool noscan) {
  if (noscan && size < 16) return size & (~size + 1);
  if (size <= 8 || (size >= 17 && size <= 24)) return 8;
  return 16;
}

static void check_size(size_t size, bool noscan) {
  char *p = noscan ? gc_alloc_noscan(size) : gc_alloc(size);
  REQUIRE(p != NULL);
  size_t align = promised_alignment(size, noscan);
  REQUIRE_MSG((uintptr_t)p % align == 0, "size %zu at %p is not aligned to %zu", size, (void *)p, align);
  size_t usable = gc_usable_size(p);
  if (noscan && size < 16)
    REQUIRE_MSG(usable == 1, "tiny size %zu: usable %zu", size, usable);
  else
    REQUIRE_MSG(usable >= size, "size %zu: usable %zu", size, usable);
  p[0] = 1;
  p[size - 1] = 1;
}

/* Several of each size: the first slot of a span is aligned to a page, the others are not. */
START_TEST(alignment_scanned) {
  for (size_t size = 1; size <= 40000; size++)
    for (int i = 0; i < (size <= 2048 ? 5 : 2); i++) check_size(size, false);
}
END_TEST

START_TEST(alignment_noscan) {
  for (size_t size = 1; size <= 40000; size++)
    for (int i = 0; i < (size <= 2048 ? 5 : 2); i++) check_size(size, true);
}
END_TEST

/* Mixed tiny sizes share blocks, and an odd one must not push the next off its alignment. */
START_TEST(alignment_tiny_mixed) {
  struct rng r = {suite_seed()};
  for (int i = 0; i < 200000; i++) check_size(1 + rng_below(&r, 15), true);
}
END_TEST

/* All usable bytes belong to the object: filling them harms no other. */
static void check_disjoint(size_t size, bool noscan) {
  enum { N = 100 };
  char **p = gc_calloc(N, sizeof *p);
  REQUIRE(p != NULL);
  for (size_t i = 0; i < N; i++) {
    p[i] = noscan ? gc_alloc_noscan(size) : gc_alloc(size);
    REQUIRE(p[i] != NULL);
    size_t usable = gc_usable_size(p[i]);
    pattern_fill(p[i], usable > size ? usable : size, i);
  }
  for (size_t i = 0; i < N; i++) {
    size_t usable = gc_usable_size(p[i]);
    REQUIRE_MSG(pattern_ok(p[i], usable > size ? usable : size, i), "size %zu, object %zu", size, i);
  }
}

START_TEST(usable_bytes_are_disjoint) {
  for (size_t size = 1; size <= 40000; size += size < 300 ? 1 : 401) {
    check_disjoint(size, false);
    check_disjoint(size, true);
  }
}
END_TEST

START_TEST(zero_size_is_one_object) {
  volatile size_t zero = 0, most = SIZE_MAX;
  void *z = gc_alloc(zero);
  REQUIRE(z != NULL);
  gc_collect();
  REQUIRE(gc_alloc(zero) == z);
  REQUIRE(gc_alloc_noscan(zero) == z);
  REQUIRE(gc_calloc(zero, 8) == z);
  REQUIRE(gc_calloc(8, zero) == z);
  REQUIRE(gc_calloc(zero, most) == z);
  REQUIRE(gc_usable_size(z) == 0);
  gc_free(z);
  gc_free(z);
  REQUIRE(gc_alloc(zero) == z);
  for (int i = 0; i < 1000; i++) REQUIRE(gc_alloc(16) != z);
}
END_TEST

START_TEST(usable_size_of_other_addresses) {
  static char in_data[64];
  char on_stack[64] = {0};
  char *p = gc_alloc(64), *big = gc_alloc(1 << 20), *m = malloc(64);
  REQUIRE(p != NULL && big != NULL && m != NULL);
  REQUIRE(gc_usable_size(NULL) == 0);
  REQUIRE(gc_usable_size(p + 1) == 0);
  REQUIRE(gc_usable_size(p + 16) == 0);
  REQUIRE(gc_usable_size(big + 8192) == 0);
  REQUIRE(gc_usable_size(in_data) == 0);
  REQUIRE(gc_usable_size(on_stack) == 0);
  REQUIRE(gc_usable_size(m) == 0);
  REQUIRE(gc_usable_size((void *)8) == 0);
  REQUIRE(gc_usable_size((void *)UINTPTR_MAX) == 0);
  free(m);
}
END_TEST

START_TEST(base_of_any_address) {
  static char in_data[64];
  char on_stack[64] = {0};
  char *m = malloc(64);
  for (size_t size = 16; size <= 300000; size += size / 3) {
    char *p = gc_alloc(size);
    REQUIRE(p != NULL);
    size_t usable = gc_usable_size(p);
    for (size_t off = 0; off < usable; off += usable / 16) REQUIRE(gc_base(p + off) == p);
    REQUIRE(gc_base(p + usable - 1) == p);
    REQUIRE(gc_base(p + usable) != p);
    REQUIRE(gc_base(p - 1) != p);
  }
  REQUIRE(gc_base(NULL) == NULL);
  REQUIRE(gc_base(in_data) == NULL);
  REQUIRE(gc_base(on_stack) == NULL);
  REQUIRE(gc_base(m) == NULL);
  /* "Safe with any value": every power of two, one less, and its complement. */
  for (int bit = 0; bit < 64; bit++) {
    uintptr_t w = (uintptr_t)1 << bit;
    REQUIRE(gc_base((void *)~w) == NULL);
    (void)gc_base((void *)w);
    (void)gc_base((void *)(w - 1));
  }
  free(m);
}
END_TEST

/* Volatile, or the compiler warns about the sizes we are here to try. */
static volatile size_t impossible[] = {SIZE_MAX,        SIZE_MAX - 1,     SIZE_MAX - 15,        SIZE_MAX - 4095,
                                       SIZE_MAX - 8191, SIZE_MAX / 2 + 1, SIZE_MAX / 2,         SIZE_MAX / 4,
                                       (size_t)1 << 62, (size_t)1 << 48,  ((size_t)1 << 47) - 1};
#define IMPOSSIBLE (sizeof impossible / sizeof *impossible)

START_TEST(impossible_sizes) {
  size_t size = impossible[_i];
  errno = 0;
  REQUIRE(gc_alloc(size) == NULL && errno == ENOMEM);
  errno = 0;
  REQUIRE(gc_alloc_noscan(size) == NULL && errno == ENOMEM);
  errno = 0;
  REQUIRE(gc_calloc(1, size) == NULL && errno == ENOMEM);
  errno = 0;
  REQUIRE(gc_alloc_aligned(64, size) == NULL && errno == ENOMEM);
  errno = 0;
  REQUIRE(gc_realloc(NULL, size) == NULL && errno == ENOMEM);
  char *p = gc_alloc(100);
  REQUIRE(p != NULL);
  pattern_fill(p, 100, 5);
  errno = 0;
  REQUIRE(gc_realloc(p, size) == NULL && errno == ENOMEM);
  REQUIRE(gc_base(p) == p && pattern_ok(p, 100, 5));
  gc_free(p);
  p = gc_alloc(100);
  REQUIRE_MSG(p != NULL, "nothing left after a refusal");
}
END_TEST

START_TEST(calloc_overflow) {
  volatile size_t a[] = {SIZE_MAX, SIZE_MAX / 2 + 1, (size_t)1 << 32, 3, (size_t)1 << 63};
  volatile size_t b[] = {2, 2, (size_t)1 << 32, SIZE_MAX / 2, 2};
  for (size_t i = 0; i < sizeof a / sizeof *a; i++) {
    errno = 0;
    REQUIRE_MSG(gc_calloc(a[i], b[i]) == NULL && errno == ENOMEM, "%zu * %zu", a[i], b[i]);
    errno = 0;
    REQUIRE(gc_calloc(b[i], a[i]) == NULL && errno == ENOMEM);
  }
}
END_TEST

START_TEST(errno_kept_on_success) {
  const int mine = 1234;
  for (size_t i = 0; i < 40000; i++) {
    errno = mine;
    void *a = gc_alloc(1 + i % 5000), *b = gc_alloc_noscan(1 + i % 300), *c = gc_calloc(3, 40);
    REQUIRE(a != NULL && b != NULL && c != NULL && errno == mine);
    c = gc_realloc(c, i % 1000);
    a = gc_alloc_aligned(128, 100);
    b = gc_strdup("kept");
    REQUIRE(a != NULL && b != NULL && c != NULL && errno == mine);
    if (i % 400 == 0) {
      a = gc_alloc(1 << 20);
      REQUIRE(a != NULL && errno == mine);
    }
  }
}
END_TEST

int main(void) {
  Suite *s = suite_create("sizes");
  TCase *tc = suite_case(s, "sizes");
  tcase_add_test(tc, alignment_scanned);
  tcase_add_test(tc, alignment_noscan);
  tcase_add_test(tc, alignment_tiny_mixed);
  tcase_add_test(tc, usable_bytes_are_disjoint);
  tcase_add_test(tc, zero_size_is_one_object);
  tcase_add_test(tc, usable_size_of_other_addresses);
  tcase_add_test(tc, base_of_any_address);
  tcase_add_loop_test(tc, impossible_sizes, 0, (int)IMPOSSIBLE);
  tcase_add_test(tc, calloc_overflow);
  tcase_add_test(tc, errno_kept_on_success);
  return suite_main(s);
}
