/* test_histogram.c - experiments/scenarios/histogram.h: what it reads, and which line it complains about. */
#include <string.h>

#include "histogram.h"
#include "suite.h"

static struct histogram histogram;

START_TEST(reads) {
  size_t line;
  REQUIRE(histogram_parse(&histogram, "# sizes\n\n8 3\n  16\t4  \r\n67108864 1", &line) == NULL);
  REQUIRE(histogram.count == 3);
  REQUIRE(histogram.lines[0].size == 8 && histogram.lines[0].count == 3);
  REQUIRE(histogram.lines[1].size == 16 && histogram.lines[1].count == 4);
  REQUIRE(histogram.lines[2].size == HISTOGRAM_MAX_SIZE && histogram.lines[2].count == 1);
}
END_TEST

START_TEST(refuses) {
  static const struct {
    const char *text;
    size_t line;
  } bad[] = {{"", 0},
             {"# nothing\n\n", 0},
             {"8\n", 1},
             {"8 \n", 1},
             {"8 x\n", 1},
             {"x 8\n", 1},
             {"-8 1\n", 1},
             {"8 -1\n", 1},
             {"8 1 1\n", 1},
             {"8 1x\n", 1},
             {"8,1\n", 1},
             {"8 1\n0 1\n", 2},
             {"8 0\n", 1},
             {"\n\n67108865 1\n", 3},
             {"8 99999999999999999999\n", 1},
             {"8 1\n67108864 17179869184\n", 2}};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    size_t line = 99;
    REQUIRE_MSG(histogram_parse(&histogram, bad[i].text, &line) != NULL, "accepted: %s", bad[i].text);
    REQUIRE_MSG(line == bad[i].line, "line %zu of %s", line, bad[i].text);
  }
}
END_TEST

START_TEST(refuses_too_many_lines) {
  static char text[4 * (HISTOGRAM_LINES + 1) + 1];
  size_t line;
  for (size_t i = 0; i <= HISTOGRAM_LINES; i++) memcpy(text + 4 * i, "8 1\n", 4);
  REQUIRE(histogram_parse(&histogram, text, &line) != NULL && line == HISTOGRAM_LINES + 1);
  text[4 * HISTOGRAM_LINES] = 0;
  REQUIRE(histogram_parse(&histogram, text, &line) == NULL && histogram.count == HISTOGRAM_LINES);
}
END_TEST

/* The figures that its description gives. */
START_TEST(built_in) {
  uint64_t objects = 0;
  histogram_default(&histogram);
  for (size_t i = 0; i < histogram.count; i++) {
    REQUIRE(histogram.lines[i].count >= 30 && histogram.lines[i].size <= 32768);
    REQUIRE(i == 0 || histogram.lines[i].size > histogram.lines[i - 1].size);
    objects += histogram.lines[i].count;
  }
  REQUIRE(histogram.count == 49 && objects == 5348);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("histogram");
  TCase *tc = suite_case(suite, "histogram");
  tcase_add_test(tc, reads);
  tcase_add_test(tc, refuses);
  tcase_add_test(tc, refuses_too_many_lines);
  tcase_add_test(tc, built_in);
  return suite_main(suite);
}
