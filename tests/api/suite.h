/* suite.h - what every public test program shares.
 * Owns:     the seed and the scale of a run, the random numbers drawn from the seed, running one suite.
 * Promises: the seed is printed before the first test; suite_main returns 0 only when all tests passed.
 * Never:    reads the clock. Each test runs in a process of its own (Check's CK_FORK).
 * Next:     hide.h, how a test sees whether an object was collected. */
#ifndef HOLDFAST_TEST_SUITE_H
#define HOLDFAST_TEST_SUITE_H

#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Generous: it ends hung programs and must not fail a slow machine. CK_TIMEOUT_MULTIPLIER raises it, and so
 * does HOLDFAST_TEST_SCALE. */
#define SUITE_TIMEOUT_SECONDS 300

/* True in a process that Check does not watch, such as a fork of a test or a probe (reexec.h): a failure
 * there is told on stderr and aborts, since Check could not report it. */
static bool suite_alone __attribute__((unused));

static inline __attribute__((format(printf, 3, 4), noreturn)) void suite_abort(const char *file, int line,
                                                                               const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fprintf(stderr, "%s:%d: ", file, line);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
  abort();
}

/* Like ck_assert_msg, but free when it holds: Check reports every passed assertion through stdio, which
 * is too slow for a loop over a million objects and not safe beside other threads. */
#define REQUIRE_MSG(cond, ...)                                       \
  do {                                                               \
    if (!(cond)) {                                                   \
      if (suite_alone) suite_abort(__FILE__, __LINE__, __VA_ARGS__); \
      ck_abort_msg(__VA_ARGS__);                                     \
    }                                                                \
  } while (0)
#define REQUIRE(cond) REQUIRE_MSG(cond, "does not hold: %s", #cond)

static inline uint64_t suite_number(const char *env, uint64_t otherwise) {
  const char *text = getenv(env);
  char *end;
  if (text == NULL || *text == '\0') return otherwise;
  errno = 0;
  unsigned long long value = strtoull(text, &end, 0);
  if (errno != 0 || *end != '\0') {
    fprintf(stderr, "%s: not a number: %s\n", env, text);
    exit(2);
  }
  return (uint64_t)value;
}

static inline uint64_t suite_seed(void) { return suite_number("HOLDFAST_TEST_SEED", 20240229); }

/* How many times the default amount of work a torture test does. */
static inline uint64_t suite_scale(void) { return suite_number("HOLDFAST_TEST_SCALE", 1); }

/* -- random numbers: splitmix64, one state per user -- */
struct rng {
  uint64_t state;
};

static inline uint64_t rng_mix(uint64_t x) {
  x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
  return x ^ (x >> 31);
}

static inline uint64_t rng_next(struct rng *r) { return rng_mix(r->state += UINT64_C(0x9e3779b97f4a7c15)); }

/* A number below n (n > 0); the tiny bias of the remainder does not matter to a test. */
static inline size_t rng_below(struct rng *r, size_t n) { return (size_t)(rng_next(r) % n); }

/* -- running -- */
static inline TCase *suite_case(Suite *suite, const char *name) {
  TCase *tc = tcase_create(name);
  tcase_set_timeout(tc, SUITE_TIMEOUT_SECONDS * (double)suite_scale());
  suite_add_tcase(suite, tc);
  return tc;
}

static inline int suite_main(Suite *suite) {
  SRunner *runner = srunner_create(suite);
  printf("seed %" PRIu64 " (HOLDFAST_TEST_SEED)\n", suite_seed());
  fflush(stdout); /* or every forked test prints it again */
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
