/* heapmap.h - the records of a heap map, as docs/heapmap.md describes them, put into a buffer. Owns the encoding and
 * the totals of the end record; writes nothing anywhere else. */
#ifndef HOLDFAST_HEAPMAP_H
#define HOLDFAST_HEAPMAP_H

#include "alloc/frag.h"

#define HEAPMAP_RECORD_MAX (8 + 32 + FRAG_GROUPS * 8) /* bytes of the longest record, and of the header */

struct heapmap_totals {
  uint64_t spans, span_bytes, objects, live_bytes;
};

/* Each returns the bytes put at `to`. cycle: the last completed one; wall_ns: since 1970. */
size_t heapmap_header(char *to, uint64_t cycle, uint64_t wall_ns);
size_t heapmap_span(char *to, const struct frag_span *s, struct heapmap_totals *totals);
size_t heapmap_end(char *to, uint64_t cycle, const struct heapmap_totals *totals);

#endif
