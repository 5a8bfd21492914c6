/* env.c - the variables of the environment that users of the other library know: one row each, with what it sets or why it
 * is ignored, which is said under GC_PRINT_STATS. GC_MARKERS and GC_TRACE are our own (runtime/options.def).
 * A malformed value gets one line on stderr, and is not taken. */
#include "api/bdw/env.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "api/bdw/control.h"
#include "runtime/print.h"

static bool print_stats GC_OWN_DATA, disable_incremental GC_OWN_DATA;
bool env_print_stats(void) { return print_stats; }
bool env_disable_incremental(void) { return disable_incremental; }

/* ---- values ---- */

/* Decimal digits, then nothing or k, M or G. */
static bool parse_size(const char *text, uint64_t *value) {
  static const char suffixes[] = "kMG";
  char *end;
  if (*text < '0' || *text > '9') return false;
  unsigned long n = strtoul(text, &end, 10);
  unsigned shift = 0;
  const char *suffix = *end != '\0' ? strchr(suffixes, *end == 'K' ? 'k' : *end) : NULL;
  if (*end != '\0' && (suffix == NULL || end[1] != '\0')) return false;
  if (suffix != NULL) shift = 10 * (unsigned)(suffix - suffixes + 1);
  if (n > (UINT64_MAX >> 1) >> shift) return false;
  *value = (uint64_t)n << shift;
  return true;
}

/* ---- what the variables do ---- */

static void set_initial(uint64_t bytes) { (void)GC_expand_hp(bytes); }
static void set_maximum(uint64_t bytes) { GC_set_max_heap_size(bytes); }
static void set_divisor(uint64_t n) { GC_set_free_space_divisor(n); }
static void set_pause(uint64_t ms) { GC_set_time_limit(ms); }
static void set_full_frequency(uint64_t n) { GC_set_full_freq((int)n); }
static void print_stats_on(uint64_t unused) { (void)unused, print_stats = true; }
static void dont_gc(uint64_t unused) { (void)unused, GC_dont_gc = 1; }
static void interior(uint64_t unused) { (void)unused, GC_set_all_interior_pointers(1); }
static void unmap(uint64_t unused) { (void)unused, GC_set_force_unmap_on_gcollect(1); }
static void incremental(uint64_t unused) { (void)unused, control_go_incremental(); }
static void no_incremental(uint64_t unused) { (void)unused, disable_incremental = true; }
static void find_leak(uint64_t unused) { (void)unused, GC_set_find_leak(1); }
static void quiet(uint64_t unused) { (void)unused, bdw_quiet = true; }

/* A row: SWITCH is on when it is set, whatever it is set to; SIZE takes a number. */
enum form { IGNORED, SWITCH, SIZE };
struct variable {
  const char *name;
  enum form form;
  bool again;     /* at GC_init */
  uint64_t least; /* of a SIZE */
  void (*set)(uint64_t value);
  const char *ignored; /* why */
};

static const char of_debugging[] = "it is for debugging the other collector";
static const char by_its_own_means[] = "this collector does so by its own means";
static const char not_counted[] = "there are no such blocks here";

