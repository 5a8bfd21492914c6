/* test_options.c - runtime/options.h: each row of options.def with good and with bad values, and what is said
 * about names that are not known. */
#include <sys/stat.h>

#include "unit.h"

#include "runtime/cgroup.h"

extern char **environ;

enum kind { INT, PERCENT, WORD, MEMORY };

static const struct row {
  const char *env, *words;
  int *value; /* NULL for amounts of memory, which have tests of their own */
  enum kind kind;
  int initial, min, max;
} rows[] = {
#define OPT(field, env, kind, def, min, max, doc) {env, NULL, &options.field, kind, def, min, max},
#define OPT_WORD(field, env, words, def, doc) {env, words, &options.field, WORD, def, 0, 0},
#define OPT_MEMORY(field, env, doc) {env, NULL, NULL, MEMORY, 0, 0, 0},
#include "runtime/options.def"
#undef OPT
#undef OPT_WORD
#undef OPT_MEMORY
};
enum { ROWS = sizeof rows / sizeof rows[0] };

static char said[2000];

static void read_them(void *unused) {
  (void)unused;
  options_read();
}

/* Reads an environment of one entry and one stranger; what was said is in `said`. */
static void read_entry(char *entry) {
  char stranger[] = "HOME=GC_PERCENT=1", *env[] = {stranger, entry, NULL}, **saved = environ;
  environ = env;
  capture_stderr(read_them, NULL, said, sizeof said);
  environ = saved;
}

static void set_defaults(void) {
  for (int i = 0; i < ROWS; i++)
    if (rows[i].value != NULL) *rows[i].value = rows[i].initial;
  options.memory_limit = options.hard_limit = UINT64_MAX;
}

/* Every option but this row's has its default. */
static void require_others_untouched(const struct row *r) {
  for (int i = 0; i < ROWS; i++)
    if (&rows[i] != r && rows[i].value != NULL)
      REQUIRE_MSG(*rows[i].value == rows[i].initial, "%s changed", rows[i].env);
}

static void expect_good(const struct row *r, const char *text, int value) {
  char entry[200];
  set_defaults();
  snprintf(entry, sizeof entry, "%s=%s", r->env, text);
  read_entry(entry);
  REQUIRE_MSG(*r->value == value, "%s gives %d", entry, *r->value);
  REQUIRE_MSG(said[0] == '\0', "%s: %s", entry, said);
  require_others_untouched(r);
}

/* The one line names the variable and its value, and tells the accepted form. */
static void expect_bad(const struct row *r, const char *text) {
  char entry[200], start[300];
  set_defaults();
  snprintf(entry, sizeof entry, "%s=%s", r->env, text);
  snprintf(start, sizeof start, "holdfast: %s is ignored: it takes ", entry);
  read_entry(entry);
  REQUIRE_MSG(*r->value == r->initial, "%s was taken as %d", entry, *r->value);
  REQUIRE_MSG(strncmp(said, start, strlen(start)) == 0, "%s: said '%s'", entry, said);
  REQUIRE_MSG(strstr(said, option_rows[r - rows].form) != NULL, "%s: no form in '%s'", entry, said);
  REQUIRE_MSG(strchr(said, '\n') == said + strlen(said) - 1, "%s: not one line: '%s'", entry, said);
  require_others_untouched(r);
}

static void expect_number(const struct row *r, int value) {
  char text[40];
  snprintf(text, sizeof text, "%d", value);
  expect_good(r, text, value);
  snprintf(text, sizeof text, "%08d", value);
  expect_good(r, text, value);
}

static void good_numbers(const struct row *r) {
  expect_number(r, r->min);
  expect_number(r, r->min + 1);
  expect_number(r, (r->min + r->max) / 2);
  expect_number(r, r->max);
  if (r->kind == PERCENT) expect_good(r, "off", -1);
}

static void bad_numbers(const struct row *r) {
  static const char *const bad[] = {"",
                                    "-1",
                                    "+1",
                                    " 1",
                                    "1 ",
                                    "1x",
                                    "x",
                                    "0x1",
                                    "1.0",
                                    "on",
                                    "OFF",
                                    "99999999999999999999999999",
                                    "18446744073709551616"};
  char text[40];
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) expect_bad(r, bad[i]);
  snprintf(text, sizeof text, "%ld", (long)r->max + 1);
  expect_bad(r, text);
  if (r->kind != PERCENT) expect_bad(r, "off");
}

static void words(const struct row *r) {
  char copy[100], *at = copy;
  snprintf(copy, sizeof copy, "%s", r->words);
  for (int place = 0; at != NULL; place++) {
    char *word = strsep(&at, "|"), longer[110];
    expect_good(r, word, place);
    snprintf(longer, sizeof longer, "%sx", word);
    expect_bad(r, longer);
    word[strlen(word) - 1] = '\0';
    expect_bad(r, word);
  }
  expect_bad(r, "");
  expect_bad(r, "1");
  expect_bad(r, "|");
  expect_bad(r, r->words);
}

