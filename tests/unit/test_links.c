/* test_links.c - gc/links.h below the drop-in: the table by link through many splits, and its checker. */
#include "unit.h"

#include "gc/links.h"
#include "gc/verdict.h"

enum { N = 60000 };

static atomic_word word[2 * N];
static const struct slot nowhere = {NULL, NULL, NO_PAGE, 0, 0};

static struct link link_to(enum watch_kind kind, size_t i) { return (struct link){kind, &word[i], nowhere}; }

static void set_one(enum watch_kind kind, size_t i, enum link_outcome expected) {
  struct link l = link_to(kind, i);
  REQUIRE(link_set(&l, (void *)(16 * i + 16), &nowhere) == expected);
}

/* Both kinds at each word, then half of them elsewhere, then none. */
START_TEST(links_are_found) {
  quiet_heap();
  thread_defer_stops();
  for (int round = 0; round < 2; round++) {
    for (size_t i = 0; i < N; i++) {
      set_one(WATCH_LINK, i, LINK_DONE);
      set_one(WATCH_LONG_LINK, i, LINK_DONE);
      set_one(WATCH_LINK, i, LINK_THERE);
    }
    REQUIRE(watch_count(WATCH_LINK) == N && watch_count(WATCH_LONG_LINK) == N);
    REQUIRE(links_check() == NULL);
    for (size_t i = 0; i < N; i += 2) {
      struct link from = link_to(WATCH_LINK, i), to = link_to(WATCH_LINK, N + i), taken = link_to(WATCH_LINK, i + 1);
      REQUIRE(link_move(&from, &taken) == LINK_THERE && link_move(&from, &from) == LINK_DONE);
      REQUIRE(link_move(&from, &to) == LINK_DONE && link_move(&from, &to) == LINK_MISSING);
    }
    REQUIRE(links_check() == NULL);
    for (size_t i = 0; i < 2 * N; i++) {
      struct link l = link_to(WATCH_LINK, i), long_one = link_to(WATCH_LONG_LINK, i);
      REQUIRE(link_end(&l) == (i < N ? i % 2 == 1 : i % 2 == 0) && !link_end(&l));
      REQUIRE(link_end(&long_one) == (i < N));
    }
    REQUIRE(watch_count(WATCH_LINK) == 0 && watch_end() == 2 * N + 1);
  }
  thread_allow_stops();
}
END_TEST

/* A few links in a large object are found by going through the records, many in a small one by its words. */
START_TEST(links_in_objects) {
  quiet_heap();
  size_t size = _i == 0 ? MIB : 256;
  char *p = gc_alloc(size), *q = gc_alloc(2 * size);
  thread_defer_stops();
  struct slot from = slot_find(p), to = slot_find(q);
  for (size_t at = 0; at < 256; at += 64) {
    struct link l = {WATCH_LINK, (atomic_word *)(p + size - 64 - at), from};
    *l.word = at + 1;
    REQUIRE(link_set(&l, p, &from) == LINK_DONE && page_is_watched(from.page));
  }
  watch_lock();
  links_moved(&from, &to);
  REQUIRE(links_check() == NULL && page_is_watched(to.page));
  watch_unlock();
  for (size_t at = 0; at < 256; at += 64) {
    struct link old = {WATCH_LINK, (atomic_word *)(p + size - 64 - at), from};
    REQUIRE(*(atomic_word *)(q + size - 64 - at) == at + 1 && !link_end(&old));
  }
  watch_lock();
  links_freed(&to);
  watch_unlock();
  REQUIRE(watch_count(WATCH_LINK) == 0 && !page_is_watched(to.page) && !page_is_watched(from.page));
  thread_allow_stops();
}
END_TEST

/* Links that a stop buried are in nobody's way: the same words are links again before the dead records are freed. */
START_TEST(dead_links_are_not_found) {
  quiet_heap();
  char *p = gc_alloc(64);
  thread_defer_stops();
  struct slot s = slot_find(p);
  for (size_t i = 0; i < N; i++) set_one(WATCH_LINK, i, LINK_DONE);
  struct link on_heap = {WATCH_LONG_LINK, (atomic_word *)p, s};
  REQUIRE(link_set(&on_heap, p, &s) == LINK_DONE);
  watch_lock();
  for (uint32_t i = 1; i < watch_end(); i++) link_bury(i);
  REQUIRE(watch_count(WATCH_LINK) == 0 && watch_count(WATCH_DEAD_LINK) == N + 1);
  REQUIRE(watch_find(p, 0) == 0 && !page_is_watched(s.page) && watch_check() == NULL);
  watch_unlock();
  for (size_t i = 0; i < N; i += 2) set_one(WATCH_LINK, i, LINK_DONE);
  for (size_t i = 0; i < N; i++) {
    struct link l = link_to(WATCH_LINK, i);
    if (i % 4 != 2) REQUIRE(link_end(&l) == (i % 4 == 0));
  }
  watch_lock();
  REQUIRE(watch_check() == NULL && watch_free_dead(N) && !watch_free_dead(1));
  REQUIRE(watch_check() == NULL && watch_count(WATCH_DEAD_LINK) == 0 && watch_count(WATCH_LINK) == N / 4);
  watch_unlock();
  for (size_t i = 2; i < N; i += 4) set_one(WATCH_LINK, i, LINK_THERE);
  thread_allow_stops();
}
END_TEST

