/* support.h - what every benchmark program needs and no allocator has a part in.
 * Owns:    options, the clock, the random numbers, the row format, memory the collectors cannot see.
 * Never:   allocates from malloc or from an allocator under test.
 * Reading: allocator.h next; it calls bench_parse for the programs. */
#ifndef BENCH_SUPPORT_H
#define BENCH_SUPPORT_H

#include <stddef.h>
#include <stdint.h>

/* One option "--name N". value receives full, or small under --small, or N when given.
 * max 0 makes it a flag: no N, value becomes 1. */
struct bench_option {
  const char *name;
  uint64_t *value;
  uint64_t full, small;
  uint64_t min, max;
};

/* Fills the values of options; an unusable argument ends the program with one line on stderr.
 * Returns 1 when --version was asked for. */
int bench_parse(int argc, char **argv, const struct bench_option *options, size_t count);

void bench_print_version(const char *allocator, const char *version);

/* One row, "name value unit": the only thing the programs write to stdout. */
void bench_row(const char *name, double value, const char *unit);

_Noreturn void bench_die(const char *why);

uint64_t bench_now_ns(void);                       /* CLOCK_MONOTONIC */
double bench_median(double *values, size_t count); /* sorts values */

/* The same numbers for the same seed on every machine (splitmix64). */
uint64_t bench_random(uint64_t *state);

/* Resident bytes of this process. */
uint64_t bench_rss(void);

/* Zeroed memory that no collector searches and no allocator manages. */
void *bench_map(size_t size);
void bench_unmap(void *p, size_t size);

/* Touches as much memory and gives it back, so that the host of a virtual machine has it ready: its first
 * touch costs many times a page fault. The host may take free memory back within seconds: a program that
 * measures also touches its heap before it starts. */
void bench_warm(size_t size);

#endif
