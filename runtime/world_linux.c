/* world_linux.c - see world.h. Runs in signal handlers: nothing here but fields, futexes and sending signals. */
#include "runtime/world.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "runtime/interpose.h"
#include "runtime/options.h"
#include "runtime/os.h"
#include "runtime/probe.h"
#include "runtime/sleep.h"
#include "runtime/standin.h"
#include "runtime/thread.h"
#include "runtime/torture.h"

#define RESEND_NS 20000000 /* a signal is sent again to threads that have not answered for this long */
#define SPINS 2000         /* looks before sleeping, when there is a processor to spare */

static struct {
  atomic_u32 requested; /* [A] number of the newest stop; released by the stopper after all set-up */
  atomic_u32 resumed;   /* [A] number of the newest stop that is over; futex of the parked */
  atomic_u32 missing;   /* [A] threads that have not acknowledged; futex of the stopper */
  int signal;           /* [const] after init */
  atomic_u32 unmarked;  /* [A] 1: the system does not let us mark our signals as ours */
  atomic_u32 mutators;  /* [A; written STW] threads stopped by the current stop; late leavers of the last one read it */
  atomic_u32 busy;      /* [A; written STW] of these, the ones that were busy */
  atomic_u32 brief;     /* [A; written STW] 1: the stop is expected to be short */
  unsigned held;        /* [L:THREADS] blocked threads that this stop holds */
  sigset_t before;      /* [L:THREADS] the stopper's signal mask outside the stop */
} world GC_OWN_DATA;

int world_signal(void) { return world.signal; }
bool world_is_stopped(void) { return atomic32_load_relaxed(&world.requested) != atomic32_load_relaxed(&world.resumed); }

/* A stop signal that comes between two of these lines acknowledges on its own; then the exchange fails, and the
 * stop is not counted twice. */
static void acknowledge(struct thread *t, unsigned seen, unsigned stop, char *sp) {
  t->sp = sp;
  TORTURE_STEP();
  if (!atomic32_cas(&t->stopped, seen, stop)) return; /* pairs with the acquire in wait_for_all: sp is visible */
  if (atomic32_sub(&world.missing, 1) == 1) os_futex_wake(&world.missing, 1);
}

/* Spinning pays only while everybody who wants one can have a processor; beyond that a prototype was 15 to 25 times
 * slower. The stopper leaves its own to threads that must come out of a system call to answer; a thread that was
 * running keeps its own, since waking it through the kernel takes longer (70 us) than most stops. */
static bool stopper_may_spin(void) {
  unsigned mutators = atomic32_load_relaxed(&world.mutators);
  return mutators < os_cpu_count() && mutators == atomic32_load_relaxed(&world.busy);
}

unsigned world_busy_threads(void) { return atomic32_load_relaxed(&world.busy); }

static bool may_spin(const struct thread *t) {
  return atomic32_load_relaxed(&world.brief) && atomic32_load_relaxed(&t->busy) &&
         atomic32_load_relaxed(&world.busy) < os_cpu_count();
}

static void wait_for_resume(const struct thread *t, unsigned resumed) {
  for (int i = 0; i < SPINS && may_spin(t); i++) {
    if (atomic32_load_relaxed(&world.resumed) != resumed) return;
    cpu_relax();
  }
  os_futex_wait(&world.resumed, resumed, 0);
}

/* The way back from THREAD_BLOCKED. The number of the last resume is read first: a stop that is over by the time of the
 * wait has changed it. */
static void wait_until_not_held(struct thread *t) {
  for (;;) {
    unsigned resumed = atomic32_load_acquire(&world.resumed);
    TORTURE_STEP();
    if (atomic32_cas(&t->blocked, THREAD_BLOCKED, THREAD_NOT_BLOCKED)) return;
    os_futex_wait(&world.resumed, resumed, 0);
  }
}

static void mask_stop_signal(int how) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, world.signal);
  real_pthread_sigmask(how, &set, NULL);
}