START_TEST(each_row) {
  const struct row *r = &rows[_i];
  REQUIRE(option_row_count == ROWS && strcmp(option_rows[_i].env, r->env) == 0);
  REQUIRE(option_rows[_i].initial == r->initial);
  if (r->kind == MEMORY) return;
  if (r->kind == WORD) {
    words(r);
    return;
  }
  good_numbers(r);
  bad_numbers(r);
}
END_TEST

/* ---- amounts of memory ---- */

static void expect_memory(const char *text, uint64_t bytes) {
  char soft[100], hard[100];
  snprintf(soft, sizeof soft, "GC_MEMORY_LIMIT=%s", text);
  snprintf(hard, sizeof hard, "GC_HARD_LIMIT=%s", text);
  set_defaults();
  read_entry(soft);
  REQUIRE_MSG(options.memory_limit == bytes && said[0] == '\0', "%s gives %lu, said '%s'", soft,
              (unsigned long)options.memory_limit, said);
  REQUIRE(options.hard_limit == UINT64_MAX);
  set_defaults();
  read_entry(hard);
  REQUIRE_MSG(options.hard_limit == bytes && said[0] == '\0', "%s gives %lu, said '%s'", hard,
              (unsigned long)options.hard_limit, said);
  REQUIRE(options.memory_limit == UINT64_MAX);
  require_others_untouched(NULL);
}

START_TEST(amounts) {
  uint64_t machine = os_physical_memory();
  expect_memory("1", 1);
  expect_memory("123456789B", 123456789);
  expect_memory("64K", 64 * KIB);
  expect_memory("64KiB", 64 * KIB);
  expect_memory("00100M", 100 * MIB);
  expect_memory("100MiB", 100 * MIB);
  expect_memory("3G", 3 * GIB);
  expect_memory("3GiB", 3 * GIB);
  expect_memory("2T", 2048 * GIB);
  expect_memory("2TiB", 2048 * GIB);
  expect_memory("9223372036854775807", INT64_MAX);
  expect_memory("off", UINT64_MAX);
  REQUIRE(machine >= 64 * MIB && machine < UINT64_MAX / 2);
  expect_memory("1%", machine / 100);
  expect_memory("70%", machine / 100 * 70);
  expect_memory("100%", machine / 100 * 100);
  expect_memory("cgroup:50%", cgroup_memory() / 100 * 50);
  REQUIRE(cgroup_memory() <= machine);
}
END_TEST

