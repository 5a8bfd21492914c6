/* finalize.h - finalizers, as the drop-in exports them (api/bdw/bdw.h). */
#ifndef HOLDFAST_BDW_FINALIZE_H
#define HOLDFAST_BDW_FINALIZE_H

#include "api/bdw/bdw.h"

typedef void (*GC_finalization_proc)(void *obj, void *client_data);
typedef void (*GC_finalizer_notifier_proc)(void);
typedef void (*GC_await_finalize_proc)(void *obj);

BDW_EXPORT void GC_register_finalizer(void *obj, GC_finalization_proc fn, void *cd, GC_finalization_proc *ofn,
                                      void **ocd);
BDW_EXPORT void GC_register_finalizer_ignore_self(void *obj, GC_finalization_proc fn, void *cd,
                                                  GC_finalization_proc *ofn, void **ocd);
BDW_EXPORT void GC_register_finalizer_no_order(void *obj, GC_finalization_proc fn, void *cd, GC_finalization_proc *ofn,
                                               void **ocd);
BDW_EXPORT void GC_register_finalizer_unreachable(void *obj, GC_finalization_proc fn, void *cd,
                                                  GC_finalization_proc *ofn, void **ocd);

BDW_EXPORT int GC_should_invoke_finalizers(void);
BDW_EXPORT int GC_invoke_finalizers(void);
BDW_EXPORT void GC_finalize_all(void);

extern BDW_EXPORT int GC_finalize_on_demand;
BDW_EXPORT void GC_set_finalize_on_demand(int on);
BDW_EXPORT int GC_get_finalize_on_demand(void);
extern BDW_EXPORT GC_finalizer_notifier_proc GC_finalizer_notifier;
BDW_EXPORT void GC_set_finalizer_notifier(GC_finalizer_notifier_proc fn);
BDW_EXPORT GC_finalizer_notifier_proc GC_get_finalizer_notifier(void);
BDW_EXPORT void GC_set_await_finalize_proc(GC_await_finalize_proc fn);
BDW_EXPORT GC_await_finalize_proc GC_get_await_finalize_proc(void);

/* Accepted, does nothing: finalizers and what they will be given are roots without it. */
BDW_EXPORT void GC_push_finalizer_structures(void);

#endif
