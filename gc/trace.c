/* trace.c - see trace.h. */
#include "gc/trace.h"

#include <string.h>

#include "runtime/options.h"
#include "runtime/os.h"
#include "runtime/print.h"

static uint64_t program_start GC_OWN_DATA;

void trace_init(void) { program_start = os_now_ns(); }

/* a.bc from a count of hundredths. */
#define FIXED(v) (unsigned long)((v) / 100), (unsigned long)((v) % 100)

static uint64_t ms_between(const struct cycle_record *r, int from, int to) { return (r->at[to] - r->at[from]) / 10000; }
static uint64_t mib(uint64_t bytes) { return bytes * 100 / MIB; }

/* What a cycle beside the program did before its last stop. */
static void trace_beside(const struct cycle_record *r) {
  char pages[TRACE_ROUNDS * 12] = "";
  size_t n = 0;
  for (unsigned i = 0; i < r->rounds && i < TRACE_ROUNDS; i++) {
    format_text(pages + n, sizeof pages - n, i == 0 ? "%lu" : "+%lu", (unsigned long)r->pages[i]);
    n += strlen(pages + n);
  }
  print_line(
      "gc %lu beside: %lu.%02lu ms before the stop, cleaned %s pages and %lu in the stop, %u stops, "
      "longest %lu us, %u turns, assists %lu us%s%s",
      (unsigned long)r->number, FIXED(ms_between(r, AT_START, AT_STOP)), pages, (unsigned long)r->last_pages, r->stops,
      (unsigned long)(r->longest_ns / 1000), r->turns, (unsigned long)(r->assist_ns / 1000),
      r->lost ? ", tracker lost" : "", r->stuck ? ", written faster than cleaned" : "");
}

void trace_cycle(const struct cycle_record *r) {
  static const char *const reasons[] = {"heap", "forced", "memory"};
  if (!options.trace) return;
  uint64_t next = r->next_gc > UINT64_MAX / 100 ? 0 : mib(r->next_gc);
  if (r->beside) trace_beside(r);
  print_line(
      "gc %lu @%lu.%03lus %s: %lu.%02lu->%lu.%02lu MiB, %lu objects, next %lu.%02lu MiB, "
      "sweep+stop+mark+end %lu.%02lu+%lu.%02lu+%lu.%02lu+%lu.%02lu ms, %u markers, %u overflows, %s%s",
      (unsigned long)r->number, (unsigned long)((r->at[AT_START] - program_start) / 1000000000u),
      (unsigned long)((r->at[AT_START] - program_start) / 1000000u % 1000u), reasons[r->reason],
      FIXED(mib(r->heap_before)), FIXED(mib(r->live_after)), (unsigned long)r->objects, FIXED(next),
      FIXED(ms_between(r, AT_START, AT_STOP)), FIXED(ms_between(r, AT_STOP, AT_STOPPED)),
      FIXED(ms_between(r, AT_STOPPED, AT_MARKED)), FIXED(ms_between(r, AT_MARKED, AT_END)), r->markers, r->overflows,
      r->beside ? "beside the program" : "stopped: ", r->beside ? "" : r->why);
}
