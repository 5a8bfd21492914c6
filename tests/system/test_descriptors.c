/* test_descriptors.c - descriptors belong to the program: it may close them all, use all numbers for its own
 * files, or have none left, at any time, also those that the library may have opened for itself. The heap
 * stays right, and the program's files stay as they are. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <ucontext.h>

#include "beside.h"
#include "cases.h"
#include "moves.h"

enum { FILES = 24, LOWEST = 3, NUMBERS = 100, ROUNDS = 30, STEPS = 3000, FILE_BYTES = 4096 };

static struct moves moves;

/* -- the program's own files -- */
static int open_file(uint64_t tag) {
  char path[] = "/tmp/holdfast-test-XXXXXX", bytes[FILE_BYTES];
  int fd = mkstemp(path);
  REQUIRE_MSG(fd >= 0, "%s", strerror(errno));
  REQUIRE(unlink(path) == 0);
  pattern_fill(bytes, sizeof bytes, tag);
  REQUIRE(write(fd, bytes, sizeof bytes) == sizeof bytes);
  return fd;
}

static struct file {
  int fd;
  uint64_t tag;
  struct stat stat;
} files[FILES];

static void open_files(uint64_t tag) {
  for (uint64_t i = 0; i < FILES; i++) {
    struct file *f = &files[i];
    f->tag = tag + i;
    f->fd = open_file(f->tag);
    REQUIRE(fstat(f->fd, &f->stat) == 0);
  }
}

/* Every number up to NUMBERS that is no file's becomes another name of one. */
static int file_at(int number) { return number % FILES; }

static void cover_numbers(void) {
  for (int n = LOWEST; n < NUMBERS; n++) {
    bool own = false;
    for (int i = 0; i < FILES; i++) own |= files[i].fd == n;
    if (!own) REQUIRE(dup2(files[file_at(n)].fd, n) == n);
  }
}

/* The same file behind the number, at the place where writing ended, with what was written. */
static void check_number(int n, const struct file *f) {
  struct stat now;
  char bytes[FILE_BYTES];
  REQUIRE_MSG(fstat(n, &now) == 0, "descriptor %d: %s", n, strerror(errno));
  REQUIRE_MSG(now.st_ino == f->stat.st_ino && now.st_dev == f->stat.st_dev, "descriptor %d is another file", n);
  REQUIRE_MSG(now.st_size == FILE_BYTES, "the file at %d has %jd bytes", n, (intmax_t)now.st_size);
  REQUIRE_MSG(lseek(n, 0, SEEK_CUR) == FILE_BYTES, "the file at %d was read or moved", n);
  REQUIRE(pread(n, bytes, sizeof bytes, 0) == FILE_BYTES);
  REQUIRE_MSG(pattern_ok(bytes, sizeof bytes, f->tag), "the file at %d was written to", n);
}

static void check_files(void) {
  for (int n = LOWEST; n < NUMBERS; n++) {
    int i = 0;
    while (i < FILES && files[i].fd != n) i++;
    check_number(n, &files[i < FILES ? i : file_at(n)]);
  }
}

/* -- closing -- */
static void close_by_range(void) { REQUIRE(close_range(LOWEST, ~0U, 0) == 0); }

static void close_by_loop(void) {
  for (int n = LOWEST; n < 1024; n++) (void)close(n);
}

static void close_again_and_again(void (*close_all)(void), bool reopen) {
  moves_init(&moves, suite_seed());
  beside_begin(3000);
  moves_run(&moves, STEPS);
  for (uint64_t round = 0; round < ROUNDS * suite_scale(); round++) {
    close_all();
    if (reopen) open_files(round * FILES);
    if (reopen) cover_numbers();
    beside_await(1);
    moves_run(&moves, STEPS);
    if (reopen) check_files();
  }
  beside_end();
  moves_check(&moves);
}

static void closed_by_range(void) { close_again_and_again(close_by_range, false); }
static void closed_by_loop(void) { close_again_and_again(close_by_loop, false); }
static void reused_after_range(void) { close_again_and_again(close_by_range, true); }
static void reused_after_loop(void) { close_again_and_again(close_by_loop, true); }

/* dup2 closes and reuses in one step: no moment at which the number is free. */
static void covered_by_dup2(void) {
  moves_init(&moves, suite_seed());
  beside_begin(3000);
  open_files(1);
  for (uint64_t round = 0; round < ROUNDS * suite_scale(); round++) {
    cover_numbers();
    beside_await(1);
    moves_run(&moves, STEPS);
    check_files();
  }
  beside_end();
  moves_check(&moves);
}

