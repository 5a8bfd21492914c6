/* test_leaks.c - leak mode: what was dropped is told with its site, once; what was freed or is kept is not. A stale word may keep
 * some of what was dropped, so of that 95 of 100 are asked for; of what was freed nothing may be told. */
#include <sys/wait.h>

#include "beside.h"
#include "cases.h"
#include "gc_debug.h"
#include "gc_frag.h"

/* The object goes through memory, so that the call is none of the jumps that leave no frame. */
#define SITE(name, expression)          \
  void *name(size_t n);                 \
  NOINLINE void *name(size_t n) {       \
    void *volatile object = expression; \
    return object;                      \
  }
SITE(f_dropped, gc_alloc(n))
SITE(f_freed, gc_alloc(n))
SITE(f_kept, gc_alloc(n))
SITE(f_noscan, gc_alloc_noscan(n))
SITE(f_realloced, gc_realloc(gc_alloc(8), n))

static char text[1 << 16];

static void tell(void) {
  scrub_stack();
  memset(text, 0, sizeof text);
  FILE *to = fmemopen(text, sizeof text, "w");
  REQUIRE(to != NULL && gc_print_leaks(to) == 0);
  fclose(to);
}

struct row {
  unsigned long objects, bytes;
};

/* The row that has `what` behind its figures; zeros: there is none. */
static struct row row_of(const char *from, const char *what) {
  struct row r = {0, 0};
  const char *at = strstr(from, what);
  if (at == NULL) return r;
  while (at > from && at[-1] != '\n') at--;
  REQUIRE_MSG(sscanf(at, "%lu %lu", &r.objects, &r.bytes) == 2, "no row: %s", at);
  return r;
}

static void require_row(const char *from, const char *what, unsigned long objects, unsigned long size) {
  struct row r = row_of(from, what);
  REQUIRE_MSG(r.objects <= objects && r.objects * 100 >= objects * 95, "%lu of %lu %s: %s", r.objects, objects, what,
              from);
  REQUIRE_MSG(r.bytes == r.objects * size, "%lu bytes: %s", r.bytes, from);
}

#define REQUIRE_NO_LEAKS() REQUIRE_MSG(strstr(text, "no leaks") != NULL, "%s", text)
#define REQUIRE_NOT_TOLD(what) REQUIRE_MSG(strstr(text, what) == NULL, "%s is told: %s", what, text)

enum { N = 400 };
static root keep[N];

static NOINLINE void make_all_kinds(void) {
  for (size_t i = 0; i < N; i++) {
    f_dropped(48);
    f_noscan(5);
    f_realloced(100);
    keep[i] = f_kept(64);
    gc_free(f_freed(80));
    gc_free(f_noscan(7));
    if (i % 10 == 0) f_dropped(100000);
  }
}

static void set_sites(const char *name) {
  (void)name;
  setenv("GC_LEAKS", "1", 1);
  setenv("GC_PROFILE", "1", 1);
}
static void set_leaks(const char *name) {
  (void)name;
  setenv("GC_LEAKS", "1", 1);
}

static void sites_are_told(void) {
  make_all_kinds();
  for (int i = 0; i < 3; i++) { /* each counts once */
    tell();
    const char *large = strstr(text, "\n          40 ");
    struct row r = row_of(text, "f_dropped+"); /* its two sizes are one site or two: calls at two places */
    REQUIRE_MSG(large != NULL || r.objects > N, "%s", text);
    require_row(text, "f_noscan+", N, 8);
    require_row(text, "f_realloced+", N, 112);
    REQUIRE_NOT_TOLD("f_kept");
    REQUIRE_NOT_TOLD("f_freed");
    REQUIRE_NOT_TOLD("not noted");
    gc_collect();
  }
  for (size_t i = 0; i < N; i++) keep[i] = NULL;
  tell();
  require_row(text, "f_kept+", N, 64);
}

