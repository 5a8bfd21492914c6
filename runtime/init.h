/* init.h - starting the library on demand. The order of set-up is api/init.c's; lower layers that can be
 * entered first (a thread created by a constructor) ask for it here. */
#ifndef HOLDFAST_INIT_H
#define HOLDFAST_INIT_H

#include "runtime/base.h"

extern void (*runtime_init_hook)(void); /* [const] set statically by api/init.c */
GC_INLINE void runtime_ensure_init(void) { runtime_init_hook(); }

#endif
