/* test_control.c - steering the collector: collect, disable, percent, registered roots. */
#include "gc_stats.h"
#include "hide.h"

#define MIB ((size_t)1024 * 1024)

static root sink;
static root keep[64];

static uint64_t cycles(void) {
  struct gc_stats s;
  gc_read_stats(&s);
  return s.num_gc;
}

static uint64_t next_gc(void) {
  struct gc_stats s;
  gc_read_stats(&s);
  return s.next_gc;
}

static NOINLINE void make_garbage(size_t bytes) {
  for (size_t done = 0; done < bytes; done += 1024) {
    sink = gc_alloc(1024);
    REQUIRE(sink != NULL);
  }
  sink = NULL;
}

START_TEST(init_again_does_nothing) {
  char *p = gc_alloc(100);
  REQUIRE(p != NULL);
  pattern_fill(p, 100, 1);
  uint64_t before = cycles();
  for (int i = 0; i < 3; i++) gc_init();
  REQUIRE(cycles() == before && gc_base(p) == p && pattern_ok(p, 100, 1));
}
END_TEST

START_TEST(garbage_starts_cycles) {
  uint64_t before = cycles();
  make_garbage(256 * MIB);
  struct gc_stats s;
  gc_read_stats(&s);
  REQUIRE_MSG(s.num_gc > before + 3, "%" PRIu64 " cycles for 256 MiB of garbage", s.num_gc - before);
  REQUIRE_MSG(s.heap_sys < 128 * MIB, "the heap grew to %" PRIu64 " over an empty live set", s.heap_sys);
}
END_TEST

START_TEST(disable_nests) {
  gc_disable();
  gc_disable();
  gc_collect(); /* ends a cycle that was on its way; still works */
  uint64_t before = cycles();
  make_garbage(64 * MIB);
  REQUIRE_MSG(cycles() == before, "a cycle while disabled twice");
  gc_enable();
  make_garbage(64 * MIB);
  REQUIRE_MSG(cycles() == before, "a cycle while disabled once");
  gc_collect();
  REQUIRE(cycles() == before + 1);
  gc_enable();
  make_garbage(256 * MIB);
  REQUIRE_MSG(cycles() > before + 1, "no cycle after the last gc_enable");
}
END_TEST

START_TEST(enable_alone_does_nothing) {
  for (int i = 0; i < 5; i++) gc_enable();
  gc_disable();
  gc_collect();
  uint64_t before = cycles();
  make_garbage(64 * MIB);
  REQUIRE_MSG(cycles() == before, "earlier gc_enable calls were saved up");
  gc_enable();
}
END_TEST

static NOINLINE void make_live(size_t bytes) {
  for (size_t i = 0; i < 64; i++) {
    keep[i] = gc_alloc(bytes / 64);
    REQUIRE(keep[i] != NULL);
  }
}

START_TEST(percent_sets_the_next_cycle) {
  (void)gc_set_percent(100);
  REQUIRE(gc_set_percent(50) == 100);
  make_live(64 * MIB);
  gc_collect();
  uint64_t at50 = next_gc();
  REQUIRE(gc_set_percent(400) == 50);
  uint64_t at400 = next_gc();
  REQUIRE_MSG(at50 >= 64 * MIB && at50 < 140 * MIB, "at 50: %" PRIu64, at50);
  REQUIRE_MSG(at400 > 2 * at50, "takes effect at once: 50 %% %" PRIu64 ", 400 %% %" PRIu64, at50, at400);
  REQUIRE(gc_set_percent(-1) == 400);
  REQUIRE(next_gc() == UINT64_MAX);
  REQUIRE(gc_set_percent(100) < 0);
  REQUIRE(next_gc() < at400 && next_gc() > at50);
}
END_TEST

START_TEST(negative_percent_turns_off) {
  (void)gc_set_percent(-1);
  gc_collect();
  uint64_t before = cycles();
  make_garbage(100 * MIB);
  REQUIRE(cycles() == before);
  gc_collect();
  REQUIRE(cycles() == before + 1);
  (void)gc_set_percent(100);
  make_garbage(256 * MIB);
  REQUIRE(cycles() > before + 1);
}
END_TEST

/* An almost empty heap is not collected again and again. */
START_TEST(next_gc_has_a_floor) {
  (void)gc_set_percent(100);
  for (int i = 0; i < 5; i++) {
    gc_collect();
    REQUIRE_MSG(next_gc() >= 4 * MIB, "next_gc %" PRIu64, next_gc());
  }
}
END_TEST

/* -- registered roots -- */
enum { N = 1000 };

static NOINLINE void fill_roots(void **table, hidden *h, size_t n) {
  for (size_t i = 0; i < n; i++) {
    table[i] = gc_alloc(64);
    REQUIRE(table[i] != NULL);
    pattern_fill(table[i], 64, i);
    h[i] = hide(table[i]);
  }
}

static void collect_around(void) {
  scrub_stack();
  gc_collect();
  refill(2 * N, 64);
}

static void require_kept(const hidden *h, size_t n) {
  for (size_t i = 0; i < n; i++) REQUIRE_MSG(pattern_ok(reveal(h[i]), 64, i), "object %zu of a root range", i);
}

