/* test_exits.c - how threads and processes end beside cycles: cancelled, detached, a thousand at a time; exit from any thread,
 * exec, daemon(). test_births.c has the common ends. */
#include <sys/wait.h>

#include "beside.h"
#include "cases.h"
#include "gc_stats.h"
#include "moves.h"
#include "park.h"

/* -- cancellation -- */
static sem_t begun;
static int quiet_pipe[2]; /* nobody writes to it */
static atomic_int cleaned;

static void allocate_in_cleanup(void *unused) {
  (void)unused;
  refill(20, sizeof(struct link));
  atomic_fetch_add(&cleaned, 1);
}

/* Most of the time asleep in a cancellation point, where a stop and a cancellation may meet. */
static void *sleep_until_cancelled(void *arg) {
  root held;
  hidden h = chain_new((uintptr_t)arg, &held);
  pthread_cleanup_push(allocate_in_cleanup, NULL);
  sem_post(&begun);
  for (;;) {
    switch ((uintptr_t)arg % 3) {
      case 0: pause(); break;
      case 1: (void)sleep(1000); break;
      default: (void)read(quiet_pipe[0], &(char){0}, 1); break;
    }
    REQUIRE(chain_ok(h, (uintptr_t)arg));
  }
  pthread_cleanup_pop(0);
  gc_use(held);
  return NULL;
}

/* At work: cancelled where it looks. */
static void *work_until_cancelled(void *arg) {
  root held;
  pthread_cleanup_push(allocate_in_cleanup, NULL);
  sem_post(&begun);
  for (;;) {
    hidden h = chain_new((uintptr_t)arg, &held);
    pthread_testcancel();
    REQUIRE(chain_ok(h, (uintptr_t)arg));
  }
  pthread_cleanup_pop(0);
  return NULL;
}

static void cancelled_beside_cycles(void) {
  enum { AT_ONCE = 6 };
  pthread_t t[AT_ONCE];
  void *result;
  REQUIRE(sem_init(&begun, 0, 0) == 0 && pipe(quiet_pipe) == 0);
  beside_begin(100);
  for (uint64_t round = 0; round < 40 * suite_scale(); round++) {
    for (uintptr_t i = 0; i < AT_ONCE; i++)
      REQUIRE(pthread_create(&t[i], NULL, i < 4 ? sleep_until_cancelled : work_until_cancelled, (void *)(i + round)) ==
              0);
    for (int i = 0; i < AT_ONCE; i++)
      while (sem_wait(&begun) != 0) REQUIRE(errno == EINTR);
    if (round % 4 == 0) beside_await(1);
    for (int i = 0; i < AT_ONCE; i++) REQUIRE(pthread_cancel(t[i]) == 0);
    for (int i = 0; i < AT_ONCE; i++) REQUIRE(pthread_join(t[i], &result) == 0 && result == PTHREAD_CANCELED);
  }
  beside_end();
  REQUIRE(atomic_load(&cleaned) == (int)(40 * suite_scale() * AT_ONCE));
}

/* -- detached, in three ways -- */
enum { DETACHED = 200 };
static atomic_int ended;

static void *end_detached(void *arg) {
  root held;
  if ((uintptr_t)arg % 3 == 1) REQUIRE(pthread_detach(pthread_self()) == 0);
  hidden h = chain_new((uintptr_t)arg, &held);
  refill(100, 200);
  REQUIRE(chain_ok(h, (uintptr_t)arg));
  gc_use(held);
  atomic_fetch_add(&ended, 1);
  return held; /* which nobody will fetch */
}

static void detached(void) {
  pthread_attr_t attr;
  pthread_t t;
  REQUIRE(pthread_attr_init(&attr) == 0 && pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED) == 0);
  beside_begin(500);
  for (uintptr_t i = 0; i < DETACHED; i++) {
    REQUIRE(pthread_create(&t, i % 3 == 0 ? &attr : NULL, end_detached, (void *)i) == 0);
    if (i % 3 == 2) REQUIRE(pthread_detach(t) == 0);
  }
  while (atomic_load(&ended) < DETACHED) sched_yield();
  beside_end();
}

/* -- a thousand at a time, all alive -- */
enum { THOUSAND = 1000 };
static sem_t go;

static void *one_of_a_thousand(void *arg) {
  root held;
  hidden h = chain_new((uintptr_t)arg, &held);
  sem_post(&begun);
  while (sem_wait(&go) != 0) REQUIRE(errno == EINTR);
  REQUIRE_MSG(chain_ok(h, (uintptr_t)arg), "lost in thread %d", (int)(uintptr_t)arg);
  gc_use(held);
  return NULL;
}

