/* control.h - the exported names of control.c. */
#ifndef HOLDFAST_BDW_CONTROL_H
#define HOLDFAST_BDW_CONTROL_H

#include "api/bdw/params.h"

BDW_EXPORT void GC_init(void);
BDW_EXPORT int GC_is_init_called(void);
BDW_EXPORT void GC_deinit(void);

BDW_EXPORT void GC_gcollect(void);
BDW_EXPORT void GC_gcollect_and_unmap(void);
BDW_EXPORT int GC_try_to_collect(GC_stop_func stop);
BDW_EXPORT int GC_collect_a_little(void);
BDW_EXPORT void GC_enable(void);
BDW_EXPORT void GC_disable(void);
BDW_EXPORT int GC_is_disabled(void);
BDW_EXPORT void GC_enable_incremental(void);
BDW_EXPORT int GC_is_incremental_mode(void);
BDW_EXPORT int GC_incremental_protection_needs(void);
BDW_EXPORT void GC_start_incremental_collection(void);
BDW_EXPORT int GC_expand_hp(size_t bytes);

extern BDW_EXPORT int GC_dont_gc;

BDW_EXPORT void GC_set_stop_func(GC_stop_func f);
BDW_EXPORT GC_stop_func GC_get_stop_func(void);

/* GC_enable_incremental without GC_init. */
void control_go_incremental(void);

#endif
