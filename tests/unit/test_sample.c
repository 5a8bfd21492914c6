/* test_sample.c - alloc/sample.h and alloc/distance.h: how far apart samples are, how a refill stops before one, what
 * is counted as in use, and what happens when the tables are full. */
#include <math.h>

#include "unit.h"

#include "alloc/distance.h"
#include "alloc/sweep.h"
#include "api/profile.h"
#include "gc/cycle.h"
#include "gc_frag.h"
#include "gc_stats.h"
#include "hide.h"

/* ---- distances ---- */

/* Mean and spread of an exponential distribution are both the mean; a share of exp(-x) lies beyond x times the mean. */
START_TEST(distances_are_exponential) {
  enum { N = 1000000, MEAN = 100000 };
  uint64_t random = suite_seed(), beyond[4] = {0};
  double sum = 0, squares = 0;
  for (int i = 0; i < N; i++) {
    uint64_t d = distance_draw(&random, MEAN);
    REQUIRE(d >= 1);
    double x = ((double)d - 0.5) / MEAN; /* whole bytes, rounded up */
    sum += x;
    squares += x * x;
    for (int k = 0; k < 4; k++) beyond[k] += x > k + 0.5;
  }
  ck_assert_double_eq_tol(sum / N, 1, 5 / sqrt(N));
  ck_assert_double_eq_tol(squares / N, 2, 5 * sqrt(20) / sqrt(N));
  for (int k = 0; k < 4; k++) ck_assert_double_eq_tol((double)beyond[k] / N, exp(-k - 0.5), 5 * 0.5 / sqrt(N));
}
END_TEST

START_TEST(distances_repeat) {
  uint64_t a = 7, b = 7, c = 8, same = 0;
  for (int i = 0; i < 1000; i++) {
    uint64_t d = distance_draw(&a, 4096);
    REQUIRE(d == distance_draw(&b, 4096));
    same += d == distance_draw(&c, 4096);
    REQUIRE(distance_draw(&a, 1) == 1);
    REQUIRE(distance_draw(&b, 1) == 1);
    REQUIRE(distance_draw(&c, UINT64_MAX) <= (uint64_t)1 << 62);
  }
  REQUIRE(same < 50);
}
END_TEST

START_TEST(weights_are_right) {
  static const uint64_t mean[] = {2, 100, 4096, 524288, (uint64_t)1 << 40};
  for (size_t m = 0; m < sizeof mean / sizeof *mean; m++)
    for (uint64_t bytes = 8; bytes < (uint64_t)1 << 44; bytes += bytes / 3 + 1) {
      double right = -1 / expm1(-(double)bytes / (double)mean[m]), w = distance_weight(bytes, mean[m]);
      REQUIRE_MSG(fabs(w / right - 1) < 1e-12, "%g and not %g", w, right);
    }
  REQUIRE(distance_weight(8, 1) == 1 && distance_weight(1, 1) == 1);
}
END_TEST

/* ---- refills ---- */

static struct sample_figures figures[SAMPLE_SITES_MAX];

/* Of all sites together. */
static struct sample_figures read_all(unsigned percent) {
  struct sample_figures sum = {0};
  thread_defer_stops();
  struct sample_reader r = {figures, sample_totals().sites, 0, 0, percent};
  memset(figures, 0, sizeof figures);
  while (samples_read(&r)) continue;
  thread_allow_stops();
  for (uint32_t i = 0; i < r.sites; i++) {
    sum.alloc_objects += figures[i].alloc_objects;
    sum.inuse_objects += figures[i].inuse_objects;
    sum.inuse_bytes += figures[i].inuse_bytes;
    sum.pinned_bytes += figures[i].pinned_bytes;
    sum.samples += figures[i].samples;
  }
  return sum;
}

static struct cache *sampling_cache(uint64_t rate) {
  quiet_heap();
  struct cache *c = own_test_cache();
  gc_profile_set_rate(rate);
  sampler_restart(&c->sampler);
  return c;
}

static void *volatile kept[4096];

