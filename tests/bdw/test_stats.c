/* test_stats.c - the figures that the drop-in tells: they agree with each other, with what the program did, and with the
 * other library's header, which this is compiled with. */
#undef GC_DEBUG /* of debug builds of ours; there it chooses other macros */
#define GC_THREADS
#define GC_NO_THREAD_REDIRECTS
#include <gc/gc.h>
#include <gc/gc_inline.h>
#include <gc/gc_mark.h>

#include <string.h>
#include <time.h>

#include "../system/reexec.h"
#include "suite.h"

/* Exported, and in no header of that library. */
void GC_incr_bytes_allocd(size_t bytes);
void GC_incr_bytes_freed(size_t bytes);

#define MIB ((size_t)1024 * 1024)
#define NOINLINE __attribute__((noinline))

enum {
  OBJECTS = 8000,
  SIZE = 4000,
  SLOT = 4096
}; /* with the byte that is added: the other library's rounding or ours */

static void *volatile keep[OBJECTS];

static NOINLINE void make_objects(size_t n) {
  for (size_t i = 0; i < n; i++) {
    keep[i] = GC_malloc(SIZE);
    REQUIRE(keep[i] != NULL);
  }
}

static NOINLINE void drop_objects(void) {
  for (size_t i = 0; i < OBJECTS; i++) keep[i] = NULL;
}

/* Automatic cycles off, so that only those that are asked for end. */
static void only_forced_cycles(void) {
  GC_INIT();
  GC_set_disable_automatic_collection(1);
}

/* ---- cycles ---- */

START_TEST(cycles_are_counted) {
  only_forced_cycles();
  GC_word before = GC_get_gc_no();
  for (GC_word i = 1; i <= 5; i++) {
    GC_gcollect();
    REQUIRE_MSG(GC_get_gc_no() == before + i, "%lu cycles after %lu", GC_get_gc_no() - before, i);
  }
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  REQUIRE(GC_gc_no == GC_get_gc_no()); /* the program's own copy, when it was linked with one */
#pragma GCC diagnostic pop
}
END_TEST

/* ---- memory ---- */

START_TEST(heap_grows_and_goes) {
  only_forced_cycles();
  size_t heap = GC_get_heap_size(), from_os = GC_get_obtained_from_os_bytes(), live = OBJECTS * (size_t)SIZE;
  make_objects(OBJECTS);
  size_t full = GC_get_heap_size();
  REQUIRE_MSG(full >= heap + live, "%zu bytes of objects, heap from %zu to %zu", live, heap, full);
  REQUIRE(GC_get_memory_use() >= live);
  REQUIRE(GC_get_obtained_from_os_bytes() >= from_os + live);
  from_os = GC_get_obtained_from_os_bytes();
  drop_objects();
  GC_gcollect_and_unmap();
  REQUIRE_MSG(GC_get_heap_size() <= full - live / 2, "%zu of %zu bytes stay", GC_get_heap_size(), full);
  REQUIRE(GC_get_unmapped_bytes() >= live / 2);
  REQUIRE(GC_get_free_bytes() <= GC_get_heap_size());
  REQUIRE(GC_get_memory_use() <= full - live / 2);
  REQUIRE(GC_get_obtained_from_os_bytes() >= from_os);
}
END_TEST

/* ---- bytes ---- */

START_TEST(allocated_bytes) {
  only_forced_cycles();
  GC_gcollect();
  size_t since = GC_get_bytes_since_gc(), total = GC_get_total_bytes(), live = OBJECTS * (size_t)SIZE;
  REQUIRE_MSG(since < MIB, "%zu bytes since the cycle that just ended", since);
  make_objects(OBJECTS);
  size_t now = GC_get_bytes_since_gc() - since, all = GC_get_total_bytes() - total;
  REQUIRE_MSG(now >= live && now <= live / SIZE * SLOT + MIB, "%zu bytes since, %zu allocated", now, live);
  REQUIRE_MSG(all == now, "%zu bytes in all, %zu since", all, now);
  GC_incr_bytes_allocd(12345);
  REQUIRE(GC_get_total_bytes() - total == all + 12345);
  drop_objects();
  total = GC_get_total_bytes();
  GC_gcollect();
  REQUIRE_MSG(GC_get_total_bytes() >= total, "collecting made %zu of %zu", GC_get_total_bytes(), total);
  REQUIRE(GC_get_bytes_since_gc() < MIB);
}
END_TEST

START_TEST(freed_bytes) {
  only_forced_cycles();
  make_objects(100);
  GC_gcollect();
  REQUIRE(GC_get_expl_freed_bytes_since_gc() == 0);
  for (size_t i = 0; i < 100; i++) GC_free(keep[i]);
  size_t freed = GC_get_expl_freed_bytes_since_gc();
  REQUIRE_MSG(freed >= 100 * SIZE && freed <= 100 * SLOT * 2, "%zu bytes freed", freed);
  GC_incr_bytes_freed(1000);
  REQUIRE(GC_get_expl_freed_bytes_since_gc() == freed + 1000);
  GC_gcollect();
  REQUIRE(GC_get_expl_freed_bytes_since_gc() == 0);
}
END_TEST

