/* test_mark.c - gc/mark.h: marking from hand-made roots finds exactly what a search over the test's own record
 * of the graph finds; the verifier sees a white child; full mark stacks lose nothing.
 * How: no cycle runs. The test exchanges the colours, makes its words the only roots, and calls the steps. */
#include "unit.h"

#include "gc/mark.h"
#include "gc/verify.h"
#include "gc/roots.h"

enum { NODES = 3000, ROOTS = 40 };

struct node {
  uintptr_t hidden; /* complement of the address: not a root if somebody scanned this */
  size_t words;     /* of the object */
  bool noscan, reached;
  size_t period; /* typed: words of its layout; else 0 */
  uint64_t bits[2];
  unsigned *child; /* per word: 1 + node, 0 none */
};

static struct node nodes[NODES];
static unsigned queue[NODES];

static char *object(const struct node *n) { return (char *)~n->hidden; }

static bool is_black(const char *p) {
  struct slot s = slot_find(p);
  REQUIRE(s.object != NULL);
  return *s.state == atomic32_load_relaxed(&heap.live_colour);
}

static bool may_hold_pointer(const struct node *n, size_t word) {
  if (n->period == 0) return !n->noscan;
  return (n->bits[word % n->period / 64] >> (word % n->period % 64) & 1) != 0;
}

/* ---- the steps of a cycle that matter here ---- */

static void exchange_colours(void) {
  flush_own_cache();
  atomic32_store_relaxed(&heap.live_colour, other_colour(atomic32_load_relaxed(&heap.live_colour)));
  heap_set_births(atomic32_load_relaxed(&heap.live_colour));
}

static void *mark_body(void *index) {
  mark_run((unsigned)(uintptr_t)index);
  return NULL;
}

static void mark_with(unsigned markers) {
  pthread_t id[MARKERS_MAX];
  roots_seal();
  markers = mark_phase_begin(mark_begin(markers), DEADLINE_NEVER); /* fewer when memory is refused */
  REQUIRE(markers > 0);
  for (unsigned i = 1; i < markers; i++) start_thread(&id[i], mark_body, (void *)(uintptr_t)i);
  mark_run(0);
  for (unsigned i = 1; i < markers; i++) pthread_join(id[i], NULL);
  mark_finish();
}

/* ---- random graphs ---- */

static size_t random_words(struct rng *g) {
  switch (rng_below(g, 20)) {
    case 0: return 100 + rng_below(g, 3000);
    case 1: return rng_below(g, 4) == 0 ? 5000 + rng_below(g, 5000) : 300; /* large: more than 4096 words */
    default: return 1 + rng_below(g, 12);
  }
}

/* NULL for a scanned object. */
static const gc_layout *random_layout(struct rng *g, struct node *n) {
  n->period = 0;
  if (rng_below(g, 3) != 0) return NULL;
  n->period = 2 + rng_below(g, rng_below(g, 2) ? 6 : 100);
  n->bits[0] = (rng_next(g) & ~(uint64_t)1) | 2; /* neither all words nor none */
  n->bits[1] = n->period > 64 ? rng_next(g) : 0;
  if (n->period % 64 != 0) n->bits[n->period / 64] &= ((uint64_t)1 << n->period % 64) - 1;
  const gc_layout *l = gc_layout_bitmap(n->period * 8, n->bits, 2);
  REQUIRE(l != NULL);
  return l;
}

static void make_nodes(struct rng *g) {
  for (size_t i = 0; i < NODES; i++) {
    struct node *n = &nodes[i];
    n->words = random_words(g);
    n->noscan = rng_below(g, 8) == 0 && n->words > 1;
    char *p = n->noscan ? gc_alloc_noscan(n->words * 8) : gc_alloc_typed(n->words * 8, random_layout(g, n));
    REQUIRE(p != NULL);
    if (n->noscan) memset(p, 0, n->words * 8);
    n->hidden = ~(uintptr_t)p;
    n->child = calloc(n->words, sizeof *n->child);
  }
}

/* An address somewhere inside the object: any keeps it alive. */
static char *some_address(struct rng *g, const struct node *n) {
  return object(n) + (rng_below(g, 2) ? 0 : rng_below(g, n->words * 8));
}

