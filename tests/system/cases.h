/* cases.h - tests that each run in a process of their own that has loaded the library afresh: this program
 * again, with the name of the case as its argument. Check runs its tests in forked children, and such
 * a child may collect by other means than a process that loaded the library.
 * Owns:     the table of cases of a program, the ways in which each is run.
 * By hand:  build/release/tests/test_NAME CASE runs one case alone, with the options in the environment, but unprepared.
 * Next:     beside.h, the thread that collects meanwhile. */
#ifndef HOLDFAST_TEST_CASES_H
#define HOLDFAST_TEST_CASES_H

#include "reexec.h"

struct test_case {
  const char *name;
  void (*run)(void);
  void (*prepare)(const char *name); /* in the child, before it becomes the program again; or NULL */
};

/* The environment of each way: marking beside the program, also where the heap is too small to be worth it, and
 * always with the world stopped. */
enum { CASE_WAYS = 2 };
static const char *const case_ways[] = {"GC_CONCURRENT=always", "GC_CONCURRENT=off"};

static const struct test_case *case_table;
static int case_count;
static const char *case_name; /* in the probe: which case this is */

START_TEST(in_a_fresh_process) {
  static struct probe probe;
  const struct test_case *c = &case_table[_i / CASE_WAYS];
  probe.prepare = c->prepare;
  probe_run(&probe, c->name, case_ways[_i % CASE_WAYS], 0);
  printf("%s: %s\n", c->name, probe.out); /* what the case says of itself; run.sh shows it on failure */
}
END_TEST

/* The probe's part. Returns the exit status, or -1 when argv names no case. */
static inline int cases_run(int argc, char **argv, const struct test_case *table, size_t count) {
  case_table = table;
  case_count = (int)count;
  for (size_t i = 0; argc > 1 && i < count; i++) {
    if (strcmp(argv[1], table[i].name) != 0) continue;
    suite_alone = true;
    case_name = table[i].name;
    table[i].run();
    return EXIT_SUCCESS;
  }
  return argc > 1 ? EXIT_FAILURE : -1;
}

static inline void cases_add(Suite *suite) {
  tcase_add_loop_test(suite_case(suite, "cases"), in_a_fresh_process, 0, CASE_WAYS * case_count);
}

/* The whole main of a program that consists of cases. */
static inline int cases_main(int argc, char **argv, const char *name, const struct test_case *table, size_t count) {
  int status = cases_run(argc, argv, table, count);
  if (status >= 0) return status;
  Suite *s = suite_create(name);
  cases_add(s);
  return suite_main(s);
}

#define CASES(table) (table), sizeof(table) / sizeof *(table)

#endif
