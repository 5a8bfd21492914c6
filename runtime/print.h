/* print.h - formatted text without malloc, stdio or locks: usable while the world is stopped and from a
 * signal handler. One call is one write(2), so lines of threads do not mix. */
#ifndef HOLDFAST_PRINT_H
#define HOLDFAST_PRINT_H

#include <stdarg.h>

#include "runtime/base.h"

/* Formats into buffer (always terminated when size > 0) and returns the length, at most size - 1.
 * Knows %s %c %d %u %x %p %%, the lengths l and z, a width and zero padding; nothing else. */
size_t format_text(char *buffer, size_t size, const char *format, ...) GC_PRINTF(3, 4);
size_t format_text_v(char *buffer, size_t size, const char *format, va_list args);

/* Writes one line (format, then a newline) to stderr. */
void print_line(const char *format, ...) GC_PRINTF(1, 2);

#endif
