/* heapmap.h - the records of a heap map, as docs/heapmap.md describes them, put into a buffer. Owns the encoding and
 * the totals of the end record; writes nothing anywhere else. */
#ifndef HOLDFAST_HEAPMAP_H
#define HOLDFAST_HEAPMAP_H

#include "alloc/frag.h"
#include "alloc/sample.h"

#define HEAPMAP_OWNERS 4                            /* sites told of one span, at most */
#define HEAPMAP_SPAN_MAX (8 + 32 + FRAG_GROUPS * 8) /* bytes of the longest record of a span, and of the header */
#define HEAPMAP_OWNERS_MAX (8 + 8 + HEAPMAP_OWNERS * 16)
#define HEAPMAP_NAME_MAX 160 /* of a frame, its end included; longer ones are cut */
#define HEAPMAP_SITE_MAX (8 + 8 + SAMPLE_DEPTH * (8 + HEAPMAP_NAME_MAX))

struct heapmap_totals {
  uint64_t spans, span_bytes, objects, live_bytes;
};

/* Each returns the bytes put at `to`. cycle: the last completed one; wall_ns: since 1970. */
size_t heapmap_header(char *to, uint64_t cycle, uint64_t wall_ns);
size_t heapmap_span(char *to, const struct frag_span *s, struct heapmap_totals *totals);

/* Behind the record of the span whose samples are in the tally: the sites with most of them. Empties the tally and sets
 * the bits of these sites in seen. 0 bytes: there are no samples. */
size_t heapmap_owners(char *to, const struct frag_span *s, struct sample_tally *t, uint64_t *seen);

/* A site and its call stack. name puts the name of a frame into a buffer and returns its length, as format_text does. */
typedef size_t heapmap_name(char *to, size_t size, const void *pc);
size_t heapmap_site(char *to, uint32_t site, heapmap_name *name);

size_t heapmap_end(char *to, uint64_t cycle, const struct heapmap_totals *totals);

#endif
