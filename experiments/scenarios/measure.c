/* measure.c - the figures of each allocator, and its objects; see scenario.h.
 *
 * Owns:    how heap_alloc, heap_inuse, heap_usage are read from each allocator, how it is told to give memory
 *          back, what its memory limit is.
 * Promise: experiments/README.md defines the same four figures in words; this file is their only source.
 * Never:   allocates, except in lab_new and its kin.
 * Reading: scenario.h. */
#include <string.h>

#include "scenario.h"

static struct lab_figures figures;

#if defined(SCENARIO_HOLDFAST)

LAB_STEP void collect_and_release(void) {
  STALE_FORGET_REGISTERS();
  gc_release_memory();
}

static void read_heap(void) {
  static struct gc_stats stats; /* static: several KiB that need not be on the stack */
  gc_read_stats(&stats);
  figures.heap_alloc = stats.heap_alloc;
  figures.heap_inuse = stats.heap_inuse;
  figures.heap_usage = stats.heap_sys - stats.heap_released;
}

void lab_set_limit(uint64_t bytes) { gc_set_hard_limit(bytes ? bytes : SIZE_MAX); }
static bool refused(void) { return false; }

#elif defined(SCENARIO_BDWGC)

#include <gc/gc_mark.h>

LAB_STEP void collect_and_release(void) {
  STALE_FORGET_REGISTERS();
  GC_gcollect_and_unmap();
}

static void GC_CALLBACK add_object(void *object, size_t bytes, void *sum) {
  (void)object;
  *(uint64_t *)sum += bytes;
}

static void *GC_CALLBACK sum_objects(void *sum) {
  GC_enumerate_reachable_objects_inner(add_object, sum);
  return NULL;
}

/* It has no count of bytes in objects: those that the last collection marked, and what was allocated since. */
static void read_heap(void) {
  uint64_t marked = 0;
  GC_call_with_alloc_lock(sum_objects, &marked);
  figures.heap_alloc = marked + GC_get_bytes_since_gc();
  figures.heap_usage = GC_get_heap_size(); /* without what it has unmapped */
  figures.heap_inuse = figures.heap_usage - GC_get_free_bytes();
}

/* Refusals are told by the scenario, not by warnings. */
void lab_set_limit(uint64_t bytes) {
  GC_set_warn_proc(GC_ignore_warn_proc);
  GC_set_max_heap_size(bytes);
}
static bool refused(void) { return false; }

#else /* malloc and free */

#if defined(SCENARIO_JEMALLOC)

LAB_STEP void collect_and_release(void) {
  char purge[64];
  snprintf(purge, sizeof purge, "arena.%u.purge", (unsigned)MALLCTL_ARENAS_ALL);
  if (mallctl("thread.tcache.flush", NULL, NULL, NULL, 0) || mallctl(purge, NULL, NULL, NULL, 0))
    lab_die("jemalloc does not purge");
}

static uint64_t jemalloc_stat(const char *name) {
  size_t value = 0, length = sizeof value;
  if (mallctl(name, &value, &length, NULL, 0)) lab_die("jemalloc was built without %s", name);
  return value;
}

static void read_heap(void) {
  uint64_t epoch = 1;
  mallctl("epoch", NULL, NULL, &epoch, sizeof epoch);
  figures.heap_alloc = jemalloc_stat("stats.allocated");
  figures.heap_inuse = jemalloc_stat("stats.active");
  figures.heap_usage = jemalloc_stat("stats.resident");
}

#else /* glibc */

#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

LAB_STEP void collect_and_release(void) { malloc_trim(0); }

/* Resident bytes from the first page of the heap segment to its end. */
static uint64_t resident_heap(void) {
  static unsigned char present[4096];
  static uintptr_t start;
  uintptr_t end = (uintptr_t)sbrk(0), page = (uintptr_t)sysconf(_SC_PAGESIZE);
  uint64_t bytes = 0;
  if (!start) { /* the segment begins at or before the page of any object in it */
    void *first = malloc(16);
    start = (uintptr_t)first & ~(page - 1);
    free(first);
  }
  for (uintptr_t at = start; at < end; at += sizeof present * page) {
    size_t pages = (end - at + page - 1) / page;
    if (pages > sizeof present) pages = sizeof present;
    if (mincore((void *)at, pages * page, present)) return bytes;
    for (size_t i = 0; i < pages; i++) bytes += (present[i] & 1) * page;
  }
  return bytes;
}

/* glibc has no notion of a page in use. malloc_trim gives back every page without a chunk in it, so that, after it,
 * the resident pages of the heap segment are the pages in use. Chunks in its per-thread cache count as objects. */
static void read_heap(void) {
  struct mallinfo2 info = mallinfo2();
  figures.heap_alloc = info.uordblks + info.hblkhd;
  figures.heap_usage = figures.heap_inuse = resident_heap() + info.hblkhd;
}

#endif

static uint64_t limit;

void lab_set_limit(uint64_t bytes) { limit = bytes; }

/* Looks at every 4096th object: asking the kernel costs as much as a hundred allocations, trimming far more. */
static bool refused_now(void) {
  if (bench_rss() <= limit) return false;
  collect_and_release();
  return bench_rss() > limit;
}

static bool refused(void) {
  static size_t calls;
  return limit && ++calls % 4096 == 0 && refused_now();
}

#endif

/* ---- measuring ---- */

/* No locals, so that this frame, which stays during the collection, has no word that it did not set;
 * everything below it is wiped. */
LAB_NOINLINE void lab_measure(void) {
  stale_wipe_stack();
  collect_and_release();
  lab_peek();
}

LAB_NOINLINE void lab_peek(void) {
  read_heap();
  figures.resident = bench_rss();
}

const struct lab_figures *lab_figures(void) { return &figures; }

/* ---- allocating ---- */

LAB_NOINLINE void *lab_try_new(size_t size) { return refused() ? NULL : bench_alloc(size); }

/* Cleared because Go's memory is, and because what was never touched is not resident and so not heap usage. */
LAB_NOINLINE void *lab_try_new_noscan(size_t size) {
  void *object = refused() ? NULL : bench_alloc_noscan(size);
  return object ? memset(object, 0, size) : NULL;
}

static void *or_die(void *object) {
  if (!object) lab_die("out of memory");
  return object;
}

LAB_NOINLINE void *lab_new(size_t size) { return or_die(lab_try_new(size)); }
LAB_NOINLINE void *lab_new_noscan(size_t size) { return or_die(lab_try_new_noscan(size)); }
