/* test_traced.c - gc/traced.h: what the program names stays and nothing else does, in both kinds of cycle; chains take few rounds;
 * what is named in the stop in the middle of a cycle is done by the last; and that the checker fires. */
#include "hide.h"
#include "unit.h"

#include "gc/cycle.h"
#include "gc/traced.h"
#include "gc_weak.h"
#include "runtime/dirty.h"
#include "runtime/options.h"

enum { CHAIN = 20000, ROUNDS_MOST = 8, LIST = 1000, PLAIN = 0, BESIDE = 1, WHAT = 77 };

/* A traced object: the procedure names the first word, and never the second. */
struct node {
  void *named, *other;
};

static unsigned calls, calls_before_black; /* calls of the procedure; of these, those that named a white object */

static void name_first(char *object, uintptr_t what) {
  struct node *n = (struct node *)(void *)object;
  REQUIRE(what == WHAT);
  struct slot s = slot_find(n->named);
  calls++;
  calls_before_black += s.object != NULL && !is_marked(s.state);
  traced_name((uintptr_t)n->named);
}

/* False: this kind of cycle is not possible here. */
static bool choose(int kind) {
  options.concurrent = kind == BESIDE ? 2 : 0;
  traced_call = name_first;
  gc_disable();
  return kind == PLAIN || dirty_works();
}

static HELPER struct node *new_traced(void *named, void *other) {
  struct node *n = gc_alloc_noscan(sizeof *n);
  REQUIRE(n != NULL);
  *n = (struct node){named, other};
  thread_defer_stops();
  struct slot s = slot_find(n);
  REQUIRE(traced_add(n, &s, WHAT));
  thread_allow_stops();
  return n;
}

static HELPER void collect(void) {
  scrub_stack();
  gc_collect();
}

static bool is_there(hidden h) { return gc_base(reveal(h)) != NULL; }

static root *held; /* a scanned object, with what the tests hold on to */

static void hold(size_t n) {
  held = gc_calloc(n, sizeof *held);
  REQUIRE(held != NULL);
}

/* -- what stays -- */

enum { PAIRS = 200 };

static HELPER void make_pairs(hidden *kept, hidden *dropped) {
  hold(PAIRS);
  for (size_t i = 0; i < PAIRS; i++) {
    void *a = gc_alloc(64), *b = gc_alloc(64);
    kept[i] = hide(a);
    dropped[i] = hide(b);
    held[i] = new_traced(a, b);
  }
}

START_TEST(what_is_named_stays) {
  if (!choose(_i)) return;
  hidden *kept = hidden_new(PAIRS), *dropped = hidden_new(PAIRS);
  make_pairs(kept, dropped);
  for (int round = 0; round < 3; round++) {
    calls = 0;
    collect();
    REQUIRE(hidden_gone(kept, PAIRS) == 0);
    REQUIRE_MOSTLY_GONE(dropped, PAIRS);
    REQUIRE_MSG(calls >= PAIRS, "%u calls for %d objects", calls, PAIRS);
  }
}
END_TEST

/* -- what dies, is freed, moves -- */

START_TEST(records_end_with_their_objects) {
  if (!choose(_i)) return;
  hidden *kept = hidden_new(PAIRS), *dropped = hidden_new(PAIRS);
  make_pairs(kept, dropped);
  for (size_t i = 0; i < PAIRS / 2; i++) held[i] = NULL;
  for (size_t i = PAIRS / 2; i < PAIRS / 4 * 3; i++) {
    gc_free(held[i]);
    held[i] = NULL;
  }
  collect();
  collect();
  REQUIRE_MOSTLY_GONE(kept, PAIRS / 4 * 3);
  REQUIRE(hidden_gone(kept + PAIRS / 4 * 3, PAIRS / 4) == 0);
  uint64_t left = watch_count(WATCH_TRACED);
  REQUIRE_MSG(left >= PAIRS / 4 && left <= PAIRS / 4 + PAIRS / 20, "%lu records left", (unsigned long)left);
}
END_TEST

START_TEST(a_moved_object_stays_traced) {
  if (!choose(_i)) return;
  hidden *kept = hidden_new(PAIRS), *dropped = hidden_new(PAIRS);
  make_pairs(kept, dropped);
  for (size_t i = 0; i < PAIRS; i++) REQUIRE((held[i] = gc_realloc(held[i], 4000)) != NULL);
  collect();
  REQUIRE(hidden_gone(kept, PAIRS) == 0);
  REQUIRE(traced_what(held[0]) == WHAT && traced_what(gc_alloc(64)) == 0);
}
END_TEST

/* -- chains -- */

/* Each link is named by the one before, directly or through a plain object. The order of the list is the worst. */
static HELPER void make_chain(bool through_plain) {
  void *next = NULL;
  for (size_t i = 0; i < CHAIN; i++) {
    next = new_traced(next, NULL);
    if (!through_plain) continue;
    root *plain = gc_calloc(1, sizeof *plain);
    *plain = next;
    next = (void *)(uintptr_t)plain;
  }
  hold(1);
  held[0] = next;
}