/* It stands still for the program, not for a cycle: as in a blocking call, with all that lives on the stack at or above sp. A
 * stop that counted it as running before it said so sends the signal, and finds it like any other thread in a system call:
 * so the signal must come through, and the handler, which comes here again, must leave it at that. */
static void stand_still(struct thread *t, char *sp) {
  t->blocked_other_stack = t->other_stack;
  t->blocked_at.sp = sp;
  t->blocked_at.words = 0;
  TORTURE_STEP();
  atomic32_store_release(&t->blocked, THREAD_BLOCKED); /* pairs with the exchange in hold_blocked */
  mask_stop_signal(SIG_UNBLOCK);
  while (atomic32_load_acquire(&t->suspended) != 0) os_futex_wait(&t->suspended, 1, 0);
  mask_stop_signal(SIG_BLOCK);
  wait_until_not_held(t);
}

static bool wants_to_stand_still(const struct thread *t) {
  return atomic32_load_relaxed(&t->suspended) != 0 && atomic32_load_relaxed(&t->blocked) == THREAD_NOT_BLOCKED;
}

/* Sleeps while stops are in effect, acknowledging each once. A new stop may begin before this thread has
 * woken from the last: it is still parked at the same place, so it acknowledges again, and need not be sent
 * another signal, of which the kernel keeps only so many. A thread that leaves takes `parked` back before it
 * looks a last time; the stopper looks at `parked` after it has requested: one of both sees the other. */
static void park(struct thread *t, char *sp) {
  for (;;) {
    TORTURE_STEP();
    unsigned seen = atomic32_load_acquire(&t->stopped);       /* before the two: it is never newer than they are */
    unsigned resumed = atomic32_load_acquire(&world.resumed); /* pairs with world_start's release */
    unsigned stop = atomic32_load_acquire(&world.requested);
    bool over = stop == resumed;
    atomic32_store_relaxed(&t->parked, !over);
    TORTURE_STEP();
    if (over) {
      full_fence();
      if (world_is_stopped()) continue;
      if (!wants_to_stand_still(t)) break;
      stand_still(t, sp);
      continue;
    }
    if (seen != stop) acknowledge(t, seen, stop, sp);
    wait_for_resume(t, resumed);
  }
}

/* On a signal stack both stacks count: what runs here, and whatever was interrupted on the normal one. */
static struct range signal_stack_at(char *sp, const stack_t *alt) {
  char *lo = alt->ss_sp;
  bool on_it = !(alt->ss_flags & SS_DISABLE) && lo != NULL && sp >= lo && sp < lo + alt->ss_size;
  return on_it ? (struct range){sp, lo + alt->ss_size} : (struct range){NULL, NULL};
}

static struct range own_signal_stack_at(char *sp) {
  stack_t alt = {0};
  sigaltstack(NULL, &alt);
  return signal_stack_at(sp, &alt);
}

struct stopped_at {
  struct thread *thread;
  const stack_t *signal_stack;
};

static void park_in_handler(char *sp, void *arg) {
  struct stopped_at *at = arg;
  at->thread->other_stack = signal_stack_at(sp, at->signal_stack);
  park(at->thread, sp);
}

static const char *interrupted_sp(const ucontext_t *c) {
#if defined(__x86_64__)
  return (const char *)c->uc_mcontext.gregs[REG_RSP];
#elif defined(__aarch64__)
  return (const char *)c->uc_mcontext.sp;
#else
  (void)c;
  return NULL; /* stops end sleeps here */
#endif
}

/* Where the system does not let us mark them, what the program's own threads send each other is taken for ours. */
static bool is_ours(const siginfo_t *info) {
  if (info->si_code == SI_QUEUE) return info->si_value.sival_ptr == &world;
  return info->si_code == SI_TKILL && atomic32_load_relaxed(&world.unmarked);
}

/* The interrupted registers (in the kernel's frame above ours), the red zone and the rest of the stack all lie
 * above sp. The registers as they are now are spilled too: a sanitizer may call the handler later, as a
 * function, and then what the kernel saved is old. A stop is looked for at each signal: of two that were sent to a thread the
 * kernel delivers one, unless they are queued. */
