/* histogram.h - how many objects of which size a program asks for: a text file, or a table that is built in.
 *
 * Format:  lines of "size count", whole numbers, bytes and objects; blank lines and lines that begin with # are skipped.
 * Promise: a file that cannot be read as that ends the program with one line that names the place, exit status 2.
 * Never:   allocates. */
#ifndef SCENARIO_HISTOGRAM_H
#define SCENARIO_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

enum { HISTOGRAM_LINES = 4096 };
#define HISTOGRAM_MAX_SIZE (UINT64_C(64) << 20) /* each size is allocated once, to look at its slot */

struct histogram_line {
  uint64_t size;  /* 1 to HISTOGRAM_MAX_SIZE */
  uint64_t count; /* at least 1 */
};

struct histogram {
  struct histogram_line lines[HISTOGRAM_LINES];
  size_t count;
};

/* What is wrong with the text, or NULL when it was understood; *line is the number of the line meant, from 1, and 0 when it is
 * all of them. text ends with a 0. */
const char *histogram_parse(struct histogram *histogram, const char *text, size_t *line);

void histogram_read(struct histogram *histogram, const char *path);

/* What git 2.39.5 asked of malloc for `git log --stat` on a small repository: the 49 sizes up to 32 KiB that it asked for
 * 30 times or more, 5348 of 9237 requests. */
void histogram_default(struct histogram *histogram);

#endif