static size_t chain_length(bool through_plain) {
  size_t n = 0;
  for (struct node *at = held[0]; at != NULL; n++) {
    if (through_plain) at = *(void **)at;
    at = at->named;
  }
  return n;
}

START_TEST(chains_take_few_rounds) {
  if (!choose(_i & 1)) return;
  bool through_plain = (_i & 2) != 0;
  make_chain(through_plain);
  collect();
  REQUIRE(chain_length(through_plain) == CHAIN);
  REQUIRE_MSG(traced_rounds() <= ROUNDS_MOST, "%u rounds for a chain of %d", traced_rounds(), CHAIN);
}
END_TEST

/* -- hints -- */

static unsigned found_by_hints;

static void on_resumed(bool ended) {
  if (!ended) found_by_hints = calls_before_black;
}

START_TEST(what_is_named_is_marked_beside_the_program) {
  if (!choose(BESIDE)) return;
  root *list = NULL;
  for (size_t i = 0; i < LIST; i++) {
    root *next = gc_calloc(2, sizeof *next);
    next[0] = (void *)(uintptr_t)list;
    list = next;
  }
  hold(1);
  held[0] = new_traced((void *)(uintptr_t)list, NULL);
  list = NULL;
  collect();
  calls = calls_before_black = 0;
  cycle_resumed_hook = on_resumed;
  collect();
  REQUIRE_MSG(found_by_hints == 1 && calls_before_black == 1, "%u calls found work, %u before the last stop",
              calls_before_black, found_by_hints);
}
END_TEST

/* -- finalizers -- */

static unsigned finalized[3][PAIRS], turn; /* turns of what is named, of who names it, of who names itself */
static void note_turn(void *object, void *which) {
  (void)object;
  *(unsigned *)which = ++turn;
}

static HELPER void make_ordered(void) {
  for (size_t i = 0; i < PAIRS; i++) {
    void *inner = gc_alloc(64);
    struct node *outer = new_traced(inner, NULL), *self = new_traced(NULL, NULL);
    self->named = self;
    REQUIRE(gc_set_finalizer(inner, note_turn, &finalized[0][i]) == 0);
    REQUIRE(gc_set_finalizer(outer, note_turn, &finalized[1][i]) == 0);
    REQUIRE(gc_set_finalizer(self, note_turn, &finalized[2][i]) == 0);
  }
}

static size_t count_finalized(int which) {
  size_t n = 0;
  for (size_t i = 0; i < PAIRS; i++) n += finalized[which][i] != 0;
  return n;
}

static void run_finalizers(void) {
  while (gc_run_finalizers() != 0) continue;
}

START_TEST(ordered_finalizers_know_what_is_named) {
  if (!choose(_i)) return;
  options.finalizers = 1; /* only by gc_run_finalizers */
  make_ordered();
  collect();
  run_finalizers();
  size_t inner = count_finalized(0), outer = count_finalized(1), self = count_finalized(2);
  REQUIRE_MSG(inner == 0 && outer >= PAIRS / 20 * 19, "%zu of those named, %zu of who names them", inner, outer);
  REQUIRE_MSG(self >= PAIRS / 20 * 19, "%zu of %d that name themselves", self, PAIRS);
  collect();
  run_finalizers();
  REQUIRE_MSG(count_finalized(0) >= PAIRS / 20 * 19, "%zu of those named", count_finalized(0));
}
END_TEST

/* -- the checker -- */

START_TEST(checker_fires) {
  if (!choose(PLAIN)) return;
  void *p = gc_alloc(64);
  hold(2);
  held[0] = p;
  held[1] = new_traced(p, NULL);
  collect();
  REQUIRE(traced_check() == NULL);
  struct slot s = slot_find(p);
  unsigned colour = *s.state;
  *s.state = (unsigned char)other_colour(colour);
  REQUIRE(traced_check() != NULL);
  *s.state = (unsigned char)colour;
  REQUIRE(traced_check() == NULL && is_there(hide(p)));
}
END_TEST

int main(void) {
  Suite *s = suite_create("traced objects");
  TCase *tc = suite_case(s, "traced");
  tcase_add_loop_test(tc, what_is_named_stays, 0, 2);
  tcase_add_loop_test(tc, records_end_with_their_objects, 0, 2);
  tcase_add_loop_test(tc, a_moved_object_stays_traced, 0, 2);
  tcase_add_loop_test(tc, chains_take_few_rounds, 0, 4);
  tcase_add_test(tc, what_is_named_is_marked_beside_the_program);
  tcase_add_loop_test(tc, ordered_finalizers_know_what_is_named, 0, 2);
  tcase_add_test(tc, checker_fires);
  return suite_main(s);
}
