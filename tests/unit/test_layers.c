/* test_layers.c - cache, central lists, page heap and sweeping together: objects are taken through caches, some
 * dropped, the collector's part of a cycle played by the test, and the dead swept; the heap checker is asked after
 * every step, and the test's own record must agree: the living keep contents and places, the dead are free.
 * The test plays the collector by colouring slot bytes itself, so it knows exactly what is live. */
#include "unit.h"

#include "alloc/central.h"
#include "alloc/layout.h"
#include "alloc/scavenge.h"
#include "alloc/slotmap.h"
#include "alloc/sweep.h"
#include "hide.h"

enum { OBJECTS = 6000, CACHES = 3 };

static struct object {
  char *at;
  size_t size; /* of the slot */
  unsigned sc;
  uint64_t tag;
} object[OBJECTS];
static size_t objects;
static uint64_t next_tag;
static struct cache *cache[CACHES];

/* Caches of other threads, as far as allocation is concerned: nobody else runs. */
static void make_caches(void) {
  quiet_heap();
  REQUIRE(some_typed_layout() != NULL);
  for (int i = 0; i < CACHES; i++) {
    REQUIRE((cache[i] = cache_create()) != NULL);
    cache_open_typed(cache[i]);
  }
}

static void add_object(char *p, unsigned sc, size_t size) {
  struct slot s = slot_find(p);
  REQUIRE(s.object == p && s.sc == sc && *s.state == atomic32_load_relaxed(&heap.live_colour));
  for (size_t i = 0; i < objects && i < 50; i++) REQUIRE(object[objects - 1 - i].at != p);
  if (span_class_is_typed(sc)) {
    layout_store_small(p, size, some_typed_layout());
    size -= LAYOUT_WORD;
  }
  object[objects] = (struct object){p, size, sc, ++next_tag};
  pattern_fill(p, size < 256 ? size : 256, object[objects++].tag);
}

static void take_small(struct cache *c, unsigned sc) {
  struct slot_group *g = &c->group[sc];
  if (g->free == 0) REQUIRE(cache_refill(c, sc));
  REQUIRE(c->span[sc].page != NO_PAGE && (g->free & ~c->span[sc].claimed) == 0);
  add_object(slot_take(g), sc, span_class_size(sc));
}

/* As api/alloc.c does it. */
static void take_large(size_t pages, unsigned kind) {
  bool zero, typed = kind == LARGE_TYPED;
  unsigned sc = typed ? 0 : kind;
  uint32_t page = span_alloc_large(pages, 1, kind, &zero);
  REQUIRE(page != NO_PAGE && span_is_typed(page) == typed && span_class_of(page) == sc);
  if (typed) layout_store_large(page, some_typed_layout());
  atomic_add(&central_counts(sc)->retired, 1);
  central_give(sc, page);
  add_object(page_address(page), sc, pages * PAGE_SIZE);
}

/* A few classes a round, so that spans fill up. */
static void allocate_some(struct rng *g) {
  static const unsigned kinds[] = {0, NOSCAN, LARGE_TYPED};
  unsigned classes[4];
  for (int i = 0; i < 4; i++) classes[i] = 2 + (unsigned)rng_below(g, rng_below(g, 3) ? 60 : SPAN_CLASSES - 2);
  for (size_t n = rng_below(g, 1500); n > 0 && objects < OBJECTS; n--) {
    if (rng_below(g, 200) == 0)
      take_large(5 + rng_below(g, 60), kinds[rng_below(g, 3)]);
    else
      take_small(cache[rng_below(g, CACHES)], classes[rng_below(g, 4)]);
  }
}

static void check_objects(void) {
  for (size_t i = 0; i < objects; i++) {
    const struct object *o = &object[i];
    struct slot s = slot_find(o->at);
    REQUIRE_MSG(s.object == o->at && s.sc == o->sc, "object %zu has lost its slot", i);
    REQUIRE_MSG(*s.state == atomic32_load_relaxed(&heap.live_colour), "object %zu was freed", i);
    REQUIRE_MSG(pattern_ok(o->at, o->size < 256 ? o->size : 256, o->tag), "object %zu was overwritten", i);
  }
}

/* ---- the collector's part ---- */

/* As marking does: only white turns black; the last slot a cache handed out may have been freed since. */
static void colour_black(void *unused, const void *p) {
  struct slot s = slot_find(p);
  unsigned black = atomic32_load_relaxed(&heap.live_colour);
  (void)unused;
  if (*s.state == other_colour(black)) *s.state = (unsigned char)black;
}

static size_t dead_count;
static char *dead[OBJECTS];

