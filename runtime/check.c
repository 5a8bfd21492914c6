/* check.c - see check.h. */
#include "runtime/check.h"

#include <stdarg.h>
#include <stdlib.h>

#include "runtime/print.h"

void (*fatal_hook)(const char *line) GC_OWN_DATA;

static void say(const char *text) {
  char line[512 + 16];
  if (fatal_hook == NULL) {
    print_line("holdfast: %s", text);
    return;
  }
  format_text(line, sizeof line, "holdfast: %s", text);
  fatal_hook(line);
}

void fatal(const char *format, ...) {
  char text[512];
  va_list args;
  va_start(args, format);
  format_text_v(text, sizeof text, format, args);
  va_end(args);
  say(text);
  abort();
}

void check_failed(const char *condition, const char *file, int line) {
  fatal("check failed: %s (%s:%d)", condition, file, line);
}
