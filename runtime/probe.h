/* probe.h - places where a tracer may look in: USDT probes of provider holdfast, for bpftrace, perf and systemtap. A probe is one nop
 * and a note in the file that says where it is and where its arguments are; without <sys/sdt.h> at build time it is nothing. So its
 * arguments must be at hand. No semaphores: nothing is computed for a probe alone. docs/diagnostics.md lists them. */
#ifndef HOLDFAST_PROBE_H
#define HOLDFAST_PROBE_H

#include "runtime/base.h"

#ifdef __has_include
#if __has_include(<sys/sdt.h>)
#define HOLDFAST_PROBES 1
#endif
#endif

#ifdef HOLDFAST_PROBES
#include <sys/sdt.h>
#define PROBE1(name, a) DTRACE_PROBE1(holdfast, name, a)
#define PROBE2(name, a, b) DTRACE_PROBE2(holdfast, name, a, b)
#define PROBE3(name, a, b, c) DTRACE_PROBE3(holdfast, name, a, b, c)
#else
#define PROBE1(name, a) ((void)(a))
#define PROBE2(name, a, b) ((void)(a), (void)(b))
#define PROBE3(name, a, b, c) ((void)(a), (void)(b), (void)(c))
#endif

#endif
