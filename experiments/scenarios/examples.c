/* examples.c - Examples 1 to 4 of "Memory Fragmentation in Go" on every allocator. experiments/examples has them as the article
 * has them, on Holdfast; here they are scenarios like the others, to be compared.
 *
 * Rows:    variant example N, t its phase; each example is a process. live_bytes are those of the objects and arrays kept.
 * Finding: the differences to phase 1 are the article's within 0.10 MiB; asserted on Holdfast, told elsewhere.
 * By hand: where nobody collects, what a step drops is freed in it; of Example 1, whose array is kept by one address inside
 *          it, nothing can be. Copies are all made before the old objects are freed.
 * Reading: article.c has the figures. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../examples/article.h"
#include "scenario.h"

enum { COUNT = 1 << 20, NEW_COUNT = 1 << 19, STEP = 512, KEPT = COUNT / STEP, SMALL = 16, MEDIUM = 32 };

static void **volatile slice;
static void **volatile kept;
static void **volatile more;
static void *volatile object;

static int phase;
static char variant[16];

static void add_phase(uint64_t live) {
  lab_measure();
  lab_row(variant, ++phase, live, NULL);
  lab_progress(phase / 4.0);
}

LAB_STEP void allocate(void **volatile *to, size_t n, size_t size) {
  *to = lab_new(n * sizeof **to);
  for (size_t i = 0; i < n; i++) (*to)[i] = lab_new_noscan(size);
}

LAB_STEP void keep_every_512th(void) {
  kept = lab_new(KEPT * sizeof *kept);
  for (size_t i = 0; i < COUNT; i++)
    if (i % STEP == 0)
      kept[i / STEP] = slice[i];
    else
      lab_free(slice[i]);
  lab_free(slice);
  slice = NULL;
}

LAB_STEP void make_array(void) { slice = lab_new_noscan((size_t)COUNT * SMALL); }

LAB_STEP void keep_inside(void) {
  object = (char *)slice;
  slice = NULL;
}

LAB_STEP void drop_object(void) {
  lab_free(object);
  object = NULL;
}

LAB_STEP void keep_first(void) {
  object = slice[0];
  for (size_t i = 1; i < COUNT; i++) lab_free(slice[i]);
  lab_free(slice);
  slice = NULL;
}

LAB_STEP void copy_kept(void) {
  void **old = LAB_COLLECTS ? NULL : lab_new(KEPT * sizeof *old);
  for (size_t i = 0; i < KEPT; i++) {
    void *copy = lab_new_noscan(SMALL);
    memcpy(copy, kept[i], SMALL);
    if (old) old[i] = kept[i];
    kept[i] = copy;
  }
  for (size_t i = 0; old && i < KEPT; i++) lab_free(old[i]);
  lab_free(old);
}

static const uint64_t objects = (uint64_t)COUNT * SMALL, pointers = (uint64_t)COUNT * sizeof(void *),
                      survivors = KEPT * (SMALL + sizeof(void *));

static void example1(void) {
  make_array();
  add_phase(objects);
  keep_inside();
  add_phase(objects);
  drop_object();
  add_phase(0);
}

static void example2(void) {
  allocate(&slice, COUNT, SMALL);
  add_phase(objects + pointers);
  keep_first();
  add_phase(SMALL);
}

static void example3(void) {
  allocate(&slice, COUNT, SMALL);
  add_phase(objects + pointers);
  keep_every_512th();
  add_phase(survivors);
  allocate(&more, NEW_COUNT, MEDIUM);
  add_phase(survivors + NEW_COUNT * (uint64_t)(MEDIUM + sizeof(void *)));
}

static void example4(void) {
  allocate(&slice, COUNT, SMALL);
  keep_every_512th();
  add_phase(survivors);
  copy_kept();
  add_phase(survivors);
}

static void run_example(const char *name) {
  static void (*const examples[])(void) = {example1, example2, example3, example4};
  int which = atoi(name);
  snprintf(variant, sizeof variant, "example %d", which);
  add_phase(0);
  examples[which - 1]();
}

/* ---- beside the article ---- */

static bool is_off(double mib) { return mib > EXAMPLE_MAX_OFF || mib < -EXAMPLE_MAX_OFF; }

static void compare(const struct lab_row *row, const struct lab_row *base, int example) {
  const struct article_figures *there = article_find_phase(example, (int)row->t),
                               *first = article_find_phase(example, 1);
  double usage = lab_usage_mib(row) - lab_usage_mib(base);
  double fragmentation = lab_fragmentation_mib(row) - lab_fragmentation_mib(base);
  double their_usage = there->heap_usage - first->heap_usage;
  double their_fragmentation = there->max_fragmentation - first->max_fragmentation;
  lab_add_extra(row, "usage_mib=%.2f;fragmentation_mib=%.2f;article_usage_mib=%.2f;article_fragmentation_mib=%.2f",
                usage, fragmentation, their_usage, their_fragmentation);
  lab_expect(
      !is_off(usage - their_usage) && !is_off(fragmentation - their_fragmentation),
      "example %d, phase %.0f: usage %.2f and fragmentation %.2f MiB more than at first, the article has %.2f and %.2f",
      example, row->t, usage, fragmentation, their_usage, their_fragmentation);
}

static void run(void) {
  static const char *const parts[] = {"1", "2", "3", "4"};
  lab_run_parts(parts, 4, 0, 1);
  for (size_t i = 0; i < lab_row_count(); i++) {
    const struct lab_row *row = lab_row_at(i);
    if (row->t > 1) compare(row, lab_find(row->variant, 1), row->variant[strlen(row->variant) - 1] - '0');
  }
}

int main(int argc, char **argv) {
  static const struct lab_scenario scenario = {
      .name = "examples",
      .question = "What do the article's four examples hold on each allocator, and what does compaction by hand win?",
      .workload =
          "2^20 objects of 16 bytes: one array with an address kept inside it (1), one by one and one kept (2), every "
          "512th "
          "kept and another size allocated (3), every 512th kept and copied (4).",
      .metric = "heap usage and heap in use minus heap allocated at each phase, minus those of phase 1.",
      .finding =
          "Every phase is within 0.10 MiB of the article's: 16 MiB held by one address or by every 512th object, "
          "almost nothing after compaction.",
      .run = run,
      .part = run_example};
  return lab_main(argc, argv, &scenario);
}
