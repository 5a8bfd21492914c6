/* check.c - see check.h. */
#include "runtime/check.h"

#include <stdarg.h>
#include <stdlib.h>

#include "runtime/print.h"

void fatal(const char *format, ...) {
  char text[512];
  va_list args;
  va_start(args, format);
  format_text_v(text, sizeof text, format, args);
  va_end(args);
  print_line("holdfast: %s", text);
  abort();
}

void check_failed(const char *condition, const char *file, int line) {
  fatal("check failed: %s (%s:%d)", condition, file, line);
}