static void on_stop_signal(int signal, siginfo_t *info, void *context) {
  struct stopped_at at = {tl_thread, &((ucontext_t *)context)->uc_stack};
  int saved = errno;
  (void)signal;
  if (!is_ours(info)) standin_send_on(info, &((ucontext_t *)context)->uc_sigmask);
  if (at.thread != NULL && world_is_stopped()) {
    if (at.thread->defer != 0)
      atomic32_store_relaxed(&at.thread->pending, 1);
    else
      world_with_spilled_registers(park_in_handler, &at);
  }
  if (at.thread != NULL && at.thread->sleeps_at != NULL) {
    const ucontext_t *c = context;
    sleep_was_interrupted(interrupted_sp(c), &c->uc_sigmask);
  }
  errno = saved;
}

static void park_here(char *sp, void *arg) {
  struct thread *t = arg;
  if (!world_is_stopped() && !wants_to_stand_still(t)) return;
  t->other_stack = own_signal_stack_at(sp);
  park(t, sp);
}

/* A handler of the program that ran on a parked thread, or on the stopper, would move pointers under the markers' eyes.
 * The stop handler's own mask does it for those that park there. The C library's signal of pthread_cancel stays open, and
 * does nothing here: this is no cancellation point. */
static void block_handlers(sigset_t *before) {
  sigset_t all;
  sigfillset(&all);
  real_pthread_sigmask(SIG_SETMASK, &all, before);
}

