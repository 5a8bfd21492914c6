/* stats.h - the table of the statistics' scalar fields, for all that prints them. */
#ifndef HOLDFAST_STATS_H
#define HOLDFAST_STATS_H

#include "gc_stats.h"
#include "runtime/base.h"

enum stats_kind { GAUGE, COUNTER };

struct stats_field {
  const char *name, *unit;   /* unit: B, ns, or nothing for counts */
  enum stats_kind kind;      /* of the metric */
  const char *metric, *help; /* name without prefix and without _total; units are bytes and seconds there */
  size_t offset;
};

extern const struct stats_field stats_fields[]; /* in order of printing */
extern const size_t stats_field_count;

uint64_t stats_value(const struct gc_stats *s, const struct stats_field *f);

/* total_alloc and heap_alloc alone, for who asks often. Stops deferred. */
struct stats_bytes {
  uint64_t allocated, in_use;
};
struct stats_bytes stats_bytes(void);

#endif
