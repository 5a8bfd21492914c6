/* test_limits.c - GC_MEMORY_LIMIT and GC_HARD_LIMIT as a program meets them: memory stays below, NULL with ENOMEM, the
 * pressure callback, limits below what is live. Memory is what the header says: heap_sys - heap_released + gc_sys.
 * Options are tried by running this program again (reexec.h). Nothing here reads a clock. */
#include <pthread.h>

#include "gc_stats.h"
#include "hide.h"
#include "reexec.h"

#define MIB ((size_t)1024 * 1024)

#define EXPECT(cond)                                                            \
  do {                                                                          \
    if (!(cond)) {                                                              \
      fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #cond); \
      exit(4);                                                                  \
    }                                                                           \
  } while (0)

static struct gc_stats stats;

static uint64_t memory(void) {
  gc_read_stats(&stats);
  return stats.heap_sys - stats.heap_released + stats.gc_sys;
}

/* ---- a live set: blocks in a table, that a random one of is replaced again and again ---- */

enum { BLOCKS = 100000, AREA = 64 };
static void *volatile live[BLOCKS];

/* A block of about 500 bytes, half of them noscan. */
static NOINLINE void *block_new(struct rng *g) {
  size_t size = 16 + rng_below(g, 1000);
  return rng_below(g, 2) ? gc_alloc(size) : gc_alloc_noscan(size);
}

static NOINLINE void live_make(struct rng *g, size_t bytes) {
  size_t n = bytes / 540;
  EXPECT(n <= BLOCKS);
  for (size_t i = 0; i < n; i++) EXPECT((live[i] = block_new(g)) != NULL);
}

static NOINLINE void live_drop(void) {
  for (size_t i = 0; i < BLOCKS; i++) live[i] = NULL;
  scrub_stack();
}

/* Allocates `bytes` of garbage of mixed sizes; looks at memory once per MiB and returns the most. */
static NOINLINE uint64_t churn(struct rng *g, size_t bytes) {
  uint64_t most = 0;
  for (size_t done = 0, looked = 0; done < bytes;) {
    size_t size = rng_below(g, 1000) == 0 ? 16 + rng_below(g, 300000) : 16 + rng_below(g, 1000);
    EXPECT(gc_alloc(size) != NULL);
    done += size;
    if (done - looked < MIB) continue;
    looked = done;
    uint64_t now = memory();
    if (now > most) most = now;
  }
  return most;
}

/* ---- the soft limit ---- */

/* 36 MiB live, one in ten of it replaced per round, and garbage. Prints the most memory seen. */
static int probe_soft(void) {
  struct rng g = {suite_seed()};
  uint64_t most = 0;
  live_make(&g, 36 * MIB);
  for (int round = 0; round < 8; round++) {
    for (size_t i = 0; i < BLOCKS && live[i] != NULL; i += 10) EXPECT((live[i] = block_new(&g)) != NULL);
    uint64_t now = churn(&g, 48 * MIB);
    if (now > most) most = now;
  }
  gc_read_stats(&stats);
  printf("%" PRIu64 " KiB, %" PRIu64 " live, %" PRIu64 " cycles\n", most / 1024, stats.live_bytes / 1024, stats.num_gc);
  return 0;
}

static struct probe probe;
static uint64_t most_kib, live_kib, cycles;

static void run_soft(const char *env) {
  setenv("GC_CONCURRENT", "off", 1);
  probe_run(&probe, "soft", env, 0);
  REQUIRE_MSG(
      sscanf(probe.out, "%" SCNu64 " KiB, %" SCNu64 " live, %" SCNu64 " cycles", &most_kib, &live_kib, &cycles) == 3,
      "%s%s", probe.out, probe.err);
}

/* Without a limit the same program needs more, or the next test shows nothing. */
START_TEST(no_limit) {
  run_soft(NULL);
  REQUIRE_MSG(most_kib > 70 * 1024 && live_kib > 30 * 1024, "%s", probe.out);
}
END_TEST

/* 60 % of the limit is live; 3 % over it is tolerated for what one cycle did not foresee. Stopped cycles: beside the
 * program, how far a cycle gets before the program has allocated so much is a matter of the machine. */
