/* debug.h - exported names of the debug variants: what that library's header makes of GC_MALLOC and its kin in programs that are
 * compiled with its GC_DEBUG. file, line: where in the program. */
#ifndef HOLDFAST_BDW_DEBUG_H
#define HOLDFAST_BDW_DEBUG_H

#include "api/bdw/finalize.h"

extern BDW_EXPORT size_t GC_debug_header_size;
BDW_EXPORT size_t GC_get_debug_header_size(void);

BDW_EXPORT void *GC_debug_malloc(size_t bytes, const char *file, int line);
BDW_EXPORT void *GC_debug_malloc_atomic(size_t bytes, const char *file, int line);
BDW_EXPORT void *GC_debug_malloc_uncollectable(size_t bytes, const char *file, int line);
BDW_EXPORT void *GC_debug_malloc_atomic_uncollectable(size_t bytes, const char *file, int line);
BDW_EXPORT void *GC_debug_malloc_ignore_off_page(size_t bytes, const char *file, int line);
BDW_EXPORT void *GC_debug_malloc_atomic_ignore_off_page(size_t bytes, const char *file, int line);
BDW_EXPORT void *GC_debug_malloc_stubborn(size_t bytes, const char *file, int line);
BDW_EXPORT void *GC_debug_generic_or_special_malloc(size_t bytes, int kind, const char *file, int line);
BDW_EXPORT void *GC_debug_gcj_malloc(size_t bytes, void *vtable, const char *file, int line);
BDW_EXPORT void *GC_debug_realloc(void *p, size_t bytes, const char *file, int line);
BDW_EXPORT char *GC_debug_strdup(const char *s, const char *file, int line);
BDW_EXPORT char *GC_debug_strndup(const char *s, size_t n, const char *file, int line);
BDW_EXPORT void GC_debug_free(void *p);

/* As malloc and realloc, for programs that put them in their place. */
BDW_EXPORT void *GC_debug_malloc_replacement(size_t bytes);
BDW_EXPORT void *GC_debug_realloc_replacement(void *p, size_t bytes);

BDW_EXPORT void GC_debug_change_stubborn(const void *p);
BDW_EXPORT void GC_debug_end_stubborn_change(const void *p);
BDW_EXPORT void GC_debug_ptr_store_and_dirty(void *p, const void *q);
BDW_EXPORT void GC_debug_register_displacement(size_t offset);

/* obj is what one of the above returned, or what a call that is not a debug variant did. */
BDW_EXPORT void GC_debug_register_finalizer(void *obj, GC_finalization_proc fn, void *data,
                                            GC_finalization_proc *old_fn, void **old_data);
BDW_EXPORT void GC_debug_register_finalizer_ignore_self(void *obj, GC_finalization_proc fn, void *data,
                                                        GC_finalization_proc *old_fn, void **old_data);
BDW_EXPORT void GC_debug_register_finalizer_no_order(void *obj, GC_finalization_proc fn, void *data,
                                                     GC_finalization_proc *old_fn, void **old_data);
BDW_EXPORT void GC_debug_register_finalizer_unreachable(void *obj, GC_finalization_proc fn, void *data,
                                                        GC_finalization_proc *old_fn, void **old_data);

#endif
