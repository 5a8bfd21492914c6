/* misc.h - exported names that belong to no other group: printing, checks of pointer arithmetic, and what is left. */
#ifndef HOLDFAST_BDW_MISC_H
#define HOLDFAST_BDW_MISC_H

#include "api/bdw/bdw.h"

/* At most 1023 bytes at a time: to the standard output, standard error, the log. GC_QUIET silences the first and the last. */
BDW_EXPORT void GC_printf(const char *format, ...) GC_PRINTF(1, 2);
BDW_EXPORT void GC_err_printf(const char *format, ...) GC_PRINTF(1, 2);
BDW_EXPORT void GC_log_printf(const char *format, ...) GC_PRINTF(1, 2);
BDW_EXPORT void GC_set_log_fd(int fd);

/* Checks that a preprocessor inserts. What fails goes to the procedure, which ends the program unless it was replaced. */
extern BDW_EXPORT void (*GC_same_obj_print_proc)(void *p, void *q);
extern BDW_EXPORT void (*GC_is_valid_displacement_print_proc)(void *p);
extern BDW_EXPORT void (*GC_is_visible_print_proc)(void *p);
BDW_EXPORT void *GC_same_obj(void *p, void *q);
BDW_EXPORT void *GC_is_valid_displacement(void *p);
BDW_EXPORT void *GC_is_visible(void *p);
BDW_EXPORT void *GC_pre_incr(void **p, ptrdiff_t bytes);
BDW_EXPORT void *GC_post_incr(void **p, ptrdiff_t bytes);

/* Overwrites what calls have left below the caller's frame; returns its argument. */
BDW_EXPORT void *GC_clear_stack(void *result);

BDW_EXPORT void GC_noop1(GC_word used);

/* Who stores a pointer need not say so: the kernel tells what was written. */
BDW_EXPORT void GC_ptr_store_and_dirty(void *to, const void *value);
BDW_EXPORT void GC_end_stubborn_change(const void *p), GC_change_stubborn(const void *p);

/* Accepted, does nothing: every address inside an object keeps it. */
BDW_EXPORT void GC_register_displacement(size_t displacement);

/* Accepted, does nothing: no objects are printed one by one. */
typedef void (*GC_describe_type_fn)(void *p, char *text);
BDW_EXPORT void GC_register_describe_type_fn(int kind, GC_describe_type_fn describe);

/* That library's own data, whose layout is nobody's to know. All zero, and not searched for pointers. */
extern BDW_EXPORT const unsigned char GC_arrays[182768];

#endif
