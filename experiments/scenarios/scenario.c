/* scenario.c - command line, rows, verdict and processes of the scenarios; see scenario.h.
 *
 * Owns:    the rows, in memory of their own (bench_map), so that neither a collector finds addresses in them nor a
 *          malloc counts them; the output files, opened before anything is measured.
 * Promise: exit status 0 when the finding holds (or is only told here), 1 when not, 2 for bad input; each but 0 with one line on
 *          stderr.
 * Never:   allocates before the last measurement: files are opened as descriptors, streams are made at the end.
 * Reading: lab_main; output.c prints the rows. */
#include "scenario.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "output.h"

enum { MAX_ROWS = 20000, MAX_PARTS = 8 };

static struct {
  const struct lab_scenario *scenario;
  struct lab_verdict verdict;
  struct lab_row *rows; /* MAX_ROWS of them */
  size_t count;
  bool small;
  uint64_t seed;
  uint64_t random;
  const char *model;         /* as --model has it, or NULL */
  const char *part;          /* what this process does, when it is one of lab_run_parts */
  int pipe;                  /* where it writes its rows */
  double done_from, done_to; /* the share of the whole that is this process's */
  int csv, json;             /* descriptors, -1: not wanted */
} lab = {.pipe = -1, .done_to = 1, .csv = -1, .json = -1, .seed = 1};

extern char **environ;

_Noreturn void lab_die(const char *why, ...) {
  va_list arguments;
  va_start(arguments, why);
  fprintf(stderr, "%s: ", program_invocation_short_name);
  vfprintf(stderr, why, arguments);
  fputc('\n', stderr);
  va_end(arguments);
  exit(1);
}

/* ---- random numbers ---- */

bool lab_small(void) { return lab.small; }
uint64_t lab_seed(void) { return lab.seed; }
uint64_t lab_random(void) { return bench_random(&lab.random); }
uint64_t lab_below(uint64_t n) { return (uint64_t)(((unsigned __int128)lab_random() * n) >> 64); }

/* ---- rows ---- */

size_t lab_row_count(void) { return lab.count; }

const struct lab_row *lab_row_at(size_t i) {
  if (i >= lab.count) lab_die("there is no row %zu", i);
  return &lab.rows[i];
}

static struct lab_row *next_row(void) {
  if (lab.count == MAX_ROWS) lab_die("more than %d rows", MAX_ROWS);
  return &lab.rows[lab.count++];
}

static void append_extra(struct lab_row *row, const char *format, va_list arguments) {
  size_t used = strlen(row->extra);
  if (used) row->extra[used++] = ';';
  int length = vsnprintf(row->extra + used, sizeof row->extra - used, format, arguments);
  if (length < 0 || (size_t)length >= sizeof row->extra - used) lab_die("too much in the extra column");
}

const struct lab_row *lab_row(const char *variant, double t, uint64_t live_bytes, const char *extra, ...) {
  struct lab_row *row = next_row();
  *row = (struct lab_row){.t = t, .live_bytes = live_bytes, .at = *lab_figures()};
  snprintf(row->variant, sizeof row->variant, "%s", variant);
  if (extra) {
    va_list arguments;
    va_start(arguments, extra);
    append_extra(row, extra, arguments);
    va_end(arguments);
  }
  return row;
}

void lab_add_extra(const struct lab_row *row, const char *extra, ...) {
  va_list arguments;
  va_start(arguments, extra);
  append_extra(&lab.rows[row - lab.rows], extra, arguments);
  va_end(arguments);
}

const struct lab_row *lab_find(const char *variant, double t) {
  for (size_t i = 0; i < lab.count; i++)
    if (lab.rows[i].t == t && !strcmp(lab.rows[i].variant, variant)) return &lab.rows[i];
  lab_die("there is no row %s at %g", variant, t);
}

double lab_extra(const struct lab_row *row, const char *key) {
  size_t length = strlen(key);
  for (const char *at = row->extra; at; at = strchr(at, ';')) {
    at += *at == ';';
    if (!strncmp(at, key, length) && at[length] == '=') return strtod(at + length + 1, NULL);
  }
  lab_die("the row %s at %g has no %s", row->variant, row->t, key);
}

/* ---- verdict and progress ---- */

void lab_expect(bool holds, const char *differs, ...) {
  if (holds || !lab.verdict.holds) return;
  va_list arguments;
  va_start(arguments, differs);
  vsnprintf(lab.verdict.differs, sizeof lab.verdict.differs, differs, arguments);
  va_end(arguments);
  lab.verdict.holds = false;
}

