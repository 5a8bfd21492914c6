/* test_metrics.c - gc_print_metrics: text that strict readers accept, and the figures of gc_read_stats in it. The reader is
 * tests/tools/check_metrics.py, which is shown wrong texts too. */
#include <libgen.h>

#include "gc_debug.h"
#include "gc_stats.h"
#include "hide.h"

#define PREFIX "holdfast_memstats_"

static struct gc_stats now;
static char *text;
static size_t text_size;

static void print_text(void) {
  FILE *to = open_memstream(&text, &text_size);
  REQUIRE(to != NULL && gc_print_metrics(to) == 0 && fclose(to) == 0);
}

/* The reader's exit status for a text. */
static int read_by_script(const char *what) {
  char here[] = __FILE__, command[4096];
  snprintf(command, sizeof command, "python3 %s/../tools/check_metrics.py >/dev/null 2>&1", dirname(here));
  FILE *to = popen(command, "w");
  REQUIRE(to != NULL && fputs(what, to) >= 0);
  return pclose(to);
}

static root keep[3000];

static void make_some(void) {
  for (size_t i = 0; i < 3000; i++) keep[i] = i % 3 == 0 ? gc_alloc_noscan(i) : gc_alloc(i * (i % 100 == 0 ? 100 : 1));
  for (size_t i = 0; i < 3000; i += 2) keep[i] = NULL;
  gc_collect();
  gc_disable();
}

START_TEST(readers_accept_it) {
  make_some();
  print_text();
  REQUIRE_MSG(read_by_script(text) == 0, "not accepted: %s", text);
}
END_TEST

/* What is planted in place of what. */
static const struct fault {
  const char *there, *planted;
} faults[] = {
    {"# EOF\n", ""},
    {"mallocs_total", "mallocs"},
    {"# TYPE " PREFIX "sys_bytes gauge\n", ""},
    {"# HELP " PREFIX "sys_bytes", "# HELP " PREFIX "alloc_bytes"},
    {"gc_pause_seconds_count ", "gc_pause_seconds_count 1"},
    {"gc_pause_seconds_bucket{le=\"0.000000003\"} 0", "gc_pause_seconds_bucket{le=\"0.000000003\"} 99999"},
    {"{le=\"+Inf\"}", "{le=\"9.0\"}"},
    {"class_mallocs_total{size=\"16\"}", "class_mallocs_total{size=\"8\"}"},
    {"\n" PREFIX "heap_objects ", "\n" PREFIX "heap_objects x"},
    {"gc_pause_seconds_sum", "gc_pause_seconds_total"},
    {" seconds\n", " bytes\n"},
};

START_TEST(readers_refuse_faults) {
  const struct fault *f = &faults[_i];
  print_text();
  char *at = strstr(text, f->there), *wrong = malloc(text_size + 100);
  REQUIRE_MSG(at != NULL, "nowhere: %s", f->there);
  snprintf(wrong, text_size + 100, "%.*s%s%s", (int)(at - text), text, f->planted, at + strlen(f->there));
  REQUIRE_MSG(read_by_script(wrong) != 0, "accepted: %s for %s", f->planted, f->there);
  free(wrong);
}
END_TEST

static void require_line(const char *name, const char *value) {
  char line[200];
  snprintf(line, sizeof line, "\n" PREFIX "%s %s\n", name, value);
  REQUIRE_MSG(strstr(text, line) != NULL, "missing: %s", line + 1);
}

static void require_count(const char *name, uint64_t value) {
  char v[32];
  snprintf(v, sizeof v, "%" PRIu64, value);
  require_line(name, v);
}

static void require_seconds(const char *name, uint64_t ns) {
  char v[40];
  snprintf(v, sizeof v, "%" PRIu64 ".%09" PRIu64, ns / 1000000000, ns % 1000000000);
  require_line(name, v);
}

static uint64_t sum_of(const uint64_t *v, size_t n) {
  uint64_t sum = 0;
  for (size_t i = 0; i < n; i++) sum += v[i];
  return sum;
}

START_TEST(figures_are_those_of_read_stats) {
  make_some();
  print_text();
  gc_read_stats(&now);
  require_count("alloc_bytes", now.alloc);
  require_count("allocated_bytes_total", now.total_alloc);
  require_count("sys_bytes", now.sys);
  require_count("mallocs_total", now.mallocs);
  require_count("frees_total", now.frees);
  require_count("heap_inuse_bytes", now.heap_inuse);
  require_count("heap_objects", now.heap_objects);
  require_count("gc_cycles_total", now.num_gc);
  require_seconds("last_gc_time_seconds", now.last_gc);
  require_seconds("pause_seconds_total", now.pause_total_ns);
  require_seconds("gc_pause_seconds_sum", now.pause_total_ns);
  require_count("gc_pause_seconds_count", sum_of(now.pause_hist, GC_STATS_BUCKETS));
  require_count("gc_pause_seconds_bucket{le=\"0.001048575\"}", sum_of(now.pause_hist, 20));
  require_count("gc_assist_seconds_bucket{le=\"+Inf\"}", sum_of(now.assist_hist, GC_STATS_BUCKETS));
  require_count("class_mallocs_total{size=\"large\"}", now.by_size[0].mallocs);
  require_count("class_frees_total{size=\"32768\"}", now.by_size[GC_STATS_CLASSES - 1].frees);
  require_line("hard_limit_bytes", "+Inf");
  gc_set_hard_limit((size_t)1 << 40);
  print_text();
  require_count("hard_limit_bytes", (uint64_t)1 << 40);
}
END_TEST

START_TEST(failed_writing_is_told) {
  FILE *full = fopen("/dev/full", "w");
  REQUIRE(full != NULL);
  setvbuf(full, NULL, _IONBF, 0);
  REQUIRE(gc_print_metrics(full) == -1);
  fclose(full);
}
END_TEST

int main(void) {
  Suite *s = suite_create("metrics");
  TCase *tc = suite_case(s, "metrics");
  tcase_add_test(tc, readers_accept_it);
  tcase_add_loop_test(tc, readers_refuse_faults, 0, (int)(sizeof faults / sizeof *faults));
  tcase_add_test(tc, figures_are_those_of_read_stats);
  tcase_add_test(tc, failed_writing_is_told);
  return suite_main(s);
}
