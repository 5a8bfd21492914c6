/* interpose.c - stands in front of functions of the C library that the collector must know of:
 *   births and ends of threads: pthread_create, thrd_create, pthread_exit, pthread_join and its kin,
 *     pthread_detach - every thread is known before it runs, and its result is a root until it is fetched;
 *   sleeping: a stop does not end it (sleep.h);
 *   signals: whatever blocks all of them or waits for all must not block or take the stop signal; what the program wants
 *     of that one is done with another (standin.h).
 * The rows of FUNCTIONS and MORE_FUNCTIONS are the functions.
 *
 * Two ways. In the shared library ours have the C library's names, come first for the dynamic linker, and look for the next
 * ones once. In the static library that is installed (GC_WRAP) ours are called __wrap_NAME, and the linker option
 * --wrap=NAME, which holdfast.pc gives for static linking, sends calls of NAME there, and ours of __real_NAME to the C library:
 * a program without a dynamic linker has no next one to look for. */
#include "runtime/interpose.h"

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#include "runtime/init.h"
#include "runtime/sleep.h"
#include "runtime/standin.h"
#include "runtime/thread.h"
#include "runtime/world.h"

#define FUNCTIONS(F)                                                                              \
  F(int, pthread_create, (pthread_t *, const pthread_attr_t *, void *(*)(void *), void *))        \
  F(int, pthread_join, (pthread_t, void **))                                                      \
  F(int, pthread_tryjoin_np, (pthread_t, void **))                                                \
  F(int, pthread_timedjoin_np, (pthread_t, void **, const struct timespec *))                     \
  F(int, pthread_detach, (pthread_t))                                                             \
  F(void, pthread_exit, (void *))                                                                 \
  F(int, pthread_sigmask, (int, const sigset_t *, sigset_t *))                                    \
  F(int, sigprocmask, (int, const sigset_t *, sigset_t *))                                        \
  F(int, sigaction, (int, const struct sigaction *, struct sigaction *))                          \
  F(sighandler_t, signal, (int, sighandler_t))                                                    \
  F(int, siginterrupt, (int, int))                                                                \
  F(int, sigwait, (const sigset_t *, int *))                                                      \
  F(int, sigtimedwait, (const sigset_t *, siginfo_t *, const struct timespec *))                  \
  F(int, sigsuspend, (const sigset_t *))                                                          \
  F(int, signalfd, (int, const sigset_t *, int))                                                  \
  F(int, ppoll, (struct pollfd *, nfds_t, const struct timespec *, const sigset_t *))             \
  F(int, pselect, (int, fd_set *, fd_set *, fd_set *, const struct timespec *, const sigset_t *)) \
  F(int, epoll_pwait, (int, struct epoll_event *, int, int, const sigset_t *))                    \
  F(int, clock_nanosleep, (clockid_t, int, const struct timespec *, struct timespec *))

/* And those that do with what is behind these. */
#define MORE_FUNCTIONS(F)                                          \
  F(int, thrd_create, (thrd_t *, thrd_start_t, void *))            \
  F(int, sigwaitinfo, (const sigset_t *, siginfo_t *))             \
  F(int, nanosleep, (const struct timespec *, struct timespec *))  \
  F(int, thrd_sleep, (const struct timespec *, struct timespec *)) \
  F(unsigned, sleep, (unsigned))                                   \
  F(int, usleep, (useconds_t))                                     \
  F(int, sigblock, (int))                                          \
  F(int, sigsetmask, (int))                                        \
  F(int, sighold, (int))                                           \
  F(int, sigrelse, (int))

#if GC_WRAP
#define OURS(name) __wrap_##name
#define NEXT(name) __real_##name
#define F(type, name, parameters) \
  type OURS(name) parameters;     \
  type NEXT(name) parameters;
FUNCTIONS(F)
#undef F
#define F(type, name, parameters) type OURS(name) parameters;
MORE_FUNCTIONS(F)
#undef F

void interpose_init(void) {}

