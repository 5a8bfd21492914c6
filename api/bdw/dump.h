/* dump.h - exported names that print what is in the heap: to the standard output, as there, unless GC_QUIET is set. Not for
 * callbacks. */
#ifndef HOLDFAST_BDW_DUMP_H
#define HOLDFAST_BDW_DUMP_H

#include "api/bdw/bdw.h"

BDW_EXPORT void GC_dump(void), GC_dump_named(const char *name), GC_dump_regions(void), GC_dump_finalization(void);
BDW_EXPORT void GC_print_free_list(int kind, size_t granules);

#endif
