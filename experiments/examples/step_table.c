/* step_table.c - the step table of "Memory Fragmentation in Go": Example 3 up to its phase 3 for several
 * steps, as differences to the empty heap. Fragmentation is worst where the step is what a page holds.
 *
 * Owns:    the table's rows, each from a process of its own: a heap that other rows have shaped would
 *          have another baseline.
 * Usage:   step_table [--csv] [--steps a,b,c]; "--row n" is how it calls itself for one row.
 * Verdict: as for the examples, against the published column; steps the article lacks are only printed.
 * Reading: examples.h, example3.c. */
#include <ctype.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "examples.h"

enum { COUNT = 1 << 20 };

extern char **environ;

struct options {
  int csv;
  const char *steps; /* comma-separated */
  size_t row;        /* this process does only this step; 0 for the whole table */
};

static const char *program;
static void **volatile slice;
static void **volatile bad_slice;

/* ---- one row ---- */

EXAMPLE_STEP void allocate_slice(void) {
  slice = example_allocate(COUNT, EXAMPLE_SMALL);
  example_use(slice);
}

EXAMPLE_STEP void keep_every(size_t step) {
  bad_slice = example_copy(slice, 0, COUNT, step);
  slice = NULL;
  example_use(slice, bad_slice);
}

static void print_pair(const struct options *options, const struct article_figures *article) {
  if (article == NULL)
    printf(options->csv ? ",," : " |     -      -");
  else
    printf(options->csv ? ",%.2f,%.2f" : " | %5.2f  %5.2f", article->heap_usage, article->max_fragmentation);
}

static void print_row(const struct options *options, const struct example_figures *here,
                      const struct example_figures *off) {
  const struct article_figures *published = article_find_step(ARTICLE_PUBLISHED, options->row);
  printf(options->csv ? "%zu,%.2f,%.2f" : "%7zu | %5.2f  %5.2f", options->row, example_tidy(here->heap_usage),
         example_tidy(here->max_fragmentation));
  print_pair(options, published);
  print_pair(options, article_find_step(ARTICLE_DRAFT, options->row));
  if (published == NULL)
    printf(options->csv ? ",," : " |     -      -");
  else
    printf(options->csv ? ",%.2f,%.2f" : " | %5.2f  %5.2f", example_tidy(off->heap_usage),
           example_tidy(off->max_fragmentation));
  printf(options->csv ? ",%.2f\n" : " | %5.2f\n", here->rss);
}

/* The heap addresses stay in the steps; the figures are static for the reason given at example_measure. */
static int run_row(const struct options *options) {
  static struct example_figures baseline, here, off;
  example_measure(&baseline);
  allocate_slice();
  keep_every(options->row);
  example_measure(&here);
  here.heap_usage -= baseline.heap_usage;
  here.max_fragmentation -= baseline.max_fragmentation;
  const struct article_figures *article = article_find_step(ARTICLE_PUBLISHED, options->row);
  if (article != NULL) {
    off.heap_usage = here.heap_usage - article->heap_usage;
    off.max_fragmentation = here.max_fragmentation - article->max_fragmentation;
  }
  print_row(options, &here, &off);
  if (example_output_lost(program)) return 1;
  const char *fault = example_fault(&baseline, &off);
  if (fault != NULL) fprintf(stderr, "%s: step %zu: %s\n", program, options->row, fault);
  return fault != NULL;
}

/* ---- the table ---- */

/* Reads a step off *at and moves it on; 0 when there is none. 1 to COUNT, so that something is kept. */
static size_t read_step(const char **at) {
  if (!isdigit((unsigned char)**at)) return 0;
  char *end;
  unsigned long step = strtoul(*at, &end, 10);
  *at = end;
  return step <= COUNT ? step : 0;
}

static int steps_are_valid(const char *at) {
  for (;;) {
    if (read_step(&at) == 0) return 0;
    if (*at == 0) return 1;
    if (*at++ != ',') return 0;
  }
}

/* Runs this program again for one row. Returns its exit status, 1 when it did not come to one. */
static int spawn_row(const struct options *options, size_t step) {
  char number[32], row[] = "--row", csv[] = "--csv", name[] = "step_table";
  snprintf(number, sizeof number, "%zu", step);
  char *arguments[] = {name, row, number, options->csv ? csv : NULL, NULL};
  pid_t child;
  int status;
  fflush(stdout); /* the child writes to the same file, after what is printed so far */
  if (posix_spawn(&child, "/proc/self/exe", NULL, NULL, arguments, environ) != 0 ||
      waitpid(child, &status, 0) != child) {
    fprintf(stderr, "%s: step %zu: cannot run a process for it\n", program, step);
    return 1;
  }
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  fprintf(stderr, "%s: step %zu: died of signal %d\n", program, step, WTERMSIG(status));
  return 1;
}

static int run_table(const struct options *options) {
  if (options->csv)
    printf(
        "step,heap_usage_mib,max_fragmentation_mib,article_heap_usage_mib,"
        "article_max_fragmentation_mib,draft_heap_usage_mib,draft_max_fragmentation_mib,"
        "heap_usage_off_mib,max_fragmentation_off_mib,rss_mib\n");
  else
    printf(
        "heapUsage and maxFragmentation minus baseline, MiB; off: here - article\n"
        "   step | here         | article      | its draft    | off          | RSS\n");
  int failed = 0;
  const char *at = options->steps;
  for (size_t step; (step = read_step(&at)) != 0; at += *at == ',') failed |= spawn_row(options, step) != 0;
  return example_output_lost(program) | failed;
}

/* Returns 0 when argv is not of the accepted form. */
static int read_options(int argc, char **argv, struct options *options) {
  for (int i = 1; i < argc; i++) {
    const char *value = i + 1 < argc ? argv[i + 1] : "";
    if (strcmp(argv[i], "--csv") == 0) {
      options->csv = 1;
    } else if (strcmp(argv[i], "--steps") == 0 && steps_are_valid(value)) {
      options->steps = value;
      i++;
    } else if (strcmp(argv[i], "--row") == 0 && (options->row = read_step(&value)) != 0 && *value == 0) {
      i++;
    } else {
      fprintf(stderr, "%s: bad argument '%s'; usage: %s [--csv] [--steps a,b,c] (each 1 to %d)\n", argv[0], argv[i],
              argv[0], COUNT);
      return 0;
    }
  }
  return 1;
}

int main(int argc, char **argv) {
  static struct options options = {.steps = "128,256,512,1024,2048"};
  program = argv[0];
  if (!read_options(argc, argv, &options)) return 2;
  return options.row != 0 ? run_row(&options) : run_table(&options);
}
