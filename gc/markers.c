/* markers.c - see markers.h. */
#include "gc/markers.h"

#include "gc/assist.h"
#include "gc/settings.h"
#include "gc/workers.h"
#include "runtime/atomic.h"
#include "runtime/os.h"

static atomic_word cpu_ns GC_OWN_DATA; /* [A] */

void markers_begin(void) { atomic_store_relaxed(&cpu_ns, 0); }
uint64_t markers_cpu_ns(void) { return atomic_load_relaxed(&cpu_ns); }

static void mark_timed(unsigned index) {
  uint64_t start = os_thread_cpu_ns();
  mark_run(index);
  atomic_add(&cpu_ns, os_thread_cpu_ns() - start);
}

void markers_run(unsigned markers, struct deadline deadline) {
  assist_hold(); /* the phase takes over what an assist left */
  markers = mark_phase_begin(markers, deadline);
  assist_let_go(true);
  workers_run(markers, mark_timed);
}

/* Markers beside the program, which keeps most of the processors; until no assist has work in hand either. */
void markers_run_beside(void) {
  do markers_run(settings_markers(), DEADLINE_NEVER);
  while (assist_has_left());
  if (!mark_phase_done()) mark_finish();
}
