/* test_misc.c - printing, checks of pointer arithmetic, clearing of the stack, and the inline allocators of gc_inline.h,
 * which are compiled here as a client compiles them. */
#undef GC_DEBUG /* of debug builds of ours; there it chooses other macros */
#define GC_THREADS
#define GC_NO_THREAD_REDIRECTS
#include <gc/gc.h>
#include <gc/gc_inline.h>
#include <gc/gc_mark.h>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "../system/reexec.h"
#include "suite.h"

#define NOINLINE __attribute__((noinline))

/* Exported, and in no header of that library. */
void GC_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));
void GC_err_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));
void GC_log_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));
void GC_noop1(GC_word used);

/* ---- printing ---- */

static int print(void) {
  char longest[3000];
  int log[2];
  char logged[64] = "";
  GC_INIT();
  GC_printf("out %d %s %5.2f\n", 42, "text", 1.5);
  GC_err_printf("err %lx\n", 0xabcUL);
  GC_log_printf("log to 2\n");
  if (pipe(log) != 0) return 1;
  GC_set_log_fd(log[1]);
  GC_log_printf("log %d", 7);
  close(log[1]);
  if (read(log[0], logged, sizeof logged - 1) < 0) return 1;
  GC_err_printf("logged <%s>\n", logged);
  memset(longest, 'x', sizeof longest - 1);
  longest[sizeof longest - 1] = '\0';
  GC_err_printf("%s", longest);
  GC_err_printf("end\n");
  return 0;
}

START_TEST(printing_goes_where_it_should) {
  static struct probe p;
  probe_run(&p, "print", NULL, 0);
  REQUIRE_MSG(strcmp(p.out, "out 42 text  1.50\n") == 0, "out: %s", p.out);
  REQUIRE_MSG(strncmp(p.err, "err abc\nlog to 2\nlogged <log 7>\nxxx", 35) == 0, "err: %s", p.err);
  size_t x = strspn(p.err + 32, "x");
  REQUIRE_MSG(x == 1023, "%zu of a line that is too long", x);
  REQUIRE_MSG(strcmp(p.err + 32 + x, "end\n") == 0, "behind it: %s", p.err + 32 + x);
}
END_TEST

START_TEST(quiet_is_quiet) {
  static struct probe p;
  probe_run(&p, "print", "GC_QUIET=1", 0);
  REQUIRE_MSG(p.out[0] == '\0', "out: %s", p.out);
  REQUIRE_MSG(strncmp(p.err, "err abc\nlogged <>\nxxx", 21) == 0, "err: %s", p.err);
}
END_TEST

/* ---- checks of pointer arithmetic ---- */

static int complaints;
static void *complained_of;

static void complain(void *p) {
  complaints++;
  complained_of = p;
}
static void complain_of_two(void *p, void *q) {
  (void)q;
  complain(p);
}

static void replace_complaints(void) {
  GC_INIT();
  GC_same_obj_print_proc = complain_of_two;
  GC_is_valid_displacement_print_proc = complain;
  GC_is_visible_print_proc = complain;
}

START_TEST(same_object) {
  replace_complaints();
  char *a = GC_malloc(100), *b = GC_malloc(100), outside;
  REQUIRE(GC_same_obj(a + 99, a) == a + 99);
  REQUIRE(GC_same_obj(a + 100, a) == a + 100); /* one past the end */
  REQUIRE(GC_same_obj(&outside, &complaints) == &outside);
  REQUIRE(complaints == 0);
  REQUIRE(GC_same_obj(a, b) == a);
  REQUIRE(complaints == 1 && complained_of == a);
  GC_same_obj(a, &outside);
  REQUIRE(complaints == 2);
}
END_TEST

