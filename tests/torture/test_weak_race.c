/* test_weak_race.c - threads that read weak references and ephemerons as fast as they can, while others drop the last strong
 * references and cycles run: every get races the stop that decides.
 * Promises: what a get returned is whole, is not being finalized, and stays so for as long as it is held, wherever it was put
 *           meanwhile: registers, the stack, words on the heap. What was seen clear stays clear. A key has its value. Which
 *           moves are made follows from the seed; how they fall together with the cycles does not.
 * Each case runs until both its moves and its cycles are enough; HOLDFAST_TEST_SCALE multiplies both. Torture builds: a quarter. */
#include <stdatomic.h>

#include "beside.h"
#include "cases.h"
#include "gc_stats.h"
#include "gc_weak.h"

#ifndef GC_TORTURE
#define GC_TORTURE 0
#endif

enum {
  PLAYERS = 3,
  SHELF = 512, /* weak references, and as many ephemerons */
  DESK = 256,  /* words on the heap that hold objects */
  SHARE = GC_TORTURE ? 4 : 1,
};

/* -- objects -- */
struct thing {
  uint64_t sum; /* of tag and size */
  uint64_t tag, size;
  atomic_uint finalized; /* by its finalizer, in the end */
  struct thing *other;   /* scanned things: one that perhaps only this one holds */
  uint64_t body[];
};

static bool is_noscan(uint64_t tag) { return tag % 4 == 0; }
static bool has_finalizer(uint64_t tag) { return tag % 3 == 0; }
static uint64_t sum_of(const struct thing *t) { return rng_mix(t->tag + 3 * t->size) | UINT64_C(0xff) << 56; }

static void thing_check(const struct thing *t) {
  REQUIRE_MSG(gc_base(t) == (const void *)t, "a thing was freed while it was held: %p", (const void *)t);
  REQUIRE_MSG(t->sum == sum_of(t) && pattern_ok(t->body, t->size - sizeof *t, t->tag), "a thing was overwritten: %p",
              (const void *)t);
  REQUIRE_MSG(atomic_load(&t->finalized) == 0, "a thing was finalized while it was held");
}

static struct {
  _Atomic(gc_weak *) weak[SHELF];
  _Atomic(gc_ephemeron *) pair[SHELF];
  _Atomic(struct thing *) *desk; /* on the heap */
  uint64_t enough_moves, enough_cycles;
  atomic_ulong cycles;
  atomic_uint playing;
  atomic_ulong seen_set, seen_clear, finalized;
} game;

static void on_end(void *object, void *arg) {
  struct thing *t = object;
  REQUIRE_MSG(arg == object && t->sum == sum_of(t) && pattern_ok(t->body, t->size - sizeof *t, t->tag),
              "finalized after it was freed");
  REQUIRE_MSG(atomic_fetch_add(&t->finalized, 1) == 0, "finalized twice");
  atomic_fetch_add(&game.finalized, 1);
}

static NOINLINE struct thing *thing_new(struct rng *r) {
  size_t dice = rng_below(r, 100), size = sizeof(struct thing) + rng_below(r, dice == 0   ? 60000
                                                                              : dice < 10 ? 4000
                                                                                          : 200);
  uint64_t tag = rng_next(r) | UINT64_C(0xff) << 56;
  struct thing *t = is_noscan(tag) ? gc_alloc_noscan(size) : gc_alloc(size);
  REQUIRE(t != NULL);
  *t = (struct thing){.tag = tag, .size = size};
  t->sum = sum_of(t);
  pattern_fill(t->body, size - sizeof *t, tag);
  if (has_finalizer(tag)) REQUIRE(gc_set_finalizer_unordered(t, on_end, t) == 0);
  return t;
}

/* -- the moves -- */
struct player {
  struct rng rng;
  uint64_t moves;
  gc_weak *clear[16]; /* seen clear once */
};

/* The last strong reference to something is dropped here, as often as not. */
static void put(struct player *p, struct thing *t) { atomic_store(&game.desk[rng_below(&p->rng, DESK)], t); }

static NOINLINE void make(struct player *p) {
  struct thing *t = thing_new(&p->rng);
  gc_weak *w = gc_weak_create(t);
  REQUIRE(w != NULL && gc_weak_get(w) == t);
  atomic_store(&game.weak[rng_below(&p->rng, SHELF)], w);
  if (rng_below(&p->rng, 8) != 0) put(p, t);
}

static NOINLINE void make_pair(struct player *p) {
  struct thing *key = thing_new(&p->rng), *value = gc_alloc(sizeof *value + 64);
  REQUIRE(value != NULL);
  *value = (struct thing){.tag = key->tag, .size = sizeof *value + 64, .other = key};
  value->sum = sum_of(value);
  pattern_fill(value->body, 64, value->tag);
  gc_ephemeron *e = gc_ephemeron_create(key, value);
  REQUIRE(e != NULL);
  atomic_store(&game.pair[rng_below(&p->rng, SHELF)], e);
  if (rng_below(&p->rng, 8) != 0) put(p, key);
}

/* Held, in whatever way, and looked at again. */
static NOINLINE void hold(struct player *p, struct thing *t) {
  thing_check(t);
  switch (rng_below(&p->rng, 64)) {
    case 0: gc_collect(); break;
    case 1: refill(200, 64); break;
    case 2: put(p, t); break;
    case 3: {
      struct thing *u = thing_new(&p->rng);
      if (is_noscan(u->tag)) break;
      u->other = t; /* born while a cycle runs, perhaps */
      t = NULL;
      put(p, u);
      refill(20, 200);
      t = u->other;
      break;
    }
    default: break;
  }
  thing_check(t);
}

