/* article.c - every figure that the article "Memory Fragmentation in Go" prints, in MiB.
 *
 * Owns:    the figures and nothing else. Measured there with Go 1.21.3, linux/amd64, on WSL 2.
 * Sources: ARTICLE_PUBLISHED is the article's page; ARTICLE_DRAFT the text of the same title dated
 *          2023-12-28, of which the step table is kept to show how far two of the author's runs differ.
 * Compare: differences to phase 1 only. The value of phase 1 is the Go runtime's own need.
 * Reading: article.h has the struct. */
#include "article.h"

/* clang-format off */
static const struct article_figures rows[] = {
  /* source            ex  step ph  usage   frag */
  /* Example 1: section "Array of Pointers", first listing */
  { ARTICLE_PUBLISHED, 1,    0, 1,  0.41,  0.24 },
  { ARTICLE_PUBLISHED, 1,    0, 2, 16.41,  0.24 },
  { ARTICLE_PUBLISHED, 1,    0, 3, 16.41,  0.24 },
  { ARTICLE_PUBLISHED, 1,    0, 4,  0.41,  0.24 },
  /* Example 2: the same section, second listing */
  { ARTICLE_PUBLISHED, 2,    0, 1,  0.44,  0.27 },
  { ARTICLE_PUBLISHED, 2,    0, 2, 24.44,  0.26 },
  { ARTICLE_PUBLISHED, 2,    0, 3,  0.45,  0.27 },
  /* Example 3: section "Pathological Scenario" */
  { ARTICLE_PUBLISHED, 3,  512, 1,  0.41,  0.25 },
  { ARTICLE_PUBLISHED, 3,  512, 2, 24.41,  0.24 },
  { ARTICLE_PUBLISHED, 3,  512, 3, 16.41, 16.19 },
  { ARTICLE_PUBLISHED, 3,  512, 4, 36.39, 16.17 },
  /* Example 4: section "Avoiding Fragmentation" */
  { ARTICLE_PUBLISHED, 4,  512, 1,  0.41,  0.24 },
  { ARTICLE_PUBLISHED, 4,  512, 2, 16.42, 16.20 },
  { ARTICLE_PUBLISHED, 4,  512, 3,  0.47,  0.25 },
  /* The step table of "Pathological Scenario": Example 3 at phase 3, minus the baseline */
  { ARTICLE_PUBLISHED, ARTICLE_STEP_TABLE,  128, 3, 16.07, 15.88 },
  { ARTICLE_PUBLISHED, ARTICLE_STEP_TABLE,  256, 3, 16.03, 15.94 },
  { ARTICLE_PUBLISHED, ARTICLE_STEP_TABLE,  512, 3, 16.00, 15.94 },
  { ARTICLE_PUBLISHED, ARTICLE_STEP_TABLE, 1024, 3,  8.04,  8.00 },
  { ARTICLE_PUBLISHED, ARTICLE_STEP_TABLE, 2048, 3,  4.03,  3.99 },
  /* The same table in the text of 2023-12-28 */
  { ARTICLE_DRAFT,     ARTICLE_STEP_TABLE,  128, 3, 16.07, 15.87 },
  { ARTICLE_DRAFT,     ARTICLE_STEP_TABLE,  256, 3, 16.04, 15.94 },
  { ARTICLE_DRAFT,     ARTICLE_STEP_TABLE,  512, 3, 16.01, 15.95 },
  { ARTICLE_DRAFT,     ARTICLE_STEP_TABLE, 1024, 3,  8.01,  7.98 },
  { ARTICLE_DRAFT,     ARTICLE_STEP_TABLE, 2048, 3,  4.02,  4.00 },
};
/* clang-format on */

#define N_ROWS (sizeof rows / sizeof rows[0])

const struct article_figures *article_find_phase(int example, int phase) {
  for (size_t i = 0; i < N_ROWS; i++)
    if (rows[i].source == ARTICLE_PUBLISHED && rows[i].example == example && rows[i].phase == phase) return &rows[i];
  return NULL;
}

const struct article_figures *article_find_step(enum article_source source, size_t step) {
  for (size_t i = 0; i < N_ROWS; i++)
    if (rows[i].source == source && rows[i].example == ARTICLE_STEP_TABLE && rows[i].step == step) return &rows[i];
  return NULL;
}
