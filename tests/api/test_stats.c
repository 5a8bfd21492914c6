/* test_stats.c - gc_read_stats: the figures agree with each other and with what the program did. */
#include "gc_stats.h"
#include "hide.h"

#define MIB ((uint64_t)1024 * 1024)

enum { N = 20000 };
static root keep[N];

/* Too big for small test stacks, and no roots should hide in it. */
static struct gc_stats now, before;

static void make_live(size_t n, bool large) {
  struct rng r = {suite_seed()};
  for (size_t i = 0; i < n; i++) {
    size_t size = 16 + rng_below(&r, large && i % 100 == 0 ? 300000 : 1000);
    keep[i] = i % 3 == 0 ? gc_alloc_noscan(size) : gc_alloc(size);
    REQUIRE(keep[i] != NULL);
  }
}

static void drop_every(size_t step) {
  for (size_t i = 0; i < N; i += step) keep[i] = NULL;
}

/* What holds at any quiet moment. */
static void check_sums(const struct gc_stats *s) {
  REQUIRE(s->struct_size == sizeof *s);
  REQUIRE(s->alloc == s->heap_alloc);
  REQUIRE_MSG(s->heap_sys == s->heap_idle + s->heap_inuse, "sys %" PRIu64 " idle %" PRIu64 " inuse %" PRIu64,
              s->heap_sys, s->heap_idle, s->heap_inuse);
  REQUIRE(s->heap_sys % (4 * MIB) == 0);
  REQUIRE_MSG(s->heap_alloc <= s->heap_inuse, "alloc %" PRIu64 " inuse %" PRIu64, s->heap_alloc, s->heap_inuse);
  REQUIRE_MSG(s->heap_released <= s->heap_idle, "released %" PRIu64 " idle %" PRIu64, s->heap_released, s->heap_idle);
  REQUIRE(s->heap_inuse % 8192 == 0);
  REQUIRE(s->sys >= s->heap_sys);
  REQUIRE(s->gc_sys > 0);
  REQUIRE(s->total_alloc >= s->heap_alloc);
  REQUIRE(s->mallocs >= s->frees);
  REQUIRE(s->num_gc >= s->num_forced_gc);
  REQUIRE(s->root_scan_bytes >= s->stack_scan_bytes);
}

static void check_classes(const struct gc_stats *s) {
  uint64_t mallocs = 0, frees = 0, bytes = 0, last = 0;
  REQUIRE(s->by_size[0].size == 0);
  for (int i = 0; i < GC_STATS_CLASSES; i++) {
    const struct gc_stats_class *c = &s->by_size[i];
    REQUIRE_MSG(i == 0 || c->size > last, "class %d: sizes do not rise", i);
    REQUIRE_MSG(c->mallocs >= c->frees, "class %d: more frees than mallocs", i);
    last = c->size;
    mallocs += c->mallocs;
    frees += c->frees;
    bytes += c->size * (c->mallocs - c->frees);
  }
  REQUIRE(last == 32768);
  REQUIRE_MSG(s->heap_objects == mallocs - frees, "heap_objects %" PRIu64 ", by size %" PRIu64, s->heap_objects,
              mallocs - frees);
  REQUIRE(s->mallocs >= mallocs);
  REQUIRE(s->heap_alloc >= bytes);
  if (s->by_size[0].mallocs == s->by_size[0].frees) REQUIRE(s->heap_alloc == bytes);
}

START_TEST(figures_agree) {
  for (int large = 0; large < 2; large++)
    for (size_t step = 1; step < 4; step++) {
      make_live(N, large);
      gc_read_stats(&now);
      check_sums(&now);
      check_classes(&now);
      drop_every(step);
      gc_collect();
      gc_read_stats(&now);
      check_sums(&now);
      check_classes(&now);
      gc_release_memory();
      gc_read_stats(&now);
      check_sums(&now);
      check_classes(&now);
    }
}
END_TEST

/* Without tiny objects each malloc is one slot: all counts are exact. */
START_TEST(counts_are_exact) {
  enum { COUNT = 10000, SIZE = 100 };
  gc_disable();
  gc_collect();
  gc_read_stats(&before);
  size_t usable = 0;
  for (size_t i = 0; i < COUNT; i++) {
    keep[i] = gc_alloc(SIZE);
    REQUIRE(keep[i] != NULL);
    usable = gc_usable_size(keep[i]);
  }
  gc_read_stats(&now);
  REQUIRE(now.mallocs - before.mallocs == COUNT);
  REQUIRE(now.heap_objects - before.heap_objects == COUNT);
  REQUIRE(now.heap_alloc - before.heap_alloc == COUNT * usable);
  REQUIRE(now.total_alloc - before.total_alloc == COUNT * usable);
  for (int c = 1; c < GC_STATS_CLASSES; c++) {
    uint64_t grew = now.by_size[c].mallocs - before.by_size[c].mallocs;
    REQUIRE_MSG(grew == (now.by_size[c].size == usable ? COUNT : 0), "class of %" PRIu64, now.by_size[c].size);
  }
  for (size_t i = 0; i < COUNT; i += 2) gc_free(keep[i]);
  before = now;
  gc_read_stats(&now);
  REQUIRE(now.frees - before.frees == COUNT / 2);
  REQUIRE(before.heap_objects - now.heap_objects == COUNT / 2);
  REQUIRE(before.heap_alloc - now.heap_alloc == COUNT / 2 * usable);
  REQUIRE(now.total_alloc == before.total_alloc);
  gc_enable();
}
END_TEST

