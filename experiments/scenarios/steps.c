/* steps.c - placeholder while the base is agreed: one object kept of many. */
#include "scenario.h"

static void **volatile slice;

LAB_STEP void allocate(size_t n) {
  slice = lab_new(n * sizeof(void *));
  for (size_t i = 0; i < n; i++) slice[i] = lab_new_noscan(16);
}

static void part(const char *name) {
  lab_measure();
  lab_row(name, 0, 0, NULL);
  allocate(1 << 20);
  lab_measure();
  lab_row(name, 1, 16 << 20, "a=%d", 1);
}

static void run(void) {
  const char *const parts[] = {"x", "y"};
  lab_run_parts(parts, 2, 0, 1);
  lab_expect(lab_fragmentation_mib(lab_find("x", 1)) < 1, "x");
}

int main(int argc, char **argv) {
  static const struct lab_scenario scenario = {
      .name = "steps", .question = "?", .workload = "w", .metric = "m", .finding = "f", .run = run, .part = part};
  return lab_main(argc, argv, &scenario);
}
