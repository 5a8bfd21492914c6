/* test_slotmap.c - alloc/slotmap.h: masks of a group against a naive loop, and who owns which blocks. */
#include "unit.h"

#include "alloc/slotmap.h"

enum { ROUNDS = 3000, BLOCKS = 3000, LONGEST = 17 };

static unsigned char around[192] __attribute__((aligned(64))), model[192];
#define GROUP (around + 64)

/* Bytes that a slot map can hold; long runs of one value now and then, for the eight-at-a-time stores. */
static void random_bytes(struct rng *g) {
  unsigned char value = 0;
  bool runs = rng_below(g, 2) == 0;
  for (size_t i = 0; i < sizeof around; i++) {
    if (!runs || i % 8 == 0) value = (unsigned char)rng_below(g, 3);
    around[i] = model[i] = value;
  }
}

START_TEST(masks) {
  struct rng g = {suite_seed()};
  for (int round = 0; round < ROUNDS; round++) {
    random_bytes(&g);
    for (unsigned value = 0; value < 3; value++) {
      uint64_t expected = 0, mask = group_equal(GROUP, value);
      for (unsigned i = 0; i < 64; i++) expected |= (uint64_t)(GROUP[i] == value) << i;
      REQUIRE_MSG(mask == expected, "value %u: %lx instead of %lx", value, (unsigned long)mask,
                  (unsigned long)expected);
    }
  }
}
END_TEST

static uint64_t random_mask(struct rng *g) {
  uint64_t m = rng_next(g);
  if (rng_below(g, 3) == 0) m |= (uint64_t)0xffff << rng_below(g, 49);
  if (rng_below(g, 3) == 0) m &= ~((uint64_t)0xffff << rng_below(g, 49));
  return m;
}

static void store_and_compare(uint64_t mask, unsigned value) {
  group_store(GROUP, mask, value);
  for (unsigned i = 0; i < 64; i++)
    if (mask >> i & 1) model[64 + i] = (unsigned char)value;
  REQUIRE_MSG(memcmp(around, model, sizeof around) == 0, "mask %lx, value %u", (unsigned long)mask, value);
}

/* No byte but those of the mask changes, inside the group or beside it. */
/* Several groups at once: the same masks, and the sum of their bits; all equal is the largest sum. */
START_TEST(masks_counted) {
  static unsigned char groups[16 * 64] __attribute__((aligned(64)));
  struct rng g = {suite_seed()};
  for (int round = 0; round < ROUNDS; round++) {
    unsigned n = 1 + (unsigned)rng_below(&g, 16), kinds = round == 0 ? 1 : 4, sum = 0;
    for (size_t i = 0; i < sizeof groups; i++) groups[i] = (unsigned char)rng_below(&g, kinds);
    for (unsigned value = 0; value < 4; value++) {
      uint64_t mask[16];
      unsigned count = groups_equal(groups, n, value, mask), bits = 0;
      for (unsigned i = 0; i < n; i++) {
        REQUIRE(mask[i] == group_equal(groups + (size_t)i * 64, value));
        bits += count_bits(mask[i]);
      }
      REQUIRE_MSG(count == bits, "%u counted, %u are there", count, bits);
      sum += count;
    }
    REQUIRE(sum == n * 64);
  }
}
END_TEST

START_TEST(stores) {
  struct rng g = {suite_seed()};
  for (int round = 0; round < ROUNDS; round++) {
    random_bytes(&g);
    store_and_compare(random_mask(&g), (unsigned)rng_below(&g, 3));
    store_and_compare(round % 2 ? ~(uint64_t)0 : 0, (unsigned)rng_below(&g, 3));
    store_and_compare((uint64_t)1 << rng_below(&g, 64), (unsigned)rng_below(&g, 3));
  }
}
END_TEST

/* A marker colours other bytes of the group meanwhile: none of its marks may be lost (INV-CLAIM-1). */
static atomic_u32 go_on;
static const uint64_t claimed = 0x00ff0f0ff00ff555;

static void *store_beside(void *unused) {
  while (atomic32_load_acquire(&go_on) == 0) cpu_relax();
  for (int i = 0; atomic32_load_acquire(&go_on) == 1; i++) group_store(GROUP, claimed, (unsigned)i % 2 + 1);
  return unused;
}

START_TEST(stores_beside_a_marker) {
  pthread_t id;
  start_thread(&id, store_beside, NULL);
  atomic32_store_release(&go_on, 1);
  for (unsigned round = 0; round < 20000; round++) {
    unsigned i = round % 64, value = round / 64 % 3;
    if (claimed >> i & 1) continue;
    atomic8_store_relaxed(&GROUP[i], value);
    for (int spin = 0; spin < 20; spin++) REQUIRE(atomic8_load_relaxed(&GROUP[i]) == value);
  }
  atomic32_store_release(&go_on, 2);
  pthread_join(id, NULL);
}
END_TEST

START_TEST(valid_slots) {
  for (unsigned n = 1; n <= 1024; n++)
    for (unsigned group = 0; group < (n + 63) / 64; group++) {
      uint64_t expected = 0;
      for (unsigned i = 0; i < 64; i++) expected |= (uint64_t)(group * 64 + i < n) << i;
      REQUIRE(group_valid(n, group) == expected);
    }
}
END_TEST

