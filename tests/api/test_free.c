/* test_free.c - gc_free: the place is reused at once; a wrong pointer ends the program with one line. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gc_stats.h"
#include "hide.h"

static const size_t sizes[] = {8, 16, 24, 100, 1000, 9000, 32768, 32769, 1000000};
#define SIZES (sizeof sizes / sizeof *sizes)

static root keep[1000];

START_TEST(freed_at_once) {
  size_t size = sizes[_i];
  for (int noscan = 0; noscan < 2; noscan++) {
    if (noscan && size < 16) continue; /* tiny: left to the collector */
    void *p = noscan ? gc_alloc_noscan(size) : gc_alloc(size);
    REQUIRE(p != NULL && gc_base(p) == p);
    hidden h = hide(p);
    gc_free(p);
    REQUIRE_MSG(gc_base(reveal(h)) == NULL, "size %zu is still there", size);
    REQUIRE(gc_usable_size(reveal(h)) == 0);
  }
}
END_TEST

/* A program that frees all it allocates needs no collection and no more memory. */
START_TEST(place_is_reused) {
  struct gc_stats before, after;
  size_t size = sizes[_i], rounds = 300 * 1024 * 1024 / (size + 1000);
  gc_disable();
  gc_free(gc_alloc(size));
  gc_read_stats(&before);
  for (size_t i = 0; i < rounds; i++) {
    char *p = gc_alloc(size);
    REQUIRE(p != NULL);
    p[0] = p[size - 1] = 1;
    gc_free(p);
  }
  gc_read_stats(&after);
  REQUIRE(after.mallocs - before.mallocs == rounds);
  REQUIRE(after.frees - before.frees == rounds);
  REQUIRE_MSG(after.heap_inuse <= before.heap_inuse + 8 * 1024 * 1024, "heap_inuse grew to %" PRIu64, after.heap_inuse);
  gc_enable();
}
END_TEST

START_TEST(null_and_zero_size_are_ignored) {
  volatile size_t zero = 0;
  struct gc_stats before, after;
  gc_read_stats(&before);
  for (int i = 0; i < 10; i++) {
    gc_free(NULL);
    gc_free(gc_alloc(zero));
  }
  gc_read_stats(&after);
  REQUIRE(after.frees == before.frees);
}
END_TEST

/* Freed and reused places beside live ones, with collections between. */
START_TEST(random_frees_spare_the_rest) {
  struct rng r = {suite_seed()};
  size_t size[1000] = {0};
  for (int step = 0; step < 100000; step++) {
    size_t i = rng_below(&r, 1000);
    if (keep[i] != NULL) {
      REQUIRE_MSG(pattern_ok(keep[i], size[i], i), "step %d: object %zu of %zu bytes", step, i, size[i]);
      gc_free(keep[i]);
    }
    size[i] = 1 + rng_below(&r, rng_below(&r, 50) == 0 ? 50000 : 600);
    keep[i] = rng_below(&r, 2) ? gc_alloc(size[i]) : gc_alloc_noscan(size[i]);
    REQUIRE(keep[i] != NULL);
    pattern_fill(keep[i], size[i], i);
    if (step % 20000 == 0) gc_collect();
  }
  for (size_t i = 0; i < 1000; i++) REQUIRE(keep[i] == NULL || pattern_ok(keep[i], size[i], i));
}
END_TEST

/* What the freed object pointed to is garbage afterwards. */
static NOINLINE void make_and_free_holders(hidden *h, size_t n) {
  for (size_t i = 0; i < n; i++) {
    void **holder = gc_alloc(64);
    REQUIRE(holder != NULL);
    holder[3] = gc_alloc(128);
    h[i] = hide(holder[3]);
    keep[i] = holder; /* stays here: a stale word that finds a free place keeps nothing */
  }
  for (size_t i = 0; i < n; i++) gc_free(keep[i]);
}

START_TEST(freed_object_holds_nothing) {
  hidden *h = hidden_new(1000);
  make_and_free_holders(h, 1000);
  scrub_stack();
  gc_collect();
  REQUIRE_MOSTLY_GONE(h, 1000);
}
END_TEST

/* -- wrong pointers -- */
static char in_data[64];

