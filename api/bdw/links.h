/* links.h - disappearing links, long links and toggle references, as the drop-in exports them (api/bdw/bdw.h). */
#ifndef HOLDFAST_BDW_LINKS_H
#define HOLDFAST_BDW_LINKS_H

#include "api/bdw/bdw.h"

#ifndef GC_H
enum { GC_SUCCESS, GC_DUPLICATE, GC_NO_MEMORY, GC_UNIMPLEMENTED, GC_NOT_FOUND };
typedef enum { GC_TOGGLE_REF_DROP, GC_TOGGLE_REF_STRONG, GC_TOGGLE_REF_WEAK } GC_ToggleRefStatus;
#endif

BDW_EXPORT int GC_register_disappearing_link(void **link);
BDW_EXPORT int GC_general_register_disappearing_link(void **link, const void *obj);
BDW_EXPORT int GC_move_disappearing_link(void **link, void **new_link);
BDW_EXPORT int GC_unregister_disappearing_link(void **link);
BDW_EXPORT int GC_register_long_link(void **link, const void *obj);
BDW_EXPORT int GC_move_long_link(void **link, void **new_link);
BDW_EXPORT int GC_unregister_long_link(void **link);

typedef GC_ToggleRefStatus (*GC_toggleref_func)(void *obj);

BDW_EXPORT void GC_set_toggleref_func(GC_toggleref_func fn);
BDW_EXPORT GC_toggleref_func GC_get_toggleref_func(void);
BDW_EXPORT int GC_toggleref_add(void *obj, int is_strong);

#endif
