/* check.h - three classes of checks. GC_ASSERT stays in release builds and costs a compare; GC_CHECK is
 * for debug builds; fatal() is how bad input from the program ends. Each prints one line and aborts. */
#ifndef HOLDFAST_CHECK_H
#define HOLDFAST_CHECK_H

#include "runtime/config.h"

/* Prints "holdfast: " and the text as one line, then aborts. */
GC_NORETURN void fatal(const char *format, ...) GC_PRINTF(1, 2);
/* For a layer that says it in its own way, before the program is aborted: gets the line. Set at init; NULL: it is printed. */
extern void (*fatal_hook)(const char *line);
GC_NORETURN void check_failed(const char *condition, const char *file, int line);

#define GC_ASSERT(c) (GC_LIKELY(c) ? (void)0 : check_failed(#c, __FILE__, __LINE__))
#if GC_DEBUG
#define GC_CHECK(c) GC_ASSERT(c)
#else
#define GC_CHECK(c) ((void)sizeof(c))
#endif

#endif
