/* test_pages.c - alloc/pages.h against a naive model: an array with one entry per page, looked through from
 * the front. Only the bitmaps are exercised; no memory of the heap is touched. */
#include "unit.h"

#include "alloc/pages.h"

enum { CHUNKS = 5, PAGES = CHUNKS * 512, RUNS = PAGES };

static struct page { bool used, released, zero; } model[PAGES];
static size_t limit; /* pages added so far */

static struct run {
  uint32_t page;
  size_t n;
} run[RUNS];
static size_t runs;

static void add_chunk(void) {
  pages_add_chunk();
  for (size_t i = 0; i < CHUNK_PAGES; i++) model[limit++] = (struct page){false, true, true};
}

static bool is_free_run(size_t page, size_t n) {
  if (page + n > limit) return false;
  for (size_t i = 0; i < n; i++)
    if (model[page + i].used) return false;
  return true;
}

/* The first free run, at all or inside one chunk; PAGES: none. */
static size_t first_run(size_t n, size_t align, bool inside) {
  for (size_t p = 0; p + n <= limit; p += align)
    if ((!inside || p / CHUNK_PAGES == (p + n - 1) / CHUNK_PAGES) && is_free_run(p, n)) return p;
  return PAGES;
}

/* A run inside a chunk comes before one that crosses, and is the first such. */
static void check_choice(size_t n, size_t align, bool ok, uint32_t page) {
  REQUIRE_MSG(ok == (first_run(n, align, false) < PAGES), "%zu pages, aligned to %zu: %d", n, align, ok);
  if (!ok) return;
  REQUIRE(page % align == 0 && is_free_run(page, n));
  size_t inside = first_run(n, align, true);
  if (inside < PAGES) REQUIRE_MSG(page == inside, "%zu pages at %u, first fit is %zu", n, page, inside);
}

static bool take(size_t n, size_t align) {
  uint32_t page = NO_PAGE;
  bool zero = false, all_zero = true, ok = pages_alloc(n, align, &page, &zero);
  check_choice(n, align, ok, page);
  if (!ok) return false;
  for (size_t i = 0; i < n; i++) {
    all_zero &= model[page + i].zero;
    model[page + i] = (struct page){true, false, false};
  }
  REQUIRE(zero == all_zero);
  run[runs++] = (struct run){page, n};
  return true;
}

static void give(size_t which) {
  struct run r = run[which];
  run[which] = run[--runs];
  pages_free(r.page, r.n);
  for (size_t i = 0; i < r.n; i++) model[r.page + i].used = false;
}

static bool is_unreleased(size_t p) { return !model[p].used && !model[p].released; }

/* One step of giving back: the highest free resident run, cut at max and at the chunk. */
static bool release(size_t max, bool zero) {
  uint32_t page;
  size_t n, top = limit;
  while (top > 0 && !is_unreleased(top - 1)) top--;
  bool found = pages_find_unreleased(max, &page, &n);
  REQUIRE(found == (top > 0));
  if (!found) return false;
  REQUIRE(page + n == top && n >= 1 && n <= max);
  for (size_t i = 0; i < n; i++) REQUIRE(is_unreleased(page + i));
  REQUIRE(n == max || page % CHUNK_PAGES == 0 || !is_unreleased(page - 1));
  pages_set_released(page, n, zero);
  for (size_t i = 0; i < n; i++) model[page + i] = (struct page){false, true, zero};
  return true;
}

static void check_counts(void) {
  size_t used = 0, released = 0, tail = 0;
  for (size_t p = 0; p < limit; p++) {
    used += model[p].used;
    released += model[p].released;
    tail = model[p].used ? 0 : tail + 1;
    REQUIRE(pages_is_used((uint32_t)p) == model[p].used);
  }
  REQUIRE(pages_limit() == limit && pages_in_use() == used);
  REQUIRE_MSG(pages_released() == released, "%zu released, not %zu", pages_released(), released);
  REQUIRE(pages_tail_free() == tail);
}

static size_t random_length(struct rng *g) {
  switch (rng_below(g, 16)) {
    case 0: return 1 + rng_below(g, 1500);
    case 1:
    case 2: return 1 + rng_below(g, 100);
    case 3:
    case 4:
    case 5: return 1 + rng_below(g, 20);
    default: return 1 + rng_below(g, 3);
  }
}

static void random_step(struct rng *g) {
  size_t what = rng_below(g, 100);
  if (what < 45)
    take(random_length(g), 1);
  else if (what < 52)
    take(1 + rng_below(g, 40), (size_t)1 << rng_below(g, 11));
  else if (what < 94 && runs > 0)
    give(rng_below(g, runs));
  else if (what < 99)
    release(1 + rng_below(g, 600), rng_below(g, 4) != 0);
  else if (limit < PAGES)
    add_chunk();
}

START_TEST(random_use) {
  struct rng g = {suite_seed() + (uint64_t)_i};
  REQUIRE(pages_limit() == 0);
  REQUIRE(!pages_alloc(1, 1, &(uint32_t){0}, &(bool){false}));
  for (int i = 0; i < 6000; i++) {
    random_step(&g);
    if (i % 50 == 0) check_counts();
  }
  while (runs > 0) give(runs - 1);
  while (release(512, true)) check_counts();
  REQUIRE(pages_in_use() == 0 && pages_released() == limit && pages_tail_free() == limit);
}
END_TEST

/* Full heaps, where each failed search teaches the hints and bounds something. */
START_TEST(nearly_full) {
  struct rng g = {suite_seed() + 77};
  for (int i = 0; i < 3; i++) add_chunk();
  for (int round = 0; round < 30; round++) {
    while (take(1 + rng_below(&g, 4), 1)) continue;
    while (take(1, 1)) continue;
    REQUIRE(pages_in_use() == limit);
    for (size_t n = rng_below(&g, 40) + 1; n > 0 && runs > 0; n--) give(rng_below(&g, runs));
    for (size_t n = 20; n > 0; n--) take(n, 1);
    check_counts();
  }
}
END_TEST

/* A run as long as several chunks, at the right place when what is before it is taken. */
START_TEST(runs_across_chunks) {
  for (int i = 0; i < CHUNKS; i++) add_chunk();
  REQUIRE(!take(PAGES + 1, 1) && take(PAGES, 1));
  give(0);
  REQUIRE(take(500, 1) && take(1000, 1) && run[1].page == 500);
  REQUIRE(take(20, 512) && run[2].page == 1536);
  REQUIRE(take(600, 256) && !take(1024, 1024));
  give(1);
  give(0);
  REQUIRE(take(1024, 1024));
  check_counts();
}
END_TEST

int main(void) {
  Suite *s = suite_create("pages");
  TCase *tc = suite_case(s, "pages");
  tcase_add_loop_test(tc, random_use, 0, 4);
  tcase_add_test(tc, nearly_full);
  tcase_add_test(tc, runs_across_chunks);
  return suite_main(s);
}
