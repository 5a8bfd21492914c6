/* test_release_inside.c - gc_release_inside: free OS pages inside partly used spans go back to the system, objects stay what
 * and where they are, and heap_released_inside is at every moment what the kernel says. Each case runs in a process that
 * loaded the library afresh (cases.h), without the background thread, which would give back pages of its own choice. */
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "cases.h"
#include "gc_frag.h"
#include "gc_stats.h"
#include "hide.h"

enum { N = 1 << 20, PAGE = 8192, FEW = 1 << 14 };
static root keep[N];
static struct gc_stats before, now;
static size_t os_page;

static uint64_t inside(void) {
  gc_read_stats(&now);
  return now.heap_released_inside;
}

/* -- what the kernel says -- */

/* In memory or swapped out, as the page table says. An empty entry with the mark of write tracking looks swapped too. */
static bool is_resident(const void *p) {
  static int file = -1;
  static pid_t owner;
  uint64_t entry;
  if (owner != getpid()) file = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  owner = getpid();
  REQUIRE(pread(file, &entry, sizeof entry, (off_t)((uintptr_t)p / os_page * sizeof entry)) == sizeof entry);
  bool present = entry >> 63, swapped = entry >> 62 & 1, tracked = entry >> 57 & 1;
  return present || (swapped && !tracked);
}

/* The OS pages of all spans of one heap page in which the first n objects lie, or lay; each once. */
static uintptr_t page_of_object[N];
static size_t pages;

static int by_number(const void *a, const void *b) {
  uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;
  return x < y ? -1 : x > y;
}

static void note_pages(size_t n, size_t size) {
  size_t found = 0;
  for (size_t i = 0; i < n; i++)
    for (uintptr_t p = (uintptr_t)keep[i] / PAGE; found < N && p <= ((uintptr_t)keep[i] + size - 1) / PAGE; p++)
      if (found == 0 || page_of_object[found - 1] != p) page_of_object[found++] = p;
  REQUIRE(found < N);
  qsort(page_of_object, found, sizeof *page_of_object, by_number);
  pages = 0;
  for (size_t i = 0; i < found; i++)
    if (i == 0 || page_of_object[i] != page_of_object[pages - 1]) page_of_object[pages++] = page_of_object[i];
}

/* Bytes of them that are not resident. */
static uint64_t gone(void) {
  uint64_t bytes = 0;
  for (size_t i = 0; i < pages; i++)
    for (size_t at = 0; at < PAGE; at += os_page)
      if (!is_resident((char *)(page_of_object[i] * PAGE) + at)) bytes += os_page;
  return bytes;
}

#define REQUIRE_EXACT()                                                                                               \
  do {                                                                                                                \
    uint64_t said_ = inside(), is_ = gone();                                                                          \
    REQUIRE_MSG(said_ == is_, "line %d: heap_released_inside %" PRIu64 ", the kernel says %" PRIu64, __LINE__, said_, \
                is_);                                                                                                 \
  } while (0)

/* -- making holes -- */

static void fill(size_t n, size_t size, bool noscan) {
  for (size_t i = 0; i < n; i++) {
    keep[i] = noscan ? gc_alloc_noscan(size) : gc_alloc(size);
    REQUIRE(keep[i] != NULL);
    pattern_fill(keep[i], size, i);
  }
  note_pages(n, size);
}

static void drop(size_t i) {
  gc_free(keep[i]);
  keep[i] = NULL;
}

static void keep_every(size_t n, size_t step) {
  for (size_t i = 0; i < n; i++)
    if (i % step != 0) drop(i);
}

static void check(size_t n, size_t size) {
  for (size_t i = 0; i < n; i++)
    if (keep[i] != NULL)
      REQUIRE_MSG(gc_base(keep[i]) == keep[i] && pattern_ok(keep[i], size, i),
                  "object %zu of %zu bytes is not what it was", i, size);
}

static size_t resident(void) {
  unsigned long total, there;
  FILE *f = fopen("/proc/self/statm", "r");
  REQUIRE(f != NULL && fscanf(f, "%lu %lu", &total, &there) == 2);
  fclose(f);
  return there * os_page;
}

/* -- the article's Example 3 -- */

static void NOINLINE every_512th(void) {
  fill(N, 16, true);
  for (size_t i = 0; i < N; i++)
    if (i % 512 != 0) keep[i] = NULL;
}

