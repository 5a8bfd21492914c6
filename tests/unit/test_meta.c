/* test_meta.c - runtime/meta.h: records are aligned, zero and never overlap; refusals do no harm. */
#include "unit.h"

#include "runtime/meta.h"

enum { RECORDS = 2000, SHARERS = 4, EACH = 300 };

struct record {
  char *at;
  size_t size;
};

static bool all_are(const char *p, size_t n, char c) {
  for (size_t i = 0; i < n; i++)
    if (p[i] != c) return false;
  return true;
}

/* A record full of one byte; the next ones must not touch it. */
static struct record take(size_t size, char fill) {
  struct record r = {meta_alloc(size), size};
  REQUIRE(r.at != NULL && (uintptr_t)r.at % 64 == 0);
  REQUIRE(all_are(r.at, size, 0));
  memset(r.at, fill, size);
  return r;
}

START_TEST(records) {
  static struct record r[RECORDS];
  struct rng g = {suite_seed()};
  for (int i = 0; i < RECORDS; i++) {
    size_t size = i % 500 == 499 ? 300 * KIB + rng_below(&g, 100 * KIB) : 1 + rng_below(&g, 700);
    size_t before = meta_bytes();
    r[i] = take(size, (char)(i % 127 + 1));
    REQUIRE(meta_bytes() - before == round_up(size, 64));
  }
  for (int i = 0; i < RECORDS; i++) REQUIRE(all_are(r[i].at, r[i].size, (char)(i % 127 + 1)));
}
END_TEST

static void *take_many(void *arg) {
  char mark = *(char *)arg;
  struct record r[EACH];
  for (size_t i = 0; i < EACH; i++) {
    thread_defer_stops();
    r[i] = take(64 + i % 200, mark);
    thread_allow_stops();
  }
  for (size_t i = 0; i < EACH; i++) REQUIRE(all_are(r[i].at, r[i].size, mark));
  return NULL;
}

START_TEST(records_of_threads) {
  pthread_t id[SHARERS];
  static char marks[SHARERS] = {1, 2, 3, 4};
  for (int i = 0; i < SHARERS; i++) start_thread(&id[i], take_many, &marks[i]);
  for (int i = 0; i < SHARERS; i++) pthread_join(id[i], NULL);
}
END_TEST

START_TEST(mappings) {
  static const size_t sizes[] = {1, 4096, 5000, 3 * MIB};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    char *p = meta_map(sizes[i]);
    REQUIRE(p != NULL && (uintptr_t)p % os_page_size() == 0);
    REQUIRE(all_are(p, sizes[i], 0));
    memset(p, 1, sizes[i]);
  }
  REQUIRE(meta_map(SIZE_MAX / 2) == NULL);
}
END_TEST

#if GC_DEBUG
/* Records still come from the block that is there; what needs a new one is refused, until it is granted. */
START_TEST(refused) {
  size_t left = 0;
  meta_alloc(64);
  os_fail_after(0);
  REQUIRE(meta_map(100) == NULL && meta_alloc(300 * KIB) == NULL);
  for (size_t before = meta_bytes(); meta_alloc(64) != NULL; before = meta_bytes()) {
    left++;
    REQUIRE(meta_bytes() >= before && left <= 256 * KIB / 64);
  }
  size_t total = meta_bytes();
  REQUIRE(meta_alloc(64) == NULL && meta_bytes() == total);
  os_fail_after(-1);
  take(64, 1);
  REQUIRE(meta_bytes() == total + 64);
}
END_TEST
#endif

int main(void) {
  Suite *s = suite_create("meta");
  TCase *tc = suite_case(s, "meta");
  tcase_add_test(tc, records);
  tcase_add_test(tc, records_of_threads);
  tcase_add_test(tc, mappings);
#if GC_DEBUG
  tcase_add_test(tc, refused);
#endif
  return suite_main(s);
}
