/* test_frag_walk.c - the walk over the spans: against a count from the central lists and the slot bytes, in every state
 * that a span can be in; the figures of one span against brute force. */
#include "unit.h"

#include "alloc/central.h"
#include "alloc/frag.h"
#include "alloc/heapmap.h"
#include "alloc/slotmap.h"
#include "alloc/sweep.h"
#include "gc/cycle.h"

enum { N = 6000, SEEN = 20000 };
static void *volatile keep[N];

static struct {
  struct frag_span span[SEEN];
  size_t count, pieces;
} seen;

static unsigned note(const struct frag_span *s, void *arg) {
  (void)arg;
  REQUIRE(seen.count < SEEN);
  seen.span[seen.count++] = *s;
  return 0;
}

/* A walk while nobody else is at work: nothing is waited for. */
static void walk(void) {
  struct frag_walk w = {0, false};
  seen.count = seen.pieces = 0;
  for (bool more = true; more; seen.pieces++) {
    size_t before = seen.count;
    thread_defer_stops();
    more = frag_step(&w, note, NULL);
    thread_allow_stops();
    REQUIRE(!w.waits && seen.count - before <= FRAG_STEP);
  }
}

static const struct frag_span *seen_at(uint32_t page) {
  for (size_t i = 0; i < seen.count; i++)
    if (seen.span[i].page == page) return &seen.span[i];
  return NULL;
}

/* A visit that takes long ends the piece sooner; all spans are seen all the same. */
static unsigned note_slowly(const struct frag_span *s, void *arg) {
  note(s, arg);
  return FRAG_STEP / 4;
}

START_TEST(long_visits) {
  struct frag_walk w = {0, false};
  for (size_t i = 0; i < 100; i++) keep[i] = gc_alloc(30000); /* a span each */
  walk();
  size_t all = seen.count;
  seen.count = 0;
  for (bool more = true; more;) {
    size_t before = seen.count;
    thread_defer_stops();
    more = frag_step(&w, note_slowly, NULL);
    thread_allow_stops();
    REQUIRE(seen.count - before <= 4);
  }
  REQUIRE(seen.count == all && all >= 100);
}
END_TEST

/* ---- against the lists, by another way of counting ---- */

static unsigned slot_value(uint32_t page, unsigned i) { return *(slotmap_group(span_block(page), i / 64) + i % 64); }

static bool holds_object(uint32_t page, unsigned i, bool swept) {
  unsigned value = slot_value(page, i);
  return swept ? value != 0 : value == atomic32_load_relaxed(&heap.live_colour);
}

static void expect_span(const struct frag_span *s, bool swept, const struct slot_group *group) {
  unsigned objects = 0, claimed = 0;
  for (unsigned i = 0; i < s->slots; i++) {
    bool object = holds_object(s->page, i, swept);
    char *p = page_address(s->page) + i * frag_slot_bytes(s);
    size_t bit = group != NULL && p >= group->base ? (size_t)(p - group->base) / group->size : 64;
    bool held = bit < 64 && (group->free >> bit & 1);
    objects += object && !held;
    claimed += held;
    if (frag_is_partly_used(s)) REQUIRE((s->used[i / 64] >> i % 64 & 1) == (object && !held));
  }
  REQUIRE_MSG(s->objects == objects && s->claimed == claimed, "page %u: %u objects and %u claimed, not %u and %u",
              s->page, s->objects, s->claimed, objects, claimed);
  REQUIRE(s->pages == span_pages(s->page) && s->unswept == !swept && s->cached == (group != NULL));
}

static size_t listed;
static void expect_listed(uint32_t page, bool partial, bool swept, void *arg) {
  const struct frag_span *s = seen_at(page);
  (void)partial;
  REQUIRE_MSG(s != NULL, "the span at page %u was missed", page);
  REQUIRE(s->sc == *(unsigned *)arg);
  expect_span(s, swept, NULL);
  listed++;
}

static void expect_all(void) {
  walk();
  listed = 0;
  for (unsigned sc = 0; sc < span_classes(); sc++) central_each(sc, expect_listed, &sc);
  for (struct cache *c = cache_first(); c != NULL; c = c->next)
    for (unsigned sc = 2; sc < c->classes; sc++) {
      if (c->span[sc].page == NO_PAGE) continue;
      const struct frag_span *s = seen_at(c->span[sc].page);
      REQUIRE(s != NULL && s->sc == sc);
      expect_span(s, true, &c->group[sc]);
      listed++;
    }
  REQUIRE_MSG(listed == seen.count, "%zu spans seen, %zu are there", seen.count, listed);
  REQUIRE_WHOLE();
}

