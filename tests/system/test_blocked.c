/* test_blocked.c - threads that do not run when a cycle wants to stop them: asleep in a system call, with all
 * signals blocked, or one of five hundred. What only their stacks hold stays, and they sleep on: a call that
 * the kernel starts again after a handler with SA_RESTART does not fail with EINTR; one that it never starts
 * again (signal(7)) may, and then says the truth of what is left to do. */
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "beside.h"
#include "cases.h"
#include "moves.h"
#include "park.h"

/* -- calls that sleep -- */
struct call {
  const struct call_row *row;
  pthread_t thread;
  atomic_int tid;
  atomic_bool over;
  int result;
  int fd[2];
  sem_t sem;
  pthread_mutex_t mutex;
  pthread_cond_t cond;
  atomic_int word;
  pid_t child;
  uint64_t tag;
};

struct call_row {
  const char *name;
  bool restarts; /* the call returns 0; otherwise 0 or EINTR, and is made again until it is over */
  void (*setup)(struct call *);
  int (*run)(struct call *); /* 0, or the errno of the failure */
  void (*finish)(struct call *);
};

static void setup_nothing(struct call *c) { (void)c; }
static void setup_pipe(struct call *c) { REQUIRE(pipe(c->fd) == 0); }
static void setup_sockets(struct call *c) { REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, c->fd) == 0); }
static void finish_write(struct call *c) { REQUIRE(write(c->fd[1], "x", 1) == 1); }

static int call_read(struct call *c) {
  char byte;
  return read(c->fd[0], &byte, 1) == 1 ? 0 : errno;
}

static int call_recv(struct call *c) {
  char byte;
  return recv(c->fd[0], &byte, 1, 0) == 1 ? 0 : errno;
}

/* One byte into a full pipe: an interrupted longer write may rightly return what it wrote. */
static void setup_full_pipe(struct call *c) {
  static const char block[4096];
  setup_pipe(c);
  REQUIRE(fcntl(c->fd[1], F_SETFL, O_NONBLOCK) == 0);
  while (write(c->fd[1], block, sizeof block) > 0) continue;
  while (write(c->fd[1], block, 1) > 0) continue;
  REQUIRE(errno == EAGAIN && fcntl(c->fd[1], F_SETFL, 0) == 0);
}
static int call_write(struct call *c) { return write(c->fd[1], "x", 1) == 1 ? 0 : errno; }
static void finish_drain(struct call *c) {
  char drain[65536];
  REQUIRE(read(c->fd[0], drain, sizeof drain) > 0);
}

static void setup_sem(struct call *c) { REQUIRE(sem_init(&c->sem, 0, 0) == 0); }
static int call_sem_wait(struct call *c) { return sem_wait(&c->sem) == 0 ? 0 : errno; }
static void finish_sem_wait(struct call *c) { sem_post(&c->sem); }

static void setup_mutex(struct call *c) {
  REQUIRE(pthread_mutex_init(&c->mutex, NULL) == 0 && pthread_cond_init(&c->cond, NULL) == 0);
  REQUIRE(pthread_mutex_lock(&c->mutex) == 0);
}
static int call_mutex(struct call *c) { return pthread_mutex_lock(&c->mutex); }
static void finish_mutex(struct call *c) { REQUIRE(pthread_mutex_unlock(&c->mutex) == 0); }

static void setup_cond(struct call *c) {
  setup_mutex(c);
  finish_mutex(c);
}
static int call_cond(struct call *c) {
  int r = pthread_mutex_lock(&c->mutex);
  while (r == 0 && !atomic_load(&c->over)) r = pthread_cond_wait(&c->cond, &c->mutex);
  return r;
}
static void finish_cond(struct call *c) {
  REQUIRE(pthread_mutex_lock(&c->mutex) == 0);
  atomic_store(&c->over, true);
  REQUIRE(pthread_cond_signal(&c->cond) == 0 && pthread_mutex_unlock(&c->mutex) == 0);
}

