/* test_interrupts.c - handlers of the program's signals in the middle of the library, jumps out of them, and sleeps that stops
 * do not cut short. Where what handlers hold is searched: test_signals.c. */
#include <setjmp.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>

#include "beside.h"
#include "cases.h"
#include "moves.h"
#include "park.h"

/* -- a handler that uses objects, and interrupts gc_alloc wherever a timer finds it -- */
enum { TABLE = 512 };
static root *table;         /* in the heap; only the handler moves its objects */
static uint64_t tag[TABLE]; /* of the object in each word; 0: none */
static atomic_ulong handled;
static struct rng handler_rng;

/* No allocation: objects change places, are read and written. */
static void move_in_handler(int signal) {
  int saved = errno;
  (void)signal;
  for (int i = 0; i < 20; i++) {
    size_t a = rng_below(&handler_rng, TABLE), b = rng_below(&handler_rng, TABLE);
    void *p = table[a];
    uint64_t t = tag[a];
    if (!pattern_ok(p, 64, t)) abort();
    table[a] = table[b];
    table[b] = p;
    tag[a] = tag[b];
    tag[b] = t;
  }
  atomic_fetch_add(&handled, 1);
  errno = saved;
}

static void start_timer(void (*handler)(int), int us) {
  struct sigaction a = {.sa_handler = handler, .sa_flags = SA_RESTART};
  struct itimerval every = {{0, us}, {0, us}};
  REQUIRE(sigaction(SIGALRM, &a, NULL) == 0 && setitimer(ITIMER_REAL, &every, NULL) == 0);
}

static void stop_timer(void) {
  struct itimerval none = {{0, 0}, {0, 0}};
  REQUIRE(setitimer(ITIMER_REAL, &none, NULL) == 0);
}

/* The handlers are for this thread alone: the other is born with the signal blocked. Blocked by itself, it might take the
 * first ones. */
static void begin_beside(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGALRM);
  REQUIRE(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
  beside_begin(500);
  REQUIRE(pthread_sigmask(SIG_UNBLOCK, &set, NULL) == 0);
}

static void handler_in_the_library(void) {
  handler_rng.state = suite_seed();
  table = gc_calloc(TABLE, sizeof *table);
  REQUIRE(table != NULL);
  for (size_t i = 0; i < TABLE; i++) {
    REQUIRE((table[i] = gc_alloc(64)) != NULL);
    pattern_fill(table[i], 64, tag[i] = i + 1);
  }
  begin_beside();
  start_timer(move_in_handler, 200);
  struct moves own;
  moves_init(&own, suite_seed());
  while (atomic_load(&handled) < 1000 * suite_scale() || beside_cycles() < 10) {
    moves_run(&own, 50);
    gc_free(gc_alloc(100));
    refill(20, 40);
  }
  stop_timer();
  beside_end();
  moves_check(&own);
  for (size_t i = 0; i < TABLE; i++) REQUIRE(gc_base(table[i]) == table[i] && pattern_ok(table[i], 64, tag[i]));
}

/* -- jumps out of handlers, never out of the library -- */
static sigjmp_buf place;
static volatile sig_atomic_t in_library;
static atomic_ulong jumps;

static void jump(int signal) {
  (void)signal;
  if (in_library) return;
  atomic_fetch_add(&jumps, 1);
  siglongjmp(place, 1);
}

static NOINLINE void compute(struct moves *own) {
  for (;;) {
    in_library = 1;
    moves_run(own, 5);
    in_library = 0;
    for (volatile int i = 0; i < 2000; i++) continue; /* most likely here */
    in_library = 1;
  }
}

static void jump_out(void) {
  static struct moves own;
  root held;
  hidden h = chain_new(4, &held);
  moves_init(&own, suite_seed());
  in_library = 1;
  begin_beside();
  start_timer(jump, 200);
  (void)sigsetjmp(place, 1);
  if (atomic_load(&jumps) < 500 * suite_scale() || beside_cycles() < 10) compute(&own);
  in_library = 1;
  stop_timer();
  beside_end();
  moves_check(&own);
  REQUIRE(chain_ok(h, 4));
  gc_use(held);
}

/* From the signal stack, too: a fault's handler leaves by a jump, again and again. */
static char signal_stack[64 * 1024];
static void jump_from_fault(int signal) {
  (void)signal;
  siglongjmp(place, 1);
}

static void jump_off_the_signal_stack(void) {
  stack_t s = {.ss_sp = signal_stack, .ss_size = sizeof signal_stack};
  struct sigaction a = {.sa_handler = jump_from_fault, .sa_flags = SA_ONSTACK};
  root held;
  hidden h = chain_new(5, &held);
  REQUIRE(sigaltstack(&s, NULL) == 0 && sigaction(SIGUSR1, &a, NULL) == 0);
  beside_begin(200);
  for (volatile int i = 0; i < 300; i++) {
    if (sigsetjmp(place, 1) == 0) REQUIRE(raise(SIGUSR1) == 0);
    refill(50, 64);
  }
  beside_end();
  REQUIRE(chain_ok(h, 5));
  gc_use(held);
}

