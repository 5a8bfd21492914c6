/* test_typed.c - gc_typed.h: what a layout names is a pointer, nothing else is; layouts are interned and checked; typed
 * objects of every size are zeroed, resized, freed, counted. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gc_frag.h"
#include "gc_stats.h"
#include "gc_typed.h"
#include "hide.h"

enum { N = 1500, WORD = 8 };

static root roots[N];

/* ---- what is held ---- */

struct pair {
  uint64_t number; /* an address, as a number */
  struct pair *pointer;
  uint64_t more;
};

static const gc_layout *pair_layout(void) {
  static const size_t at[] = {offsetof(struct pair, pointer)};
  const gc_layout *l = gc_layout_offsets(sizeof(struct pair), at, 1);
  REQUIRE(l != NULL);
  return l;
}

static void *target(uint64_t tag) {
  void *p = gc_alloc(32);
  REQUIRE(p != NULL);
  pattern_fill(p, 32, tag);
  return p;
}

/* Arrays of pairs: one of them holds an object by its pointer, and another by each of its numbers. */
static NOINLINE void make_holders(hidden *held, hidden *loose, size_t n, size_t size) {
  struct rng r = {suite_seed() + size};
  gc_disable(); /* the places of what went are not reused before they are looked at */
  for (size_t i = 0; i < n; i++) {
    struct pair *p = gc_alloc_typed(size, pair_layout());
    size_t k = rng_below(&r, size / sizeof *p);
    void *a = target(i), *b = target(n + i), *c = target(n + i);
    REQUIRE(p != NULL && all_zero(p, gc_usable_size(p)));
    p[k].pointer = a;
    p[k].number = (uint64_t)(uintptr_t)b;
    p[k].more = (uint64_t)(uintptr_t)c;
    held[i] = hide(a);
    loose[2 * i] = hide(b);
    loose[2 * i + 1] = hide(c);
    roots[i] = p;
  }
  gc_enable();
}

/* The last: 2 MiB and more, which are marked in many pieces. */
static const size_t holder_sizes[] = {24, 48, 96, 504, 2040, 8160, 24576, 32760, 32784, 100008, 24 * 100000};
#define HOLDERS ((int)(sizeof holder_sizes / sizeof *holder_sizes))

START_TEST(pointers_hold_and_numbers_do_not) {
  size_t size = holder_sizes[_i], n = size > 30000 ? (size > 1000000 ? 20 : 100) : N;
  hidden *held = hidden_new(n), *loose = hidden_new(2 * n);
  make_holders(held, loose, n, size);
  for (int round = 0; round < 3; round++) {
    scrub_stack();
    gc_collect();
    if (round == 0) REQUIRE(hidden_gone(loose, 2 * n) * 100 >= 2 * n * 95);
    refill(2 * n, 32);
    for (size_t i = 0; i < n; i++) REQUIRE_MSG(pattern_ok(reveal(held[i]), 32, i), "object %zu of %zu bytes", i, size);
  }
}
END_TEST

/* Each word of an object, alone and in the right place: those that the layout names hold, the others do not. */
static NOINLINE void one_word(struct rng *r, size_t period, uint64_t *bits, size_t size) {
  static hidden h[64];
  const gc_layout *l = gc_layout_bitmap(period * WORD, bits, (period + 63) / 64);
  size_t n = 0;
  size_t word[64];
  REQUIRE(l != NULL);
  for (; n < 64; n++) {
    void **p = gc_alloc_typed(size, l);
    REQUIRE(p != NULL);
    word[n] = n == 0 ? size / WORD - 1 : rng_below(r, size / WORD);
    p[word[n]] = target(n);
    h[n] = hide(p[word[n]]);
    roots[n] = p;
  }
  scrub_stack();
  gc_collect();
  size_t others = 0, others_left = 0;
  for (size_t i = 0; i < n; i++) {
    size_t at = word[i] % period;
    bool is_named = (bits[at / 64] >> at % 64 & 1) != 0, gone = gc_base(reveal(h[i])) == NULL;
    REQUIRE_MSG(!is_named || (!gone && pattern_ok(reveal(h[i]), 32, i)), "word %zu of %zu, period %zu: lost", word[i],
                size / WORD, period);
    others += !is_named;
    others_left += !is_named && !gone;
  }
  REQUIRE_MSG(others_left <= 3, "period %zu, %zu bytes: %zu of %zu numbers held", period, size, others_left, others);
}