START_TEST(soft) {
  static const char *const env[] = {"GC_MEMORY_LIMIT=60M", "GC_HARD_LIMIT=60MiB"};
  run_soft(env[_i]);
  REQUIRE_MSG(most_kib <= 60 * 1024 * (_i == 0 ? 103 : 100) / 100 && most_kib > 45 * 1024, "%s: %s", env[_i],
              probe.out);
}
END_TEST

/* ---- a limit below what is live ---- */

/* At first nearly every refill is followed by a cycle: 2,000 a round. When the collector has had its half of the processors,
 * cycles must become rarer: in the second half of the rounds there were 1 to 5 in each. A share of time would be
 * a matter of what else the machine does. */
static int probe_below(void) {
  enum { ROUNDS = 100 };
  struct rng g = {suite_seed()};
  uint64_t before = 0;
  live_make(&g, 36 * MIB);
  for (int round = 0; round < 2 * ROUNDS; round++) {
    gc_read_stats(&stats);
    if (round == ROUNDS) before = stats.num_gc;
    churn(&g, 16 * MIB);
  }
  gc_read_stats(&stats);
  uint64_t n = stats.num_gc - before;
  printf("%s: %" PRIu64 " cycles\n", n < 100 * ROUNDS ? "rarer" : "never", n);
  return 0;
}

START_TEST(below_live) {
  static const char *const env[] = {"GC_MEMORY_LIMIT=20M", "GC_MEMORY_LIMIT=1"};
  setenv("GC_CONCURRENT", "off", 1); /* a stop costs all processors, so the bucket is soon full */
  probe_run(&probe, "below", env[_i], 0);
  REQUIRE_MSG(strncmp(probe.out, "rarer", 5) == 0, "%s: %s", env[_i], probe.out);
}
END_TEST

/* ---- the hard limit ---- */

static void *volatile *volatile chain;

/* Allocates until refused, all reachable; memory stays below the limit all the while. Returns the objects. */
static NOINLINE size_t fill(size_t size, uint64_t limit) {
  size_t n = 0;
  for (;; n++) {
    errno = 0;
    void *volatile *o = gc_alloc(size);
    if (o == NULL) break;
    EXPECT(errno == 0 && all_zero((void *)(uintptr_t)o, size < 64 ? size : 64));
    o[0] = (void *)(uintptr_t)chain;
    chain = o;
    if (n % 256 == 0) EXPECT(memory() <= limit);
  }
  EXPECT(errno == ENOMEM);
  EXPECT(memory() <= limit);
  return n;
}

static size_t chain_length(void) {
  size_t n = 0;
  for (void *volatile *o = chain; o != NULL; o = o[0]) n++;
  return n;
}

static NOINLINE void chain_drop(void) {
  chain = NULL;
  scrub_stack();
}

/* From the option or from the call; refused at the limit and not much before it; dropped memory serves again. */
static int probe_hard(size_t size) {
  gc_read_stats(&stats);
  uint64_t limit = stats.hard_limit;
  if (limit == UINT64_MAX) EXPECT(gc_set_hard_limit(limit = 24 * MIB) == SIZE_MAX);
  size_t first = 0;
  for (int round = 0; round < 3; round++) {
    size_t n = fill(size, limit);
    EXPECT(chain_length() == n);
    EXPECT(n * size >= limit / 10 * (size < 64 ? 7 : 8));
    EXPECT(round == 0 || n >= first / 10 * 9);
    first = n;
    errno = 0;
    EXPECT(gc_alloc_noscan(limit) == NULL && errno == ENOMEM);
    errno = 0;
    EXPECT(gc_realloc((void *)(uintptr_t)chain, limit) == NULL && errno == ENOMEM);
    EXPECT(gc_alloc_aligned(1 << 16, limit - MIB) == NULL);
    EXPECT(chain_length() == n);
    chain_drop();
  }
  /* Twice what was refused, when the limit is gone. */
  EXPECT(gc_set_hard_limit(SIZE_MAX) == limit);
  for (size_t i = 0; i < 2 * first; i++) {
    void *volatile *o = gc_alloc(size);
    EXPECT(o != NULL);
    o[0] = (void *)(uintptr_t)chain;
    chain = o;
  }
  EXPECT(memory() > limit);
  /* Below what is live: nothing grows, nothing is lost. */
  EXPECT(gc_set_hard_limit(limit / 2) == SIZE_MAX);
  EXPECT(gc_alloc(MIB) == NULL && chain_length() == 2 * first);
  chain_drop();
  EXPECT(gc_alloc(MIB) != NULL && memory() <= limit / 2);
  puts("hard");
  return 0;
}

