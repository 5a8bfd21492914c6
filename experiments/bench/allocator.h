/* allocator.h - the allocator under test, chosen by one of BENCH_HOLDFAST, BENCH_GLIBC, BENCH_JEMALLOC,
 * BENCH_MIMALLOC, BENCH_BDWGC.
 * Owns:    the only lines of the benchmarks that differ between allocators.
 * Promise: bench_alloc returns zeroed memory; bench_drop frees it (malloc family) or does nothing
 *          (collectors). All hide the pointer from the compiler in the same way, because gcc removes a
 *          calloc and free whose memory nobody else sees. bench_cycles counts collections so far;
 *          bench_pause_max(n) is the longest stop, ns, after the first n; 0 without BENCH_HAS_PAUSES.
 * Rule:    programs keep what must live in static data or on the stack: no collector searches malloc's
 *          memory or bench_map's. */
#ifndef BENCH_ALLOCATOR_H
#define BENCH_ALLOCATOR_H

#include <stdio.h>
#include <stdlib.h>

#include "support.h"

/* The compiler must believe that p and all memory were read and changed here. Costs no instruction. */
#define BENCH_BARRIER(p) __asm__ volatile("" : "+r"(p) : : "memory")

#if defined(BENCH_HOLDFAST)

#include <gc_alloc.h>
#include <gc_stats.h>
#define BENCH_NAME "holdfast"
#define BENCH_COLLECTS 1
#define BENCH_HAS_PAUSES 1
#define BENCH_ALLOC(size) gc_alloc(size)
#define BENCH_ALLOC_FILLED(size) gc_alloc(size)
#define BENCH_ALLOC_NOSCAN(size) gc_alloc_noscan(size)
#define BENCH_FREE(p) ((void)(p))
#define BENCH_COLLECT() gc_collect()
#define BENCH_PAUSE() gc_disable()
#define BENCH_RESUME() gc_enable()

static inline void bench_allocator_init(void) { gc_init(); }
static inline void bench_allocator_version(char *out, size_t size) { snprintf(out, size, "(this tree)"); }
static inline uint64_t bench_cycles(void) {
  struct gc_stats stats;
  gc_read_stats(&stats);
  return stats.num_gc;
}
/* The ring of pauses forgets all but the last GC_STATS_PAUSES cycles. */
static inline uint64_t bench_pause_max(uint64_t since) {
  struct gc_stats stats;
  uint64_t longest = 0;
  gc_read_stats(&stats);
  if (stats.num_gc > since + GC_STATS_PAUSES) since = stats.num_gc - GC_STATS_PAUSES;
  for (uint64_t n = since; n < stats.num_gc; n++)
    if (stats.pause_ns[n % GC_STATS_PAUSES] > longest) longest = stats.pause_ns[n % GC_STATS_PAUSES];
  return longest;
}

#elif defined(BENCH_BDWGC)

/* Before gc.h: makes pthread_create the collector's, so that it knows the second thread. */
#define GC_THREADS
#include <gc/gc.h>
#define BENCH_NAME "bdwgc"
#define BENCH_COLLECTS 1
#define BENCH_HAS_PAUSES 0
#define BENCH_ALLOC(size) GC_MALLOC(size)
#define BENCH_ALLOC_FILLED(size) GC_MALLOC(size)
#define BENCH_ALLOC_NOSCAN(size) GC_MALLOC_ATOMIC(size)
#define BENCH_FREE(p) ((void)(p))
#define BENCH_COLLECT() GC_gcollect()
#define BENCH_PAUSE() GC_disable()
#define BENCH_RESUME() GC_enable()

static inline void bench_allocator_init(void) {
  GC_INIT();
  GC_allow_register_threads();
}
static inline void bench_allocator_version(char *out, size_t size) {
  unsigned v = GC_get_version();
  snprintf(out, size, "%u.%u.%u", v >> 16, v >> 8 & 255, v & 255);
}
static inline uint64_t bench_cycles(void) { return GC_get_gc_no(); }
static inline uint64_t bench_pause_max(uint64_t since) { return since & 0; }