/* 2048 spans of 8 KiB with one object of 16 bytes each, in one of two OS pages. */
static void example_3(void) {
  every_512th();
  scrub_stack();
  gc_release_memory();
  size_t full = resident();
  gc_read_stats(&before);
  REQUIRE(before.heap_released_inside == 0 && gone() == 0);
  uint64_t released = gc_release_inside();
  REQUIRE_EXACT();
  size_t rest = resident();
  uint64_t most = (uint64_t)pages * (PAGE - os_page);
  REQUIRE_MSG(released == now.heap_released_inside && released <= most && released >= most * 99 / 100,
              "%" PRIu64 " bytes of %" PRIu64 " released", released, most);
  REQUIRE_MSG(full - rest >= released * 9 / 10, "resident: %zu, then %zu", full, rest);
  REQUIRE(now.heap_inuse == before.heap_inuse && now.heap_alloc == before.heap_alloc);
  REQUIRE(now.heap_released == before.heap_released && now.heap_objects == before.heap_objects);
  check(N, 16);
  REQUIRE(gc_release_inside() == 0); /* nothing twice */
  REQUIRE_EXACT();
  printf("%zu spans, resident %zu KiB, then %zu KiB", pages, full / 1024, rest / 1024);
}

/* -- handing out again -- */

/* What is claimed and not written yet is not resident and not counted; once all is written both agree. */
static void handed_out_again(void) {
  enum { STEP = 512 };
  gc_disable();
  fill(FEW, 16, false);
  keep_every(FEW, STEP);
  gc_collect();
  uint64_t last = gc_release_inside(), first = last;
  REQUIRE_EXACT();
  REQUIRE(first > 0);
  for (size_t i = 0; i < FEW; i++) {
    if (i % STEP == 0) continue;
    char *p = gc_alloc(16);
    REQUIRE_MSG(p != NULL && all_zero(p, 16), "object %zu is not zero", i);
    pattern_fill(p, 16, i);
    keep[i] = p;
    if (i % 64 != 63) continue;
    uint64_t said = inside();
    REQUIRE_MSG(said <= last && said <= gone(), "%" PRIu64 " bytes, before %" PRIu64, said, last);
    last = said;
  }
  REQUIRE_EXACT();
  REQUIRE_MSG(last <= 2 * PAGE, "%" PRIu64 " of %" PRIu64 " bytes are still out", last, first);
  check(FEW, 16);
}

/* With the slots of a span: full spans are made, and no part of one is untouched and so not resident before. */
static const struct {
  size_t size, slots;
} kinds[] = {{8, 1024}, {16, 512}, {48, 170}, {160, 51}, {512, 16}, {1024, 8}, {1408, 11}, {1792, 9},
             {3072, 8}, {4096, 2}, {5376, 3}, {6144, 4}, {8192, 1}, {9472, 6}, {16384, 1}, {32768, 1}};

/* Sizes of which large slots are cleared only where they may be dirty, and such that straddle OS pages. */
static void handed_out_zero(void) {
  for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
    size_t size = kinds[k].size, n = kinds[k].slots * 40;
    for (int round = 0; round < 3; round++) {
      struct rng r = {suite_seed() + k};
      fill(n, size, false);
      for (size_t i = 0; i < n; i++)
        if (rng_below(&r, 8) != 0) drop(i);
      gc_collect();
      gc_release_inside();
      REQUIRE_EXACT();
      REQUIRE_MSG(size < 4096 || kinds[k].slots == 1 || now.heap_released_inside > 0, "size %zu: nothing released",
                  size);
      for (size_t i = 0; i < n; i++) {
        if (keep[i] != NULL) continue;
        keep[i] = gc_alloc(size);
        REQUIRE_MSG(keep[i] != NULL && all_zero(keep[i], size), "size %zu: not zero", size);
        pattern_fill(keep[i], size, i);
      }
      check(n, size);
      for (size_t i = 0; i < n; i++) drop(i);
      gc_collect();
      REQUIRE_MSG(inside() == 0, "size %zu: %" PRIu64 " bytes in spans that are gone", size, now.heap_released_inside);
    }
  }
}

/* Any holes: what is not resident holds no object, and is counted. */
static void random_holes(void) {
  struct rng r = {suite_seed()};
  for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
    size_t size = kinds[k].size, n = kinds[k].slots * (4096 * 1024 / size / kinds[k].slots);
    fill(n, size, k % 2 == 1);
    for (size_t i = 0; i < n; i++)
      if (rng_below(&r, size < 4096 ? 4096 / size : 3) != 0) drop(i);
    gc_collect();
    gc_release_inside();
    REQUIRE_EXACT();
    check(n, size);
    for (size_t i = 0; i < n; i++)
      if (keep[i] != NULL && rng_below(&r, 2)) drop(i);
    gc_release_inside(); /* more, without a cycle; spans without objects are no longer in use, and not counted */
    REQUIRE(inside() <= gone());
    check(n, size);
    for (size_t i = 0; i < n; i++)
      if (keep[i] != NULL) drop(i);
    gc_release_memory();
    REQUIRE(inside() == 0);
  }
}