static const char *const sizes[] = {"16", "500", "32768", "100000", "1048576"};

START_TEST(hard) {
  static const char *const env[] = {"GC_HARD_LIMIT=32M", NULL};
  probe_run(&probe, sizes[_i / 2], env[_i % 2], 0);
  REQUIRE_MSG(strcmp(probe.out, "hard\n") == 0, "%s", probe.out);
}
END_TEST

/* Threads that fill the heap at the same time: the limit holds, each is refused, nothing hangs. */
static void *fill_alone(void *arg) {
  void *volatile *list = NULL;
  for (;;) {
    void *volatile *o = gc_alloc(64 + 100 * (size_t)(uintptr_t)arg);
    if (o == NULL) break;
    o[0] = (void *)(uintptr_t)list;
    list = o;
  }
  return (void *)(uintptr_t)(errno == ENOMEM);
}

START_TEST(hard_threads) {
  enum { THREADS = 4 };
  pthread_t id[THREADS];
  gc_set_hard_limit(24 * MIB);
  for (size_t i = 0; i < THREADS; i++) REQUIRE(pthread_create(&id[i], NULL, fill_alone, (void *)i) == 0);
  for (size_t i = 0; i < THREADS; i++) {
    void *refused;
    REQUIRE(memory() <= 24 * MIB + 4096 * THREADS);
    REQUIRE(pthread_join(id[i], &refused) == 0 && refused != NULL);
  }
}
END_TEST

/* ---- the callback ---- */

static struct {
  int calls;
  size_t wanted;
  void *arg;
  bool drops, frees, allocates, collects;
} pressed;

static void press(size_t wanted, void *arg) {
  pressed.calls++;
  pressed.wanted = wanted;
  pressed.arg = arg;
  errno = EDOM; /* the caller's is kept */
  if (pressed.drops) chain_drop();
  if (pressed.frees) {
    void *volatile *o = chain;
    chain = NULL;
    for (void *volatile *next; o != NULL; o = next) {
      next = o[0];
      gc_free((void *)(uintptr_t)o);
    }
  }
  if (pressed.allocates) EXPECT(gc_alloc(8 * MIB) == NULL); /* refused without a second call */
  if (pressed.collects) gc_collect();
}

static int argument;

/* Called before the refusal, with the size; it does not help, so the answer is NULL. */
START_TEST(callback_is_called) {
  gc_set_hard_limit(24 * MIB);
  gc_set_pressure_callback(press, &argument);
  fill(1000, 24 * MIB);
  REQUIRE(pressed.calls == 1 && pressed.wanted == 1000 && pressed.arg == &argument);
  REQUIRE(gc_alloc(8 * MIB) == NULL && errno == ENOMEM);
  REQUIRE(pressed.calls == 2 && pressed.wanted == 8 * MIB);
  pressed.allocates = true;
  REQUIRE(gc_alloc(9 * MIB) == NULL && errno == ENOMEM && pressed.calls == 3);
  gc_set_pressure_callback(NULL, NULL);
  REQUIRE(gc_alloc(8 * MIB) == NULL && errno == ENOMEM && pressed.calls == 3);
}
END_TEST

/* Dropping references, or freeing: the allocation succeeds and errno is what it was. */
START_TEST(callback_rescues) {
  gc_set_hard_limit(24 * MIB);
  for (int round = 0; round < 3; round++) {
    gc_set_pressure_callback(NULL, NULL);
    fill(_i == 0 ? 5000 : 200, 24 * MIB);
    gc_set_pressure_callback(press, &argument);
    pressed.drops = round != 1;
    pressed.frees = round == 1;
    errno = 0;
    REQUIRE(gc_alloc(8 * MIB) != NULL);
    REQUIRE_MSG(errno == 0 && pressed.calls == round + 1, "errno %d, %d calls", errno, pressed.calls);
    scrub_stack();
    chain_drop();
  }
}
END_TEST

