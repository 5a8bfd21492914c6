/* test_guards.c - GC_DEBUG=1: each planted fault ends the program with one line that names the object, its size, who allocated it
 * and what found it; a program without one runs as it should. Every fault is planted in a process of its own. */
#include <sys/wait.h>

#include "beside.h"
#include "cases.h"
#include "gc_frag.h"
#include "gc_stats.h"

/* The object goes through memory, so that the call is none of the jumps that leave no frame. */
void *f_site(size_t n);
NOINLINE void *f_site(size_t n) {
  void *volatile object = gc_alloc(n);
  return object;
}

enum { N = 50, AT = 20 };
static char *volatile object[N];

static void make(size_t size) {
  for (int i = 0; i < N; i++) {
    object[i] = f_site(size);
    REQUIRE(object[i] != NULL && gc_usable_size(object[i]) == size && all_zero(object[i], size));
    memset(object[i], 1, size);
  }
}

/* ---- faults; each goes on to its end when it is not found ---- */

static void tell_object(const void *p) {
  printf("%p\n", p);
  fflush(stdout);
}

static void behind_by_free(void) {
  make(24);
  tell_object(object[AT]);
  object[AT][24] = 1;
  gc_free(object[AT]);
}
static void behind_by_realloc(void) {
  make(100);
  tell_object(object[AT]);
  object[AT][101] = 1;
  object[AT] = gc_realloc(object[AT], 50);
}
static void behind_by_cycle(void) {
  make(1000);
  tell_object(object[AT]);
  object[AT][1003] = 1;
  gc_collect();
}
static void behind_large(void) {
  make(50000);
  tell_object(object[AT]);
  object[AT][50000] = 1;
  gc_collect();
}
static void behind_dead(void) {
  make(24);
  tell_object(object[AT]);
  object[AT][24] = 1;
  object[AT] = NULL;
  scrub_stack();
  gc_collect();
}
static void behind_at_exit(void) {
  make(24);
  tell_object(object[AT]);
  object[AT][24] = 1;
}
static void behind_noscan(void) {
  char *volatile p = gc_alloc_noscan(3);
  tell_object(p);
  p[3] = 1;
  gc_free(p);
}
static void before_start(void) {
  make(24);
  tell_object(object[AT]); /* the one behind it is told as well */
  object[AT + 1][-1] = 1;
  gc_collect();
}
static void far_behind(void) {
  make(24);
  tell_object(object[AT]);
  memset(object[AT], 2, 48);
  gc_collect();
}
static void freed_by_cycle(void) {
  make(40);
  tell_object(object[AT]);
  gc_free(object[AT]);
  object[AT][5] = 1;
  gc_collect();
}
static void freed_after_quarantine(void) {
  make(40);
  gc_disable();
  tell_object(object[AT]);
  gc_free(object[AT]);
  object[AT][39] = 1;
  for (int i = 0; i < 100000; i++) gc_free(gc_alloc(10));
}
static void freed_by_realloc(void) {
  make(40);
  tell_object(object[AT]);
  char *old = object[AT];
  object[AT] = gc_realloc(old, 41);
  old[0] = 1;
  gc_collect();
}
static void freed_twice(void) {
  make(40);
  tell_object(object[AT]);
  gc_free(object[AT]);
  gc_free(object[AT]);
}

static const struct fault {
  const char *name;
  void (*plant)(void);
  const char *told[3]; /* what is in the line besides the object's address */
} faults[] = {
    {"behind",
     behind_by_free,
     {"gc_free found the object of 24 bytes at ", "overwritten behind its end, from +24 on;", "f_site+"}},
    {"behind-realloc", behind_by_realloc, {"gc_realloc found the object of 100 bytes at ", "from +101 on;", "f_site+"}},
    {"behind-cycle", behind_by_cycle, {"a cycle found the object of 1000 bytes at ", "from +1003 on;", "f_site+"}},
    {"behind-large", behind_large, {"a cycle found the object of 50000 bytes at ", "from +50000 on;", "f_site+"}},
    {"behind-dead", behind_dead, {"a cycle found the object of 24 bytes at ", "from +24 on;", "f_site+"}},
    {"behind-exit", behind_at_exit, {"a cycle found the object of 24 bytes at ", "from +24 on;", "f_site+"}},
    {"behind-noscan", behind_noscan, {"gc_free found the object of 3 bytes at ", "from +3 on;", "allocated by "}},
    {"before",
     before_start,
     {"a cycle found the object of 24 bytes at ", ", or the one at 0x", "before its start; allocated"}},
    {"far-behind",
     far_behind,
     {"a cycle found the object of unknown size, in a slot of 48 bytes, at ", "f_site+", "overwritten"}},
    {"freed",
     freed_by_cycle,
     {"a cycle found the freed object of 40 bytes at ", "after gc_free, from +5 on;", "f_site+"}},
    {"freed-later",
     freed_after_quarantine,
     {"the end of quarantine found the freed object of 40 bytes", "from +39 on;", "f_site+"}},
    {"freed-realloc", freed_by_realloc, {"a cycle found the freed object of 40 bytes at ", "from +0 on;", "f_site+"}},
    {"freed-twice", freed_twice, {"gc_free(", "no object is there: freed before, or never allocated", ""}},
};
enum { FAULTS = sizeof faults / sizeof *faults };

/* ---- no fault ---- */