START_TEST(any_layout) {
  static const size_t sizes[] = {8, 16, 40, 200, 1000, 4096, 30000, 32768, 50000, 300000};
  struct rng r = {suite_seed() + (uint64_t)_i};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    uint64_t bits[4];
    size_t period = 1 + rng_below(&r, _i % 2 == 0 ? 9 : 250);
    for (size_t k = 0; k < 4; k++) bits[k] = rng_next(&r) & rng_next(&r);
    for (size_t k = period; k < 256; k++) bits[k / 64] &= ~(UINT64_C(1) << k % 64);
    one_word(&r, period, bits, sizes[i]);
  }
}
END_TEST

/* A chain of typed objects of all sizes through their only pointer, longer than any recursion could follow. */
START_TEST(long_chain) {
  enum { LENGTH = 200000 };
  static struct pair *volatile first;
  for (size_t i = 0; i < LENGTH; i++) {
    struct pair *p = gc_alloc_typed(sizeof *p * (1 + i % 7), pair_layout());
    REQUIRE(p != NULL);
    p->number = i;
    p->pointer = first;
    first = p;
  }
  gc_collect();
  gc_collect();
  size_t n = LENGTH;
  for (const struct pair *p = first; p != NULL; p = p->pointer) REQUIRE(p->number == --n);
  REQUIRE(n == 0);
}
END_TEST

/* Hundreds of MiB, with pointers far apart; what lies between them is never read, so it takes no memory. */
START_TEST(sparse_giant) {
  enum { PERIOD = 64 * 1024, ELEMENTS = 3200 }; /* 200 MiB */
  static const size_t at[] = {40, PERIOD - 8};
  const gc_layout *l = gc_layout_offsets(PERIOD, at, 2);
  char *volatile p = gc_alloc_typed((size_t)PERIOD * ELEMENTS, l);
  hidden *h = hidden_new(2 * ELEMENTS);
  REQUIRE(l != NULL && p != NULL);
  for (size_t i = 0; i < 2 * ELEMENTS; i++) {
    void *t = target(i);
    memcpy(p + i / 2 * PERIOD + at[i % 2], &t, sizeof t);
    h[i] = hide(t);
  }
  gc_collect();
  refill(4 * ELEMENTS, 32);
  for (size_t i = 0; i < 2 * ELEMENTS; i++) REQUIRE(pattern_ok(reveal(h[i]), 32, i));
}
END_TEST

/* ---- layouts ---- */

START_TEST(same_description_same_layout) {
  static const size_t two[] = {8, 24}, again[] = {24, 8, 8};
  const uint64_t bits = 2 | 8, long_bits[3] = {2 | 8, 0, 0};
  const gc_layout *l = gc_layout_offsets(32, two, 2);
  REQUIRE(l != NULL && gc_layout_offsets(32, again, 3) == l && gc_layout_bitmap(32, &bits, 1) == l);
  REQUIRE(gc_layout_bitmap(32, long_bits, 3) == l);
  REQUIRE(gc_layout_offsets(40, two, 2) != l && gc_layout_offsets(32, two, 1) != l);
  REQUIRE(gc_layout_offsets(12, NULL, 0) != NULL && gc_layout_offsets(12, two, 0) == gc_layout_bitmap(12, NULL, 0));
}
END_TEST

static uint64_t metadata_bytes(void) {
  static struct gc_stats s;
  gc_read_stats(&s);
  return s.gc_sys;
}

/* More than the first table of layouts has room for; none is forgotten, none is made twice. */
START_TEST(many_layouts) {
  enum { MANY = 5000 };
  static const gc_layout *l[MANY];
  uint64_t sys[3] = {metadata_bytes()};
  for (int round = 0; round < 2; round++) {
    for (uint64_t i = 0; i < MANY; i++) {
      uint64_t bits[2] = {i * 2 + 1, i % 3};
      const gc_layout *made = gc_layout_bitmap(8 * 128, bits, 2);
      REQUIRE(made != NULL && (round == 0 || made == l[i]));
      l[i] = made;
    }
    sys[round + 1] = metadata_bytes();
  }
  REQUIRE_MSG(sys[1] - sys[0] > MANY * 64, "gc_sys grew by %lu bytes", (unsigned long)(sys[1] - sys[0]));
  REQUIRE_MSG(sys[2] == sys[1], "gc_sys grew by %lu bytes without a new layout", (unsigned long)(sys[2] - sys[1]));
}
END_TEST

