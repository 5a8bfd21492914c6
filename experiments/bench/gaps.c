/* gaps.c - starting and reading the histogram; see gaps.h. */
#include "gaps.h"

void gaps_start(struct gaps *gaps) {
  *gaps = (struct gaps){0};
  gaps->first = gaps->last = bench_now_ns();
}

static uint64_t bucket_end(unsigned bucket) {
  if (bucket < 2 * GAP_FINE) return bucket;
  unsigned shift = bucket / GAP_FINE - 1;
  return ((uint64_t)(bucket % GAP_FINE + GAP_FINE + 1) << shift) - 1;
}

uint64_t gaps_quantile(const struct gaps *gaps, double share) {
  uint64_t above = gaps->count - (uint64_t)((double)gaps->count * share);
  for (unsigned bucket = GAP_BUCKETS; bucket-- > 0;) {
    if (gaps->buckets[bucket] > above) return bucket_end(bucket) < gaps->max ? bucket_end(bucket) : gaps->max;
    above -= gaps->buckets[bucket];
  }
  return gaps->max;
}

double gaps_seconds(const struct gaps *gaps) { return (double)(gaps->last - gaps->first) / 1e9; }
