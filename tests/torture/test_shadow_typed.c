/* test_shadow_typed.c - random graphs in which most objects are typed (shadow.h), with cycles that stop the program and
 * cycles beside it: forced ones from another thread while the graph changes, and the program's own.
 * What the layouts do not name holds decoys: numbers that are addresses of objects of the same heap. */
#include "beside.h"
#include "cases.h"
#include "gc_stats.h"
#include "shadow.h"

enum { ROOM = 4000, ROUNDS = 3, STEPS = 5000, DECOYS = 2000 };

static struct shadow shadow;
static struct gc_stats stats;
static root data_roots[SHADOW_ROOTS / 2];
static __thread root tls_roots[SHADOW_ROOTS / 2];

static void place_roots(struct shadow *s) {
  for (int i = 0; i < SHADOW_ROOTS; i += 2) {
    shadow_place(s, i, &data_roots[i / 2]);
    shadow_place(s, i + 1, &tls_roots[i / 2]);
  }
}

static void play(unsigned typed, bool collect_beside) {
  struct shadow *s = &shadow;
  shadow_init(s, suite_seed() + typed, ROOM);
  s->typed = typed;
  place_roots(s);
  if (collect_beside) beside_begin(100);
  for (uint64_t round = 0; round < ROUNDS * suite_scale(); round++) {
    shadow_steps(s, STEPS);
    if (collect_beside)
      beside_await(1);
    else
      gc_collect();
    shadow_verify(s);
    shadow_disjoint(s, 1);
  }
  if (collect_beside) beside_end();
  gc_read_stats(&stats);
  REQUIRE_MSG(s->live > 300, "only %d live objects: this run proves little", s->live);
  printf("%u of 8 typed: %d live objects, %" PRIu64 " cycles", typed, s->live, stats.num_gc);
}

static void all_typed(void) { play(8, false); }
static void mixed(void) { play(4, false); }
static void all_typed_beside_a_collector(void) { play(8, true); }
static void mixed_beside_a_collector(void) { play(4, true); }
static void many_cycles(void) {
  (void)gc_set_percent(10);
  play(6, false);
}

/* -- decoys -- */
struct knot {
  uint64_t decoy[2];
  struct knot *next;
  uint64_t more[3];
};

static struct knot *volatile ring;

/* The only pointer to each knot is in the knot before it; all others that know it know it as a number. Knots are taken out
 * and put in elsewhere all the time. */
static NOINLINE void tangle(struct rng *r, hidden *dropped, size_t moves) {
  struct knot *at = ring;
  for (size_t i = 0; i < moves; i++) {
    struct knot *out = at->next, *to;
    at->next = out->next;
    to = out->next;
    for (size_t k = rng_below(r, 20); k > 0; k--) to = to->next;
    if (out != ring && to != out && rng_below(r, 4) == 0) {
      struct knot *fresh = gc_alloc_typed(sizeof *fresh, gc_layout_offsets(sizeof *fresh, &(size_t){16}, 1));
      REQUIRE(fresh != NULL && all_zero(fresh, sizeof *fresh));
      to->more[rng_below(r, 3)] = (uint64_t)(uintptr_t)out; /* dropped: a number keeps nothing */
      dropped[i % DECOYS] = hide(out);
      out = fresh;
    }
    out->decoy[rng_below(r, 2)] = (uint64_t)(uintptr_t)at;
    out->next = to->next;
    to->next = out;
    at = to;
  }
}

static size_t ring_length(void) {
  size_t n = 1;
  for (const struct knot *k = ring->next; k != ring; k = k->next) {
    REQUIRE(n < DECOYS);
    REQUIRE_MSG(gc_base(k) == (const void *)k && gc_usable_size(k) >= sizeof *k, "knot %zu was lost", n);
    n++;
  }
  return n;
}

static void make_ring(void) {
  const gc_layout *l = gc_layout_offsets(sizeof(struct knot), &(size_t){offsetof(struct knot, next)}, 1);
  ring = gc_alloc_typed(sizeof *ring, l);
  REQUIRE(ring != NULL);
  ring->next = ring;
  for (int i = 1; i < DECOYS; i++) {
    struct knot *k = gc_alloc_typed(sizeof *k, l);
    REQUIRE(k != NULL);
    k->next = ring->next;
    ring->next = k;
  }
}

static void decoys(void) {
  hidden *dropped = hidden_new(DECOYS);
  struct rng r = {suite_seed()};
  make_ring();
  beside_begin(0);
  for (int round = 0; round < 20; round++) {
    for (int i = 0; i < 50; i++) tangle(&r, dropped, 200);
    beside_await(1);
    REQUIRE(ring_length() == DECOYS);
  }
  beside_end();
  gc_disable();
  tangle(&r, dropped, 40000);
  gc_enable();
  scrub_stack();
  gc_collect();
  REQUIRE(ring_length() == DECOYS);
  REQUIRE_MOSTLY_GONE(dropped, DECOYS);
}

static const struct test_case cases[] = {
    {"all_typed", all_typed, NULL},
    {"mixed", mixed, NULL},
    {"all_typed_beside_a_collector", all_typed_beside_a_collector, NULL},
    {"mixed_beside_a_collector", mixed_beside_a_collector, NULL},
    {"many_cycles", many_cycles, NULL},
    {"decoys", decoys, NULL},
};

int main(int argc, char **argv) { return cases_main(argc, argv, "shadow_typed", cases, sizeof cases / sizeof *cases); }
