/* meta.h - memory for the library's own records: never from malloc, never inside the heap, never given
 * back. Small records come from a bump pointer, tables and stacks are mapped whole. All of it is zero. */
#ifndef HOLDFAST_META_H
#define HOLDFAST_META_H

#include "runtime/base.h"

void *meta_alloc(size_t size); /* 64-byte aligned; NULL when refused */
void *meta_map(size_t size);   /* a mapping of its own, touched on use; NULL when refused */
size_t meta_bytes(void);       /* handed out by meta_alloc */

#endif
