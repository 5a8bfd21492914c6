/* article.h - every figure that the article "Memory Fragmentation in Go" prints, to compare with.
 * Owns:    the lookup; the figures are in article.c.
 * Never:   needs an allocator: the scenarios include it on all of them. */
#ifndef EXPERIMENTS_ARTICLE_H
#define EXPERIMENTS_ARTICLE_H

#include <stddef.h>

#define EXAMPLE_MAX_OFF 0.10 /* MiB a figure may be off from the article's difference to phase 1 */

/* The two printings of the article; their figures differ by a few hundredths. */
enum article_source { ARTICLE_PUBLISHED, ARTICLE_DRAFT };

enum { ARTICLE_STEP_TABLE = 0 }; /* the value of example for rows of the step table */

/* One row of the article, in MiB. Rows of the step table have the baseline subtracted already. */
struct article_figures {
  enum article_source source;
  int example;
  size_t step; /* every how many objects one is kept; 0 where nothing is copied */
  int phase;
  double heap_usage;
  double max_fragmentation;
};

/* The published row of an example's phase, and a row of the step table. NULL when there is none. */
const struct article_figures *article_find_phase(int example, int phase);
const struct article_figures *article_find_step(enum article_source source, size_t step);

#endif