/* Over 90 % of the soft limit after a cycle: once per cycle, with the excess, at a later allocation. */
START_TEST(callback_under_soft_pressure) {
  struct rng g = {suite_seed()};
  gc_disable(); /* but for those that the test asks for */
  gc_set_pressure_callback(press, &argument);
  live_make(&g, 20 * MIB);
  gc_set_memory_limit(30 * MIB);
  gc_collect();
  churn(&g, MIB);
  REQUIRE(pressed.calls == 0); /* at two thirds */
  gc_read_stats(&stats);
  uint64_t limit = stats.live_bytes / 95 * 100;
  gc_set_memory_limit(limit);
  pressed.collects = _i == 1; /* cycles of the callback's own do not call it again */
  for (int i = 1; i < 4; i++) {
    gc_collect();
    REQUIRE(pressed.calls == i - 1); /* not inside gc_collect */
    churn(&g, 3 * MIB);
    REQUIRE_MSG(pressed.calls == i, "%d calls, not %d", pressed.calls, i);
    REQUIRE_MSG(pressed.wanted > limit / 100 * 4 && pressed.wanted < limit / 100 * 20, "wanted %zu", pressed.wanted);
  }
  live_drop();
  gc_collect();
  churn(&g, MIB);
  REQUIRE(pressed.calls == 3);
}
END_TEST

/* ---- settings ---- */

START_TEST(settings) {
  gc_read_stats(&stats);
  REQUIRE(stats.memory_limit == UINT64_MAX && stats.hard_limit == UINT64_MAX);
  REQUIRE(gc_set_memory_limit(50 * MIB) == SIZE_MAX && gc_set_memory_limit(60 * MIB) == 50 * MIB);
  REQUIRE(gc_set_hard_limit(70 * MIB) == SIZE_MAX && gc_set_hard_limit(80 * MIB) == 70 * MIB);
  gc_read_stats(&stats);
  REQUIRE(stats.memory_limit == 60 * MIB && stats.hard_limit == 80 * MIB);
  REQUIRE(gc_set_memory_limit(SIZE_MAX) == 60 * MIB && gc_set_hard_limit(SIZE_MAX) == 80 * MIB);
}
END_TEST

/* Setting gives back what is free and over the limit. */
START_TEST(setting_gives_back) {
  for (int which = 0; which < 2; which++) {
    void *p = gc_alloc(40 * MIB);
    REQUIRE(p != NULL);
    memset(p, 1, 40 * MIB);
    gc_free(p);
    REQUIRE(memory() > 40 * MIB);
    which ? gc_set_hard_limit(20 * MIB) : gc_set_memory_limit(20 * MIB);
    REQUIRE_MSG(memory() <= 20 * MIB, "%zu KiB", (size_t)memory() / 1024);
    which ? gc_set_hard_limit(SIZE_MAX) : gc_set_memory_limit(SIZE_MAX);
  }
}
END_TEST

/* Without growth as a reason, the limit alone makes cycles. */
START_TEST(percent_off) {
  struct rng g = {suite_seed()};
  gc_set_percent(-1);
  gc_set_memory_limit(32 * MIB);
  uint64_t most = churn(&g, 200 * MIB);
  gc_read_stats(&stats);
  REQUIRE_MSG(stats.num_gc >= 5 && most <= 34 * MIB, "%" PRIu64 " cycles, %" PRIu64 " KiB", stats.num_gc, most / 1024);
}
END_TEST

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "soft") == 0) return probe_soft();
  if (argc > 1 && strcmp(argv[1], "below") == 0) return probe_below();
  if (argc > 1) return probe_hard(strtoul(argv[1], NULL, 10));
  Suite *s = suite_create("limits");
  TCase *tc = suite_case(s, "limits");
  tcase_add_test(tc, no_limit);
  tcase_add_loop_test(tc, soft, 0, 2);
  tcase_add_loop_test(tc, below_live, 0, 2);
  tcase_add_loop_test(tc, hard, 0, 2 * (int)(sizeof sizes / sizeof *sizes));
  tcase_add_test(tc, hard_threads);
  tcase_add_test(tc, callback_is_called);
  tcase_add_loop_test(tc, callback_rescues, 0, 2);
  tcase_add_loop_test(tc, callback_under_soft_pressure, 0, 2);
  tcase_add_test(tc, settings);
  tcase_add_test(tc, setting_gives_back);
  tcase_add_test(tc, percent_off);
  return suite_main(s);
}
