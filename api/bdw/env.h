/* env.h - what env.c tells the other files. */
#ifndef HOLDFAST_BDW_ENV_H
#define HOLDFAST_BDW_ENV_H

#include "runtime/base.h"

/* Sets what the variables of the environment say: when the library is loaded, since programs need not call GC_init, and
 * then, what a program may have set before it, at GC_init. Stops not deferred. */
enum env_time { ENV_LOAD, ENV_INIT };
void env_read(enum env_time when);

/* GC_PRINT_STATS or GC_PRINT_VERBOSE_STATS is set; GC_DISABLE_INCREMENTAL is. */
bool env_print_stats(void), env_disable_incremental(void);

#endif