/* Daemons close the standard three as well. This case ends without a word: it has no stderr. */
static void all_closed(void) {
  int saved[3];
  moves_init(&moves, suite_seed());
  beside_begin(3000);
  for (int i = 0; i < 3; i++) REQUIRE((saved[i] = fcntl(i, F_DUPFD, 500)) >= 500);
  REQUIRE(close_range(0, 499, 0) == 0);
  moves_run(&moves, STEPS);
  beside_await(5);
  for (int i = 0; i < 3; i++) REQUIRE(dup2(saved[i], i) == i);
  moves_run(&moves, STEPS);
  beside_end();
  moves_check(&moves);
}

/* -- none left. Set before the library is loaded, by before_the_library below -- */
enum { FEW = 200 };

static void limit_descriptors(rlim_t n) {
  const struct rlimit limit = {n, n};
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) _exit(125);
}

static void use_up_descriptors(void) {
  limit_descriptors(FEW);
  while (open("/dev/null", O_RDONLY) >= 0) continue;
}

/* Stacks that the library has to ask the kernel about, which it cannot do through a file now. */
static ucontext_t main_context, coroutine;
static struct park_word {
  hidden at;
  size_t size;
} on_coroutine;

static NOINLINE void *make_held(void) {
  void *p = gc_alloc(on_coroutine.size);
  REQUIRE(p != NULL);
  pattern_fill(p, on_coroutine.size, 5);
  on_coroutine.at = hide(p);
  return p;
}

static void run_coroutine(void) {
  root held = make_held();
  scrub_stack();
  beside_await(3);
  refill(3000, on_coroutine.size);
  REQUIRE_MSG(gc_base(reveal(on_coroutine.at)) == held && pattern_ok(held, on_coroutine.size, 5),
              "lost on a coroutine's stack");
}

static void visit_coroutine(void) {
  const size_t size = 256 * 1024;
  on_coroutine.size = 88;
  REQUIRE(getcontext(&coroutine) == 0);
  coroutine.uc_stack.ss_sp = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  coroutine.uc_stack.ss_size = size;
  coroutine.uc_link = &main_context;
  REQUIRE(coroutine.uc_stack.ss_sp != MAP_FAILED);
  makecontext(&coroutine, run_coroutine, 0);
  REQUIRE(swapcontext(&main_context, &coroutine) == 0);
}

static void *move_in_a_thread(void *seed) {
  struct moves own;
  moves_init(&own, suite_seed() + (uintptr_t)seed);
  moves_run(&own, 20 * STEPS);
  moves_check(&own);
  free(own.tag);
  return NULL;
}

static void none_left(void) {
  pthread_t t[3];
  REQUIRE(open("/dev/null", O_RDONLY) < 0 && errno == EMFILE);
  moves_init(&moves, suite_seed());
  beside_begin(3000);
  for (uintptr_t i = 0; i < 3; i++) REQUIRE(pthread_create(&t[i], NULL, move_in_a_thread, (void *)(i + 1)) == 0);
  moves_run(&moves, 20 * STEPS);
  visit_coroutine();
  for (int i = 0; i < 3; i++) REQUIRE(pthread_join(t[i], NULL) == 0);
  beside_await(5);
  moves_check(&moves);
}

static void limit_of_three(void) {
  none_left();
  beside_end();
}

/* Then they become free, in the middle of cycles, and are used up again. */
static void all_in_use(void) {
  none_left();
  for (int round = 0; round < 10; round++) {
    close_by_range();
    moves_run(&moves, STEPS);
    beside_await(2);
    while (open("/dev/null", O_RDONLY) >= 0) continue;
    moves_run(&moves, STEPS);
    beside_await(2);
  }
  beside_end();
  moves_check(&moves);
}

/* Not before execve, where it would keep the loader from opening the C library; and before every
 * constructor, the library's among them. */
static void before_the_library(int argc, char **argv, char **environment) {
  (void)environment;
  if (argc < 2) return;
  if (strcmp(argv[1], "limit_of_three") == 0) limit_descriptors(LOWEST);
  if (strcmp(argv[1], "all_in_use") == 0) use_up_descriptors();
}

__attribute__((section(".preinit_array"), used)) static void (*const early)(int, char **, char **) = before_the_library;

static const struct test_case cases[] = {
    {"closed_by_range", closed_by_range, NULL},       {"closed_by_loop", closed_by_loop, NULL},
    {"reused_after_range", reused_after_range, NULL}, {"reused_after_loop", reused_after_loop, NULL},
    {"covered_by_dup2", covered_by_dup2, NULL},       {"all_closed", all_closed, NULL},
    {"limit_of_three", limit_of_three, NULL},         {"all_in_use", all_in_use, NULL},
};

int main(int argc, char **argv) { return cases_main(argc, argv, "descriptors", CASES(cases)); }
