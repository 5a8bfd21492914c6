/* hide.h - telling AddressSanitizer and Valgrind that the program may not touch some memory, so that they report the instruction that
 * does. The sanitizer's interface is linked when the program has it: a call where there is none is a test of a constant. Valgrind's requests
 * are a few instructions that do nothing elsewhere; known where its header is at build time.
 * Our own reads and writes go through code that is not instrumented, and for Valgrind is in api/holdfast.supp; what is handed to memset and the
 * like must be shown first. */
#ifndef HOLDFAST_HIDE_H
#define HOLDFAST_HIDE_H

#include "runtime/base.h"

#ifdef __has_include
#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#endif
#endif

extern void __asan_poison_memory_region(const volatile void *p, size_t n) __attribute__((weak));
extern void __asan_unpoison_memory_region(const volatile void *p, size_t n) __attribute__((weak));

GC_INLINE void memory_hide(const volatile void *p, size_t n) {
  if (__asan_poison_memory_region != NULL) __asan_poison_memory_region(p, n);
#ifdef VALGRIND_MAKE_MEM_NOACCESS
  VALGRIND_MAKE_MEM_NOACCESS(p, n);
#endif
}

GC_INLINE void memory_show(const volatile void *p, size_t n) {
  if (__asan_unpoison_memory_region != NULL) __asan_unpoison_memory_region(p, n);
#ifdef VALGRIND_MAKE_MEM_DEFINED
  VALGRIND_MAKE_MEM_DEFINED(p, n);
#endif
}

#endif
