/* roots.h - exported names about roots, and about marking as programs take part in it (docs/bdw.md). */
#ifndef HOLDFAST_BDW_ROOTS_H
#define HOLDFAST_BDW_ROOTS_H

#include "api/bdw/bdw.h"

typedef void (*GC_push_other_roots_proc)(void);
typedef int (*GC_has_static_roots_func)(const char *name, void *start, size_t size);

/* Any address of the heap, now or later, lies between the two. */
extern BDW_EXPORT void *GC_least_plausible_heap_addr, *GC_greatest_plausible_heap_addr;

/* Registered ranges of words. Writable data of loaded objects and thread-local storage need not be registered. */
BDW_EXPORT void GC_add_roots(void *lo, void *hi), GC_remove_roots(void *lo, void *hi), GC_clear_roots(void);
BDW_EXPORT void GC_exclude_static_roots(void *lo, void *hi), GC_clear_exclusion_table(void);
BDW_EXPORT int GC_is_tmp_root(void *p);
BDW_EXPORT void GC_register_has_static_roots_callback(GC_has_static_roots_func wanted);

/* Called in stops, for the roots that only the program knows. Programs assign to it. */
extern BDW_EXPORT GC_push_other_roots_proc GC_push_other_roots;
BDW_EXPORT void GC_set_push_other_roots(GC_push_other_roots_proc f);
BDW_EXPORT GC_push_other_roots_proc GC_get_push_other_roots(void);

/* For that procedure, and for mark procedures. The range must stay as it is until the world runs again. */
BDW_EXPORT void GC_push_all(void *lo, void *hi), GC_push_all_eager(void *lo, void *hi);
BDW_EXPORT void GC_push_conditional(void *lo, void *hi, int all);
BDW_EXPORT void GC_set_mark_bit(const void *p), GC_clear_mark_bit(const void *p);
BDW_EXPORT int GC_is_marked(const void *p);

#endif
