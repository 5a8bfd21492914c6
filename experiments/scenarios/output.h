/* output.h - how the rows and the verdict of a scenario are written: CSV, JSON, a table to read.
 * Owns:    the formats, which experiments/README.md documents.
 * Promise: each takes the descriptor, closes it, and returns true when something was lost.
 * Reading: output.c; scenario.h has the row. */
#ifndef EXPERIMENTS_OUTPUT_H
#define EXPERIMENTS_OUTPUT_H

#include "scenario.h"

struct lab_verdict {
  bool holds;
  bool asserted;     /* whether the exit status follows holds */
  char differs[256]; /* what differs when it does not hold    */
};

struct lab_output {
  const struct lab_scenario *scenario;
  const struct lab_verdict *verdict;
  const struct lab_row *rows;
  size_t count;
};

bool lab_write_csv(int fd, const struct lab_output *output);
bool lab_write_json(int fd, const struct lab_output *output);
bool lab_write_table(int fd, const struct lab_output *output);

#endif
