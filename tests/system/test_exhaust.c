/* test_exhaust.c - memory runs out: NULL with ENOMEM, no abort; what is dropped afterwards serves again.
 * Each probe is this program run again under RLIMIT_AS, set before the library reserves its heap. */
#include "gc_stats.h"
#include "hide.h"
#include "reexec.h"

#define MIB ((size_t)1024 * 1024)
#define LIMIT (768 * MIB)

/* The sanitizers' shadow does not fit under any such limit. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static void *volatile *volatile chain;

#define EXPECT(cond)                                                            \
  do {                                                                          \
    if (!(cond)) {                                                              \
      fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #cond); \
      exit(4);                                                                  \
    }                                                                           \
  } while (0)

/* Allocates until refused; everything stays reachable, last first. Returns the number of objects. */
static NOINLINE size_t fill(size_t size) {
  size_t n = 0;
  for (;; n++) {
    errno = 0;
    void *volatile *o = gc_alloc(size);
    if (o == NULL) break;
    EXPECT(errno == 0);
    EXPECT(all_zero((void *)(uintptr_t)o, size < 64 ? size : 64));
    o[1] = (void *)(uintptr_t)(~n); /* like no address */
    o[0] = (void *)(uintptr_t)chain;
    chain = o;
  }
  EXPECT(errno == ENOMEM);
  return n;
}

static NOINLINE void check(size_t n) {
  for (void *volatile *o = chain; o != NULL; o = o[0]) {
    EXPECT(n > 0);
    EXPECT((uintptr_t)o[1] == (uintptr_t) ~--n);
  }
  EXPECT(n == 0);
}

static int probe_main(size_t size) {
  size_t first = fill(size);
  EXPECT(first * size >= 32 * MIB);
  check(first);
  for (int round = 0; round < 3; round++) {
    /* Still refused, again with errno; a smaller request may succeed. */
    errno = 0;
    volatile size_t big = LIMIT;
    EXPECT(gc_alloc(big) == NULL && errno == ENOMEM);
    EXPECT(gc_alloc_noscan(big) == NULL && errno == ENOMEM);
    EXPECT(gc_realloc((void *)(uintptr_t)chain, big) == NULL && errno == ENOMEM);
    check(first);
    chain = NULL;
    scrub_stack();
    size_t again = fill(size);
    EXPECT(again >= first / 2);
    check(again);
    first = again;
  }
  printf("%zu MiB\n", first * size / MIB);
  return 0;
}

/* Fills with large objects; what is freed must serve small ones, and back. */
static int probe_mixed(void) {
  for (int round = 0; round < 3; round++) {
    static const size_t sizes[] = {1 << 20, 64, 5000, 16};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
      size_t n = fill(sizes[i]);
      EXPECT(n * sizes[i] >= 16 * MIB);
      check(n);
      chain = NULL;
      scrub_stack();
    }
  }
  puts("mixed");
  return 0;
}

static struct probe probe;

static const char *const sizes[] = {"16", "64", "4096", "32768", "100000", "1048576"};

START_TEST(refused_and_recovered) {
  probe_run(&probe, sizes[_i], NULL, LIMIT);
  REQUIRE_MSG(strstr(probe.out, "MiB\n") != NULL, "size %s: %s%s", sizes[_i], probe.out, probe.err);
}
END_TEST

START_TEST(sizes_give_way_to_each_other) {
  probe_run(&probe, "mixed", NULL, LIMIT);
  REQUIRE(strcmp(probe.out, "mixed\n") == 0);
}
END_TEST

int main(int argc, char **argv) {
  if (argc > 1) return strcmp(argv[1], "mixed") == 0 ? probe_mixed() : probe_main(strtoul(argv[1], NULL, 10));
  Suite *s = suite_create("exhaust");
  if (!SANITIZED) {
    TCase *tc = suite_case(s, "exhaust");
    tcase_add_loop_test(tc, refused_and_recovered, 0, (int)(sizeof sizes / sizeof *sizes));
    tcase_add_test(tc, sizes_give_way_to_each_other);
  }
  return suite_main(s);
}