void lab_progress(double share) {
  enum { WIDTH = 40 };
  static int terminal = -1, shown = -1;
  if (terminal < 0) terminal = isatty(STDERR_FILENO);
  double whole = lab.done_from + share * (lab.done_to - lab.done_from);
  int percent = (int)(whole * 100 + 0.5);
  if (!terminal || percent == shown) return;
  shown = percent;
  static const char full[] = "########################################",
                    empty[] = "                                        ";
  int bars = percent * WIDTH / 100;
  fprintf(stderr, "\r%s [%.*s%.*s] %3d %%%s", lab.scenario->name, bars, full, WIDTH - bars, empty, percent,
          percent >= 100 ? "\r\033[K" : "");
}

/* ---- processes ---- */

/* A row is shorter than PIPE_BUF: rows of several processes do not mix. */
static void send_rows(void) {
  _Static_assert(sizeof(struct lab_row) <= 4096, "a row must go through a pipe in one piece");
  for (size_t i = 0; i < lab.count; i++)
    if (write(lab.pipe, &lab.rows[i], sizeof lab.rows[i]) != (ssize_t)sizeof lab.rows[i])
      lab_die("cannot hand on a row");
}

static void receive_rows(int from) {
  for (struct lab_row row;;) {
    size_t got = 0;
    while (got < sizeof row) {
      ssize_t more = read(from, (char *)&row + got, sizeof row - got);
      if (more < 0 && errno == EINTR) continue;
      if (more <= 0) break;
      got += (size_t)more;
    }
    if (got == 0) return;
    if (got < sizeof row) lab_die("half a row from a process");
    *next_row() = row;
  }
}

static pid_t start_part(const char *part, int to, double from_share, double to_share) {
  char where[96], seed[32], model[256], small[] = "--small", option[] = "--part", seed_option[] = "--seed";
  snprintf(where, sizeof where, "%d:%.6f:%.6f:%s", to, from_share, to_share, part);
  snprintf(seed, sizeof seed, "%" PRIu64, lab.seed);
  snprintf(model, sizeof model, "--model=%s", lab.model ? lab.model : "");
  char *arguments[] = {program_invocation_name, option, where, seed_option, seed, lab.model ? model : NULL, NULL, NULL};
  if (lab.small) arguments[lab.model ? 6 : 5] = small;
  pid_t child;
  if (posix_spawn(&child, "/proc/self/exe", NULL, NULL, arguments, environ)) lab_die("cannot start a process");
  return child;
}

void lab_run_parts(const char *const *parts, size_t count, size_t done, size_t total) {
  pid_t children[MAX_PARTS];
  int ends[2];
  if (count > MAX_PARTS || pipe(ends)) lab_die("cannot start processes");
  fcntl(ends[0], F_SETFD, FD_CLOEXEC);
  for (size_t i = 0; i < count; i++)
    children[i] = start_part(parts[i], ends[1], (double)done / (double)total, (double)(done + count) / (double)total);
  close(ends[1]);
  receive_rows(ends[0]);
  close(ends[0]);
  bool failed = false;
  for (size_t i = 0; i < count; i++) {
    int status;
    failed |= waitpid(children[i], &status, 0) != children[i] || !WIFEXITED(status) || WEXITSTATUS(status) != 0;
  }
  if (failed) lab_die("%s%s did not end well", parts[0], count > 1 ? " and those beside it" : "");
}

/* ---- the command line ---- */

static _Noreturn void bad_input(const char *what, const char *value, const char *why) {
  fprintf(stderr, "%s: %s %s: %s\n", program_invocation_short_name, what, value, why);
  exit(2);
}

static _Noreturn void help(void) {
  printf(
      "%s: %s\n\n%s\nMetric: %s\nFinding: %s\n\n"
      "  --csv FILE   rows as CSV, - for standard output\n"
      "  --json FILE  rows and finding as JSON, - for standard output\n"
      "  --small      a few seconds instead of up to a minute\n"
      "  --seed N     another sequence of random numbers (1)\n"
      "%s",
      program_invocation_short_name, lab.scenario->question, lab.scenario->workload, lab.scenario->metric,
      lab.scenario->finding, lab.scenario->option ? lab.scenario->option_help : "");
  if (lab.scenario->knobs) printf("  --model NAME=NUMBER,...  another model than the one described:\n");
  for (const struct lab_knob *k = lab.scenario->knobs; k && k->name; k++)
    printf("    %-11s  %s (%" PRIu32 "; %" PRIu32 " to %" PRIu32 ")\n", k->name, k->what, *k->value, k->least, k->most);
  printf("Exit status: 0 the finding holds (or is only told for this allocator), 1 it does not, 2 bad input.\n");
  exit(0);
}

/* ---- the model ---- */

static const struct lab_knob *find_knob(const char *name, size_t length) {
  const struct lab_knob *k = lab.scenario->knobs;
  while (k && k->name && (strlen(k->name) != length || strncmp(k->name, name, length) != 0)) k++;
  return k && k->name ? k : NULL;
}

