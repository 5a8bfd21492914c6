/* config.h - build-time constants, each with its unit and its reason. Run-time tunables are in options.def. */
#ifndef HOLDFAST_CONFIG_H
#define HOLDFAST_CONFIG_H

#include "runtime/base.h"

#ifndef GC_DEBUG
#define GC_DEBUG 0 /* 1: GC_CHECK, lock ranks, heap checker after each cycle, poison */
#endif
#ifndef GC_TORTURE
#define GC_TORTURE 0 /* 1: every allocation takes the slow path, collections by count, tiny work buffers */
#endif

#ifndef GC_WRAP
#define GC_WRAP 0 /* 1: for programs without a dynamic linker, runtime/interpose.c */
#endif

#define PAGE_SHIFT 13
#define PAGE_SIZE ((size_t)1 << PAGE_SHIFT) /* bytes; Go's heap page, the article's figures depend on it */
#define CHUNK_SIZE (4 * MIB)                /* bytes committed at a time: few large mappings (bdwgc#579) */
#define CHUNK_PAGES (CHUNK_SIZE / PAGE_SIZE)
#define HEAP_RESERVE_MAX ((size_t)1 << 40) /* bytes of address space asked for first */
#define HEAP_RESERVE_MIN (16 * MIB)        /* below this the library gives up */
#define SMALL_MAX 32768                    /* bytes; larger objects have a span of their own */
#define HEAP_MIN_GOAL (4 * MIB)            /* bytes; no cycle below, scaled by GC_PERCENT as in Go */

#define MARKERS_MAX 16                  /* threads marking at once */
#define MARK_BYTES_PER_WORKER (1 * MIB) /* live bytes that justify one more marker: waking costs ~50 us */
#define ROOT_PIECE (64 * KIB)           /* bytes of roots a marker takes at once */
#if GC_TORTURE
#define MARK_RING 4
#define MARK_STACK_WORDS ((size_t)1 << 11) /* overflow often */
#define MARK_CHUNK_WORDS 32
#else
#define MARK_RING 32                       /* candidates in flight; docs/collection.md: 32 to 48 are best here */
#define MARK_STACK_WORDS ((size_t)1 << 24) /* words per marker; 128 MiB of address space, touched on use */
#define MARK_CHUNK_WORDS 256               /* words of a large object scanned before the rest is put back */
#endif

#define SCAVENGE_RETAIN_PERCENT 10 /* of the heap goal, kept beyond it (Go: retainExtraPercent) */
#define SCAVENGE_STEP (64 * KIB)   /* bytes given back per step of the background thread */
#define SWEEP_BATCH 64             /* spans swept by one allocation before it takes fresh pages */

#endif
