/* gc_frag.h - why memory does not come back: which span classes, spans and call sites hold it, and how to win it back.
 * Objects never move here by themselves; a program that walks its own structures can move them (below, compaction).
 * Units: bytes and counts, uint64_t. Words as in docs/README.md. Every function may be called from any thread at any
 * time, but not from signal handlers. */
#ifndef HOLDFAST_GC_FRAG_H
#define HOLDFAST_GC_FRAG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "gc_alloc.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- metrics per span class ---- */

#define GC_FRAG_BINS 10 /* bins of the occupancy histogram */
#define GC_FRAG_CLASSES \
  136 /* span classes: 68 size classes, each scanned (even index; typed ones too) and noscan (odd) */

/* Objects are slots that hold them; a block that small objects share is one. Not counted is what the last cycle found
 * unreachable, and what threads have claimed and not handed out; counted is what gc_free frees while a cycle marks, until
 * the cycle has ended.
 * The last three tell what would come back in different ways; they do not add up. */
struct gc_frag_class {
  uint64_t size;       /* bytes of a slot; 0 for large objects */
  uint64_t spans;      /* spans in use, those of thread caches included */
  uint64_t span_bytes; /* bytes of their pages */
  uint64_t slots;      /* places for objects in them; one in the span of a large object */
  uint64_t objects;    /* see above */
  uint64_t live_bytes; /* bytes of their slots */
  uint64_t free_bytes; /* span_bytes - live_bytes: free slots and what is left over at a span's end */

  /* Spans by occupancy: bin i holds i/10 <= objects/slots < (i+1)/10, and full ones are in the last. */
  uint64_t histogram[GC_FRAG_BINS];
  uint64_t exactly_one; /* spans with one object; of large objects, each that is reachable */

  uint64_t by_compaction; /* bytes: if the objects lay in as few spans as can hold them */
  uint64_t
      by_os_pages; /* bytes of whole free OS pages inside partly used spans, not released yet: can be, nothing moves */
  /* Bytes: if spans whose objects do not overlap shared their memory, two and two (as in Mesh, Powers et al., PLDI 2019).
   * An estimate from below, from a bounded search among spans that no thread allocates from. */
  uint64_t by_pairing;
};

struct gc_frag {
  uint64_t struct_size;       /* sizeof(struct gc_frag) in the library that filled it */
  uint64_t cycle;             /* number of the last completed cycle: what "unreachable" refers to */
  uint64_t took_ns;           /* time the call took */
  struct gc_frag_class total; /* sums over all classes; size is 0 */
  struct gc_frag_class by_class[GC_FRAG_CLASSES];
};

/* Fills *out. The world is not stopped: each span is counted at one moment, and spans that threads allocate from count as
 * they were then. A walk in which a cycle ends is repeated, at most twice. In a program that does not allocate meanwhile
 * the figures are exact, and after gc_collect the totals are those of gc_read_stats: objects its heap_objects, live_bytes
 * its heap_alloc, span_bytes its heap_inuse. */
GC_API void gc_read_frag(struct gc_frag *out);

/* Print as one JSON object (classes without spans left out), or as an aligned table. Return 0, or -1 when writing failed. */
GC_API int gc_frag_print_json(FILE *to, const struct gc_frag *frag);
GC_API int gc_frag_print_table(FILE *to, const struct gc_frag *frag);

/* In words: the span classes from which most bytes could be won, how (release, compaction), and, while sampling is on, the
 * call sites that pin them. Returns 0, or -1 when writing failed. */
GC_API int gc_advice(FILE *to);

/* ---- allocation sites, by sampling ---- */

/* One allocation per `bytes` allocated, on average (the distance is random), is noted with its call stack; 0: off. Also
 * GC_PROFILE=BYTES from the start. The default while on is 512 KiB, as in Go. Returns the distance before. */
GC_API uint64_t gc_profile_set_rate(uint64_t bytes);

/* In words: call stacks that own objects in spans of which less than percent % is occupied, and the bytes that each
 * keeps from being released; estimates, scaled up from the samples. Returns 0, or -1 when writing failed. */
GC_API int gc_profile_print(FILE *to, unsigned percent);

/* A gzipped profile in the format of pprof, with the sample types alloc_objects, alloc_space, inuse_objects,
 * inuse_space, pinned_objects, pinned_space (pinned: the bytes of a span are shared among the samples' objects in it, for spans
 * less than half full). Returns 0, or -1 with errno. */
GC_API int gc_profile_write(int fd);

/* ---- compaction by the program ---- */

/* Whether p (the start of an object) had better be reallocated: its span is sparse and a denser one of its class has
 * room. NULL, foreign addresses, large and zero-size objects: false. */
GC_API bool gc_should_move(const void *p);

/* A copy of the object at p, in the densest span of its class that has room, never in a sparser one than p's own. Returns p itself
 * when there is none or memory is refused, so that p = gc_reallocate(p) is always right once every other reference to p
 * is replaced too. The old object is not freed: the next cycle does that when nothing refers to it. Same size, same
 * alignment, same kind. Interior pointers are the caller's to adjust. */
GC_API void *gc_reallocate(void *p);

/* Returns to the system the free OS pages inside partly used spans; objects stay where they are. Also part of
 * gc_release_memory when GC_RELEASE_INSIDE=on. Returns the bytes released (gc_stats.h: heap_released_inside). */
GC_API uint64_t gc_release_inside(void);

/* ---- heap map ---- */

/* Writes every span's class, place, age and occupancy in the format of docs/heapmap.md, as a stream, without stopping the
 * world; while allocation sites are sampled (above) also which call stacks own the noted objects in each span. Returns 0,
 * or -1 with errno. */
GC_API int gc_dump_heap(int fd);

#ifdef __cplusplus
}
#endif
#endif