START_TEST(blocks_of_a_class) {
  REQUIRE(slotmap_blocks(0) == 1 && slotmap_blocks(1) == 1);
  for (unsigned sc = 2; sc < SPAN_CLASSES; sc++) {
    unsigned needed = (span_class_slots(sc) + 63u) / 64;
    REQUIRE(slotmap_blocks(sc) == needed + (sc == TINY_SPAN_CLASS));
    REQUIRE(slotmap_blocks(sc) <= LONGEST);
  }
  /* The bitmap of tiny blocks is behind the slots' bytes, one bit per slot. */
  atomic_u8 *bits = (atomic_u8 *)(uintptr_t)tiny_bits(7, 0);
  REQUIRE(bits == slotmap_group(7 + class_slots[2] / 64, 0));
  REQUIRE((atomic_u8 *)(uintptr_t)(tiny_bits(7, 7) + 1) == bits + 64);
}
END_TEST

/* ---- owners of blocks ---- */

static struct owned {
  uint32_t block;
  unsigned n;
} owned[BLOCKS];
static size_t owners;

static unsigned char tag_of(uint32_t block) { return (unsigned char)(block % 251 + 1); }

static void take_blocks(struct rng *g) {
  struct owned *o = &owned[owners++];
  o->n = 1 + (unsigned)rng_below(g, LONGEST);
  REQUIRE(slotmap_alloc(o->n, &o->block) && o->block != 0);
  unsigned char *p = (unsigned char *)(uintptr_t)slotmap_group(o->block, 0);
  for (size_t i = 0; i < o->n * 64; i++) REQUIRE(p[i] == 0);
  memset(p, tag_of(o->block), o->n * 64);
}

static void give_blocks(size_t i) {
  const unsigned char *p = (const unsigned char *)(uintptr_t)slotmap_group(owned[i].block, 0);
  for (size_t k = 0; k < owned[i].n * 64; k++) REQUIRE_MSG(p[k] == tag_of(owned[i].block), "another owner wrote here");
  slotmap_free(owned[i].block, owned[i].n);
  owned[i] = owned[--owners];
}

static void require_apart(void) {
  static unsigned char used[BLOCKS * LONGEST * 2];
  memset(used, 0, sizeof used);
  for (size_t i = 0; i < owners; i++)
    for (unsigned k = 0; k < owned[i].n; k++) {
      REQUIRE(owned[i].block + k < sizeof used);
      REQUIRE_MSG(used[owned[i].block + k]++ == 0, "block %u has two owners", owned[i].block + k);
    }
}

START_TEST(owners_of_blocks) {
  struct rng g = {suite_seed()};
  for (int round = 0; round < 20; round++) {
    while (owners < BLOCKS - rng_below(&g, 1000)) take_blocks(&g);
    require_apart();
    size_t keep = rng_below(&g, BLOCKS);
    while (owners > keep) give_blocks(rng_below(&g, owners));
    REQUIRE(slotmap_bytes() <= (size_t)BLOCKS * LONGEST * 64 * 2);
  }
  while (owners > 0) give_blocks(0);
}
END_TEST

/* Blocks that came back serve again: the map does not grow for the same work. */
START_TEST(blocks_serve_again) {
  uint32_t block[100];
  size_t after_first = 0;
  for (int round = 0; round < 10; round++) {
    for (int i = 0; i < 100; i++) REQUIRE(slotmap_alloc(1 + (unsigned)i % LONGEST, &block[i]));
    if (round == 0) after_first = slotmap_bytes();
    REQUIRE(slotmap_bytes() == after_first);
    for (int i = 0; i < 100; i++) slotmap_free(block[i], 1 + (unsigned)i % LONGEST);
  }
}
END_TEST

/* A heap that held small slots and holds larger ones now needs no more map than it had: blocks of a long run
 * must serve short ones. Else a bounded reservation runs out while the heap is empty. */
START_TEST(long_runs_serve_short_ones) {
  enum { LONG_RUNS = 2000 };
  static uint32_t block[LONG_RUNS * 2];
  for (int i = 0; i < LONG_RUNS; i++) REQUIRE(slotmap_alloc(16, &block[i]));
  size_t full = slotmap_bytes();
  for (int i = 0; i < LONG_RUNS; i++) slotmap_free(block[i], 16);
  for (int i = 0; i < LONG_RUNS * 2; i++) REQUIRE(slotmap_alloc(8, &block[i]));
  REQUIRE_MSG(slotmap_bytes() <= full + full / 10, "%zu bytes of map grew to %zu", full, slotmap_bytes());
}
END_TEST

int main(void) {
  Suite *s = suite_create("slotmap");
  TCase *tc = suite_case(s, "groups");
  tcase_add_test(tc, masks);
  tcase_add_test(tc, masks_counted);
  tcase_add_test(tc, stores);
  tcase_add_test(tc, stores_beside_a_marker);
  tcase_add_test(tc, valid_slots);
  tc = suite_case(s, "blocks");
  tcase_add_test(tc, blocks_of_a_class);
  tcase_add_test(tc, owners_of_blocks);
  tcase_add_test(tc, blocks_serve_again);
  tcase_add_test(tc, long_runs_serve_short_ones);
  return suite_main(s);
}
