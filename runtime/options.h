/* options.h - the run-time tunables, one struct made from options.def. */
#ifndef HOLDFAST_OPTIONS_H
#define HOLDFAST_OPTIONS_H

#include "runtime/base.h"

struct options {
#define OPT(field, env, kind, def, min, max, doc) int field;
#define OPT_WORD(field, env, words, def, doc) int field;
#define OPT_MEMORY(field, env, doc) uint64_t field;
#include "runtime/options.def"
#undef OPT
#undef OPT_WORD
#undef OPT_MEMORY
};

extern struct options options; /* [const] after options_read */

/* Reads the environment. A malformed value, or a GC_ variable that looks like ours and is not known, gets
 * one line on stderr that names it and the accepted form; the default stays. */
void options_read(void);

#define FORM_MEMORY \
  "off, bytes (a suffix K, M, G, T or KiB to TiB multiplies), N% of the machine's memory, or cgroup:N%"

/* One row. */
struct option_row {
  const char *env, *form, *doc;
  int initial;
};
extern const struct option_row option_rows[];
extern const size_t option_row_count;

#endif