static char *bad_pointer(int which) {
  static char on_heap_before[16];
  volatile size_t big = 1 << 20;
  char *p;
  switch (which) {
    case 0: return (char *)gc_alloc(64) + 16;          /* inside an object             */
    case 1: return (char *)gc_alloc(64) + 1;           /* inside, not aligned          */
    case 2: return (char *)gc_alloc_noscan(500) + 256; /* inside a noscan object       */
    case 3: return (char *)gc_alloc(big) + 8192;       /* inside a large object        */
    case 4: return (char *)gc_alloc(big) + 1;          /* inside its first page        */
    case 5: return in_data;                            /* the program's data           */
    case 6: return on_heap_before;                     /* a static local               */
    case 7: return malloc(64);                         /* another allocator's          */
    case 8: return (char *)8;                          /* no memory at all             */
    case 9: return (char *)UINTPTR_MAX - 7;            /* the other end                */
    case 10:                                           /* freed before, small          */
      p = gc_alloc(64);
      gc_free(p);
      return p;
    case 11: /* freed before, large */
      p = gc_alloc(big);
      gc_free(p);
      return p;
    case 12: /* freed before, among live neighbours */
      for (int i = 0; i < 100; i++) keep[i] = gc_alloc(48);
      gc_free(keep[50]);
      return keep[50];
    case 13: /* freed before, noscan */
      p = gc_alloc_noscan(200);
      gc_free(p);
      return p;
    case 14: /* moved away by gc_realloc */
      p = gc_alloc(64);
      keep[0] = gc_realloc(p, 100000);
      return p;
    default: return NULL;
  }
}
enum { BAD_POINTERS = 15, ON_STACK = BAD_POINTERS };

static NOINLINE void misuse(int which, bool realloc) {
  char on_stack[64];
  root p = which == ON_STACK ? on_stack : bad_pointer(which);
  on_stack[0] = 0;
  if (realloc)
    keep[1] = gc_realloc(p, 10);
  else
    gc_free(p);
}

START_TEST(free_aborts) { misuse(_i, false); }
END_TEST
START_TEST(realloc_aborts) { misuse(_i, true); }
END_TEST

/* Runs the misuse in a child; returns what it wrote to stderr. */
static size_t stderr_of_misuse(int which, bool realloc, char *text, size_t room, int *status) {
  int fd[2];
  size_t n = 0;
  REQUIRE(pipe(fd) == 0);
  pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    dup2(fd[1], STDERR_FILENO);
    close(fd[0]);
    close(fd[1]);
    misuse(which, realloc);
    _exit(0);
  }
  close(fd[1]);
  for (ssize_t got; n < room - 1 && (got = read(fd[0], text + n, room - 1 - n)) > 0;) n += (size_t)got;
  text[n] = '\0';
  close(fd[0]);
  REQUIRE(waitpid(pid, status, 0) == pid);
  return n;
}

START_TEST(one_line_says_what) {
  char text[4096];
  for (int realloc = 0; realloc < 2; realloc++) {
    int status;
    size_t n = stderr_of_misuse(_i, realloc, text, sizeof text, &status);
    const char *call = realloc ? "gc_realloc" : "gc_free";
    REQUIRE_MSG(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "%s of %d: status %x", call, _i, (unsigned)status);
    REQUIRE_MSG(n > 0 && strchr(text, '\n') == text + n - 1, "%s of %d: not one line: \"%s\"", call, _i, text);
    REQUIRE_MSG(strstr(text, call) != NULL, "the line does not name %s: %s", call, text);
  }
}
END_TEST

int main(void) {
  Suite *s = suite_create("free");
  TCase *tc = suite_case(s, "free");
  tcase_add_loop_test(tc, freed_at_once, 0, (int)SIZES);
  tcase_add_loop_test(tc, place_is_reused, 0, (int)SIZES);
  tcase_add_test(tc, null_and_zero_size_are_ignored);
  tcase_add_test(tc, random_frees_spare_the_rest);
  tcase_add_test(tc, freed_object_holds_nothing);
  tcase_add_loop_test_raise_signal(tc, free_aborts, SIGABRT, 0, ON_STACK + 1);
  tcase_add_loop_test_raise_signal(tc, realloc_aborts, SIGABRT, 0, ON_STACK + 1);
  tcase_add_loop_test(tc, one_line_says_what, 0, ON_STACK + 1);
  return suite_main(s);
}
