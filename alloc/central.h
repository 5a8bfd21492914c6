/* central.h - per span class, the spans that no thread's cache holds: with free slots or without, swept
 * since the last cycle or not. Every span of the heap is on exactly one of these lists, in one cache, or in
 * the hands of one sweeper (INV-SPAN-1). Large objects are spans of classes 0 and 1 and always "full".
 *
 * Which half of a pair of lists is the swept one follows from the heap's generation, so the end of a
 * cycle turns every swept list into an unswept one by adding one. Callers defer stops. */
#ifndef HOLDFAST_CENTRAL_H
#define HOLDFAST_CENTRAL_H

#include "alloc/span.h"
#include "runtime/lock.h"

void central_init(void);

/* A cache leaves span `old` (NO_PAGE: none; used_up: it claimed all slots) and gets another with at least one free
 * slot, SPAN_SWEEPING and the caller's: from the swept lists, by sweeping, or a new one; NO_PAGE when memory is
 * refused. heap.live counts all of the new span as handed out, and no longer what of the old one was not. */
uint32_t central_exchange(unsigned sc, uint32_t old, bool used_up);

/* Files a span that the caller owns (SPAN_SWEEPING, live counted, swept): free pages go to the page heap
 * when no slot is in use, else the span goes on a list. */
void central_give(unsigned sc, uint32_t page);

/* Sweeps and files at most `most` unswept spans of the class (and at most SWEEP_BATCH); returns how many there
 * were. *freed_pages grows by the pages given back. */
unsigned central_sweep(unsigned sc, unsigned most, size_t *freed_pages);

/* gc_free of an allocated slot of a small class: stores 0 under the lock, and moves a listed span where it
 * now belongs. False when the span is in some sweeper's hands or unswept: span_wait_swept, then again. */
bool central_free_slot(unsigned sc, uint32_t page, atomic_u8 *state);

/* A span leaves a cache that does not want another: is counted, and filed or given to the page heap; what of it was
 * not used is taken off heap.live. The slots of mask, whose bytes are at bytes, were claimed and not handed out: they
 * become free, unless marking runs; returns whether they did. */
bool central_return(unsigned sc, uint32_t page, atomic_u8 *bytes, uint64_t mask);

/* Takes a listed and swept span off its list: SPAN_SWEEPING and the caller's. False when some sweeper has it.
 * For gc_free of large objects. */
bool central_claim(unsigned sc, uint32_t page);

/* Counters of a class, for statistics: objects claimed by threads that ended, objects freed. */
struct central_counts {
  atomic_word retired; /* [A] claimed by caches that are gone, net of what they gave back */
  atomic_word freed;   /* [A] */
  /* Large objects differ in size, so their bytes are counted as well. */
  atomic_word large_bytes, large_freed_bytes; /* [A] ever allocated, ever freed */
};
struct central_counts *central_counts(unsigned sc);

/* Under the class's lock a listed span stays listed, a cached one cached, and gc_free waits. Short holds: allocation
 * waits as well. */
void central_lock(unsigned sc);
void central_unlock(unsigned sc);

/* Calls f on every listed span; no locks: the world is stopped or the caller holds the class's. */
void central_each(unsigned sc, void (*f)(uint32_t page, bool partial, bool swept, void *arg), void *arg);

#endif
