/* sleep.c - see sleep.h. A sleep is made one until a point in time, and is begun again when the stop signal was what ended
 * it.
 *
 * How that is known: while a thread sleeps, its record says where on its stack. The handler of the stop signal looks
 * whether it interrupted the thread within a few words of that place, that is inside the system call, and not in a handler of
 * the program's, whose frame is larger. When a signal of the program is waiting to be delivered as soon as ours has
 * returned, the sleep ends as it would have. One that comes in the few instructions between that look and the return does
 * not end it, as one does not that comes just before a sleep begins. */
#include "runtime/sleep.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/interpose.h"
#include "runtime/thread.h"
#include "runtime/world.h"

#define NEAR 1024 /* bytes: more than the C library's frames of clock_nanosleep, less than the kernel's of a handler */

static bool is_program_signal_waiting(const sigset_t *mask) {
  sigset_t waiting;
  sigemptyset(&waiting);
  syscall(SYS_rt_sigpending, &waiting, sizeof(uint64_t));
  for (int signal = 1; signal <= 64; signal++)
    if (signal != world_signal() && sigismember(&waiting, signal) == 1 && sigismember(mask, signal) != 1) return true;
  return false;
}

void sleep_was_interrupted(const char *sp, const void *mask) {
  struct thread *t = tl_thread;
  if (t == NULL || t->sleeps_at == NULL || sp > t->sleeps_at || sp < t->sleeps_at - NEAR) return;
  if (!is_program_signal_waiting(mask)) t->sleeps_again = true;
}

/* A handler of the program's that sleeps in turn leaves the outer sleep as it was, and ended. */
static GC_NOINLINE int sleep_until(clockid_t clock, const struct timespec *end) {
  struct thread *t = tl_thread;
  if (t == NULL) return real_clock_nanosleep(clock, TIMER_ABSTIME, end, NULL);
  char *outer = t->sleeps_at;
  int r;
  do {
    t->sleeps_again = false;
    t->sleeps_at = __builtin_frame_address(0);
    signal_fence();
    r = real_clock_nanosleep(clock, TIMER_ABSTIME, end, NULL);
    signal_fence();
  } while (r == EINTR && t->sleeps_again);
  t->sleeps_at = outer;
  t->sleeps_again = false;
  return r;
}

static bool is_valid(const struct timespec *t) {
  return t != NULL && t->tv_sec >= 0 && t->tv_nsec >= 0 && t->tv_nsec < 1000000000;
}

/* A relative sleep on the time of day is not changed by setting the clock. Clocks of processor time are left alone. */
static clockid_t clock_of(clockid_t clock) {
  if (clock == CLOCK_REALTIME || clock == CLOCK_TAI || clock == CLOCK_MONOTONIC) return CLOCK_MONOTONIC;
  return clock == CLOCK_BOOTTIME ? CLOCK_BOOTTIME : -1;
}

static struct timespec after(struct timespec now, const struct timespec *request) {
  struct timespec end = {0, now.tv_nsec + request->tv_nsec};
  time_t carry = end.tv_nsec >= 1000000000;
  end.tv_nsec -= carry * 1000000000;
  if (__builtin_add_overflow(now.tv_sec + carry, request->tv_sec, &end.tv_sec)) end.tv_sec = INT64_MAX;
  return end;
}

static struct timespec until(struct timespec now, const struct timespec *end) {
  struct timespec left = {end->tv_sec - now.tv_sec, end->tv_nsec - now.tv_nsec};
  if (left.tv_nsec < 0) left = (struct timespec){left.tv_sec - 1, left.tv_nsec + 1000000000};
  return left.tv_sec < 0 ? (struct timespec){0, 0} : left;
}

int sleep_on_clock(clockid_t clock, int flags, const struct timespec *request, struct timespec *left) {
  struct timespec now, end;
  if (!is_valid(request)) return real_clock_nanosleep(clock, flags, request, left);
  if (flags & TIMER_ABSTIME) return sleep_until(clock, request);
  clockid_t same = clock_of(clock);
  if (same < 0 || clock_gettime(same, &now) != 0) return real_clock_nanosleep(clock, flags, request, left);
  end = after(now, request);
  int r = sleep_until(same, &end);
  if (r != EINTR || left == NULL) return r;
  clock_gettime(same, &now);
  *left = until(now, &end);
  return r;
}
