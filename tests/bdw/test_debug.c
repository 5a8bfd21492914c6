/* test_debug.c - debug variants: objects with file and line. Programs see what they see there: bases, sizes, finalizers; and a line
 * for each object that was overwritten or freed twice. */
#include "client.h"

#include <gc/gc_mark.h>
#include <string.h>

#include "../system/cases.h"
#include "../system/misuse.h"

/* Exported, and in no header of that library. */
void *GC_debug_generic_or_special_malloc(size_t bytes, int kind, const char *file, int line);
void *GC_debug_gcj_malloc(size_t bytes, void *vtable, const char *file, int line);

#define HEADER GC_get_debug_header_size()

enum { SIZES = 70000 };
static const size_t sizes[] = {0, 1, 7, 8, 15, 16, 23, 24, 100, 1000, 8000, 40000, SIZES};

/* ---- what objects are ---- */

static void check_object(char *p, size_t size) {
  char *base = GC_base(p);
  REQUIRE(p != NULL && base != NULL && (uintptr_t)p % 16 == 0);
  REQUIRE_MSG(p - base == (ptrdiff_t)HEADER, "the base of %zu bytes is %td before", size, p - base);
  REQUIRE(GC_base(p + size) == base && GC_base(base) == base); /* one past the end, too */
  REQUIRE_MSG(GC_size(base) >= HEADER + size + 8, "%zu bytes, the whole has %zu", size, GC_size(base));
  memset(p, 0x5a, size);
}

START_TEST(bases_and_sizes) {
  GC_INIT();
  REQUIRE(HEADER == 32); /* there on 64 bit */
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    const size_t n = sizes[i];
    char *cleared = GC_debug_malloc(n, "a.c", 1);
    for (size_t at = 0; at < n; at++) REQUIRE(cleared[at] == 0);
    check_object(cleared, n);
    check_object(GC_debug_malloc_atomic(n, "a.c", 2), n);
    check_object(GC_debug_malloc_uncollectable(n, "a.c", 3), n);
    check_object(GC_debug_malloc_atomic_uncollectable(n, "a.c", 4), n);
    check_object(GC_debug_malloc_ignore_off_page(n, "a.c", 5), n);
    check_object(GC_debug_malloc_atomic_ignore_off_page(n, "a.c", 6), n);
    check_object(GC_debug_malloc_replacement(n), n);
    check_object(GC_debug_generic_or_special_malloc(n, 0, "a.c", 7), n);
  }
  GC_gcollect();
}
END_TEST

START_TEST(kinds_are_kept) {
  char *p[4];
  GC_INIT();
  p[0] = GC_debug_malloc_atomic(50, "a.c", 1);
  p[1] = GC_debug_malloc(50, "a.c", 2);
  p[2] = GC_debug_malloc_uncollectable(50, "a.c", 3);
  p[3] = GC_debug_malloc_atomic_uncollectable(50, "a.c", 4);
  for (int kind = 0; kind < 4; kind++) {
    size_t size;
    memset(p[kind], kind + 1, 50);
    for (int i = 0; i < 4; i++) {
      const size_t n = i % 2 == 0 ? 2000 : 50;
      char *q = GC_debug_realloc(p[kind], n, "b.c", i);
      REQUIRE(q != NULL && GC_get_kind_and_size(GC_base(q), &size) == kind && size >= n + HEADER);
      for (int at = 0; at < 50; at++) REQUIRE_MSG(q[at] == kind + 1, "byte %d was not copied", at);
      p[kind] = q;
    }
    REQUIRE(GC_debug_realloc(p[kind], 0, "b.c", 9) == NULL);
  }
  REQUIRE(GC_debug_realloc(NULL, 10, "b.c", 10) != NULL);
  char *r = GC_debug_realloc_replacement(GC_debug_malloc_replacement(3), 30);
  check_object(r, 30);
  for (volatile size_t much = 1; much < 100; much += 33) REQUIRE(GC_debug_malloc(0 - much, "b.c", 11) == NULL);
}
END_TEST

