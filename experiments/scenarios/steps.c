/* steps.c - Example 3 of "Memory Fragmentation in Go" as a curve: every k-th of many objects is kept, for k from 1 to
 * 8192 and sizes from 8 to 2048, beside what the number of slots in a span predicts.
 *
 * Owns:    the rows, each from a process of its own: a heap that other rows have shaped has another baseline.
 * Rows:    variant size=BYTES, t the step; extra has the baseline, the prediction, and the article's figure where it
 *          has one. usage_mib and fragmentation_mib there are differences to the baseline, as in the article.
 * Finding: on Holdfast every row is as predicted, and the article's five rows come out, within 0.10 MiB.
 * Reading: geometry.c has the formula. */
#include <inttypes.h>
#include <stdlib.h>

#include "../examples/article.h"
#include "geometry.h"
#include "scenario.h"

enum {
  ARTICLE_SIZE = 16,
  BYTES = 16 << 20
}; /* BYTES: of objects, whatever their size: 2^20 of 16 bytes, as in the article */

static void **volatile slice;
static void **volatile kept;

/* ---- one row ---- */

LAB_STEP void allocate_all(size_t n, size_t size) {
  slice = lab_new(n * sizeof *slice);
  for (size_t i = 0; i < n; i++) slice[i] = lab_new_noscan(size);
}

LAB_STEP void keep_every(size_t n, size_t step) {
  kept = lab_new((n + step - 1) / step * sizeof *kept);
  for (size_t i = 0; i < n; i++)
    if (i % step == 0)
      kept[i / step] = slice[i];
    else
      lab_free(slice[i]);
  lab_free(slice);
  slice = NULL;
}

static void run_row(const char *name) {
  char *end;
  size_t size = strtoul(name, &end, 10), step = strtoul(end + 1, NULL, 10), n = BYTES / size;
  static struct lab_figures base; /* static for the reason given at lab_measure */
  char variant[32];
  lab_measure();
  base = *lab_figures();
  allocate_all(n, size);
  keep_every(n, step);
  lab_measure();
  snprintf(variant, sizeof variant, "size=%zu", size);
  lab_row(variant, (double)step, (n + step - 1) / step * size,
          "base_alloc=%" PRIu64 ";base_inuse=%" PRIu64 ";base_usage=%" PRIu64, base.heap_alloc, base.heap_inuse,
          base.heap_usage);
}

/* ---- the prediction beside it ---- */

static double off_baseline(const struct lab_row *row, uint64_t value, const char *base) {
  return ((double)value - lab_extra(row, base)) / LAB_MIB;
}

/* The tolerance is the one for the article's figures. */
static bool is_off(double mib) { return mib > EXAMPLE_MAX_OFF || mib < -EXAMPLE_MAX_OFF; }

/* The article is about heaps whose spans are Go's. */
static bool is_laid_out_as_go(const struct geometry *objects) {
  struct go_class class = go_class_of(ARTICLE_SIZE);
  return objects->slot == class.slot && objects->span == class.span;
}

static void compare_article(const struct lab_row *row, size_t step, double usage, double fragmentation) {
  const struct article_figures *article = article_find_step(ARTICLE_PUBLISHED, step);
  if (!article) return;
  lab_add_extra(row, "article_usage_mib=%.2f;article_fragmentation_mib=%.2f", article->heap_usage,
                article->max_fragmentation);
  lab_expect(!is_off(usage - article->heap_usage) && !is_off(fragmentation - article->max_fragmentation),
             "step %zu: usage %.2f and fragmentation %.2f MiB, the article has %.2f and %.2f", step, usage,
             fragmentation, article->heap_usage, article->max_fragmentation);
}

/* The array of the kept objects' addresses is an object of the heap, too. */
static void compare_row(const struct lab_row *row, size_t size, size_t step) {
  double inuse = off_baseline(row, row->at.heap_inuse, "base_inuse");
  double alloc = off_baseline(row, row->at.heap_alloc, "base_alloc");
  double usage = off_baseline(row, row->at.heap_usage, "base_usage");
  struct geometry objects = geometry_of(size, 1);
  struct prediction expected = geometry_predict(&objects, BYTES / size, step);
  struct geometry array = geometry_of(expected.kept * sizeof(void *), 0);
  lab_add_extra(row, "usage_mib=%.3f;fragmentation_mib=%.3f", usage, inuse - alloc);
  lab_expect(objects.span, "it has no spans, nothing is predicted");
  if (objects.span) {
    double fragmentation = (double)(expected.inuse - expected.alloc + array.span - array.slot) / LAB_MIB;
    double held = (double)(expected.inuse + array.span) / LAB_MIB;
    double occupancy = (alloc * LAB_MIB - (double)array.slot) / (inuse * LAB_MIB - (double)array.span);
    lab_add_extra(row, "predicted_usage_mib=%.3f;predicted_fragmentation_mib=%.3f", held, fragmentation);
    lab_add_extra(row, "occupancy=%.5f;predicted_occupancy=%.5f", occupancy,
                  (double)expected.alloc / (double)expected.inuse);
    lab_expect(!is_off(inuse - held) && !is_off(inuse - alloc - fragmentation),
               "size %zu, step %zu: in use %.2f, fragmentation %.2f MiB, predicted %.2f and %.2f", size, step, inuse,
               inuse - alloc, held, fragmentation);
  }
  if (size == ARTICLE_SIZE && is_laid_out_as_go(&objects)) compare_article(row, step, usage, inuse - alloc);
}

/* ---- the curve ---- */

static const size_t sizes[] = {8, 16, 24, 32, 48, 64, 96, 128, 256, 512, 1024, 2048}, few_sizes[] = {8, 16, 48, 2048};
static const size_t steps[] = {1,   2,   3,   4,   6,   8,   12,   16,   24,   32,   48,   64,   96,
                               128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192};
static const size_t few_steps[] = {1, 16, 128, 256, 512, 1024, 2048, 8192};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static void run_curve(const size_t *size, size_t n_sizes, const size_t *step, size_t n_steps) {
  for (size_t i = 0; i < n_sizes * n_steps; i++) {
    char name[48];
    const char *const part[] = {name};
    snprintf(name, sizeof name, "%zu/%zu", size[i / n_steps], step[i % n_steps]);
    lab_run_parts(part, 1, i, n_sizes * n_steps);
    compare_row(lab_row_at(i), size[i / n_steps], step[i % n_steps]);
    lab_progress((double)(i + 1) / (double)(n_sizes * n_steps));
  }
}

static void run(void) {
  if (lab_small())
    run_curve(few_sizes, COUNT(few_sizes), few_steps, COUNT(few_steps));
  else
    run_curve(sizes, COUNT(sizes), steps, COUNT(steps));
}

int main(int argc, char **argv) {
  static const struct lab_scenario scenario = {
      .name = "steps",
      .question =
          "How much memory do survivors hold when every k-th object of a size is kept, and can it be predicted?",
      .workload =
          "16 MiB of noscan objects of one size, one after the other into an empty heap; then all but every k-th "
          "are dropped; a process for each size and k.",
      .metric = "heap in use and heap in use minus heap allocated, both minus the empty heap's.",
      .finding =
          "With m objects in a span, min(n / m, n / k) of the spans survive, each 1 / min(k, m) full: the worst k is "
          "m, "
          "512 for 16 bytes, and each row is within 0.10 MiB of that and of the article's.",
      .run = run,
      .part = run_row};
  return lab_main(argc, argv, &scenario);
}
