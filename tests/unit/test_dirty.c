/* test_dirty.c - runtime/dirty.h: what was written is reported, by whomever, and nothing else; armed again before
 * it is reported; a tracker that went away says so. Where the kernel cannot track, only that it says so. */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "unit.h"

#include "runtime/dirty.h"
#include "runtime/options.h"
#include "runtime/os.h"

enum { PAGES = 64 };

static char *memory;

static bool set_up(void) {
  options.concurrent = 1;
  memory = os_map(PAGES * os_page_size());
  REQUIRE(memory != NULL);
  memset(memory, 1, PAGES * os_page_size());
  bool works = dirty_init(memory, PAGES * os_page_size());
  REQUIRE(works == dirty_works());
  if (!works) printf("no tracking here: %s\n", dirty_reason());
  return works;
}

static char *page(size_t i) { return memory + i * os_page_size(); }

static void note(void *set, struct range r) {
  for (char *at = r.lo; at < r.hi; at += os_page_size())
    *(uint64_t *)set |= (uint64_t)1 << ((size_t)(at - memory) / os_page_size());
}

static uint64_t collect(bool rearm) {
  uint64_t set = 0;
  for (const char *at = memory; at < page(PAGES);)
    REQUIRE(dirty_collect(at, page(PAGES), rearm, SIZE_MAX, note, &set, &at));
  return set;
}

START_TEST(writes_are_reported_once) {
  if (!set_up()) return;
  REQUIRE(dirty_arm(page(0), page(PAGES)) && collect(true) == 0);
  *page(3) = 2;
  page(10)[os_page_size() - 1] = 2;
  memset(page(62), 3, 2 * os_page_size());
  uint64_t expected = (uint64_t)1 << 3 | (uint64_t)1 << 10 | (uint64_t)3 << 62;
  REQUIRE(collect(false) == expected); /* looking changes nothing */
  REQUIRE(collect(true) == expected);
  REQUIRE(collect(true) == 0);
  *page(3) = 4;
  REQUIRE(collect(true) == (uint64_t)1 << 3);
}
END_TEST

START_TEST(system_calls_write_too) {
  int zero = open("/dev/zero", O_RDONLY);
  if (!set_up()) return;
  REQUIRE(dirty_arm(page(0), page(PAGES)) && collect(true) == 0);
  REQUIRE(read(zero, page(7) + 5, 3) == 3 && page(7)[5] == 0);
  REQUIRE(collect(true) == (uint64_t)1 << 7);
  close(zero);
}
END_TEST

START_TEST(unarmed_counts_as_written) {
  if (!set_up()) return;
  REQUIRE(collect(false) == UINT64_MAX << 1); /* dirty_init tried it on the first page */
  REQUIRE(dirty_arm(page(0), page(32)));
  REQUIRE(collect(false) == UINT64_MAX << 32);
  REQUIRE(dirty_arm(page(32), page(PAGES)) && collect(false) == 0);
  REQUIRE(dirty_disarm(page(0), page(PAGES)) && collect(false) == UINT64_MAX);
}
END_TEST

START_TEST(few_at_a_time) {
  const char *next;
  uint64_t set = 0;
  if (!set_up()) return;
  REQUIRE(dirty_collect(page(0), page(PAGES), true, 10, note, &set, &next));
  REQUIRE(next == page(11) && set == 1023 << 1);
  REQUIRE(collect(true) == UINT64_MAX << 11); /* what was not reported was not armed */
}
END_TEST

START_TEST(closed_descriptors_are_noticed) {
  const char *next;
  uint64_t set = 0;
  if (!set_up()) return;
  REQUIRE(dirty_arm(page(0), page(PAGES)));
  for (int fd = 3; fd < 1024; fd++) close(fd);
  REQUIRE(!dirty_collect(page(0), page(PAGES), true, 10, note, &set, &next) && !dirty_works());
  REQUIRE(!dirty_arm(page(0), page(1)) && !dirty_disarm(page(0), page(1)));
}
END_TEST

START_TEST(a_number_used_again_is_noticed) {
  const char *next;
  uint64_t set = 0;
  if (!set_up()) return;
  for (int fd = 3; fd < 1024; fd++)
    if (fcntl(fd, F_GETFD) >= 0) dup2(2, fd);
  REQUIRE(!dirty_collect(page(0), page(PAGES), true, 10, note, &set, &next) && !dirty_works());
}
END_TEST

START_TEST(off_is_off) {
  options.concurrent = 0;
  memory = os_map(PAGES * os_page_size());
  REQUIRE(!dirty_init(memory, PAGES * os_page_size()) && !dirty_works());
  REQUIRE(strcmp(dirty_reason(), "GC_CONCURRENT=off") == 0);
}
END_TEST

int main(void) {
  Suite *s = suite_create("dirty");
  TCase *tc = suite_case(s, "dirty");
  tcase_add_test(tc, writes_are_reported_once);
  tcase_add_test(tc, system_calls_write_too);
  tcase_add_test(tc, unarmed_counts_as_written);
  tcase_add_test(tc, few_at_a_time);
  tcase_add_test(tc, closed_descriptors_are_noticed);
  tcase_add_test(tc, a_number_used_again_is_noticed);
  tcase_add_test(tc, off_is_off);
  return suite_main(s);
}
