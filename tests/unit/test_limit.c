/* test_limit.c - memory limits in alloc/pageheap.h: what the hard limit refuses, to the byte; what is given back
 * before memory would pass a limit; when the collector is told. */
#include "unit.h"

#include "alloc/sizeclass.h"
#include "alloc/slotmap.h"

enum { PAGES = 1024 }; /* two chunks */

static uint64_t memory(void) {
  struct pageheap_totals t = pageheap_totals();
  return t.sys - t.released + t.metadata;
}

static uint64_t needed(void) {
  struct pageheap_totals t = pageheap_totals();
  return t.inuse + t.metadata;
}

static uint64_t released(void) { return pageheap_totals().released; }

static uint32_t span_of(size_t pages) {
  bool zero;
  uint32_t page = span_alloc_large(pages, 1, 0, &zero);
  if (page != NO_PAGE) memset(page_address(page), 1, pages * PAGE_SIZE);
  return page;
}

static uint32_t taken(size_t pages) {
  uint32_t page = span_of(pages);
  REQUIRE(page != NO_PAGE);
  return page;
}

/* Both chunks are there: half in use, half free and resident, alternately. */
static uint32_t idle[8];
static void build(void) {
  for (int i = 0; i < 8; i++) {
    taken(PAGES / 16);
    idle[i] = taken(PAGES / 16);
  }
  for (int i = 0; i < 8; i++) span_free(idle[i]);
  atomic32_store_relaxed(&pageheap_note, 0);
}

/* No limit: nothing is given back by allocation. */
START_TEST(none) {
  uint64_t before = memory();
  REQUIRE(released() == 0);
  taken(PAGES / 16);
  REQUIRE(released() == 0 && memory() == before);
  taken(PAGES); /* grows */
  REQUIRE(atomic32_load_relaxed(&pageheap_note) == 0);
  REQUIRE(!pageheap_is_near_limit(heap.pages) && pageheap_scavenge_beyond_limits(SIZE_MAX) == 0);
}
END_TEST

/* A span fits as long as all that is in use fits, and not a byte longer. One block of the slot map is a free one
 * here, or a new one: the limit must not count on that. */
START_TEST(hard_to_the_byte) {
  uint64_t room = 10 * PAGE_SIZE + slotmap_block_bytes(1);
  pageheap_set_limits(UINT64_MAX, needed() + room - 1);
  REQUIRE(span_of(10) == NO_PAGE);
  REQUIRE(span_of(9) != NO_PAGE);
  pageheap_set_limits(UINT64_MAX, needed() + room);
  REQUIRE(span_of(11) == NO_PAGE && span_of(heap.pages) == NO_PAGE);
  REQUIRE(span_of(10) != NO_PAGE);
  REQUIRE(span_of(1) == NO_PAGE);
  pageheap_set_limits(UINT64_MAX, UINT64_MAX);
  REQUIRE(span_of(11) != NO_PAGE);
}
END_TEST

/* Small spans: all their slot map blocks count. */
START_TEST(hard_for_small_spans) {
  unsigned sc = span_class(size_class(16), 0), blocks = slotmap_blocks(sc);
  REQUIRE(blocks == 8 && span_class_pages(sc) == 1);
  uint64_t room = PAGE_SIZE + slotmap_block_bytes(blocks);
  pageheap_set_limits(UINT64_MAX, needed() + room - 1);
  REQUIRE(span_alloc(sc) == NO_PAGE);
  pageheap_set_limits(UINT64_MAX, needed() + room);
  REQUIRE(span_alloc(sc) != NO_PAGE);
  REQUIRE(span_alloc(sc) == NO_PAGE);
}
END_TEST

/* Growing costs tables, and a run that the free pages cannot hold needs it. */
START_TEST(hard_when_growing) {
  size_t tables = CHUNK_PAGES * (sizeof(atomic_word) + sizeof(struct span)), want = PAGES / 2;
  uint64_t sys = pageheap_totals().sys, room = want * PAGE_SIZE + slotmap_block_bytes(1);
  pageheap_set_limits(UINT64_MAX, needed() + room + tables - 1);
  REQUIRE(span_of(want) == NO_PAGE && pageheap_totals().sys == sys);
  pageheap_set_limits(UINT64_MAX, needed() + room + tables);
  REQUIRE(span_of(want) != NO_PAGE && pageheap_totals().sys == sys + CHUNK_SIZE);
  REQUIRE(memory() <= needed() && span_of(1) == NO_PAGE);
}
END_TEST