/* About one pointer per object on average, among words that only look like pointers. */
static void make_edges(struct rng *g) {
  for (size_t i = 0; i < NODES; i++)
    for (size_t k = 0; k < 1 + rng_below(g, 3); k++) {
      size_t at = rng_below(g, nodes[i].words), to = rng_below(g, NODES);
      nodes[i].child[at] = (unsigned)to + 1;
      ((char **)(void *)object(&nodes[i]))[at] = some_address(g, &nodes[to]);
      uintptr_t *word = (uintptr_t *)(void *)object(&nodes[i]) + rng_below(g, nodes[i].words);
      if (*word == 0) *word = rng_next(g) | (uintptr_t)1 << 62;
    }
}

static size_t reach_from(const unsigned *from, size_t n) {
  size_t head = 0, tail = 0;
  for (size_t i = 0; i < n; i++)
    if (!nodes[from[i]].reached) nodes[queue[tail++] = from[i]].reached = true;
  for (; head < tail; head++) {
    const struct node *at = &nodes[queue[head]];
    for (size_t w = 0; w < at->words; w++) {
      unsigned c = may_hold_pointer(at, w) ? at->child[w] : 0;
      if (c != 0 && !nodes[c - 1].reached) nodes[queue[tail++] = c - 1].reached = true;
    }
  }
  return tail;
}

static void check_marks(size_t reached, unsigned markers) {
  uint64_t bytes = 0;
  for (size_t i = 0; i < NODES; i++) {
    REQUIRE_MSG(is_black(object(&nodes[i])) == nodes[i].reached, "object %zu of %zu words", i, nodes[i].words);
    if (nodes[i].reached) bytes += slot_find(object(&nodes[i])).size;
  }
  REQUIRE_MSG(mark_verify() == NULL, "%s", mark_verify());
  REQUIRE(mark_objects() >= reached && mark_bytes() >= bytes); /* two markers may both count one */
  if (markers == 1 && mark_overflows() == 0) REQUIRE(mark_objects() == reached && mark_bytes() == bytes);
}

START_TEST(random_graphs) {
  struct rng g = {suite_seed() + (uint64_t)_i};
  unsigned from[ROOTS], markers = (unsigned)_i % 4 + 1;
  quiet_heap();
  make_nodes(&g);
  make_edges(&g);
  for (size_t i = 0; i < ROOTS; i++) {
    from[i] = (unsigned)rng_below(&g, NODES);
    roots_add_word(NULL, some_address(&g, &nodes[from[i]]));
  }
  size_t reached = reach_from(from, ROOTS);
  REQUIRE(reached > NODES / 10 && reached < NODES);
  exchange_colours();
  mark_with(markers);
  check_marks(reached, markers);
}
END_TEST

/* ---- shapes that need much stack ---- */

/* A list of arrays: the first word is the next array, the others have objects of their own. Marking goes
 * down the list first, and all the others stay on the stack. */
static char *make_comb(size_t length, size_t teeth) {
  char **next = NULL;
  for (size_t i = 0; i < length; i++) {
    char **array = gc_alloc((teeth + 1) * sizeof *array);
    REQUIRE(array != NULL);
    array[0] = (char *)next;
    for (size_t k = 1; k <= teeth; k++) REQUIRE((array[k] = gc_alloc(16)) != NULL);
    next = array;
  }
  return (char *)next;
}

static void require_comb_black(char *comb, size_t length, size_t teeth) {
  char **array = (char **)(void *)comb;
  for (size_t i = 0; i < length; i++, array = (char **)(void *)array[0])
    for (size_t k = 0; k <= teeth; k++)
      REQUIRE_MSG(is_black(k == 0 ? (char *)array : array[k]), "array %zu, %zu", i, k);
  REQUIRE(array == NULL);
}

/* Torture builds have a stack of 2048 words, which this fills many times over; others have room. */
START_TEST(full_stacks_lose_nothing) {
  enum { LENGTH = 200, TEETH = 99 };
  unsigned markers = (unsigned)_i;
  quiet_heap();
  char *comb = make_comb(LENGTH, TEETH);
  uintptr_t hidden = ~(uintptr_t)comb;
  roots_add_word(NULL, comb);
  exchange_colours();
  mark_with(markers);
  if (markers == 1) REQUIRE_MSG((mark_overflows() > 0) == GC_TORTURE, "%u full stacks", mark_overflows());
  REQUIRE(mark_objects() >= LENGTH * (TEETH + 1));
  REQUIRE(mark_verify() == NULL);
  require_comb_black((char *)~hidden, LENGTH, TEETH);
}
END_TEST

