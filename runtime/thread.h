/* thread.h - the threads of the program: who they are, where their stacks are, and when they may be
 * stopped. Creation is interposed (interpose.c); the main thread registers at load; any other thread
 * registers itself at its first allocation. The library's own threads are never on the list.
 *
 * The rule of deferred stops: a thread that is inside the library anywhere but on the allocation fast path
 * has defer > 0; a stop signal then only leaves a note (pending), honoured when defer falls to 0. So a
 * stopped thread holds no lock of ours and has left all shared structures whole.       INV-STOP-1 */
#ifndef HOLDFAST_THREAD_H
#define HOLDFAST_THREAD_H

#include <pthread.h>

#include "runtime/atomic.h"
#include "runtime/check.h"
#include "runtime/torture.h"

struct cache;    /* alloc/cache.h; carried here for the collector, never looked into */
struct gc_stack; /* runtime/stacks.h */

/* Where a stack was left by a thread that goes on elsewhere, or that sleeps in the kernel and is not stopped: what is
 * live on it lies at or above sp, or was in a register. The registers are copied, with the frames of ours that held
 * them, since these frames are dead as soon as the call has returned. */
#define LEFT_WORDS 48
struct left_at {
  char *sp;     /* NULL: never left */
  size_t words; /* used of the next */
  uintptr_t spilled[LEFT_WORDS];
};

/* state of a thread        set by                            scanned as
 *   THREAD_STARTING        its creator, before it runs       its start argument
 *   THREAD_RUNNING         itself, under THREADS             stack, registers, TLS, start argument
 *   THREAD_ENDED           itself at exit, when somebody may still join it  its result
 *   THREAD_DEAD            the stopper, when the kernel no longer knows it: ended without its destructors; nothing
 *   (off the list)         itself at exit; the child of a fork for the others             */
enum thread_state { THREAD_STARTING, THREAD_RUNNING, THREAD_ENDED, THREAD_DEAD };

struct thread {
  struct thread *next, *prev; /* [L:THREADS] */
  enum thread_state state;    /* [L:THREADS] */
  int tid;                    /* [L:THREADS] kernel id */
  char *stack_base;           /* [const] once running: highest address of the stack that is scanned; NULL: unknown */
  char *stack_lo;             /* [const] the lowest it can reach; a stack pointer outside is on another stack */
  char *tp;                   /* [const] thread pointer: the thread control block */
  void *(*start)(void *);     /* [const] what pthread_create was asked to run */
  void *start_arg;            /* [own] its argument, a root until the thread has loaded it; then its result */
  bool detached;              /* [L:THREADS] nobody will fetch the result */
  struct cache *cache;        /* [own; STW] */

  volatile unsigned defer; /* [own] also read by the stop handler, which runs on this thread */
  atomic_u32 pending;      /* [A] set by the handler, taken when defer falls to 0; the stopper looks at it too */

  atomic_u32 stopped;    /* [A] number of the stop this thread last acknowledged; released after sp */
  atomic_word entries;   /* [own, read by the collector] how often it came inside the library */
  uint64_t entries_seen; /* [L:THREADS] of these, before the last stop */
  atomic_u32 busy;       /* [A; written by the stopper] 1: came in since the stop before, so it is probably running */
  atomic_u32 parked;     /* [A] 1: in park(), will see a new stop without a signal */
  char *sp;              /* [STW] all live stack lies at or above it */
  struct range other_stack; /* [STW] the used part of the signal stack it runs on; empty if none */

  atomic_u32
      blocked; /* [A] enum thread_blocked: itself between NOT and BLOCKED, the stopper between BLOCKED and HELD */
  struct left_at blocked_at;        /* [own while NOT blocked; else const] where gc_blocking_begin was called */
  struct range blocked_other_stack; /* [same] as other_stack, then */
  atomic_u32 suspended;             /* [A; set L:CYCLE] 1: the program wants it to stand still; futex of the thread */

  char *sleeps_at;            /* [own; read by the stop handler, which runs on this thread] sleep.h; NULL: awake */
  volatile bool sleeps_again; /* [own; set by the handler] a stop ended the sleep */

  struct gc_stack *stack; /* [own; STW] the coroutine stack it said it runs on; NULL: the thread's own */
  struct gc_stack *last;  /* [own; STW] the one before: it may still be there (stacks.h) */
  struct left_at own_at;  /* [own; STW] where it left its own stack for a coroutine's */

  char **
      said_at; /* [L:PROGRAM, const in between; STW] where the program keeps the highest address of the stack that the thread
                     runs on, if it tells it so (stacks.c); NULL: it does not */
  char *said; /* [L:PROGRAM; STW] a place for it */
};

/* A thread that is blocked does not take part in stops: no signal is sent to it, and it is not waited for. The stopper
 * turns BLOCKED into HELD for as long as the stop lasts, the thread BLOCKED into NOT when it wants to go on: the one
 * of both that comes second sees the other's value and waits, or sends the signal.   INV-BLOCKED-1 */
