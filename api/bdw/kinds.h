/* kinds.h - exported names of kinds of objects that programs make, with descriptors and mark procedures (docs/bdw.md), and what
 * typed.c needs of them. */
#ifndef HOLDFAST_BDW_KINDS_H
#define HOLDFAST_BDW_KINDS_H

#include "api/bdw/bdw.h"

struct GC_ms_entry;
typedef struct GC_ms_entry *(*GC_mark_proc)(GC_word *object, struct GC_ms_entry *top, struct GC_ms_entry *limit,
                                            GC_word env);
typedef int (*GC_disclaim_proc)(void *object);
typedef void (*GC_reachable_object_proc)(void *object, size_t bytes, void *data);

struct GC_finalizer_closure;

BDW_EXPORT void **GC_new_free_list(void), **GC_new_free_list_inner(void);
BDW_EXPORT unsigned GC_new_kind(void **free_list, GC_word descriptor, int add_size, int clear);
BDW_EXPORT unsigned GC_new_kind_inner(void **free_list, GC_word descriptor, int add_size, int clear);
BDW_EXPORT unsigned GC_new_proc(GC_mark_proc proc), GC_new_proc_inner(GC_mark_proc proc);
BDW_EXPORT struct GC_ms_entry *GC_mark_and_push(void *object, struct GC_ms_entry *top, struct GC_ms_entry *limit,
                                                void **from);

/* Lists of free objects, by size in units of 16 bytes, that programs which look at them find empty. */
extern BDW_EXPORT void **GC_objfreelist_ptr, **GC_aobjfreelist_ptr, **GC_uobjfreelist_ptr, **GC_auobjfreelist_ptr;

BDW_EXPORT void GC_register_disclaim_proc(int kind, GC_disclaim_proc proc, int mark_from_all);
BDW_EXPORT void GC_init_finalized_malloc(void);
BDW_EXPORT void *GC_finalized_malloc(size_t bytes, const struct GC_finalizer_closure *closure);

BDW_EXPORT void GC_enumerate_reachable_objects_inner(GC_reachable_object_proc f, void *data);

/* ---- not exported ---- */

/* Descriptors: what of an object may point, in a word of which the low bits say how the rest is meant. */
enum { DESCR_LENGTH, DESCR_BITMAP, DESCR_PROC, DESCR_PER_OBJECT, DESCR_TAGS = 3, DESCR_TAG_BITS = 2 };
#define PROC_BITS 6
#define PROCS_MAX (1 << PROC_BITS)
#define PROCS_RESERVED 8 /* by that library, for procedures with known numbers; 0 is gcj's */
#define PROC_LAYOUT 7    /* the environment is the place of a layout: descriptors that fit no word */
#define PER_OBJECT_BIAS 16
#define DESCR_OF_PROC(proc, env) ((((env) << PROC_BITS | (GC_word)(proc)) << DESCR_TAG_BITS) | DESCR_PROC)

struct gc_layout;

#define ELEMENT_MOST ((size_t)1 << 40) /* longer than any object: what is described so does not repeat */

/* The layout that says the same as a descriptor; NULL: all words are to be read, also without memory for a layout. False: none can
 * say it, objects must be traced. stride: bytes after which it repeats; 0: never. */
bool descr_layout(GC_word descr, size_t stride, const struct gc_layout **layout);

/* A kind for objects of the descriptor. Under bdw_lock. */
unsigned kinds_new(GC_word descr, bool add_size, size_t stride);
void kinds_set_proc(unsigned number, GC_mark_proc proc);

#endif
