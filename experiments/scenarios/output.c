/* output.c - CSV, JSON and the table; see output.h. Runs after the last measurement, so stdio may allocate. */
#include "output.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

static FILE *open_stream(int fd) {
  FILE *to = fd < 0 ? NULL : fdopen(fd, "w");
  if (!to && fd >= 0) close(fd);
  return to;
}

static bool close_stream(FILE *to) {
  bool lost = ferror(to) != 0;
  return (fclose(to) != 0) | lost;
}

/* Signed: a heap can be in use less than it is allocated where an allocator counts differently. */
static int64_t fragmentation(const struct lab_row *row) {
  return (int64_t)row->at.heap_inuse - (int64_t)row->at.heap_alloc;
}

bool lab_write_csv(int fd, const struct lab_output *output) {
  FILE *to = open_stream(fd);
  if (!to) return true;
  fprintf(to,
          "scenario,allocator,variant,t,live_bytes,heap_alloc,heap_inuse,heap_usage,resident,fragmentation,extra\n");
  for (size_t i = 0; i < output->count; i++) {
    const struct lab_row *row = &output->rows[i];
    fprintf(to, "%s,%s,%s,%.10g,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRId64 ",%s\n",
            output->scenario->name, LAB_ALLOCATOR, row->variant, row->t, row->live_bytes, row->at.heap_alloc,
            row->at.heap_inuse, row->at.heap_usage, row->at.resident, fragmentation(row), row->extra);
  }
  return close_stream(to);
}

static void put_string(FILE *to, const char *text) {
  fputc('"', to);
  for (; *text; text++) {
    if (*text == '"' || *text == '\\') fputc('\\', to);
    if ((unsigned char)*text >= ' ') fputc(*text, to);
  }
  fputc('"', to);
}

static void put_field(FILE *to, const char *key, const char *text) {
  fprintf(to, "  \"%s\": ", key);
  put_string(to, text);
  fputs(",\n", to);
}

static void put_row(FILE *to, const struct lab_output *output, const struct lab_row *row, bool last) {
  fprintf(to, "    {\"scenario\": \"%s\", \"allocator\": \"%s\", \"variant\": ", output->scenario->name, LAB_ALLOCATOR);
  put_string(to, row->variant);
  fprintf(to,
          ", \"t\": %.10g, \"live_bytes\": %" PRIu64 ", \"heap_alloc\": %" PRIu64 ", \"heap_inuse\": %" PRIu64
          ", \"heap_usage\": %" PRIu64 ", \"resident\": %" PRIu64 ", \"fragmentation\": %" PRId64 ", \"extra\": ",
          row->t, row->live_bytes, row->at.heap_alloc, row->at.heap_inuse, row->at.heap_usage, row->at.resident,
          fragmentation(row));
  put_string(to, row->extra);
  fputs(last ? "}\n" : "},\n", to);
}

bool lab_write_json(int fd, const struct lab_output *output) {
  FILE *to = open_stream(fd);
  if (!to) return true;
  const struct lab_scenario *scenario = output->scenario;
  fputs("{\n", to);
  put_field(to, "scenario", scenario->name);
  put_field(to, "allocator", LAB_ALLOCATOR);
  put_field(to, "question", scenario->question);
  put_field(to, "workload", scenario->workload);
  put_field(to, "metric", scenario->metric);
  fputs("  \"finding\": {\"text\": ", to);
  put_string(to, scenario->finding);
  fprintf(to, ", \"holds\": %s, \"asserted\": %s, \"differs\": ", output->verdict->holds ? "true" : "false",
          output->verdict->asserted ? "true" : "false");
  put_string(to, output->verdict->differs);
  fputs("},\n  \"rows\": [\n", to);
  for (size_t i = 0; i < output->count; i++) put_row(to, output, &output->rows[i], i + 1 == output->count);
  fputs("  ]\n}\n", to);
  return close_stream(to);
}

bool lab_write_table(int fd, const struct lab_output *output) {
  FILE *to = open_stream(fd);
  if (!to) return true;
  fprintf(to, "%s on %s, MiB\n%s\n", output->scenario->name, LAB_ALLOCATOR, output->scenario->question);
  fprintf(to, "%-28s %8s %9s %9s %9s %9s %9s %9s  %s\n", "variant", "t", "live", "alloc", "inuse", "usage", "resident",
          "fragment.", "extra");
  for (size_t i = 0; i < output->count; i++) {
    const struct lab_row *row = &output->rows[i];
    fprintf(to, "%-28s %8g %9.2f %9.2f %9.2f %9.2f %9.2f %9.2f  %s\n", row->variant, row->t,
            (double)row->live_bytes / LAB_MIB, (double)row->at.heap_alloc / LAB_MIB,
            (double)row->at.heap_inuse / LAB_MIB, (double)row->at.heap_usage / LAB_MIB,
            (double)row->at.resident / LAB_MIB, (double)fragmentation(row) / LAB_MIB, row->extra);
  }
  fprintf(to, "Finding: %s\n%s%s\n", output->scenario->finding,
          output->verdict->holds ? "It holds here." : "It does not hold here: ", output->verdict->differs);
  return close_stream(to);
}