/* Nothing between the gets and the checks but registers. */
static NOINLINE void get_many(struct player *p) {
  struct thing *t[8];
  gc_weak *w[8];
  size_t from = rng_below(&p->rng, SHELF - 8), set = 0;
  for (size_t i = 0; i < 8; i++) t[i] = gc_weak_get(w[i] = atomic_load(&game.weak[from + i]));
  for (size_t i = 0; i < 8; i++) {
    if (t[i] == NULL) continue;
    hold(p, t[i]);
    REQUIRE_MSG(gc_weak_get(w[i]) == t[i], "a reference was cleared while its object was held");
    set++;
  }
  atomic_fetch_add(&game.seen_set, set);
  p->moves += 8;
}

static NOINLINE void look_at_clear(struct player *p) {
  size_t i = rng_below(&p->rng, 16);
  REQUIRE_MSG(p->clear[i] == NULL || gc_weak_get(p->clear[i]) == NULL, "a clear reference came back");
  gc_weak *w = atomic_load(&game.weak[rng_below(&p->rng, SHELF)]);
  if (w == NULL || gc_weak_get(w) != NULL) return;
  p->clear[i] = w;
  atomic_fetch_add(&game.seen_clear, 1);
}

static NOINLINE void get_pair(struct player *p) {
  gc_ephemeron *e = atomic_load(&game.pair[rng_below(&p->rng, SHELF)]);
  struct thing *key = gc_ephemeron_get_key(e), *value = gc_ephemeron_get_value(e);
  REQUIRE_MSG(key == NULL || value != NULL, "a key that is held has no value");
  p->moves++;
  if (value == NULL) return;
  /* Without the key in the hand the value may be NULL, but not wrong. */
  thing_check(value);
  REQUIRE_MSG(key == NULL || value->other == key, "another key's value");
  hold(p, value->other);
  thing_check(value);
}

static void move(struct player *p) {
  size_t dice = rng_below(&p->rng, 16);
  if (dice < 2) make(p);
  if (dice == 2) make_pair(p);
  if (dice >= 3 && dice < 6) get_pair(p);
  if (dice == 6) look_at_clear(p);
  if (dice == 7) put(p, NULL);
  if (dice > 7) get_many(p);
}

static void *play(void *number) {
  struct player player = {.rng = {suite_seed() * 100 + (uintptr_t)number}};
  while (player.moves < game.enough_moves || atomic_load(&game.cycles) < game.enough_cycles) move(&player);
  atomic_fetch_sub(&game.playing, 1);
  return NULL;
}

static void count_cycles(void) {
  static struct gc_stats stats;
  gc_read_stats(&stats);
  const uint64_t before = stats.num_gc;
  while (atomic_load(&game.playing) != 0) {
    gc_read_stats(&stats);
    atomic_store(&game.cycles, stats.num_gc - before);
    sched_yield();
  }
}

static void run_game(uint64_t moves, uint64_t cycles, size_t pause) {
  pthread_t t[PLAYERS];
  struct gc_weak_stats s;
  game.desk = gc_calloc(DESK, sizeof *game.desk);
  REQUIRE(game.desk != NULL);
  game.enough_moves = moves * suite_scale() / SHARE;
  game.enough_cycles = cycles * suite_scale() / SHARE;
  atomic_store(&game.playing, PLAYERS);
  beside_begin(pause);
  for (uintptr_t i = 0; i < PLAYERS; i++) REQUIRE(pthread_create(&t[i], NULL, play, (void *)i) == 0);
  count_cycles();
  for (int i = 0; i < PLAYERS; i++) REQUIRE(pthread_join(t[i], NULL) == 0);
  beside_end();
  for (size_t i = 0; i < SHELF; i++) atomic_store(&game.weak[i], NULL), atomic_store(&game.pair[i], NULL);
  gc_collect();
  gc_read_weak_stats(&s);
  REQUIRE_MSG(s.weak < SHELF && s.ephemerons < SHELF, "%" PRIu64 " references and %" PRIu64 " pairs are left", s.weak,
              s.ephemerons);
  printf("%lu cycles, %lu got, %lu clear, %lu finalized", atomic_load(&game.cycles), atomic_load(&game.seen_set),
         atomic_load(&game.seen_clear), atomic_load(&game.finalized));
  REQUIRE(atomic_load(&game.seen_clear) > 0 && atomic_load(&game.finalized) > 0);
}

static void without_a_break(void) { run_game(60000, 60, 0); }
static void with_pauses(void) { run_game(40000, 30, 3000); }

/* Other option sets: tries that are broken off, one marker, no sweeping in the background, finalizers by hand. */
static void with_short_stops(const char *name) {
  (void)name;
  setenv("GC_MAX_PAUSE_US", "100", 1);
  setenv("GC_BACKGROUND", "off", 1);
}

static void with_one_marker(const char *name) {
  (void)name;
  setenv("GC_MARKERS", "1", 1);
  setenv("GC_ONE_PAST_END", "on", 1);
}

static const struct test_case cases[] = {
    {"without_a_break", without_a_break, NULL},
    {"with_pauses", with_pauses, NULL},
    {"short_stops", without_a_break, with_short_stops},
    {"one_marker", with_pauses, with_one_marker},
};

int main(int argc, char **argv) { return cases_main(argc, argv, "weak_race", CASES(cases)); }
