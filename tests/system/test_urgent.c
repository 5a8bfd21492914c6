/* test_urgent.c - a program that uses SIGURG, by which stops are made, for itself: its handler, with flags and mask, is called for
 * each that it is sent while cycles run; it can block it and wait for it; and cycles run whatever it does with it. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>

#pragma GCC diagnostic ignored "-Wdeprecated-declarations" /* old interfaces are still used with this signal */

#include "beside.h"
#include "cases.h"
#include "moves.h"
#include "park.h"

enum { SENT = 300 };

static atomic_int handled, told_signal, told_sender, depth, deepest;

static void count(int signal) {
  atomic_store(&told_signal, signal);
  atomic_fetch_add(&handled, 1);
}

static void count_informed(int signal, siginfo_t *info, void *context) {
  REQUIRE(info->si_signo == signal && context != NULL);
  atomic_store(&told_sender, (int)info->si_pid);
  count(signal);
}

static struct sigaction action_of(void (*handler)(int), int flags) {
  struct sigaction a = {.sa_handler = handler, .sa_flags = flags};
  sigemptyset(&a.sa_mask);
  return a;
}

static void install(void (*handler)(int), int flags) {
  struct sigaction a = action_of(handler, flags);
  REQUIRE(sigaction(SIGURG, &a, NULL) == 0);
}

static void await_handled(int n) {
  while (atomic_load(&handled) < n) sched_yield();
}

static sigset_t urgent_alone(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGURG);
  return set;
}

/* -- from the kernel: urgent data on a connection -- */
static void connect_pair(int ends[2]) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t length = sizeof at;
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  ends[0] = socket(AF_INET, SOCK_STREAM, 0);
  REQUIRE(listener >= 0 && ends[0] >= 0);
  REQUIRE(bind(listener, (struct sockaddr *)&at, length) == 0 && listen(listener, 1) == 0);
  REQUIRE(getsockname(listener, (struct sockaddr *)&at, &length) == 0);
  REQUIRE(connect(ends[0], (struct sockaddr *)&at, length) == 0);
  ends[1] = accept(listener, NULL, NULL);
  REQUIRE(ends[1] >= 0 && close(listener) == 0);
}

static void from_a_socket(void) {
  struct moves own;
  int ends[2];
  connect_pair(ends);
  REQUIRE(fcntl(ends[1], F_SETOWN, getpid()) == 0);
  install(count, SA_RESTART);
  moves_init(&own, suite_seed());
  beside_begin(200);
  for (int i = 0; i < SENT; i++) {
    char c = 0;
    REQUIRE(send(ends[0], "!", 1, MSG_OOB) == 1);
    moves_run(&own, 20);
    await_handled(i + 1);
    REQUIRE(recv(ends[1], &c, 1, MSG_OOB) == 1 && c == '!');
  }
  beside_await(2);
  beside_end();
  moves_check(&own);
  REQUIRE(atomic_load(&told_signal) == SIGURG);
}

/* -- sent to the process: each once, and no stop is taken for one -- */
static void each_is_handled_once(void) {
  struct sigaction a = {.sa_sigaction = count_informed, .sa_flags = SA_SIGINFO | SA_RESTART};
  REQUIRE(sigaction(SIGURG, &a, NULL) == 0);
  beside_begin(100);
  for (int i = 0; i < SENT; i++) {
    REQUIRE(kill(getpid(), SIGURG) == 0);
    await_handled(i + 1);
    refill(50, 64);
  }
  beside_await(5);
  beside_end();
  REQUIRE_MSG(atomic_load(&handled) == SENT, "handled %d of %d", atomic_load(&handled), SENT);
  REQUIRE(atomic_load(&told_signal) == SIGURG && atomic_load(&told_sender) == getpid());
}

/* -- what sigaction and signal tell and do -- */
static void actions(void) {
  struct sigaction old, a = action_of(count, SA_RESTART | (int)SA_RESETHAND);
  sigaddset(&a.sa_mask, SIGUSR1);
  sigaddset(&a.sa_mask, SIGURG);
  REQUIRE(sigaction(SIGURG, NULL, &old) == 0 && old.sa_handler == SIG_DFL);
  REQUIRE(signal(SIGURG, SIG_IGN) == SIG_DFL && signal(SIGURG, count) == SIG_IGN);
  REQUIRE(siginterrupt(SIGURG, 1) == 0);
  REQUIRE(sigaction(SIGURG, &a, &old) == 0 && old.sa_handler == count);
  REQUIRE(sigaction(SIGURG, NULL, &old) == 0 && old.sa_handler == count && old.sa_flags == a.sa_flags);
  REQUIRE(sigismember(&old.sa_mask, SIGUSR1) == 1 && sigismember(&old.sa_mask, SIGURG) == 1);
  REQUIRE(sigismember(&old.sa_mask, SIGUSR2) == 0);
  REQUIRE(raise(SIGURG) == 0 && atomic_load(&handled) == 1); /* the only thread: no stop signal is sent */
  REQUIRE(sigaction(SIGURG, NULL, &old) == 0 && old.sa_handler == SIG_DFL);
  REQUIRE(raise(SIGURG) == 0 && atomic_load(&handled) == 1);
  REQUIRE(sigaction(SIGUSR2, &a, NULL) == 0 && sigaction(SIGUSR2, NULL, &old) == 0);
  REQUIRE(sigismember(&old.sa_mask, SIGURG) == 1);
}

