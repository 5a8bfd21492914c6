/* test_noscan.c - noscan objects: never searched, kept like any other, and sharing a block when tiny. */
#include "hide.h"

enum { N = 2000 };

static root roots[N];

/* Objects of holder_size bytes in roots, each with the only pointer to an object of its own. */
static NOINLINE void make_holders(hidden *only, size_t holder_size, bool noscan) {
  for (size_t i = 0; i < N; i++) {
    void **holder = noscan ? gc_alloc_noscan(holder_size) : gc_alloc(holder_size);
    REQUIRE(holder != NULL);
    if (noscan) memset(holder, 0, holder_size);
    void *p = gc_alloc(32);
    REQUIRE(p != NULL);
    pattern_fill(p, 32, i);
    holder[holder_size / sizeof *holder - 1] = p;
    roots[i] = holder;
    only[i] = hide(p);
  }
}

static const size_t holder_sizes[] = {16, 64, 256, 2048, 40000};

START_TEST(noscan_holds_nothing) {
  hidden *h = hidden_new(N);
  make_holders(h, holder_sizes[_i], true);
  scrub_stack();
  gc_collect();
  REQUIRE_MOSTLY_GONE(h, N);
  for (size_t i = 0; i < N; i++) REQUIRE(gc_base(roots[i]) == roots[i]);
}
END_TEST

START_TEST(scanned_holds) {
  hidden *h = hidden_new(N);
  make_holders(h, holder_sizes[_i], false);
  scrub_stack();
  gc_collect();
  refill(N, 32);
  for (size_t i = 0; i < N; i++) REQUIRE(pattern_ok(reveal(h[i]), 32, i));
}
END_TEST

START_TEST(noscan_contents_kept) {
  for (size_t i = 0; i < N; i++) {
    size_t size = 1 + i * 7;
    roots[i] = gc_alloc_noscan(size);
    REQUIRE(roots[i] != NULL);
    pattern_fill(roots[i], size, i);
  }
  for (int round = 0; round < 3; round++) {
    gc_collect();
    for (size_t i = 0; i < N; i++) REQUIRE(pattern_ok(roots[i], 1 + i * 7, i));
    refill(N, 1 + (size_t)round * 40);
  }
}
END_TEST

/* Fills h with tiny objects. Of each block, keeps in roots an address inside one resident only. */
static NOINLINE size_t make_tiny(hidden *h, size_t size, size_t keep_offset, struct rng *r) {
  size_t blocks = 0;
  void *last = NULL;
  for (size_t i = 0; i < N; i++) {
    char *p = gc_alloc_noscan(size);
    REQUIRE(p != NULL);
    pattern_fill(p, size, i);
    h[i] = hide(p);
    void *block = gc_base(p);
    REQUIRE(block != NULL && (char *)block <= p && p + size <= (char *)block + 16);
    if (block != last) {
      last = block;
      roots[blocks++] = p + keep_offset;
    } else if (rng_below(r, 2) == 0) {
      roots[blocks - 1] = p + keep_offset;
    }
  }
  return blocks;
}

START_TEST(tiny_block_kept_by_any_resident) {
  static const size_t tiny[] = {1, 2, 3, 4, 5, 7, 8};
  size_t size = tiny[_i];
  hidden *h = hidden_new(N);
  struct rng r = {suite_seed() + size};
  size_t blocks = make_tiny(h, size, size - 1, &r);
  REQUIRE_MSG(blocks <= N / 2 + 1, "objects of %zu bytes do not share blocks: %zu blocks", size, blocks);
  scrub_stack();
  gc_collect();
  refill(4 * N, 16);
  for (size_t i = 0; i < N; i++) REQUIRE(pattern_ok(reveal(h[i]), size, i));
}
END_TEST

START_TEST(tiny_block_goes_with_the_last_resident) {
  hidden *h = hidden_new(N);
  struct rng r = {suite_seed()};
  (void)make_tiny(h, 4, 0, &r);
  for (size_t i = 0; i < N; i++) roots[i] = NULL;
  scrub_stack();
  gc_collect();
  REQUIRE_MOSTLY_GONE(h, N);
}
END_TEST

/* gc_free leaves a tiny object to the collector: its neighbours live on. */
START_TEST(free_of_tiny_spares_neighbours) {
  for (size_t i = 0; i < N; i++) {
    roots[i] = gc_alloc_noscan(4);
    REQUIRE(roots[i] != NULL);
    pattern_fill(roots[i], 4, i);
  }
  for (size_t i = 0; i < N; i += 2) {
    gc_free(roots[i]);
    roots[i] = NULL;
  }
  refill(2 * N, 16);
  gc_collect();
  refill(2 * N, 16);
  for (size_t i = 1; i < N; i += 2) REQUIRE(pattern_ok(roots[i], 4, i));
}
END_TEST

int main(void) {
  Suite *s = suite_create("noscan");
  TCase *tc = suite_case(s, "noscan");
  tcase_add_loop_test(tc, noscan_holds_nothing, 0, 5);
  tcase_add_loop_test(tc, scanned_holds, 0, 5);
  tcase_add_test(tc, noscan_contents_kept);
  tcase_add_loop_test(tc, tiny_block_kept_by_any_resident, 0, 7);
  tcase_add_test(tc, tiny_block_goes_with_the_last_resident);
  tcase_add_test(tc, free_of_tiny_spares_neighbours);
  return suite_main(s);
}
