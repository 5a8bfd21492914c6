/* metrics.c - gc_print_metrics: the statistics as OpenMetrics text (the specification of that name, version 1.0).
 * Made from the table of api/stats.h, so a statistic that is added there is here too.
 *
 * The text is read by machines that refuse all of it when a line is wrong: a family's lines stand together, TYPE before
 * its samples, samples of counters end in _total, and no name is used twice. That is why Go's alloc_bytes_total is
 * allocated_bytes_total here: its family would be called alloc_bytes, as the gauge is. */
#include "api/stats.h"
#include "gc_debug.h"

#define PREFIX "holdfast_memstats_"

/* ns as seconds, exactly. */
static void print_seconds(FILE *to, uint64_t ns) {
  fprintf(to, "%llu.%09llu", (unsigned long long)(ns / 1000000000u), (unsigned long long)(ns % 1000000000u));
}

static void print_value(FILE *to, const struct stats_field *f, uint64_t v) {
  if (f->unit[0] == 'n')
    print_seconds(to, v);
  else if (v == UINT64_MAX)
    fputs("+Inf", to);
  else
    fprintf(to, "%llu", (unsigned long long)v);
  fputc('\n', to);
}

static void print_heading(FILE *to, const char *name, const char *type, const char *unit, const char *help) {
  fprintf(to, "# HELP " PREFIX "%s %s.\n# TYPE " PREFIX "%s %s\n", name, help, name, type);
  if (unit != NULL) fprintf(to, "# UNIT " PREFIX "%s %s\n", name, unit);
}

static void print_field(FILE *to, const struct gc_stats *s, const struct stats_field *f) {
  const char *unit = f->unit[0] == 'B' ? "bytes" : f->unit[0] == 'n' ? "seconds" : NULL;
  print_heading(to, f->metric, f->kind == COUNTER ? "counter" : "gauge", unit, f->help);
  fprintf(to, PREFIX "%s%s ", f->metric, f->kind == COUNTER ? "_total" : "");
  print_value(to, f, stats_value(s, f));
}

/* bucket i holds [2^i, 2^(i+1)) ns, and le means "up to and with"; what is longer than the last bound is in +Inf alone.
 * sum: of all, ns; NULL: not known. */
static void print_histogram(FILE *to, const char *name, const char *help, const uint64_t *bucket, const uint64_t *sum) {
  uint64_t count = 0;
  print_heading(to, name, "histogram", "seconds", help);
  for (unsigned i = 0; i < GC_STATS_BUCKETS - 1; i++) {
    fprintf(to, PREFIX "%s_bucket{le=\"", name);
    print_seconds(to, ((uint64_t)2 << i) - 1);
    fprintf(to, "\"} %llu\n", (unsigned long long)(count += bucket[i]));
  }
  count += bucket[GC_STATS_BUCKETS - 1];
  fprintf(to, PREFIX "%s_bucket{le=\"+Inf\"} %llu\n", name, (unsigned long long)count);
  if (sum == NULL) return; /* and no count either: one without the other is not allowed */
  fprintf(to, PREFIX "%s_count %llu\n", name, (unsigned long long)count);
  fprintf(to, PREFIX "%s_sum ", name);
  print_seconds(to, *sum);
  fputc('\n', to);
}

/* One counter of the size classes. */
static void print_by_size(FILE *to, const struct gc_stats *s, const char *name, const char *help, bool frees) {
  print_heading(to, name, "counter", NULL, help);
  for (unsigned i = 0; i < GC_STATS_CLASSES; i++) {
    const struct gc_stats_class *c = &s->by_size[i];
    fprintf(to, PREFIX "%s_total{size=\"", name);
    if (c->size == 0)
      fputs("large", to);
    else
      fprintf(to, "%llu", (unsigned long long)c->size);
    fprintf(to, "\"} %llu\n", (unsigned long long)(frees ? c->frees : c->mallocs));
  }
}

int gc_print_metrics(FILE *to) {
  struct gc_stats s;
  gc_read_stats(&s);
  for (size_t i = 0; i < stats_field_count; i++) print_field(to, &s, &stats_fields[i]);
  print_histogram(to, "gc_pause_seconds", "Times the world was stopped", s.pause_hist, &s.pause_total_ns);
  print_histogram(to, "gc_assist_seconds", "Times an allocation was kept to help marking", s.assist_hist, NULL);
  print_by_size(to, &s, "class_mallocs", "Objects ever allocated by size of their slot in bytes", false);
  print_by_size(to, &s, "class_frees", "Objects ever freed by size of their slot in bytes", true);
  fputs("# EOF\n", to);
  return ferror(to) ? -1 : 0;
}
