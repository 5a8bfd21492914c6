/* sweep.h - turning marks into the allocation map: slots that the last cycle left in the other colour
 * become free. A span at a time, by whoever needs it: an allocating thread, the background thread, the
 * start of the next cycle. Never touches the slots' memory (but in torture builds, to poison it). */
#ifndef HOLDFAST_SWEEP_H
#define HOLDFAST_SWEEP_H

#include "alloc/span.h"

/* Sweeps a span that the caller owns. Counts live and freed slots. Small: true. Large: false when the
 * object was dead and the span is to be freed. */
bool sweep_span(uint32_t page);

/* Slots of a span that are not free. The owner's, or under the world stop. */
unsigned span_count_live(uint32_t page);

/* Whether a slot with this byte holds an object: not free, not freed, not found unreachable by the last cycle. Stops
 * deferred, so that no cycle begins or ends between reading the byte and this. */
GC_INLINE bool slot_is_in_use(unsigned byte) {
  return heap_is_marking() ? byte != 0 && byte != FREED_WHILE_MARKING
                           : byte == atomic32_load_relaxed(&heap.live_colour);
}

/* Such slots of a small span, without those that a cache has claimed and not handed out. Exact when nobody allocates or
 * frees in it meanwhile. Stops deferred. */
unsigned span_count_objects(uint32_t page);

/* The collector, in the stop: frees the dead slots of a span in some thread's cache. Returns its live. */
unsigned sweep_cached_span(uint32_t page);

/* Sweeps everything that is left; other threads may be sweeping too, but none can then be unswept and
 * on a list. Returns the pages given back. */
size_t sweep_all(void);

/* At most n spans, of any class; false when nothing is left. For the background thread. */
bool sweep_some(unsigned n);

/* Before n pages are taken that would be untouched memory: sweep until as many have come free, within bounds. */
void sweep_before_growing(size_t n);

/* Returns when the span at page is swept and listed, cached, or gone. Used by gc_free and gc_base. */
void span_wait_swept(uint32_t page);

/* The colours trade places and all spans become unswept: the end of marking, world stopped. */
void sweep_start(void);

#endif
