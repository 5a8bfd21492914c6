/* gc_stats.h - what the heap is made of and what collecting cost, in the terms of Go's MemStats.
 * Units: bytes, nanoseconds, counts; all uint64_t. Each field says what it does not count. */
#ifndef HOLDFAST_GC_STATS_H
#define HOLDFAST_GC_STATS_H

#include <stdint.h>
#include <stdio.h>

#include "gc_alloc.h"

#ifdef __cplusplus
extern "C" {
#endif

#define GC_STATS_PAUSES 256 /* entries of the pause rings */
#define GC_STATS_CLASSES 68 /* size classes; class 0 stands for large objects */
#define GC_STATS_BUCKETS 32 /* buckets of the histograms */

/* One size class, scanned, noscan and typed objects together. */
struct gc_stats_class {
  uint64_t size;    /* bytes of a slot; 0 for large objects                                          */
  uint64_t mallocs; /* objects allocated so far; a shared 16-byte block counts once                    */
  uint64_t frees;   /* objects freed so far, by sweeping or gc_free                                    */
};

struct gc_stats {
  uint64_t struct_size; /* sizeof(struct gc_stats) in the library that filled it */

  /* -- objects -- */
  uint64_t alloc;       /* as heap_alloc */
  uint64_t total_alloc; /* bytes of slots ever allocated; never falls. Not counted: rounding inside spans */
  uint64_t sys;         /* bytes obtained from the system for heap and metadata. Not counted: thread stacks,
                           code, and address space that is only reserved */
  uint64_t mallocs;     /* objects ever allocated, each noscan object under 16 bytes included */
  uint64_t frees;       /* objects ever freed. As in Go, all but one of the objects that share a block count here at
                           once: mallocs - frees is heap_objects */

  /* -- heap -- */
  uint64_t heap_alloc;    /* bytes of slots that hold objects, the unreachable not yet swept included.
                             Not counted: free slots and the rest of a span */
  uint64_t heap_sys;      /* bytes of heap committed, in steps of 4 MiB. Not counted: the reservation */
  uint64_t heap_idle;     /* bytes of pages in no span: heap_sys - heap_inuse. Released ones included */
  uint64_t heap_inuse;    /* bytes of pages in spans in use. heap_inuse - heap_alloc bounds fragmentation */
  uint64_t heap_released; /* bytes of idle pages that are not resident: given back, or never touched */
  /* Bytes of free OS pages inside spans in use that are given back now; objects stay around them. Not counted in
   * heap_released, nor taken off heap_inuse and what the limits below count. */
  uint64_t heap_released_inside;
  uint64_t heap_objects; /* slots that hold objects; a shared 16-byte block counts once */

  /* -- metadata -- */
  uint64_t
      gc_sys; /* bytes of metadata: page tables, slot maps, records. Not counted: mark stacks, tables of allocation sites */

  /* -- limits, for heap_sys - heap_released + gc_sys -- */
  uint64_t memory_limit; /* bytes; UINT64_MAX: none. Soft: collecting keeps below as far as it can */
  uint64_t hard_limit;   /* bytes; UINT64_MAX: none. Allocation that would pass it is refused */

  /* -- collections -- */
  uint64_t next_gc;                    /* heap_alloc at which the next cycle should have ended; UINT64_MAX when off */
  uint64_t last_gc;                    /* end of the last cycle, ns since 1970; 0 before the first */
  uint64_t pause_total_ns;             /* time the world was stopped, all cycles */
  uint64_t num_gc;                     /* cycles completed */
  uint64_t num_forced_gc;              /* of these, asked for by the program or by refused memory */
  uint64_t gc_cpu_ns;                  /* CPU time of collecting: marking on all threads. Not counted: sweeping */
  uint64_t gc_assist_ns;               /* of this, what threads that allocated had to give. Not counted: waiting */
  uint64_t live_bytes;                 /* bytes marked by the last cycle; may count an object twice, errs high */
  uint64_t stack_scan_bytes;           /* bytes of stacks and registers searched by the last cycle */
  uint64_t root_scan_bytes;            /* bytes of all roots searched by the last cycle, stacks included */
  uint64_t pause_ns[GC_STATS_PAUSES];  /* ring: the pause of cycle n is at (n + 255) % 256; ns */
  uint64_t pause_end[GC_STATS_PAUSES]; /* ring: its end, ns since 1970 */
  uint64_t
      pause_hist[GC_STATS_BUCKETS]; /* pauses by length: bucket i holds [2^i, 2^(i+1)) ns, the last all longer ones */
  uint64_t
      assist_hist[GC_STATS_BUCKETS]; /* the same of how long an allocation was kept to help marking, waiting included */

  struct gc_stats_class by_size[GC_STATS_CLASSES];
};

/* Fills *out. Other threads run on: what they allocate during the call may be missing. Within one
 * quiet program the figures agree with each other exactly. Not async-signal-safe. */
GC_API void gc_read_stats(struct gc_stats *out);

/* Print as one JSON object, or as an aligned table. Return 0, or -1 when writing failed. */
GC_API int gc_stats_print_json(FILE *to, const struct gc_stats *stats);
GC_API int gc_stats_print_table(FILE *to, const struct gc_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
