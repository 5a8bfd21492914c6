/* gaps.h - how long a program was held up: the times between consecutive moments of its loop, as it sees
 * them itself, in a histogram of 16 buckets per power of two (an error of 6 % at most, upwards).
 * Owns:  no memory: a struct gaps lives in static data.
 * Rule:  an iteration of the measured loop takes less than 5 us, so that a long gap is not the loop's own.
 *        Not all long gaps are a collector's: the kernel also runs others on this processor. */
#ifndef BENCH_GAPS_H
#define BENCH_GAPS_H

#include "support.h"

enum { GAP_FINE = 16, GAP_BUCKETS = 64 * GAP_FINE, GAP_STALL_NS = 20000 };

struct gaps {
  uint64_t first, last; /* moments, CLOCK_MONOTONIC ns: of the start, of the last tick */
  uint64_t count, max;  /* gaps; the longest, ns, exact */
  uint64_t stalled;     /* ns in gaps longer than GAP_STALL_NS: the program did not run */
  uint64_t buckets[GAP_BUCKETS];
};

static inline unsigned gap_bucket(uint64_t ns) {
  if (ns < GAP_FINE) return (unsigned)ns;
  unsigned shift = 59 - (unsigned)__builtin_clzll(ns); /* leaves the top five bits */
  return shift * GAP_FINE + (unsigned)(ns >> shift);
}

static inline void gaps_add(struct gaps *gaps, uint64_t ns) {
  gaps->buckets[gap_bucket(ns)]++;
  gaps->count++;
  if (ns > gaps->max) gaps->max = ns;
  if (ns > GAP_STALL_NS) gaps->stalled += ns;
}

/* Ends an iteration and returns the moment. */
static inline uint64_t gaps_tick(struct gaps *gaps) {
  uint64_t now = bench_now_ns();
  gaps_add(gaps, now - gaps->last);
  gaps->last = now;
  return now;
}

void gaps_start(struct gaps *gaps);

/* The length, ns, that a share of all gaps does not exceed. */
uint64_t gaps_quantile(const struct gaps *gaps, double share);

/* Seconds from the start to the last tick. */
double gaps_seconds(const struct gaps *gaps);

#endif
