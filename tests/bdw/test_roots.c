/* test_roots.c - roots that the program registers, excludes, and pushes; what it may ask while it does; the heap's bounds. */
#include "left.h"

#include <dlfcn.h>
#include <sys/mman.h>

enum { N = 300, PAGE = 4096 };

static hidden object[N];

/* Memory that is no root by itself. */
static void **outside(void) {
  void *p = mmap(NULL, N * sizeof(void *) + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(p != MAP_FAILED);
  return p;
}

static HELPER void make_objects(void **at) {
  for (size_t i = 0; i < N; i++) {
    at[i] = GC_malloc(50);
    REQUIRE(at[i] != NULL);
    object[i] = hide(at[i]);
  }
}

/* ---- ranges ---- */

START_TEST(registered_ranges) {
  only_forced_cycles();
  void **at = outside();
  make_objects(at);
  GC_add_roots(at, (char *)(at + N) - 3); /* the last word is not whole: one more object may go */
  GC_add_roots(at, (char *)(at + N) - 3);
  GC_add_roots(at + N - 1, at + N);
  collect();
  REQUIRE_LEFT(object, N);
  GC_remove_roots((char *)at + 1, at + N);
  collect();
  REQUIRE_LEFT(object, N - 1);
  GC_remove_roots(at, at + N);
  collect();
  REQUIRE_MOSTLY_GONE(object, N);
}
END_TEST

START_TEST(cleared_ranges) {
  only_forced_cycles();
  void **at = outside();
  make_objects(at);
  GC_add_roots(at, at + N / 2);
  GC_add_roots(at + N / 2, at + N);
  collect();
  REQUIRE_LEFT(object, N);
  GC_clear_roots();
  GC_set_no_dls(1);
  REQUIRE(GC_get_no_dls() == 1);
  collect();
  REQUIRE_MOSTLY_GONE(object, N);
}
END_TEST

static root in_data[3 * N];

/* A part of the program's data, and one of a registered range; without the loop over all words a compiler could leave them out. */
START_TEST(excluded_ranges) {
  only_forced_cycles();
  void **at = (void **)(uintptr_t)(in_data + N);
  make_objects(at);
  collect();
  REQUIRE_LEFT(object, N);
  GC_exclude_static_roots(at + N / 4, at + N / 2);
  GC_exclude_static_roots(at + N / 2, at + N / 4 * 3);
  collect();
  REQUIRE_LEFT(object, N / 4);
  REQUIRE_MOSTLY_GONE(object + N / 4, N / 2);
  REQUIRE_LEFT(object + N / 4 * 3, N / 4);
  GC_clear_exclusion_table();
  make_objects(at);
  collect();
  REQUIRE_LEFT(object, N);
}
END_TEST

START_TEST(data_of_shared_objects) {
  int local;
  only_forced_cycles();
  REQUIRE(GC_is_tmp_root(dlsym(RTLD_DEFAULT, "environ")) == 1);
  REQUIRE(GC_is_tmp_root((void *)(uintptr_t)in_data) == 0 && GC_is_tmp_root(&local) == 0);
}
END_TEST

/* ---- what the program pushes ---- */

static void **pushed;
static unsigned calls, marked_before;
static GC_push_other_roots_proc before;

static void push_mine(void) {
  calls++;
  GC_push_all(pushed, pushed + N / 3);
  GC_push_all_eager(pushed + N / 3, pushed + N / 3 * 2);
  GC_push_conditional(pushed + N / 3 * 2, pushed + N - 1, 0);
  GC_set_mark_bit(pushed[N - 1]);
  GC_push_finalizer_structures();
  before();
}

static HELPER void push_and_check(void) {
  pushed = outside();
  make_objects(pushed);
  collect();
  REQUIRE_LEFT(object, N);
  collect();
  REQUIRE_LEFT(object, N);
  REQUIRE(calls >= 2);
}

START_TEST(by_the_setter) {
  only_forced_cycles();
  before = GC_get_push_other_roots();
  REQUIRE(before != NULL);
  GC_set_push_other_roots(push_mine);
  REQUIRE(GC_get_push_other_roots() == push_mine);
  push_and_check();
  GC_set_push_other_roots(before);
  calls = 0;
  collect();
  REQUIRE(calls == 0);
  REQUIRE_MOSTLY_GONE(object, N);
}
END_TEST

extern GC_push_other_roots_proc GC_push_other_roots; /* in no header; programs declare it */

START_TEST(by_assignment) {
  only_forced_cycles();
  before = GC_push_other_roots;
  GC_push_other_roots = push_mine;
  push_and_check();
}
END_TEST

/* The stack of a coroutine that goes with it: it need not be there when marking goes on. */
static void push_what_goes(void) {
  calls++;
  if (pushed == NULL) return;
  GC_push_all(pushed, pushed + N);
}

START_TEST(memory_that_goes) {
  only_forced_cycles();
  GC_set_push_other_roots(push_what_goes);
  for (int round = 0; round < 20; round++) {
    void **at = pushed = outside();
    make_objects(pushed);
    collect();
    REQUIRE_LEFT(object, N);
    pushed = NULL;
    REQUIRE(munmap(at, N * sizeof(void *) + PAGE) == 0);
  }
}
END_TEST

static void ask_while_pushing(void) {
  calls++;
  GC_push_all(pushed, pushed + 1);
  REQUIRE(GC_base((char *)pushed[0] + 10) == pushed[0] && GC_size(pushed[0]) >= 50);
  marked_before += (unsigned)GC_is_marked(&calls);
}

START_TEST(questions) {
  only_forced_cycles();
  pushed = outside();
  make_objects(pushed);
  GC_set_push_other_roots(ask_while_pushing);
  collect();
  REQUIRE(calls > 0 && marked_before == 0);
  REQUIRE(GC_is_marked(pushed[0]) && !GC_is_marked(&calls));
  GC_clear_mark_bit(pushed[0]);
  collect();
  REQUIRE_LEFT(object, 1);
}
END_TEST

/* Called where it means nothing: one line, and no harm. */
START_TEST(pushing_outside_of_a_collection) {
  char said[500];
  only_forced_cycles();
  int file = memfd_create("stderr", 0), saved = dup(2);
  REQUIRE(file >= 0 && saved >= 0 && dup2(file, 2) == 2);
  GC_push_all(object, object + N);
  GC_push_all(object, object + N);
  REQUIRE(dup2(saved, 2) == 2);
  ssize_t n = pread(file, said, sizeof said - 1, 0);
  REQUIRE(n >= 0);
  said[n] = '\0';
  REQUIRE_MSG(strstr(said, "GC_push_all") != NULL && strchr(said, '\n') == said + n - 1, "said \"%s\"", said);
}
END_TEST

/* ---- bounds ---- */

START_TEST(plausible_bounds) {
  only_forced_cycles();
  for (size_t i = 0; i < N; i++) {
    char *p = GC_malloc(i * 3000 + 1);
    REQUIRE(p != NULL);
    REQUIRE((void *)p >= GC_least_plausible_heap_addr && (void *)(p + i * 3000) <= GC_greatest_plausible_heap_addr);
  }
  REQUIRE((void *)&calls < GC_least_plausible_heap_addr || (void *)&calls > GC_greatest_plausible_heap_addr);
}
END_TEST

int main(void) {
  Suite *s = suite_create("roots of the drop-in");
  TCase *tc = suite_case(s, "ranges");
  tcase_add_test(tc, registered_ranges);
  tcase_add_test(tc, cleared_ranges);
  tcase_add_test(tc, excluded_ranges);
  tcase_add_test(tc, data_of_shared_objects);
  tc = suite_case(s, "pushed");
  tcase_add_test(tc, by_the_setter);
  tcase_add_test(tc, by_assignment);
  tcase_add_test(tc, memory_that_goes);
  tcase_add_test(tc, questions);
  tcase_add_test(tc, pushing_outside_of_a_collection);
  tc = suite_case(s, "bounds");
  tcase_add_test(tc, plausible_bounds);
  return main_in_both_kinds_of_cycle(s);
}
