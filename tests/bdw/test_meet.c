/* test_meet.c - a program of one thread is stopped in a call of the library, not between two, so that what it tells the
 * collector there need not be true all the time. */
#include "left.h"

enum { CYCLES = 50, SIZE = 32000, MOST = 100000 };

static volatile bool in_a_call;
static volatile unsigned asked, between;
static GC_push_other_roots_proc others;

static void note(void) {
  asked++;
  if (!in_a_call) between++;
  if (others != NULL) others();
}

/* Nearly all of the time is spent here. */
static HELPER void compute(void) {
  for (volatile int i = 0; i < 100000; i++) continue;
}

static HELPER void *call(void) {
  in_a_call = true;
  void *p = GC_malloc(SIZE);
  in_a_call = false;
  return p;
}

/* A machine that keeps the thread from running for as long as the collector is patient may see a few between calls. */
START_TEST(stopped_in_a_call) {
  GC_INIT();
  others = GC_get_push_other_roots();
  GC_set_push_other_roots(note);
  root kept[64] = {NULL};
  for (unsigned i = 0; asked < CYCLES && i < MOST; i++) {
    kept[i % 64] = call();
    REQUIRE(kept[i % 64] != NULL);
    compute();
  }
  REQUIRE_MSG(asked >= CYCLES, "stopped %u times only", asked);
  REQUIRE_MSG(between <= asked / 8, "stopped between calls %u times of %u", between, asked);
}
END_TEST

int main(void) {
  Suite *s = suite_create("where the drop-in stops programs");
  TCase *tc = suite_case(s, "one thread");
  tcase_add_test(tc, stopped_in_a_call);
  return main_in_both_kinds_of_cycle(s);
}
