/* test_refused.c - the system refuses memory at each commit in turn (debug builds inject it): gc_alloc returns
 * NULL with ENOMEM, the heap is whole, and later allocation works again. */
#include "unit.h"

#if GC_DEBUG

#include "hide.h"

enum { FIRST_COMMITS = 24 };

/* Sizes that need a cache, spans, tables, slot map blocks, chunks. */
static const size_t sizes[] = {16, 100000, 24, 3000, 5 * MIB, 40, 700, 20 * MIB, 32768, 8, 9 * MIB};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

static void *volatile keep[SIZES * 2];

static void check_object(const char *p, size_t size) {
  REQUIRE(gc_base(p) == p);
  REQUIRE(all_zero(p, size < 4096 ? size : 4096) && all_zero(p + size - 8, 8));
}

/* Refused or not, each answer is one of the two allowed. Returns how many were refused. */
static unsigned allocate_all(size_t at) {
  unsigned refused = 0;
  for (size_t i = 0; i < SIZES; i++) {
    errno = 0;
    void *p = keep[at + i] = gc_alloc(sizes[i]);
    if (p != NULL) {
      check_object(p, sizes[i]);
    } else {
      REQUIRE_MSG(errno == ENOMEM, "NULL with errno %d", errno);
      refused++;
    }
    if (atomic_load_relaxed(&heap.limit) > 0) REQUIRE_WHOLE();
  }
  return refused;
}

static void refuse_and_recover(long after) {
  os_fail_after(after);
  unsigned refused = allocate_all(0);
  if (after < 4) REQUIRE_MSG(refused > 0, "with %ld commits everything was allocated: too few sizes", after);
  os_fail_after(-1);
  REQUIRE(allocate_all(SIZES) == 0);
  for (size_t i = 0; i < SIZES; i++)
    if (keep[i] != NULL) check_object(keep[i], sizes[i]);
  gc_collect();
  REQUIRE_WHOLE();
}

/* From the very first commit of the process on. */
START_TEST(in_a_new_process) {
  options.background = 0;
  options.torture = 0;
  options.concurrent = 0; /* the heap is checked while the program runs */
  refuse_and_recover(_i);
}
END_TEST

/* The same after a collection: marking has its memory then. */
START_TEST(after_a_collection) {
  options.background = 0;
  options.torture = 0;
  options.concurrent = 0; /* the heap is checked while the program runs */
  gc_collect();
  refuse_and_recover(_i);
}
END_TEST

/* Refused, room made by the program, served from what came free: without a single new commit. */
START_TEST(dropped_memory_serves) {
  options.background = 0;
  options.torture = 0;
  options.concurrent = 0; /* the heap is checked while the program runs */
  void *volatile big = gc_alloc(8 * MIB);
  REQUIRE(big != NULL);
  gc_collect();
  os_fail_after(0);
  REQUIRE(gc_alloc(6 * MIB) == NULL && errno == ENOMEM);
  big = NULL;
  scrub_stack();
  big = gc_alloc(6 * MIB);
  REQUIRE(big != NULL);
  os_fail_after(-1);
  REQUIRE_WHOLE();
}
END_TEST

int main(void) {
  Suite *s = suite_create("refused");
  TCase *tc = suite_case(s, "refused");
  tcase_set_timeout(tc, 30);
  tcase_add_loop_test(tc, in_a_new_process, 0, FIRST_COMMITS);
  tcase_add_loop_test(tc, after_a_collection, 0, FIRST_COMMITS);
  tcase_add_test(tc, dropped_memory_serves);
  return suite_main(s);
}

#else
int main(void) { return suite_main(suite_create("refused")); }
#endif
