/* test_env.c - the other library's variables of the environment: what they do, which are ignored and when that is said.
 * Each runs in this program again, since they are read when the library is loaded. */
#include "hidden.h"

#include <fcntl.h>

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

enum { MIB = 1024 * 1024 };

/* -- the probe: tells what it is asked for -- */

static size_t cycles_in(size_t bytes) {
  size_t before = GC_get_gc_no();
  for (size_t made = 0; made < bytes; made += 1000) REQUIRE(GC_MALLOC(1000) != NULL);
  return GC_get_gc_no() - before;
}

static size_t room(void) {
  size_t n = 0;
  void **list = NULL, **p;
  while (n < 200 && (p = GC_MALLOC(MIB)) != NULL) {
    *p = list;
    list = p;
    n++;
  }
  return n;
}

static int tell(const char *what) {
  suite_alone = true;
  GC_set_all_interior_pointers(0);
  if (strcmp(what, "early") == 0) printf("%lu\n", GC_free_space_divisor); /* before GC_init */
  GC_set_warn_proc(GC_ignore_warn_proc);
  GC_INIT();
  if (strcmp(what, "cycles") == 0) printf("%zu\n", cycles_in((size_t)60 * MIB));
  if (strcmp(what, "room") == 0) printf("%zu\n", room());
  if (strcmp(what, "divisor") == 0) printf("%lu\n", GC_get_free_space_divisor());
  if (strcmp(what, "interior") == 0) printf("%zu\n", GC_size(GC_MALLOC(16)));
  if (strcmp(what, "unmap") == 0) printf("%d\n", GC_get_force_unmap_on_gcollect());
  if (strcmp(what, "incremental") == 0) printf("%d\n", GC_is_incremental_mode());
  if (strcmp(what, "requested") == 0) GC_enable_incremental(), printf("%d\n", GC_is_incremental_mode());
  if (strcmp(what, "pause") == 0) printf("%lu\n", GC_get_time_limit());
  if (strcmp(what, "parallel") == 0) printf("%d\n", GC_get_parallel());
  if (strcmp(what, "collect") == 0) GC_gcollect();
  return 0;
}

/* -- what they do -- */

static struct probe p;

static long with(const char *env, const char *what) {
  probe_run(&p, what, env, 0);
  REQUIRE_MSG(p.err[0] == '\0', "%s: stderr: %s", env != NULL ? env : "none", p.err);
  return strtol(p.out, NULL, 10);
}

START_TEST(they_set_what_they_say) {
  REQUIRE(with(NULL, "cycles") >= 2 && with("GC_DONT_GC=1", "cycles") == 0);
  REQUIRE(with("GC_INITIAL_HEAP_SIZE=100M", "cycles") == 0);
  REQUIRE(with("GC_INITIAL_HEAP_SIZE=100000k", "cycles") == 0);
  REQUIRE(with(NULL, "room") == 200);
  long n = with("GC_MAXIMUM_HEAP_SIZE=64M", "room");
  REQUIRE_MSG(n > 32 && n < 64, "%ld MiB", n);
  REQUIRE(with(NULL, "divisor") == 3 && with("GC_FREE_SPACE_DIVISOR=7", "divisor") == 7);
  REQUIRE(with("GC_FREE_SPACE_DIVISOR=7", "early") == 7);
  REQUIRE(with("GC_FREE_SPACE_DIVISOR=40", "cycles") > with(NULL, "cycles"));
  REQUIRE(with(NULL, "interior") == 16 && with("GC_ALL_INTERIOR_POINTERS=1", "interior") == 32);
  REQUIRE(with(NULL, "unmap") == 0 && with("GC_FORCE_UNMAP_ON_GCOLLECT=1", "unmap") == 1);
  REQUIRE(with(NULL, "incremental") == 0 && with("GC_ENABLE_INCREMENTAL=1", "incremental") == 1);
  REQUIRE(with(NULL, "requested") == 1 && with("GC_DISABLE_INCREMENTAL=1", "requested") == 0);
  REQUIRE(with("GC_PAUSE_TIME_TARGET=20", "pause") == 20);
  REQUIRE(with("GC_MARKERS=3", "parallel") == 2);
}
END_TEST

/* -- what is said -- */

