/* clean.h - what the program wrote while markers ran beside it, looked at again beside it as well, until the rest fits a stop. */
#ifndef HOLDFAST_CLEAN_H
#define HOLDFAST_CLEAN_H

#include "gc/trace.h"

/* Times GC_MAX_PAUSE_US that a stop may take before writers are slowed instead: turns of slowing them become as long, and there
 * are 20 of them. */
#define CLEAN_NEARLY 4

/* In rounds, while these gain. False: what is left is too much for a stop. CYCLE is held, the world runs; here and below. */
bool clean_beside(struct cycle_record *record);

/* With the program stopped half of the time. False: it writes too fast even so. */
bool clean_slowing_writers(struct cycle_record *record);

#endif
