/* test_options.c - options from the environment: good ones take effect in silence; a bad one is named on
 * stderr with the form it takes, and the default stays. */
#include "gc_stats.h"
#include "hide.h"
#include "reexec.h"

static struct probe probe;
static struct gc_stats stats;

/* -- the probe: prints the percent in force and the cycles it ran -- */
static int probe_main(const char *what) {
  if (strcmp(what, "percent") != 0) return 3;
  for (int i = 0; i < 3; i++) {
    refill(100, 64);
    gc_collect();
  }
  gc_read_stats(&stats);
  int percent = gc_set_percent(100);
  printf("percent %d cycles %" PRIu64 "\n", percent, stats.num_gc);
  return 0;
}

static void require_percent(int expected) {
  int percent = 0;
  REQUIRE_MSG(sscanf(probe.out, "percent %d", &percent) == 1, "probe wrote: %s", probe.out);
  REQUIRE_MSG(percent == expected, "percent %d, not %d", percent, expected);
}

START_TEST(no_options) {
  probe_run(&probe, "percent", NULL, 0);
  require_percent(100);
  REQUIRE_MSG(probe.err[0] == '\0', "stderr: %s", probe.err);
}
END_TEST

static const struct {
  const char *env;
  int percent;
} good[] = {
    {"GC_PERCENT=50", 50},  {"GC_PERCENT=100", 100}, {"GC_PERCENT=400", 400},
    {"GC_PERCENT=off", -1}, {"GC_TRACE=0", 100},
};

START_TEST(good_options) {
  probe_run(&probe, "percent", good[_i].env, 0);
  require_percent(good[_i].percent);
  REQUIRE_MSG(probe.err[0] == '\0', "%s: stderr: %s", good[_i].env, probe.err);
}
END_TEST

/* The name that must be in the line, and a word of the accepted form (NULL: no form, the name is unknown). */
static const struct {
  const char *env, *name, *form;
} bad[] = {
    {"GC_PERCENT=abc", "GC_PERCENT", "off"},
    {"GC_PERCENT=", "GC_PERCENT", "off"},
    {"GC_PERCENT=50x", "GC_PERCENT", "off"},
    {"GC_PERCENT=-20", "GC_PERCENT", "off"},
    {"GC_PERCENT= 50", "GC_PERCENT", "off"},
    {"GC_PERCENT=0x50", "GC_PERCENT", "off"},
    {"GC_PERCENT=99999999999999999999999", "GC_PERCENT", "off"},
    {"GC_TRACE=yes", "GC_TRACE", "1"},
    {"GC_TRACE=2", "GC_TRACE", "1"},
    {"GC_ONE_PAST_END=maybe", "GC_ONE_PAST_END", "on"},
    {"GC_FOO=1", "GC_FOO", NULL},
    {"GC_PERCENTAGE=50", "GC_PERCENTAGE", NULL},
    {"GC_=1", "GC_", NULL},
};

START_TEST(bad_options) {
  probe_run(&probe, "percent", bad[_i].env, 0);
  require_percent(100);
  size_t length = strlen(probe.err);
  REQUIRE_MSG(length > 0 && strchr(probe.err, '\n') == probe.err + length - 1, "%s: not one line: \"%s\"", bad[_i].env,
              probe.err);
  const char *name = strstr(probe.err, bad[_i].name);
  REQUIRE_MSG(name != NULL, "%s: not named: %s", bad[_i].env, probe.err);
  /* The form stands behind the quoted option, whose value could contain it by chance. */
  const char *behind = strstr(probe.err, bad[_i].env);
  behind = behind != NULL ? behind + strlen(bad[_i].env) : name + strlen(bad[_i].name);
  if (bad[_i].form != NULL)
    REQUIRE_MSG(strstr(behind, bad[_i].form) != NULL, "%s: the accepted form is missing: %s", bad[_i].env, probe.err);
}
END_TEST

/* Not ours: other programs' variables are passed over in silence. */
START_TEST(foreign_variables) {
  static const char *const env[] = {"GCC_COLORS=auto", "GC=1", "gc_percent=3", "NOT_GC_PERCENT=x"};
  for (size_t i = 0; i < sizeof env / sizeof *env; i++) {
    probe_run(&probe, "percent", env[i], 0);
    require_percent(100);
    REQUIRE_MSG(probe.err[0] == '\0', "%s: stderr: %s", env[i], probe.err);
  }
}
END_TEST

START_TEST(trace_is_a_line_per_cycle) {
  unsigned long cycles = 0;
  probe_run(&probe, "percent", "GC_TRACE=1", 0);
  REQUIRE(sscanf(probe.out, "percent 100 cycles %lu", &cycles) == 1 && cycles >= 3);
  size_t lines = probe_lines(probe.err, "gc ");
  REQUIRE_MSG(lines == cycles, "%zu lines for %lu cycles:\n%s", lines, cycles, probe.err);
}
END_TEST

int main(int argc, char **argv) {
  if (argc > 1) return probe_main(argv[1]);
  Suite *s = suite_create("options");
  TCase *tc = suite_case(s, "options");
  tcase_add_test(tc, no_options);
  tcase_add_loop_test(tc, good_options, 0, (int)(sizeof good / sizeof *good));
  tcase_add_loop_test(tc, bad_options, 0, (int)(sizeof bad / sizeof *bad));
  tcase_add_test(tc, foreign_variables);
  tcase_add_test(tc, trace_is_a_line_per_cycle);
  return suite_main(s);
}
