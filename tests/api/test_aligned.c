/* test_aligned.c - gc_alloc_aligned: every power of two, refusal of everything else. */
#include "hide.h"

static const size_t sizes[] = {1, 8, 16, 24, 100, 1000, 4096, 8192, 10000, 32768, 40000, 1000000};
#define SIZES (sizeof sizes / sizeof *sizes)

enum { N = 50 };
static root keep[N];

static void check_one(size_t i, size_t alignment, size_t size) {
  char *p = gc_alloc_aligned(alignment, size);
  REQUIRE_MSG(p != NULL, "alignment %zu, size %zu", alignment, size);
  REQUIRE_MSG((uintptr_t)p % alignment == 0, "alignment %zu, size %zu: %p", alignment, size, (void *)p);
  REQUIRE(gc_base(p) == p && gc_base(p + size - 1) == p);
  REQUIRE(gc_usable_size(p) >= size);
  REQUIRE_MSG(all_zero(p, size), "alignment %zu, size %zu: not zero", alignment, size);
  pattern_fill(p, size, i);
  keep[i] = p;
}

/* All kept at once, then collected around, then freed one by one. */
START_TEST(every_power_of_two) {
  size_t alignment = (size_t)1 << _i;
  for (size_t k = 0; k < SIZES; k++) {
    size_t size = sizes[k], n = alignment > 100000 || size > 100000 ? 5 : N;
    for (size_t i = 0; i < n; i++) check_one(i, alignment, size);
    scrub_stack();
    gc_collect();
    refill(1000, size < 1000 ? size : 1000);
    for (size_t i = 0; i < n; i++) {
      REQUIRE(pattern_ok(keep[i], size, i));
      memset(keep[i], 0xff, size); /* for whom it is given to next */
      gc_free(keep[i]);
      keep[i] = NULL;
    }
  }
}
END_TEST

START_TEST(interior_keeps) {
  size_t alignment = (size_t)1 << _i;
  hidden h[N];
  for (size_t i = 0; i < 5; i++) {
    check_one(i, alignment, 3000);
    h[i] = hide(keep[i]);
    keep[i] = (char *)keep[i] + 2999;
  }
  scrub_stack();
  gc_collect();
  refill(2000, 3000);
  for (size_t i = 0; i < 5; i++) REQUIRE(pattern_ok(reveal(h[i]), 3000, i));
}
END_TEST

START_TEST(searched_for_pointers) {
  size_t alignment = (size_t)1 << _i;
  for (size_t i = 0; i < 5; i++) {
    void **p = gc_alloc_aligned(alignment, 2000);
    REQUIRE(p != NULL);
    p[249] = gc_alloc(32);
    REQUIRE(p[249] != NULL);
    pattern_fill(p[249], 32, i);
    keep[i] = p;
  }
  scrub_stack();
  gc_collect();
  refill(5000, 32);
  for (size_t i = 0; i < 5; i++) REQUIRE(pattern_ok(((void **)keep[i])[249], 32, i));
}
END_TEST

START_TEST(not_a_power_of_two) {
  volatile size_t bad[] = {0, 3, 5, 6, 12, 24, 48, 100, 4097, 8193, SIZE_MAX, SIZE_MAX / 2, ((size_t)1 << 40) + 1};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    errno = 0;
    REQUIRE_MSG(gc_alloc_aligned(bad[i], 64) == NULL && errno == EINVAL, "alignment %zu", bad[i]);
  }
}
END_TEST

START_TEST(impossible_alignment) {
  for (int bit = 48; bit < 64; bit++) {
    errno = 0;
    REQUIRE_MSG(gc_alloc_aligned((size_t)1 << bit, 64) == NULL && errno == ENOMEM, "2^%d", bit);
  }
}
END_TEST

static NOINLINE void make(hidden *h, size_t n, size_t alignment) {
  for (size_t i = 0; i < n; i++) h[i] = hide(gc_alloc_aligned(alignment, 100));
}

START_TEST(unreachable_goes) {
  hidden *h = hidden_new(200);
  make(h, 200, (size_t)1 << _i);
  scrub_stack();
  gc_collect();
  REQUIRE_MOSTLY_GONE(h, 200);
}
END_TEST

int main(void) {
  Suite *s = suite_create("aligned");
  TCase *tc = suite_case(s, "aligned");
  tcase_add_loop_test(tc, every_power_of_two, 0, 21);
  tcase_add_loop_test(tc, interior_keeps, 0, 21);
  tcase_add_loop_test(tc, searched_for_pointers, 0, 21);
  tcase_add_test(tc, not_a_power_of_two);
  tcase_add_test(tc, impossible_alignment);
  tcase_add_loop_test(tc, unreachable_goes, 4, 17);
  return suite_main(s);
}