/* What the last stop finds dead it buries, and the cycle frees after it. */
START_TEST(cycles_free_what_they_bury) {
  enum { DEAD = 1000 };
  quiet_heap();
  for (size_t i = 0; i < DEAD; i++) {
    void *p = gc_alloc(64);
    thread_defer_stops();
    struct slot s = slot_find(p);
    struct link l = link_to(i % 2 == 0 ? WATCH_LINK : WATCH_LONG_LINK, i);
    *l.word = ~(uintptr_t)p;
    REQUIRE(link_set(&l, p, &s) == LINK_DONE);
    thread_allow_stops();
  }
  gc_collect();
  thread_defer_stops();
  watch_lock();
  REQUIRE(watch_count(WATCH_DEAD_LINK) == 0);
  REQUIRE(watch_count(WATCH_LINK) + watch_count(WATCH_LONG_LINK) <= DEAD / 20);
  watch_unlock();
  thread_allow_stops();
}
END_TEST

/* Memory is refused at each step of setting up: nothing is a link then, and what was had is used later. */
START_TEST(refused_memory) {
#if GC_DEBUG
  quiet_heap();
  char *p = gc_alloc(64);
  thread_defer_stops();
  struct slot s = slot_find(p);
  struct link l = {WATCH_LINK, &word[0], nowhere};
  unsigned refused = 0;
  for (enum link_outcome outcome = LINK_NO_MEMORY; outcome == LINK_NO_MEMORY; refused++) {
    os_fail_after(1);
    outcome = link_set(&l, p, &s);
    os_fail_after(-1);
    REQUIRE(outcome == LINK_NO_MEMORY || outcome == LINK_DONE);
    REQUIRE(link_end(&l) == (outcome == LINK_DONE) && !page_is_watched(s.page) && links_check() == NULL);
  }
  REQUIRE_MSG(refused >= 3, "memory was refused %u times", refused - 1);
  set_one(WATCH_LINK, 0, LINK_DONE);
  thread_allow_stops();
#endif
}
END_TEST

static uint32_t record_at(const atomic_word *at) {
  for (uint32_t i = 1; i < watch_end(); i++)
    if (watch_at(i)->kind == WATCH_LINK && watch_at(i)->link == at) return i;
  REQUIRE(false);
  return 0;
}

static void expect(const char *what) {
  const char *found = links_check();
  REQUIRE_MSG(what == NULL ? found == NULL : found != NULL && strcmp(found, what) == 0, "expected \"%s\", found \"%s\"",
              what != NULL ? what : "nothing", found != NULL ? found : "nothing");
}

START_TEST(checker_fires) {
  quiet_heap();
  char *p = gc_alloc(64), *q = gc_alloc(64);
  thread_defer_stops();
  struct slot s = slot_find(p), other = slot_find(q);
  struct link l = {WATCH_LINK, (atomic_word *)(p + 8), s};
  REQUIRE(link_set(&l, q, &other) == LINK_DONE);
  struct watch *w = watch_at(record_at(l.word));
  expect(NULL);
  w->other_state = other.state;
  expect("a link names another slot's byte than it is in");
  w->other_state = s.state;
  w->link = (atomic_word *)(p + 16);
  expect("a link is not found by its address");
  w->link = l.word;
  w->kind = WATCH_TOGGLE;
  expect("the count of links is not what there are");
  w->kind = WATCH_LINK;
  expect(NULL);
  thread_allow_stops();
}
END_TEST

int main(void) {
  Suite *s = suite_create("links");
  TCase *tc = suite_case(s, "links");
  tcase_add_test(tc, links_are_found);
  tcase_add_loop_test(tc, links_in_objects, 0, 2);
  tcase_add_test(tc, dead_links_are_not_found);
  tcase_add_test(tc, cycles_free_what_they_bury);
  tcase_add_test(tc, refused_memory);
  tcase_add_test(tc, checker_fires);
  return suite_main(s);
}
