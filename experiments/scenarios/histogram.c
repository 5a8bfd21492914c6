/* histogram.c - reading of size histograms, and the one that is built in; see histogram.h. */
#include "histogram.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILE_BYTES = 1 << 20 };

static const struct histogram_line built_in[] = {
    {2, 235},    {8, 479},   {16, 502},   {24, 943},   {27, 30},  {28, 33},  {32, 42},  {40, 48},    {48, 294},
    {56, 259},   {60, 50},   {64, 262},   {65, 59},    {107, 33}, {108, 38}, {111, 41}, {112, 44},   {113, 33},
    {114, 49},   {121, 44},  {123, 31},   {124, 34},   {128, 47}, {176, 38}, {184, 31}, {192, 37},   {208, 61},
    {256, 71},   {272, 35},  {304, 31},   {336, 41},   {368, 35}, {400, 30}, {408, 58}, {432, 42},   {464, 53},
    {512, 111},  {576, 32},  {688, 34},   {816, 43},   {856, 31}, {880, 38}, {912, 37}, {1024, 156}, {1472, 30},
    {2048, 133}, {4096, 58}, {7160, 349}, {32768, 103}};

void histogram_default(struct histogram *histogram) {
  histogram->count = sizeof built_in / sizeof built_in[0];
  memcpy(histogram->lines, built_in, sizeof built_in);
}

static const char *skip_blanks(const char *at) { return at + strspn(at, " \t\r"); }

/* A whole number at *at, which moves behind it. */
static bool take_number(const char **at, uint64_t *number) {
  char *end;
  if (!isdigit((unsigned char)**at)) return false;
  errno = 0;
  *number = strtoull(*at, &end, 10);
  *at = end;
  return errno == 0;
}

static const char *take_line(const char *at, struct histogram_line *line) {
  bool two = take_number(&at, &line->size) && (*at == ' ' || *at == '\t');
  at = skip_blanks(at);
  two = two && take_number(&at, &line->count);
  at = skip_blanks(at);
  if (!two || (*at != '\n' && *at != 0)) return "not two whole numbers, size and count";
  if (line->size == 0 || line->size > HISTOGRAM_MAX_SIZE) return "the size is not between 1 and 64 MiB";
  if (line->count == 0) return "the count is 0";
  return NULL;
}

const char *histogram_parse(struct histogram *histogram, const char *text, size_t *line) {
  unsigned __int128 bytes = 0;
  histogram->count = 0;
  *line = 0;
  for (const char *at = text; *at != 0;) {
    const char *end = strchr(at, '\n'), *first = skip_blanks(at);
    ++*line;
    at = end ? end + 1 : at + strlen(at);
    if (*first == '#' || *first == '\n' || *first == 0) continue;
    if (histogram->count == HISTOGRAM_LINES) return "more than 4096 lines with sizes";
    struct histogram_line *next = &histogram->lines[histogram->count];
    const char *why = take_line(first, next);
    if (why) return why;
    histogram->count++;
    bytes += (unsigned __int128)next->size * next->count;
    if (bytes >> 60) return "more than 2^60 bytes up to here";
  }
  *line = 0;
  return histogram->count ? NULL : "no line with a size and a count";
}

static _Noreturn void refuse(const char *path, size_t line, const char *why) {
  fprintf(stderr, "%s: --histogram %s: ", program_invocation_short_name, path);
  if (line) fprintf(stderr, "line %zu: ", line);
  fprintf(stderr, "%s\n", why);
  exit(2);
}

void histogram_read(struct histogram *histogram, const char *path) {
  static char text[FILE_BYTES + 1];
  size_t length = 0, line;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) refuse(path, 0, strerror(errno));
  for (ssize_t got = 1; got > 0 && length < FILE_BYTES; length += (size_t)got) {
    got = read(fd, text + length, FILE_BYTES - length);
    if (got < 0) refuse(path, 0, strerror(errno));
  }
  close(fd);
  if (length == FILE_BYTES) refuse(path, 0, "larger than 1 MiB");
  if (strlen(text) < length) refuse(path, 0, "not a text");
  const char *why = histogram_parse(histogram, text, &line);
  if (why) refuse(path, line, why);
}