START_TEST(strings_and_the_rest) {
  int table;
  void *stored = NULL;
  GC_INIT();
  char *s = GC_debug_strdup("holdfast", "c.c", 1), *t = GC_debug_strndup("holdfast", 4, "c.c", 2);
  REQUIRE(strcmp(s, "holdfast") == 0 && strcmp(t, "hold") == 0 && GC_debug_strdup(NULL, "c.c", 3) == NULL);
  REQUIRE(strcmp(GC_debug_strndup("ab", 100, "c.c", 4), "ab") == 0);
  check_object(t, 5);
  void **gcj = GC_debug_gcj_malloc(64, &table, "c.c", 5);
  REQUIRE(gcj[0] == &table && gcj[1] == NULL);
  GC_debug_ptr_store_and_dirty(&stored, s);
  GC_debug_end_stubborn_change(s);
  GC_debug_register_displacement(8);
  REQUIRE(stored == (void *)s);
}
END_TEST

/* ---- what keeps an object, and what it keeps ---- */

enum { OBJECTS = 400 };
static void **volatile kept[OBJECTS];
static hidden hidden_kept[OBJECTS], dropped[OBJECTS], inner[OBJECTS];

static NOINLINE void make_objects(void) {
  for (size_t i = 0; i < OBJECTS; i++) {
    void **p = i % 2 == 0 ? GC_debug_malloc(40, "d.c", 1) : GC_debug_malloc_uncollectable(40, "d.c", 2);
    void *in = GC_debug_malloc_atomic(60, "d.c", 3);
    p[3] = in;
    inner[i] = hide(in);
    hidden_kept[i] = hide(p);
    if (i % 2 == 0) kept[i] = p;
    dropped[i] = hide(GC_debug_malloc(200, "d.c", 4));
  }
}

START_TEST(reachability) {
  GC_INIT();
  size_t gone = 0, size = GC_size(GC_base(GC_debug_malloc(200, "d.c", 5)));
  make_objects();
  collect_hard();
  for (size_t i = 0; i < OBJECTS; i++) {
    void **p = reveal(hidden_kept[i]);
    char *in = reveal(inner[i]), *drop = reveal(dropped[i]);
    REQUIRE_MSG(GC_base(p) == (char *)p - HEADER && p[3] == (void *)in, "object %zu was freed", i);
    REQUIRE_MSG(GC_base(in) == in - HEADER, "what object %zu refers to was freed", i);
    gone += GC_base(drop) != drop - HEADER || GC_size(drop - HEADER) != size; /* memory may be used again */
  }
  REQUIRE_MSG(gone >= OBJECTS * 95 / 100, "only %zu of %d went", gone, OBJECTS);
}
END_TEST

/* ---- finalizers ---- */

static struct {
  void *expected[OBJECTS]; /* hidden */
  int run, wrong;
} finals;

static void finalize(void *obj, void *data) {
  size_t i = (size_t)(GC_word)data;
  finals.run++;
  finals.wrong += i >= OBJECTS || finals.expected[i] != (void *)hide(obj).bits;
}

static void finalize_otherwise(void *obj, void *data) {
  (void)obj;
  (void)data;
  finals.wrong++;
}

typedef void registrar(void *, GC_finalization_proc, void *, GC_finalization_proc *, void **);
static registrar *const registrars[] = {GC_debug_register_finalizer, GC_debug_register_finalizer_ignore_self,
                                        GC_debug_register_finalizer_no_order, GC_debug_register_finalizer_unreachable};

/* Every fifth object is not from a debug variant, as where a program mixes. */
static NOINLINE void make_finalizable(registrar *set) {
  for (GC_word i = 0; i < OBJECTS; i++) {
    GC_finalization_proc old = finalize_otherwise;
    void *old_data = &finals, *p = i % 5 == 0 ? GC_malloc(64) : GC_debug_malloc(64, "e.c", 1);
    finals.expected[i] = (void *)hide(p).bits;
    set(p, finalize_otherwise, &finals, &old, &old_data);
    REQUIRE(old == NULL && old_data == NULL);
    set(p, finalize, (void *)i, &old, &old_data);
    REQUIRE_MSG(old == finalize_otherwise && old_data == &finals, "the finalizer before is not told");
    if (i % 2 == 0) continue;
    set(p, NULL, NULL, &old, &old_data);
    REQUIRE(old == finalize && old_data == (void *)i);
  }
}

START_TEST(finalizers_get_what_the_program_has) {
  GC_INIT();
  GC_set_java_finalization(1);
  make_finalizable(registrars[_i]);
  for (int i = 0; i < 4; i++) {
    collect_hard();
    GC_invoke_finalizers();
  }
  REQUIRE_MSG(finals.wrong == 0, "%d calls with something else", finals.wrong);
  REQUIRE_MSG(finals.run <= OBJECTS / 2 && finals.run >= OBJECTS / 2 * 95 / 100, "%d of %d ran", finals.run,
              OBJECTS / 2);
}
END_TEST

