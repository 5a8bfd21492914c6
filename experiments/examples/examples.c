/* examples.c - the helpers of the examples: Allocate, Copy, PrintMemoryStats and Use, after the article
 * "Memory Fragmentation in Go", and the comparison with its figures.
 *
 * Owns:    the phase counter, the baseline, the verdict that becomes the exit status.
 * Promise: a measurement is preceded by everything that keeps stale addresses from being found.
 * Never:   looks inside the library: the public headers only.
 * Reading: example_measure first; the figures are in article.c. */
#include "examples.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gc_stats.h"

static struct {
  const char *program;
  int csv;
  int example;
  int phase;
  int failed;
  struct example_figures baseline; /* of phase 1 */
} state;

/* ---- allocating ---- */

static void *or_die(void *memory) {
  if (memory == NULL) {
    fprintf(stderr, "%s: out of memory\n", state.program != NULL ? state.program : "example");
    exit(1);
  }
  return memory;
}

/* noscan because Go's [n]byte holds no pointers either; cleared because Go's is, and because memory that
 * was never touched is not resident and so not heap usage. */
EXAMPLE_NOINLINE void *example_new(size_t size) {
  void *object = or_die(gc_alloc_noscan(size));
  memset(object, 0, size);
  return object;
}

EXAMPLE_NOINLINE void **example_allocate(size_t n, size_t size) {
  void **array = or_die(gc_calloc(n, sizeof *array));
  for (size_t i = 0; i < n; i++) array[i] = example_new(size);
  return array;
}

EXAMPLE_NOINLINE void **example_copy(void **array, size_t start, size_t stop, size_t step) {
  size_t n = (stop - start + step - 1) / step;
  void **copy = or_die(gc_calloc(n, sizeof *copy));
  for (size_t i = 0; i < n; i++) copy[i] = array[start + i * step];
  return copy;
}

/* ---- measuring ---- */

EXAMPLE_STEP void collect_and_release(void) {
  STALE_FORGET_REGISTERS();
  gc_release_memory();
}

/* Resident set in MiB, 0 when /proc does not tell. read instead of stdio: nothing is allocated. */
static double resident_mib(void) {
  char text[128];
  int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  ssize_t length = read(fd, text, sizeof text - 1);
  close(fd);
  if (length <= 0) return 0;
  text[length] = 0;
  char *resident = strchr(text, ' ');
  if (resident == NULL) return 0;
  return (double)strtoul(resident, NULL, 10) * (double)sysconf(_SC_PAGESIZE) / EXAMPLE_MIB;
}

EXAMPLE_STEP void read_figures(struct example_figures *out) {
  static struct gc_stats stats; /* static: several KiB that need not be on the stack */
  gc_read_stats(&stats);
  out->heap_usage = ((double)stats.heap_sys - (double)stats.heap_released) / EXAMPLE_MIB;
  out->max_fragmentation = ((double)stats.heap_inuse - (double)stats.heap_alloc) / EXAMPLE_MIB;
  out->rss = resident_mib();
}

/* No locals, so that this frame, which stays during the collection, has no word that it did not set;
 * everything below it is wiped. */
EXAMPLE_NOINLINE void example_measure(struct example_figures *out) {
  stale_wipe_stack();
  collect_and_release();
  read_figures(out);
}

/* ---- comparing and printing ---- */

double example_tidy(double mib) { return mib < 0 && mib > -0.005 ? 0.0 : mib; }

static int is_off(double mib) { return mib > EXAMPLE_MAX_OFF || mib < -EXAMPLE_MAX_OFF; }

const char *example_fault(const struct example_figures *baseline, const struct example_figures *off) {
  if (baseline->heap_usage > EXAMPLE_MAX_BASELINE) return "heapUsage of the empty heap is above 0.41 MiB";
  if (is_off(off->heap_usage)) return "heapUsage is more than 0.10 MiB off the article's";
  if (is_off(off->max_fragmentation)) return "maxFragmentation is more than 0.10 MiB off the article's";
  return NULL;
}

int example_output_lost(const char *program) {
  if (fflush(stdout) == 0 && !ferror(stdout)) return 0;
  fprintf(stderr, "%s: cannot write the output\n", program);
  return 1;
}

static void print_header(void) {
  if (state.csv)
    printf(
        "example,phase,heap_usage_mib,max_fragmentation_mib,article_heap_usage_mib,"
        "article_max_fragmentation_mib,heap_usage_off_mib,max_fragmentation_off_mib,rss_mib\n");
  else
    printf("Example %d, MiB. off: (here - phase 1 here) - (article - its phase 1)\n", state.example);
}

static void print_phase(const struct example_figures *here, const struct article_figures *article,
                        const struct example_figures *off) {
  const char *form = state.csv ? "%d,%d,%.2f,%.2f,%.2f,%.2f,%.2f,%.2f,%.2f\n"
                               : "%d (%d) heapUsage: %5.2f MiB, maxFragmentation: %5.2f MiB | article %5.2f, %5.2f"
                                 " | off %5.2f, %5.2f | RSS %5.2f\n";
  printf(form, state.example, state.phase, here->heap_usage, here->max_fragmentation, article->heap_usage,
         article->max_fragmentation, example_tidy(off->heap_usage), example_tidy(off->max_fragmentation), here->rss);
}

static void fail(const char *why) {
  fflush(stdout); /* so that the complaint follows its line; example_main looks at lost output */
  fprintf(stderr, "%s: phase %d: %s\n", state.program, state.phase, why);
  state.failed = 1;
}

static void compare(const struct example_figures *here, struct example_figures *off) {
  const struct article_figures *first = article_find_phase(state.example, 1);
  const struct article_figures *now = article_find_phase(state.example, state.phase);
  if (first == NULL || now == NULL) {
    fail("the article has no such phase");
    return;
  }
  off->heap_usage = (here->heap_usage - state.baseline.heap_usage) - (now->heap_usage - first->heap_usage);
  off->max_fragmentation = (here->max_fragmentation - state.baseline.max_fragmentation) -
                           (now->max_fragmentation - first->max_fragmentation);
  print_phase(here, now, off);
  const char *fault = example_fault(&state.baseline, off);
  if (fault != NULL) fail(fault);
}

EXAMPLE_NOINLINE void example_print_memory_stats(void) {
  static struct example_figures here, off; /* static for the reason given at example_measure */
  example_measure(&here);
  if (++state.phase == 1) state.baseline = here;
  compare(&here, &off);
}

/* ---- the command ---- */

int example_main(int argc, char **argv, int example, void (*run)(void)) {
  state.program = argv[0];
  state.example = example;
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--csv") != 0) {
      fprintf(stderr, "%s: unknown argument '%s'; usage: %s [--csv]\n", argv[0], argv[i], argv[0]);
      return 2;
    }
    state.csv = 1;
  }
  print_header();
  run();
  return example_output_lost(argv[0]) | state.failed;
}
