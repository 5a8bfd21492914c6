/* test_strings.c - gc_strdup and gc_strndup. */
#include <sys/mman.h>
#include <unistd.h>

#include "hide.h"

enum { N = 3000 };
static char *volatile keep[N];

static void make_text(char *text, size_t length, uint64_t tag) {
  for (size_t i = 0; i < length; i++) text[i] = (char)('a' + (tag + i * 7) % 26);
  text[length] = '\0';
}

START_TEST(copies_live_on) {
  char text[N + 1];
  for (size_t i = 0; i < N; i++) {
    make_text(text, i, i);
    keep[i] = gc_strdup(text);
    REQUIRE(keep[i] != NULL && keep[i] != text && strcmp(keep[i], text) == 0);
  }
  scrub_stack();
  gc_collect();
  for (size_t size = 1; size < 200; size += 5) refill(200, size);
  for (size_t i = 0; i < N; i++) {
    make_text(text, i, i);
    REQUIRE_MSG(strcmp(keep[i], text) == 0, "length %zu", i);
  }
}
END_TEST

START_TEST(strndup_cuts) {
  volatile size_t most = SIZE_MAX;
  char text[101];
  make_text(text, 100, 1);
  for (size_t n = 0; n <= 120; n++) {
    char *p = gc_strndup(text, n);
    size_t length = n < 100 ? n : 100;
    REQUIRE(p != NULL && strlen(p) == length && memcmp(p, text, length) == 0);
  }
  char *p = gc_strndup(text, most);
  REQUIRE(p != NULL && strcmp(p, text) == 0);
  p = gc_strndup("", 5);
  REQUIRE(p != NULL && *p == '\0');
  p = gc_strdup("");
  REQUIRE(p != NULL && *p == '\0');
}
END_TEST

/* The first n bytes need not be terminated: nothing behind them is read. */
START_TEST(strndup_reads_n_bytes_only) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  char *map = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(map != MAP_FAILED && mprotect(map + page, page, PROT_NONE) == 0);
  memset(map, 'x', page);
  for (size_t n = 0; n < 100; n++) {
    char *p = gc_strndup(map + page - n, n);
    REQUIRE(p != NULL && strlen(p) == n);
  }
  munmap(map, 2 * page);
}
END_TEST

/* Noscan: a string that spells an address keeps nothing. */
static NOINLINE void make_spelling(hidden *h) {
  for (size_t i = 0; i < N; i++) {
    char text[64];
    void *p = gc_alloc(64);
    REQUIRE(p != NULL);
    memset(text, 'x', sizeof text);
    memcpy(text + 16, &p, sizeof p);
    keep[i] = gc_alloc_noscan(1); /* so that strings do not all start a page */
    keep[i] = gc_strndup(text, 63);
    REQUIRE(keep[i] != NULL);
    h[i] = hide(p);
  }
}

START_TEST(strings_are_noscan) {
  hidden *h = hidden_new(N);
  make_spelling(h);
  scrub_stack();
  gc_collect();
  REQUIRE_MOSTLY_GONE(h, N);
}
END_TEST

int main(void) {
  Suite *s = suite_create("strings");
  TCase *tc = suite_case(s, "strings");
  tcase_add_test(tc, copies_live_on);
  tcase_add_test(tc, strndup_cuts);
  tcase_add_test(tc, strndup_reads_n_bytes_only);
  tcase_add_test(tc, strings_are_noscan);
  return suite_main(s);
}
