/* test_guard.c - alloc/guard.h turned on by hand: what a thread gives back while markers run is no smashed object, quarantine
 * outlives cycles, and lets go in the order of freeing. */
#include "unit.h"

#include "alloc/guard.h"
#include "gc/cycle.h"

enum { N = 60 };
static void *volatile keep[N];

static void begin(void) {
  quiet_heap();
  memset(&class_map, 0, sizeof class_map);
  tiny_limit = 0;
  REQUIRE(guards_init());
  cycle_judged_hook = guards_judge;
  for (int i = 0; i < N; i++) keep[i] = gc_alloc(i % 2 == 0 ? 40 : 100000);
}

/* The address sanitizer would be there first. */
static GC_NO_SANITIZE void plant(void *p, size_t at) { ((volatile char *)p)[at] = 1; }

START_TEST(claimed_and_given_back_is_no_fault) {
  struct guard_fault fault;
  begin();
  thread_defer_stops();
  atomic32_store_relaxed(&heap.marking, 1);
  cache_flush(tl_cache);
  atomic32_store_relaxed(&heap.marking, 0);
  thread_allow_stops();
  for (int i = 0; i < 3; i++) gc_collect();
  REQUIRE(!guards_take_fault(&fault));
  plant(keep[0], 40);
  gc_collect();
  REQUIRE(guards_take_fault(&fault) && fault.kind == GUARD_OVERRUN && fault.object == keep[0] && fault.first == 40);
}
END_TEST

START_TEST(quarantine_outlives_cycles) {
  struct guard_fault fault;
  struct slot s;
  begin();
  for (int i = 0; i < N; i++) gc_free(keep[i]);
  for (int i = 0; i < 3; i++) gc_collect();
  REQUIRE_WHOLE();
  for (int i = 0; i < N; i++) {
    REQUIRE(gc_base(keep[i]) == NULL);
    struct slot freed = slot_find(keep[i]);
    REQUIRE(freed.object == keep[i] && atomic8_load_relaxed(freed.state) == atomic32_load_relaxed(&heap.live_colour));
  }
  thread_defer_stops();
  for (int i = 0; i < N; i++)
    REQUIRE(guard_release(true, &s, &fault) && fault.kind == GUARD_WHOLE && s.object == keep[i]);
  REQUIRE(!guard_release(true, &s, &fault));
  thread_allow_stops();
}
END_TEST

int main(void) {
  Suite *s = suite_create("guard");
  TCase *tc = suite_case(s, "guard");
  tcase_add_test(tc, claimed_and_given_back_is_no_fault);
  tcase_add_test(tc, quarantine_outlives_cycles);
  return suite_main(s);
}
