/* test_os.c - runtime/os.h: the states of address space, one transition at a time, futexes, and the injected
 * failures of debug builds. Access is probed by system calls, which fail where a load would fault. */
#include <limits.h>
#include <signal.h>
#include <sys/resource.h>

#include "unit.h"

static int probe[2]; /* a pipe */

static void make_probe(void) { REQUIRE(pipe(probe) == 0); }

static bool is_readable(const char *p) {
  char c;
  if (write(probe[1], p, 1) != 1) return false;
  REQUIRE(read(probe[0], &c, 1) == 1);
  return true;
}

static bool is_writable(char *p) {
  char c = 0;
  REQUIRE(write(probe[1], &c, 1) == 1);
  bool ok = read(probe[0], p, 1) == 1;
  if (!ok) REQUIRE(read(probe[0], &c, 1) == 1);
  return ok;
}

static size_t resident_pages(char *p, size_t size) {
  unsigned char in_core[4096];
  size_t n = size / os_page_size(), count = 0;
  REQUIRE(n <= sizeof in_core && mincore(p, size, in_core) == 0);
  for (size_t i = 0; i < n; i++) count += in_core[i] & 1;
  return count;
}

START_TEST(states_of_address_space) {
  size_t page = os_page_size(), size = 64 * page;
  char *p = os_reserve(size);
  struct range r;
  REQUIRE(p != NULL && (uintptr_t)p % page == 0);
  REQUIRE(!is_readable(p) && !is_writable(p) && os_mapping_of(p, &r));
  REQUIRE(os_commit(p + 8 * page, 16 * page));
  REQUIRE(!is_readable(p + 8 * page - 1) && is_readable(p + 8 * page));
  REQUIRE(is_writable(p + 24 * page - 1) && !is_writable(p + 24 * page));
  for (size_t i = 0; i < 16 * page; i++) REQUIRE(p[8 * page + i] == 0);
  REQUIRE(os_commit(p, size));
  os_unreserve(p, size);
  REQUIRE(!is_readable(p) && !is_writable(p + size - 1));
}
END_TEST

START_TEST(release_now) {
  size_t size = 32 * os_page_size();
  char *p = os_map(size);
  REQUIRE(p != NULL && resident_pages(p, size) == 0);
  memset(p, 1, size);
  REQUIRE(resident_pages(p, size) == 32);
  os_release(p + size / 2, size / 2, OS_RELEASE_NOW);
  REQUIRE(resident_pages(p, size) == 16);
  for (size_t i = 0; i < size; i++) REQUIRE(p[i] == (i < size / 2));
  os_unreserve(p, size);
}
END_TEST

/* Contents are unknown after, but the memory can be used. */
START_TEST(release_lazily) {
  size_t size = 32 * os_page_size();
  char *p = os_map(size);
  memset(p, 1, size);
  os_release(p, size, OS_RELEASE_LAZY);
  for (size_t i = 0; i < size; i++) REQUIRE(p[i] == 0 || p[i] == 1);
  memset(p, 2, size);
  for (size_t i = 0; i < size; i++) REQUIRE(p[i] == 2);
  os_use_huge_pages(p, size);
  REQUIRE(p[size - 1] == 2);
  os_unreserve(p, size);
}
END_TEST

START_TEST(refusals_keep_errno) {
  errno = 55;
  REQUIRE(os_reserve(SIZE_MAX / 2) == NULL && os_map(SIZE_MAX / 2) == NULL);
  REQUIRE(!os_commit((char *)os_page_size(), os_page_size()));
  REQUIRE(!os_release((char *)os_page_size(), os_page_size(), OS_RELEASE_NOW));
  os_use_huge_pages((char *)os_page_size(), os_page_size());
  REQUIRE(os_signal_thread(INT_MAX, 0) == ESRCH && os_signal_thread(os_thread_id(), 0) == 0);
  REQUIRE(errno == 55);
}
END_TEST