/* -- sleeps: as long as asked for, through many stops; EINTR only from a signal of the program -- */
static int sleep_by(int how) {
  const struct timespec t = {0, 400000000};
  struct timespec end;
  switch (how) {
    case 0: return nanosleep(&t, NULL) == 0 ? 0 : errno;
    case 1: return clock_nanosleep(CLOCK_REALTIME, 0, &t, NULL);
    case 2: return clock_nanosleep(CLOCK_BOOTTIME, 0, &t, NULL);
    case 3:
      clock_gettime(CLOCK_MONOTONIC, &end);
      end.tv_sec++;
      return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL);
    case 4: return usleep(400000) == 0 ? 0 : errno;
    case 5: return thrd_sleep(&t, NULL) == 0 ? 0 : EINTR;
    default: return sleep(1) == 0 ? 0 : EINTR;
  }
}

enum { SLEEPERS = 7 };
static sem_t begun;
static void *sleep_on(void *how) {
  struct timespec before, after;
  clock_gettime(CLOCK_MONOTONIC, &before);
  sem_post(&begun);
  int error = sleep_by((int)(uintptr_t)how);
  clock_gettime(CLOCK_MONOTONIC, &after);
  int64_t ms = (after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000;
  REQUIRE_MSG(error == 0, "sleep %d ended with error %d", (int)(uintptr_t)how, error);
  REQUIRE_MSG(ms >= 399, "sleep %d took %jd ms", (int)(uintptr_t)how, (intmax_t)ms);
  return NULL;
}

static void not_cut_short(void) {
  pthread_t t[SLEEPERS];
  REQUIRE(sem_init(&begun, 0, 0) == 0);
  beside_begin(100);
  for (uintptr_t i = 0; i < SLEEPERS; i++) REQUIRE(pthread_create(&t[i], NULL, sleep_on, (void *)i) == 0);
  for (int i = 0; i < SLEEPERS; i++)
    while (sem_wait(&begun) != 0) REQUIRE(errno == EINTR);
  beside_await(2);
  for (int i = 0; i < SLEEPERS; i++) REQUIRE(pthread_join(t[i], NULL) == 0);
  beside_end();
}

/* A signal of the program ends them, with the truth about what is left, though stops come all the time. */
static void do_nothing(int signal) { (void)signal; }

static void sleep_in_handler(int signal) {
  (void)signal;
  usleep(2000);
}

static atomic_bool woken;
static void *sleep_long(void *how) {
  struct timespec t = {100000, 0}, left = {-1, -1};
  sem_post(&begun);
  switch ((uintptr_t)how) {
    case 0: REQUIRE(nanosleep(&t, &left) == -1 && errno == EINTR); break;
    case 1: REQUIRE(clock_nanosleep(CLOCK_MONOTONIC, 0, &t, &left) == EINTR); break;
    case 2: REQUIRE(thrd_sleep(&t, &left) == -1); break;
    default: left.tv_sec = sleep(100000), left.tv_nsec = 0;
  }
  REQUIRE_MSG(left.tv_sec > 90000 && left.tv_sec <= 100000 && left.tv_nsec >= 0 && left.tv_nsec < 1000000000,
              "%jd s and %ld ns left", (intmax_t)left.tv_sec, left.tv_nsec);
  atomic_store(&woken, true);
  return NULL;
}

static void ended_by_signals(void) {
  static void (*const handlers[])(int) = {do_nothing, sleep_in_handler};
  REQUIRE(sem_init(&begun, 0, 0) == 0);
  beside_begin(100);
  for (uintptr_t how = 0; how < 8; how++) {
    struct sigaction a = {.sa_handler = handlers[how / 4], .sa_flags = SA_RESTART};
    pthread_t t;
    REQUIRE(sigaction(SIGUSR1, &a, NULL) == 0);
    atomic_store(&woken, false);
    REQUIRE(pthread_create(&t, NULL, sleep_long, (void *)(how % 4)) == 0);
    while (sem_wait(&begun) != 0) REQUIRE(errno == EINTR);
    while (!atomic_load(&woken)) { /* it may not be asleep yet */
      beside_await(1);
      if (!atomic_load(&woken)) (void)pthread_kill(t, SIGUSR1);
    }
    REQUIRE(pthread_join(t, NULL) == 0);
  }
  beside_end();
}

START_TEST(sleep_arguments) {
  struct timespec t = {0, 1000000000}, none = {-1, 0}, zero = {0, 0};
  REQUIRE(nanosleep(&t, NULL) == -1 && errno == EINVAL && nanosleep(&none, NULL) == -1 && errno == EINVAL);
  REQUIRE(clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL) == EINVAL && clock_nanosleep(77, 0, &zero, NULL) == EINVAL);
  REQUIRE(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &zero, NULL) == 0 && nanosleep(&zero, NULL) == 0);
  REQUIRE(clock_nanosleep(CLOCK_PROCESS_CPUTIME_ID, 0, &zero, NULL) == 0 && usleep(0) == 0 && sleep(0) == 0);
  REQUIRE(thrd_sleep(&t, NULL) == -2);
}
END_TEST

static const struct test_case cases[] = {
    {"handler_in_the_library", handler_in_the_library, NULL},
    {"jump_out", jump_out, NULL},
    {"jump_off_the_signal_stack", jump_off_the_signal_stack, NULL},
    {"not_cut_short", not_cut_short, NULL},
    {"ended_by_signals", ended_by_signals, NULL},
};

int main(int argc, char **argv) {
  int status = cases_run(argc, argv, CASES(cases));
  if (status >= 0) return status;
  Suite *s = suite_create("interrupts");
  tcase_add_test(suite_case(s, "arguments"), sleep_arguments);
  cases_add(s);
  return suite_main(s);
}
