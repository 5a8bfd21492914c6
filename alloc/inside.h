/* inside.h - free OS pages inside partly used spans, given back to the system while the objects around them stay.
 *
 * One bit per OS page of the reservation says which are given back now. A set bit lies in a small span, all slots that the OS
 * page touches are free, and their memory reads as zero or (GC_SCAVENGE=lazy) as it was: less than what is believed of any
 * free slot, and as much as a span promises that was zero from the start.                             INV-INSIDE-1
 * The bit is cleared by whoever claims one of the slots, or gives the span's pages back; both look only while any bit is set at
 * all. Bits of a span are changed by who has it in hand, neighbours' in the same word at the same time.
 *
 * Not while markers run beside the program: nothing would be lost (docs/compaction.md), but the tracker's checker would find
 * pages changed that nobody wrote. The caller keeps cycles out. */
#ifndef HOLDFAST_INSIDE_H
#define HOLDFAST_INSIDE_H

#include "alloc/span.h"

/* In a line of its own: every refill reads it. */
extern struct inside {
  atomic_word bytes; /* [A] given back now: OS pages with a set bit */
  atomic_word *bits; /* [const] once set, which is before bytes is; entries [A] */
} __attribute__((aligned(64))) inside;

/* Slots in [lo, hi) were claimed, or the span there is given up. */
void inside_forget(const char *lo, const char *hi);
GC_INLINE void inside_handed_out(const char *lo, const char *hi) {
  if (GC_UNLIKELY(atomic_load_relaxed(&inside.bytes) != 0)) inside_forget(lo, hi);
}

/* Takes the next spans from page *at on, at most a few dozen, gives back what they have, and files them again. *bytes grows by
 * what went. False: the end of the heap was reached, or memory for the bits is refused. Cycles kept out, stops deferred. */
bool inside_release_some(uint32_t *at, uint64_t *bytes);

/* Whether the OS page at p is given back now. */
bool inside_is_released(const char *p);

/* The first OS page in [at, end) that is given back; NULL: none. For checking. */
const char *inside_next(const char *at, const char *end);

#endif
