/* test_reach.c - what keeps an object alive, and what does not.
 * Roots here are the program's data, one thread's stack and TLS; other threads are in tests/system. */
#include <pthread.h>
#include <sys/resource.h>

#include "gc_stats.h"
#include "hide.h"

enum { N = 1000 };

static root roots[N];
static __thread root tls_root;

static const size_t sizes[] = {8, 16, 24, 64, 96, 512, 1024, 3000, 8192, 32768, 32769, 100000};
#define SIZES (sizeof sizes / sizeof *sizes)

static size_t count_for(size_t size) { return size <= 1024 ? N : size <= 32768 ? 200 : 64; }

/* where: 0 the start, 1 an inner byte, 2 the last usable byte, 3 one past the end */
static NOINLINE void make(hidden *h, size_t n, size_t size, int where, size_t step) {
  for (size_t i = 0; i < n; i++) {
    char *p = gc_alloc(size);
    REQUIRE(p != NULL);
    pattern_fill(p, size, i);
    h[i] = hide(p);
    size_t usable = gc_usable_size(p);
    size_t off = where == 0 ? 0 : where == 1 ? size * 2 / 3 : where == 2 ? usable - 1 : usable;
    roots[i] = i % step == 0 ? p + off : NULL;
  }
}

START_TEST(unreachable_goes) {
  size_t size = sizes[_i], n = count_for(size);
  hidden *h = hidden_new(n);
  make(h, n, size, 0, n + 1);
  roots[0] = NULL;
  scrub_stack();
  gc_collect();
  REQUIRE_MOSTLY_GONE(h, n);
}
END_TEST

static void kept_by_address(size_t size, int where) {
  size_t n = count_for(size);
  hidden *h = hidden_new(n);
  make(h, n, size, where, 1);
  for (int round = 0; round < 2; round++) {
    scrub_stack();
    gc_collect();
    refill(n, size);
  }
  for (size_t i = 0; i < n; i++) {
    REQUIRE(gc_base(reveal(h[i])) == reveal(h[i]));
    REQUIRE_MSG(pattern_ok(reveal(h[i]), size, i), "size %zu, object %zu overwritten", size, i);
  }
}

START_TEST(start_keeps) { kept_by_address(sizes[_i], 0); }
END_TEST
START_TEST(interior_keeps) { kept_by_address(sizes[_i], 1); }
END_TEST
START_TEST(last_byte_keeps) { kept_by_address(sizes[_i], 2); }
END_TEST

/* Every second object is held one past its end only: that word means its neighbour, if anything. */
START_TEST(one_past_the_end_does_not_keep) {
  size_t size = sizes[_i], n = count_for(size);
  hidden *h = hidden_new(n);
  make(h, n, size, 3, 2);
  scrub_stack();
  gc_collect();
  for (size_t i = 0; i < n / 2; i++) h[i] = h[2 * i];
  REQUIRE_MOSTLY_GONE(h, n / 2);
}
END_TEST

static NOINLINE void *chain(size_t n, size_t size, uint64_t tag) {
  void **head = NULL;
  for (size_t i = 0; i < n; i++) {
    void **p = gc_alloc(size);
    REQUIRE(p != NULL);
    pattern_fill(p, size, tag + i);
    *p = head;
    head = p;
  }
  return head;
}

static void check_chain(void *head, size_t n, size_t size, uint64_t tag) {
  void **p = head;
  for (size_t i = n; i-- > 0; p = *p) {
    REQUIRE_MSG(p != NULL, "the chain ends %zu early", i + 1);
    for (size_t w = 1; w < size / 8; w++) REQUIRE(((uint64_t *)p)[w] == pattern_word(tag + i, w));
  }
  REQUIRE(p == NULL);
}

START_TEST(data_stack_and_tls_keep) {
  static root local_static;
  root on_stack = chain(500, 32, 1);
  local_static = chain(500, 48, 2);
  tls_root = chain(500, 64, 3);
  roots[7] = chain(500, 80, 4);
  for (int i = 0; i < 3; i++) {
    scrub_stack();
    gc_collect();
    for (size_t size = 32; size <= 80; size += 16) refill(2000, size);
  }
  check_chain(on_stack, 500, 32, 1);
  check_chain(local_static, 500, 48, 2);
  check_chain(tls_root, 500, 64, 3);
  check_chain(roots[7], 500, 80, 4);
}
END_TEST

/* A word in malloc's memory is not seen. */
START_TEST(malloc_does_not_keep) {
  hidden *h = hidden_new(N);
  void **m = malloc(N * sizeof *m);
  REQUIRE(m != NULL);
  make(h, N, 64, 0, 1);
  for (size_t i = 0; i < N; i++) {
    m[i] = roots[i];
    roots[i] = NULL;
  }
  scrub_stack();
  gc_collect();
  REQUIRE_MOSTLY_GONE(h, N);
  free(m);
}
END_TEST