#elif defined(BENCH_GLIBC) || defined(BENCH_JEMALLOC) || defined(BENCH_MIMALLOC)

#define BENCH_COLLECTS 0
#define BENCH_HAS_PAUSES 0
#define BENCH_ALLOC(size) calloc(1, size)
#define BENCH_ALLOC_FILLED(size) malloc(size)
#define BENCH_ALLOC_NOSCAN(size) malloc(size)
#define BENCH_FREE(p) free(p)
#define BENCH_COLLECT() ((void)0)
#define BENCH_PAUSE() ((void)0)
#define BENCH_RESUME() ((void)0)

static inline uint64_t bench_cycles(void) { return 0; }
static inline uint64_t bench_pause_max(uint64_t since) { return since & 0; }

#if defined(BENCH_GLIBC)
#include <gnu/libc-version.h>
#define BENCH_NAME "glibc"
static inline void bench_allocator_init(void) {}
static inline void bench_allocator_version(char *out, size_t size) {
  snprintf(out, size, "%s", gnu_get_libc_version());
}

#elif defined(BENCH_JEMALLOC)
#include <jemalloc/jemalloc.h>
#define BENCH_NAME "jemalloc"
/* Whether calloc is jemalloc's depends on the order of the libraries, so it is checked. */
static inline void bench_allocator_init(void) {
  uint64_t before = 0, after = 0;
  size_t length = sizeof before;
  mallctl("thread.allocated", &before, &length, NULL, 0);
  void *p = calloc(1, 64);
  BENCH_BARRIER(p);
  mallctl("thread.allocated", &after, &length, NULL, 0);
  free(p);
  if (before == after) bench_die("calloc is not jemalloc's");
}
static inline void bench_allocator_version(char *out, size_t size) {
  const char *version = "?";
  size_t length = sizeof version;
  mallctl("version", &version, &length, NULL, 0);
  snprintf(out, size, "%s", version);
}

#else
#include <mimalloc.h>
#define BENCH_NAME "mimalloc"
static inline void bench_allocator_init(void) {
  void *p = calloc(1, 64);
  BENCH_BARRIER(p);
  if (!mi_is_in_heap_region(p)) bench_die("calloc is not mimalloc's");
  free(p);
}
static inline void bench_allocator_version(char *out, size_t size) {
  int v = mi_version();
  snprintf(out, size, "%d.%d.%d", v / 100, v / 10 % 10, v % 10);
}
#endif

#else
#error "define one of BENCH_HOLDFAST BENCH_GLIBC BENCH_JEMALLOC BENCH_MIMALLOC BENCH_BDWGC"
#endif

/* No NULL test: every caller writes to the object at once, so a refusal ends the program there. */
static inline void *bench_alloc(size_t size) {
  void *p = BENCH_ALLOC(size);
  BENCH_BARRIER(p);
  return p;
}

/* For objects that the program writes entirely at once: malloc need not clear them, and neither need a
 * collector that does not search them (_noscan). */
static inline void *bench_alloc_filled(size_t size) {
  void *p = BENCH_ALLOC_FILLED(size);
  BENCH_BARRIER(p);
  return p;
}

static inline void *bench_alloc_noscan(size_t size) {
  void *p = BENCH_ALLOC_NOSCAN(size);
  BENCH_BARRIER(p);
  return p;
}

static inline void bench_drop(void *p) {
  BENCH_BARRIER(p);
  BENCH_FREE(p);
}

/* First line of every main. With --version it prints that and ends the program. */
static inline void bench_begin(int argc, char **argv, const struct bench_option *options, size_t count) {
  bench_allocator_init();
  if (!bench_parse(argc, argv, options, count)) return;
  char version[128];
  bench_allocator_version(version, sizeof version);
  bench_print_version(BENCH_NAME, version);
  exit(0);
}

#endif
