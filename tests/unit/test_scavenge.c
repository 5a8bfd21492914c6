/* test_scavenge.c - alloc/scavenge.h: the goal, what lies beyond it, and giving back in steps. */
#include "unit.h"

#include "alloc/scavenge.h"

enum { IN_USE = 512, IDLE = 1024 }; /* pages */

static uint64_t resident(void) {
  struct pageheap_totals t = pageheap_totals();
  return t.sys - t.released;
}

static uint32_t span_of(size_t pages) {
  bool zero;
  uint32_t page = span_alloc_large(pages, 1, 0, &zero);
  REQUIRE(page != NO_PAGE);
  memset(page_address(page), 1, pages * PAGE_SIZE);
  return page;
}

/* 4 MiB in use, 8 MiB free and resident, in pieces. */
static void build(void) {
  uint32_t idle[8];
  for (int i = 0; i < 8; i++) {
    span_of(IN_USE / 8);
    idle[i] = span_of(IDLE / 8);
  }
  for (int i = 0; i < 8; i++) span_free(idle[i]);
  REQUIRE(resident() == (IN_USE + IDLE) * PAGE_SIZE && pageheap_totals().inuse == IN_USE * PAGE_SIZE);
}

static uint64_t excess_for(uint64_t next_gc) {
  scavenge_set_goal(next_gc);
  return scavenge_excess();
}

/* Kept: the next cycle's heap and a tenth, to within the rounding of a hundredth. */
START_TEST(goal) {
  uint64_t all = (IN_USE + IDLE) * PAGE_SIZE, idle = IDLE * PAGE_SIZE;
  REQUIRE(scavenge_excess() == 0); /* no cycle yet: no goal */
  REQUIRE(excess_for(UINT64_MAX) == 0 && excess_for(UINT64_MAX / 2 + 1) == 0 && excess_for(UINT64_MAX / 2) == 0);
  REQUIRE(excess_for(all) == 0 && excess_for(all * 10 / 11 + 1000) == 0);
  REQUIRE(excess_for(0) == idle && excess_for(MIB) == idle); /* what is in use is no excess */
  for (uint64_t next = 4 * MIB; next < 10 * MIB; next += 123456) {
    uint64_t kept = next + next / 10, excess = excess_for(next);
    uint64_t expected = all - kept < idle ? all - kept : idle;
    REQUIRE_MSG(excess >= expected && excess <= expected + 100, "%lu: %lu", (unsigned long)next, (unsigned long)excess);
  }
}
END_TEST

START_TEST(steps) {
  uint64_t before = resident();
  scavenge_set_goal(8 * MIB);
  uint64_t excess = scavenge_excess();
  REQUIRE(excess > 3 * MIB && excess < 4 * MIB);
  for (size_t given; (given = scavenge_step(64 * KIB)) != 0; before -= given) {
    REQUIRE(given <= 64 * KIB && given % PAGE_SIZE == 0);
    REQUIRE(resident() == before - given);
  }
  REQUIRE(scavenge_excess() < PAGE_SIZE && resident() >= 8 * MIB + 8 * MIB / 100 * 10);
  REQUIRE(pageheap_totals().inuse == IN_USE * PAGE_SIZE);
  scavenge_set_goal(UINT64_MAX);
  REQUIRE(scavenge_step(64 * KIB) == 0);
}
END_TEST

/* All that is free, whatever the goal; what is in use keeps its contents. */
START_TEST(all) {
  scavenge_set_goal(UINT64_MAX);
  scavenge_all();
  REQUIRE(resident() == IN_USE * PAGE_SIZE && pageheap_totals().inuse == IN_USE * PAGE_SIZE);
  for (uint32_t page = 0; page < 2 * IN_USE; page++)
    if (page_desc(page) != 0) REQUIRE(page_address(page)[0] == 1 && page_address(page)[PAGE_SIZE - 1] == 1);
  scavenge_all(); /* nothing is left to do */
  REQUIRE(resident() == IN_USE * PAGE_SIZE);
}
END_TEST

/* Released now, pages are zero when they come again; used since, they are not. */
START_TEST(pages_come_again) {
  bool zero;
  uint32_t page = span_alloc_large(100, 1, 0, &zero);
  REQUIRE(page != NO_PAGE && !zero);
  span_free(page);
  options.release = OS_RELEASE_NOW;
  REQUIRE(pageheap_scavenge(64 * MIB) == IDLE * PAGE_SIZE);
  page = span_alloc_large(100, 1, 0, &zero);
  REQUIRE(page != NO_PAGE && zero);
  for (size_t i = 0; i < 100 * PAGE_SIZE; i++) REQUIRE(page_address(page)[i] == 0);
}
END_TEST

/* Released lazily, nobody knows what they hold. */
START_TEST(lazily_released_pages_are_not_zero) {
  bool zero;
  options.release = OS_RELEASE_LAZY;
  REQUIRE(pageheap_scavenge(64 * MIB) == IDLE * PAGE_SIZE);
  REQUIRE(span_alloc_large(100, 1, 0, &zero) != NO_PAGE && !zero);
}
END_TEST

int main(void) {
  Suite *s = suite_create("scavenge");
  TCase *tc = suite_case(s, "scavenge");
  tcase_set_timeout(tc, 20);
  tcase_add_checked_fixture(tc, build, NULL);
  tcase_add_test(tc, goal);
  tcase_add_test(tc, steps);
  tcase_add_test(tc, all);
  tcase_add_test(tc, pages_come_again);
  tcase_add_test(tc, lazily_released_pages_are_not_zero);
  return suite_main(s);
}
