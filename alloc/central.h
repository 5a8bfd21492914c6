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

void central_init(unsigned from, unsigned to); /* the lists of these classes */

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

/* ---- for compaction (alloc/compact.h): spans stay on their lists ---- */

/* Calls f on the listed and swept spans of the class in pages [from, to) that have a free slot, in order, until it
 * returns false. Returns the page where to go on. Under the class's lock throughout: a few thousand pages at most. */
typedef bool central_visit(void *arg, uint32_t page, unsigned live);
uint32_t central_walk(unsigned sc, uint32_t from, uint32_t to, central_visit *f, void *arg);

/* What compaction keeps: spans with more than `level` slots in use, and of those with as many the ones on pages
 * below `cut`. Objects in the other ones are moved there. */
struct keep_line {
  unsigned level;
  uint32_t cut;
};
GC_INLINE bool is_kept(const struct keep_line *k, uint32_t page, unsigned live) {
  return live > k->level || (live == k->level && page < k->cut);
}

/* Claims a slot of span `to` for the copy of an object in span `from`; the caller hands it out before it allows stops.
 * MOVE_STAYS: `from` is kept, or is not listed, so that some thread allocates from it or sweeps it. MOVE_NO_ROOM: `to` is
 * NO_PAGE, not listed, full, or not kept, or no longer. *group is where to look first. object NULL: only asks. */
enum move { MOVE_STAYS, MOVE_NO_ROOM, MOVE_DONE };
struct move_request {
  struct keep_line keep;
  uint32_t from, to;
  unsigned group; /* in and out */
};
enum move central_move(unsigned sc, struct move_request *r, char **object);

/* ---- for releasing inside spans (alloc/inside.h) ---- */

/* Takes a listed span that may have free slots off its list, swept or not: SPAN_SWEEPING and the caller's, who files it
 * with central_give. False when it is full, or not on a list of this class. */
bool central_take(unsigned sc, uint32_t page);

/* Counters of a class, for statistics: objects claimed by threads that ended or without a cache, objects freed. */
struct central_counts {
  atomic_word retired; /* [A] claimed by caches that are gone, net of what they gave back; by compaction; large */
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