static char outside[100];
START_TEST(finalizers_outside_of_the_heap) {
  GC_finalization_proc old = finalize;
  void *old_data = outside;
  GC_INIT();
  GC_debug_register_finalizer(outside, finalize, NULL, &old, &old_data);
  REQUIRE(old == NULL && old_data == NULL);
}
END_TEST

/* ---- what is told ---- */

static char text[4096];

/* What f writes to stderr, in a child that must end well; the number of lines. */
static size_t lines_of(void (*f)(void)) {
  int status = misuse_run(f, text, sizeof text);
  REQUIRE_MSG(status == 0, "status %x: %s", (unsigned)status, text);
  return probe_lines(text, "");
}

static void require_line(void (*f)(void), const char *who, const char *place, const char *what) {
  size_t lines = lines_of(f);
  REQUIRE_MSG(lines == 1, "%zu lines: %s", lines, text);
  REQUIRE_MSG(strstr(text, who) != NULL && strstr(text, place) != NULL && strstr(text, what) != NULL,
              "not %s, %s, %s: %s", who, place, what, text);
}

static void free_twice(void) {
  char *p = GC_debug_malloc(24, "twice.c", 7);
  GC_debug_free(p);
  GC_debug_free(p);
}
/* The compiler must not know how large it is, and that what follows is wrong. */
static char *unknown(void *p) {
  __asm__ volatile("" : "+r"(p));
  return p;
}

static void write_behind(void) {
  char *p = unknown(GC_debug_malloc(21, "behind.c", 8));
  p[21] = 1;
  GC_debug_free(p);
}
static void write_behind_atomic(void) {
  char *p = unknown(GC_debug_malloc_atomic(40000, "large.c", 80));
  p[40007] = 1;
  GC_debug_realloc(p, 4, "realloc.c", 81);
}
static void write_before(void) {
  char *p = unknown(GC_debug_malloc(24, "before.c", 9));
  p[-1] = 1;
  GC_debug_free(p);
}
static void write_long_before(void) {
  char *p = unknown(GC_debug_malloc(24, "before.c", 10));
  memset(p - 32, 0x11, 32);
  GC_debug_free(p);
}
static void free_a_plain_one(void) { GC_debug_free(GC_malloc(24)); }
static void resize_a_plain_one(void) {
  if (GC_debug_realloc(GC_malloc(24), 100, "plain.c", 1) == NULL) _exit(1);
}
static void use_well(void) {
  for (int i = 0; i < 1000; i++) {
    char *p = GC_debug_malloc((size_t)i, "well.c", i), *q = GC_debug_malloc_atomic((size_t)i, "well.c", i);
    memset(p, 0xff, (size_t)i);
    memset(q, 0xff, (size_t)i);
    q = GC_debug_realloc(q, (size_t)i * 2, "well.c", i);
    if (i % 2 == 0) GC_debug_free(p);
    if (i % 3 == 0) GC_debug_free(q);
    if (i % 100 == 0) GC_gcollect();
  }
  GC_debug_free(NULL);
}

/* Kept by a variable, so that the cycles find it: told once, not by every cycle, and freed in silence. */
static char *volatile smashed;
static void find_by_a_cycle(void) {
  smashed = unknown(GC_debug_malloc_atomic(10, "cycle.c", 11));
  smashed[10] = 1;
  for (int i = 0; i < 5; i++) GC_gcollect();
  GC_debug_free(smashed);
}
static void find_uncollectable(void) {
  char *p = unknown(GC_debug_malloc_uncollectable(10, "kept.c", 12));
  p[12] = 1;
  for (int i = 0; i < 5; i++) GC_gcollect();
}

/* Dead debug objects leave their headers in memory that is used again without being cleared: not to be believed. */
static NOINLINE void leave_headers(void) {
  for (int i = 0; i < 5000; i++) GC_debug_malloc_atomic(64, "dead.c", i);
}
static char *volatile reused[10000];
static void use_memory_of_the_dead(void) {
  leave_headers();
  for (int i = 0; i < 3; i++) GC_gcollect();
  const size_t size = GC_size(GC_base(GC_debug_malloc_atomic(64, "dead.c", 0))) - 1;
  for (int i = 0; i < 10000; i++) {
    reused[i] = GC_malloc_atomic(size);
    memset(reused[i] + HEADER, 0x77, size - HEADER);
  }
  for (int i = 0; i < 3; i++) GC_gcollect();
}