/* Objects come in the same places as without sampling; the right one is sampled, and nothing else. */
static void refill_up_to(uint64_t before, size_t size, bool noscan) {
  struct cache *c = sampling_cache((uint64_t)1 << 40);
  unsigned sc = span_class(size_class(size), noscan);
  char *last = NULL;
  double sampled = read_all(0).alloc_objects;
  c->sampler.until = before * size + 1;
  for (uint64_t i = 0; i < before + 70; i++) {
    char *p = noscan ? gc_alloc_noscan(size) : gc_alloc(size);
    kept[i] = p;
    bool same_span = last != NULL && slot_find(p).page == slot_find(last).page;
    REQUIRE_MSG(!same_span || p == last + size, "a slot was left out before object %u", (unsigned)i);
    REQUIRE_MSG((read_all(0).alloc_objects > sampled) == (i >= before), "object %u", (unsigned)i);
    if (i < before) REQUIRE(count_bits(c->group[sc].free) < before - i);
    REQUIRE_WHOLE();
    last = p;
  }
  REQUIRE(slot_find(kept[before]).page != NO_PAGE && span_has_samples(slot_find(kept[before]).page));
}

START_TEST(refills_stop_before_a_sample) {
  static const uint64_t before[] = {0, 1, 5, 63, 64, 65, 200, 1023, 1500};
  refill_up_to(before[_i], 16, false);
  refill_up_to(before[_i], 48, true);
  refill_up_to(before[_i], 8, false);
}
END_TEST

/* Every object of full spans, one at a time: no slot is left out, also when a slot before the place comes free. */
START_TEST(no_slot_is_lost) {
  enum { N = 2048, SIZE = 32 };
  struct gc_stats before;
  struct gc_stats after;
  sampling_cache(1);
  gc_read_stats(&before);
  for (size_t i = 0; i < N; i++) {
    kept[i] = gc_alloc(SIZE);
    if (i % 7 == 3) gc_free(kept[i]);
  }
  gc_read_stats(&after);
  REQUIRE(after.heap_inuse - before.heap_inuse <= N * SIZE + 8192);
  REQUIRE(read_all(0).samples == N - N / 7 - (N % 7 > 3));
  REQUIRE_WHOLE();
}
END_TEST

/* What a cache has claimed and not handed out is no object. */
START_TEST(claimed_slots_do_not_count) {
  sampling_cache((uint64_t)1 << 40);
  for (unsigned n = 1; n <= 200; n++) {
    kept[n] = gc_alloc(64);
    uint32_t page = slot_find(kept[n]).page;
    unsigned here = 0;
    for (unsigned i = 1; i <= n; i++) here += slot_find(kept[i]).page == page;
    thread_defer_stops();
    unsigned counted = span_count_objects(page);
    thread_allow_stops();
    REQUIRE_MSG(counted == here, "%u and not %u", counted, here);
  }
}
END_TEST

/* ---- death ---- */

static NOINLINE void make_garbage(size_t n, size_t size) {
  for (size_t i = 0; i < n; i++) REQUIRE(gc_alloc(size) != NULL);
}

/* Between the end of a cycle and the sweep of their span the dead are still known, and not told. */
static void die(size_t size, size_t n) {
  sampling_cache(1);
  make_garbage(n, size);
  REQUIRE(read_all(101).samples == n);
  flush_own_cache();
  scrub_stack();
  cycle_run(CYCLE_FORCED);
  REQUIRE_MSG(read_all(101).samples <= n / 10, "%u of %zu", (unsigned)read_all(101).samples, n);
  REQUIRE(read_all(101).alloc_objects == (double)n);
  REQUIRE_WHOLE();
  gc_collect();
  REQUIRE(read_all(101).samples <= n / 10);
  REQUIRE_WHOLE();
  make_garbage(n, size); /* in the same places */
  REQUIRE(read_all(101).alloc_objects == 2 * (double)n && read_all(101).samples >= n &&
          read_all(101).samples <= n + n / 10);
  REQUIRE_WHOLE();
}

START_TEST(small_objects_die) { die(64, 1000); }
END_TEST
START_TEST(large_objects_die) { die(100000, 50); }
END_TEST

/* A byte per slot changes colour with each cycle; the living must be told in each. */
START_TEST(survivors_are_told) {
  sampling_cache(1);
  for (size_t i = 0; i < 600; i++) kept[i] = gc_alloc(i % 2 == 0 ? 64 : 40000);
  for (int round = 0; round < 5; round++) {
    struct sample_figures f = read_all(101);
    REQUIRE(f.samples == 600 && f.inuse_bytes == 300 * 64 + 300 * 40960.0);
    REQUIRE_MSG(f.pinned_bytes >= 300 * 40960.0 && f.pinned_bytes <= 300 * 40960.0 + 3 * 8192 + 1, "%f",
                f.pinned_bytes);
    REQUIRE(read_all(100).pinned_bytes < 3 * 8192 + 1); /* large objects fill their spans */
    gc_collect();
  }
}
END_TEST

/* ---- bounds ---- */

