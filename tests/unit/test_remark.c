/* test_remark.c - gc/remark.h: what is armed and what is fresh, what is listed, and that the checkers see a write which
 * was not reported. The steps of a cycle are played here; no collector runs. */
#include "unit.h"

#include "alloc/cache.h"
#include "alloc/pageheap.h"
#include "alloc/sweep.h"
#include "gc/remark.h"
#include "gc_alloc.h"
#include "runtime/dirty.h"
#include "runtime/options.h"
#include "runtime/os.h"

enum { OBJECTS = 4000, SIZE = 512 };

static volatile char *object[OBJECTS];

static bool set_up(void) {
  options.background = 0;
  gc_disable();
  for (size_t i = 0; i < OBJECTS; i++) object[i] = gc_alloc(SIZE);
  flush_own_cache();
  atomic32_store_relaxed(&heap.marking, 1);
  return dirty_works() && remark_arm();
}

static bool is_listed(bool last, const volatile char *address) {
  const char *p = (const char *)(uintptr_t)address;
  struct range piece;
  bool found = false;
  remark_begin(last);
  while (last ? remark_list_last(1) : remark_list(SIZE_MAX, UINT64_MAX))
    while (remark_take(&piece)) found |= p >= piece.lo && p < piece.hi;
  return found;
}

START_TEST(writes_are_listed) {
  if (!set_up()) return;
  REQUIRE(!is_listed(false, object[100]));
  object[100][SIZE - 1] = 1;
  REQUIRE(is_listed(false, object[100]) && !is_listed(false, object[100]));
  object[100][0] = 2;
  REQUIRE(is_listed(true, object[100]) && is_listed(true, object[100])); /* the last look arms nothing */
  REQUIRE(!is_listed(true, object[3000]));
}
END_TEST

START_TEST(new_spans_are_listed_until_armed) {
  if (!set_up()) return;
  volatile char *large = gc_alloc(100000); /* or the stores were not made: nobody reads them */
  char *small = gc_alloc(SIZE), *noscan = gc_alloc_noscan(100000);
  large[99999] = 1;
  REQUIRE(is_listed(true, large) && is_listed(true, large + 99999) && is_listed(true, small));
  REQUIRE(!is_listed(true, noscan));
  REQUIRE(is_listed(false, large) && !is_listed(false, large)); /* armed now */
  REQUIRE(is_listed(true, small));                              /* its span is in use: stays fresh */
  large[50000] = 1;
  REQUIRE(is_listed(false, large + 50000));
}
END_TEST

/* Each is 65,536 pieces of the list, which is asked for in parts; their memory is never touched. */
START_TEST(giants_are_listed) {
  enum { GIANTS = 3 };
  const size_t bytes = (size_t)4 << 30;
  volatile char *giant[GIANTS];
  if (!set_up()) return;
  for (int i = 0; i < 500; i++) (void)!gc_alloc(8192);
  for (int i = 0; i < GIANTS; i++)
    if ((giant[i] = gc_alloc(bytes)) == NULL) return; /* the machine has no room for it */
  for (int i = 0; i < GIANTS; i++) REQUIRE(is_listed(true, giant[i]) && is_listed(true, giant[i] + bytes - 1));
}
END_TEST

#if GC_DEBUG
/* Armed behind remark's back, the write is reported to nobody. */
START_TEST(the_checker_sees_an_unreported_write) {
  if (!set_up()) return;
  object[100][0] = 1;
  REQUIRE(is_listed(false, object[100]));
  REQUIRE(!is_listed(true, object[100]) && remark_check() == NULL);
  object[100][0] = 2;
  char *page = (char *)((uintptr_t)object[100] & ~(uintptr_t)(os_page_size() - 1));
  REQUIRE(dirty_arm(page, page + os_page_size()));
  REQUIRE(!is_listed(true, object[100]) && remark_check() != NULL);
}
END_TEST
#endif

int main(void) {
  Suite *s = suite_create("remark");
  TCase *tc = suite_case(s, "remark");
  tcase_add_test(tc, writes_are_listed);
  tcase_add_test(tc, new_spans_are_listed_until_armed);
  tcase_add_test(tc, giants_are_listed);
#if GC_DEBUG
  tcase_add_test(tc, the_checker_sees_an_unreported_write);
#endif
  return suite_main(s);
}