void world_park_self(void) {
  sigset_t before;
  block_handlers(&before);
  world_with_spilled_registers(park_here, tl_thread);
  real_pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static GC_NOINLINE void call_below(void (*f)(char *sp, void *arg), void *arg) { f(__builtin_frame_address(0), arg); }

/* The builtin makes this function save every callee-saved register in its frame, which lies above the
 * frame of call_below. The barrier keeps the call from becoming a jump that drops the frame. */
GC_NOINLINE void world_with_spilled_registers(void (*f)(char *sp, void *arg), void *arg) {
  __builtin_unwind_init();
  call_below(f, arg);
  __asm__ volatile("" ::: "memory");
}

/* The frames between are ours and small; only a build that makes them very large would not fit. */
static GC_NO_SANITIZE void copy_frames(char *sp, void *arg) {
  struct left_at *at = arg;
  at->words = (size_t)(at->sp - sp) / sizeof(uintptr_t);
  GC_ASSERT(at->words <= LEFT_WORDS);
  for (size_t i = 0; i < at->words; i++) at->spilled[i] = racy_load_word(sp + i * sizeof(uintptr_t));
}

void world_note_left(struct left_at *at, char *top) {
  at->sp = top;
  world_with_spilled_registers(copy_frames, at);
}

/* ---- threads that are blocked ---- */

/* The stopper's exchange sees what is written before the release. A stop that begins earlier has sent the signal, or will,
 * and finds the thread in its system call like any other. */
void thread_block(char *top) {
  struct thread *t = thread_register_self();
  t->blocked_other_stack = own_signal_stack_at(top);
  world_note_left(&t->blocked_at, top);
  TORTURE_STEP();
  atomic32_store_release(&t->blocked, THREAD_BLOCKED);
}

void thread_unblock(void) {
  struct thread *t = tl_thread;
  if (!thread_is_blocked()) fatal("gc_blocking_end without gc_blocking_begin");
  wait_until_not_held(t);
  if (wants_to_stand_still(t)) world_park_self();
}

void thread_unblock_to_call(struct blocked_at *where) {
  where->at = tl_thread->blocked_at;
  where->other_stack = tl_thread->blocked_other_stack;
  thread_unblock();
}

/* What registers held at the first call, and frames above it, is what its caller finds there when all has returned. */
void thread_block_again(const struct blocked_at *where) {
  struct thread *t = thread_register_self();
  t->blocked_at = where->at;
  t->blocked_other_stack = where->other_stack;
  TORTURE_STEP();
  atomic32_store_release(&t->blocked, THREAD_BLOCKED); /* as in thread_block */
}

void thread_suspend(struct thread *t) { atomic32_store_relaxed(&t->suspended, 1); }

void thread_resume(struct thread *t) {
  atomic32_store_release(&t->suspended, 0);
  os_futex_wake(&t->suspended, 1);
}

static void set_action(struct sigaction *found) {
  struct sigaction action = {0};
  action.sa_sigaction = on_stop_signal;
  action.sa_flags = SA_SIGINFO | SA_RESTART; /* on the interrupted stack: no SA_ONSTACK */
  /* No handler of the program runs on top of a parked thread, nor the C library's: sigfillset would leave out the signal
   * of pthread_cancel, and a thread that was stopped in a cancellation point would unwind and end in the middle of a stop. */
  memset(&action.sa_mask, 0xff, sizeof action.sa_mask);
  if (real_sigaction(world.signal, &action, found) != 0)
    fatal("GC_SIGNAL=%d is not a signal that can be caught", world.signal);
}

void world_init(void) {
  struct sigaction found;
  world.signal = options.signal != 0 ? options.signal : SIGURG;
  set_action(&found);
  standin_init(world.signal, &found);
}

/* ---- the stopper's side ---- */

/* A thread that ended without telling us (a raw exit) cannot be signalled: it no longer counts. */
static void drop_dead(struct thread *t, unsigned stop) {
  t->state = THREAD_DEAD;
  atomic32_store_release(&t->stopped, stop);
  atomic32_sub(&world.missing, 1);
}

static bool expects(const struct thread *t) {
  return t->state == THREAD_RUNNING && t != tl_thread && atomic32_load_relaxed(&t->blocked) != THREAD_HELD;
}

/* It counts as stopped, so that a signal of an earlier stop that comes late does not acknowledge this one. A thread that
 * we did not create may have ended in its call, with nobody to tell; its stack may be gone. */
static void hold_blocked(struct thread *t, unsigned stop) {
  if (t->state != THREAD_RUNNING || !atomic32_cas(&t->blocked, THREAD_BLOCKED, THREAD_HELD)) return;
  atomic32_store_release(&t->stopped, stop);
  world.held++;
  if (t->start == NULL && os_signal_thread(t->tid, 0) == ESRCH) t->state = THREAD_DEAD;
}

static void let_go_blocked(void) {
  if (world.held == 0) return;
  for (struct thread *t = threads_first(); t != NULL; t = threads_next(t))
    if (atomic32_load_relaxed(&t->blocked) == THREAD_HELD)
      atomic32_store_release(&t->blocked, THREAD_BLOCKED); /* pairs with thread_unblock: sees the new heap state */
}

static void count_running(unsigned stop) {
  unsigned running = 0, busy = 0;
  world.held = 0;
  for (struct thread *t = threads_first(); t != NULL; t = threads_next(t)) {
    hold_blocked(t, stop);
    running += expects(t);
    if (!expects(t)) continue;
    uint64_t entries = atomic_load_relaxed(&t->entries);
    bool came = entries != t->entries_seen;
    atomic32_store_relaxed(&t->busy, came);
    t->entries_seen = entries;
    busy += came;
  }
  atomic32_store_relaxed(&world.mutators, running);
  atomic32_store_relaxed(&world.missing, running);
  atomic32_store_relaxed(&world.busy, busy);
}

/* 0, or an errno value. */
static int send_stop(int tid) {
  siginfo_t info = {.si_code = SI_QUEUE};
  info.si_pid = getpid();
  info.si_value.sival_ptr = &world;
  int error = os_queue_signal(tid, world.signal, &info);
  if (error == 0 || error == ESRCH || error == EAGAIN) return error;
  atomic32_store_relaxed(&world.unmarked, 1);
  return os_signal_thread(tid, world.signal);
}

/* Somebody has set an action for our signal by a way that we do not stand in front of, and the signals went there. */
static void take_signal_back(void) {
  struct sigaction now;
  real_sigaction(world.signal, NULL, &now);
  if (now.sa_sigaction == on_stop_signal) return;
  set_action(NULL);
  standin_action(&now, NULL);
}

static void signal_missing(unsigned stop) {
  for (struct thread *t = threads_first(); t != NULL; t = threads_next(t)) {
    if (!expects(t) || atomic32_load_relaxed(&t->stopped) == stop || atomic32_load_relaxed(&t->pending) != 0)
      continue;                                         /* pending: it knows */
    if (atomic32_load_relaxed(&t->parked)) continue;    /* it is looking already */
    if (send_stop(t->tid) == ESRCH) drop_dead(t, stop); /* EAGAIN: sent again below */
  }
}

/* Real-time signals are queued, and the queue is shared by all processes of the user: the time between two
 * rounds of sending doubles, so that a thread that cannot answer for minutes does not fill it. */
static void wait_for_all(unsigned stop) {
  uint64_t last = os_now_ns(), patience = RESEND_NS;
  unsigned n;
  for (int i = 0; i < SPINS && stopper_may_spin() && atomic32_load_acquire(&world.missing) != 0; i++) cpu_relax();
  while ((n = atomic32_load_acquire(&world.missing)) != 0) { /* pairs with acknowledge's exchange */
    os_futex_wait(&world.missing, n, patience);
    if (os_now_ns() - last < patience) continue;
    take_signal_back();
    signal_missing(stop);
    last = os_now_ns();
    patience *= 2;
  }
}

void world_stop(char *sp, bool brief) {
  struct thread *self = tl_thread;
  threads_lock();
  block_handlers(&world.before);
  unsigned stop = atomic32_load_relaxed(&world.requested) + 1;
  PROBE1(stop__begin, stop);
  count_running(stop);
  atomic32_store_relaxed(&world.brief, brief);
  atomic32_store_release(&world.requested, stop); /* pairs with the acquire in park: missing is set */
  full_fence();                                   /* see park */
  if (atomic32_load_relaxed(&world.mutators) != 0) {
    signal_missing(stop);
    wait_for_all(stop);
  }
  if (self == NULL) return;
  self->other_stack = own_signal_stack_at(sp);
  self->sp = sp;
  atomic32_store_relaxed(&self->stopped, stop);
}

void world_start(void) {
  unsigned stop = atomic32_load_relaxed(&world.requested);
  unsigned parked = atomic32_load_relaxed(&world.mutators);
  let_go_blocked();
  atomic32_store_release(&world.resumed, stop); /* pairs with park's acquire: sees the new heap state */
  PROBE2(stop__end, stop, parked);
  if (parked + world.held != 0) os_futex_wake(&world.resumed, ~0u >> 1);
  threads_bury();
  sigset_t before = world.before;
  threads_unlock();
  real_pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* ---- without a stop ---- */

static bool fence_all_threads(void) {
  static bool registered GC_OWN_DATA; /* [L:CYCLE] */
  if (!registered) registered = syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
  return registered && syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0;
}

/* Inside at the fence, and not out since? */
static void wait_for_leaver(const struct thread *t) {
  TORTURE_STEP();
  uint64_t entries = atomic_load_relaxed(&t->entries);
  /* Acquired: pairs with the release in thread_allow_stops. Otherwise a byte that the leaver stored could still be on its
   * way when markers start, and their store to it come before. */
  for (int i = 0; atomic32_load_acquire(&t->defer) != 0 && atomic_load_acquire(&t->entries) == entries; i++)
    if (i < SPINS)
      cpu_relax();
    else
      sched_yield();
}

/* After the fence a thread that is inside the library is seen inside, or has seen what the caller wrote: its
 * defer++ and its next look are a store and a load, which a processor may exchange; the fence is on every processor
 * that runs a thread of ours. */
void world_wait_for_leavers(void) {
  char here;
  if (fence_all_threads()) {
    threads_lock();
    for (struct thread *t = threads_first(); t != NULL; t = threads_next(t))
      if (expects(t)) wait_for_leaver(t);
    threads_unlock();
    return;
  }
  world_stop(&here, true); /* nobody is inside at a stop */
  world_start();
}