START_TEST(bad_descriptions) {
  static const size_t odd[] = {8, 12}, far[] = {0, 32}, part[] = {24}, huge[] = {SIZE_MAX - 7};
  const uint64_t bits[2] = {1, 0}, fifth = 16, second[2] = {0, 1};
  const struct {
    const gc_layout *l;
  } refused[] = {
      {gc_layout_offsets(32, odd, 2)},        {gc_layout_offsets(32, far, 2)}, {gc_layout_offsets(28, part, 1)},
      {gc_layout_offsets(SIZE_MAX, huge, 1)}, {gc_layout_offsets(0, NULL, 0)}, {gc_layout_offsets(32, NULL, 1)},
      {gc_layout_bitmap(32, NULL, 1)},        {gc_layout_bitmap(0, bits, 2)},  {gc_layout_bitmap(32, &fifth, 1)},
      {gc_layout_bitmap(512, second, 2)},     {gc_layout_bitmap(36, bits, 1)}, {gc_layout_bitmap(7, bits, 1)},
  };
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) REQUIRE_MSG(refused[i].l == NULL, "%zu", i);
  errno = 0;
  REQUIRE(gc_layout_offsets(32, odd, 2) == NULL && errno == EINVAL);
  errno = 0;
  REQUIRE(gc_layout_bitmap(32, NULL, 1) == NULL && errno == EINVAL);
  errno = 0;
  REQUIRE(gc_layout_offsets(SIZE_MAX - 7, huge, 1) == NULL && errno == EINVAL);
  const size_t too_far[] = {(size_t)1 << 40};
  errno = 0; /* the bitmap would take 16 GiB */
  REQUIRE(gc_layout_offsets((size_t)1 << 41, too_far, 1) == NULL && errno == ENOMEM);
}
END_TEST

/* ---- sizes and kinds ---- */

static const gc_layout *some_layout(size_t period, uint64_t bits) { return gc_layout_bitmap(period * WORD, &bits, 1); }

START_TEST(zeroed_and_aligned) {
  const gc_layout *l = some_layout(3, 2);
  volatile size_t most = SIZE_MAX; /* compilers know what they are told of sizes */
  for (int round = 0; round < 2; round++)
    for (size_t size = 1; size < 200000; size += 1 + size / 9) {
      char *p[4];
      for (int i = 0; i < 4; i++) {
        p[i] = gc_alloc_typed(size, l);
        size_t usable = gc_usable_size(p[i]);
        REQUIRE(p[i] != NULL && usable >= size && (uintptr_t)p[i] % 16 == 0);
        REQUIRE_MSG(all_zero(p[i], usable), "%zu bytes", size);
        REQUIRE(gc_base(p[i] + size) == (void *)p[i] || size > 32760); /* one past the end, too */
        pattern_fill(p[i], usable, size);
      }
      for (int i = 0; i < 4; i++) {
        REQUIRE(pattern_ok(p[i], gc_usable_size(p[i]), size));
        gc_free(p[i]);
      }
    }
  errno = 0;
  REQUIRE(gc_alloc_typed(most, l) == NULL && errno == ENOMEM);
  errno = 0;
  REQUIRE(gc_alloc_typed(most - 7, l) == NULL && errno == ENOMEM);
  REQUIRE(gc_alloc_typed(0, l) == gc_alloc(0) && gc_alloc_typed(0, NULL) == gc_alloc(0));
}
END_TEST

/* A size that cuts an element: the part that is there counts; of a word that is cut, nothing is said. */
START_TEST(cut_elements) {
  const gc_layout *l = some_layout(8, 1 | 128);
  hidden h[2];
  void **p = gc_alloc_typed(9 * WORD + 3, l), **small = gc_alloc_typed(WORD, l);
  REQUIRE(p != NULL && small != NULL);
  roots[0] = p;
  roots[1] = small;
  p[8] = target(1);
  h[0] = hide(p[8]);
  small[0] = target(2);
  h[1] = hide(small[0]);
  gc_collect();
  refill(100, 32);
  REQUIRE(pattern_ok(reveal(h[0]), 32, 1) && pattern_ok(reveal(h[1]), 32, 2));
}
END_TEST

static NOINLINE void fill_kinds(hidden *h, const gc_layout *l, size_t size) {
  for (size_t i = 0; i < N; i++) {
    void **p = gc_alloc_typed(size, l), *t = target(i);
    REQUIRE(p != NULL && all_zero(p, size));
    memcpy((char *)p + size - WORD, &t, WORD);
    h[i] = hide(t);
    roots[i] = p;
  }
}

