/* params.c - see params.h. Most parameters steer what this collector does not have: they are kept and told. Those with an
 * effect:
 *   all_interior_pointers  one byte more for each object, so that a pointer past its end keeps it. Pointers to
 *                          the inside keep objects in any case.
 *   free_space_divisor     how much is allocated between cycles (gc/pacer.h)
 *   max_heap_size          the hard limit (gc_set_hard_limit)
 *   dont_gc, stop_func, disable_automatic_collection, force_unmap_on_gcollect, callbacks: control.c */
#include "api/bdw/params.h"

#include <stdlib.h>

#include "api/bdw/misc.h"
#include "gc/cycle.h"
#include "gc_alloc.h"
#include "runtime/options.h"
#include "runtime/print.h"

size_t bdw_extra GC_OWN_DATA = 1;

/* ---- the plain ones ---- */

#define SETTING(type, name, initial)               \
  static type name GC_OWN_DATA = initial;          \
  void GC_set_##name(type value) { name = value; } \
  type GC_get_##name(void) { return name; }
#define PARAMETER(type, name, initial)                  \
  type GC_##name = initial;                             \
  void GC_set_##name(type value) { GC_##name = value; } \
  type GC_get_##name(void) { return GC_##name; }
PARAMETERS(PARAMETER, SETTING)
#undef PARAMETER
#undef SETTING

/* ---- pointers past the end ---- */

int GC_all_interior_pointers = 1;

void GC_set_all_interior_pointers(int value) {
  GC_all_interior_pointers = value != 0;
  bdw_extra = value != 0;
}

int GC_get_all_interior_pointers(void) { return GC_all_interior_pointers; }

/* ---- pace ---- */

GC_word GC_free_space_divisor = 3;
int GC_use_entire_heap; /* not: a cycle begins when it is due, whatever memory the heap has */
static bool automatic GC_OWN_DATA = true;
static GC_word divisor_taken GC_OWN_DATA; /* the one that the pacer knows; 0: none */

/* GC_PERCENT is more than a program for another collector can say. */
static void take_pace(void) {
  GC_word divisor = max_size(GC_free_space_divisor, 1);
  if (divisor == divisor_taken || options.percent != 100) return;
  divisor_taken = divisor;
  cycle_set_divisor(divisor);
}

void GC_set_free_space_divisor(GC_word value) {
  GC_free_space_divisor = value;
  take_pace();
}
GC_word GC_get_free_space_divisor(void) { return GC_free_space_divisor; }

void GC_set_disable_automatic_collection(int value) { automatic = value == 0; }
int GC_get_disable_automatic_collection(void) { return !automatic; }
bool params_automatic(void) { return automatic; }

void params_take(void) {
  bdw_extra = GC_all_interior_pointers != 0;
  take_pace();
}

void GC_set_max_heap_size(GC_word bytes) { gc_set_hard_limit(bytes != 0 ? bytes : SIZE_MAX); }

/* ---- time: stops are shorter than what can be asked for here ---- */

unsigned long GC_time_limit = GC_TIME_UNLIMITED;
static unsigned long time_limit_ns GC_OWN_DATA;

void GC_set_time_limit(unsigned long ms) { GC_time_limit = ms; }
unsigned long GC_get_time_limit(void) { return GC_time_limit; }

void GC_set_time_limit_tv(struct GC_timeval_s value) {
  GC_time_limit = value.tv_ms;
  time_limit_ns = value.tv_nsec;
}
struct GC_timeval_s GC_get_time_limit_tv(void) {
  return (struct GC_timeval_s){GC_time_limit, time_limit_ns};
}

/* ---- threads that mark ---- */

int GC_parallel; /* set by GC_init */

int GC_get_parallel(void) { return GC_parallel; }

/* ---- what cannot be had ---- */

int GC_find_leak;

void GC_set_find_leak(int value) {
  GC_find_leak = value;
  if (value != 0) bdw_unsupported("GC_find_leak", "GC_LEAKS=1 in the environment tells of leaks at exit");
}
int GC_get_find_leak(void) { return GC_find_leak; }

void GC_set_pages_executable(int value) {
  if (value != 0)
    bdw_unsupported("GC_set_pages_executable", "objects are never executable: put code in memory of mmap");
}
int GC_get_pages_executable(void) { return 0; }

/* ---- when memory is refused ---- */

static void *return_null(size_t bytes) {
  (void)bytes;
  return NULL;
}

GC_oom_func GC_oom_fn = return_null;
void GC_set_oom_fn(GC_oom_func f) { GC_oom_fn = f; }
GC_oom_func GC_get_oom_fn(void) { return GC_oom_fn; }

void GC_abort_on_oom(void) {
  print_line("holdfast: the program ends for want of memory");
  GC_on_abort(NULL);
  exit(1);
}

/* ---- the end of the program ---- */

static void print_reason(const char *message) {
  if (message != NULL) print_line("%s", message);
}

GC_abort_func GC_on_abort = print_reason;
void GC_set_abort_func(GC_abort_func f) { GC_on_abort = f; }
GC_abort_func GC_get_abort_func(void) { return GC_on_abort; }
void params_abort(const char *line) { GC_on_abort(line); }

/* ---- warnings ---- */

/* message is a printf format for arg, with its newline. */
static void print_warning(char *message, GC_word arg) { GC_log_printf(message, arg); }

static GC_warn_proc warn_proc GC_OWN_DATA = print_warning;
void GC_set_warn_proc(GC_warn_proc f) { warn_proc = f; }
GC_warn_proc GC_get_warn_proc(void) { return warn_proc; }

void GC_ignore_warn_proc(char *message, GC_word arg) {
  if (env_print_stats()) print_warning(message, arg);
}

void bdw_warn(const char *format, GC_word arg) {
  char message[256];
  format_text(message, sizeof message, "GC Warning: %s\n", format);
  warn_proc(message, arg);
}

/* By the name's address: each function has one call. */
void bdw_unsupported(const char *function, const char *advice) {
  static atomic_word told[64] GC_OWN_DATA;
  for (size_t i = 0; i < sizeof told / sizeof *told; i++) {
    if (atomic_load_relaxed(&told[i]) == (uintptr_t)function) return;
    if (atomic_cas(&told[i], 0, (uintptr_t)function)) break;
  }
  print_line("holdfast: %s is not supported: %s", function, advice);
}

unsigned GC_get_version(void) { return 8u << 16 | 2u << 8 | 2u; } /* the library that this one stands for */