START_TEST(large_objects_count) {
  enum { COUNT = 20, SIZE = 1000000 };
  gc_disable();
  gc_collect();
  gc_read_stats(&before);
  for (size_t i = 0; i < COUNT; i++) {
    keep[i] = gc_alloc(SIZE);
    REQUIRE(keep[i] != NULL);
  }
  gc_read_stats(&now);
  REQUIRE(now.by_size[0].mallocs - before.by_size[0].mallocs == COUNT);
  REQUIRE(now.heap_alloc - before.heap_alloc >= (uint64_t)COUNT * SIZE);
  REQUIRE(now.heap_alloc - before.heap_alloc <= (uint64_t)COUNT * (SIZE + 8192));
  for (size_t i = 0; i < COUNT; i++) {
    gc_free(keep[i]);
    keep[i] = NULL;
  }
  gc_read_stats(&now);
  REQUIRE(now.by_size[0].frees - before.by_size[0].frees == COUNT);
  REQUIRE(now.heap_alloc == before.heap_alloc);
  REQUIRE(now.heap_objects == before.heap_objects);
  gc_enable();
}
END_TEST

/* Tiny objects count one by one in mallocs, and by block in heap_objects. */
START_TEST(tiny_objects_count) {
  enum { COUNT = 4000 };
  gc_disable();
  gc_collect();
  gc_read_stats(&before);
  for (size_t i = 0; i < COUNT; i++) {
    keep[i] = gc_alloc_noscan(4);
    REQUIRE(keep[i] != NULL);
  }
  gc_read_stats(&now);
  REQUIRE(now.mallocs - before.mallocs == COUNT);
  uint64_t blocks = now.heap_objects - before.heap_objects;
  REQUIRE_MSG(blocks >= COUNT / 4 && blocks <= COUNT, "%" PRIu64 " blocks", blocks);
  REQUIRE(now.heap_alloc - before.heap_alloc == 16 * blocks);
  check_classes(&now);
  gc_enable();
}
END_TEST

START_TEST(sweeping_frees) {
  gc_disable();
  make_live(N, false);
  gc_collect();
  gc_read_stats(&before);
  REQUIRE(before.heap_objects >= N);
  REQUIRE(before.live_bytes >= (uint64_t)N * 16);
  drop_every(1);
  scrub_stack();
  gc_collect();
  gc_read_stats(&now);
  REQUIRE_MSG(now.frees - before.frees >= N * 95 / 100, "%" PRIu64 " freed", now.frees - before.frees);
  REQUIRE(before.heap_objects - now.heap_objects == now.frees - before.frees);
  REQUIRE(now.total_alloc == before.total_alloc && now.mallocs == before.mallocs);
  gc_enable();
}
END_TEST

START_TEST(cycles_are_counted) {
  gc_disable();
  gc_collect();
  gc_read_stats(&before);
  for (uint64_t i = 1; i <= 20; i++) {
    gc_collect();
    gc_read_stats(&now);
    REQUIRE(now.num_gc == before.num_gc + i);
    REQUIRE(now.num_forced_gc == before.num_forced_gc + i);
    REQUIRE(now.last_gc >= before.last_gc);
    REQUIRE(now.gc_cpu_ns >= before.gc_cpu_ns);
    REQUIRE(now.stack_scan_bytes > 0);
    REQUIRE(now.next_gc >= 4 * MIB);
  }
  REQUIRE(now.gc_cpu_ns > before.gc_cpu_ns);
  gc_enable();
}
END_TEST

static uint64_t largest(const uint64_t *v, size_t n) {
  uint64_t m = 0;
  for (size_t i = 0; i < n; i++) m = v[i] > m ? v[i] : m;
  return m;
}

START_TEST(pause_rings) {
  gc_disable();
  for (int round = 0; round < 2 * GC_STATS_PAUSES; round++) {
    gc_collect();
    gc_read_stats(&now);
    uint64_t n = now.num_gc, at = (n + 255) % 256, sum = 0, counted = 0;
    REQUIRE_MSG(now.pause_ns[at] > 0, "cycle %" PRIu64 " has no pause", n);
    REQUIRE(now.pause_end[at] == largest(now.pause_end, GC_STATS_PAUSES));
    REQUIRE(now.pause_end[at] <= now.last_gc && now.pause_end[at] > 0);
    for (size_t i = 0; i < GC_STATS_PAUSES; i++) {
      sum += now.pause_ns[i];
      REQUIRE((now.pause_ns[i] == 0) == (i >= n));
    }
    REQUIRE(now.pause_total_ns >= sum);
    for (size_t i = 0; i < GC_STATS_BUCKETS; i++) counted += now.pause_hist[i];
    REQUIRE_MSG(counted >= n, "%" PRIu64 " pauses in the histogram, %" PRIu64 " cycles", counted, n);
  }
}
END_TEST

