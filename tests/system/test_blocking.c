/* test_blocking.c - gc_blocking_begin and gc_blocking_end: cycles leave the thread alone, and see what it holds. */
#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>

#include "beside.h"
#include "cases.h"
#include "gc_stats.h"
#include "gc_thread.h"
#include "misuse.h"
#include "moves.h"
#include "park.h"

/* -- what the thread holds: places.c has the same for threads that are stopped -- */
static NOINLINE void block_and_wait(struct park *p) {
  gc_blocking_begin();
  park_wait(p);
  gc_blocking_end();
}

static void hold_on_stack(struct park *p) {
  root held = reveal(p->head);
  block_and_wait(p);
  gc_use(held);
}

static __thread root tls_word;
static void hold_in_tls(struct park *p) {
  tls_word = reveal(p->head);
  block_and_wait(p);
  tls_word = NULL;
}

START_TEST(on_the_stack) { check_place(hold_on_stack); }
END_TEST
START_TEST(in_tls) { check_place(hold_in_tls); }
END_TEST

/* A callback of a handler on the signal stack blocks: both stacks count. */
static struct park *handler_park;
static char signal_stack[128 * 1024];
static void block_in_handler(int signal) {
  (void)signal;
  block_and_wait(handler_park);
}
static NOINLINE void raise_holding(void *held) {
  root here = held;
  REQUIRE(raise(SIGUSR2) == 0);
  gc_use(here);
}
static void hold_below_handler(struct park *p) {
  stack_t s = {.ss_sp = signal_stack, .ss_size = sizeof signal_stack};
  struct sigaction a = {.sa_handler = block_in_handler, .sa_flags = SA_ONSTACK};
  handler_park = p;
  REQUIRE(sigaltstack(&s, NULL) == 0 && sigaction(SIGUSR2, &a, NULL) == 0);
  raise_holding(reveal(p->head));
}
START_TEST(below_a_handler) { check_place(hold_below_handler); }
END_TEST

#if defined(__x86_64__)
_Static_assert(offsetof(struct park, held) == offsetof(struct park, head) + 8, "used below");

/* Unhides into a register that a function must preserve, begins, tells, and spins without a call: the thread runs on while
 * others collect, and the address is nowhere else. rbp is exchanged by hand, since a frame may need it. */
#define BLOCK_WITH(REG)                                                                           \
  static NOINLINE void hold_##REG(struct park *p) {                                               \
    scrub_stack();                                                                                \
    __asm__ volatile(                                                                             \
        "push %%rbp\npush %%rbx\npush %%r12\npush %%r13\npush %%r14\npush %%r15\n"                \
        "push %[park]\nmov %%rsp, %%rax\nsub $256, %%rsp\nand $-16, %%rsp\n"                      \
        "push %%rax\npush %[park]\n"                                                              \
        "mov %c[hid](%[park]), %%" #REG "\nnot %%" #REG                                           \
        "\n"                                                                                      \
        "call gc_blocking_begin\n"                                                                \
        "mov (%%rsp), %%rdx\n"                                                                    \
        "movq $0, %c[hid]+8(%%rdx)\nmovl $1, %c[ready](%%rdx)\n"                                  \
        "1: pause\ncmpl $0, %c[go](%%rdx)\nje 1b\n"                                               \
        "call gc_blocking_end\n"                                                                  \
        "pop %%rdx\npop %%rsp\npop %%rdx\n"                                                       \
        "pop %%r15\npop %%r14\npop %%r13\npop %%r12\npop %%rbx\npop %%rbp\n"                      \
        : [park] "+d"(p)                                                                          \
        : [hid] "i"(offsetof(struct park, head)), [ready] "i"(offsetof(struct park, ready_word)), \
          [go] "i"(offsetof(struct park, go_word))                                                \
        : "rax", "rcx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc");                  \
  }
