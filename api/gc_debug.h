/* gc_debug.h - what a program, or whoever runs it, asks when something is wrong: figures for monitoring.
 * docs/diagnostics.md tells how to use it, and what the options and probes that go with it do. */
#ifndef HOLDFAST_GC_DEBUG_H
#define HOLDFAST_GC_DEBUG_H

#include <stdio.h>

#include "gc_alloc.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Writes every figure of gc_stats.h but the pause rings as OpenMetrics text, which Prometheus reads too, and ends it
 * with "# EOF". Names are Go's go_memstats_* with holdfast_ for go_; amounts are in bytes, times in seconds, both
 * as exact as the figures. A limit that is not set is +Inf. Returns 0, or -1 when writing failed.
 * From any thread; other threads run on. Not async-signal-safe: it takes locks and uses stdio. */
GC_API int gc_print_metrics(FILE *to);

#ifdef __cplusplus
}
#endif
#endif