static void faults_are_told(void) {
  require_line(free_twice, "GC_debug_free", "twice.c:7", "freed before");
  require_line(write_behind, "GC_debug_free", "behind.c:8", "at byte 21");
  require_line(write_behind_atomic, "GC_debug_realloc", "large.c:80", "at byte 40007");
  require_line(write_before, "GC_debug_free", "before.c:9", "before its beginning");
  require_line(write_long_before, "GC_debug_free", "<unknown>", "before its beginning");
  require_line(free_a_plain_one, "GC_debug_free", "", "not made by a debug variant");
  require_line(resize_a_plain_one, "GC_debug_realloc", "", "not made by a debug variant");
  require_line(find_by_a_cycle, "a collection", "cycle.c:11", "at byte 10");
  require_line(find_uncollectable, "a collection", "kept.c:12", "at byte 12");
}

static void what_is_right_is_not_told(void) {
  REQUIRE_MSG(lines_of(use_well) == 0, "%s", text);
  REQUIRE_MSG(lines_of(use_memory_of_the_dead) == 0, "%s", text);
}

static void free_inside(void) { GC_debug_free((char *)GC_debug_malloc(100, "f.c", 1) + 8); }
static void free_outside(void) { GC_debug_free(outside); }
static void free_gone(void) {
  void *p = GC_debug_malloc_uncollectable(100, "f.c", 2);
  GC_debug_free(p);
  GC_debug_free(p);
}
static void finalize_inside(void) {
  GC_debug_register_finalizer((char *)GC_debug_malloc(100, "f.c", 3) + 8, finalize, NULL, NULL, NULL);
}

static void misuse(void) {
  require_misuse(free_inside, "not the start of an object");
  require_misuse(free_outside, "no object is there");
  require_misuse(free_gone, "no object is there");
  require_misuse(finalize_inside, "not the start of an object");
}

/* ---- threads ---- */

enum { THREADS = 8 };

static void *use_in_a_thread(void *arg) {
  struct rng r = {suite_seed() + (GC_word)arg};
  char *mine[64] = {NULL};
  size_t size[64] = {0};
  for (int i = 0; i < 20000; i++) {
    size_t k = rng_below(&r, 64), n = rng_below(&r, 300);
    for (size_t at = 0; mine[k] != NULL && at < size[k]; at++)
      REQUIRE_MSG(mine[k][at] == (char)k, "byte %zu of object %zu is another's", at, k);
    if (rng_below(&r, 3) == 0) {
      mine[k] = GC_debug_realloc(mine[k], size[k] = n + 1, "thread.c", i);
    } else {
      GC_debug_free(mine[k]);
      mine[k] = rng_below(&r, 2) ? GC_debug_malloc(n, "thread.c", i) : GC_debug_malloc_atomic(n, "thread.c", i);
      size[k] = n;
    }
    memset(mine[k], (int)k, size[k]);
  }
  return NULL;
}

static void use_in_threads(void) {
  pthread_t t[THREADS];
  beside_begin();
  for (GC_word i = 0; i < THREADS; i++) REQUIRE(GC_pthread_create(&t[i], NULL, use_in_a_thread, (void *)i) == 0);
  for (int i = 0; i < THREADS; i++) REQUIRE(GC_pthread_join(t[i], NULL) == 0);
  beside_end();
}

/* Cycles look at objects that are being made and freed; nothing is wrong with any. */
static void threads_beside_cycles(void) { REQUIRE_MSG(lines_of(use_in_threads) == 0, "%s", text); }

static const struct test_case table[] = {
    {"faults_are_told", faults_are_told, NULL},
    {"what_is_right_is_not_told", what_is_right_is_not_told, NULL},
    {"misuse", misuse, NULL},
    {"threads_beside_cycles", threads_beside_cycles, NULL},
};

int main(int argc, char **argv) {
  GC_INIT();
  int status = cases_run(argc, argv, CASES(table));
  if (status >= 0) return status;
  Suite *suite = suite_create("debug");
  TCase *tc = suite_case(suite, "debug");
  tcase_add_test(tc, bases_and_sizes);
  tcase_add_test(tc, kinds_are_kept);
  tcase_add_test(tc, strings_and_the_rest);
  tcase_add_test(tc, reachability);
  tcase_add_loop_test(tc, finalizers_get_what_the_program_has, 0, sizeof registrars / sizeof registrars[0]);
  tcase_add_test(tc, finalizers_outside_of_the_heap);
  cases_add(suite);
  return suite_main(suite);
}
