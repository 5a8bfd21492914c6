/* test_typed_bdw.c - objects whose layout a descriptor tells, single ones and arrays, and gcj's. */
#include "left.h"

#include <gc/gc_gcj.h>
#include <gc/gc_typed.h>

enum { N = 200, MOST = 100 };

static GC_word bits[2];
static void ***held;
static hidden left[N * MOST], gone[N * MOST];
static size_t lefts, gones;

static void begin(void) {
  only_forced_cycles();
  held = GC_malloc_uncollectable(N * sizeof *held);
  REQUIRE(held != NULL);
}

/* Fills words [from, to) of an object with objects of their own: word i is kept if may_point says so of it. */
static HELPER void fill(void **object, size_t from, size_t to, bool (*may_point)(size_t i)) {
  for (size_t i = from; i < to; i++) {
    REQUIRE(object[i] == NULL);
    object[i] = GC_malloc_atomic(30);
    REQUIRE(object[i] != NULL);
    if (may_point(i))
      left[lefts++] = hide(object[i]);
    else
      gone[gones++] = hide(object[i]);
  }
}

static HELPER void check(void) {
  for (int round = 0; round < 2; round++) {
    collect();
    REQUIRE_LEFT(left, lefts);
    REQUIRE_MOSTLY_GONE(gone, gones);
  }
  lefts = gones = 0;
}

static bool has_bit(size_t i) { return i < 128 && GC_get_bit(bits, i); }

static HELPER void make(size_t words, GC_descr descr) {
  for (size_t i = 0; i < N; i++) {
    held[i] = GC_malloc_explicitly_typed(words * sizeof(void *), descr);
    REQUIRE(held[i] != NULL && (GC_word)held[i] % 16 == 0);
    fill(held[i], 0, words, has_bit);
  }
}

static HELPER void try_bits(GC_word low, GC_word high, size_t n, size_t words) {
  bits[0] = low;
  bits[1] = high;
  make(words, GC_make_descriptor(bits, n));
  check();
}

/* Bits in a word, a prefix, none, more than fit a word; and objects that are longer than what is described. */
START_TEST(single_objects) {
  begin();
  try_bits(0x5, 0, 4, 4);
  try_bits(0x2a, 0, 6, 20);
  try_bits(0x7, 0, 3, 3);
  try_bits(0x7, 0, 8, 8);
  try_bits(0, 0, 8, 8);
  try_bits((GC_word)1 << 61 | 1, 0, 62, 70);
  try_bits((GC_word)1 << 62 | 1, 0, 63, 70);
  try_bits(0x1111111111111111, 0x111, 76, 90);
}
END_TEST

START_TEST(descriptors_are_words_of_the_header) {
  begin();
  bits[0] = 0x5;
  REQUIRE(GC_make_descriptor(bits, 4) == (((GC_word)5 << 61) | GC_DS_BITMAP));
  bits[0] = 0x7;
  REQUIRE(GC_make_descriptor(bits, 64) == (3 * sizeof(GC_word) | GC_DS_LENGTH));
  bits[0] = 0;
  REQUIRE(GC_make_descriptor(bits, 64) == 0);
}
END_TEST

static bool in_elements_of_three(size_t i) { return i % 3 < 2 && has_bit(i % 3); }

START_TEST(arrays) {
  enum { ELEMENTS = 20 };
  begin();
  for (GC_word b = 0; b < 8; b++) {
    bits[0] = b;
    GC_descr descr = GC_make_descriptor(bits, 2);
    bits[0] &= 3;
    for (size_t i = 0; i < N; i++) {
      held[i] = GC_calloc_explicitly_typed(ELEMENTS, 3 * sizeof(void *), descr);
      REQUIRE(held[i] != NULL);
      fill(held[i], 0, ELEMENTS * 3, in_elements_of_three);
    }
    check();
  }
}
END_TEST