static void allocate(struct rng *r, size_t from, size_t to) {
  for (size_t i = from; i < to; i++) {
    size_t size = 1 + rng_below(r, rng_below(r, 50) == 0 ? 90000 : 900);
    keep[i] = rng_below(r, 2) == 0 ? gc_alloc(size) : gc_alloc_noscan(size);
    REQUIRE(keep[i] != NULL);
  }
}

/* After a cycle that nobody has swept after: what it did not reach is no object, and 3s are none. */
START_TEST(in_every_state) {
  struct rng r = {suite_seed() + (uint64_t)_i};
  quiet_heap();
  expect_all();
  for (int round = 0; round < 4; round++) {
    allocate(&r, 0, N);
    expect_all();
    for (size_t i = 0; i < N; i += 1 + rng_below(&r, 3)) keep[i] = NULL;
    cycle_run(CYCLE_FORCED);
    expect_all();
    thread_defer_stops();
    sweep_some(20);
    thread_allow_stops();
    expect_all();
    allocate(&r, 0, N / 2);
    expect_all();
    gc_collect();
    expect_all();
  }
}
END_TEST

START_TEST(freed_while_marking) {
  struct rng r = {suite_seed()};
  quiet_heap();
  allocate(&r, 0, N);
  gc_collect();
  uint32_t page = slot_find(keep[0]).page;
  walk();
  unsigned before = seen_at(page)->objects;
  struct slot s = slot_find(keep[0]);
  *s.state = FREED_WHILE_MARKING;
  walk();
  REQUIRE(seen_at(page)->objects == before); /* until the cycle has ended */
  sweep_start();
  walk();
  REQUIRE(seen_at(page)->unswept && seen_at(page)->objects == before - 1);
}
END_TEST

/* ---- in somebody's hands ---- */

static size_t visits;
static unsigned count_visits(const struct frag_span *s, void *arg) {
  (void)s;
  (void)arg;
  visits++;
  return 0;
}

static bool step(struct frag_walk *w) {
  thread_defer_stops();
  bool more = frag_step(w, count_visits, NULL);
  thread_allow_stops();
  return more;
}

START_TEST(waits_for_who_has_it) {
  quiet_heap();
  for (size_t i = 0; i < 30; i++) keep[i] = gc_alloc(30000); /* a span each */
  gc_collect();
  uint32_t page = slot_find(keep[5]).page;
  heap.spans[page].state = SPAN_SWEEPING;
  struct frag_walk w = {0, false};
  for (int i = 0; i < 3; i++) {
    REQUIRE(step(&w) && w.waits && w.page == page);
    visits = 0;
  }
  heap.spans[page].state = SPAN_LISTED;
  while (step(&w)) REQUIRE(!w.waits);
  REQUIRE(visits == 25); /* the rest, it among them */
  heap.spans[page].state = SPAN_NONE;
  visits = 0;
  w = (struct frag_walk){0, false};
  while (step(&w)) REQUIRE(!w.waits);
  REQUIRE(visits == 29);
  heap.spans[page].state = SPAN_LISTED;
}
END_TEST

START_TEST(waits_for_a_claim) {
  quiet_heap();
  keep[0] = gc_alloc(64);
  uint32_t page = slot_find(keep[0]).page;
  struct cached_span *s = &tl_cache->span[span_class(size_class(64), 0)];
  struct frag_walk w = {0, false};
  REQUIRE(s->page == page && s->claims % 2 == 0);
  s->claims++;
  REQUIRE(step(&w) && w.waits && w.page == page);
  s->claims++;
  visits = 0;
  while (step(&w)) REQUIRE(!w.waits);
  REQUIRE(visits >= 1);
}
END_TEST

/* A claim between two looks is noticed; handing out what was claimed is none. */
START_TEST(claims_are_noticed) {
  struct claims c;
  quiet_heap();
  keep[0] = gc_alloc(64); /* the first of two groups of 64 */
  uint32_t page = slot_find(keep[0]).page;
  unsigned sc = span_class(size_class(64), 0);
  for (size_t i = 1; i < 64; i++) {
    REQUIRE(claims_begin(&c, page, sc) && c.group == 0 && count_bits(c.mask) == 64 - i);
    keep[i] = gc_alloc(64);
    REQUIRE(claims_same(&c));
  }
  REQUIRE(claims_begin(&c, page, sc) && c.mask == 0);
  keep[64] = gc_alloc(64);
  REQUIRE(!claims_same(&c));
  REQUIRE(claims_begin(&c, page, sc) && c.group == 1 && count_bits(c.mask) == 63 && claims_same(&c));
}
END_TEST

/* ---- age ---- */