/* It may return early without an error. */
static int call_futex(struct call *c) {
  while (atomic_load(&c->word) == 0)
    if (syscall(SYS_futex, &c->word, FUTEX_WAIT, 0, NULL, NULL, 0) != 0 && errno != EAGAIN) return errno;
  return 0;
}
static void finish_futex(struct call *c) {
  atomic_store(&c->word, 1);
  REQUIRE(syscall(SYS_futex, &c->word, FUTEX_WAKE, 1, NULL, NULL, 0) >= 0);
}

static void setup_child(struct call *c) {
  c->child = fork();
  REQUIRE(c->child >= 0);
  if (c->child != 0) return;
  (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* if this test fails, nobody waits for its descriptors to be closed */
  for (;;) pause();
}
static int call_waitpid(struct call *c) {
  int status;
  return waitpid(c->child, &status, 0) == c->child ? 0 : errno;
}
static void finish_waitpid(struct call *c) { REQUIRE(kill(c->child, SIGKILL) == 0); }

static void setup_two_openings(struct call *c) {
  char path[] = "/tmp/holdfast-test-XXXXXX";
  c->fd[0] = mkstemp(path);
  c->fd[1] = open(path, O_RDWR);
  REQUIRE(c->fd[0] >= 0 && c->fd[1] >= 0 && unlink(path) == 0);
}
static void setup_lock(struct call *c) {
  struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  setup_two_openings(c);
  REQUIRE(fcntl(c->fd[1], F_OFD_SETLK, &l) == 0);
}
static int call_lock(struct call *c) {
  struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  return fcntl(c->fd[0], F_OFD_SETLKW, &l) == 0 ? 0 : errno;
}
static void setup_flock(struct call *c) {
  setup_two_openings(c);
  REQUIRE(flock(c->fd[1], LOCK_EX) == 0);
}
static int call_flock(struct call *c) { return flock(c->fd[0], LOCK_EX) == 0 ? 0 : errno; }
static void finish_close(struct call *c) { REQUIRE(close(c->fd[1]) == 0); }

static int call_poll(struct call *c) {
  struct pollfd p = {c->fd[0], POLLIN, 0};
  int n = poll(&p, 1, -1);
  if (n < 0) return errno;
  REQUIRE_MSG(n == 1 && p.revents == POLLIN, "poll for ever returned %d", n);
  return 0;
}
static int call_select(struct call *c) {
  fd_set in;
  FD_ZERO(&in);
  FD_SET(c->fd[0], &in);
  int n = select(c->fd[0] + 1, &in, NULL, NULL, NULL);
  if (n < 0) return errno;
  REQUIRE_MSG(n == 1 && FD_ISSET(c->fd[0], &in), "select for ever returned %d", n);
  return 0;
}
static int call_epoll(struct call *c) {
  struct epoll_event e = {.events = EPOLLIN, .data = {.u64 = c->tag}};
  int fd = epoll_create1(EPOLL_CLOEXEC);
  REQUIRE(fd >= 0 && epoll_ctl(fd, EPOLL_CTL_ADD, c->fd[0], &e) == 0);
  int n = epoll_wait(fd, &e, 1, -1), error = errno;
  REQUIRE(close(fd) == 0);
  if (n < 0) return error;
  REQUIRE_MSG(n == 1 && e.data.u64 == c->tag, "epoll_wait for ever returned %d", n);
  return 0;
}

/* For so long that only EINTR ends it: the stop's, or at the end one of SIGUSR1. */
static int call_nanosleep(struct call *c) {
  const struct timespec long_time = {1000000, 0};
  struct timespec left = {-1, 0};
  if (atomic_load(&c->over)) return 0;
  if (nanosleep(&long_time, &left) == 0) return ETIME;
  int error = errno;
  REQUIRE_MSG(left.tv_sec >= 0 && left.tv_sec <= long_time.tv_sec, "%jd s left", (intmax_t)left.tv_sec);
  return error;
}
static void do_nothing(int signal) { (void)signal; }
static void setup_sleep(struct call *c) {
  (void)c;
  struct sigaction a = {.sa_handler = do_nothing};
  REQUIRE(sigaction(SIGUSR1, &a, NULL) == 0);
}
static void finish_sleep(struct call *c) {
  atomic_store(&c->over, true);
  while (atomic_load(&c->word) == 0) { /* it may not be asleep yet */
    REQUIRE(pthread_kill(c->thread, SIGUSR1) == 0);
    sched_yield();
  }
}

static const struct call_row rows[] = {
    {"read", true, setup_pipe, call_read, finish_write},
    {"recv", true, setup_sockets, call_recv, finish_write},
    {"write", true, setup_full_pipe, call_write, finish_drain},
    {"sem_wait", true, setup_sem, call_sem_wait, finish_sem_wait},
    {"pthread_mutex_lock", true, setup_mutex, call_mutex, finish_mutex},
    {"pthread_cond_wait", true, setup_cond, call_cond, finish_cond},
    {"futex", true, setup_nothing, call_futex, finish_futex},
    {"waitpid", true, setup_child, call_waitpid, finish_waitpid},
    {"fcntl F_OFD_SETLKW", true, setup_lock, call_lock, finish_close},
    {"flock", true, setup_flock, call_flock, finish_close},
    {"poll", false, setup_pipe, call_poll, finish_write},
    {"select", false, setup_pipe, call_select, finish_write},
    {"epoll_wait", false, setup_pipe, call_epoll, finish_write},
    {"nanosleep", false, setup_sleep, call_nanosleep, finish_sleep},
};
enum { ROWS = sizeof rows / sizeof *rows, SLEEPS = 50 };
static struct call calls[ROWS];

/* Holds a chain on its stack meanwhile. Calls that are never started again are made again here. */
static void *make_call(void *arg) {
  struct call *c = arg;
  root held;
  hidden h = chain_new(c->tag, &held);
  scrub_stack();
  atomic_store(&c->tid, (int)gettid());
  do c->result = c->row->run(c);
  while (c->result == EINTR && !c->row->restarts);
  if (c->row->finish == finish_sleep) atomic_store(&c->word, 1);
  REQUIRE_MSG(chain_ok(h, c->tag), "lost beside %s", c->row->name);
  gc_use(held);
  return NULL;
}

/* Waits until the thread sleeps in the kernel: only then can a stop interrupt the call. */
static void await_sleep(int thread) {
  char path[64], state = 'R';
  snprintf(path, sizeof path, "/proc/self/task/%d/stat", thread);
  while (state != 'S') {
    sched_yield();
    FILE *f = fopen(path, "r");
    if (f == NULL) return; /* it ended too early: finish_calls says why */
    REQUIRE(fscanf(f, "%*d (%*[^)]) %c", &state) == 1);
    fclose(f);
  }
}

static void start_calls(void) {
  for (int i = 0; i < ROWS; i++) {
    struct call *c = &calls[i];
    c->row = &rows[i];
    c->tag = (uint64_t)i + 1;
    c->row->setup(c);
    REQUIRE(pthread_create(&c->thread, NULL, make_call, c) == 0);
    while (atomic_load(&c->tid) == 0) sched_yield();
  }
}

static void finish_calls(void) {
  for (int i = 0; i < ROWS; i++) {
    struct call *c = &calls[i];
    c->row->finish(c);
    REQUIRE(pthread_join(c->thread, NULL) == 0);
    REQUIRE_MSG(c->result == 0, "%s failed beside collections: %s", c->row->name, strerror(c->result));
  }
}

/* Each cycle finds all of them asleep. */
static void asleep_at_each_cycle(void) {
  start_calls();
  for (uint64_t n = 0; n < SLEEPS * suite_scale(); n++) {
    for (int i = 0; i < ROWS; i++) await_sleep(atomic_load(&calls[i].tid));
    gc_collect();
    refill(1000, sizeof(struct link));
  }
  finish_calls();
}

/* Cycles without a break; they fall asleep, are woken and end in the middle of them. */
static void asleep_beside_cycles(void) {
  beside_begin(2000);
  start_calls();
  beside_await(SLEEPS * suite_scale());
  finish_calls();
  beside_end();
}

/* -- all signals blocked -- */
enum { BLOCKERS = 4, STEPS = 20000 };

static void require_blocked(void) {
  sigset_t mask;
  REQUIRE(pthread_sigmask(SIG_SETMASK, NULL, &mask) == 0);
  REQUIRE(sigismember(&mask, SIGUSR1) == 1 && sigismember(&mask, SIGTERM) == 1 && sigismember(&mask, SIGRTMAX) == 1);
}

static void *move_blocked(void *how) {
  struct moves own;
  sigset_t all;
  sigfillset(&all);
  switch ((uintptr_t)how % 3) {
    case 0: REQUIRE(pthread_sigmask(SIG_BLOCK, &all, NULL) == 0); break;
    case 1: REQUIRE(sigprocmask(SIG_SETMASK, &all, NULL) == 0); break;
    default: break; /* born so */
  }
  moves_init(&own, suite_seed() + (uintptr_t)how);
  do {
    moves_run(&own, STEPS);
    require_blocked();
  } while (beside_cycles() < SLEEPS * suite_scale());
  moves_check(&own);
  free(own.tag);
  return NULL;
}

static void signals_blocked(void) {
  pthread_t t[BLOCKERS];
  pthread_attr_t attr;
  sigset_t all;
  sigfillset(&all);
  REQUIRE(pthread_attr_init(&attr) == 0 && pthread_attr_setsigmask_np(&attr, &all) == 0);
  beside_begin(500);
  for (uintptr_t i = 0; i < BLOCKERS; i++)
    REQUIRE(pthread_create(&t[i], i % 3 == 2 ? &attr : NULL, move_blocked, (void *)i) == 0);
  for (int i = 0; i < BLOCKERS; i++) REQUIRE(pthread_join(t[i], NULL) == 0);
  beside_end();
}

/* The collecting thread blocks them all, too, and so does every thread that inherits its mask. */
static void signals_blocked_everywhere(void) {
  sigset_t all;
  sigfillset(&all);
  REQUIRE(pthread_sigmask(SIG_SETMASK, &all, NULL) == 0);
  signals_blocked();
}

/* -- five hundred threads -- */
enum { CROWD = 500 };
static struct {
  sem_t ready;
  int fd[2];
  atomic_bool over;
} crowd;

/* Most sleep, as in servers; some spin, and some pass a chain of objects from one stack word to another. */
static void *be_one_of_many(void *number) {
  uint64_t tag = (uintptr_t)number;
  root held, next;
  hidden h = chain_new(tag, &held);
  char c;
  sem_post(&crowd.ready);
  if (tag % 50 == 1) {
    while (!atomic_load(&crowd.over)) {
      next = held;
      held = NULL;
      sched_yield();
      held = next;
      next = NULL;
    }
  }
  if (tag % 50 == 2)
    while (!atomic_load(&crowd.over)) refill(5, sizeof(struct link));
  REQUIRE(read(crowd.fd[0], &c, 1) == 1);
  REQUIRE_MSG(chain_ok(h, tag), "lost in thread %" PRIu64, tag);
  gc_use(held);
  return NULL;
}

static void five_hundred_threads(void) {
  static pthread_t t[CROWD];
  pthread_attr_t attr;
  REQUIRE(pthread_attr_init(&attr) == 0 && pthread_attr_setstacksize(&attr, 128 * 1024) == 0);
  REQUIRE(pipe(crowd.fd) == 0 && sem_init(&crowd.ready, 0, 0) == 0);
  beside_begin(2000); /* they are born beside cycles */
  for (uintptr_t i = 0; i < CROWD; i++) REQUIRE(pthread_create(&t[i], &attr, be_one_of_many, (void *)i) == 0);
  for (int i = 0; i < CROWD; i++)
    while (sem_wait(&crowd.ready) != 0) REQUIRE(errno == EINTR);
  beside_await(10 * suite_scale());
  atomic_store(&crowd.over, true);
  for (int i = 0; i < CROWD; i++) REQUIRE(write(crowd.fd[1], "x", 1) == 1);
  for (int i = 0; i < CROWD; i++) REQUIRE(pthread_join(t[i], NULL) == 0);
  beside_end();
}

static const struct test_case cases[] = {
    {"asleep_at_each_cycle", asleep_at_each_cycle, NULL},
    {"asleep_beside_cycles", asleep_beside_cycles, NULL},
    {"signals_blocked", signals_blocked, NULL},
    {"signals_blocked_everywhere", signals_blocked_everywhere, NULL},
    {"five_hundred_threads", five_hundred_threads, NULL},
};

int main(int argc, char **argv) { return cases_main(argc, argv, "blocked", CASES(cases)); }