START_TEST(bytes_not_for_collection) {
  GC_INIT();
  GC_set_non_gc_bytes(4321);
  REQUIRE(GC_get_non_gc_bytes() == 4321);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  GC_non_gc_bytes += 1000;
#pragma GCC diagnostic pop
  REQUIRE(GC_get_non_gc_bytes() == 5321);
}
END_TEST

/* ---- many at once ---- */

START_TEST(usage_agrees) {
  GC_word heap, empty, unmapped, since, total;
  only_forced_cycles();
  make_objects(OBJECTS);
  GC_get_heap_usage_safe(NULL, NULL, NULL, NULL, NULL);
  GC_get_heap_usage_safe(&heap, &empty, &unmapped, &since, &total);
  REQUIRE(heap == GC_get_heap_size());
  REQUIRE(empty == GC_get_free_bytes());
  REQUIRE(unmapped == GC_get_unmapped_bytes());
  REQUIRE(since == GC_get_bytes_since_gc());
  REQUIRE(total == GC_get_total_bytes());
  GC_word one = 0;
  GC_get_heap_usage_safe(NULL, NULL, NULL, NULL, &one);
  REQUIRE(one == total);
}
END_TEST

START_TEST(prof_stats_agree) {
  struct GC_prof_stats_s s;
  only_forced_cycles();
  make_objects(OBJECTS);
  for (size_t i = 0; i < OBJECTS; i += 2) keep[i] = NULL;
  GC_gcollect();
  GC_free(GC_malloc(SIZE));
  REQUIRE(GC_get_prof_stats(&s, sizeof s) == sizeof s);
  REQUIRE(s.heapsize_full == GC_get_heap_size() + GC_get_unmapped_bytes());
  REQUIRE(s.free_bytes_full == GC_get_free_bytes() + GC_get_unmapped_bytes());
  REQUIRE(s.unmapped_bytes == GC_get_unmapped_bytes());
  REQUIRE(s.bytes_allocd_since_gc == GC_get_bytes_since_gc());
  REQUIRE(s.allocd_bytes_before_gc == GC_get_total_bytes() - GC_get_bytes_since_gc());
  REQUIRE(s.non_gc_bytes == GC_get_non_gc_bytes());
  REQUIRE(s.gc_no == GC_get_gc_no());
  REQUIRE(s.markers_m1 == (GC_word)GC_get_parallel());
  REQUIRE(s.expl_freed_bytes_since_gc == GC_get_expl_freed_bytes_since_gc());
  REQUIRE(s.obtained_from_os_bytes == GC_get_obtained_from_os_bytes());
  GC_word reclaimed = s.reclaimed_bytes_before_gc + s.bytes_reclaimed_since_gc, dropped = OBJECTS / 2 * (GC_word)SIZE;
  REQUIRE_MSG(reclaimed >= dropped / 100 * 95 && reclaimed <= dropped / SIZE * SLOT + MIB,
              "%lu bytes reclaimed, %lu dropped", reclaimed, dropped);
}
END_TEST

/* Of a program with a shorter struct, and of one with a longer. */
START_TEST(prof_stats_of_any_size) {
  struct {
    struct GC_prof_stats_s known;
    GC_word unknown[2];
  } s;
  GC_INIT();
  memset(&s, 0x55, sizeof s);
  REQUIRE(GC_get_prof_stats(&s.known, 2 * sizeof(GC_word)) == 2 * sizeof(GC_word));
  REQUIRE(s.known.heapsize_full >= s.known.free_bytes_full);
  GC_word untouched;
  memset(&untouched, 0x55, sizeof untouched);
  REQUIRE(s.known.unmapped_bytes == untouched);
  REQUIRE(GC_get_prof_stats_unsafe(&s.known, sizeof s) == sizeof s.known);
  REQUIRE(s.unknown[0] == (GC_word)-1 && s.unknown[1] == (GC_word)-1);
}
END_TEST

START_TEST(size_map_is_true) {
  GC_INIT();
  size_t last = 0;
  int end = 1;
  while (GC_get_size_map_at(end) != (size_t)-1) end++;
  REQUIRE_MSG(end > 2000, "the map ends at %d", end);
  for (int i = 0; i < end; i++) {
    size_t told = GC_get_size_map_at(i), given = GC_size(GC_malloc((size_t)i));
    REQUIRE_MSG(told == given, "%d bytes: %zu told, %zu given", i, told, given);
    REQUIRE(told >= (size_t)i && told >= last);
    last = told;
  }
  REQUIRE(GC_get_size_map_at(-1) == (size_t)-1);
  REQUIRE(GC_get_size_map_at(1 << 30) == (size_t)-1);
}
END_TEST

/* ---- time ---- */

static unsigned long now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (unsigned long)t.tv_sec * 1000 + (unsigned long)t.tv_nsec / 1000000;
}

