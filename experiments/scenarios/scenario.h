/* scenario.h - what the scenarios of the fragmentation laboratory share, whatever the allocator.
 *
 * Owns:    the command line (--csv --json --small --seed --help), rows and their output, the seeded random
 *          numbers, the progress bar, the verdict, processes of a scenario's own; and, through allocator.h of
 *          the benchmarks, the allocator, chosen by one of SCENARIO_HOLDFAST, _GLIBC, _JEMALLOC, _BDWGC.
 * Promise: lab_measure reads the figures after everything unreachable is freed and everything free is given
 *          back, as far as the allocator does that; rows, and all else here, take nothing from the allocator.
 * Rules:   those of examples.h, or a stale address keeps megabytes: pointers that outlive a step are in
 *          static volatile variables, or in objects; code that touches heap addresses is in functions marked LAB_STEP; run
 *          and part, whose frames stay, never see an address. With a malloc, lab_free what a collector would
 *          find unreachable: that stands in for collection, and the programs say where they do it.
 * Reading: steps.c shows the use; README.md in experiments has the metrics; measure.c how each is read. */
#ifndef EXPERIMENTS_SCENARIO_H
#define EXPERIMENTS_SCENARIO_H

#if defined(SCENARIO_HOLDFAST)
#define BENCH_HOLDFAST 1
#elif defined(SCENARIO_GLIBC)
#define BENCH_GLIBC 1
#elif defined(SCENARIO_JEMALLOC)
#define BENCH_JEMALLOC 1
#elif defined(SCENARIO_BDWGC)
#define BENCH_BDWGC 1
#else
#error "define one of SCENARIO_HOLDFAST SCENARIO_GLIBC SCENARIO_JEMALLOC SCENARIO_BDWGC"
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../bench/allocator.h"
#include "../examples/stale.h"

#define LAB_ALLOCATOR BENCH_NAME
#define LAB_COLLECTS BENCH_COLLECTS /* 1: lab_free does nothing, what is unreachable goes by itself */
#define LAB_MIB (1024.0 * 1024.0)
#define LAB_NOINLINE STALE_NOINLINE
#define LAB_STEP static LAB_NOINLINE
#define LAB_PRINTF(text, first) __attribute__((format(printf, text, first)))

/* Bytes, as the allocator tells them; experiments/README.md says from what. */
struct lab_figures {
  uint64_t heap_alloc; /* in objects                            */
  uint64_t heap_inuse; /* in pages that hold any object         */
  uint64_t heap_usage; /* not given back to the system          */
  uint64_t resident;   /* of the process, as the kernel says it */
};

/* One row of output. fragmentation is heap_inuse - heap_alloc. */
struct lab_row {
  char variant[64];
  double t;
  uint64_t live_bytes;
  struct lab_figures at;
  char extra[512]; /* key=value;key=value */
};

/* A number of the model that somebody chose: --model NAME=NUMBER,... sets it, for the scenario's parts, too. */
struct lab_knob {
  const char *name;
  uint32_t *value;
  uint32_t least, most;
  const char *what;
};

struct lab_scenario {
  const char *name;     /* the first column                                                          */
  const char *question; /* this and the next three: one sentence each, also in experiments/README.md */
  const char *workload;
  const char *metric;
  const char *finding;
  bool on_peers;     /* the finding is asserted on every allocator; else on Holdfast, and only told on others */
  void (*run)(void); /* the scenario                                                              */
  void (*part)(const char *part); /* what a process of lab_run_parts does; NULL when there are none            */
  /* One more option of this scenario, which takes a value and is not handed to its parts; NULL: none. */
  const char *option;      /* its name without --       */
  const char *option_help; /* its line in --help        */
  void (*set_option)(const char *value);
  const struct lab_knob
      *knobs; /* ended by one without a name; NULL: none. A scenario has these or an option, not both */
};

/* main of a scenario: reads the arguments, calls run (or part), writes the rows, returns the exit status. */
int lab_main(int argc, char **argv, const struct lab_scenario *scenario);

bool lab_small(void); /* --small was given */

/* Random numbers from --seed: the same sequence in each process, on each machine. */
uint64_t lab_random(void);
uint64_t lab_below(uint64_t n); /* 0 ... n - 1; n > 0 */
uint64_t lab_seed(void);

/* ---- allocating ---- */

/* One more object of size bytes, cleared. noscan: holds no pointers. When memory is refused the program
 * ends (lab_new) or NULL is returned (lab_try). */
void *lab_new(size_t size);
void *lab_new_noscan(size_t size);
void *lab_try_new(size_t size);
void *lab_try_new_noscan(size_t size);

/* Frees p, NULL included, where memory is freed by hand; nothing for collectors. */
static inline void lab_free(void *p) { bench_drop(p); }

/* Refuse memory (lab_try: NULL) beyond so many bytes; 0: no limit. Holdfast: its hard limit. bdwgc: its maximum
 * heap size. A malloc has none: refused once the resident set is above it and stays there when free memory was given
 * back, which is where a container would have killed the process. */
void lab_set_limit(uint64_t bytes);

/* ---- measuring ---- */

void lab_measure_wiped(void);

/* Collects, gives free memory back, reads the figures. Call it from run or part, or from what those call,
 * where no heap address is in a frame. */
static inline void lab_measure(void) {
  /* Both in the caller: a function of our own would begin with a word of alignment on the stack, which is whatever
   * was there, or (clang) a push of rax, the address that the step before returned last. */
  stale_wipe_stack();
  STALE_FORGET_REGISTERS();
  lab_measure_wiped();
}

/* Reads the figures as they are. */
void lab_peek(void);

/* The figures read last. */
const struct lab_figures *lab_figures(void);

/* Adds a row with the figures read last. live_bytes is the program's own count. The extra column may be NULL. */
const struct lab_row *lab_row(const char *variant, double t, uint64_t live_bytes, const char *extra, ...)
    LAB_PRINTF(4, 5);

/* The rows so far. */
size_t lab_row_count(void);
const struct lab_row *lab_row_at(size_t i);
/* The row of this variant and t; ends the program when there is none. */
const struct lab_row *lab_find(const char *variant, double t);

static inline double lab_fragmentation_mib(const struct lab_row *row) {
  return ((double)row->at.heap_inuse - (double)row->at.heap_alloc) / LAB_MIB;
}
static inline double lab_usage_mib(const struct lab_row *row) { return (double)row->at.heap_usage / LAB_MIB; }

/* The number after key= in the extra column; missing: ends the program. */
double lab_extra(const struct lab_row *row, const char *key);

/* Adds to the extra column of a row, which lab_row_at or lab_find gave. */
void lab_add_extra(const struct lab_row *row, const char *extra, ...) LAB_PRINTF(2, 3);

/* ---- the verdict ---- */

/* The finding does not hold here unless `holds`; the text says what differs. The first failure counts. */
void lab_expect(bool holds, const char *differs, ...) LAB_PRINTF(2, 3);

_Noreturn void lab_die(const char *why, ...) LAB_PRINTF(1, 2);

/* Moves the bar: this share of the scenario (or of this process's part) is done, 0 to 1. */
void lab_progress(double share);

/* ---- processes ---- */

/* Runs this program again for each of the parts, all at once, each in a fresh process with the same options and an empty
 * heap; their rows become rows here. Returns when all have ended; one that failed ends the program. done and
 * total: how many parts of the scenario are behind us, for the bar. */
void lab_run_parts(const char *const *parts, size_t count, size_t done, size_t total);

#endif
