/* test_compactor.c - experiments/scenarios/compactor.h without a heap: when its policies fire, that the forwarding table
 * keeps addresses apart and copies a shared object once, that old objects are released only at the end. */
#include <string.h>

#include "compactor.h"
#include "suite.h"

/* ---- policies ---- */

static bool ask(struct compactor *compactor, uint64_t tick, uint64_t live, uint64_t fragmentation, uint64_t usage) {
  struct compact_now now = {.tick = tick, .live = live, .fragmentation = fragmentation, .usage = usage};
  if (!compactor_due(compactor, &now)) return false;
  compactor_begin(compactor);
  compactor_end(compactor, &now);
  return true;
}

START_TEST(never) {
  struct compactor compactor = {.policy = {COMPACT_NEVER, 0}};
  for (uint64_t i = 0; i < 1000; i++) REQUIRE(!ask(&compactor, i, i * i, i * i, i * i));
  REQUIRE(compactor.passes == 0);
}
END_TEST

START_TEST(every) {
  struct compactor compactor = {.policy = {COMPACT_EVERY, 4}};
  for (uint64_t tick = 0; tick <= 40; tick++) REQUIRE(ask(&compactor, tick, 1, 0, 0) == (tick > 0 && tick % 4 == 0));
  REQUIRE(!ask(&compactor, 43, 1, 0, 0));
  REQUIRE(ask(&compactor, 55, 1, 0, 0)); /* late, then four from there */
  REQUIRE(!ask(&compactor, 58, 1, 0, 0));
  REQUIRE(ask(&compactor, 59, 1, 0, 0));
}
END_TEST

START_TEST(doubled) {
  struct compactor compactor = {.policy = {COMPACT_DOUBLED, 0}, .least_live = 10};
  REQUIRE(!ask(&compactor, 0, 0, 0, 0));
  REQUIRE(!ask(&compactor, 1, 19, 0, 0)); /* least_live counts, not 0 */
  REQUIRE(ask(&compactor, 2, 20, 0, 0));
  REQUIRE(!ask(&compactor, 3, 39, 0, 0));
  REQUIRE(ask(&compactor, 4, 40, 0, 0));
  REQUIRE(!ask(&compactor, 5, 15, 0, 0)); /* the count falls: doubling is from there */
  REQUIRE(!ask(&compactor, 6, 29, 0, 0));
  REQUIRE(ask(&compactor, 7, 30, 0, 0));
  REQUIRE(compactor.passes == 3);
}
END_TEST

/* What makes doubling cheap: however entries come and go, a pass over n was preceded by n/2 insertions of its own. */
START_TEST(doubled_is_amortised) {
  struct rng rng = {suite_seed()};
  struct compactor compactor = {.policy = {COMPACT_DOUBLED, 0}, .least_live = 1};
  uint64_t live = 0, inserted = 0, copied = 0;
  for (uint64_t tick = 0; tick < 200000; tick++) {
    bool growing = tick / 5000 % 2 == 0;
    if (rng_below(&rng, 10) < (growing ? 8 : 3)) {
      live++;
      inserted++;
    } else if (live > 0) {
      live--;
    }
    uint64_t passes = compactor.passes;
    ask(&compactor, tick, live, 0, 0);
    if (compactor.passes > passes) copied += live;
    REQUIRE(copied <= 2 * inserted);
  }
  REQUIRE(compactor.passes > 10); /* or nothing was shown */
}
END_TEST

START_TEST(fragmented) {
  struct compactor compactor = {.policy = {COMPACT_FRAGMENTED, 0.25}};
  REQUIRE(!ask(&compactor, 0, 1, 250, 1000));
  REQUIRE(ask(&compactor, 1, 1, 251, 1000));
  REQUIRE(!ask(&compactor, 2, 1, 100, 1000)); /* what the pass left */
  REQUIRE(!ask(&compactor, 3, 1, 250, 1000));
  REQUIRE(ask(&compactor, 4, 1, 260, 1000));
  /* A pass that wins nothing is not repeated until there is something new to win. */
  for (uint64_t tick = 5; tick < 100; tick++) REQUIRE(!ask(&compactor, tick, 1, 260, 1000));
  REQUIRE(!ask(&compactor, 100, 1, 384, 1000));
  REQUIRE(ask(&compactor, 101, 1, 385, 1000));
  REQUIRE(!ask(&compactor, 102, 1, 0, 0)); /* an empty heap */
}
END_TEST

/* ---- forwarding ---- */

static const void *address(uint64_t i, uint64_t apart) {
  return (const void *)(uintptr_t)(UINT64_C(0xc000000000) + i * apart);
}

