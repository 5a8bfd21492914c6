/* support.c - options, clock, random numbers and rows of the benchmark programs; see support.h. */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static const char *program_name(void) { return program_invocation_short_name; }

_Noreturn void bench_die(const char *why) {
  fprintf(stderr, "%s: %s\n", program_name(), why);
  exit(1);
}

static uint64_t parse_value(const struct bench_option *option, const char *text) {
  char *end = NULL;
  errno = 0;
  uint64_t value = text && *text >= '0' && *text <= '9' ? strtoull(text, &end, 10) : 0;
  if (!end || *end || errno || value < option->min || value > option->max) {
    fprintf(stderr, "%s: %s needs a whole number from %" PRIu64 " to %" PRIu64 "%s%s\n", program_name(), option->name,
            option->min, option->max, text ? ", not " : "", text ? text : "");
    exit(2);
  }
  return value;
}

static const struct bench_option *find_option(const char *name, const struct bench_option *options, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (!strcmp(name, options[i].name)) return &options[i];
  fprintf(stderr, "%s: unknown option %s\n", program_name(), name);
  exit(2);
}

int bench_parse(int argc, char **argv, const struct bench_option *options, size_t count) {
  int small = 0, version = 0;
  for (int i = 1; i < argc; i++) small |= !strcmp(argv[i], "--small");
  for (size_t i = 0; i < count; i++) *options[i].value = small ? options[i].small : options[i].full;
  for (int i = 1; i < argc; i++) {
    if (!strcmp(argv[i], "--small")) continue;
    if (!strcmp(argv[i], "--version")) {
      version = 1;
      continue;
    }
    const struct bench_option *option = find_option(argv[i], options, count);
    if (!option->max) {
      *option->value = 1;
    } else {
      i++;
      *option->value = parse_value(option, i < argc ? argv[i] : NULL);
    }
  }
  return version;
}

void bench_print_version(const char *allocator, const char *version) {
#if defined(__clang__)
  printf("allocator %s %s\ncompiler clang %s\n", allocator, version, __clang_version__);
#else
  printf("allocator %s %s\ncompiler gcc %s\n", allocator, version, __VERSION__);
#endif
}

void bench_row(const char *name, double value, const char *unit) { printf("%s %.6g %s\n", name, value, unit); }

uint64_t bench_now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

double bench_median(double *values, size_t count) {
  for (size_t i = 1; i < count; i++)
    for (size_t j = i; j > 0 && values[j] < values[j - 1]; j--) {
      double swap = values[j];
      values[j] = values[j - 1];
      values[j - 1] = swap;
    }
  return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

uint64_t bench_random(uint64_t *state) {
  uint64_t z = *state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

uint64_t bench_rss(void) {
  /* read, not fopen: a stdio buffer would come from the allocator under test. */
  char text[256];
  int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  if (fd >= 0) close(fd);
  if (got <= 0) bench_die("cannot read /proc/self/statm");
  text[got] = 0;
  const char *second = strchr(text, ' ');
  if (!second) bench_die("cannot understand /proc/self/statm");
  return strtoull(second, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

void *bench_map(size_t size) {
  void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) bench_die("the system refuses memory");
  return p;
}

void bench_unmap(void *p, size_t size) { munmap(p, size); }

void bench_warm(size_t size) {
  volatile char *p = bench_map(size);
  madvise((void *)(uintptr_t)p, size, MADV_HUGEPAGE); /* fewer page faults; a refusal does no harm */
  for (size_t at = 0; at < size; at += 4096) p[at] = 1;
  bench_unmap((void *)(uintptr_t)p, size);
}
