/* alloc.h - the exported names of alloc.c. */
#ifndef HOLDFAST_BDW_ALLOC_H
#define HOLDFAST_BDW_ALLOC_H

#include "api/bdw/bdw.h"

BDW_EXPORT void *GC_malloc(size_t bytes);
BDW_EXPORT void *GC_malloc_atomic(size_t bytes);
BDW_EXPORT void *GC_malloc_uncollectable(size_t bytes);
BDW_EXPORT void *GC_malloc_atomic_uncollectable(size_t bytes);
BDW_EXPORT void *GC_malloc_ignore_off_page(size_t bytes);
BDW_EXPORT void *GC_malloc_atomic_ignore_off_page(size_t bytes);
BDW_EXPORT void *GC_malloc_stubborn(size_t bytes);
BDW_EXPORT void *GC_memalign(size_t align, size_t bytes);
BDW_EXPORT int GC_posix_memalign(void **out, size_t align, size_t bytes);
BDW_EXPORT void *GC_realloc(void *p, size_t bytes);
BDW_EXPORT void GC_free(void *p);
BDW_EXPORT char *GC_strdup(const char *s);
BDW_EXPORT char *GC_strndup(const char *s, size_t n);

BDW_EXPORT void *GC_malloc_many(size_t bytes);
BDW_EXPORT void GC_generic_malloc_many(size_t bytes, int kind, void **result);
BDW_EXPORT void *GC_generic_malloc(size_t bytes, int kind);
BDW_EXPORT void *GC_generic_malloc_ignore_off_page(size_t bytes, int kind);
BDW_EXPORT void *GC_generic_malloc_uncollectable(size_t bytes, int kind);
BDW_EXPORT void *GC_generic_or_special_malloc(size_t bytes, int kind);
BDW_EXPORT void *GC_malloc_kind(size_t bytes, int kind);
BDW_EXPORT void *GC_malloc_kind_global(size_t bytes, int kind);

BDW_EXPORT void *GC_base(void *p);
BDW_EXPORT size_t GC_size(const void *p);
BDW_EXPORT int GC_is_heap_ptr(const void *p);
BDW_EXPORT int GC_get_kind_and_size(const void *p, size_t *size);

#endif
