/* test_shadow.c - the torture test of one thread: random operations on a random graph, every object
 * compared with a shadow after each collection (shadow.h). HOLDFAST_TEST_SEED chooses another run,
 * HOLDFAST_TEST_SCALE a longer one. */
#include "gc_stats.h"
#include "shadow.h"

enum { ROOM = 6000, ROUNDS = 6, STEPS = 10000 };

static struct shadow shadow;
static struct gc_stats stats;

/* The roots lie in the program's data, in TLS, on the stack and in an object of the heap. */
static root data_roots[SHADOW_ROOTS / 4];
static __thread root tls_roots[SHADOW_ROOTS / 4];
static root *volatile heap_roots;

static void place_roots(struct shadow *s, root *stack_roots) {
  heap_roots = gc_calloc(SHADOW_ROOTS / 4, sizeof *heap_roots);
  REQUIRE(heap_roots != NULL);
  for (int i = 0; i < SHADOW_ROOTS; i += 4) {
    shadow_place(s, i, &data_roots[i / 4]);
    shadow_place(s, i + 1, &tls_roots[i / 4]);
    shadow_place(s, i + 2, &stack_roots[i / 4]);
    /* Its own address is in malloc's memory only: hidden from the collector, kept by heap_roots. */
    shadow_place(s, i + 3, &heap_roots[i / 4]);
  }
}

/* What heap_objects may exceed the shadow by: dead objects that a stale word keeps, with all they reach. */
static void check_count(const struct shadow *s, uint64_t dead) {
  gc_read_stats(&stats);
  uint64_t expected = shadow_objects(s);
  REQUIRE_MSG(stats.heap_objects >= expected, "%" PRIu64 " objects, at least %" PRIu64 " are reachable",
              stats.heap_objects, expected);
  REQUIRE_MSG(stats.heap_objects <= expected + expected / 4 + dead / 10 + 500,
              "%" PRIu64 " objects, %" PRIu64 " reachable, %" PRIu64 " were dead", stats.heap_objects, expected, dead);
}

static void torture(int percent, bool release) {
  root stack_roots[SHADOW_ROOTS / 4] = {NULL};
  struct shadow *s = &shadow;
  (void)gc_set_percent(percent);
  shadow_init(s, suite_seed() + (uint64_t)(unsigned)percent, ROOM);
  place_roots(s, stack_roots);
  for (uint64_t round = 0; round < ROUNDS * suite_scale(); round++) {
    shadow_steps(s, STEPS);
    gc_read_stats(&stats);
    uint64_t before = stats.heap_objects;
    scrub_stack();
    if (release)
      gc_release_memory();
    else
      gc_collect();
    shadow_verify(s);
    shadow_disjoint(s, 1);
    uint64_t reachable = shadow_objects(s);
    check_count(s, before > reachable ? before - reachable : 0);
  }
  REQUIRE_MSG(s->live > 500, "only %d live objects: this run proves little", s->live);
  printf("percent %d: %d live objects, %" PRIu64 " cycles\n", percent, s->live, stats.num_gc);
}

START_TEST(graph_with_usual_pacing) { torture(100, false); }
END_TEST
START_TEST(graph_with_many_cycles) { torture(10, false); }
END_TEST
START_TEST(graph_with_forced_cycles_only) { torture(-1, false); }
END_TEST
START_TEST(graph_with_release) { torture(50, true); }
END_TEST

/* Everything goes when the roots go. */
START_TEST(graph_vanishes) {
  torture(100, false);
  uint64_t before = stats.heap_objects;
  for (int i = 0; i < SHADOW_ROOTS; i++) holder_set(&shadow, &shadow.root[i], shadow.word[i], (struct edge){NONE, 0});
  heap_roots = NULL;
  scrub_stack();
  gc_collect();
  gc_read_stats(&stats);
  REQUIRE_MSG(stats.heap_objects <= before / 10 + 100, "%" PRIu64 " of %" PRIu64 " objects left", stats.heap_objects,
              before);
}
END_TEST

int main(void) {
  Suite *s = suite_create("shadow");
  TCase *tc = suite_case(s, "shadow");
  tcase_add_test(tc, graph_with_usual_pacing);
  tcase_add_test(tc, graph_with_many_cycles);
  tcase_add_test(tc, graph_with_forced_cycles_only);
  tcase_add_test(tc, graph_with_release);
  tcase_add_test(tc, graph_vanishes);
  return suite_main(s);
}