/* What prints comes first, then what others depend on. */
static const struct variable variables[] = {
    {"GC_QUIET", SWITCH, false, 0, quiet, NULL},
    {"GC_PRINT_STATS", SWITCH, false, 0, print_stats_on, NULL},
    {"GC_PRINT_VERBOSE_STATS", SWITCH, false, 0, print_stats_on, NULL},
    {"GC_ALL_INTERIOR_POINTERS", SWITCH, true, 0, interior, NULL},
    {"GC_DONT_GC", SWITCH, true, 0, dont_gc, NULL},
    {"GC_FREE_SPACE_DIVISOR", SIZE, true, 1, set_divisor, NULL},
    {"GC_INITIAL_HEAP_SIZE", SIZE, false, 1, set_initial, NULL},
    {"GC_MAXIMUM_HEAP_SIZE", SIZE, true, 1, set_maximum, NULL},
    {"GC_FORCE_UNMAP_ON_GCOLLECT", SWITCH, true, 0, unmap, NULL},
    {"GC_FIND_LEAK", SWITCH, false, 0, find_leak, NULL},
    {"GC_DISABLE_INCREMENTAL", SWITCH, false, 0, no_incremental, NULL},
    {"GC_ENABLE_INCREMENTAL", SWITCH, false, 0, incremental, NULL},
    {"GC_PAUSE_TIME_TARGET", SIZE, true, 1, set_pause,
     "the value is kept for the program, stops aim at GC_MAX_PAUSE_US"},
    {"GC_FULL_FREQUENCY", SIZE, true, 0, set_full_frequency, "the value is kept for the program, all cycles are full"},
    {"GC_NPROCS", IGNORED, false, 0, NULL, "GC_MARKERS says how many threads mark"},
    {"GC_USE_ENTIRE_HEAP", IGNORED, false, 0, NULL, "GC_FREE_SPACE_DIVISOR or GC_PERCENT says how far the heap grows"},
    {"GC_UNMAP_THRESHOLD", IGNORED, false, 0, NULL, "what the next cycle will not need goes back after each one"},
    {"GC_USE_GETWRITEWATCH", IGNORED, false, 0, NULL, by_its_own_means},
    {"GC_RETRY_SIGNALS", IGNORED, false, 0, NULL, by_its_own_means},
    {"GC_ONLY_LOG_TO_FILE", IGNORED, false, 0, NULL, "only the log goes to GC_LOG_FILE, always"},
    {"GC_NO_BLACKLIST_WARNING", IGNORED, false, 0, NULL, not_counted},
    {"GC_LARGE_ALLOC_WARN_INTERVAL", IGNORED, false, 0, NULL, not_counted},
    {"GC_ABORT_ON_LEAK", IGNORED, false, 0, NULL, "GC_LEAKS=1 tells of leaks at exit"},
    {"GC_FINDLEAK_DELAY_FREE", IGNORED, false, 0, NULL, "GC_DEBUG=1 keeps what was freed for a while"},
    {"GC_LOOP_ON_ABORT", IGNORED, false, 0, NULL, of_debugging},
    {"GC_DUMP_REGULARLY", IGNORED, false, 0, NULL, "GC_TRACE=1 prints a line for each cycle"},
    {"GC_PRINT_ADDRESS_MAP", IGNORED, false, 0, NULL, of_debugging},
    {"GC_PRINT_BACK_HEIGHT", IGNORED, false, 0, NULL, of_debugging},
    {"GC_BACKTRACES", IGNORED, false, 0, NULL, "GC_PROFILE notes who allocates"},
    {"GC_COLLECT_AT_MALLOC", IGNORED, false, 0, NULL, "GC_TORTURE does so in torture builds"},
    {"GC_IGNORE_GCJ_INFO", IGNORED, false, 0, NULL, of_debugging},
};

static void open_log(void) {
  const char *path = getenv("GC_LOG_FILE");
  if (path == NULL) return;
  int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd < 0)
    print_line("holdfast: GC_LOG_FILE=%s is ignored: it cannot be opened for writing", path);
  else
    bdw_log_fd = fd;
}

static void take(const struct variable *v, const char *text, enum env_time when) {
  uint64_t value = 0;
  if (v->form == SIZE && (!parse_size(text, &value) || value < v->least)) {
    if (when == ENV_LOAD)
      print_line("holdfast: %s=%s is ignored: it takes a number, with k, M or G behind it or not", v->name, text);
    return;
  }
  if (v->set != NULL) v->set(value);
}

void env_read(enum env_time when) {
  if (when == ENV_LOAD) open_log();
  for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
    const struct variable *v = &variables[i];
    const char *text = getenv(v->name);
    if (text == NULL || (when == ENV_INIT && !v->again)) continue;
    take(v, text, when);
    if (when == ENV_LOAD && v->ignored != NULL && print_stats)
      print_line("holdfast: %s is ignored: %s", v->name, v->ignored);
  }
}