static void sizes_are_told(void) {
  make_all_kinds();
  tell();
  require_row(text, "of 48 bytes each, scanned, call stack not noted: GC_PROFILE=1 does", N, 48);
  require_row(text, "of 8 bytes each, noscan", N, 8);
  require_row(text, "of 112 bytes each, scanned", N, 112);
  require_row(text, "large, scanned", N / 10, 106496);
  REQUIRE_NOT_TOLD("of 64 bytes");
  REQUIRE_NOT_TOLD("of 80 bytes");
  struct row sum = row_of(text, "scanned, call");
  REQUIRE(sum.objects > 0);
}

static void freed_is_no_leak(void) {
  static root hold[N];
  struct rng r = {suite_seed()};
  beside_begin(0);
  for (size_t i = 0; i < 200000; i++) {
    size_t at = rng_below(&r, N);
    gc_free(hold[at]);
    hold[at] =
        i % 3 == 0 ? gc_alloc_noscan(1 + rng_below(&r, 200)) : gc_alloc(1 + rng_below(&r, i % 1000 == 0 ? 60000 : 500));
  }
  beside_end();
  for (size_t i = 0; i < N; i++) {
    gc_free(hold[i]);
    hold[i] = NULL;
  }
  tell();
  REQUIRE_NO_LEAKS();
  void *volatile one = f_dropped(48); /* and the checker still sees one */
  one = NULL;
  (void)one;
  f_kept(10);
  tell();
  REQUIRE(row_of(text, "f_dropped+").objects + row_of(text, "of 48 bytes").objects == 1);
}

static void told_at_exit(void) {
  for (size_t i = 0; i < N; i++) f_dropped(48);
}

static void nothing_at_exit(void) {
  for (size_t i = 0; i < N; i++) {
    keep[i] = f_kept(48);
    gc_free(f_freed(48));
  }
}

static void child_starts_at_nothing(void) {
  for (size_t i = 0; i < N; i++) f_dropped(48);
  tell();
  require_row(text, "f_dropped+", N, 48);
  pid_t pid = fork();
  if (pid == 0) {
    tell();
    _exit(row_of(text, "f_dropped+").objects <= N / 20 ? 0 : 1);
  }
  int status = 1;
  REQUIRE(waitpid(pid, &status, 0) == pid && status == 0);
}

static void off(void) {
  make_all_kinds();
  tell();
  REQUIRE(strstr(text, "GC_LEAKS=1 in the environment turns it on") != NULL);
}

static const struct test_case cases[] = {
    {"sites", sites_are_told, set_sites},
    {"sizes", sizes_are_told, set_leaks},
    {"freed", freed_is_no_leak, set_sites},
    {"freed-sizes", freed_is_no_leak, set_leaks},
    {"fork", child_starts_at_nothing, set_sites},
    {"off", off, NULL},
    {"exit", told_at_exit, set_sites},
    {"exit-none", nothing_at_exit, set_sites},
};

/* What the report at exit says on stderr, and nothing when it was not asked for. */
START_TEST(report_at_exit) {
  static struct probe probe;
  probe.prepare = set_sites;
  probe_run(&probe, "exit", NULL, 0);
  REQUIRE_MSG(strncmp(probe.err, "holdfast: leaks: ", 17) == 0, "stderr: %s", probe.err);
  require_row(probe.err, "allocated by f_dropped+", N, 48);
  probe_run(&probe, "exit-none", NULL, 0);
  REQUIRE_MSG(strcmp(probe.err, "holdfast: no leaks: nothing became unreachable that was not freed\n") == 0,
              "stderr: %s", probe.err);
  probe.prepare = NULL;
  probe_run(&probe, "exit", NULL, 0);
  REQUIRE_MSG(probe.err[0] == '\0', "stderr: %s", probe.err);
}
END_TEST

int main(int argc, char **argv) {
  int status = cases_run(argc, argv, cases, sizeof cases / sizeof *cases);
  if (status >= 0) return status;
  Suite *s = suite_create("leaks");
  cases_add(s);
  tcase_add_test(suite_case(s, "exit"), report_at_exit);
  return suite_main(s);
}