/* Each cycle stops the world for some time, which is part of the time that passes: enough of them for a millisecond. */
START_TEST(time_is_measured) {
  unsigned long start = now_ms();
  only_forced_cycles();
  GC_gcollect();
  REQUIRE(GC_get_full_gc_total_time() == 0);
  GC_start_performance_measurement();
  while (GC_get_full_gc_total_time() == 0) GC_gcollect();
  unsigned long before = GC_get_full_gc_total_time(), passed = now_ms() - start + 1;
  REQUIRE_MSG(before <= passed, "stopped for %lu of %lu ms", before, passed);
  GC_start_performance_measurement(); /* it goes on */
  REQUIRE(GC_get_full_gc_total_time() >= before);
}
END_TEST

/* ---- in a callback ---- */

static GC_push_other_roots_proc others;
static volatile size_t asked, heap_in_stop, total_in_stop;

/* What a client may ask in a stop must not wait for whom the stop keeps waiting, nor register the thread. */
static void ask_in_stop(void) {
  heap_in_stop = GC_get_heap_size() + GC_get_free_bytes() + GC_get_unmapped_bytes() + GC_get_memory_use();
  total_in_stop = GC_get_total_bytes() + GC_get_bytes_since_gc() + GC_get_obtained_from_os_bytes();
  (void)GC_get_gc_no();
  (void)GC_get_non_gc_bytes();
  asked++;
  if (others != NULL) others();
}

static int ask_while_collecting(void) {
  GC_INIT();
  others = GC_get_push_other_roots();
  GC_set_push_other_roots(ask_in_stop);
  make_objects(OBJECTS);
  for (int i = 0; i < 20; i++) GC_gcollect();
  return asked >= 20 && heap_in_stop >= OBJECTS * (size_t)SIZE && total_in_stop >= OBJECTS * (size_t)SIZE ? 0 : 1;
}

static void check_callbacks(const char *env) {
  static struct probe p;
  probe_run(&p, "ask", env, 0);
}

START_TEST(callbacks_may_ask) {
  check_callbacks("GC_CONCURRENT=off");
  check_callbacks("GC_CONCURRENT=always");
}
END_TEST

/* ---- dumps ---- */

enum { LINKS = 200 };
static void *links[LINKS];

static void finalizer(void *object, void *data) {
  (void)object;
  (void)data;
}

static int dump(void) {
  only_forced_cycles();
  make_objects(1000);
  GC_dump();
  GC_dump_named("after the objects");
  GC_dump_regions();
  GC_print_free_list(GC_I_NORMAL, 2);
  GC_register_finalizer(keep[0], finalizer, NULL, NULL, NULL);
  for (size_t i = 0; i < LINKS; i++) {
    links[i] = (void *)GC_HIDE_POINTER(keep[i]);
    if (GC_general_register_disappearing_link(&links[i], keep[i]) != GC_SUCCESS) return 1;
  }
  GC_dump_finalization();
  printf("%p\n", keep[0]);
  return 0;
}

static unsigned long number_after(const char *text, const char *words) {
  const char *at = strstr(text, words);
  REQUIRE_MSG(at != NULL, "no \"%s\" in: %s", words, text);
  return strtoul(at + strlen(words), NULL, 10);
}

START_TEST(dumps_tell) {
  static struct probe p;
  unsigned long size, blocks, objects;
  probe_run(&p, "dump", NULL, 0);
  REQUIRE(number_after(p.out, "heap: ") >= 1000 * SIZE);
  REQUIRE(strstr(p.out, "*** dump of collection ") != NULL && strstr(p.out, "*** dump after the objects\n") != NULL);
  const char *row = strstr(p.out, "\nall ");
  REQUIRE(row != NULL && sscanf(row, "\nall %lu %lu %lu", &size, &blocks, &objects) == 3);
  REQUIRE_MSG(objects >= 1000, "%lu objects", objects);
  REQUIRE(strstr(p.out, "section from 0x") != NULL);
  REQUIRE(number_after(p.out, "free objects of ") == 32);
  REQUIRE(probe_lines(p.out, "disappearing link: 0x") == LINKS);
  REQUIRE(probe_lines(p.out, "finalizable object: 0x") == 1);
  const char *object = strrchr(p.out, 'x'), *finalizable = strstr(p.out, "finalizable object: 0x");
  REQUIRE_MSG(strncmp(object, strchr(finalizable, 'x'), strlen(object)) == 0, "not of that object: %s", p.out);
}
END_TEST

static void add_tests(TCase *tc) {
  tcase_add_test(tc, cycles_are_counted);
  tcase_add_test(tc, heap_grows_and_goes);
  tcase_add_test(tc, allocated_bytes);
  tcase_add_test(tc, freed_bytes);
  tcase_add_test(tc, bytes_not_for_collection);
  tcase_add_test(tc, usage_agrees);
  tcase_add_test(tc, prof_stats_agree);
  tcase_add_test(tc, prof_stats_of_any_size);
  tcase_add_test(tc, size_map_is_true);
  tcase_add_test(tc, time_is_measured);
  tcase_add_test(tc, callbacks_may_ask);
  tcase_add_test(tc, dumps_tell);
}

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "ask") == 0) return ask_while_collecting();
  if (argc > 1 && strcmp(argv[1], "dump") == 0) return dump();
  Suite *suite = suite_create("bdw stats");
  add_tests(suite_case(suite, "stats"));
  return suite_main(suite);
}
