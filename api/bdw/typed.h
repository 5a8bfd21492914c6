/* typed.h - exported names of objects whose layout is told by a descriptor, and of those whose type is (docs/bdw.md). */
#ifndef HOLDFAST_BDW_TYPED_H
#define HOLDFAST_BDW_TYPED_H

#include "api/bdw/bdw.h"

typedef GC_word GC_descr;

/* Bit i % 64 of bits[i / 64] is set: word i may hold a pointer. What lies behind the last bit does not. */
BDW_EXPORT GC_descr GC_make_descriptor(const GC_word *bits, size_t n);
BDW_EXPORT void *GC_malloc_explicitly_typed(size_t bytes, GC_descr descr);
BDW_EXPORT void *GC_malloc_explicitly_typed_ignore_off_page(size_t bytes, GC_descr descr);
BDW_EXPORT void *GC_calloc_explicitly_typed(size_t n, size_t bytes, GC_descr descr);

/* Objects whose first word is the address of a type, which has a descriptor as its second word. */
extern BDW_EXPORT int GC_gcj_kind, GC_gcj_debug_kind;
BDW_EXPORT void GC_init_gcj_malloc(int proc_number, void *proc);
BDW_EXPORT void *GC_gcj_malloc(size_t bytes, void *type);
BDW_EXPORT void *GC_gcj_malloc_ignore_off_page(size_t bytes, void *type);

#endif