static void a_thousand(void) {
  static pthread_t t[THOUSAND];
  pthread_attr_t attr;
  REQUIRE(sem_init(&begun, 0, 0) == 0 && sem_init(&go, 0, 0) == 0);
  REQUIRE(pthread_attr_init(&attr) == 0 && pthread_attr_setstacksize(&attr, 64 * 1024) == 0);
  for (uintptr_t i = 0; i < THOUSAND; i++) REQUIRE(pthread_create(&t[i], &attr, one_of_a_thousand, (void *)i) == 0);
  for (int i = 0; i < THOUSAND; i++)
    while (sem_wait(&begun) != 0) REQUIRE(errno == EINTR);
  for (int i = 0; i < 3; i++) collect_hard();
  for (int i = 0; i < THOUSAND; i++) sem_post(&go);
  for (int i = 0; i < THOUSAND; i++) REQUIRE(pthread_join(t[i], NULL) == 0);
}

/* -- the whole process, from some thread, while others work and cycles run -- */
static struct moves main_moves;

static void *work_for_ever(void *seed) {
  struct moves own;
  moves_init(&own, suite_seed() + (uintptr_t)seed);
  for (;;) moves_run(&own, 100);
  return NULL;
}

static void allocate_at_exit(void) {
  refill(1000, 100);
  gc_collect();
}

static void *leave_process(void *how) {
  refill(1000, 100);
  switch ((uintptr_t)how % 3) {
    case 0: exit(7);
    case 1: _exit(7);
    /* A stop signal that is sent at this moment outlives the handler. */
    default: execl("/bin/sh", "sh", "-c", "exit 7", (char *)NULL);
  }
  return NULL;
}

static void run_and_leave(uintptr_t how) {
  pthread_t t;
  beside_begin(200);
  REQUIRE(atexit(allocate_at_exit) == 0);
  for (uintptr_t i = 0; i < 2; i++) REQUIRE(pthread_create(&t, NULL, work_for_ever, (void *)i) == 0);
  moves_init(&main_moves, suite_seed());
  beside_await(2);
  if (how < 3) (void)leave_process((void *)how);
  REQUIRE(pthread_create(&t, NULL, leave_process, (void *)how) == 0);
  for (;;) moves_run(&main_moves, 100);
}

/* The main thread leaves before the others: the process goes on until they have ended. */
static void *outlive_main(void *main_thread) {
  REQUIRE(pthread_join(*(pthread_t *)main_thread, NULL) == 0);
  struct moves own;
  moves_init(&own, suite_seed());
  for (int i = 0; i < 5; i++) {
    moves_run(&own, 2000);
    gc_collect();
  }
  moves_check(&own);
  exit(7);
}

static void main_leaves_first(void) {
  static pthread_t self;
  pthread_t t;
  self = pthread_self();
  REQUIRE(pthread_create(&t, NULL, outlive_main, &self) == 0);
  pthread_exit(NULL);
}

static void each_way_out(void) {
  for (uintptr_t how = 0; how <= 6; how++) {
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
      if (how == 6) main_leaves_first();
      run_and_leave(how);
    }
    REQUIRE(pid > 0 && waitpid(pid, &status, 0) == pid);
    REQUIRE_MSG(WIFEXITED(status) && WEXITSTATUS(status) == 7, "way %d: status %x", (int)how, (unsigned)status);
  }
}

/* -- daemon(): the parent is gone, descriptors 0 to 2 are /dev/null, and the heap goes on -- */
static void daemonized(void) {
  int fd[2], status;
  char word = 0;
  REQUIRE(pipe(fd) == 0);
  moves_init(&main_moves, suite_seed());
  beside_begin(200);
  beside_await(1);
  pid_t pid = fork();
  if (pid == 0) {
    if (daemon(0, 0) != 0) _exit(1);
    moves_check(&main_moves);
    beside_begin(200);
    moves_run(&main_moves, 4000);
    beside_await(2);
    moves_check(&main_moves);
    beside_end();
    _exit(write(fd[1], "d", 1) == 1 ? 0 : 1);
  }
  close(fd[1]);
  REQUIRE(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  REQUIRE_MSG(read(fd[0], &word, 1) == 1 && word == 'd', "the daemon failed");
  beside_end();
  moves_check(&main_moves);
}

static const struct test_case cases[] = {
    {"cancelled_beside_cycles", cancelled_beside_cycles, NULL},
    {"detached", detached, NULL},
    {"a_thousand", a_thousand, NULL},
    {"each_way_out", each_way_out, NULL},
    {"daemonized", daemonized, NULL},
};

int main(int argc, char **argv) { return cases_main(argc, argv, "exits", CASES(cases)); }