START_TEST(increments) {
  replace_complaints();
  char *a = GC_malloc(100);
  void *p = a;
  REQUIRE(GC_pre_incr(&p, 10) == a + 10 && p == a + 10);
  REQUIRE(GC_post_incr(&p, -4) == a + 10 && p == a + 6);
  REQUIRE(complaints == 0);
  GC_pre_incr(&p, 100000);
  REQUIRE(complaints == 1);
}
END_TEST

START_TEST(places) {
  replace_complaints();
  char *a = GC_malloc(100), outside;
  REQUIRE(GC_is_visible(a + 8) == a + 8 && GC_is_visible(&outside) == &outside);
  REQUIRE(GC_is_valid_displacement(a + 50) == a + 50 && GC_is_valid_displacement(&outside) == &outside);
  REQUIRE(complaints == 0);
  GC_free(a);
  REQUIRE(GC_is_visible(a) == a && complaints == 1);
  REQUIRE(GC_is_valid_displacement(a) == a && complaints == 2);
}
END_TEST

START_TEST(default_complaint_ends_the_program) {
  GC_INIT();
  GC_same_obj(GC_malloc(100), &complaints);
}
END_TEST

/* ---- callbacks that do what they must not ---- */

static void allocate(GC_EventType event) {
  if (event == GC_EVENT_START) GC_malloc(16);
}

static void leave(int signal) {
  (void)signal;
  _exit(0);
}

static int allocate_in_callback(void) {
  GC_INIT();
  signal(SIGABRT, leave);
  GC_set_on_collection_event(allocate);
  GC_gcollect();
  return 1;
}

/* In the collector's own thread, which would become one of the program's that it stops. */
START_TEST(callback_that_allocates_is_told) {
  static struct probe p;
  probe_run(&p, "allocate", "GC_CONCURRENT=always", 0);
  REQUIRE_MSG(strstr(p.err, "a callback of a collection makes a call") != NULL, "err: %s", p.err);
}
END_TEST

/* ---- the stack ---- */

enum { WORDS = 64 };

/* Where a dead frame was that held words. */
static NOINLINE uintptr_t leave_words(GC_word pattern) {
  volatile GC_word frame[WORDS];
  for (size_t i = 0; i < WORDS; i++) frame[i] = pattern;
  uintptr_t at = (uintptr_t)frame;
  __asm__ volatile("" : "+r"(at)); /* the compiler must not see that it outlives the frame */
  return at;
}

static NOINLINE size_t count_words(uintptr_t at, GC_word pattern) {
  size_t found = 0;
  for (size_t i = 0; i < WORDS; i++) found += *(const volatile GC_word *)(at + i * sizeof(GC_word)) == pattern;
  return found;
}

START_TEST(stack_is_cleared) {
  const GC_word pattern = 0x5ca1ab1e5ca1ab1e;
  GC_INIT();
  uintptr_t at = leave_words(pattern);
  size_t before = count_words(at, pattern);
  void *same = GC_clear_stack((void *)(uintptr_t)4711);
  size_t after = count_words(at, pattern);
  REQUIRE(same == (void *)(uintptr_t)4711 && GC_clear_stack(NULL) == NULL);
  REQUIRE_MSG(before > WORDS / 2, "only %zu words were there", before);
  REQUIRE_MSG(after == 0, "%zu of %zu words stay", after, before);
}
END_TEST

START_TEST(odds_and_ends) {
  GC_INIT();
  void *stored = NULL;
  int odds[1];
  GC_noop1(1);
  GC_ptr_store_and_dirty(&stored, odds);
  REQUIRE(stored == (void *)odds);
  GC_register_displacement(8);
  GC_end_stubborn_change(&stored);
  REQUIRE(GC_incremental_protection_needs() == GC_PROTECTS_NONE);
}
END_TEST

/* ---- gc_inline.h ---- */

struct cell {
  struct cell *next;
  GC_word number;
};