/* Copies that compaction makes are handed out without a thread's cache. */
static void compaction_hands_out(void) {
  gc_disable();
  fill(FEW, 16, false);
  for (size_t i = 0; i < FEW; i++)
    if (i % 512 >= 16) drop(i); /* 32 spans with 16 objects at their beginning: one can hold them all */
  gc_collect();
  uint64_t all = gc_release_inside();
  REQUIRE_EXACT();
  size_t moved = 0;
  for (size_t i = 0; i < FEW; i++) {
    void *p = keep[i];
    if (p == NULL) continue;
    keep[i] = gc_reallocate(p);
    moved += keep[i] != p;
  }
  REQUIRE(moved == FEW / 512 * 16 - 16);
  REQUIRE_EXACT();
  REQUIRE(now.heap_released_inside < all || os_page == PAGE);
  check(FEW, 16);
  scrub_stack();
  gc_collect();
  gc_release_inside();
  check(FEW, 16);
  gc_enable();
}

/* -- what the system refuses -- */

static void locked_memory_stays(void) {
  enum { STEP = 512 };
  size_t locked = 0;
  gc_disable();
  fill(FEW, 16, true);
  keep_every(FEW, STEP);
  gc_collect();
  for (size_t i = 0; i < FEW; i += 4 * STEP) {
    void *page = (void *)((uintptr_t)keep[i] / PAGE * PAGE);
    locked += syscall(SYS_mlock, page, PAGE) == 0; /* the address sanitizer's mlock does nothing */
  }
  uint64_t most = (uint64_t)pages * (PAGE - os_page), released = gc_release_inside();
  REQUIRE_EXACT();
  REQUIRE_MSG(released <= most - locked * (PAGE - os_page), "locked memory was released");
  REQUIRE_MSG(released > most / 2, "only %" PRIu64 " of %" PRIu64 " bytes", released, most);
  check(FEW, 16);
  syscall(SYS_munlockall);
  gc_release_inside();
  REQUIRE_MSG(inside() > released || locked == 0, "what is no longer locked stays");
  REQUIRE_EXACT();
}

/* Objects at the outer ends of two neighbouring spans, so that what is free is one run in both of them; locked is now the
 * first, now the second page of such a run. Asked for the whole, the system gives up what lies before the locked page. */
static void run_locked_in_part(void) {
  size_t locked = 0, runs = 0;
  if (2 * os_page != PAGE) return;
  gc_disable();
  fill(FEW, 16, true);
  for (size_t i = 0; i < FEW; i++) {
    uintptr_t p = (uintptr_t)keep[i];
    if (p % (2 * PAGE) != 0 && p % (2 * PAGE) != 2 * PAGE - 16) drop(i);
  }
  gc_collect();
  for (size_t i = 0; i < FEW; i++) {
    if ((uintptr_t)keep[i] % (2 * PAGE) != 0 || keep[i] == NULL || ++runs % 3 == 0) continue;
    char *run = (char *)keep[i] + os_page;
    locked += syscall(SYS_mlock, run + (runs % 3 == 1 ? os_page : 0), os_page) == 0;
  }
  REQUIRE(runs >= FEW * 16 / (2 * PAGE) - 1);
  uint64_t released = gc_release_inside();
  REQUIRE_EXACT();
  uint64_t most = (uint64_t)pages * os_page;
  REQUIRE_MSG(released == now.heap_released_inside && released <= most - locked * os_page &&
                  released >= most - (locked + 2) * os_page, /* spans at the ends may not have a neighbour */
              "%" PRIu64 " of %" PRIu64 " bytes, %zu pages locked", released, most, locked);
  check(FEW, 16);
  syscall(SYS_munlockall);
  gc_release_inside();
  REQUIRE_EXACT();
  REQUIRE(inside() == released + locked * os_page);
  check(FEW, 16);
}