START_TEST(totals_never_fall) {
  gc_read_stats(&before);
  for (int i = 0; i < 50; i++) {
    make_live(2000, i % 5 == 0);
    if (i % 10 == 9) gc_collect();
    gc_read_stats(&now);
    REQUIRE(now.total_alloc > before.total_alloc && now.mallocs > before.mallocs && now.frees >= before.frees);
    REQUIRE(now.num_gc >= before.num_gc && now.pause_total_ns >= before.pause_total_ns);
    REQUIRE(now.num_forced_gc >= before.num_forced_gc);
    for (int c = 0; c < GC_STATS_CLASSES; c++) {
      REQUIRE(now.by_size[c].mallocs >= before.by_size[c].mallocs);
      REQUIRE(now.by_size[c].frees >= before.by_size[c].frees);
    }
    before = now;
  }
}
END_TEST

/* -- printing -- */

/* Fails unless standard input is one JSON object that has, at any depth, the two values given. */
#define PYTHON_CHECK                                                        \
  "python3 -c '\n"                                                          \
  "import json, sys\n"                                                      \
  "def walk(d):\n"                                                          \
  "  if isinstance(d, dict):\n"                                             \
  "    for k, v in d.items():\n"                                            \
  "      yield (k, v)\n"                                                    \
  "      yield from walk(v)\n"                                              \
  "  elif isinstance(d, list):\n"                                           \
  "    for v in d: yield from walk(v)\n"                                    \
  "d = json.load(sys.stdin)\n"                                              \
  "assert isinstance(d, dict)\n"                                            \
  "found = [kv for kv in walk(d) if not isinstance(kv[1], (dict, list))]\n" \
  "assert (\"heap_alloc\", %" PRIu64                                        \
  ") in found\n"                                                            \
  "assert (\"num_gc\", %" PRIu64                                            \
  ") in found\n"                                                            \
  "'"

START_TEST(json_is_json) {
  char command[2048];
  make_live(N, true);
  gc_collect();
  gc_read_stats(&now);
  snprintf(command, sizeof command, PYTHON_CHECK, now.heap_alloc, now.num_gc);
  FILE *to = popen(command, "w");
  REQUIRE(to != NULL);
  REQUIRE(gc_stats_print_json(to, &now) == 0);
  REQUIRE_MSG(pclose(to) == 0, "python3 does not accept the JSON");
  to = popen("python3 -m json.tool >/dev/null", "w");
  REQUIRE(to != NULL);
  REQUIRE(gc_stats_print_json(to, &now) == 0);
  REQUIRE(pclose(to) == 0);
}
END_TEST

START_TEST(table_names_the_figures) {
  char *text = NULL;
  size_t size = 0;
  make_live(N, true);
  gc_collect();
  gc_read_stats(&now);
  FILE *to = open_memstream(&text, &size);
  REQUIRE(to != NULL);
  REQUIRE(gc_stats_print_table(to, &now) == 0);
  REQUIRE(fclose(to) == 0);
  REQUIRE(size > 0 && text[size - 1] == '\n');
  REQUIRE(strstr(text, "heap_alloc") != NULL && strstr(text, "num_gc") != NULL);
  char value[32];
  snprintf(value, sizeof value, "%" PRIu64, now.num_gc);
  REQUIRE(strstr(text, value) != NULL);
  free(text);
}
END_TEST

START_TEST(failed_writing_is_told) {
  gc_read_stats(&now);
  FILE *to = fopen("/dev/full", "w");
  REQUIRE(to != NULL && setvbuf(to, NULL, _IONBF, 0) == 0);
  REQUIRE(gc_stats_print_json(to, &now) == -1);
  clearerr(to);
  REQUIRE(gc_stats_print_table(to, &now) == -1);
  fclose(to);
}
END_TEST

int main(void) {
  Suite *s = suite_create("stats");
  TCase *tc = suite_case(s, "stats");
  tcase_add_test(tc, figures_agree);
  tcase_add_test(tc, counts_are_exact);
  tcase_add_test(tc, large_objects_count);
  tcase_add_test(tc, tiny_objects_count);
  tcase_add_test(tc, sweeping_frees);
  tcase_add_test(tc, cycles_are_counted);
  tcase_add_test(tc, pause_rings);
  tcase_add_test(tc, totals_never_fall);
  tcase_add_test(tc, json_is_json);
  tcase_add_test(tc, table_names_the_figures);
  tcase_add_test(tc, failed_writing_is_told);
  return suite_main(s);
}