/* Checks what the macro's assertions do not: alignment, and that no place is handed out twice. */
static struct cell *build_chain(void **lists, GC_word n) {
  struct cell *chain = NULL;
  for (GC_word i = 0; i < n; i++) {
    struct cell *c;
    GC_CONS(c, chain, (void *)i, lists);
    REQUIRE(c != NULL && (uintptr_t)c % 16 == 0);
    chain = c;
  }
  return chain;
}

static void check_chain(const struct cell *c, GC_word n) {
  for (; c != NULL; c = c->next) REQUIRE_MSG(c->number == --n, "%lu instead of %lu", c->number, n);
  REQUIRE(n == 0);
}

static void *tiny_lists[GC_TINY_FREELISTS]; /* the lists are kept, as roots, with all that they lead to */

START_TEST(inline_cells_stay) {
  enum { N = 200000 };
  GC_INIT();
  struct cell *volatile chain = build_chain(tiny_lists, N);
  GC_gcollect();
  (void)build_chain(tiny_lists, N); /* what was freed by mistake is overwritten */
  check_chain(chain, N);
}
END_TEST

static void fill_words(GC_word *p, size_t n, GC_word tag) {
  for (size_t i = 0; i < n; i++) {
    REQUIRE_MSG(p[i] == 0, "word %zu of %zu is %lx", i, n, p[i]);
    p[i] = tag;
  }
}

/* Sizes from no word to beyond the lists; every object has a tag that another one would overwrite. */
START_TEST(inline_objects_of_all_sizes) {
  enum { SIZES = 2 * GC_TINY_FREELISTS + 8, ROUNDS = 200 };
  static GC_word *kept[ROUNDS][SIZES];
  GC_INIT();
  for (GC_word round = 0; round < ROUNDS; round++) {
    for (size_t n = 0; n < SIZES; n++) {
      GC_MALLOC_WORDS(kept[round][n], n, tiny_lists);
      REQUIRE(kept[round][n] != NULL && GC_size(kept[round][n]) >= n * sizeof(GC_word));
      fill_words(kept[round][n], n, ~(round * SIZES + n));
    }
    if (round % 50 == 0) GC_gcollect();
  }
  for (GC_word round = 0; round < ROUNDS; round++)
    for (size_t n = 0; n < SIZES; n++)
      for (size_t i = 0; i < n; i++) REQUIRE(kept[round][n][i] == ~(round * SIZES + n));
}
END_TEST

/* What is behind the first object of such a list is named in no memory that is searched: its owner must say so. */
static void *pointerfree_lists[GC_TINY_FREELISTS];
static GC_push_other_roots_proc other_roots;

static void push_pointerfree_lists(void) {
  for (size_t i = 0; i < GC_TINY_FREELISTS; i++)
    for (void **p = pointerfree_lists[i]; (GC_word)p > GC_TINY_FREELISTS; p = *p) GC_push_all(p, p + 1);
  other_roots();
}

START_TEST(inline_pointerfree) {
  static char *kept[20000];
  GC_INIT();
  other_roots = GC_get_push_other_roots();
  GC_set_push_other_roots(push_pointerfree_lists);
  for (size_t i = 0; i < 20000; i++) {
    GC_MALLOC_ATOMIC_WORDS(kept[i], 5, pointerfree_lists);
    memset(kept[i], (int)(i % 251), 40);
    if (i % 5000 == 0) GC_gcollect();
  }
  for (size_t i = 0; i < 20000; i++)
    for (size_t j = 0; j < 40; j++) REQUIRE((unsigned char)kept[i][j] == i % 251);
}
END_TEST

/* The first so many of a size are made one at a time: lists begin as a count. */
START_TEST(inline_counts_first) {
  static void *lists[GC_TINY_FREELISTS];
  GC_INIT();
  for (size_t i = 0; i < GC_TINY_FREELISTS; i++) lists[i] = (void *)1;
  for (GC_word i = 0; i < 1000; i++) {
    GC_word *p;
    GC_FAST_MALLOC_GRANS(p, 2, lists, 16, GC_I_NORMAL, GC_malloc_kind(32, GC_I_NORMAL), *p = 0);
    REQUIRE(p != NULL);
    fill_words(p, 4, i);
  }
  REQUIRE((GC_word)lists[2] > 1000);
}
END_TEST

