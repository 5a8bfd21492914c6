/* test_print.c - runtime/print.h: the formatter against the C library's, truncation, and print_line. */
#include <fcntl.h>
#include <limits.h>

#include "unit.h"

#include "runtime/print.h"

/* Both formatters, same text. Formats are literals, so the compiler checks them against their arguments. */
#define SAME(...)                                                                 \
  do {                                                                            \
    char ours[256], theirs[256];                                                  \
    int n_ = snprintf(theirs, sizeof theirs, __VA_ARGS__);                        \
    size_t m_ = format_text(ours, sizeof ours, __VA_ARGS__);                      \
    REQUIRE_MSG(strcmp(ours, theirs) == 0, "'%s' instead of '%s'", ours, theirs); \
    REQUIRE(m_ == (size_t)n_);                                                    \
  } while (0)

START_TEST(strings_and_characters) {
  SAME("%s", "");
  SAME("plain, no conversion");
  SAME("a%sb%sc", "one", "two");
  SAME("%c%c%c", 'x', '%', '\n');
  SAME("100%%");
  SAME("%%s %s", "%d");
}
END_TEST

START_TEST(numbers) {
  static const long v[] = {0, 1, -1, 9, 10, 99, 12345, INT_MAX, INT_MIN, LONG_MAX, LONG_MIN};
  for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) {
    SAME("%d %ld", (int)v[i], v[i]);
    SAME("%u %lu %zu", (unsigned)v[i], (unsigned long)v[i], (size_t)v[i]);
    SAME("%x %lx %zx", (unsigned)v[i], (unsigned long)v[i], (size_t)v[i]);
  }
  SAME("%zd", (ssize_t)-7);
  SAME("%llu", 7ull);
}
END_TEST

START_TEST(widths) {
  SAME("[%5u][%1u][%05u][%016lx]", 42u, 123u, 42u, 0xdeadbeeful);
  SAME("[%5d][%05d][%10ld]", 42, 42, 123456l);
  SAME("[%20lu]", ULONG_MAX);
}
END_TEST

/* What a width means for these is print.c's own: strings to the left. */
START_TEST(own_rules) {
  char text[64];
  format_text(text, sizeof text, "[%4s]", "ab");
  ck_assert_str_eq(text, "[ab  ]");
  format_text(text, sizeof text, "%p", (void *)0x1f);
  ck_assert_str_eq(text, "0x1f");
  format_text(text, sizeof text, "%p", NULL);
  ck_assert_str_eq(text, "0x0");
}
END_TEST

START_TEST(null_string) {
  char text[64];
  const char *volatile none = NULL; /* hidden: the compiler refuses a NULL that it sees */
  format_text(text, sizeof text, "[%s]", none);
  ck_assert_str_eq(text, "[(null)]");
}
END_TEST

START_TEST(negative_numbers_with_a_width) {
  SAME("[%6d]", -42);
  SAME("[%06d]", -42);
}
END_TEST

static size_t format_any(char *to, size_t size, const char *format, ...) {
  va_list args;
  va_start(args, format);
  size_t n = format_text_v(to, size, format, args);
  va_end(args);
  return n;
}

/* A format that ends inside a conversion: nothing behind its end is read. */
START_TEST(unfinished_conversion) {
  static const char format[] = "ab%\0behind", spec[] = "ab%08l\0behind";
  char text[64];
  format_any(text, sizeof text, format);
  ck_assert_msg(strstr(text, "beh") == NULL && format_any(text, sizeof text, format) <= 3, "read on: %s", text);
  ck_assert(format_any(text, sizeof text, spec) <= 3);
}
END_TEST

START_TEST(truncated_at_every_length) {
  const char full[] = "one 22 0x33 four";
  for (size_t size = 0; size <= sizeof full + 2; size++) {
    char text[40];
    memset(text, '#', sizeof text);
    size_t n = format_text(text, size, "%s %d 0x%x %s", "one", 22, 0x33u, "four");
    size_t expected = size == 0 ? 0 : size - 1 < sizeof full - 1 ? size - 1 : sizeof full - 1;
    REQUIRE(n == expected);
    REQUIRE(memcmp(text, full, n) == 0);
    if (size > 0) REQUIRE(text[n] == '\0');
    for (size_t i = size; i < sizeof text; i++) REQUIRE_MSG(text[i] == '#', "wrote past the end, size %zu", size);
  }
}
END_TEST

static void print_some(void *unused) {
  (void)unused;
  errno = 77;
  print_line("first %d", 1);
  print_line("%s", "");
  REQUIRE(errno == 77);
}

START_TEST(lines) {
  char text[100];
  REQUIRE(capture_stderr(print_some, NULL, text, sizeof text) == 9);
  ck_assert_str_eq(text, "first 1\n\n");
}
END_TEST

static void print_long(void *text) { print_line("%s", (const char *)text); }

START_TEST(long_lines_are_cut) {
  static char text[3000], out[4000];
  memset(text, 'x', sizeof text - 1);
  size_t n = capture_stderr(print_long, text, out, sizeof out);
  REQUIRE(n > 500 && n <= 1024 && out[n - 1] == '\n' && strspn(out, "x") == n - 1);
}
END_TEST

/* A pipe in packet mode keeps writes apart: one read is one write. */
START_TEST(one_write_per_line) {
  int end[2], saved = dup(2);
  char text[1024];
  REQUIRE(pipe2(end, O_DIRECT) == 0 && dup2(end[1], 2) == 2);
  print_line("%s %d", "a line of", 3);
  print_line("%s", "another");
  dup2(saved, 2);
  REQUIRE(read(end[0], text, sizeof text) == 12 && memcmp(text, "a line of 3\n", 12) == 0);
  REQUIRE(read(end[0], text, sizeof text) == 8 && memcmp(text, "another\n", 8) == 0);
}
END_TEST

int main(void) {
  Suite *s = suite_create("print");
  TCase *tc = suite_case(s, "format");
  tcase_add_test(tc, strings_and_characters);
  tcase_add_test(tc, numbers);
  tcase_add_test(tc, widths);
  tcase_add_test(tc, own_rules);
  tcase_add_test(tc, null_string);
  tcase_add_test(tc, negative_numbers_with_a_width);
  tcase_add_test(tc, unfinished_conversion);
  tcase_add_test(tc, truncated_at_every_length);
  tc = suite_case(s, "line");
  tcase_add_test(tc, lines);
  tcase_add_test(tc, long_lines_are_cut);
  tcase_add_test(tc, one_write_per_line);
  return suite_main(s);
}
