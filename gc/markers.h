/* markers.h - a phase of marking by all who take part in it: the caller, workers (workers.h), and beside the program its threads
 * that help (assist.h). What one of them does is told in mark.h. */
#ifndef HOLDFAST_MARKERS_H
#define HOLDFAST_MARKERS_H

#include "gc/mark.h"

void markers_begin(void); /* a cycle begins: no time was taken yet */

/* One phase (mark_phase_begin). CYCLE is held. */
void markers_run(unsigned markers, struct deadline deadline);

/* Phases while the program runs, until nothing is left. */
void markers_run_beside(void);

uint64_t markers_cpu_ns(void); /* CPU time of all markers since markers_begin, assists not counted */

#endif