/* Of pointer-free objects, where others were before: the list ends all the same. */
START_TEST(many_pointerfree) {
  GC_INIT();
  GC_set_disable_automatic_collection(1); /* it would free what only the list names */
  for (size_t size = 16; size <= 1024; size += 16) {
    for (int i = 0; i < 1000; i++) memset(GC_malloc_atomic(size - 1), 0xff, size - 1);
    GC_gcollect();
    for (int i = 0; i < 20; i++) {
      void *made = NULL;
      GC_generic_malloc_many(size, GC_I_PTRFREE, &made);
      REQUIRE(made != NULL);
      for (void **p = made; p != NULL; p = *p)
        REQUIRE_MSG(GC_base(p) == p, "size %zu: %p is in the list", size, (void *)p);
    }
  }
}
END_TEST

/* Lists may be walked, and what hangs on them stays, whichever object is held. */
START_TEST(many_at_once) {
  static void *volatile list;
  GC_INIT();
  for (size_t size = 16; size <= 1024; size += 16) {
    void *made = NULL; /* on the stack: the only root while the list is made */
    GC_generic_malloc_many(size, GC_I_NORMAL, &made);
    list = made;
    made = NULL;
    GC_gcollect();
    size_t n = 0;
    for (void **p = list; p != NULL; p = *p, n++) {
      REQUIRE(GC_base(p) == p && GC_size(p) >= size);
      for (size_t i = 1; i < size / sizeof *p; i++) REQUIRE(p[i] == NULL);
    }
    REQUIRE(n > 0);
  }
}
END_TEST

/* Each thread has lists of its own, on its stack. */
static void *build_alone(void *arg) {
  void *lists[GC_TINY_FREELISTS] = {NULL};
  struct cell *volatile chain = NULL;
  for (int round = 0; round < 5; round++) {
    chain = build_chain(lists, 20000);
    check_chain(chain, 20000);
  }
  return arg;
}

START_TEST(inline_in_threads) {
  enum { THREADS = 4 };
  GC_INIT();
  pthread_t threads[THREADS];
  for (size_t i = 0; i < THREADS; i++) REQUIRE(GC_pthread_create(&threads[i], NULL, build_alone, NULL) == 0);
  for (int i = 0; i < 10; i++) GC_gcollect();
  for (size_t i = 0; i < THREADS; i++) REQUIRE(GC_pthread_join(threads[i], NULL) == 0);
}
END_TEST

static void add_tests(TCase *tc) {
  tcase_add_test(tc, printing_goes_where_it_should);
  tcase_add_test(tc, quiet_is_quiet);
  tcase_add_test(tc, same_object);
  tcase_add_test(tc, increments);
  tcase_add_test(tc, places);
  tcase_add_test_raise_signal(tc, default_complaint_ends_the_program, SIGABRT);
  tcase_add_test(tc, callback_that_allocates_is_told);
  tcase_add_test(tc, stack_is_cleared);
  tcase_add_test(tc, odds_and_ends);
  tcase_add_test(tc, inline_cells_stay);
  tcase_add_test(tc, inline_objects_of_all_sizes);
  tcase_add_test(tc, inline_pointerfree);
  tcase_add_test(tc, inline_counts_first);
  tcase_add_test(tc, many_at_once);
  tcase_add_test(tc, many_pointerfree);
  tcase_add_test(tc, inline_in_threads);
}

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "print") == 0) return print();
  if (argc > 1 && strcmp(argv[1], "allocate") == 0) return allocate_in_callback();
  Suite *suite = suite_create("bdw misc");
  add_tests(suite_case(suite, "misc"));
  return suite_main(suite);
}
