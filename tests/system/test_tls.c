/* test_tls.c - thread-local words of the program and of a library that it is linked with, in every thread, changed all the time
 * beside cycles; root ranges that come and go beside cycles. test_dlopen.c has libraries loaded later. */
#include <sys/mman.h>

#include "beside.h"
#include "cases.h"
#include "linked.h"
#include "park.h"

/* -- alone in one place, while the thread sleeps -- */
static int place;
static void hold_in_place(struct park *p) {
  *linked_place(place) = reveal(p->head);
  park_wait(p);
  REQUIRE(*linked_place(place) == reveal(p->head));
  *linked_place(place) = NULL;
}

START_TEST(linked_library) {
  place = _i;
  check_place(hold_in_place);
}
END_TEST

/* -- changing -- */
enum { THREADS = 3, WORDS = 16 };
static __thread void *volatile own_words[WORDS];
static __thread struct {
  char gap[50000];
  void *volatile word;
} own_far;

static void *volatile *some_word(size_t k) {
  if (k < LINKED_PLACES - 1) return linked_place((int)k);
  if (k == LINKED_PLACES - 1) return &own_far.word;
  if (k == LINKED_PLACES) return &linked_global;
  return &own_words[k % WORDS];
}

/* Each object is in one word only, and moves from word to word. */
static void *move_in_tls(void *seed) {
  enum { ALL = LINKED_PLACES + WORDS };
  uint64_t tag[ALL] = {0};
  struct rng r = {suite_seed() + (uintptr_t)seed};
  while (beside_cycles() < 30 * suite_scale()) {
    size_t a = rng_below(&r, ALL), b = rng_below(&r, ALL);
    if (some_word(a) == some_word(b)) continue;
    void *p = *some_word(a);
    REQUIRE_MSG(tag[a] == 0 || (gc_base(p) == p && pattern_ok(p, 48, tag[a])), "lost from word %zu", a);
    for (size_t k = 0; k < ALL; k++) /* the same word under another number */
      if (some_word(k) == some_word(b)) tag[k] = tag[a];
    *some_word(b) = p;
    p = gc_alloc(48);
    REQUIRE(p != NULL);
    uint64_t fresh = rng_next(&r) | 1;
    pattern_fill(p, 48, fresh);
    *some_word(a) = p;
    for (size_t k = 0; k < ALL; k++)
      if (some_word(k) == some_word(a)) tag[k] = fresh;
  }
  return NULL;
}

static void words_change(void) {
  pthread_t t[THREADS];
  beside_begin(500);
  for (uintptr_t i = 0; i < THREADS; i++) REQUIRE(pthread_create(&t[i], NULL, move_in_tls, (void *)i) == 0);
  for (int i = 0; i < THREADS; i++) REQUIRE(pthread_join(t[i], NULL) == 0);
  beside_end();
}

/* -- root ranges: memory that the library does not know, registered, filled, given back and unmapped beside cycles -- */
enum { RANGES = 12, RANGE_WORDS = 2048 };

static void *come_and_go(void *seed) {
  root *range[RANGES] = {NULL};
  uint64_t tag[RANGES] = {0};
  size_t at[RANGES] = {0};
  struct rng r = {suite_seed() * 3 + (uintptr_t)seed};
  while (beside_cycles() < 30 * suite_scale()) {
    size_t k = rng_below(&r, RANGES);
    if (range[k] == NULL) {
      range[k] = mmap(NULL, RANGE_WORDS * 8, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      REQUIRE(range[k] != MAP_FAILED &&
              gc_add_roots((void *)(uintptr_t)range[k], (void *)(uintptr_t)(range[k] + RANGE_WORDS)) == 0);
      at[k] = rng_below(&r, RANGE_WORDS);
      tag[k] = rng_next(&r) | 1;
      REQUIRE((range[k][at[k]] = gc_alloc(72)) != NULL);
      pattern_fill(range[k][at[k]], 72, tag[k]);
      continue;
    }
    void *p = range[k][at[k]];
    REQUIRE_MSG(gc_base(p) == p && pattern_ok(p, 72, tag[k]), "lost from range %zu", k);
    gc_remove_roots((void *)(uintptr_t)range[k], (void *)(uintptr_t)(range[k] + RANGE_WORDS));
    REQUIRE(munmap((void *)(uintptr_t)range[k], RANGE_WORDS * 8) == 0); /* nobody may read it any more */
    range[k] = NULL;
    refill(5, 72);
  }
  return NULL;
}

static void ranges_come_and_go(void) {
  pthread_t t[THREADS];
  beside_begin(500);
  for (uintptr_t i = 0; i < THREADS; i++) REQUIRE(pthread_create(&t[i], NULL, come_and_go, (void *)i) == 0);
  for (int i = 0; i < THREADS; i++) REQUIRE(pthread_join(t[i], NULL) == 0);
  beside_end();
}

static const struct test_case cases[] = {
    {"words_change", words_change, NULL},
    {"ranges_come_and_go", ranges_come_and_go, NULL},
};

int main(int argc, char **argv) {
  int status = cases_run(argc, argv, CASES(cases));
  if (status >= 0) return status;
  Suite *s = suite_create("tls");
  tcase_add_loop_test(suite_case(s, "tls"), linked_library, 0, LINKED_PLACES);
  cases_add(s);
  return suite_main(s);
}
