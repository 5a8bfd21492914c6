/* cycles.h - a second thread that collects on request of nobody: it makes a known number of full
 * collections, with rests between, while the program's loop is measured. Collectors only.
 * What it calls is the public collect function, which returns when the garbage has been swept. */
#ifndef BENCH_CYCLES_H
#define BENCH_CYCLES_H

#include <stdint.h>

enum cycles_state { CYCLES_REST, CYCLES_COLLECT, CYCLES_DONE };

/* Rests, collects, rests, collects ...: count times, and rests once more at the end. */
void cycles_begin(uint64_t count, uint64_t rest_ms);

/* What the thread does now. */
enum cycles_state cycles_state(void);

/* Waits for it. Returns the ns it spent collecting. */
uint64_t cycles_end(void);

#endif
