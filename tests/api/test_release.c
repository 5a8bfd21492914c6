/* test_release.c - memory that a program dropped goes back to the system.
 * Measured twice: by the library's figures, and by what the kernel says is resident. */
#include <unistd.h>

#include "gc_stats.h"
#include "hide.h"

#define MIB ((size_t)1024 * 1024)

static struct gc_stats base, full, end;
static root live;

static size_t resident(void) {
  unsigned long total, pages;
  FILE *f = fopen("/proc/self/statm", "r");
  REQUIRE(f != NULL && fscanf(f, "%lu %lu", &total, &pages) == 2);
  fclose(f);
  return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* A table of objects, all bytes touched. */
static NOINLINE void fill(size_t bytes, size_t size, bool noscan) {
  size_t n = bytes / size;
  void **table = gc_alloc((n + 1) * sizeof *table);
  REQUIRE(table != NULL);
  table[n] = live;
  live = table;
  for (size_t i = 0; i < n; i++) {
    table[i] = noscan ? gc_alloc_noscan(size) : gc_alloc(size);
    REQUIRE(table[i] != NULL);
    memset(table[i], 0xff, size);
  }
}

static uint64_t usage(const struct gc_stats *s) { return s->heap_sys - s->heap_released; }

static void check_release(void (*build)(void), size_t built) {
  gc_release_memory();
  gc_read_stats(&base);
  size_t base_rss = resident();
  build();
  gc_read_stats(&full);
  size_t full_rss = resident();
  REQUIRE(usage(&full) >= usage(&base) + built);
  REQUIRE(full_rss >= base_rss + built * 9 / 10);
  live = NULL;
  scrub_stack();
  gc_release_memory();
  gc_read_stats(&end);
  size_t end_rss = resident();
  REQUIRE_MSG(end.heap_inuse <= base.heap_inuse + built / 10, "heap_inuse %" PRIu64 " MiB left", end.heap_inuse / MIB);
  REQUIRE_MSG(usage(&end) <= usage(&base) + built / 10, "heap usage %" PRIu64 " MiB left", usage(&end) / MIB);
  REQUIRE_MSG(full_rss - end_rss >= built * 8 / 10, "resident: %zu, %zu, %zu MiB", base_rss / MIB, full_rss / MIB,
              end_rss / MIB);
  REQUIRE(end.heap_released <= end.heap_idle);
}

static void build_small(void) { fill(96 * MIB, 64, false); }
static void build_middle(void) { fill(96 * MIB, 5000, true); }
static void build_large(void) { fill(96 * MIB, MIB, false); }
static void build_mixed(void) {
  fill(32 * MIB, 200, false);
  fill(32 * MIB, 30000, true);
  fill(32 * MIB, 300000, false);
}

static void (*const builds[])(void) = {build_small, build_middle, build_large, build_mixed};

START_TEST(returns_to_baseline) { check_release(builds[_i], 96 * MIB); }
END_TEST

/* What was given back serves again, zeroed, and can be given back again. */
START_TEST(again_and_again) {
  for (int round = 0; round < 4; round++) {
    check_release(builds[round], 96 * MIB);
    char *p = gc_alloc(8 * MIB);
    REQUIRE(p != NULL && all_zero(p, 8 * MIB));
  }
}
END_TEST

/* The library says "not resident" of what the kernel says so, too. */
START_TEST(released_agrees_with_the_kernel) {
  build_mixed();
  size_t full_rss = resident();
  gc_read_stats(&full);
  live = NULL;
  scrub_stack();
  gc_release_memory();
  gc_read_stats(&end);
  size_t fell = full_rss - resident();
  uint64_t said = usage(&full) - usage(&end);
  REQUIRE_MSG(said <= fell + fell / 5 && fell <= said + said / 5, "usage fell by %" PRIu64 " MiB, resident by %zu MiB",
              said / MIB, fell / MIB);
}
END_TEST

/* Live objects stay where and what they are while the pages around them go. */
START_TEST(live_objects_stay) {
  enum { N = 2000 };
  static char *volatile keep[N];
  for (size_t i = 0; i < N; i++) {
    keep[i] = gc_alloc(300);
    REQUIRE(keep[i] != NULL);
    pattern_fill(keep[i], 300, i);
    fill(20 * 1000, 1000, false);
    live = NULL;
  }
  for (int i = 0; i < 3; i++) {
    gc_release_memory();
    refill(1000, 300);
  }
  for (size_t i = 0; i < N; i++) REQUIRE(gc_base(keep[i]) == keep[i] && pattern_ok(keep[i], 300, i));
}
END_TEST

int main(void) {
  Suite *s = suite_create("release");
  TCase *tc = suite_case(s, "release");
  tcase_add_loop_test(tc, returns_to_baseline, 0, 4);
  tcase_add_test(tc, again_and_again);
  tcase_add_test(tc, released_agrees_with_the_kernel);
  tcase_add_test(tc, live_objects_stay);
  return suite_main(s);
}