START_TEST(age) {
  quiet_heap();
  keep[0] = gc_alloc(100000);
  uint32_t page = slot_find(keep[0]).page;
  for (unsigned i = 1; i < 20; i++) {
    gc_collect();
    keep[i] = gc_alloc(50000);
    walk();
    REQUIRE(seen_at(page)->age == i && seen_at(slot_find(keep[i]).page)->age == 0);
  }
  atomic32_store_relaxed(&heap.gen, heap.gen + AGE_MASK - 18); /* 2^14 cycles: it starts again */
  walk();
  REQUIRE(seen_at(page)->age == 0);
}
END_TEST

/* ---- one span ---- */

static struct frag_span some_span(struct rng *r, unsigned sc) {
  struct frag_span s = {.page = (uint32_t)rng_below(r, 1000), .sc = sc};
  s.pages = span_class_pages(sc);
  s.slots = span_class_slots(sc);
  unsigned share = (unsigned)rng_below(r, 9);
  for (unsigned i = 0; i < s.slots; i++)
    if (rng_below(r, 8) < share || (share == 0 && rng_below(r, s.slots) == 0)) s.used[i / 64] |= (uint64_t)1 << i % 64;
  for (unsigned g = 0; g < FRAG_GROUPS; g++) s.objects += count_bits(s.used[g]);
  return s;
}

static size_t brute_force(const struct frag_span *s) {
  size_t os = os_page_size(), size = span_class_size(s->sc), sum = 0, start = (size_t)s->page << PAGE_SHIFT;
  for (size_t at = start; at < start + ((size_t)s->pages << PAGE_SHIFT); at++) {
    if (at % os != 0 || at + os > start + ((size_t)s->pages << PAGE_SHIFT)) continue;
    bool is_free = true;
    for (unsigned i = 0; i < s->slots; i++) {
      bool used = s->used[i / 64] >> i % 64 & 1;
      if (i / 64 == s->claimed_group) used |= s->claimed_mask >> i % 64 & 1;
      if (used && start + i * size < at + os && at < start + (i + 1) * size) is_free = false;
    }
    sum += is_free ? os : 0;
  }
  return sum;
}

START_TEST(free_os_pages) {
  struct rng r = {suite_seed()};
  for (unsigned sc = 2; sc < SPAN_CLASSES; sc++)
    for (int i = 0; i < 20; i++) {
      struct frag_span s = some_span(&r, sc);
      if (i % 4 == 3) {
        s.claimed_group = (unsigned)rng_below(&r, span_class_groups(sc));
        s.claimed_mask = rng_next(&r) & group_valid(s.slots, s.claimed_group) & ~s.used[s.claimed_group];
      }
      size_t expected = frag_is_partly_used(&s) ? brute_force(&s) : 0, found = frag_free_os_bytes(&s);
      REQUIRE_MSG(found == expected, "class %u: %zu, not %zu", sc, found, expected);
    }
}
END_TEST

/* A pair is of two spans that do not overlap, and no span is in two. What is found is known only by number, so each
 * layout has partners for exactly one. */
START_TEST(pairs) {
  static struct frag_pool pool;
  struct frag_span s = {.sc = 4, .slots = 512, .pages = 1};
  memset(&pool, 0, sizeof pool);
  for (unsigned i = 0; i < 8; i++) { /* all overlap in the last slot */
    s.used[0] = (uint64_t)1 << i;
    s.used[7] = (uint64_t)1 << 63;
    s.objects = 2;
    REQUIRE(!frag_pair(&pool, &s));
  }
  s.used[7] = 0;
  s.used[0] = (uint64_t)1 << 63;
  s.objects = 1;
  for (unsigned i = 0; i < 8; i++) REQUIRE(frag_pair(&pool, &s)); /* one for each */
  REQUIRE(!frag_pair(&pool, &s) && !frag_pair(&pool, &s));
}
END_TEST

/* Without hope the search costs little, and begins again with the first success. */
START_TEST(pairs_are_given_up) {
  static struct frag_pool pool;
  struct frag_span half = {.sc = 4, .slots = 512, .pages = 1, .objects = 300}, one = half;
  memset(&pool, 0, sizeof pool);
  for (unsigned g = 0; g < 5; g++) half.used[g] = ~(uint64_t)0;
  for (unsigned i = 0; i < 100000; i++) REQUIRE(!frag_pair(&pool, &half));
  one.objects = 1;
  one.used[7] = 1;
  unsigned tries = 0, found = 0;
  while (found == 0) {
    found = frag_pair(&pool, &one);
    tries++;
  }
  REQUIRE_MSG(tries <= FRAG_RESTS, "%u tries", tries);
  REQUIRE(frag_pair(&pool, &one) && pool.failures == 0);
}
END_TEST

