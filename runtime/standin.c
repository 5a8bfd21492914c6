/* standin.c - see standin.h. The stand-in's handler is always ours, and always set: without one the kernel would end the program,
 * and one that were ignored would be ignored by the programs that it executes, too. */
#include "runtime/standin.h"

#include <sched.h>

#include "runtime/atomic.h"
#include "runtime/interpose.h"
#include "runtime/os.h"
#include "runtime/thread.h"

static struct {
  int stop, number;          /* [const] after init */
  atomic_u32 busy;           /* [A] 1: some thread is between hold and let_go */
  atomic_u32 turn;           /* [A; written when busy] asked[turn % 2] is what the program asked for last */
  struct sigaction asked[2]; /* [busy] the other one, until turn is raised */
} standin GC_OWN_DATA;

int standin_signal(void) { return standin.number; }

/* Signals are blocked, so that no handler waits for the thread that it interrupted. Handlers come here that interrupted anything: so
 * nobody waits for a fork to be over, which may wait for a lock of theirs; the child lets go instead. */
static void hold(sigset_t *before) {
  sigset_t all;
  sigfillset(&all);
  real_pthread_sigmask(SIG_SETMASK, &all, before);
  while (!atomic32_cas(&standin.busy, 0, 1)) sched_yield();
}

static void let_go(const sigset_t *before) {
  atomic32_store_release(&standin.busy, 0); /* pairs with the exchange in hold */
  real_pthread_sigmask(SIG_SETMASK, before, NULL);
}

void standin_fork_child(void) { atomic32_store_relaxed(&standin.busy, 0); }

/* ---- sets ---- */

static void exchange(sigset_t *set, int from, int to) {
  int has = sigismember(set, from);
  sigdelset(set, from);
  sigdelset(set, to);
  if (has == 1) sigaddset(set, to);
}

const sigset_t *standin_out(const sigset_t *set, sigset_t *copy) {
  if (set == NULL || standin.number == 0) return set;
  *copy = *set;
  exchange(copy, standin.stop, standin.number);
  return copy;
}

void standin_in(sigset_t *set) {
  if (set != NULL && standin.number != 0) exchange(set, standin.number, standin.stop);
}

int standin_number_in(int signal) { return signal != 0 && signal == standin.number ? standin.stop : signal; }

void standin_open(void) {
  sigset_t stop, before;
  sigemptyset(&stop);
  sigaddset(&stop, standin.stop);
  real_pthread_sigmask(SIG_UNBLOCK, &stop, &before);
  if (sigismember(&before, standin.stop) != 1) return;
  exchange(&stop, standin.stop, standin.number);
  real_pthread_sigmask(SIG_BLOCK, &stop, NULL);
}

/* ---- the handler ---- */

static void on_standin(int signal, siginfo_t *info, void *context);

static bool is_handler(const struct sigaction *action) {
  return action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN;
}

/* Waits for nobody: whoever writes meanwhile writes the other one. */
static struct sigaction last_asked(void) {
  for (;;) {
    unsigned turn = atomic32_load_acquire(&standin.turn); /* pairs with the release in ask_kernel */
    struct sigaction asked = standin.asked[turn % 2];
    read_fence();
    if (atomic32_load_relaxed(&standin.turn) == turn) return asked;
  }
}

/* Between hold and let_go. */
static void ask_kernel(const struct sigaction *action) {
  struct sigaction ours = *action;
  unsigned next = atomic32_load_relaxed(&standin.turn) + 1;
  standin.asked[next % 2] = *action;
  atomic32_store_release(&standin.turn, next);
  standin_out(&action->sa_mask, &ours.sa_mask);
  ours.sa_sigaction = on_standin;
  ours.sa_flags = (action->sa_flags & ~(int)SA_RESETHAND) | SA_SIGINFO;
  real_sigaction(standin.number, &ours, NULL);
}

/* The child of a vfork has the parent's memory, and actions of its own, which end with its exec. */
static bool is_in_vfork(void) { return tl_thread != NULL && tl_thread->tid != os_thread_id(); }

void standin_action(const struct sigaction *action, struct sigaction *old) {
  struct sigaction before;
  sigset_t mask;
  hold(&mask);
  before = last_asked();
  if (action != NULL && !is_in_vfork()) ask_kernel(action);
  let_go(&mask);
  if (old != NULL) *old = before;
}

/* Of those who come with it at the same time, one finds it. */
static struct sigaction take_once(void) {
  sigset_t mask;
  hold(&mask);
  struct sigaction action = last_asked();
  if (action.sa_flags & (int)SA_RESETHAND) ask_kernel(&(struct sigaction){.sa_handler = SIG_DFL});
  let_go(&mask);
  return action;
}

static void on_standin(int signal, siginfo_t *info, void *context) {
  struct sigaction action = last_asked();
  if (action.sa_flags & (int)SA_RESETHAND) action = take_once();
  signal = standin.stop;
  if (!is_handler(&action)) return; /* taken back since this one was sent */
  if (!(action.sa_flags & SA_SIGINFO)) {
    action.sa_handler(signal);
    return;
  }
  info->si_signo = signal;
  action.sa_sigaction(signal, info, context);
}

void standin_init(int stop, const struct sigaction *found) {
  standin.stop = stop;
  standin.number = stop == SIGRTMAX - 6 ? SIGRTMAX - 7 : SIGRTMAX - 6;
  standin_action(found, NULL);
}

/* Only a process's first thread may repeat to the process what the kernel told; others say that it was queued. */
static void send(siginfo_t info, bool here) {
  if (os_signal_is_pending(standin.number)) return;
  int to = here || info.si_code == SI_TKILL ? os_thread_id() : 0;
  if (os_queue_signal(to, standin.number, &info) == 0 || to != 0) return;
  info.si_code = SI_QUEUE;
  os_queue_signal(to, standin.number, &info);
}

/* As the kernel would have done with it: one that is ignored is dropped, one that waits already is not sent twice, one for a thread
 * stays with the thread, and one for the process that is blocked here may be taken by whoever does not block it or waits
 * for it. */
void standin_send_on(const siginfo_t *info, const sigset_t *mask) {
  bool blocked = sigismember(mask, standin.number) == 1;
  struct sigaction action = last_asked();
  sigset_t before;
  if (!blocked && !is_handler(&action)) return;
  hold(&before); /* two threads would both find that none waits */
  send(*info, !blocked);
  let_go(&before);
}