/* Names that the C library keeps for debuggers and sanitizers. */
#define PRIVATE_NAMES(P)         \
  P(_dl_get_tls_static_info)     \
  P(_thread_db_sizeof_pthread)   \
  P(_thread_db_pthread_specific) \
  P(_thread_db_sizeof_pthread_key_data_level2)
#define P(name) extern const char name[] __attribute__((weak));
PRIVATE_NAMES(P)
#undef P

const void *interpose_find(const char *name) {
#define P(known) \
  if (strcmp(name, #known) == 0) return known;
  PRIVATE_NAMES(P)
#undef P
  return NULL;
}
#else
#define OURS(name) name

/* [A] racing first look-ups store the same address. */
static struct {
#define F(type, name, parameters) type(*name) parameters;
  FUNCTIONS(F)
#undef F
} next GC_OWN_DATA;

/* ISO C has no cast from an object to a function pointer; POSIX promises that this works. Where nothing comes after this library
 * (a program is linked with the C library first, and with what needs this one), the next one is the one that comes first. */
static void find(const char *name, void **where) {
  if (*where == NULL) *where = dlsym(RTLD_NEXT, name);
  if (*where == NULL) *where = dlsym(RTLD_DEFAULT, name);
  if (*where == NULL) fatal("%s is not in the C library", name);
}
#define NEXT(name) (next.name == NULL ? find(#name, (void **)(void *)&next.name) : (void)0, next.name)

void interpose_init(void) {
#define F(type, name, parameters) find(#name, (void **)(void *)&next.name);
  FUNCTIONS(F)
#undef F
}

const void *interpose_find(const char *name) { return dlsym(RTLD_DEFAULT, name); }
#endif

int real_pthread_create(pthread_t *id, const pthread_attr_t *attr, void *(*start)(void *), void *arg) {
  return NEXT(pthread_create)(id, attr, start, arg);
}
int real_pthread_sigmask(int how, const sigset_t *set, sigset_t *old) { return NEXT(pthread_sigmask)(how, set, old); }
int real_clock_nanosleep(clockid_t clock, int flags, const struct timespec *request, struct timespec *left) {
  return NEXT(clock_nanosleep)(clock, flags, request, left);
}
int real_sigaction(int signal, const struct sigaction *action, struct sigaction *old) {
  return NEXT(sigaction)(signal, action, old);
}

/* ---- births and ends ---- */

static bool is_detached(const pthread_attr_t *attr) {
  int state = PTHREAD_CREATE_JOINABLE;
  if (attr != NULL) pthread_attr_getdetachstate(attr, &state);
  return state == PTHREAD_CREATE_DETACHED;
}

int interpose_create(pthread_t *id, const pthread_attr_t *attr, void *(*start)(void *), void *arg) {
  runtime_ensure_init();
  thread_register_self(); /* the creator's stack may hold the only pointer to what it hands over */
  struct thread *t = thread_create_record(start, arg, is_detached(attr));
  if (t == NULL) return EAGAIN;
  int r = real_pthread_create(id, attr, thread_run, t);
  if (r != 0) thread_forget(t);
  return r;
}

GC_EXPORT int OURS(pthread_create)(pthread_t *restrict id, const pthread_attr_t *restrict attr, void *(*start)(void *),
                                   void *restrict arg) {
  return interpose_create(id, attr, start, arg);
}

/* The start routine returns int; on all machines we know it comes back in the register of a pointer's low half,
 * and thrd_join looks at that half alone. */
GC_EXPORT int OURS(thrd_create)(thrd_t *id, thrd_start_t start, void *arg) {
  union {
    thrd_start_t c11;
    void *(*posix)(void *);
  } f = {start};
  int r = interpose_create(id, NULL, f.posix, arg);
  return r == 0 ? thrd_success : r == EAGAIN || r == ENOMEM ? thrd_nomem : thrd_error;
}

void interpose_exit(void *result) {
  thread_keep_result(result);
  NEXT(pthread_exit)(result);
  __builtin_unreachable();
}

int interpose_join(pthread_t id, void **result) {
  int r = NEXT(pthread_join)(id, result);
  if (r == 0) thread_result_fetched(id);
  return r;
}

int interpose_detach(pthread_t id) {
  thread_result_unwanted(id); /* before: afterwards id may name another thread */
  return NEXT(pthread_detach)(id);
}

GC_EXPORT void OURS(pthread_exit)(void *result) { interpose_exit(result); }
GC_EXPORT int OURS(pthread_join)(pthread_t id, void **result) { return interpose_join(id, result); }
GC_EXPORT int OURS(pthread_detach)(pthread_t id) { return interpose_detach(id); }

GC_EXPORT int OURS(pthread_tryjoin_np)(pthread_t id, void **result) {
  int r = NEXT(pthread_tryjoin_np)(id, result);
  if (r == 0) thread_result_fetched(id);
  return r;
}

GC_EXPORT int OURS(pthread_timedjoin_np)(pthread_t id, void **result, const struct timespec *until) {
  int r = NEXT(pthread_timedjoin_np)(id, result, until);
  if (r == 0) thread_result_fetched(id);
  return r;
}

/* ---- sleeping ---- */

GC_EXPORT int OURS(clock_nanosleep)(clockid_t clock, int flags, const struct timespec *request, struct timespec *left) {
  return sleep_on_clock(clock, flags, request, left);
}

static int sleep_for(const struct timespec *request, struct timespec *left) {
  int error = sleep_on_clock(CLOCK_REALTIME, 0, request, left);
  if (error == 0) return 0;
  errno = error;
  return -1;
}

GC_EXPORT int OURS(nanosleep)(const struct timespec *request, struct timespec *left) {
  return sleep_for(request, left);
}

GC_EXPORT int OURS(thrd_sleep)(const struct timespec *request, struct timespec *left) {
  int saved = errno, error = sleep_on_clock(CLOCK_REALTIME, 0, request, left);
  errno = saved;
  return error == 0 ? 0 : error == EINTR ? -1 : -2;
}

GC_EXPORT unsigned OURS(sleep)(unsigned seconds) {
  struct timespec t = {seconds, 0};
  int saved = errno;
  if (sleep_for(&t, &t) != 0) return (unsigned)t.tv_sec + (t.tv_nsec >= 500000000); /* rounded, as glibc does */
  errno = saved;
  return 0;
}

GC_EXPORT int OURS(usleep)(useconds_t us) {
  struct timespec t = {us / 1000000, (long)(us % 1000000) * 1000};
  return sleep_for(&t, NULL);
}

/* ---- signals ---- */

int interpose_sigmask(int how, const sigset_t *set, sigset_t *old) {
  sigset_t copy;
  int r = NEXT(pthread_sigmask)(how, standin_out(set, &copy), old);
  standin_in(old);
  return r;
}

GC_EXPORT int OURS(pthread_sigmask)(int how, const sigset_t *restrict set, sigset_t *restrict old) {
  return interpose_sigmask(how, set, old);
}

GC_EXPORT int OURS(sigprocmask)(int how, const sigset_t *restrict set, sigset_t *restrict old) {
  sigset_t copy;
  int r = NEXT(sigprocmask)(how, standin_out(set, &copy), old);
  standin_in(old);
  return r;
}

/* No handler runs with the stop signal blocked. */
GC_EXPORT int OURS(sigaction)(int signal, const struct sigaction *restrict action, struct sigaction *restrict old) {
  struct sigaction copy;
  if (signal != 0 && signal == world_signal()) {
    standin_action(action, old);
    return 0;
  }
  if (action != NULL && signal != 0 && signal == standin_signal()) {
    errno = EINVAL;
    return -1;
  }
  if (action != NULL) {
    copy = *action;
    standin_out(&action->sa_mask, &copy.sa_mask);
  }
  int r = NEXT(sigaction)(signal, action != NULL ? &copy : NULL, old);
  if (r == 0 && old != NULL) standin_in(&old->sa_mask);
  return r;
}

GC_EXPORT sighandler_t OURS(signal)(int signal, sighandler_t handler) {
  struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART}, old;
  if (signal == 0 || (signal != world_signal() && signal != standin_signal())) return NEXT(signal)(signal, handler);
  return OURS(sigaction)(signal, &action, &old) == 0 ? old.sa_handler : SIG_ERR;
}

/* Stops must not end system calls. */
GC_EXPORT int OURS(siginterrupt)(int signal, int interrupt) {
  return signal != 0 && signal == world_signal() ? 0 : NEXT(siginterrupt)(signal, interrupt);
}

GC_EXPORT int OURS(sigwait)(const sigset_t *restrict set, int *restrict signal) {
  sigset_t copy;
  int r = NEXT(sigwait)(standin_out(set, &copy), signal);
  if (r == 0) *signal = standin_number_in(*signal);
  return r;
}

static int wait_timed(const sigset_t *set, siginfo_t *info, const struct timespec *timeout) {
  sigset_t copy;
  int signal = standin_number_in(NEXT(sigtimedwait)(standin_out(set, &copy), info, timeout));
  if (signal > 0 && info != NULL) info->si_signo = signal;
  return signal;
}

GC_EXPORT int OURS(sigtimedwait)(const sigset_t *restrict set, siginfo_t *restrict info,
                                 const struct timespec *restrict timeout) {
  return wait_timed(set, info, timeout);
}

GC_EXPORT int OURS(sigwaitinfo)(const sigset_t *restrict set, siginfo_t *restrict info) {
  return wait_timed(set, info, NULL);
}

GC_EXPORT int OURS(sigsuspend)(const sigset_t *set) {
  sigset_t copy;
  return NEXT(sigsuspend)(standin_out(set, &copy));
}

/* What is read from it tells the number of the stand-in. */
GC_EXPORT int OURS(signalfd)(int fd, const sigset_t *set, int flags) {
  sigset_t copy;
  return NEXT(signalfd)(fd, standin_out(set, &copy), flags);
}

GC_EXPORT int OURS(ppoll)(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *set) {
  sigset_t copy;
  return NEXT(ppoll)(fds, n, timeout, standin_out(set, &copy));
}

GC_EXPORT int OURS(pselect)(int n, fd_set *restrict in, fd_set *restrict out, fd_set *restrict except,
                            const struct timespec *restrict timeout, const sigset_t *restrict set) {
  sigset_t copy;
  return NEXT(pselect)(n, in, out, except, timeout, standin_out(set, &copy));
}

GC_EXPORT int OURS(epoll_pwait)(int fd, struct epoll_event *events, int n, int timeout, const sigset_t *set) {
  sigset_t copy;
  return NEXT(epoll_pwait)(fd, events, n, timeout, standin_out(set, &copy));
}

/* -- the older interfaces: a mask is the first signals as bits -- */

static int set_mask(int how, unsigned mask) {
  sigset_t set, old;
  unsigned before = 0;
  sigemptyset(&set);
  for (int signal = 1; signal < 32; signal++)
    if (mask >> (signal - 1) & 1) sigaddset(&set, signal);
  if (OURS(sigprocmask)(how, &set, &old) != 0) return -1;
  for (int signal = 1; signal < 32; signal++)
    if (sigismember(&old, signal) == 1) before |= 1u << (signal - 1);
  return (int)before;
}

GC_EXPORT int OURS(sigblock)(int mask) { return set_mask(SIG_BLOCK, (unsigned)mask); }
GC_EXPORT int OURS(sigsetmask)(int mask) { return set_mask(SIG_SETMASK, (unsigned)mask); }

static int change_one(int how, int signal) {
  sigset_t set;
  sigemptyset(&set);
  return sigaddset(&set, signal) == 0 ? OURS(sigprocmask)(how, &set, NULL) : -1;
}

GC_EXPORT int OURS(sighold)(int signal) { return change_one(SIG_BLOCK, signal); }
GC_EXPORT int OURS(sigrelse)(int signal) { return change_one(SIG_UNBLOCK, signal); }