/* Drops about one in `share` of the objects, mostly in runs, so that whole spans die. */
static void drop(struct rng *g, size_t share) {
  size_t kept = 0;
  bool dying = false;
  dead_count = 0;
  for (size_t i = 0; i < objects; i++) {
    if (rng_below(g, 30) == 0) dying = rng_below(g, share) == 0;
    if (dying)
      dead[dead_count++] = object[i].at;
    else
      object[kept++] = object[i];
  }
  objects = kept;
}

static void play_cycle(void) {
  sweep_all();
  unsigned black = other_colour(atomic32_load_relaxed(&heap.live_colour));
  atomic32_store_relaxed(&heap.live_colour, black);
  heap_set_births(black);
  for (struct cache *c = cache_first(); c != NULL; c = c->next) cache_stopped(c, black, colour_black, NULL);
  for (size_t i = 0; i < objects; i++) colour_black(NULL, object[i].at);
  sweep_start();
  for (struct cache *c = cache_first(); c != NULL; c = c->next) cache_sweep(c);
}

/* What caches hand out last lives one cycle longer; everything else that died is free. */
static void check_dead(void) {
  size_t left = 0;
  for (size_t i = 0; i < dead_count; i++) {
    struct slot s = slot_find(dead[i]);
    left += s.object != NULL && *s.state != 0 && s.object == dead[i];
  }
  REQUIRE_MSG(left <= CACHES * SPAN_CLASSES, "%zu of %zu dead objects were not freed", left, dead_count);
}

/* ---- steps ---- */

static void sweep_piecewise(struct rng *g) {
  for (size_t n = rng_below(g, 40); n > 0 && sweep_some(1); n--) REQUIRE_WHOLE();
}

static void free_some(struct rng *g) {
  for (size_t n = rng_below(g, 100); n > 0 && objects > 0; n--) {
    size_t i = rng_below(g, objects);
    gc_free(object[i].at);
    object[i] = object[--objects];
  }
}

static void flush_one(struct rng *g) {
  struct cache *c = cache[rng_below(g, CACHES)];
  cache_flush(c);
  for (unsigned sc = 2; sc < SPAN_CLASSES; sc++) REQUIRE(c->span[sc].page == NO_PAGE && c->group[sc].free == 0);
}

static void random_round(struct rng *g) {
  allocate_some(g);
  REQUIRE_WHOLE();
  drop(g, 1 + rng_below(g, 4));
  play_cycle();
  REQUIRE_WHOLE();
  sweep_piecewise(g);
  if (rng_below(g, 2) == 0) allocate_some(g); /* from spans that it sweeps itself */
  REQUIRE_WHOLE();
  free_some(g);
  REQUIRE_WHOLE();
  if (rng_below(g, 3) == 0) flush_one(g);
  REQUIRE_WHOLE();
  check_objects();
}

START_TEST(random_rounds) {
  struct rng g = {suite_seed() + (uint64_t)_i};
  make_caches();
  for (int round = 0; round < 25; round++) random_round(&g);
  drop(&g, 2);
  play_cycle();
  sweep_all();
  REQUIRE_WHOLE();
  check_objects();
  check_dead();
}
END_TEST

/* When everything dies, all pages come back, and all counters are even. */
START_TEST(everything_dies) {
  struct rng g = {suite_seed() + 99};
  make_caches();
  for (int round = 0; round < 6; round++) {
    allocate_some(&g);
    for (int i = 0; i < CACHES; i++) cache_flush(cache[i]);
    objects = 0;
    play_cycle();
    REQUIRE_WHOLE();
    sweep_all();
    REQUIRE_WHOLE();
    REQUIRE(pageheap_totals().inuse == 0);
    for (unsigned sc = 0; sc < SPAN_CLASSES; sc++) {
      uint64_t taken = central_counts(sc)->retired;
      for (struct cache *c = cache_first(); c != NULL; c = c->next) taken += c->span[sc].taken;
      REQUIRE(taken == central_counts(sc)->freed);
    }
  }
}
END_TEST

/* Slots that were not handed out go back: a flushed cache leaves only what was taken. */
START_TEST(flushing_gives_back) {
  make_caches();
  for (unsigned sc = 2; sc < SPAN_CLASSES; sc++)
    for (unsigned n = sc % 5 + 1; n > 0; n--) take_small(cache[0], sc);
  REQUIRE_WHOLE();
  cache_flush(cache[0]);
  REQUIRE_WHOLE();
  for (size_t i = 0; i < objects; i++) {
    uint32_t page = slot_find(object[i].at).page;
    unsigned slots = span_class_slots(object[i].sc), taken = object[i].sc % 5 + 1;
    REQUIRE(heap.spans[page].state == SPAN_LISTED && span_count_live(page) == heap.spans[page].live);
    REQUIRE(span_count_live(page) == (taken % slots == 0 ? slots : span_count_live(page)) &&
            span_count_live(page) <= taken);
  }
  for (size_t i = 0; i < objects; i++) gc_free(object[i].at);
  REQUIRE_WHOLE();
  REQUIRE(pageheap_totals().inuse == 0);
}
END_TEST

