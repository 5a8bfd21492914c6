/* hide.h - telling AddressSanitizer that the program may not touch some memory, so that it reports the instruction that does. Its
 * interface is linked when the program has it: a call where there is none is a test of a constant. Our own reads and writes go through
 * code that is not instrumented; what is handed to memset and the like must be shown first. */
#ifndef HOLDFAST_HIDE_H
#define HOLDFAST_HIDE_H

#include "runtime/base.h"

extern void __asan_poison_memory_region(const volatile void *p, size_t n) __attribute__((weak));
extern void __asan_unpoison_memory_region(const volatile void *p, size_t n) __attribute__((weak));

GC_INLINE void memory_hide(const volatile void *p, size_t n) {
  if (__asan_poison_memory_region != NULL) __asan_poison_memory_region(p, n);
}

GC_INLINE void memory_show(const volatile void *p, size_t n) {
  if (__asan_unpoison_memory_region != NULL) __asan_unpoison_memory_region(p, n);
}

#endif