START_TEST(roots_keep_until_removed) {
  void **table = malloc(N * sizeof *table);
  hidden *h = hidden_new(N);
  REQUIRE(table != NULL);
  memset(table, 0, N * sizeof *table);
  REQUIRE(gc_add_roots(table, table + N) == 0);
  fill_roots(table, h, N);
  collect_around();
  require_kept(h, N);
  gc_remove_roots(table, table + N);
  scrub_stack();
  gc_collect();
  REQUIRE_MOSTLY_GONE(h, N);
}
END_TEST

/* [lo, hi): the word at hi is no root. */
START_TEST(roots_end_before_hi) {
  void **table = calloc(2 * N, sizeof *table);
  hidden *h = hidden_new(2 * N);
  REQUIRE(table != NULL);
  for (size_t i = 0; i < 2 * N; i += 2) REQUIRE(gc_add_roots(table + i, table + i + 1) == 0);
  fill_roots(table, h, 2 * N);
  scrub_stack();
  gc_collect();
  for (size_t i = 0; i < 2 * N; i += 2) REQUIRE(pattern_ok(reveal(h[i]), 64, i));
  for (size_t i = 0; i < N; i++) h[i] = h[2 * i + 1];
  REQUIRE_MOSTLY_GONE(h, N);
}
END_TEST

START_TEST(removal_takes_whole_ranges_within) {
  void **table = calloc(N, sizeof *table);
  hidden *h = hidden_new(N);
  REQUIRE(table != NULL);
  REQUIRE(gc_add_roots(table, table + N / 2) == 0);
  REQUIRE(gc_add_roots(table + N / 2, table + N) == 0);
  fill_roots(table, h, N);
  gc_remove_roots(table, table + N / 4); /* part of a range: removes nothing */
  gc_remove_roots(table + N / 4, table + N / 2 + N / 4);
  gc_remove_roots(table + N, table + N);
  collect_around();
  require_kept(h, N);
  gc_remove_roots(table - 1, table + N + 1); /* around both */
  scrub_stack();
  gc_collect();
  REQUIRE_MOSTLY_GONE(h, N);
}
END_TEST

START_TEST(roots_refuse_nonsense) {
  void *table[4] = {0};
  errno = 0;
  REQUIRE(gc_add_roots(table + 2, table) == -1 && errno == EINVAL);
  REQUIRE(gc_add_roots(table, table) == 0);
  gc_remove_roots(table, table);
  gc_remove_roots(table + 2, table);
  gc_collect();
}
END_TEST

/* Many, added in one order and removed in another. */
START_TEST(many_root_ranges) {
  enum { RANGES = 5000 };
  void **table = calloc(RANGES, 2 * sizeof *table);
  hidden *h = hidden_new(RANGES);
  struct rng r = {suite_seed()};
  REQUIRE(table != NULL);
  for (size_t i = 0; i < RANGES; i++) REQUIRE(gc_add_roots(table + 2 * i, table + 2 * i + 1) == 0);
  for (size_t i = 0; i < RANGES; i++) fill_roots(table + 2 * i, h + i, 1);
  size_t removed = 0;
  bool *gone = calloc(RANGES, sizeof *gone);
  REQUIRE(gone != NULL);
  for (int i = 0; i < RANGES; i++) {
    size_t k = rng_below(&r, RANGES);
    removed += !gone[k];
    gone[k] = true;
    gc_remove_roots(table + 2 * k, table + 2 * k + 1);
  }
  scrub_stack();
  gc_collect();
  size_t dead = 0;
  for (size_t k = 0; k < RANGES; k++) {
    if (gone[k])
      dead += gc_base(reveal(h[k])) == NULL;
    else
      REQUIRE(pattern_ok(reveal(h[k]), 64, 0));
  }
  REQUIRE_MSG(dead * 100 >= removed * 95, "%zu of %zu went", dead, removed);
}
END_TEST

START_TEST(use_keeps_its_arguments) {
  char *p = gc_alloc(64), *q = gc_alloc(64);
  REQUIRE(p != NULL && q != NULL);
  hidden h = hide(p), g = hide(q);
  gc_collect();
  REQUIRE(gc_base(reveal(h)) == reveal(h) && gc_base(reveal(g)) == reveal(g));
  gc_use(p);
  gc_use(p, q);
}
END_TEST

int main(void) {
  Suite *s = suite_create("control");
  TCase *tc = suite_case(s, "control");
  tcase_add_test(tc, init_again_does_nothing);
  tcase_add_test(tc, garbage_starts_cycles);
  tcase_add_test(tc, disable_nests);
  tcase_add_test(tc, enable_alone_does_nothing);
  tcase_add_test(tc, percent_sets_the_next_cycle);
  tcase_add_test(tc, negative_percent_turns_off);
  tcase_add_test(tc, next_gc_has_a_floor);
  tcase_add_test(tc, roots_keep_until_removed);
  tcase_add_test(tc, roots_end_before_hi);
  tcase_add_test(tc, removal_takes_whole_ranges_within);
  tcase_add_test(tc, roots_refuse_nonsense);
  tcase_add_test(tc, many_root_ranges);
  tcase_add_test(tc, use_keeps_its_arguments);
  return suite_main(s);
}
