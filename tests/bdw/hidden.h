/* hidden.h - how a test of the drop-in knows objects that it does not keep alive.
 * Owns:     hidden addresses, contents whose words never look like pointers, wiping stale words off the stack.
 * Promises: what it uses is in the other library's header, so that a test that includes it can be run on that library, too.
 * Never:    expects that every unreachable object goes: a stale word may keep a few. Of n, MOSTLY(k, n) asks for 95 of 100. */
#ifndef HOLDFAST_TEST_BDW_HIDDEN_H
#define HOLDFAST_TEST_BDW_HIDDEN_H

#undef GC_DEBUG /* of debug builds of ours; there it chooses other macros */
#define GC_THREADS
#include <gc/gc.h>
#include <gc/javaxfc.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "../system/cases.h"

#define NOINLINE __attribute__((noinline))
#define HELPER __attribute__((noinline, unused))

/* The empty asm keeps the compiler from seeing that one undoes the other, and so from keeping the pointer. */
static inline void *hidden(const void *p) {
  uintptr_t bits = ~(uintptr_t)p;
  __asm__ volatile("" : "+r"(bits));
  return (void *)bits;
}

static HELPER void scrub_stack(void) {
  volatile char dead[16 * 1024];
  for (size_t i = 0; i < sizeof dead; i++) dead[i] = 0;
  __asm__ volatile("" : : "r"(dead) : "memory");
}

static HELPER void collect(void) {
  scrub_stack();
  GC_gcollect();
}

#define REQUIRE_MOSTLY(k, n)                                                    \
  do {                                                                          \
    size_t k_ = (k), n_ = (n);                                                  \
    REQUIRE_MSG(k_ <= n_ && k_ * 100 >= n_ * 95, "%s: %zu of %zu", #k, k_, n_); \
  } while (0)

/* The top byte is never that of an address. */
static inline void fill(void *p, size_t words, uint64_t tag) {
  uint64_t *w = p;
  for (size_t i = 0; i < words; i++) w[i] = rng_mix(tag + i) | UINT64_C(0xff) << 56;
}

static inline bool is_filled(const void *p, size_t words, uint64_t tag) {
  const uint64_t *w = p;
  for (size_t i = 0; i < words; i++)
    if (w[i] != (rng_mix(tag + i) | UINT64_C(0xff) << 56)) return false;
  return true;
}

/* Allocates and drops n objects of one size, full of something else: what was wrongly freed is overwritten now. */
static HELPER void refill(size_t n, size_t size) {
  for (size_t i = 0; i < n; i++) {
    void *p = GC_MALLOC_ATOMIC(size);
    REQUIRE(p != NULL);
    fill(p, size / 8, UINT64_C(0xdead00) + i);
  }
}

#endif