BLOCK_WITH(rbx)
BLOCK_WITH(rbp)
BLOCK_WITH(r12)
BLOCK_WITH(r13)
BLOCK_WITH(r14)
BLOCK_WITH(r15)
static void (*const registers[])(struct park *) = {hold_rbx, hold_rbp, hold_r12, hold_r13, hold_r14, hold_r15};

START_TEST(in_a_preserved_register) {
  static struct park p;
  pthread_t t;
  park_start(&p, &t, registers[_i]);
  while (atomic_load(&p.ready_word) == 0) sched_yield();
  collect_hard();
  REQUIRE_MSG(chain_ok(p.head, p.tag), "register %d of the table is no root", _i);
  park_go(&p);
  REQUIRE(pthread_join(t, NULL) == 0);
}
END_TEST
#endif

/* -- calls that no signal may interrupt: of those that the kernel never starts again after one -- */
enum { SLEEPERS = 4, STOPS = 40 };
static struct {
  int fd[2];
  sem_t ready;
  atomic_int returned;
} sleepers;

static int sleep_in(uintptr_t how) {
  struct pollfd p = {sleepers.fd[0], POLLIN, 0};
  struct epoll_event e = {.events = EPOLLIN};
  const struct timespec short_time = {0, 300000000};
  fd_set in;
  int fd;
  switch (how) {
    case 0: return poll(&p, 1, -1) == 1 ? 0 : errno;
    case 1:
      FD_ZERO(&in);
      FD_SET(p.fd, &in);
      return select(p.fd + 1, &in, NULL, NULL, NULL) == 1 ? 0 : errno;
    case 2:
      fd = epoll_create1(EPOLL_CLOEXEC);
      REQUIRE(fd >= 0 && epoll_ctl(fd, EPOLL_CTL_ADD, p.fd, &e) == 0);
      return epoll_wait(fd, &e, 1, -1) == 1 ? 0 : errno;
    default: return nanosleep(&short_time, NULL) == 0 ? 0 : errno;
  }
}

static void *sleep_blocked(void *how) {
  root held;
  hidden h = chain_new((uintptr_t)how, &held);
  scrub_stack();
  gc_blocking_begin();
  sem_post(&sleepers.ready);
  int error = sleep_in((uintptr_t)how);
  atomic_fetch_add(&sleepers.returned, 1);
  gc_blocking_end();
  REQUIRE_MSG(error == 0, "call %d was interrupted: %s", (int)(uintptr_t)how, strerror(error));
  REQUIRE(chain_ok(h, (uintptr_t)how));
  gc_use(held);
  return NULL;
}

static void not_interrupted(void) {
  pthread_t t[SLEEPERS];
  REQUIRE(pipe(sleepers.fd) == 0 && sem_init(&sleepers.ready, 0, 0) == 0);
  for (uintptr_t i = 0; i < SLEEPERS; i++) REQUIRE(pthread_create(&t[i], NULL, sleep_blocked, (void *)i) == 0);
  for (int i = 0; i < SLEEPERS; i++)
    while (sem_wait(&sleepers.ready) != 0) REQUIRE(errno == EINTR);
  for (int i = 0; i < STOPS; i++) {
    gc_collect();
    refill(1000, sizeof(struct link));
  }
  REQUIRE(write(sleepers.fd[1], "x", 1) == 1);
  for (int i = 0; i < SLEEPERS; i++) REQUIRE(pthread_join(t[i], NULL) == 0);
}

/* -- races: in and out all the time, with work in between, beside cycles -- */
enum { RUNNERS = 3, TIMES = 3000 };

static void *in_and_out(void *seed) {
  struct moves own;
  moves_init(&own, suite_seed() + (uintptr_t)seed);
  for (uint64_t i = 0; i < TIMES * suite_scale(); i++) {
    moves_run(&own, 20);
    gc_blocking_begin();
    if (i % 8 == 0) sched_yield();
    gc_blocking_end();
  }
  moves_check(&own);
  free(own.tag);
  return NULL;
}

