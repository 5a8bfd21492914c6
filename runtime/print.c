/* print.c - see print.h. The formatter covers what the library prints and no more. */
#include "runtime/print.h"

#include "runtime/os.h"

struct sink {
  char *at, *end; /* end: last byte, kept for the terminator */
};

static void put(struct sink *s, char c) {
  if (s->at < s->end) *s->at++ = c;
}

static void put_number(struct sink *s, uint64_t v, unsigned base, int width, char pad) {
  char digits[24];
  int n = 0;
  do {
    digits[n++] = "0123456789abcdef"[v % base];
    v /= base;
  } while (v != 0);
  for (int i = n; i < width; i++) put(s, pad);
  while (n > 0) put(s, digits[--n]);
}

/* The sign goes before zeros and behind blanks. */
static void put_signed(struct sink *s, long v, int width, char pad) {
  uint64_t size = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
  int digits = 1;
  for (uint64_t rest = size; rest >= 10; rest /= 10) digits++;
  if (pad == ' ')
    for (int i = digits + (v < 0); i < width; i++) put(s, ' ');
  if (v < 0) put(s, '-');
  put_number(s, size, 10, pad == '0' ? width - (v < 0) : 0, '0');
}

static void put_string(struct sink *s, const char *text, int width) {
  int n = 0;
  if (text == NULL) text = "(null)";
  for (; text[n] != '\0'; n++) put(s, text[n]);
  for (; n < width; n++) put(s, ' ');
}

/* Parses the part of a conversion between % and its letter. */
static const char *parse_spec(const char *f, char *pad, int *width, int *length) {
  *pad = ' ';
  *width = 0;
  *length = 0;
  if (*f == '0') *pad = *f++;
  while (*f >= '0' && *f <= '9') *width = *width * 10 + (*f++ - '0');
  while (*f == 'l' || *f == 'z') {
    *length = 1;
    f++;
  }
  return f;
}

size_t format_text_v(char *buffer, size_t size, const char *format, va_list args) {
  struct sink s = {buffer, buffer + size - 1};
  if (size == 0) return 0;
  for (const char *f = format; *f != '\0'; f++) {
    char pad;
    int width, length;
    if (*f != '%') {
      put(&s, *f);
      continue;
    }
    f = parse_spec(f + 1, &pad, &width, &length);
    switch (*f) {
      case 's': put_string(&s, va_arg(args, const char *), width); break;
      case 'c': put(&s, (char)va_arg(args, int)); break;
      case 'u': put_number(&s, length ? va_arg(args, unsigned long) : va_arg(args, unsigned), 10, width, pad); break;
      case 'x': put_number(&s, length ? va_arg(args, unsigned long) : va_arg(args, unsigned), 16, width, pad); break;
      case 'p':
        put_string(&s, "0x", 0);
        put_number(&s, (uintptr_t)va_arg(args, void *), 16, width, '0');
        break;
      case 'd': put_signed(&s, length ? va_arg(args, long) : va_arg(args, int), width, pad); break;
      case '\0': /* the format ended inside a conversion */ f--; break;
      default: put(&s, *f); break;
    }
  }
  *s.at = '\0';
  return (size_t)(s.at - buffer);
}

size_t format_text(char *buffer, size_t size, const char *format, ...) {
  va_list args;
  va_start(args, format);
  size_t n = format_text_v(buffer, size, format, args);
  va_end(args);
  return n;
}

void print_line(const char *format, ...) {
  char line[1024];
  va_list args;
  va_start(args, format);
  size_t n = format_text_v(line, sizeof line - 1, format, args);
  va_end(args);
  line[n++] = '\n';
  (void)os_write(2, line, n); /* an error: nobody to tell */
}
