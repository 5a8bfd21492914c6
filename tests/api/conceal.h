/* conceal.h - addresses that no collector sees, for tests of any interface: it includes none.
 * Owns:     hidden addresses (complemented, so that no word looks like a pointer), wiping stale words off the stack.
 * Promises: a hidden address keeps nothing alive. */
#ifndef HOLDFAST_TEST_CONCEAL_H
#define HOLDFAST_TEST_CONCEAL_H

#include <stddef.h>
#include <stdint.h>

#define NOINLINE __attribute__((noinline))
#define HELPER __attribute__((noinline, unused))

/* A word that the compiler may neither delete nor keep in a register only. */
typedef void *volatile root;

typedef struct hidden {
  uintptr_t bits;
} hidden;

/* The empty asm keeps the compiler from seeing that reveal undoes hide, and so from keeping the pointer. */
static inline hidden hide(const void *p) {
  uintptr_t bits = ~(uintptr_t)p;
  __asm__ volatile("" : "+r"(bits));
  return (hidden){bits};
}

static inline void *reveal(hidden h) {
  uintptr_t bits = h.bits;
  __asm__ volatile("" : "+r"(bits));
  return (void *)~bits;
}

/* Overwrites what earlier calls left below this frame. */
static HELPER void scrub_stack(void) {
  volatile char dead[16 * 1024];
  for (size_t i = 0; i < sizeof dead; i++) dead[i] = 0;
  __asm__ volatile("" : : "r"(dead) : "memory");
}

#endif