/* A value given before stays. */
START_TEST(bad_amounts) {
  static const char *const bad[] = {"",
                                    "0",
                                    "0M",
                                    "-1",
                                    "+1",
                                    " 1",
                                    "1 ",
                                    "x",
                                    "M",
                                    "10m",
                                    "10MB",
                                    "10Mi",
                                    "10MiBs",
                                    "10 M",
                                    "1.5G",
                                    "0x10",
                                    "10P",
                                    "none",
                                    "OFF",
                                    "0%",
                                    "101%",
                                    "-5%",
                                    "%",
                                    "5%%",
                                    "5.5%",
                                    "1000%",
                                    "50% ",
                                    "cgroup",
                                    "cgroup:",
                                    "cgroup:%",
                                    "cgroup:0%",
                                    "cgroup:101%",
                                    "cgroup:50",
                                    "group:50%",
                                    "cgroup:50%x",
                                    "9223372036854775808",
                                    "99999999999999999999999",
                                    "8388608T",
                                    "18446744073709551616"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    for (int hard = 0; hard < 2; hard++) {
      const char *name = hard ? "GC_HARD_LIMIT" : "GC_MEMORY_LIMIT";
      char entry[100], start[400];
      snprintf(entry, sizeof entry, "%s=%s", name, bad[i]);
      snprintf(start, sizeof start, "holdfast: %s is ignored: it takes %s\n", entry, FORM_MEMORY);
      set_defaults();
      read_entry(entry);
      REQUIRE_MSG(strcmp(said, start) == 0, "%s: said '%s'", entry, said);
      REQUIRE(options.memory_limit == UINT64_MAX && options.hard_limit == UINT64_MAX);
      require_others_untouched(NULL);
    }
}
END_TEST

static char folder[] = "/tmp/test_options.XXXXXX";

static const char *in_folder(const char *name) {
  static char path[8][200];
  static int next;
  snprintf(path[next % 8], sizeof path[0], "%s/%s", folder, name);
  return path[next++ % 8];
}

static void put_file(const char *name, const char *text) {
  FILE *f = fopen(in_folder(name), "w");
  REQUIRE(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
}

static uint64_t limit_for(const char *list) {
  put_file("list", list);
  return cgroup_limit(in_folder("list"), in_folder("v2"), in_folder("v1"));
}

START_TEST(control_groups) {
  static const char *const made[] = {"v2", "v2/a", "v2/a/b", "v1", "v1/a"};
  REQUIRE(mkdtemp(folder) != NULL);
  for (size_t i = 0; i < sizeof made / sizeof made[0]; i++) REQUIRE(mkdir(in_folder(made[i]), 0700) == 0);
  put_file("v2/a/memory.max", "300000000\n");
  put_file("v2/a/b/memory.max", "max\n");
  put_file("v1/memory.limit_in_bytes", "9223372036854771712\n");
  put_file("v1/a/memory.limit_in_bytes", "200000000\n");
  REQUIRE(limit_for("0::/a\n") == 300000000);
  REQUIRE(limit_for("0::/a/b\n") == 300000000); /* the group around it */
  REQUIRE(limit_for("0::/\n") == UINT64_MAX);
  REQUIRE(limit_for("0::/host/path/that/is/not/here\n") == UINT64_MAX);
  REQUIRE(limit_for("5:cpu,memory:/a\n4:pids:/\n0::/\n") == 200000000);
  REQUIRE(limit_for("5:memory,cpu:/a\n0::/a") == 200000000); /* the lesser; no newline at the end */
  REQUIRE(limit_for("5:memory:/x\n") == 9223372036854771712u);
  REQUIRE(limit_for("5:memoryx,xmemory:/a\n") == UINT64_MAX);
  put_file("v2/memory.max", "100000000\n");
  REQUIRE(limit_for("0::/host/path/that/is/not/here\n") == 100000000); /* in a container: the mount's own */
  REQUIRE(limit_for("") == UINT64_MAX && limit_for("nonsense\n:\n::\n") == UINT64_MAX);
  REQUIRE(cgroup_limit(in_folder("missing"), in_folder("v2"), in_folder("v1")) == UINT64_MAX);
}
END_TEST

static void expect_said(const char *entry, const char *part) {
  char copy[300];
  set_defaults();
  snprintf(copy, sizeof copy, "%s", entry);
  read_entry(copy);
  require_others_untouched(NULL);
  if (part == NULL)
    REQUIRE_MSG(said[0] == '\0', "%s: %s", entry, said);
  else
    REQUIRE_MSG(strstr(said, part) != NULL, "%s: %s", entry, said);
}

START_TEST(unknown_names) {
  expect_said("GC_PERCENTS=1", "unknown option GC_PERCENTS is ignored");
  expect_said("GC_PERCEN=1", "unknown option GC_PERCEN is ignored");
  expect_said("GC_=", "unknown option GC_ is ignored");
  expect_said("GC_A_NAME_LONGER_THAN_ANY_OF_OURS_0123456789_0123456789_0123456789=1",
              "unknown option GC_A_NAME_LONGER_THAN_ANY_OF_OURS");
}
END_TEST

START_TEST(silent_names) {
  expect_said("GC_INITIAL_HEAP_SIZE=1", NULL);
  expect_said("GC_PRINT_STATS=1", NULL);
  expect_said("GCC_COLORS=x", NULL);
  expect_said("gc_percent=x", NULL);
  expect_said("GC_PERCENT", NULL); /* no value: not an entry of an environment */
}
END_TEST

START_TEST(several_entries) {
  char a[] = "GC_PERCENT=50", b[] = "GC_MARKERS=3", c[] = "GC_TRACE=7", d[] = "GC_SCAVENGE=lazy";
  char *env[] = {a, b, c, d, NULL}, **saved = environ;
  set_defaults();
  environ = env;
  capture_stderr(read_them, NULL, said, sizeof said);
  environ = NULL;
  options_read(); /* an empty environment changes nothing */
  environ = saved;
  REQUIRE(options.percent == 50 && options.markers == 3 && options.trace == 0 && options.release == 1);
  REQUIRE(strstr(said, "GC_TRACE=7") != NULL && strstr(said, "GC_PERCENT") == NULL);
}
END_TEST

int main(void) {
  Suite *s = suite_create("options");
  TCase *tc = suite_case(s, "options");
  tcase_add_loop_test(tc, each_row, 0, ROWS);
  tcase_add_test(tc, unknown_names);
  tcase_add_test(tc, silent_names);
  tcase_add_test(tc, several_entries);
  tcase_add_test(tc, amounts);
  tcase_add_test(tc, bad_amounts);
  tcase_add_test(tc, control_groups);
  return suite_main(s);
}
