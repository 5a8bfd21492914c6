/* moves.h - a table whose objects keep moving: each is referred to from one word only, which changes all the
 * time. A write that the collector misses is an object lost.
 * Owns:     the objects and their table, both on the heap; their tags, in malloc's memory.
 * Promises: every object is checked when it moves, and all of them in moves_check. One thread at a time. */
#ifndef HOLDFAST_TEST_MOVES_H
#define HOLDFAST_TEST_MOVES_H

#include "hide.h"

enum { MOVES_WORDS = 16 * 1024, MOVES_OBJECTS = 8000 }; /* 128 KiB: 32 OS pages of 4 KiB */

struct moves {
  root *volatile at; /* the table: MOVES_WORDS words */
  uint64_t *tag;     /* of the object in the same place; 0 when there is none */
  struct rng rng;
};

static inline size_t moves_size(uint64_t tag) { return tag % 61 == 0 ? 3000 + tag % 5000 : 16 + tag % 200; }

static inline void moves_new(struct moves *m, size_t i) {
  uint64_t tag = rng_next(&m->rng) | 1;
  void *p = gc_alloc(moves_size(tag));
  REQUIRE(p != NULL);
  pattern_fill(p, moves_size(tag), tag);
  m->at[i] = p;
  m->tag[i] = tag;
}

static inline void moves_look(const struct moves *m, size_t i) {
  void *p = m->at[i];
  if (m->tag[i] == 0) {
    REQUIRE_MSG(p == NULL, "an empty word of the table changed");
    return;
  }
  REQUIRE_MSG(gc_base(p) == p && pattern_ok(p, moves_size(m->tag[i]), m->tag[i]), "object %zu was lost", i);
}

static HELPER void moves_init(struct moves *m, uint64_t seed) {
  m->rng.state = seed;
  m->at = gc_calloc(MOVES_WORDS, sizeof *m->at);
  m->tag = calloc(MOVES_WORDS, sizeof *m->tag);
  REQUIRE(m->at != NULL && m->tag != NULL);
  for (int i = 0; i < MOVES_OBJECTS; i++) {
    size_t k = rng_below(&m->rng, MOVES_WORDS);
    if (m->tag[k] == 0) moves_new(m, k);
  }
}

/* The objects of two random words change places; now and then a new one takes the place of the old. */
static inline void moves_step(struct moves *m) {
  size_t from = rng_below(&m->rng, MOVES_WORDS), to = rng_below(&m->rng, MOVES_WORDS);
  moves_look(m, from);
  moves_look(m, to);
  void *p = m->at[from];
  uint64_t tag = m->tag[from];
  m->at[from] = m->at[to];
  m->tag[from] = m->tag[to];
  m->at[to] = p;
  m->tag[to] = tag;
  if (tag != 0 && rng_below(&m->rng, 8) == 0) moves_new(m, to);
}

static HELPER void moves_run(struct moves *m, size_t steps) {
  for (size_t i = 0; i < steps; i++) moves_step(m);
}

static HELPER void moves_check(const struct moves *m) {
  for (size_t i = 0; i < MOVES_WORDS; i++) moves_look(m, i);
}

#endif