/* Everything that a program may do with objects of all sizes, beside a thread that collects. */
static void all_is_well(void) {
  static root hold[500];
  struct rng r = {suite_seed()};
  gc_collect();
  beside_begin(100);
  for (size_t i = 0; i < 30000; i++) {
    size_t at = rng_below(&r, 500), size = 1 + rng_below(&r, i % 50 == 0 ? 100000 : 700);
    char *p = hold[at];
    switch (rng_below(&r, 6)) {
      case 0: p = gc_alloc(size); break;
      case 1: p = gc_alloc_noscan(size); break;
      case 2: p = gc_realloc(p, size); break;
      case 3: p = gc_alloc_aligned((size_t)1 << rng_below(&r, 14), size); break;
      case 4:
        gc_free(p);
        p = NULL;
        break;
      default:
        p = gc_reallocate(p);
        size = gc_usable_size(p);
        break;
    }
    if (p != NULL) REQUIRE(gc_usable_size(p) == size && gc_base(p + size - 1) == p);
    if (p != NULL) memset(p, (int)i, size);
    hold[at] = p;
  }
  beside_end();
  gc_release_memory();
}

static void freed_is_no_object(void) {
  struct gc_stats stats;
  make(64);
  hidden h = hide(object[0]);
  gc_free(object[0]);
  REQUIRE(gc_base(reveal(h)) == NULL && gc_usable_size(reveal(h)) == 0);
  for (int i = 0; i < 3; i++) gc_collect();
  REQUIRE(gc_base(reveal(h)) == NULL);
  for (int i = 0; i < 20000; i++) gc_free(gc_alloc(64));
  gc_read_stats(&stats);
  REQUIRE_MSG(stats.heap_objects < 10000, "%" PRIu64 " objects: quarantine has no end", stats.heap_objects);
}

/* Quarantine gives way when memory is refused. */
static void limit_empties_quarantine(void) {
  gc_set_hard_limit((size_t)24 << 20);
  for (int i = 0; i < 2000; i++) {
    void *p = gc_alloc_noscan(1 << 20);
    REQUIRE_MSG(p != NULL, "refused after %d", i);
    gc_free(p);
  }
}

static const struct test_case cases[] = {
    {"well", all_is_well, NULL}, {"no-object", freed_is_no_object, NULL}, {"limit", limit_empties_quarantine, NULL}};

static void set_debug(const char *name) {
  (void)name;
  setenv("GC_DEBUG", "1", 1);
  setenv("GC_PROFILE", "1", 1);
}

/* -- the fault ends the program, as abort does, after one line -- */

static struct probe probe;

static void run_fault(const char *name, const char *env) {
  int out[2], err[2];
  REQUIRE(pipe(out) == 0 && pipe(err) == 0);
  pid_t pid = fork();
  if (pid == 0) {
    dup2(out[1], STDOUT_FILENO);
    dup2(err[1], STDERR_FILENO);
    for (int i = 0; i < 2; i++) close(out[i]), close(err[i]);
    set_debug(name);
    probe_child(name, env, 0);
  }
  close(out[1]);
  close(err[1]);
  probe_drain(out[0], err[0], &probe);
  close(out[0]);
  close(err[0]);
  REQUIRE(waitpid(pid, &probe.status, 0) == pid);
}

START_TEST(faults_are_found) {
  const struct fault *f = &faults[_i / CASE_WAYS];
  run_fault(f->name, case_ways[_i % CASE_WAYS]);
  REQUIRE_MSG(WIFSIGNALED(probe.status) && WTERMSIG(probe.status) == SIGABRT, "%s: status %x, stderr: %s", f->name,
              (unsigned)probe.status, probe.err);
  REQUIRE_MSG(strchr(probe.err, '\n') == probe.err + strlen(probe.err) - 1, "%s: not one line: %s", f->name, probe.err);
  probe.out[strcspn(probe.out, "\n")] = '\0';
  REQUIRE_MSG(strstr(probe.err, probe.out) != NULL, "%s: %s is not told: %s", f->name, probe.out, probe.err);
  for (int i = 0; i < 3; i++)
    REQUIRE_MSG(strstr(probe.err, f->told[i]) != NULL, "%s: \"%s\" is not in: %s", f->name, f->told[i], probe.err);
}
END_TEST

START_TEST(nothing_is_found_where_nothing_is) {
  const struct test_case *c = &cases[_i / CASE_WAYS];
  probe.prepare = set_debug;
  probe_run(&probe, c->name, case_ways[_i % CASE_WAYS], 0);
  REQUIRE_MSG(probe.err[0] == '\0', "%s: stderr: %s", c->name, probe.err);
}
END_TEST

int main(int argc, char **argv) {
  for (int i = 0; argc > 1 && i < FAULTS; i++) {
    if (strcmp(argv[1], faults[i].name) != 0) continue;
    faults[i].plant();
    return 0;
  }
  int status = cases_run(argc, argv, cases, sizeof cases / sizeof *cases);
  if (status >= 0) return status;
  Suite *s = suite_create("guards");
  tcase_add_loop_test(suite_case(s, "faults"), faults_are_found, 0, CASE_WAYS * FAULTS);
  tcase_add_loop_test(suite_case(s, "well"), nothing_is_found_where_nothing_is, 0,
                      CASE_WAYS * (int)(sizeof cases / sizeof *cases));
  return suite_main(s);
}
