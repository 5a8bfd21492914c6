/* test_verdict.c - gc/verdict.h: how often the last stop is asked, and how much it has to look at; and that the checker of the
 * records fires. */
#include "hide.h"
#include "unit.h"

#include "gc/cycle.h"
#include "gc/kept.h"
#include "gc/verdict.h"
#include "gc/watch.h"
#include "gc/weak.h"
#include "gc_weak.h"
#include "runtime/dirty.h"
#include "runtime/options.h"

enum { LINKS = 3000, ROUNDS_MOST = 12 };

static unsigned calls;
static bool counted(void) {
  calls++;
  return verdict_marked();
}

/* Value i is key i + 1; the first key is held. The table's order is the worst. */
static gc_ephemeron **pair;
static root *volatile keys, *volatile first;

static void make_chain(void) {
  pair = gc_calloc(LINKS, sizeof *pair);
  keys = gc_calloc(LINKS + 1, sizeof *keys);
  REQUIRE(pair != NULL && keys != NULL);
  for (size_t i = 0; i <= LINKS; i++) keys[i] = gc_alloc(24);
  for (size_t i = LINKS; i-- > 0;) pair[i] = gc_ephemeron_create(keys[i], keys[i + 1]);
  first = gc_calloc(1, sizeof *first);
  first[0] = keys[0];
  gc_free((void *)(uintptr_t)keys);
  keys = NULL;
}

static unsigned collect_counting(void) {
  calls = 0;
  cycle_marked_hook = counted;
  scrub_stack();
  gc_collect();
  cycle_marked_hook = verdict_marked;
  return calls;
}

START_TEST(chains_take_few_rounds) {
  options.concurrent = _i == 0 ? 0 : 2;
  if (_i != 0 && !dirty_works()) return;
  gc_disable();
  make_chain();
  unsigned n = collect_counting();
  REQUIRE_MSG(n <= ROUNDS_MOST, "%u rounds for a chain of %d", n, LINKS);
  for (size_t i = 0; i < LINKS; i++) REQUIRE(gc_ephemeron_get_value(pair[i]) != NULL);
  if (_i != 0) REQUIRE_MSG(n <= 2, "%u rounds in the stop though all was decided beside it", n);
}
END_TEST

/* -- the checkers, each on a planted fault -- */
static void expect(const char *what, const char *(*check)(void)) {
  const char *found = check();
  REQUIRE_MSG(what == NULL ? found == NULL : found != NULL && strcmp(found, what) == 0, "expected \"%s\", found \"%s\"",
              what != NULL ? what : "nothing", found != NULL ? found : "nothing");
}

static uint32_t record_of(const void *p) {
  uint32_t i = watch_find(p, 0);
  REQUIRE(i != 0);
  return i;
}

START_TEST(checker_fires) {
  gc_disable();
  void *p = gc_alloc(64), *q = gc_alloc(64);
  gc_weak *w = gc_weak_create(p);
  REQUIRE(w != NULL && gc_alloc_uncollectable(100) != NULL);
  expect(NULL, watch_check);
  struct watch *r = watch_at(record_of(p));
  struct slot s = slot_find(p), other = slot_find(q), h = slot_find(w);
  unsigned colour = *s.state;
  *s.state = 0;
  expect("a record outlived its object", watch_check);
  *s.state = (unsigned char)colour;
  *h.state = 0;
  expect("a record outlived its weak reference, or what its link lies in", watch_check);
  *h.state = (unsigned char)colour;
  r->state = other.state;
  expect("a record names another slot's byte", watch_check);
  r->state = s.state;
  r->object = q;
  expect("a record of an object is not found by its address", watch_check);
  r->object = p;
  expect(NULL, watch_check);
}
END_TEST

START_TEST(kept_checker_fires) {
  gc_disable();
  void *p = gc_alloc_uncollectable(64);
  expect(NULL, kept_check);
  struct slot s = slot_find(p);
  unsigned colour = *s.state;
  *s.state = (unsigned char)other_colour(colour);
  expect("an uncollectable object was not marked", kept_check);
  *s.state = (unsigned char)colour;
}
END_TEST

/* Records are used again, and found, through many splits of the hash. */
START_TEST(table_grows_and_shrinks) {
  enum { N = 60000 };
  struct slot none = {NULL, NULL, NO_PAGE, 0, 0};
  static uint32_t record[N];
  quiet_heap();
  thread_defer_stops();
  watch_lock();
  for (int round = 0; round < 2; round++) {
    for (uintptr_t i = 0; i < N; i++)
      REQUIRE((record[i] = watch_new(WATCH_FINALIZER, (void *)(16 * (i % (N / 2)) + 16), &none)) != 0);
    uint32_t end = watch_end();
    for (uintptr_t i = 0; i < N / 2; i++) {
      const void *p = (void *)(16 * i + 16);
      uint32_t a = watch_find(p, 0), b = watch_find(p, a);
      REQUIRE(a + b == record[i] + record[i + N / 2] && watch_find(p, b) == 0);
    }
    REQUIRE(watch_find((void *)(16 * (N / 2) + 16), 0) == 0 && watch_count(WATCH_FINALIZER) == N);
    for (uintptr_t i = 0; i < N; i++) watch_free(record[i]);
    REQUIRE(watch_count(WATCH_FINALIZER) == 0 && watch_end() == end && end == N + 1);
  }
  watch_unlock();
  thread_allow_stops();
}
END_TEST

/* Memory for records is refused at each step of setting up. */
START_TEST(refused_memory) {
#if GC_DEBUG
  void *p = gc_alloc(64), *room = gc_alloc_noscan(32); /* the slots are there */
  REQUIRE(p != NULL && room != NULL);
  unsigned refused = 0;
  for (gc_weak *w = NULL; w == NULL; refused++) {
    os_fail_after(1); /* what was had stays, so each try gets one step further */
    errno = 0;
    w = gc_weak_create(p);
    REQUIRE(w != NULL || errno == ENOMEM);
    REQUIRE(gc_set_finalizer(p, NULL, NULL) == 0);
    os_fail_after(0);
    REQUIRE(w != NULL || (gc_alloc_uncollectable(64) == NULL && errno == ENOMEM));
    os_fail_after(-1);
  }
  REQUIRE_MSG(refused >= 2, "memory was refused %u times", refused);
  expect(NULL, kept_check);
  gc_weak *w = gc_weak_create(p);
  REQUIRE(w != NULL && gc_weak_get(w) == p && gc_alloc_uncollectable(64) != NULL);
  gc_collect();
  REQUIRE(gc_weak_get(w) == p);
#endif
}
END_TEST

int main(void) {
  Suite *s = suite_create("verdict");
  TCase *tc = suite_case(s, "verdict");
  tcase_add_loop_test(tc, chains_take_few_rounds, 0, 2);
  tcase_add_test(tc, checker_fires);
  tcase_add_test(tc, kept_checker_fires);
  tcase_add_test(tc, table_grows_and_shrinks);
  tcase_add_test(tc, refused_memory);
  return suite_main(s);
}