START_TEST(without_pointers_noscan) {
  hidden *h = hidden_new(N);
  for (int round = 0; round < 2; round++) {
    fill_kinds(h, gc_layout_offsets(20, NULL, 0), _i == 0 ? 8 : 64);
    scrub_stack();
    gc_collect();
    REQUIRE_MOSTLY_GONE(h, N);
  }
}
END_TEST

START_TEST(with_pointers_only_scanned) {
  hidden *h = hidden_new(N);
  fill_kinds(h, _i == 0 ? NULL : some_layout(2, 3), 64);
  gc_collect();
  refill(N, 32);
  for (size_t i = 0; i < N; i++) REQUIRE(pattern_ok(reveal(h[i]), 32, i));
  REQUIRE(gc_usable_size(roots[0]) == 64);
}
END_TEST

/* ---- the life of an object ---- */

/* Still typed after any change of size: what p->pointer holds stays, and what the numbers hold goes. */
static NOINLINE void resize(hidden *held, hidden *loose, struct rng *r) {
  static const size_t sizes[] = {24, 40, 96, 1000, 5000, 32760, 33000, 100000};
  for (size_t i = 0; i < 200; i++) {
    struct pair *p = gc_alloc_typed(sizes[rng_below(r, 8)], pair_layout());
    REQUIRE(p != NULL);
    size_t usable = gc_usable_size(p);
    memset(p, 0xff, usable);
    p->pointer = target(i);
    for (int k = 0; k < 6; k++) {
      size_t to = sizes[rng_below(r, 8)];
      p = gc_realloc(p, to);
      REQUIRE(p != NULL && gc_usable_size(p) >= to && (uintptr_t)p % 16 == 0);
      if (to > usable) REQUIRE_MSG(all_zero((char *)p + usable, to - usable), "to %zu", to);
      usable = gc_usable_size(p);
      memset(p + 1, 0xff, usable - sizeof *p);
    }
    p->number = (uint64_t)(uintptr_t)target(i);
    p->more = (uint64_t)(uintptr_t)target(i);
    held[i] = hide(p->pointer);
    loose[2 * i] = hide((void *)(uintptr_t)p->number);
    loose[2 * i + 1] = hide((void *)(uintptr_t)p->more);
    roots[i] = p;
  }
}

START_TEST(resized) {
  hidden *held = hidden_new(200), *loose = hidden_new(400);
  struct rng r = {suite_seed()};
  resize(held, loose, &r);
  scrub_stack();
  gc_collect();
  REQUIRE(hidden_gone(loose, 400) >= 360);
  refill(1000, 32);
  for (size_t i = 0; i < 200; i++) REQUIRE(pattern_ok(reveal(held[i]), 32, i));
  void *p = gc_realloc(gc_alloc_typed(100, pair_layout()), 0);
  REQUIRE(p == gc_alloc(0));
}
END_TEST

static struct gc_stats stats;
static struct gc_frag frag;

/* What the others say of the heap agrees with it; of freed objects nothing is left. */
START_TEST(counted) {
  gc_collect();
  gc_read_stats(&stats);
  uint64_t before = stats.heap_objects, large_before = stats.by_size[0].mallocs - stats.by_size[0].frees;
  for (size_t i = 0; i < N; i++) roots[i] = gc_alloc_typed(i % 50 == 0 ? 40000 : 100, pair_layout());
  gc_collect();
  gc_read_stats(&stats);
  gc_read_frag(&frag);
  REQUIRE(stats.heap_objects >= before + N && stats.heap_objects <= before + N + 20);
  REQUIRE(stats.by_size[0].mallocs - stats.by_size[0].frees == large_before + N / 50);
  REQUIRE(frag.total.objects == stats.heap_objects && frag.total.live_bytes == stats.heap_alloc);
  REQUIRE(frag.total.span_bytes == stats.heap_inuse);
  REQUIRE(frag.by_class[0].objects >= N / 50); /* scanned */
  for (size_t i = 0; i < N; i++) {
    hidden h = hide(roots[i]);
    gc_free(roots[i]);
    roots[i] = NULL;
    REQUIRE(gc_base(reveal(h)) == NULL && gc_usable_size(reveal(h)) == 0);
  }
  gc_collect();
  gc_read_stats(&stats);
  REQUIRE(stats.heap_objects <= before + 20);
}
END_TEST