/* Whatever is asked for, memory never passes the limit, and only what cannot fit is refused. */
START_TEST(hard_at_random) {
  struct rng g = {suite_seed() + (uint64_t)_i};
  uint32_t span[400];
  size_t n = 0, refused = 0;
  uint64_t hard = memory() + (rng_below(&g, 5) * MIB);
  pageheap_set_limits(UINT64_MAX, hard);
  for (int i = 0; i < 4000; i++) {
    if (n == 400 || (n > 0 && rng_below(&g, 100) < 45)) {
      size_t which = rng_below(&g, n);
      span_free(span[which]);
      span[which] = span[--n];
    } else {
      size_t pages = 1 + rng_below(&g, rng_below(&g, 20) == 0 ? 700 : 20);
      uint64_t before = needed(), most = before + pages * PAGE_SIZE + 64 + 3 * CHUNK_PAGES * 24;
      uint32_t page = span_of(pages);
      if (page != NO_PAGE)
        span[n++] = page;
      else
        refused++;
      REQUIRE_MSG(page != NO_PAGE || most > hard, "%zu pages refused at %lu of %lu", pages, (unsigned long)before,
                  (unsigned long)hard);
    }
    REQUIRE_MSG(memory() <= hard, "%lu over %lu", (unsigned long)memory(), (unsigned long)hard);
    if (rng_below(&g, 50) == 0) pageheap_scavenge(rng_below(&g, MIB));
  }
  REQUIRE_MSG(refused > 10, "refused %zu times", refused);
}
END_TEST

/* Pages that were released come back only against others. */
START_TEST(soft_gives_back) {
  uint64_t before = memory();
  pageheap_scavenge(PAGES / 8 * PAGE_SIZE);
  REQUIRE(memory() == before - PAGES / 8 * PAGE_SIZE);
  uint64_t soft = memory() + 4 * PAGE_SIZE;
  pageheap_set_limits(soft, UINT64_MAX);
  taken(PAGES / 4); /* of a new chunk */
  REQUIRE_MSG(memory() <= soft, "%lu over %lu", (unsigned long)memory(), (unsigned long)soft);
  REQUIRE(memory() + SCAVENGE_STEP > soft);            /* and not much more than needed */
  REQUIRE(atomic32_load_relaxed(&pageheap_note) == 0); /* giving back was enough */
}
END_TEST

/* Soft: nothing is refused, but the note is there. */
START_TEST(soft_is_passed) {
  pageheap_set_limits(needed() + 8 * PAGE_SIZE, UINT64_MAX);
  REQUIRE(!pageheap_is_near_limit(8) && pageheap_is_near_limit(9));
  taken(7);
  REQUIRE(atomic32_load_relaxed(&pageheap_note) == 0);
  taken(10);
  REQUIRE(atomic32_load_relaxed(&pageheap_note) == 1);
  REQUIRE(memory() == needed()); /* all that was free has gone */
  taken(3 * PAGES);
  REQUIRE(memory() == needed() + (pageheap_totals().sys - pageheap_totals().released - pageheap_totals().inuse));
  REQUIRE(memory() == needed());
}
END_TEST

/* Setting gives nothing back by itself; the next call does, in steps, and stops at the limit. */
START_TEST(lowered) {
  uint64_t before = memory(), soft = before - 100 * PAGE_SIZE;
  pageheap_set_limits(soft, UINT64_MAX);
  REQUIRE(memory() == before);
  REQUIRE(pageheap_scavenge_beyond_limits(10 * PAGE_SIZE) == 10 * PAGE_SIZE);
  while (pageheap_scavenge_beyond_limits(64 * PAGE_SIZE) != 0) continue;
  REQUIRE(memory() <= soft && memory() + SCAVENGE_STEP > soft);
  pageheap_set_limits(UINT64_MAX, soft - 50 * PAGE_SIZE); /* the hard one too */
  while (pageheap_scavenge_beyond_limits(64 * PAGE_SIZE) != 0) continue;
  REQUIRE(memory() <= soft - 50 * PAGE_SIZE);
}
END_TEST

int main(void) {
  Suite *s = suite_create("limit");
  TCase *tc = suite_case(s, "limit");
  tcase_set_timeout(tc, 20);
  tcase_add_checked_fixture(tc, build, NULL);
  tcase_add_test(tc, none);
  tcase_add_test(tc, hard_to_the_byte);
  tcase_add_test(tc, hard_for_small_spans);
  tcase_add_test(tc, hard_when_growing);
  tcase_add_loop_test(tc, hard_at_random, 0, 4);
  tcase_add_test(tc, soft_gives_back);
  tcase_add_test(tc, soft_is_passed);
  tcase_add_test(tc, lowered);
  return suite_main(s);
}
