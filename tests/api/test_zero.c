/* test_zero.c - gc_alloc returns zeroed memory, above all when the memory was used before.
 * Every reuse test counts the reused addresses and fails when there are none: it would prove nothing. */
#include <sys/mman.h>

#include "hide.h"

static const size_t sizes[] = {1,    8,    15,   16,   17,   24,    32,    48,    100,   128,   256,    500,
                               1024, 2048, 4000, 8192, 9000, 16384, 20000, 32768, 32769, 65536, 200000, 1048576};
#define SIZES (sizeof sizes / sizeof *sizes)

static root hold;

/* Enough objects of a size to fill more than one span, without filling the machine. */
static size_t count_for(size_t size) { return size <= 2048 ? 2000 : size <= 32768 ? 200 : 40; }

static int by_bits(const void *a, const void *b) {
  uintptr_t x = ((const hidden *)a)->bits, y = ((const hidden *)b)->bits;
  return x < y ? -1 : x > y;
}

static NOINLINE void make_dirty(hidden *h, size_t n, size_t size, bool noscan) {
  for (size_t i = 0; i < n; i++) {
    char *p = noscan ? gc_alloc_noscan(size) : gc_alloc(size);
    REQUIRE(p != NULL);
    memset(p, 0xff, gc_usable_size(p) < size ? size : gc_usable_size(p));
    h[i] = hide(p);
  }
  qsort(h, n, sizeof *h, by_bits);
}

/* Allocates until half of the dirty addresses came back; every object on the way must be zero. */
static NOINLINE void expect_zero_reuse(const hidden *dirty, size_t n, size_t size) {
  size_t reused = 0;
  for (size_t i = 0; i < 400 * n && reused < n / 2 + 1; i++) {
    char *p = gc_alloc(size);
    REQUIRE(p != NULL);
    REQUIRE_MSG(all_zero(p, gc_usable_size(p)), "size %zu: object %zu is not zero", size, i);
    memset(p, 0xee, gc_usable_size(p));
    hidden key = hide(p);
    reused += bsearch(&key, dirty, n, sizeof *dirty, by_bits) != NULL;
  }
  REQUIRE_MSG(reused >= n / 2, "size %zu: %zu of %zu addresses reused", size, reused, n);
}

START_TEST(fresh) {
  for (size_t size = 1; size <= 70000; size += size < 2048 ? 1 : 997)
    for (int i = 0; i < 3; i++) {
      char *p = gc_alloc(size);
      REQUIRE(p != NULL);
      REQUIRE_MSG(all_zero(p, gc_usable_size(p)), "size %zu", size);
      memset(p, 0xff, gc_usable_size(p));
    }
}
END_TEST

START_TEST(after_collection) {
  size_t size = sizes[_i], n = count_for(size);
  hidden *h = hidden_new(n);
  make_dirty(h, n, size, false);
  scrub_stack();
  gc_collect();
  expect_zero_reuse(h, n, size);
}
END_TEST

START_TEST(after_free) {
  size_t size = sizes[_i], n = count_for(size);
  hidden *h = hidden_new(n);
  gc_disable(); /* nothing but gc_free frees them */
  make_dirty(h, n, size, false);
  for (size_t i = 0; i < n; i++) gc_free(reveal(h[i]));
  gc_enable();
  expect_zero_reuse(h, n, size);
}
END_TEST

/* Memory that was dirtied as noscan comes back as scanned: the span was freed and given out again. */
START_TEST(dirty_noscan_becomes_scanned) {
  const size_t n = 500, size = 8192;
  hidden *h = hidden_new(n);
  make_dirty(h, n, size, true);
  scrub_stack();
  gc_collect();
  expect_zero_reuse(h, n, size);
}
END_TEST

START_TEST(after_release) {
  size_t size = sizes[_i], n = count_for(size);
  hidden *h = hidden_new(n);
  make_dirty(h, n, size, false);
  scrub_stack();
  gc_release_memory();
  for (size_t i = 0; i < n; i++) {
    char *p = gc_alloc(size);
    REQUIRE(p != NULL);
    REQUIRE(all_zero(p, gc_usable_size(p)));
    memset(p, 0xff, size);
  }
}
END_TEST

START_TEST(calloc_product) {
  for (size_t n = 1; n < 300; n += 7)
    for (size_t size = 1; size < 300; size += 11) {
      char *p = gc_calloc(n, size);
      REQUIRE(p != NULL);
      REQUIRE(gc_usable_size(p) >= n * size);
      REQUIRE(all_zero(p, n * size));
      memset(p, 0xff, n * size);
      hold = p;
    }
}
END_TEST

/* Zeroing may write only the new object: its neighbours keep their contents. */
START_TEST(neighbours_kept) {
  size_t size = sizes[_i], n = count_for(size);
  char **p = gc_calloc(n, sizeof *p);
  REQUIRE(p != NULL);
  for (int round = 0; round < 3; round++) {
    for (size_t i = 0; i < n; i++)
      if (p[i] == NULL) {
        p[i] = gc_alloc(size);
        REQUIRE(p[i] != NULL);
        pattern_fill(p[i], gc_usable_size(p[i]), i);
      }
    for (size_t i = 0; i < n; i++) REQUIRE(pattern_ok(p[i], gc_usable_size(p[i]), i));
    for (size_t i = (size_t)round; i < n; i += 2) p[i] = NULL;
    gc_collect();
  }
}
END_TEST

/* The kernel does not take locked memory back: it must not pass for released, and zero. */
START_TEST(locked_memory) {
  enum { LARGE = 100000, COUNT = 200 };
  if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) return; /* not permitted here: nothing to see */
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < COUNT; i++) memset(gc_alloc(LARGE), 0xff, LARGE);
    gc_release_memory();
    for (int i = 0; i < COUNT; i++) {
      const char *p = gc_alloc(LARGE);
      REQUIRE(p[0] == 0 && memcmp(p, p + 1, LARGE - 1) == 0);
    }
  }
  munlockall();
}
END_TEST

int main(void) {
  Suite *s = suite_create("zero");
  TCase *tc = suite_case(s, "zero");
  tcase_add_test(tc, fresh);
  tcase_add_loop_test(tc, after_collection, 0, (int)SIZES);
  tcase_add_loop_test(tc, after_free, 0, (int)SIZES);
  tcase_add_test(tc, dirty_noscan_becomes_scanned);
  tcase_add_loop_test(tc, after_release, 0, (int)SIZES);
  tcase_add_test(tc, calloc_product);
  tcase_add_test(tc, locked_memory);
  tcase_add_loop_test(tc, neighbours_kept, 0, (int)SIZES);
  return suite_main(s);
}