/* One object with 20000 children, which is scanned in pieces; and a list of 50000. */
START_TEST(wide_and_deep) {
  enum { WIDTH = 20000, DEPTH = 50000 };
  char **wide, **list = NULL;
  quiet_heap();
  REQUIRE((wide = gc_alloc(WIDTH * sizeof *wide)) != NULL);
  for (size_t i = 0; i < WIDTH; i++) REQUIRE((wide[i] = gc_alloc(32)) != NULL);
  for (size_t i = 0; i < DEPTH; i++) {
    char **p = gc_alloc(16);
    REQUIRE(p != NULL);
    p[1] = (char *)list;
    list = p;
  }
  roots_add_word(NULL, (char *)wide + 12345);
  roots_add_word(NULL, list);
  exchange_colours();
  mark_with((unsigned)_i);
  REQUIRE(mark_verify() == NULL && mark_objects() >= 1 + WIDTH + DEPTH);
  for (size_t i = 0; i < WIDTH; i++) REQUIRE(is_black(wide[i]));
  for (char **p = list; p != NULL; p = (char **)(void *)p[1]) REQUIRE(is_black((char *)p));
}
END_TEST

/* ---- the verifier ---- */

static void require_said(const char *text) {
  const char *said = mark_verify();
  REQUIRE_MSG(said != NULL && strcmp(said, text) == 0, "said '%s'", said ? said : "nothing");
}

START_TEST(verifier_finds_white_objects) {
  quiet_heap();
  char **root_object = gc_alloc(64), **middle = gc_alloc(100000), *leaf = gc_alloc_noscan(48);
  REQUIRE(root_object != NULL && middle != NULL && leaf != NULL);
  root_object[7] = (char *)middle + 5;
  middle[12000] = leaf + 47;
  roots_add_word(NULL, root_object);
  exchange_colours();
  mark_with(1);
  REQUIRE(mark_verify() == NULL && mark_objects() == 3);
  unsigned black = atomic32_load_relaxed(&heap.live_colour);
  char *planted[] = {leaf, (char *)middle, (char *)root_object};
  for (int i = 0; i < 3; i++) {
    *slot_find(planted[i]).state = (unsigned char)other_colour(black);
    require_said(i < 2 ? "a marked object points to one that was not marked"
                       : "a root points to an object that was not marked");
    *slot_find(planted[i]).state = (unsigned char)black;
    REQUIRE(mark_verify() == NULL);
  }
}
END_TEST

/* What the verifier expects of a typed object is what its layout says: words 1, 3, 5 and so on. */
START_TEST(verifier_knows_layouts) {
  quiet_heap();
  char **from[] = {gc_alloc_typed(64, some_typed_layout()), gc_alloc_typed(100000, some_typed_layout())};
  for (int i = 0; i < 2; i++) {
    char *leaf = gc_alloc_noscan(48);
    REQUIRE(from[i] != NULL && leaf != NULL);
    roots_add_word(NULL, from[i]);
    from[i][6] = leaf;
  }
  exchange_colours();
  mark_with(1);
  REQUIRE(mark_verify() == NULL && mark_objects() == 2);
  for (int i = 0; i < 2; i++) {
    from[i][7] = from[i][6];
    require_said("a marked object points to one that was not marked");
    from[i][7] = NULL;
    REQUIRE(mark_verify() == NULL);
  }
}
END_TEST

/* A free slot is never marked, whatever points to it (INV-MARK-3). */
START_TEST(free_slots_stay_free) {
  quiet_heap();
  char **from = gc_alloc(4096), *dead[100];
  REQUIRE(from != NULL);
  for (int i = 0; i < 100; i++) REQUIRE((from[i] = dead[i] = gc_alloc(40 + (size_t)i * 8)) != NULL);
  for (int i = 0; i < 100; i += 2) gc_free(dead[i]);
  roots_add_word(NULL, from);
  exchange_colours();
  mark_with(1);
  for (int i = 0; i < 100; i++) {
    struct slot s = slot_find(dead[i]);
    if (i % 2 == 0)
      REQUIRE(s.object == NULL || *s.state == 0);
    else
      REQUIRE(is_black(dead[i]));
  }
  REQUIRE(mark_objects() == 51 && mark_verify() == NULL);
}
END_TEST

int main(void) {
  Suite *s = suite_create("mark");
  TCase *tc = suite_case(s, "mark");
  tcase_add_loop_test(tc, random_graphs, 0, 8);
  tcase_add_loop_test(tc, full_stacks_lose_nothing, 1, 4);
  tcase_add_loop_test(tc, wide_and_deep, 1, 4);
  tcase_add_test(tc, verifier_finds_white_objects);
  tcase_add_test(tc, verifier_knows_layouts);
  tcase_add_test(tc, free_slots_stay_free);
  return suite_main(s);
}