START_TEST(mapping_around_an_address) {
  size_t page = os_page_size();
  struct range r = {NULL, NULL};
  char *p = os_reserve(3 * page), local = 0;
  REQUIRE(p != NULL && os_commit(p + page, page)); /* rights differ: a mapping of its own */
  REQUIRE(os_mapping_of(p + page, &r) && r.lo == p + page && r.hi == p + 2 * page);
  REQUIRE(os_mapping_of(p + 2 * page - 1, &r) && r.lo == p + page && r.hi == p + 2 * page);
  REQUIRE(os_mapping_of(p + 2 * page, &r) && r.lo == p + 2 * page && r.hi >= p + 3 * page);
  REQUIRE(os_mapping_of(&local, &r) && r.lo <= &local && &local < r.hi);
  os_unreserve(p, 3 * page);
  REQUIRE(!os_mapping_of(p + page, &r) && !os_mapping_of(NULL, &r));
}
END_TEST

START_TEST(facts_about_the_machine) {
  cpu_set_t set;
  struct rlimit limit = {(rlim_t)1 << 46, RLIM_INFINITY};
  REQUIRE(os_page_size() == (size_t)sysconf(_SC_PAGESIZE));
  REQUIRE(sched_getaffinity(0, sizeof set, &set) == 0 && os_cpu_count() == (unsigned)CPU_COUNT(&set));
  REQUIRE(os_thread_id() == getpid());
  uint64_t a = os_now_ns(), b = os_now_ns();
  REQUIRE(b >= a && os_thread_cpu_ns() > 0 && os_wall_ns() > 0);
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_max != RLIM_INFINITY) return;
  limit.rlim_cur = RLIM_INFINITY;
  REQUIRE(setrlimit(RLIMIT_AS, &limit) == 0 && os_address_space_limit() == SIZE_MAX);
  limit.rlim_cur = (rlim_t)1 << 46;
  REQUIRE(setrlimit(RLIMIT_AS, &limit) == 0 && os_address_space_limit() == (size_t)1 << 46);
}
END_TEST

/* ---- futexes ---- */

static atomic_u32 bell, woken;

static void *sleeper(void *unused) {
  while (atomic32_load_acquire(&bell) == 0) os_futex_wait(&bell, 0, 0);
  atomic32_add(&woken, 1);
  return unused;
}

START_TEST(futex_wakes_all) {
  pthread_t id[3];
  for (int i = 0; i < 3; i++) start_thread(&id[i], sleeper, NULL);
  atomic32_store_release(&bell, 1);
  os_futex_wake(&bell, 3);
  for (int i = 0; i < 3; i++) pthread_join(id[i], NULL);
  REQUIRE(atomic32_load_acquire(&woken) == 3);
}
END_TEST

START_TEST(futex_returns) {
  atomic_u32 word = 5;
  errno = 66;
  os_futex_wait(&word, 4, 0); /* another value: at once */
  os_futex_wait(&word, 5, 1); /* after a nanosecond */
  os_futex_wait(&word, 5, 1000000);
  os_futex_wake(&word, 1); /* nobody is there */
  REQUIRE(errno == 66 && word == 5);
}
END_TEST

#if GC_DEBUG
START_TEST(failures_are_injected) {
  size_t page = os_page_size();
  char *p = os_reserve(page);
  for (long n = 0; n < 4; n++) {
    os_fail_after(n);
    for (long i = 0; i < n; i++) REQUIRE(i % 2 == 0 ? os_map(page) != NULL : os_commit(p, page));
    for (int i = 0; i < 3; i++) REQUIRE(os_map(page) == NULL && !os_commit(p, page));
    REQUIRE(os_reserve(page) != NULL); /* not a call that fails */
  }
  os_fail_after(-1);
  REQUIRE(os_map(page) != NULL && os_commit(p, page));
}
END_TEST
#endif

int main(void) {
  Suite *s = suite_create("os");
  TCase *tc = suite_case(s, "memory");
  tcase_add_checked_fixture(tc, make_probe, NULL);
  tcase_add_test(tc, states_of_address_space);
  tcase_add_test(tc, release_now);
  tcase_add_test(tc, release_lazily);
  tcase_add_test(tc, refusals_keep_errno);
  tcase_add_test(tc, mapping_around_an_address);
  tcase_add_test(tc, facts_about_the_machine);
#if GC_DEBUG
  tcase_add_test(tc, failures_are_injected);
#endif
  tc = suite_case(s, "futex");
  tcase_add_test(tc, futex_wakes_all);
  tcase_add_test(tc, futex_returns);
  return suite_main(s);
}