START_TEST(large_arrays) {
  enum { ELEMENTS = 20000 };
  begin();
  bits[0] = 2;
  GC_descr descr = GC_make_descriptor(bits, 2);
  for (size_t i = 0; i < 3; i++) {
    held[i] = GC_calloc_explicitly_typed(ELEMENTS, 3 * sizeof(void *), descr);
    REQUIRE(held[i] != NULL);
    fill(held[i], 3 * (ELEMENTS - 10), 3 * ELEMENTS, in_elements_of_three);
  }
  check();
}
END_TEST

/* A pointer behind the last byte keeps the object: of layouts, of no pointers, of nothing but pointers, and large ones. */
START_TEST(one_past_the_end) {
  begin();
  char **end = GC_malloc_uncollectable(N * sizeof *end);
  bits[0] = 1;
  const GC_descr descr[] = {GC_make_descriptor(bits, 2), 0, sizeof(GC_word) << 20};
  for (size_t i = 0; i < N; i++) {
    size_t size = i < N - 9 ? 16 + i / 3 * 16 : 5 * 8192;
    char *p = GC_malloc_explicitly_typed(size, descr[i % 3]);
    left[lefts++] = hide(p);
    end[i] = p + size;
  }
  collect();
  REQUIRE_LEFT(left, lefts);
}
END_TEST

/* ---- procedures ---- */

static unsigned calls;
static struct GC_ms_entry *mark_third(GC_word *object, struct GC_ms_entry *top, struct GC_ms_entry *limit,
                                      GC_word env) {
  calls++;
  REQUIRE(env == 7);
  return GC_MARK_AND_PUSH((void *)object[2], top, limit, NULL);
}

static bool is_third(size_t i) { return i % 4 == 2; }

START_TEST(procedures) {
  begin();
  GC_descr descr = GC_MAKE_PROC(GC_new_proc(mark_third), 7);
  for (size_t i = 0; i < N; i++) {
    held[i] = i % 2 == 0 ? GC_malloc_explicitly_typed(4 * sizeof(void *), descr)
                         : GC_calloc_explicitly_typed(3, 4 * sizeof(void *), descr);
    REQUIRE(held[i] != NULL);
    fill(held[i], 0, i % 2 == 0 ? 4 : 12, is_third);
  }
  check();
  REQUIRE_MSG(calls >= 2 * (N / 2 + N / 2 * 3), "%u calls", calls);
}
END_TEST

/* ---- gcj ---- */

static GC_word types[3][2];

static bool is_behind_type(size_t i) { return has_bit(i); }

static HELPER void make_of_type(GC_word *type, GC_descr descr, GC_word which) {
  type[1] = descr;
  bits[0] = which;
  for (size_t i = 0; i < N; i++) {
    held[i] = GC_gcj_malloc(6 * sizeof(void *), type);
    REQUIRE(held[i] != NULL && held[i][0] == (void *)type);
    fill(held[i], 1, 6, is_behind_type);
  }
  check();
}

START_TEST(objects_with_types) {
  begin();
  GC_init_gcj_malloc(GC_GCJ_RESERVED_MARK_PROC_INDEX, (void *)(GC_word)mark_third);
  REQUIRE(GC_gcj_kind > 3 && GC_gcj_debug_kind > 3 && GC_gcj_kind != GC_gcj_debug_kind);
  bits[0] = 0x13;
  make_of_type(types[0], GC_make_descriptor(bits, 6), 0x13);
  make_of_type(types[1], 4 * sizeof(void *) | GC_DS_LENGTH, 0xf);
  make_of_type(types[2], GC_MAKE_PROC(GC_GCJ_RESERVED_MARK_PROC_INDEX, 7), 0x4);
}
END_TEST

int main(void) {
  Suite *s = suite_create("typed objects of the drop-in");
  TCase *tc = suite_case(s, "typed");
  tcase_add_test(tc, single_objects);
  tcase_add_test(tc, descriptors_are_words_of_the_header);
  tcase_add_test(tc, arrays);
  tcase_add_test(tc, large_arrays);
  tcase_add_test(tc, one_past_the_end);
  tcase_add_test(tc, procedures);
  tcase_add_test(tc, objects_with_types);
  return main_in_both_kinds_of_cycle(s);
}
