/* test_processes.c - new processes in the middle of cycles: fork, whose child goes on with the heap it inherits and
 * collects for itself; vfork, posix_spawn, system and popen, which end in another program. test_fork.c is about
 * the locks; here the question is what the child's collector makes of the parent's unfinished work. */
#include <spawn.h>
#include <sys/wait.h>

#include "beside.h"
#include "cases.h"
#include "moves.h"

enum { FORKS = 12, STEPS = 4000, CYCLES = 4 };

static struct moves moves;
static root *volatile inherited; /* a large object, alone in naming its objects */
enum { INHERITED = 20000 };

static NOINLINE void make_inherited(void) {
  inherited = gc_calloc(INHERITED, sizeof *inherited);
  REQUIRE(inherited != NULL);
  for (size_t i = 0; i < INHERITED; i++) {
    REQUIRE((inherited[i] = gc_alloc(24 + i % 200)) != NULL);
    pattern_fill(inherited[i], 24 + i % 200, i);
  }
}

/* The even ones are left alone from the beginning; the odd ones are made anew after each fork, on both sides. */
static void renew_odd(void) {
  for (size_t i = 1; i < INHERITED; i += 2) {
    REQUIRE((inherited[i] = gc_alloc(24 + i % 200)) != NULL);
    pattern_fill(inherited[i], 24 + i % 200, i);
  }
}

static void check_inherited(void) {
  for (size_t i = 0; i < INHERITED; i++)
    REQUIRE_MSG(gc_base(inherited[i]) == inherited[i] && pattern_ok(inherited[i], 24 + i % 200, i),
                "object %zu of the inherited was lost", i);
}

/* -- in children -- */
static void go_on(void) {
  check_inherited();
  moves_check(&moves);
  moves_run(&moves, STEPS);
  renew_odd();
  gc_collect();
  check_inherited();
  moves_check(&moves);
}

static void go_on_beside_cycles(void) {
  beside_begin(200);
  moves_run(&moves, STEPS);
  renew_odd();
  beside_await(CYCLES);
  moves_run(&moves, STEPS);
  beside_end();
  go_on();
}

static void await_child(pid_t pid) {
  int status;
  REQUIRE(pid > 0);
  REQUIRE(waitpid(pid, &status, 0) == pid);
  REQUIRE_MSG(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a child ended with status %x", (unsigned)status);
}

static void fork_child(void (*body)(void)) {
  pid_t pid = fork();
  if (pid == 0) {
    body();
    _exit(0);
  }
  await_child(pid);
}

static void fork_grandchild(void) {
  moves_run(&moves, STEPS);
  fork_child(go_on_beside_cycles);
  go_on();
}

/* A daemon: its parent is gone. Whether it did well is told through a pipe. */
static int daemon_pipe[2];

static void leave_daemon(void) {
  if (fork() != 0) _exit(0);
  go_on_beside_cycles();
  REQUIRE(write(daemon_pipe[1], "d", 1) == 1);
}

/* -- the parent -- */
static void begin(void) {
  moves_init(&moves, suite_seed());
  make_inherited();
  beside_begin(200);
  beside_await(2);
}

static void end(void) {
  beside_await(2);
  beside_end();
  moves_check(&moves);
  check_inherited();
}

/* Another thread moves and allocates meanwhile, so that forks fall into its work, too. */
static atomic_bool enough;

static void *move_meanwhile(void *unused) {
  struct moves own;
  moves_init(&own, suite_seed() + 1);
  while (!atomic_load(&enough)) moves_run(&own, 100);
  moves_check(&own);
  return unused;
}

static void fork_often(void (*body)(void)) {
  pthread_t t;
  begin();
  REQUIRE(pthread_create(&t, NULL, move_meanwhile, NULL) == 0);
  for (uint64_t i = 0; i < FORKS * suite_scale(); i++) {
    moves_run(&moves, STEPS);
    fork_child(body);
    renew_odd();
    check_inherited();
  }
  atomic_store(&enough, true);
  REQUIRE(pthread_join(t, NULL) == 0);
  end();
}

static void child_goes_on(void) { fork_often(go_on); }
static void child_collects_beside(void) { fork_often(go_on_beside_cycles); }
static void grandchild(void) { fork_often(fork_grandchild); }

static void orphan(void) {
  char byte = 0;
  begin();
  REQUIRE(pipe(daemon_pipe) == 0);
  fork_child(leave_daemon);
  close(daemon_pipe[1]);
  moves_run(&moves, STEPS);
  REQUIRE_MSG(read(daemon_pipe[0], &byte, 1) == 1 && byte == 'd', "the orphan failed");
  end();
}

/* Parent and child run on side by side, both with cycles, on pages that they share until one writes. */
static void both_go_on(void) {
  begin();
  for (uint64_t i = 0; i < FORKS * suite_scale(); i++) {
    pid_t pid = fork();
    if (pid == 0) {
      go_on_beside_cycles();
      _exit(0);
    }
    REQUIRE(pid > 0);
    for (int k = 0; k < 5; k++) {
      moves_run(&moves, STEPS);
      renew_odd();
      beside_await(1);
    }
    await_child(pid);
    check_inherited();
  }
  end();
}

/* -- other programs -- */
static char *const true_arguments[] = {(char *)(uintptr_t) "true", NULL};

static NOINLINE pid_t by_vfork(void) {
  pid_t pid = vfork();
  if (pid == 0) {
    execv("/bin/true", true_arguments);
    _exit(127);
  }
  return pid;
}

static pid_t by_spawn(void) {
  pid_t pid;
  REQUIRE(posix_spawn(&pid, "/bin/true", NULL, NULL, true_arguments, NULL) == 0);
  return pid;
}

static void run_program(int how) {
  char line[16] = "";
  FILE *f;
  switch (how) {
    case 0: await_child(by_vfork()); return;
    case 1: await_child(by_spawn()); return;
    case 2: REQUIRE(system("true") == 0); return;
    default:
      REQUIRE((f = popen("echo word", "r")) != NULL);
      REQUIRE(fgets(line, sizeof line, f) != NULL && strcmp(line, "word\n") == 0);
      REQUIRE(pclose(f) == 0);
  }
}

static void other_programs(void) {
  begin();
  for (uint64_t i = 0; i < 120 * suite_scale(); i++) {
    moves_run(&moves, STEPS / 4);
    run_program((int)(i % 4));
  }
  renew_odd();
  end();
}

static const struct test_case cases[] = {
    {"child_goes_on", child_goes_on, NULL}, {"child_collects_beside", child_collects_beside, NULL},
    {"grandchild", grandchild, NULL},       {"orphan", orphan, NULL},
    {"both_go_on", both_go_on, NULL},       {"other_programs", other_programs, NULL},
};

int main(int argc, char **argv) { return cases_main(argc, argv, "processes", CASES(cases)); }