static void entered_and_left_beside_cycles(void) {
  pthread_t t[RUNNERS];
  beside_begin(500);
  for (uintptr_t i = 0; i < RUNNERS; i++) REQUIRE(pthread_create(&t[i], NULL, in_and_out, (void *)i) == 0);
  for (int i = 0; i < RUNNERS; i++) REQUIRE(pthread_join(t[i], NULL) == 0);
  beside_end();
}

/* The kernel writes into objects of a blocked thread, scanned ones too, also while the world is stopped. */
static struct {
  int fd[2];
  atomic_bool over;
} stream;

static void *write_stream(void *unused) {
  char block[4096];
  for (size_t i = 0; i < sizeof block; i += 8) memcpy(block + i, &(uint64_t){pattern_word(9, i)}, 8);
  while (!atomic_load(&stream.over))
    if (write(stream.fd[1], block, sizeof block) < 0) REQUIRE(errno == EPIPE || errno == EINTR);
  close(stream.fd[1]);
  return unused;
}

static void input_beside_cycles(void) {
  enum { BUFFERS = 64, SIZE = 20000 };
  pthread_t t;
  root *table = gc_calloc(BUFFERS, sizeof *table);
  REQUIRE(table != NULL && pipe(stream.fd) == 0);
  for (int i = 0; i < BUFFERS; i++) REQUIRE((table[i] = gc_alloc(SIZE)) != NULL);
  beside_begin(500);
  REQUIRE(pthread_create(&t, NULL, write_stream, NULL) == 0);
  for (uint64_t n = 0; n < 4000 * suite_scale() || beside_cycles() < 10; n++) {
    char *to = table[n % BUFFERS];
    gc_blocking_begin();
    ssize_t got = read(stream.fd[0], to + n % 8 * 8, SIZE - 64);
    gc_blocking_end();
    REQUIRE(got > 0);
  }
  atomic_store(&stream.over, true);
  char drain[4096];
  while (read(stream.fd[0], drain, sizeof drain) > 0) continue;
  REQUIRE(pthread_join(t, NULL) == 0);
  beside_end();
}

/* -- ways out -- */
static sem_t asleep;

static void *end_blocked(void *how) {
  root held;
  hidden h = chain_new(5, &held);
  (void)h;
  gc_blocking_begin();
  if (how != NULL) pthread_exit(held);
  sem_post(&asleep);
  for (;;) pause();
}

static pthread_key_t at_end;
static void allocate_at_end(void *unused) {
  (void)unused;
  refill(100, sizeof(struct link));
}

static void *with_key(void *how) {
  REQUIRE(pthread_setspecific(at_end, &at_end) == 0);
  return end_blocked(how);
}

static void cancelled_and_left(void) {
  void *result;
  pthread_t t;
  REQUIRE(sem_init(&asleep, 0, 0) == 0 && pthread_key_create(&at_end, allocate_at_end) == 0);
  beside_begin(500);
  for (int i = 0; i < 100; i++) {
    void *(*body)(void *) = i % 4 < 2 ? end_blocked : with_key;
    REQUIRE(pthread_create(&t, NULL, body, i % 2 == 0 ? NULL : &asleep) == 0);
    if (i % 2 == 0) {
      while (sem_wait(&asleep) != 0) REQUIRE(errno == EINTR);
      REQUIRE(pthread_cancel(t) == 0);
    } else {
      beside_await(1); /* only the result of the ended thread holds the chain */
    }
    REQUIRE(pthread_join(t, &result) == 0);
    if (i % 2 == 0) REQUIRE(result == PTHREAD_CANCELED);
    if (i % 2 == 1) REQUIRE(chain_ok(hide(result), 5));
  }
  beside_end();
}

