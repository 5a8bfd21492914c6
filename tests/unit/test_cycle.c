/* test_cycle.c - gc/cycle.h: what the hook for weak references and finalizers sees in the last stop of a cycle, and that what it
 * asks for survives, in cycles of both kinds. */
#include "hide.h"
#include "unit.h"

#include "alloc/slotmap.h"
#include "gc/cycle.h"
#include "gc/roots.h"
#include "runtime/dirty.h"
#include "runtime/options.h"

enum { CHAIN = 5 };

struct link {
  struct link *next;
  uint64_t tag;
};

static hidden chain[CHAIN];
static int calls, black_at[3];
static bool revive;

static struct link *chained(int i) { return reveal(chain[i]); }

static int count_black(void) {
  int n = 0;
  for (int i = 0; i < CHAIN; i++) {
    struct slot s = slot_find(chained(i));
    n += atomic8_load_relaxed(s.state) == atomic32_load_relaxed(&heap.live_colour);
  }
  return n;
}

/* The head of the chain is asked for; the rest must follow. */
static bool hook(void) {
  if (calls < 3) black_at[calls] = count_black();
  calls++;
  if (!revive || calls > 1) return false;
  roots_add_word(NULL, chained(0));
  return true;
}

static void *make_chain(void *unused) {
  struct link *next = NULL;
  for (int i = CHAIN; i-- > 0; next = chained(i)) {
    struct link *l = gc_alloc(sizeof *l);
    REQUIRE(l != NULL);
    l->next = next;
    l->tag = (uint64_t)i;
    chain[i] = hide(l);
  }
  return unused;
}

static void *check_chain(void *unused) {
  for (int i = 0; i < CHAIN; i++) {
    REQUIRE_MSG(gc_base(chained(i)) == chained(i), "link %d was freed", i);
    REQUIRE(chained(i)->tag == (uint64_t)i && chained(i)->next == (i + 1 < CHAIN ? chained(i + 1) : NULL));
  }
  return unused;
}

/* Addresses are touched by a thread of its own, whose stack and registers are gone when it is joined. */
static void elsewhere(void *(*f)(void *)) {
  pthread_t id;
  start_thread(&id, f, NULL);
  pthread_join(id, NULL);
}

static void collect_with_hook(bool ask) {
  calls = 0;
  revive = ask;
  scrub_stack();
  bool (*before)(void) = cycle_marked_hook;
  cycle_marked_hook = hook;
  gc_collect();
  cycle_marked_hook = before;
}

/* A word that was left on a stack may keep the chain from the start; a new chain is tried then. */
START_TEST(what_the_hook_asks_for_survives) {
  options.concurrent = _i == 0 ? 0 : 2;
  if (_i != 0 && !dirty_works()) return;
  gc_disable();
  for (int tries = 0; tries < 20; tries++) {
    elsewhere(make_chain);
    collect_with_hook(true);
    REQUIRE(calls == 2 && black_at[1] == CHAIN);
    elsewhere(check_chain);
    if (black_at[0] != 0) continue;
    collect_with_hook(false);
    REQUIRE(calls == 1);
    if (black_at[0] != 0) continue;
    for (int i = 0; i < CHAIN; i++) REQUIRE_MSG(gc_base(chained(i)) == NULL, "link %d survived", i);
    return;
  }
  REQUIRE_MSG(false, "something keeps every chain: %d black", black_at[0]);
}
END_TEST

int main(void) {
  Suite *s = suite_create("cycle");
  tcase_add_loop_test(suite_case(s, "hook"), what_the_hook_asks_for_survives, 0, 2);
  return suite_main(s);
}
