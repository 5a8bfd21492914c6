/* test_sizeclass.c - alloc/sizeclass.h: the table is Go's, every size has the smallest class that holds it,
 * and the magic numbers divide. */
#include "unit.h"

#include "alloc/sizeclass.h"

/* Go 1.16 and later, runtime/sizeclasses.go: class_to_size and class_to_allocnpages. */
static const unsigned go_size[] = {
    0,    8,    16,   24,    32,    48,    64,    80,    96,    112,   128,   144,   160,   176,   192,   208,   224,
    240,  256,  288,  320,   352,   384,   416,   448,   480,   512,   576,   640,   704,   768,   896,   1024,  1152,
    1280, 1408, 1536, 1792,  2048,  2304,  2688,  3072,  3200,  3456,  4096,  4864,  5376,  6144,  6528,  6784,  6912,
    8192, 9472, 9728, 10240, 10880, 12288, 13568, 14336, 16384, 18432, 19072, 20480, 21760, 24576, 27264, 28672, 32768};
static const unsigned go_pages[] = {0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,  1, 1, 1,
                                    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 1, 2, 1, 2, 1, 3, 2,  3, 1, 3,
                                    2, 3, 4, 5, 6, 1, 7, 6, 5, 4, 3, 5, 7, 2, 9, 7, 5, 8, 3, 10, 7, 4};
_Static_assert(sizeof go_size / sizeof go_size[0] == SIZE_CLASSES, "68 sizes");
_Static_assert(sizeof go_pages / sizeof go_pages[0] == SIZE_CLASSES, "68 span lengths");

START_TEST(the_table_is_gos) {
  for (unsigned c = 0; c < SIZE_CLASSES; c++) {
    REQUIRE_MSG(class_size[c] == go_size[c], "class %u has %u bytes", c, class_size[c]);
    REQUIRE_MSG(class_pages[c] == go_pages[c], "class %u has %u pages", c, class_pages[c]);
    if (c > 0) REQUIRE(class_slots[c] == go_pages[c] * PAGE_SIZE / go_size[c]);
  }
}
END_TEST

static unsigned smallest_class(size_t size) {
  unsigned c = 1;
  while (c < SIZE_CLASSES && go_size[c] < size) c++;
  return c < SIZE_CLASSES ? c : 0;
}

START_TEST(every_size) {
  sizeclass_init(false);
  REQUIRE(size_class(0) == 0 && tiny_limit == 16);
  for (size_t size = 1; size <= SMALL_MAX; size++)
    REQUIRE_MSG(size_class(size) == smallest_class(size), "size %zu has class %u", size, size_class(size));
}
END_TEST

/* Every size has a class with a byte to spare, or none: then the object is large. The map's steps are 8 and 128
 * bytes, so the class is that of the step's end and one byte more. */
START_TEST(every_size_one_past_end) {
  sizeclass_init(true);
  REQUIRE(size_class(0) == 0 && tiny_limit == 0 && size_class(SMALL_MAX) == 0);
  for (size_t size = 1; size <= SMALL_MAX; size++) {
    size_t step = size <= 1024 ? 8 : 128;
    unsigned c = size_class(size);
    REQUIRE_MSG(c == smallest_class(round_up(size, step) + 1), "size %zu has class %u", size, c);
    if (c != 0) REQUIRE(class_size[c] > size);
  }
  sizeclass_init(false);
  REQUIRE(size_class(8) == 1 && size_class(SMALL_MAX) == 67 && tiny_limit == 16);
}
END_TEST

START_TEST(magic_divides) {
  for (unsigned c = 1; c < SIZE_CLASSES; c++)
    for (uint64_t offset = 0; offset < go_pages[c] * PAGE_SIZE; offset++)
      REQUIRE_MSG(offset * class_magic[c] >> 32 == offset / go_size[c], "class %u, offset %lu", c,
                  (unsigned long)offset);
}
END_TEST

/* A tail behind a full last group would be read as the next block's slot. */
START_TEST(spans) {
  for (unsigned c = 1; c < SIZE_CLASSES; c++) {
    size_t bytes = go_pages[c] * PAGE_SIZE, tail = bytes % go_size[c];
    REQUIRE(class_slots[c] * (size_t)go_size[c] + tail == bytes && tail <= bytes / 8);
    REQUIRE(tail == 0 || class_slots[c] % 64 != 0);
    for (unsigned noscan = 0; noscan < 2; noscan++) {
      unsigned sc = span_class(c, noscan);
      REQUIRE(sc / 2 == c && sc < SPAN_CLASSES && (sc & NOSCAN) == noscan);
      REQUIRE(span_class_size(sc) == go_size[c] && span_class_pages(sc) == go_pages[c]);
      REQUIRE(span_class_slots(sc) == class_slots[c]);
      REQUIRE(span_class_groups(sc) * 64 >= class_slots[c] && (span_class_groups(sc) - 1) * 64 < class_slots[c]);
    }
  }
  REQUIRE(span_class_size(TINY_SPAN_CLASS) == TINY_SIZE && (TINY_SPAN_CLASS & NOSCAN));
}
END_TEST

int main(void) {
  Suite *s = suite_create("sizeclass");
  TCase *tc = suite_case(s, "sizeclass");
  tcase_add_test(tc, the_table_is_gos);
  tcase_add_test(tc, every_size);
  tcase_add_test(tc, every_size_one_past_end);
  tcase_add_test(tc, magic_divides);
  tcase_add_test(tc, spans);
  return suite_main(s);
}