/* A fork finds threads that are blocked, and the child goes on without them. */
static void forks_beside_blocked(void) {
  pthread_t t[RUNNERS];
  struct moves own;
  beside_begin(500);
  moves_init(&own, suite_seed());
  for (uintptr_t i = 0; i < RUNNERS; i++) REQUIRE(pthread_create(&t[i], NULL, in_and_out, (void *)i) == 0);
  for (int i = 0; i < 10; i++) {
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
      moves_run(&own, 1000);
      gc_collect();
      moves_check(&own);
      _exit(0);
    }
    REQUIRE(pid > 0 && waitpid(pid, &status, 0) == pid);
    REQUIRE_MSG(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a child ended with status %x", (unsigned)status);
    moves_run(&own, 1000);
  }
  for (int i = 0; i < RUNNERS; i++) REQUIRE(pthread_join(t[i], NULL) == 0);
  beside_end();
}

/* -- misuse -- */
static void *nothing(void *p) { return p; }
static void do_alloc(void) { gc_use(gc_alloc(16)); }
static void do_noscan(void) { gc_use(gc_alloc_noscan(3)); }
static void do_large(void) { gc_use(gc_alloc(1 << 20)); }
static void do_collect(void) { gc_collect(); }
static void do_base(void) { (void)gc_base(&stream); }
static void do_stats(void) {
  static struct gc_stats s;
  gc_read_stats(&s);
}
static void do_create(void) {
  pthread_t t;
  (void)pthread_create(&t, NULL, nothing, NULL);
}
static void do_fork(void) {
  if (fork() == 0) _exit(0);
}
static void do_switch(void) { gc_stack_switch(NULL); }
static void do_unregister(void) { (void)gc_thread_unregister(); }
static void do_begin(void) { gc_blocking_begin(); }
static void (*const between[])(void) = {do_alloc,  do_noscan, do_large, do_collect, do_base,      do_stats,
                                        do_create, do_fork,   do_begin, do_switch,  do_unregister};
enum { BETWEEN = sizeof between / sizeof *between };

static int misused;
static void misuse_between(void) {
  do_alloc(); /* the thread's cache is full */
  do_noscan();
  gc_blocking_begin();
  between[misused]();
}

START_TEST(calls_between_end_the_program) {
  misused = _i;
  require_misuse(misuse_between, "between gc_blocking_begin and gc_blocking_end");
}
END_TEST

START_TEST(end_without_begin) { require_misuse(gc_blocking_end, "gc_blocking_end without gc_blocking_begin"); }
END_TEST

/* What is allowed, and that errno is kept. */
START_TEST(allowed_between) {
  sigset_t all;
  pthread_t t;
  void *result;
  sigfillset(&all);
  REQUIRE(pthread_create(&t, NULL, nothing, &all) == 0);
  errno = EDOM;
  gc_blocking_begin();
  REQUIRE(errno == EDOM);
  REQUIRE(pthread_join(t, &result) == 0 && result == &all);
  REQUIRE(pthread_sigmask(SIG_SETMASK, &all, NULL) == 0);
  REQUIRE(system("true") == 0);
  errno = EDOM;
  gc_blocking_end();
  REQUIRE(errno == EDOM);
  refill(1000, 100);
  gc_collect();
}
END_TEST

static const struct test_case cases[] = {
    {"not_interrupted", not_interrupted, NULL},
    {"entered_and_left_beside_cycles", entered_and_left_beside_cycles, NULL},
    {"input_beside_cycles", input_beside_cycles, NULL},
    {"cancelled_and_left", cancelled_and_left, NULL},
    {"forks_beside_blocked", forks_beside_blocked, NULL},
};

int main(int argc, char **argv) {
  int status = cases_run(argc, argv, CASES(cases));
  if (status >= 0) return status;
  Suite *s = suite_create("blocking");
  TCase *tc = suite_case(s, "blocking");
  tcase_add_test(tc, on_the_stack);
  tcase_add_test(tc, in_tls);
  tcase_add_test(tc, below_a_handler);
#if defined(__x86_64__)
  tcase_add_loop_test(tc, in_a_preserved_register, 0, (int)(sizeof registers / sizeof *registers));
#endif
  tcase_add_loop_test(tc, calls_between_end_the_program, 0, BETWEEN);
  tcase_add_test(tc, end_without_begin);
  tcase_add_test(tc, allowed_between);
  cases_add(s);
  return suite_main(s);
}