static void add_sample(const void *p, uintptr_t site) {
  void *pc[2] = {(void *)site, (void *)(site + 1)};
  thread_defer_stops();
  sample_add(p, 1, pc, 2);
  thread_allow_stops();
}

START_TEST(full_table_of_sites) {
  sampling_cache((uint64_t)1 << 40);
  void *p = kept[0] = gc_alloc(64);
  for (uintptr_t i = 0; i < SAMPLE_SITES_MAX + 100; i++)
    for (int twice = 0; twice < 2; twice++) add_sample(p, 2 * i);
  REQUIRE(sample_totals().sites == SAMPLE_SITES_MAX);
  REQUIRE(sample_totals().lost_stacks == 200 && sample_totals().taken == 2 * SAMPLE_SITES_MAX + 200);
  REQUIRE(read_all(0).samples == 2 * SAMPLE_SITES_MAX);
  for (uint32_t i = 0; i < SAMPLE_SITES_MAX; i++) REQUIRE(figures[i].samples == 2);
  gc_free(p);
  REQUIRE(read_all(0).samples == 0);
}
END_TEST

START_TEST(full_table_of_samples) {
  sampling_cache((uint64_t)1 << 40);
  void *p = kept[0] = gc_alloc(64), *q = kept[1] = gc_alloc(5000);
  for (uintptr_t i = 1; i < SAMPLES_MAX; i++) add_sample(i % 2 == 0 ? p : q, 4);
  REQUIRE(sample_totals().lost_samples == 0);
  for (uintptr_t i = 0; i < 50; i++) add_sample(p, 4);
  REQUIRE(sample_totals().lost_samples == 50);
  REQUIRE(read_all(0).samples == SAMPLES_MAX - 1 && read_all(0).alloc_objects == SAMPLES_MAX + 49);
  REQUIRE_WHOLE();
  gc_free(p);
  REQUIRE(read_all(0).samples == SAMPLES_MAX / 2);
  for (uintptr_t i = 0; i < 50; i++) add_sample(q, 4);
  REQUIRE(sample_totals().lost_samples == 50 && read_all(0).samples == SAMPLES_MAX / 2 + 50);
  REQUIRE_WHOLE();
}
END_TEST

#if GC_DEBUG
static void turn_on(void *unused) {
  (void)unused;
  gc_profile_set_rate(1);
}

START_TEST(refused_tables) {
  char said[500];
  quiet_heap();
  own_test_cache();
  os_fail_after(0);
  capture_stderr(turn_on, NULL, said, sizeof said);
  os_fail_after(-1);
  REQUIRE_MSG(strstr(said, "refuses memory") != NULL, "%s", said);
  REQUIRE(sample_rate() == 0);
  make_garbage(1000, 64);
  REQUIRE(sample_totals().taken == 0);
  turn_on(NULL);
  make_garbage(1000, 64);
  REQUIRE(sample_totals().taken == 1000);
  os_fail_after(0);
  REQUIRE(gc_profile_write(1) == -1 && errno == ENOMEM);
  os_fail_after(-1);
}
END_TEST
#endif

/* A sample of a slot that is free is a fault. */
START_TEST(checker_finds_a_stale_sample) {
  struct cache *c = sampling_cache((uint64_t)1 << 40);
  char *p = gc_alloc(64);
  add_sample(p, 4);
  REQUIRE_WHOLE();
  struct slot s = slot_find(p);
  unsigned before = atomic8_load_relaxed(s.state);
  atomic8_store_relaxed(s.state, 0);
  REQUIRE(sample_check() != NULL);
  atomic8_store_relaxed(s.state, before);
  REQUIRE(sample_check() == NULL && c != NULL);
}
END_TEST

int main(void) {
  Suite *s = suite_create("sample");
  TCase *tc = suite_case(s, "sample");
  tcase_add_test(tc, distances_are_exponential);
  tcase_add_test(tc, distances_repeat);
  tcase_add_test(tc, weights_are_right);
  tcase_add_loop_test(tc, refills_stop_before_a_sample, 0, 9);
  tcase_add_test(tc, no_slot_is_lost);
  tcase_add_test(tc, claimed_slots_do_not_count);
  tcase_add_test(tc, small_objects_die);
  tcase_add_test(tc, large_objects_die);
  tcase_add_test(tc, survivors_are_told);
  tcase_add_test(tc, full_table_of_sites);
  tcase_add_test(tc, full_table_of_samples);
#if GC_DEBUG
  tcase_add_test(tc, refused_tables);
#endif
  tcase_add_test(tc, checker_finds_a_stale_sample);
  return suite_main(s);
}
