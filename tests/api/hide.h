/* hide.h - how a test knows an object that it does not keep alive.
 * Owns:     counting hidden addresses (conceal.h) whose objects went, content patterns whose words never look like pointers.
 * Promises: a hidden address keeps nothing alive; gc_base(reveal(h)) tells whether the object still is.
 * Never:    expects that every unreachable object goes: a stale word on a stack may keep a few. What is
 *           reachable must all be kept; of the unreachable, MOSTLY_GONE asks for 95 of 100. */
#ifndef HOLDFAST_TEST_HIDE_H
#define HOLDFAST_TEST_HIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "conceal.h"
#include "gc_alloc.h"
#include "suite.h"

static inline hidden *hidden_new(size_t n) {
  hidden *h = malloc(n * sizeof *h);
  REQUIRE(h != NULL);
  for (size_t i = 0; i < n; i++) h[i] = hide(NULL);
  return h;
}

/* How many of the n objects exist no more. Valid until the next allocation reuses their places. */
static HELPER size_t hidden_gone(const hidden *h, size_t n) {
  size_t gone = 0;
  for (size_t i = 0; i < n; i++) gone += gc_base(reveal(h[i])) == NULL;
  return gone;
}

#define REQUIRE_MOSTLY_GONE(h, n)                                                        \
  do {                                                                                   \
    size_t n_ = (n), gone_ = hidden_gone((h), n_);                                       \
    REQUIRE_MSG(gone_ * 100 >= n_ * 95, "only %zu of %zu dead objects went", gone_, n_); \
  } while (0)

/* -- contents -- */

/* The top byte is never that of an address. */
static inline uint64_t pattern_word(uint64_t tag, size_t i) {
  return rng_mix(tag * UINT64_C(0x9e3779b97f4a7c15) + i) | (UINT64_C(0xff) << 56);
}

static inline void pattern_fill(void *p, size_t size, uint64_t tag) {
  char *c = p;
  for (size_t i = 0; i * 8 < size; i++) {
    uint64_t w = pattern_word(tag, i);
    memcpy(c + i * 8, &w, size - i * 8 < 8 ? size - i * 8 : 8);
  }
}

static inline bool pattern_ok(const void *p, size_t size, uint64_t tag) {
  const char *c = p;
  for (size_t i = 0; i * 8 < size; i++) {
    uint64_t w = pattern_word(tag, i);
    if (memcmp(c + i * 8, &w, size - i * 8 < 8 ? size - i * 8 : 8) != 0) return false;
  }
  return true;
}

static inline bool all_zero(const void *p, size_t size) {
  const char *c = p;
  for (size_t i = 0; i < size; i++)
    if (c[i] != 0) return false;
  return true;
}

/* Allocates and drops n objects of one size full of a foreign pattern: what was wrongly freed is now
 * overwritten. */
static HELPER void refill(size_t n, size_t size) {
  for (size_t i = 0; i < n; i++) {
    void *p = gc_alloc(size);
    REQUIRE(p != NULL);
    pattern_fill(p, size, UINT64_C(0xdead) + i);
  }
}

#endif
