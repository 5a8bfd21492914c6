/* test_leaks.c - alloc/leaks.h: what is given up while markers run beside the program is no leak, also when a marker brings
 * it back to life. Here nothing marks: the flag says so, and the test stores what a late marker would. */
#include "unit.h"

#include "alloc/leaks.h"
#include "gc/cycle.h"

enum { N = 60 };
static void *volatile keep[N];

static void begin(void) {
  quiet_heap();
  REQUIRE(leaks_init());
  cycle_judged_hook = leaks_count;
  for (int i = 0; i < N; i++) keep[i] = gc_alloc(i % 2 == 0 ? 64 : 100000);
}

static uint64_t leaks_after_cycles(void) {
  for (int i = 0; i < 3; i++) gc_collect();
  return leaks_so_far()->total.objects;
}

/* With `freed` the objects are freed first; either way a marker then finds them through a stale word. */
static uint64_t drop_while_marking(bool freed) {
  for (int i = 0; i < N; i++) {
    struct slot s = slot_find(keep[i]);
    thread_defer_stops();
    atomic32_store_relaxed(&heap.marking, 1);
    if (freed) gc_free(keep[i]);
    REQUIRE(!freed || atomic8_load_relaxed(s.state) == FREED_WHILE_MARKING);
    atomic8_store_relaxed(s.state, atomic32_load_relaxed(&heap.live_colour));
    atomic32_store_relaxed(&heap.marking, 0);
    thread_allow_stops();
    keep[i] = NULL;
  }
  return leaks_after_cycles();
}

START_TEST(freed_and_revived_is_no_leak) {
  begin();
  REQUIRE(drop_while_marking(true) == 0);
}
END_TEST

START_TEST(revived_alone_is_one) {
  begin();
  uint64_t n = drop_while_marking(false);
  REQUIRE_MSG(n <= N && n * 100 >= N * 90, "%lu leaks of %d", (unsigned long)n, N);
}
END_TEST

START_TEST(claimed_and_given_back_is_no_leak) {
  begin();
  own_test_cache();
  thread_defer_stops();
  atomic32_store_relaxed(&heap.marking, 1);
  cache_flush(tl_cache);
  atomic32_store_relaxed(&heap.marking, 0);
  thread_allow_stops();
  REQUIRE(leaks_after_cycles() == 0);
  for (int i = 0; i < N; i++) REQUIRE(gc_base(keep[i]) == keep[i]);
}
END_TEST

/* What the stamp leaves behind must not hide a later leak in the same place. */
START_TEST(stamps_go_with_the_sweep) {
  begin();
  REQUIRE(drop_while_marking(true) == 0);
  for (int i = 0; i < N; i++) keep[i] = gc_alloc_noscan(64);
  for (int i = 0; i < N; i++) keep[i] = NULL;
  uint64_t n = leaks_after_cycles();
  REQUIRE_MSG(n <= N && n * 100 >= N * 90, "%lu leaks of %d", (unsigned long)n, N);
}
END_TEST

int main(void) {
  Suite *s = suite_create("leaks");
  TCase *tc = suite_case(s, "leaks");
  tcase_add_test(tc, freed_and_revived_is_no_leak);
  tcase_add_test(tc, revived_alone_is_one);
  tcase_add_test(tc, claimed_and_given_back_is_no_leak);
  tcase_add_test(tc, stamps_go_with_the_sweep);
  return suite_main(s);
}