/* A span's slots are handed out in order of address, each once, over all its groups. */
START_TEST(each_slot_once) {
  make_caches();
  for (unsigned sc = 2; sc < SPAN_CLASSES; sc++) {
    char *last = NULL;
    for (unsigned n = 0; n < span_class_slots(sc); n++) {
      if (cache[1]->group[sc].free == 0) REQUIRE(cache_refill(cache[1], sc));
      char *p = slot_take(&cache[1]->group[sc]);
      REQUIRE(p != NULL && (last == NULL || p == last + span_class_size(sc)));
      last = p;
    }
    REQUIRE(slot_take(&cache[1]->group[sc]) == NULL);
  }
  REQUIRE_WHOLE();
}
END_TEST

/* Holes of a span that came back from sweeping are filled before a new span is taken. */
START_TEST(holes_are_filled_first) {
  unsigned sc = span_class(5, 0);
  make_caches();
  for (unsigned n = 0; n < 3 * span_class_slots(sc); n++) take_small(cache[0], sc);
  cache_flush(cache[0]);
  uint64_t inuse = pageheap_totals().inuse;
  size_t kept = 0, dropped = 0;
  for (size_t i = 0; i < objects; i++) {
    if (i % 3 == 0)
      dropped++;
    else
      object[kept++] = object[i];
  }
  objects = kept;
  play_cycle();
  for (size_t i = 0; i < dropped; i++) take_small(cache[0], sc);
  REQUIRE(pageheap_totals().inuse == inuse);
  REQUIRE_WHOLE();
  check_objects();
}
END_TEST

/* The page heap: fresh memory is known to be zero, used memory is not; whole spans go and come. */
START_TEST(spans_know_whether_they_are_zero) {
  quiet_heap();
  uint32_t a = span_alloc(4), b = span_alloc(20);
  REQUIRE(a != NO_PAGE && b != NO_PAGE && heap.spans[a].zeroed && heap.spans[b].zeroed);
  memset(page_address(a), 1, PAGE_SIZE);
  span_free(a);
  uint32_t again = span_alloc(20);
  REQUIRE(again == a && !heap.spans[again].zeroed && span_class_of(again) == 20);
  span_free(again);
  span_free(b);
  REQUIRE(pageheap_scavenge(64 * MIB) == 2 * PAGE_SIZE);
  again = span_alloc(4);
  REQUIRE(again == a && heap.spans[again].zeroed == (options.release == OS_RELEASE_NOW));
  REQUIRE(pageheap_must_grow(1) && pageheap_must_grow(512));
}
END_TEST

/* Tiny blocks: one bit says which slots are, and a slot that is used again as a whole is none. */
START_TEST(tiny_blocks) {
  make_caches();
  struct cache *c = cache[0];
  for (unsigned i = 0; i < 200; i++) {
    bool tiny = i % 3 != 0;
    if (c->group[TINY_SPAN_CLASS].free == 0) REQUIRE(cache_refill(c, TINY_SPAN_CLASS));
    char *p = tiny ? (cache_refill_tiny(c) ? c->tiny : NULL) : slot_take(&c->group[TINY_SPAN_CLASS]);
    REQUIRE(p != NULL);
    struct slot s = slot_find(p);
    unsigned index = (unsigned)(s.object - page_address(s.page)) / TINY_SIZE;
    uint64_t bits = *tiny_bits(span_block(s.page), index / 64);
    REQUIRE((bits >> (index % 64) & 1) == tiny);
    if (tiny) REQUIRE(c->tiny_end == c->tiny + TINY_SIZE);
  }
  REQUIRE(tiny_take(c, 5) == c->tiny_end - 16 && tiny_take(c, 8) == c->tiny_end - 8 && tiny_take(c, 1) == NULL);
  REQUIRE_WHOLE();
}
END_TEST

int main(void) {
  Suite *s = suite_create("layers");
  TCase *tc = suite_case(s, "layers");
  tcase_add_loop_test(tc, random_rounds, 0, 4);
  tcase_add_test(tc, everything_dies);
  tcase_add_test(tc, flushing_gives_back);
  tcase_add_test(tc, each_slot_once);
  tcase_add_test(tc, holes_are_filled_first);
  tcase_add_test(tc, spans_know_whether_they_are_zero);
  tcase_add_test(tc, tiny_blocks);
  return suite_main(s);
}