static const char *const ignored[] = {"GC_NPROCS",
                                      "GC_USE_ENTIRE_HEAP",
                                      "GC_UNMAP_THRESHOLD",
                                      "GC_USE_GETWRITEWATCH",
                                      "GC_RETRY_SIGNALS",
                                      "GC_ONLY_LOG_TO_FILE",
                                      "GC_NO_BLACKLIST_WARNING",
                                      "GC_LARGE_ALLOC_WARN_INTERVAL",
                                      "GC_ABORT_ON_LEAK",
                                      "GC_FINDLEAK_DELAY_FREE",
                                      "GC_LOOP_ON_ABORT",
                                      "GC_DUMP_REGULARLY",
                                      "GC_PRINT_ADDRESS_MAP",
                                      "GC_PRINT_BACK_HEIGHT",
                                      "GC_BACKTRACES",
                                      "GC_COLLECT_AT_MALLOC",
                                      "GC_IGNORE_GCJ_INFO",
                                      "GC_PAUSE_TIME_TARGET",
                                      "GC_FULL_FREQUENCY"};
#define IGNORED (sizeof ignored / sizeof *ignored)

static void set_ignored(const char *what) {
  (void)what;
  for (size_t i = 0; i < IGNORED; i++) setenv(ignored[i], "1", 1);
}

START_TEST(what_is_ignored_is_told_under_print_stats) {
  char line[128];
  p.prepare = set_ignored;
  probe_run(&p, "collect", NULL, 0);
  REQUIRE_MSG(p.err[0] == '\0', "%s", p.err);
  probe_run(&p, "collect", "GC_PRINT_STATS=1", 0);
  p.prepare = NULL;
  for (size_t i = 0; i < IGNORED; i++) {
    snprintf(line, sizeof line, "holdfast: %s is ignored: ", ignored[i]);
    REQUIRE_MSG(probe_lines(p.err, line) == 1, "%s: %s", ignored[i], p.err);
  }
  REQUIRE_MSG(probe_lines(p.err, "holdfast: ") == IGNORED && probe_lines(p.err, "collection 1: ") == 1, "%s", p.err);
}
END_TEST

START_TEST(malformed_ones_are_told_once) {
  static const char *const wrong[] = {"GC_FREE_SPACE_DIVISOR=0",          "GC_FREE_SPACE_DIVISOR=-1",
                                      "GC_FREE_SPACE_DIVISOR=",           "GC_INITIAL_HEAP_SIZE=many",
                                      "GC_MAXIMUM_HEAP_SIZE=1X",          "GC_MAXIMUM_HEAP_SIZE=1MM",
                                      "GC_MAXIMUM_HEAP_SIZE=99999999999G"};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    char line[128];
    snprintf(line, sizeof line, "holdfast: %s is ignored: ", wrong[i]);
    probe_run(&p, "divisor", wrong[i], 0);
    REQUIRE_MSG(probe_lines(p.err, "") == 1 && probe_lines(p.err, line) == 1, "%s: %s", wrong[i], p.err);
    REQUIRE(strtol(p.out, NULL, 10) == 3);
  }
  probe_run(&p, "divisor", "GC_FREE_SPACE_DIVIDER=4", 0);
  REQUIRE_MSG(probe_lines(p.err, "holdfast: unknown option GC_FREE_SPACE_DIVIDER") == 1, "%s", p.err);
}
END_TEST

static char log_path[] = "/tmp/holdfast-env-test.XXXXXX";
static void print_to_log(const char *what) {
  (void)what;
  setenv("GC_PRINT_STATS", "1", 1);
}

START_TEST(the_log_goes_to_its_file) {
  char env[64], text[256] = "";
  int fd = mkstemp(log_path);
  REQUIRE(fd >= 0);
  snprintf(env, sizeof env, "GC_LOG_FILE=%s", log_path);
  p.prepare = print_to_log;
  probe_run(&p, "collect", env, 0);
  p.prepare = NULL;
  ssize_t n = read(fd, text, sizeof text - 1);
  close(fd);
  unlink(log_path);
  REQUIRE_MSG(n > 0 && strncmp(text, "collection 1: ", 14) == 0 && p.err[0] == '\0', "log: %s stderr: %s", text, p.err);
  probe_run(&p, "collect", "GC_LOG_FILE=/no/such/folder/log", 0);
  REQUIRE(probe_lines(p.err, "holdfast: GC_LOG_FILE=/no/such/folder/log is ignored: ") == 1);
}
END_TEST

int main(int argc, char **argv) {
  if (argc > 1) return tell(argv[1]);
  Suite *suite = suite_create("env");
  TCase *tc = suite_case(suite, "env");
  tcase_add_test(tc, they_set_what_they_say);
  tcase_add_test(tc, what_is_ignored_is_told_under_print_stats);
  tcase_add_test(tc, malformed_ones_are_told_once);
  tcase_add_test(tc, the_log_goes_to_its_file);
  return suite_main(suite);
}