/* The same with whole free pages, which heap_released counts. */
static void free_run_locked_in_part(void) {
  enum { SIZE = 1 << 20 };
  gc_release_memory();
  fill(1, SIZE, true);
  gc_read_stats(&before);
  bool locked = syscall(SYS_mlock, (char *)keep[0] + SIZE / 2, PAGE) == 0;
  drop(0);
  gc_release_memory();
  gc_read_stats(&now);
  REQUIRE_MSG(now.heap_released - before.heap_released == gone(),
              "heap_released rose by %" PRIu64 ", the kernel: %" PRIu64, now.heap_released - before.heap_released,
              gone());
  REQUIRE(gone() >= SIZE / 2 && (gone() < SIZE || !locked));
  syscall(SYS_munlockall);
  gc_release_memory();
  gc_read_stats(&now);
  REQUIRE(gone() == SIZE && now.heap_released - before.heap_released == SIZE);
}

/* -- options -- */

static void with_option(const char *name) {
  setenv("GC_BACKGROUND", "off", 1);
  prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); /* small pages joined to a huge one are resident again */
  if (strcmp(name, "option_on") == 0) setenv("GC_RELEASE_INSIDE", "on", 1);
  if (strcmp(name, "lazily") == 0) setenv("GC_SCAVENGE", "lazy", 1);
}

static void option(bool on) {
  every_512th();
  scrub_stack();
  gc_release_memory();
  REQUIRE_EXACT();
  REQUIRE((now.heap_released_inside > (uint64_t)pages * os_page * 9 / 10) == (on && os_page < PAGE));
  check(N, 16);
}

static void option_on(void) { option(true); }
static void option_off(void) { option(false); }

/* The kernel takes such pages when it needs them: until then they are resident and as they were. */
static void lazily(void) {
  gc_disable();
  fill(FEW, 1024, false);
  keep_every(FEW, 8);
  gc_collect();
  REQUIRE(gc_release_inside() == inside() && inside() > (uint64_t)pages * PAGE / 4);
  for (size_t i = 0; i < FEW; i++) {
    if (keep[i] != NULL) continue;
    keep[i] = gc_alloc(1024);
    REQUIRE(keep[i] != NULL && all_zero(keep[i], 1024));
    pattern_fill(keep[i], 1024, i);
  }
  REQUIRE(inside() <= 2 * PAGE);
  check(FEW, 1024);
}

/* -- statistics in print -- */

static void printed(void) {
  char *text[2], expected[64];
  size_t size;
  fill(FEW, 16, false);
  keep_every(FEW, 512);
  gc_collect();
  gc_release_inside();
  inside();
  for (int i = 0; i < 2; i++) {
    FILE *to = open_memstream(&text[i], &size);
    REQUIRE(to != NULL && (i == 0 ? gc_stats_print_json : gc_stats_print_table)(to, &now) == 0 && fclose(to) == 0);
  }
  REQUIRE(now.heap_released_inside > 0);
  snprintf(expected, sizeof expected, "\"heap_released_inside\": %" PRIu64 ",\n", now.heap_released_inside);
  REQUIRE(strstr(text[0], expected) != NULL);
  REQUIRE(strstr(text[1], "heap_released_inside ") != NULL);
  free(text[0]);
  free(text[1]);
}

/* -- fork -- */

static void child_of_a_fork(void) {
  fill(FEW, 16, false);
  keep_every(FEW, 512);
  gc_collect();
  uint64_t released = gc_release_inside();
  pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    if (inside() != released || released != gone()) _exit(1);
    check(FEW, 16);
    gc_collect();
    refill(FEW, 16);
    gc_release_inside();
    check(FEW, 16);
    _exit(0);
  }
  int status;
  REQUIRE(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  REQUIRE_EXACT();
  check(FEW, 16);
}

static const struct test_case cases[] = {
    {"example_3", example_3, with_option},
    {"handed_out_again", handed_out_again, with_option},
    {"handed_out_zero", handed_out_zero, with_option},
    {"random_holes", random_holes, with_option},
    {"compaction_hands_out", compaction_hands_out, with_option},
    {"locked_memory_stays", locked_memory_stays, with_option},
    {"run_locked_in_part", run_locked_in_part, with_option},
    {"free_run_locked_in_part", free_run_locked_in_part, with_option},
    {"option_on", option_on, with_option},
    {"option_off", option_off, with_option},
    {"lazily", lazily, with_option},
    {"printed", printed, with_option},
    {"child_of_a_fork", child_of_a_fork, with_option},
};

int main(int argc, char **argv) {
  os_page = (size_t)sysconf(_SC_PAGESIZE);
  return cases_main(argc, argv, "release_inside", CASES(cases));
}