/* -- while its handler runs: the mask is the one asked for, and it is not interrupted by its own signal, but by stops -- */
static atomic_int after_usr1;

static void on_usr1(int signal) { atomic_store(&after_usr1, atomic_load(&depth) == 0 ? signal : -1); }

static void look_around(int signal) {
  int now = atomic_fetch_add(&depth, 1) + 1;
  sigset_t mask;
  if (now > atomic_load(&deepest)) atomic_store(&deepest, now);
  REQUIRE(pthread_sigmask(SIG_SETMASK, NULL, &mask) == 0);
  REQUIRE(sigismember(&mask, SIGURG) == 1 && sigismember(&mask, SIGUSR1) == 1 && sigismember(&mask, SIGUSR2) == 0);
  if (atomic_load(&handled) == 0) REQUIRE(raise(SIGUSR1) == 0 && kill(getpid(), signal) == 0);
  beside_await(1);
  count(signal);
  atomic_fetch_sub(&depth, 1);
}

static void while_handled(void) {
  struct sigaction a = action_of(look_around, SA_RESTART), usr1 = action_of(on_usr1, SA_RESTART);
  sigset_t set = urgent_alone(), before;
  sigaddset(&a.sa_mask, SIGUSR1);
  REQUIRE(sigaction(SIGURG, &a, NULL) == 0 && sigaction(SIGUSR1, &usr1, NULL) == 0);
  REQUIRE(pthread_sigmask(SIG_BLOCK, &set, &before) == 0);
  beside_begin(100); /* born with it blocked */
  REQUIRE(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
  REQUIRE(kill(getpid(), SIGURG) == 0);
  await_handled(2);
  beside_end();
  REQUIRE_MSG(atomic_load(&deepest) == 1, "handlers ran %d deep", atomic_load(&deepest));
  REQUIRE_MSG(atomic_load(&after_usr1) == SIGUSR1, "SIGUSR1 was not blocked in the handler");
}

/* -- blocked: nothing is handled until it is allowed, then one; stops go on -- */
static void require_held_back(int until_now) {
  REQUIRE(kill(getpid(), SIGURG) == 0 && kill(getpid(), SIGURG) == 0);
  beside_await(3);
  REQUIRE_MSG(atomic_load(&handled) == until_now, "handled while blocked");
}

static void blocked(void) {
  sigset_t set = urgent_alone(), now;
  struct timespec none = {0, 0};
  siginfo_t info;
  int got = 0;
  install(count, SA_RESTART);
  REQUIRE(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
  REQUIRE(pthread_sigmask(SIG_BLOCK, NULL, &now) == 0 && sigismember(&now, SIGURG) == 1);
  beside_begin(100); /* it inherits the mask */
  require_held_back(0);
  REQUIRE(pthread_sigmask(SIG_UNBLOCK, &set, NULL) == 0 && atomic_load(&handled) == 1);
  REQUIRE((sigblock(1 << (SIGURG - 1)) & 1 << (SIGURG - 1)) == 0 && sigblock(0) == 1 << (SIGURG - 1));
  require_held_back(1);
  REQUIRE(sigwait(&set, &got) == 0 && got == SIGURG);
  require_held_back(1);
  while ((got = sigtimedwait(&set, &info, &none)) < 0) REQUIRE(errno == EINTR);
  REQUIRE(got == SIGURG && info.si_signo == SIGURG);
  require_held_back(1);
  REQUIRE(sigsetmask(0) == 1 << (SIGURG - 1) && atomic_load(&handled) == 2);
  REQUIRE(sighold(SIGURG) == 0);
  require_held_back(2);
  REQUIRE(sigrelse(SIGURG) == 0 && atomic_load(&handled) == 3);
  beside_end();
}

/* -- a handler that jumps out, as those of FTP servers do -- */
static sigjmp_buf out;

static void jump_out(int signal) {
  count(signal);
  siglongjmp(out, 1);
}

static void jumps(void) {
  volatile int rounds = 0;
  install(jump_out, 0);
  for (; rounds < SENT; rounds++) {
    if (sigsetjmp(out, 1) == 0) {
      REQUIRE(raise(SIGURG) == 0); /* the only thread */
      REQUIRE_MSG(false, "the handler returned, or was not called the %dth time", rounds);
    }
    refill(20, 64);
  }
  REQUIRE(atomic_load(&handled) == SENT);
}

/* -- sleeps: a signal that is handled ends them, one that is ignored does not -- */
static atomic_bool awake;

static void *send_until_awake(void *sleeper) {
  while (!atomic_load(&awake)) {
    REQUIRE(pthread_kill(*(pthread_t *)sleeper, SIGURG) == 0);
    refill(20, 64);
  }
  return NULL;
}

static int sleep_beside_signals(time_t seconds, long ns) {
  const struct timespec time = {seconds, ns};
  pthread_t self = pthread_self(), t;
  atomic_store(&awake, false);
  REQUIRE(pthread_create(&t, NULL, send_until_awake, &self) == 0);
  int r = nanosleep(&time, NULL) == 0 ? 0 : errno;
  atomic_store(&awake, true);
  REQUIRE(pthread_join(t, NULL) == 0);
  return r;
}

static void sleeps(void) {
  beside_begin(2000);
  install(count, SA_RESTART);
  REQUIRE(sleep_beside_signals(1000000, 0) == EINTR);
  install(SIG_IGN, 0);
  REQUIRE(sleep_beside_signals(0, 20000000) == 0);
  install(SIG_DFL, 0);
  REQUIRE(sleep_beside_signals(0, 20000000) == 0);
  beside_end();
}

/* -- set by a way that the library does not see -- */
struct kernel_action {
  void (*handler)(int);
  unsigned long flags;
  void (*restorer)(void);
  uint64_t mask;
};

static void *refill_until_awake(void *unused) {
  while (!atomic_load(&awake)) refill(100, 64);
  return unused;
}

static void behind_our_back(void) {
  struct kernel_action a = {.handler = SIG_IGN};
  struct sigaction old;
  pthread_t t;
  REQUIRE(pthread_create(&t, NULL, refill_until_awake, NULL) == 0);
  REQUIRE(syscall(SYS_rt_sigaction, SIGURG, &a, NULL, sizeof a.mask) == 0);
  for (int i = 0; i < 3; i++) gc_collect();
  REQUIRE(sigaction(SIGURG, NULL, &old) == 0 && old.sa_handler == SIG_IGN);
  install(count, SA_RESTART);
  REQUIRE(kill(getpid(), SIGURG) == 0);
  await_handled(1);
  gc_collect();
  atomic_store(&awake, true);
  REQUIRE(pthread_join(t, NULL) == 0);
}

/* -- ignored and blocked by whoever started the program -- */
static void ignore_and_block(const char *name) {
  struct kernel_action a = {.handler = SIG_IGN};
  sigset_t set = urgent_alone();
  (void)name;
  REQUIRE(syscall(SYS_rt_sigaction, SIGURG, &a, NULL, sizeof a.mask) == 0);
  REQUIRE(syscall(SYS_rt_sigprocmask, SIG_BLOCK, &set, NULL, sizeof(uint64_t)) == 0);
}

static void inherited(void) {
  struct sigaction old;
  sigset_t now;
  REQUIRE(pthread_sigmask(SIG_BLOCK, NULL, &now) == 0 && sigismember(&now, SIGURG) == 1);
  REQUIRE(sigaction(SIGURG, NULL, &old) == 0 && old.sa_handler == SIG_IGN);
  beside_begin(100);
  beside_await(3);
  install(count, SA_RESTART);
  require_held_back(0);
  now = urgent_alone();
  REQUIRE(pthread_sigmask(SIG_UNBLOCK, &now, NULL) == 0 && atomic_load(&handled) == 1);
  beside_end();
}

/* -- GC_SIGNAL -- */
static void choose_signal(const char *name) {
  char number[16];
  (void)name;
  snprintf(number, sizeof number, "%d", SIGRTMAX - 6);
  REQUIRE(setenv("GC_SIGNAL", number, 1) == 0);
}

static void another_signal(void) {
  struct sigaction a = action_of(count, SA_RESTART);
  REQUIRE(sigaction(SIGRTMAX - 6, &a, NULL) == 0 && sigaction(SIGURG, &a, NULL) == 0);
  beside_begin(100);
  for (int i = 0; i < SENT; i++) {
    REQUIRE(kill(getpid(), i % 2 ? SIGURG : SIGRTMAX - 6) == 0);
    await_handled(i + 1);
    REQUIRE(atomic_load(&told_signal) == (i % 2 ? SIGURG : SIGRTMAX - 6));
  }
  beside_await(2);
  beside_end();
  REQUIRE(atomic_load(&handled) == SENT);
}

/* -- where the system does not let stop signals be marked -- */
static void sandboxed(void) {
  struct sock_filter lines[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_tgsigqueueinfo, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog filter = {sizeof lines / sizeof *lines, lines};
  struct moves own;
  REQUIRE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  REQUIRE(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter) == 0);
  moves_init(&own, suite_seed());
  beside_begin(100);
  do moves_run(&own, 500);
  while (beside_cycles() < 5);
  beside_end();
  moves_check(&own);
}

static const struct test_case cases[] = {
    {"from_a_socket", from_a_socket, NULL},
    {"each_is_handled_once", each_is_handled_once, NULL},
    {"actions", actions, NULL},
    {"while_handled", while_handled, NULL},
    {"blocked", blocked, NULL},
    {"jumps", jumps, NULL},
    {"sleeps", sleeps, NULL},
    {"behind_our_back", behind_our_back, NULL},
    {"inherited", inherited, ignore_and_block},
    {"another_signal", another_signal, choose_signal},
    {"sandboxed", sandboxed, NULL},
};

int main(int argc, char **argv) { return cases_main(argc, argv, "urgent", CASES(cases)); }