static void *mark(uint64_t i) { return (void *)(uintptr_t)(i + 1); }

/* Slots next to each other, a page apart, and chunks apart: whatever a heap lays out, no address is taken for another. */
START_TEST(forwarding_keeps_apart) {
  static const uint64_t apart[] = {8, 8192, 4 << 20, UINT64_C(1) << 33};
  struct forwarding table = {0};
  uint64_t n = 20000, step = apart[_i];
  for (uint64_t i = 0; i < n; i++) {
    void **place = forwarding_find(&table, address(i, step));
    REQUIRE_MSG(*place == NULL, "address %" PRIu64 " is taken for another", i);
    *place = mark(i);
  }
  REQUIRE(table.count == n);
  for (uint64_t i = 0; i < n; i++) REQUIRE(*forwarding_find(&table, address(i, step)) == mark(i));
  REQUIRE(table.count == n && table.capacity >= 2 * n);
  forwarding_clear(&table);
  REQUIRE(table.count == 0 && table.entries == NULL);
  REQUIRE(*forwarding_find(&table, address(0, step)) == NULL); /* usable again, and empty */
  forwarding_clear(&table);
}
END_TEST

/* ---- a pass ---- */

static struct {
  char memory[4096];
  size_t used, released;
} copies;

static void *copy(const void *old, size_t size, enum compact_object kind) {
  REQUIRE(kind == COMPACT_SCANNED && copies.used + size <= sizeof copies.memory);
  void *to = memcpy(copies.memory + copies.used, old, size);
  copies.used += size;
  return to;
}

static void count_release(void *old) {
  (void)old;
  copies.released++;
}

START_TEST(shared_is_copied_once) {
  struct compactor compactor = {.policy = {COMPACT_EVERY, 1}, .copy = copy, .release = count_release};
  char objects[40][64];
  bool first;
  memset(objects, 'x', sizeof objects);
  compactor_begin(&compactor);
  REQUIRE(compactor_copy(&compactor, NULL, 64, COMPACT_SCANNED) == NULL);
  REQUIRE(compactor_copy_shared(&compactor, NULL, 64, COMPACT_SCANNED, &first) == NULL && !first);
  for (int round = 0; round < 3; round++)
    for (int i = 0; i < 40; i++) {
      char *to = compactor_copy_shared(&compactor, objects[i], 64, COMPACT_SCANNED, &first);
      REQUIRE(to == copies.memory + 64 * i && first == (round == 0));
    }
  REQUIRE(copies.released == 0); /* not before the end */
  compactor_end(&compactor, &(struct compact_now){.tick = 7, .live = 40});
  REQUIRE(copies.released == 40 && !memcmp(copies.memory, objects, sizeof objects));
  REQUIRE(compactor.passes == 1 && compactor.objects == 40 && compactor.bytes == sizeof objects);
  REQUIRE(compactor.forwarding.entries == NULL && compactor.old == NULL && compactor.side_bytes > 0);
}
END_TEST

/* A copy function that leaves the object where it is. */
static void *stay(const void *old, size_t size, enum compact_object kind) {
  (void)size;
  (void)kind;
  return (void *)(uintptr_t)old;
}

START_TEST(what_stays_is_walked_once_and_kept) {
  struct compactor compactor = {.policy = {COMPACT_EVERY, 1}, .copy = stay, .release = count_release};
  char object[64];
  bool first;
  compactor_begin(&compactor);
  REQUIRE(compactor_copy(&compactor, object, 64, COMPACT_SCANNED) == object);
  REQUIRE(compactor_copy_shared(&compactor, object, 64, COMPACT_SCANNED, &first) == object && first);
  REQUIRE(compactor_copy_shared(&compactor, object, 64, COMPACT_SCANNED, &first) == object && !first);
  compactor_end(&compactor, &(struct compact_now){.tick = 1});
  REQUIRE(copies.released == 0 && compactor.objects == 0 && compactor.bytes == 0);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("compactor");
  TCase *tc = suite_case(suite, "policies");
  tcase_add_test(tc, never);
  tcase_add_test(tc, every);
  tcase_add_test(tc, doubled);
  tcase_add_test(tc, doubled_is_amortised);
  tcase_add_test(tc, fragmented);
  tc = suite_case(suite, "a pass");
  tcase_add_loop_test(tc, forwarding_keeps_apart, 0, 4);
  tcase_add_test(tc, shared_is_copied_once);
  tcase_add_test(tc, what_stays_is_walked_once_and_kept);
  return suite_main(suite);
}
