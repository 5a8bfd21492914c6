/* base.h - words every file of the library uses: types, attributes, rounding, and the guard that keeps
 * internal headers out of programs. Include it first. Never includes anything of ours. */
#ifndef HOLDFAST_BASE_H
#define HOLDFAST_BASE_H

#ifndef GC_IMPL
#error "internal header of Holdfast: programs include the headers gc_*.h of api"
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

_Static_assert(sizeof(void *) == 8, "Holdfast needs 64-bit addresses");

#define GC_LIKELY(x) __builtin_expect(!!(x), 1)
#define GC_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define GC_NOINLINE __attribute__((noinline))
#define GC_INLINE static inline __attribute__((always_inline))
#define GC_NORETURN __attribute__((noreturn))
#define GC_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define GC_EXPORT __attribute__((visibility("default")))

/* Conservative scanning reads memory that the program owns and may be writing: neither the address nor
 * the thread sanitizer can know that this is meant. Only racy_load_word and its callers carry it. */
#define GC_NO_SANITIZE __attribute__((no_sanitize("address", "thread", "undefined")))

/* All mutable static data of the library sits in one section, so that root scanning can leave it out in
 * a statically linked program too: the collector's own words must never look like roots. */
#define GC_OWN_DATA __attribute__((section("holdfast_data")))

/* Code between a public function that allocates and the noting of a call stack (api/profile.c): all in one section, so that
 * these frames are known as ours, in a statically linked program too. Public functions that allocate carry it, and the
 * start of threads. */
#define GC_ENTRY __attribute__((section("holdfast_entry")))

/* Thread-local variables must be reachable from a signal handler: no lazy allocation by the loader. */
#define GC_TLS __thread __attribute__((tls_model("initial-exec")))

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)

GC_INLINE size_t round_up(size_t x, size_t power_of_two) { return (x + power_of_two - 1) & ~(power_of_two - 1); }
GC_INLINE size_t round_down(size_t x, size_t power_of_two) { return x & ~(power_of_two - 1); }
GC_INLINE size_t min_size(size_t a, size_t b) { return a < b ? a : b; }
GC_INLINE size_t max_size(size_t a, size_t b) { return a > b ? a : b; }

/* Set bits. The builtin is a call into the compiler's library where the instruction cannot be assumed. */
GC_INLINE unsigned count_bits(uint64_t x) {
  x -= x >> 1 & 0x5555555555555555u;
  x = (x & 0x3333333333333333u) + (x >> 2 & 0x3333333333333333u);
  x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu;
  return (unsigned)(x * 0x0101010101010101u >> 56);
}

#define TIME_BUCKETS 32
/* Which of them a time belongs to: i holds [2^i, 2^(i+1)) ns, the last all longer ones. */
GC_INLINE unsigned time_bucket(uint64_t ns) {
  unsigned bucket = ns == 0 ? 0 : 63u - (unsigned)__builtin_clzll(ns);
  return bucket < TIME_BUCKETS ? bucket : TIME_BUCKETS - 1;
}

/* A half-open range of addresses. */
struct range {
  char *lo, *hi;
};

#endif