/* Nearly all of many objects go; the others are moved together, layouts and all. */
START_TEST(moved_by_the_program) {
  static struct pair *volatile kept[300];
  static hidden h[300];
  size_t moved = 0;
  for (size_t i = 0; i < 300 * 60; i++) {
    struct pair *p = gc_alloc_typed(sizeof *p, pair_layout());
    REQUIRE(p != NULL);
    if (i % 60 == 0) kept[i / 60] = p;
  }
  for (size_t i = 0; i < 300; i++) kept[i]->pointer = target(i);
  gc_collect();
  for (size_t i = 0; i < 300; i++) {
    struct pair *p = kept[i];
    moved += gc_should_move(p);
    kept[i] = gc_reallocate(p);
    REQUIRE(kept[i]->pointer == p->pointer);
    h[i] = hide(kept[i]->pointer);
  }
  gc_collect();
  refill(1000, 32);
  for (size_t i = 0; i < 300; i++) REQUIRE(pattern_ok(reveal(h[i]), 32, i));
  for (size_t i = 0; i < 300; i++) REQUIRE((kept[i] = gc_realloc(kept[i], 500)) != NULL); /* the layout came along */
  REQUIRE_MSG(moved >= 100, "%zu of 300", moved);
}
END_TEST

/* ---- misuse ---- */

enum misuse { FOREIGN, INSIDE_A_LAYOUT, HEAP_OBJECT, SMASHED, TWICE, INTERIOR, MISUSES };

static void misuse(int which) {
  static const char text[64] __attribute__((aligned(16))) = "no layout";
  const char *l = (const char *)pair_layout();
  char *p = gc_alloc_typed(100, pair_layout());
  roots[0] = p;
  switch (which) {
    case FOREIGN: roots[1] = gc_alloc_typed(24, (const gc_layout *)(const void *)text); break;
    case INSIDE_A_LAYOUT: roots[1] = gc_alloc_typed(24, (const gc_layout *)(const void *)(l + 16)); break;
    case HEAP_OBJECT: roots[1] = gc_alloc_typed(24, (const gc_layout *)(const void *)p); break;
    case SMASHED:
      memset(p, 1, gc_usable_size(p) + 8);
      roots[0] = gc_realloc(p, 1000);
      break;
    case TWICE:
      gc_free(p);
      gc_free(p);
      break;
    default: gc_free(p + 8); break;
  }
}

START_TEST(misuse_is_one_line) {
  static const char *const says[] = {"gc_alloc_typed", "gc_alloc_typed", "gc_alloc_typed",
                                     "layout",         "gc_free",        "gc_free"};
  char text[1000];
  int fd[2], status;
  REQUIRE(pipe(fd) == 0);
  pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    dup2(fd[1], STDERR_FILENO);
    misuse(_i);
    _exit(0);
  }
  close(fd[1]);
  size_t n = 0;
  for (ssize_t got; n < sizeof text - 1 && (got = read(fd[0], text + n, sizeof text - 1 - n)) > 0;) n += (size_t)got;
  text[n] = '\0';
  REQUIRE(waitpid(pid, &status, 0) == pid);
  REQUIRE_MSG(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "status %x", (unsigned)status);
  REQUIRE_MSG(n > 0 && strchr(text, '\n') == text + n - 1 && strstr(text, says[_i]) != NULL, "%s", text);
}
END_TEST

static void add_layouts(TCase *tc) {
  tcase_add_test(tc, same_description_same_layout);
  tcase_add_test(tc, many_layouts);
  tcase_add_test(tc, bad_descriptions);
}

int main(void) {
  Suite *s = suite_create("typed");
  TCase *tc = suite_case(s, "typed");
  add_layouts(tc);
  tcase_add_loop_test(tc, pointers_hold_and_numbers_do_not, 0, HOLDERS);
  tcase_add_loop_test(tc, any_layout, 0, 12);
  tcase_add_test(tc, long_chain);
  tcase_add_test(tc, sparse_giant);
  tcase_add_test(tc, zeroed_and_aligned);
  tcase_add_test(tc, cut_elements);
  tcase_add_loop_test(tc, without_pointers_noscan, 0, 2);
  tcase_add_loop_test(tc, with_pointers_only_scanned, 0, 2);
  tcase_add_test(tc, resized);
  tcase_add_test(tc, counted);
  tcase_add_test(tc, moved_by_the_program);
  tcase_add_loop_test(tc, misuse_is_one_line, 0, MISUSES);
  return suite_main(s);
}
