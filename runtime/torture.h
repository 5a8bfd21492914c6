/* torture.h - TORTURE_STEP(): where what another thread does in between would matter. Torture builds give up the
 * processor at one such place in GC_TORTURE_YIELD, chosen by a seeded sequence per thread; other builds contain nothing.
 * Async-signal-safe. Never changes errno. */
#ifndef HOLDFAST_TORTURE_H
#define HOLDFAST_TORTURE_H

#include "runtime/config.h"

#if GC_TORTURE
void torture_step(void);
#define TORTURE_STEP() torture_step()
#else
#define TORTURE_STEP() ((void)0)
#endif

#endif