enum thread_blocked { THREAD_NOT_BLOCKED, THREAD_BLOCKED, THREAD_HELD };

/* This thread's record; NULL until it registers, and for the library's own threads. Read by the handler. */
extern GC_TLS struct thread *tl_thread;

/* While a fork is under way no other thread may come inside the library (gc/cycle.c): the gate is closed. */
extern atomic_u32 thread_gate; /* [A] 0 open, 1 closed; futex of those who wait */
void thread_wait_at_gate(struct thread *t);

GC_INLINE void thread_defer_stops(void) {
  struct thread *t = tl_thread;
  if (t == NULL) return; /* one of our own threads: nobody stops it */
  t->defer = t->defer + 1;
  if (t->defer == 1) atomic_store_release(&t->entries, atomic_load_relaxed(&t->entries) + 1); /* as below */
  signal_fence();
  /* After the increment: a stop that closes the gate either waits for us to leave, or came before it, and
   * then the closed gate is seen here. */
  TORTURE_STEP();
  if (GC_UNLIKELY(atomic32_load_acquire(&thread_gate) != 0) && t->defer == 1) thread_wait_at_gate(t);
}

void thread_take_pending_stop(struct thread *t);

GC_INLINE void thread_allow_stops(void) {
  struct thread *t = tl_thread;
  if (t == NULL) return;
  GC_CHECK(t->defer > 0);
  signal_fence();
  /* Released, for wait_for_leaver (world_linux.c): who sees us outside also sees what we stored inside. */
  atomic32_store_release(&t->defer, t->defer - 1);
  signal_fence(); /* a signal before the next load parks in the handler; one before this line left pending */
  TORTURE_STEP();
  if (GC_UNLIKELY(atomic32_load_relaxed(&t->pending) != 0) && t->defer == 0) thread_take_pending_stop(t);
}

void threads_init(void);                   /* registers the calling thread as the main one */
struct thread *thread_register_self(void); /* for a thread made behind our back; also the common look-up; ends the
                                              program when the thread is blocked */

/* Lets the calling thread go, as at its end; it may register again. 0, or ESRCH (not registered), EPERM (the process's
 * first thread), EBUSY (on a coroutine's stack). */
int thread_unregister_self(void);

/* top: the caller's caller's stack pointer; all that lives there on the stack lies at or above it. */
void thread_block(char *top);
void thread_unblock(void);

/* For a call back into the program from a blocking call: between the two the thread is not blocked, and afterwards it is again
 * where it was. */
struct blocked_at {
  struct left_at at;
  struct range other_stack;
};
GC_INLINE bool thread_is_blocked(void) {
  return tl_thread != NULL && atomic32_load_relaxed(&tl_thread->blocked) != THREAD_NOT_BLOCKED;
}
void thread_unblock_to_call(struct blocked_at *where);
void thread_block_again(const struct blocked_at *where);

/* Takes effect at the next stop of the thread; of the calling one, when it next parks itself (world_park_self). CYCLE is held for
 * the first. While it stands still it takes no part in stops, as if it were blocked. */
void thread_suspend(struct thread *t);
void thread_resume(struct thread *t);

/* For interpose.c. create: a record in state STARTING, NULL when refused. forget: the creation failed. run:
 * the body of the new thread; returns the start routine's result. */
struct thread *thread_create_record(void *(*start)(void *), void *arg, bool detached);
void thread_forget(struct thread *t);
void *thread_run(void *record);

/* The result of a thread is a root from pthread_exit or return until it is joined, or was never wanted. */
void thread_keep_result(void *result);
void thread_result_fetched(pthread_t id);
void thread_result_unwanted(pthread_t id);

/* What alloc/ must do when a thread leaves, registered by api/init.c: called with stops deferred. */
extern void (*thread_exit_hook)(struct thread *t);

/* The list, for the stopper: lock, walk, unlock. */
void threads_lock(void);
void threads_unlock(void);
struct thread *threads_first(void);
bool threads_is_only_one(void); /* the caller is the only thread of the program */
void threads_bury(void);        /* takes the dead off the list, their caches go back */
GC_INLINE struct thread *threads_next(struct thread *t) { return t->next; }

/* Starts a thread of the library's own: no signals, not registered, detached. 0 or an errno value. sized: with a stack
 * of so many bytes, since it will run what is the program's. */
int thread_start_internal(void *(*body)(void *), void *arg);
void thread_stay_internal(
    void); /* by such a thread, first: that it registers is from then on a mistake, which ends the program */
int thread_start_internal_sized(void *(*body)(void *), void *arg, size_t stack);

/* fork: the gate, closed with the world stopped, keeps all threads but the caller out; the child keeps only
 * the calling thread. */
void threads_close_gate(void);
void threads_open_gate(void);
void threads_fork_child(void);

#endif
