/* atomic.h - the only place that names libatomic_ops. The order is part of each name, so grep audits it.
 * Three widths: word (8 bytes), u32, u8. Plain access to a field of these types is a claim that the
 * field's comment justifies. */
#ifndef HOLDFAST_ATOMIC_H
#define HOLDFAST_ATOMIC_H

#include "runtime/base.h"

#include <atomic_ops.h>

_Static_assert(sizeof(AO_t) == 8, "AO_t is a word");
_Static_assert(sizeof(unsigned int) == 4, "unsigned int is 32 bits");

typedef volatile AO_t atomic_word;
typedef volatile unsigned int atomic_u32;
typedef volatile unsigned char atomic_u8;

GC_INLINE uint64_t atomic_load_relaxed(const atomic_word *p) { return AO_load(p); }
GC_INLINE uint64_t atomic_load_acquire(const atomic_word *p) { return AO_load_acquire(p); }
GC_INLINE void atomic_store_relaxed(atomic_word *p, uint64_t v) { AO_store(p, v); }
GC_INLINE void atomic_store_release(atomic_word *p, uint64_t v) { AO_store_release(p, v); }
GC_INLINE uint64_t atomic_add(atomic_word *p, uint64_t v) { return AO_fetch_and_add_full(p, v); }
GC_INLINE uint64_t atomic_sub(atomic_word *p, uint64_t v) { return AO_fetch_and_add_full(p, (AO_t)0 - v); }

GC_INLINE bool atomic_cas(atomic_word *p, uint64_t old, uint64_t new_value) {
  return AO_compare_and_swap_full(p, old, new_value) != 0;
}

/* A counter with one writer: a plain add, made of two relaxed accesses so that readers never see a tear. */
GC_INLINE void atomic_own_add(atomic_word *p, uint64_t v) { AO_store(p, AO_load(p) + v); }

GC_INLINE unsigned atomic32_load_relaxed(const atomic_u32 *p) { return AO_int_load(p); }
GC_INLINE unsigned atomic32_load_acquire(const atomic_u32 *p) { return AO_int_load_acquire(p); }
GC_INLINE void atomic32_store_relaxed(atomic_u32 *p, unsigned v) { AO_int_store(p, v); }
GC_INLINE void atomic32_store_release(atomic_u32 *p, unsigned v) { AO_int_store_release(p, v); }
GC_INLINE unsigned atomic32_add(atomic_u32 *p, unsigned v) { return AO_int_fetch_and_add_full(p, v); }
GC_INLINE unsigned atomic32_sub(atomic_u32 *p, unsigned v) { return AO_int_fetch_and_add_full(p, 0u - v); }
GC_INLINE bool atomic32_cas(atomic_u32 *p, unsigned old, unsigned new_value) {
  return AO_int_compare_and_swap_full(p, old, new_value) != 0;
}
GC_INLINE unsigned atomic32_swap(atomic_u32 *p, unsigned v) {
  unsigned old;
  do old = AO_int_load(p);
  while (!AO_int_compare_and_swap_full(p, old, v));
  return old;
}

GC_INLINE unsigned atomic8_load_relaxed(const atomic_u8 *p) { return AO_char_load(p); }
GC_INLINE unsigned atomic8_load_acquire(const atomic_u8 *p) { return AO_char_load_acquire(p); }
GC_INLINE void atomic8_store_relaxed(atomic_u8 *p, unsigned v) { AO_char_store(p, (unsigned char)v); }
GC_INLINE void atomic8_store_release(atomic_u8 *p, unsigned v) { AO_char_store_release(p, (unsigned char)v); }

/* Orders a thread against a signal handler that runs on it: only the compiler may not move accesses. */
GC_INLINE void signal_fence(void) { __asm__ volatile("" ::: "memory"); }

/* Later loads are not done before earlier ones. */
GC_INLINE void read_fence(void) { AO_nop_read(); }

/* Later stores are not seen before earlier ones. */
GC_INLINE void write_fence(void) { AO_nop_write(); }

/* A full fence between threads. */
GC_INLINE void full_fence(void) { AO_nop_full(); }

GC_INLINE void cpu_relax(void) {
#if defined(__x86_64__)
  __asm__ volatile("pause" ::: "memory");
#elif defined(__aarch64__)
  __asm__ volatile(
      "isb" ::
          : "memory"); /* yield is a no-operation on most of these processors; this takes as long as pause */
#else
  __asm__ volatile("" ::: "memory");
#endif
}

typedef uintptr_t __attribute__((may_alias)) scanned_word;

/* The one door for reading memory that belongs to the program while it may be written. */
GC_INLINE GC_NO_SANITIZE uintptr_t racy_load_word(const void *p) { return *(const volatile scanned_word *)p; }

#endif