/* "NAME=NUMBER", from at to end. */
static void set_knob(const char *text, const char *at, const char *end) {
  char why[96], *last = NULL;
  const char *equals = memchr(at, '=', (size_t)(end - at));
  const struct lab_knob *k = equals ? find_knob(at, (size_t)(equals - at)) : NULL;
  if (!k) bad_input("--model", text, "not NAME=NUMBER,... with names that --help lists");
  errno = 0;
  uint64_t value = equals[1] >= '0' && equals[1] <= '9' ? strtoull(equals + 1, &last, 10) : 0;
  snprintf(why, sizeof why, "%s is a whole number from %" PRIu32 " to %" PRIu32, k->name, k->least, k->most);
  if (last != end || errno || value < k->least || value > k->most) bad_input("--model", text, why);
  *k->value = (uint32_t)value;
}

static void read_model(const char *text) {
  if (strlen(text) > 200) bad_input("--model", text, "more than 200 characters");
  lab.model = text;
  for (const char *at = text, *end;; at = end + 1) {
    end = at + strcspn(at, ",");
    set_knob(text, at, end);
    if (!*end) break;
  }
}

static int open_output(const char *option, const char *path) {
  int fd = !strcmp(path, "-") ? dup(STDOUT_FILENO) : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) bad_input(option, path, strerror(errno));
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  return fd;
}

static uint64_t read_seed(const char *text) {
  char *end = NULL;
  errno = 0;
  uint64_t seed = *text >= '0' && *text <= '9' ? strtoull(text, &end, 10) : 0;
  if (!end || *end || errno) bad_input("--seed", text, "not a whole number");
  return seed;
}

/* PIPE:FROM:TO:NAME, as start_part writes it */
static void read_part(const char *text) {
  int name = 0;
  if (sscanf(text, "%d:%lf:%lf:%n", &lab.pipe, &lab.done_from, &lab.done_to, &name) != 3 || !name || lab.pipe < 3 ||
      !lab.scenario->part)
    bad_input("--part", text, "only for processes that the scenario starts");
  lab.part = text + name;
}

static void read_options(int argc, char **argv) {
  struct option options[] = {
      {"csv", required_argument, NULL, 'c'},
      {"json", required_argument, NULL, 'j'},
      {"small", no_argument, NULL, 's'},
      {"seed", required_argument, NULL, 'r'},
      {"help", no_argument, NULL, 'h'},
      {"part", required_argument, NULL, 'p'},
      {lab.scenario->knobs ? "model" : lab.scenario->option, required_argument, NULL, lab.scenario->knobs ? 'm' : 'o'},
      {NULL, 0, NULL, 0}};
  const char *csv = NULL, *json = NULL;
  for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) switch (option) {
      case 'c': csv = optarg; break;
      case 'j': json = optarg; break;
      case 's': lab.small = true; break;
      case 'r': lab.seed = read_seed(optarg); break;
      case 'p': read_part(optarg); break;
      case 'm': read_model(optarg); break;
      case 'o': lab.scenario->set_option(optarg); break;
      case 'h': help();
      default: exit(2); /* getopt_long has said why */
    }
  if (optind < argc) bad_input("argument", argv[optind], "not known; --help lists the options");
  if (csv && json && !strcmp(csv, "-") && !strcmp(json, "-")) bad_input("--json", "-", "--csv has standard output");
  if (csv) lab.csv = open_output("--csv", csv);
  if (json) lab.json = open_output("--json", json);
}

/* ---- main ---- */

static int write_outputs(void) {
  struct lab_output output = {lab.scenario, &lab.verdict, lab.rows, lab.count};
  bool lost = false;
  if (lab.csv >= 0) lost |= lab_write_csv(lab.csv, &output);
  if (lab.json >= 0) lost |= lab_write_json(lab.json, &output);
  if (lab.csv < 0 && lab.json < 0) lost |= lab_write_table(dup(STDOUT_FILENO), &output);
  if (lost) lab_die("cannot write the output");
  if (lab.verdict.holds) return 0;
  fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name,
          lab.verdict.asserted ? "the finding does not hold" : "told, not asserted here: the finding does not hold",
          lab.verdict.differs);
  return lab.verdict.asserted;
}

int lab_main(int argc, char **argv, const struct lab_scenario *scenario) {
  lab.scenario = scenario;
  lab.verdict.holds = true;
  lab.verdict.asserted = scenario->on_peers || !strcmp(LAB_ALLOCATOR, "holdfast");
  read_options(argc, argv);
  lab.random = lab.seed;
  lab.rows = bench_map(MAX_ROWS * sizeof *lab.rows);
  bench_allocator_init();
  lab_peek(); /* whatever the first reading needs is now there */
  if (lab.part) {
    scenario->part(lab.part);
    send_rows();
    return 0;
  }
  lab_progress(0);
  scenario->run();
  lab_progress(1);
  return write_outputs();
}