static NOINLINE void make_rings(hidden *h, size_t n) {
  for (size_t i = 0; i < n; i += 2) {
    void **a = gc_alloc(40), **b = gc_alloc(40);
    REQUIRE(a != NULL && b != NULL);
    *a = b;
    *b = a;
    h[i] = hide(a);
    h[i + 1] = hide(b);
  }
}

START_TEST(cycles_of_garbage_go) {
  hidden *h = hidden_new(N);
  make_rings(h, N);
  scrub_stack();
  gc_collect();
  REQUIRE_MOSTLY_GONE(h, N);
}
END_TEST

/* -- depth: marking must not recurse -- */
#define DEEP ((size_t)10 * 1000 * 1000)

struct link {
  struct link *next;
  uint64_t value;
};
static struct link *volatile deep;

static NOINLINE void make_deep(void) {
  for (size_t i = 0; i < DEEP; i++) {
    struct link *l = gc_alloc(sizeof *l);
    REQUIRE(l != NULL);
    l->next = deep;
    l->value = i;
    deep = l;
  }
}

static void check_deep(void) {
  size_t i = DEEP;
  for (const struct link *l = deep; l != NULL; l = l->next) {
    REQUIRE(i > 0);
    REQUIRE(l->value == --i);
  }
  REQUIRE(i == 0);
}

static void *collect_in_thread(void *unused) {
  gc_collect();
  return unused;
}

START_TEST(ten_million_deep) {
  const struct rlimit small = {256 * 1024, 256 * 1024};
  struct gc_stats before, after;
  pthread_attr_t attr;
  pthread_t t;
  REQUIRE(setrlimit(RLIMIT_STACK, &small) == 0);
  make_deep();
  gc_collect();
  check_deep();
  REQUIRE(pthread_attr_init(&attr) == 0 && pthread_attr_setstacksize(&attr, 64 * 1024) == 0);
  REQUIRE(pthread_create(&t, &attr, collect_in_thread, NULL) == 0 && pthread_join(t, NULL) == 0);
  check_deep();
  gc_read_stats(&before);
  REQUIRE(before.heap_objects >= DEEP);
  deep = NULL;
  scrub_stack();
  gc_collect();
  gc_read_stats(&after);
  /* A stale pointer to the middle would keep the rest of the list, but no test frame walks it now. */
  REQUIRE_MSG(after.heap_objects < DEEP / 2, "%" PRIu64 " objects left", after.heap_objects);
}
END_TEST

/* -- width: 8 MiB of pointers, held by one word into its middle -- */
enum { WIDE = 1024 * 1024 };
static void **volatile into_wide;

static NOINLINE void make_wide(size_t hold_at) {
  void **wide = gc_alloc(WIDE * sizeof *wide);
  REQUIRE(wide != NULL);
  into_wide = wide + hold_at;
  for (size_t i = 0; i < WIDE; i++) {
    uint64_t *p = gc_alloc(16);
    REQUIRE(p != NULL);
    p[0] = pattern_word(i, 0);
    p[1] = pattern_word(i, 1);
    wide[i] = p;
  }
}

START_TEST(wide_array_by_one_interior_pointer) {
  struct rng r = {suite_seed()};
  size_t at = 1 + rng_below(&r, WIDE - 1);
  make_wide(at);
  for (int round = 0; round < 3; round++) {
    scrub_stack();
    gc_collect();
    refill(100000, 16);
  }
  void **wide = into_wide - at;
  REQUIRE(gc_base(into_wide) == (void *)wide);
  for (size_t i = 0; i < WIDE; i++) REQUIRE_MSG(pattern_ok(wide[i], 16, i), "element %zu", i);
}
END_TEST

int main(void) {
  Suite *s = suite_create("reach");
  TCase *tc = suite_case(s, "reach");
  tcase_add_loop_test(tc, unreachable_goes, 0, (int)SIZES);
  tcase_add_loop_test(tc, start_keeps, 0, (int)SIZES);
  tcase_add_loop_test(tc, interior_keeps, 0, (int)SIZES);
  tcase_add_loop_test(tc, last_byte_keeps, 0, (int)SIZES);
  tcase_add_loop_test(tc, one_past_the_end_does_not_keep, 0, (int)SIZES);
  tcase_add_test(tc, data_stack_and_tls_keep);
  tcase_add_test(tc, malloc_does_not_keep);
  tcase_add_test(tc, cycles_of_garbage_go);
  tcase_add_test(tc, ten_million_deep);
  tcase_add_test(tc, wide_array_by_one_interior_pointer);
  return suite_main(s);
}