/* ---- records ---- */

START_TEST(records_fit) {
  struct rng r = {suite_seed()};
  struct heapmap_totals totals = {0, 0, 0, 0};
  static char room[HEAPMAP_SPAN_MAX + 64];
  REQUIRE(heapmap_header(room, 1, 2) <= HEAPMAP_SPAN_MAX);
  for (unsigned sc = 2; sc < SPAN_CLASSES; sc++)
    for (int i = 0; i < 10; i++) {
      struct frag_span s = some_span(&r, sc);
      memset(room, 0x55, sizeof room);
      size_t n = heapmap_span(room, &s, &totals);
      REQUIRE(n <= HEAPMAP_SPAN_MAX && n % 8 == 0 && room[n] == 0x55);
    }
  REQUIRE(totals.spans == (SPAN_CLASSES - 2) * 10);
  REQUIRE(heapmap_end(room, 3, &totals) <= HEAPMAP_SPAN_MAX);
}
END_TEST

/* The heaviest sites first, what is left over counted, and the tally as empty as before. */
START_TEST(owners_fit) {
  static struct sample_tally t, empty;
  static char room[HEAPMAP_OWNERS_MAX + 64];
  static uint64_t told_of[SAMPLE_SITES_MAX / 64];
  struct rng r = {suite_seed()};
  const struct frag_span s = {.sc = 3, .slots = 1024, .pages = 1, .objects = 1024};
  REQUIRE(heapmap_owners(room, &s, &t, told_of) == 0);
  for (uint32_t sites = 1; sites <= SAMPLE_SLOTS_MAX; sites += sites < 8 ? 1 : 127) {
    for (uint32_t i = 0; i < sites; i++) {
      uint32_t site = i * 7 % SAMPLE_SITES_MAX;
      t.site[t.sites++] = site;
      t.of[site] = (struct sample_share){1, (double)(1 + rng_below(&r, 1000))};
    }
    memset(room, 0x55, sizeof room);
    memset(told_of, 0, sizeof told_of);
    size_t n = heapmap_owners(room, &s, &t, told_of);
    unsigned told = sites < HEAPMAP_OWNERS ? sites : HEAPMAP_OWNERS, bits = 0;
    for (size_t i = 0; i < SAMPLE_SITES_MAX / 64; i++) bits += count_bits(told_of[i]);
    REQUIRE(n == 16 + 16 * told && room[n] == 0x55 && bits == told);
    REQUIRE((unsigned char)room[12] + 256 * (unsigned char)room[13] == (int)(sites - told));
    REQUIRE(memcmp(&t.of, &empty.of, sizeof t.of) == 0 && t.sites == 0);
  }
}
END_TEST

static size_t long_name(char *to, size_t size, const void *pc) {
  size_t n = size - 1 - (uintptr_t)pc % 8;
  memset(to, 'f', n);
  to[n] = '\0';
  return n;
}

START_TEST(sites_fit) {
  static char room[HEAPMAP_SITE_MAX + 64];
  void *pc[SAMPLE_DEPTH];
  keep[0] = gc_alloc(100);
  thread_defer_stops();
  REQUIRE(sample_set_rate(1));
  for (unsigned depth = 0; depth <= SAMPLE_DEPTH; depth++) {
    for (unsigned i = 0; i < depth; i++) pc[i] = (void *)(uintptr_t)(1000 + depth * 100 + i);
    sample_add(keep[0], 1, pc, depth);
    memset(room, 0x55, sizeof room);
    size_t n = heapmap_site(room, depth, long_name);
    REQUIRE(n <= HEAPMAP_SITE_MAX && n % 8 == 0 && room[n] == 0x55);
  }
  thread_allow_stops();
}
END_TEST

int main(void) {
  Suite *s = suite_create("frag_walk");
  TCase *tc = suite_case(s, "frag_walk");
  tcase_add_loop_test(tc, in_every_state, 0, 3);
  tcase_add_test(tc, freed_while_marking);
  tcase_add_test(tc, waits_for_who_has_it);
  tcase_add_test(tc, waits_for_a_claim);
  tcase_add_test(tc, claims_are_noticed);
  tcase_add_test(tc, age);
  tcase_add_test(tc, free_os_pages);
  tcase_add_test(tc, pairs);
  tcase_add_test(tc, pairs_are_given_up);
  tcase_add_test(tc, records_fit);
  tcase_add_test(tc, owners_fit);
  tcase_add_test(tc, sites_fit);
  tcase_add_test(tc, long_visits);
  return suite_main(s);
}
