/* thread.c - see thread.h: registration, exit, the library's own threads. */
#include "runtime/thread.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "runtime/interpose.h"
#include "runtime/lock.h"
#include "runtime/meta.h"
#include "runtime/os.h"
#include "runtime/stacks.h"
#include "runtime/standin.h"
#include "runtime/world.h"

GC_TLS struct thread *tl_thread;
void (*thread_exit_hook)(struct thread *t) GC_OWN_DATA;

static struct {
  struct lock lock;
  struct thread *first;  /* [L:THREADS] */
  struct thread *unused; /* [L:THREADS] records to use again */
  pthread_key_t key;     /* [const] after init; its destructor is our notice of a thread's end */
  bool strangers;        /* [L:THREADS] a thread that we did not create was registered: it may end unnoticed */
} threads GC_OWN_DATA = {LOCK_INIT(THREADS), NULL, NULL, 0, false};

extern void *__libc_stack_end; /* glibc: where the main thread's stack began */

static void list_add(struct thread *t) {
  GC_CHECK_HELD(&threads.lock);
  t->prev = NULL;
  t->next = threads.first;
  if (t->next != NULL) t->next->prev = t;
  threads.first = t;
}

static void list_remove(struct thread *t) {
  GC_CHECK_HELD(&threads.lock);
  if (t->prev != NULL)
    t->prev->next = t->next;
  else
    threads.first = t->next;
  if (t->next != NULL) t->next->prev = t->prev;
  t->next = threads.unused;
  threads.unused = t;
}

static struct thread *new_record(void) {
  struct thread *t = threads.unused;
  GC_CHECK_HELD(&threads.lock);
  if (t != NULL)
    threads.unused = t->next;
  else
    t = meta_alloc(sizeof *t);
  if (t != NULL) memset(t, 0, sizeof *t);
  return t;
}

struct thread *thread_create_record(void *(*start)(void *), void *arg, bool detached) {
  lock_acquire_stoppable(&threads.lock);
  struct thread *t = new_record();
  if (t != NULL) {
    t->state = THREAD_STARTING;
    t->start = start;
    t->start_arg = arg;
    t->detached = detached;
    list_add(t);
  }
  lock_release_stoppable(&threads.lock);
  return t;
}

void thread_forget(struct thread *t) {
  lock_acquire_stoppable(&threads.lock);
  list_remove(t);
  lock_release_stoppable(&threads.lock);
}

/* The stack that the calling thread was created with. (Asking may use malloc; the world runs.) The C library knows
 * nothing of a raw clone's, and tells the main thread's: then none is known, and each stop looks at the mapping that
 * the stack pointer lies in. A thread that first comes here on a coroutine's stack is taken for such a one, too, unless
 * it was created by pthread_create. */
static struct range own_stack(void) {
  pthread_attr_t attr;
  void *lo = NULL;
  size_t size = 0;
  char *here = __builtin_frame_address(0);
  /* Of the main thread it reads a file, and no descriptor may be left. Not from address 0 on: a coroutine's stack would
   * count as its own. */
  if (pthread_getattr_np(pthread_self(), &attr) != 0) return (struct range){here - 64 * KIB, here};
  pthread_attr_getstack(&attr, &lo, &size);
  pthread_attr_destroy(&attr);
  return (struct range){lo, (char *)lo + size};
}

/* A kernel id given anew: who had it before has ended without its destructors. Its signals would go to the new one. */
static void bury_namesake(int tid) {
  GC_CHECK_HELD(&threads.lock);
  if (!threads.strangers) return;
  for (struct thread *t = threads.first; t != NULL; t = t->next)
    if (t->tid == tid && t->state == THREAD_RUNNING) t->state = THREAD_DEAD; /* off the list at the next stop */
}

/* Makes t the record of the calling thread. tl_thread is set last: before that the stop handler ignores us,
 * and before state is RUNNING (under the lock) nobody sends the signal. */
static void become(struct thread *t, struct range stack) {
  t->tid = os_thread_id();
  t->stack_base = stack.hi;
  t->stack_lo = stack.lo;
  t->tp = (char *)pthread_self(); /* glibc: the address of the control block */
  t->defer = 1;                   /* until the lock is released below */
  tl_thread = t;
}

static void announce(struct thread *t) {
  if (pthread_setspecific(threads.key, t) != 0) fatal("no memory to watch for the end of a thread");
  standin_open();
}

/* The lowest frame that can hold a program's pointer is the start routine's, below this one. */
GC_ENTRY GC_NOINLINE void *thread_run(void *record) {
  struct thread *t = record;
  struct range stack = own_stack();
  stack.hi = __builtin_frame_address(0);
  lock_acquire_stoppable(&threads.lock); /* tl_thread is NULL: waits while the world is stopped */
  bury_namesake(os_thread_id());
  become(t, stack);
  t->state = THREAD_RUNNING;
  lock_release_stoppable(&threads.lock);
  announce(t);
  void *result = t->start(t->start_arg);
  thread_keep_result(result);
  return result;
}

/* A thread that leaves from a blocking call is a root again. */
void thread_keep_result(void *result) {
  struct thread *t = tl_thread;
  if (t == NULL) return;
  if (atomic32_load_relaxed(&t->blocked) != THREAD_NOT_BLOCKED) thread_unblock();
  t->start_arg = result;
}

static struct thread *register_running(struct range stack) {
  lock_acquire_stoppable(&threads.lock);
  struct thread *t = new_record();
  if (t == NULL) fatal("no memory for the record of a thread");
  bury_namesake(os_thread_id());
  threads.strangers |= threads.first != NULL; /* after the main thread */
  become(t, stack);
  t->state = THREAD_RUNNING;
  t->detached = true; /* not created by us: its result is not ours to keep */
  list_add(t);
  lock_release_stoppable(&threads.lock);
  announce(t);
  return t;
}

static struct range strangers_stack(void) {
  struct range stack = own_stack();
  char *here = __builtin_frame_address(0);
  bool known = here >= stack.lo && here < stack.hi;
  /* The main thread, first met on a coroutine's or a signal stack, has its own all the same; a raw clone has not. */
  return known || os_thread_id() == getpid() ? stack : (struct range){NULL, NULL};
}

static GC_TLS bool is_internal; /* [own] one of ours, which is never stopped */

void thread_stay_internal(void) { is_internal = true; }

/* A thread of ours that registered would be sent its own stops. */
static struct thread *register_stranger(void) {
  if (is_internal)
    fatal("a callback of a collection makes a call that is for threads of the program: it runs in the collector's");
  return register_running(strangers_stack());
}

struct thread *thread_register_self(void) {
  struct thread *t = tl_thread;
  if (GC_UNLIKELY(t == NULL)) return register_stranger();
  if (GC_UNLIKELY(atomic32_load_relaxed(&t->blocked) != THREAD_NOT_BLOCKED))
    fatal("a call into the library between gc_blocking_begin and gc_blocking_end, or inside GC_do_blocking");
  return t;
}

static GC_TLS unsigned exit_rounds; /* of this thread, over all its registrations */

/* wanted: somebody may still ask for the thread's result. */
static void leave(struct thread *t, bool wanted) {
  thread_defer_stops();
  stacks_forget_thread(t);
  if (thread_exit_hook != NULL) thread_exit_hook(t);
  thread_allow_stops();
  lock_acquire_stoppable(&threads.lock);
  tl_thread = NULL; /* from here on the stop handler ignores us */
  if (wanted)
    t->state = THREAD_ENDED;
  else
    list_remove(t);
  lock_release_stoppable(&threads.lock);
}

/* Key destructors run in rounds; ours asks to be called again twice, so that the program's own may still
 * allocate. A thread that allocates even later registers anew and is unregistered by a later round. A thread that was
 * cancelled in a blocking call, or left from one, is no longer blocked. */
static void at_thread_exit(void *record) {
  struct thread *t = record;
  if (t != tl_thread) return; /* the child of a fork */
  if (atomic32_load_relaxed(&t->blocked) != THREAD_NOT_BLOCKED) thread_unblock();
  if (++exit_rounds < 3 && pthread_setspecific(threads.key, t) == 0) return;
  leave(t, !t->detached);
}

int thread_unregister_self(void) {
  struct thread *t = tl_thread;
  if (t == NULL) return ESRCH;
  (void)thread_register_self(); /* not when blocked */
  if (t->tid == getpid()) return EPERM;
  if (t->stack != NULL) return EBUSY;
  pthread_setspecific(threads.key, NULL);
  leave(t, false);
  return 0;
}

/* The record of a thread that can still be joined. */
static struct thread *find_by_id(pthread_t id) {
  struct thread *t = threads.first;
  while (t != NULL && (t->tp != (char *)id || t->detached)) t = t->next;
  return t;
}

void thread_result_fetched(pthread_t id) {
  lock_acquire_stoppable(&threads.lock);
  struct thread *t = find_by_id(id);
  if (t != NULL && t->state == THREAD_ENDED) list_remove(t);
  lock_release_stoppable(&threads.lock);
}

void thread_result_unwanted(pthread_t id) {
  lock_acquire_stoppable(&threads.lock);
  struct thread *t = find_by_id(id);
  if (t != NULL) t->detached = true;
  if (t != NULL && t->state == THREAD_ENDED) list_remove(t);
  lock_release_stoppable(&threads.lock);
}

void threads_init(void) {
  if (pthread_key_create(&threads.key, at_thread_exit) != 0) fatal("no thread key is left");
  struct range stack = own_stack();
  if (os_thread_id() == getpid()) stack.hi = (char *)__libc_stack_end; /* not when a thread loads the library */
  register_running(stack);
}

void threads_bury(void) {
  GC_CHECK_HELD(&threads.lock);
  for (struct thread *t = threads.first, *next; t != NULL; t = next) {
    next = t->next;
    if (t->state != THREAD_DEAD) continue;
    stacks_forget_thread(t);
    if (thread_exit_hook != NULL) thread_exit_hook(t);
    list_remove(t);
  }
}

bool threads_is_only_one(void) {
  unsigned running = 0;
  lock_acquire_stoppable(&threads.lock);
  for (struct thread *t = threads.first; t != NULL; t = t->next)
    running += t->state == THREAD_RUNNING || t->state == THREAD_STARTING;
  lock_release_stoppable(&threads.lock);
  return running <= 1;
}

void threads_lock(void) { lock_acquire_stoppable(&threads.lock); }
void threads_unlock(void) { lock_release_stoppable(&threads.lock); }
struct thread *threads_first(void) {
  return threads.first;
}

void thread_take_pending_stop(struct thread *t) {
  atomic32_store_relaxed(&t->pending, 0);
  world_park_self();
}

int thread_start_internal(void *(*body)(void *), void *arg) {
  return thread_start_internal_sized(body, arg, 256 * KIB);
}

int thread_start_internal_sized(void *(*body)(void *), void *arg, size_t stack) {
  sigset_t all;
  pthread_attr_t attr;
  pthread_t id;
  /* The stop signal, too: it may be one of the program's, whose handler has no business here. In the attributes, not in the
   * caller's mask: the caller may have to wait for a lock of the loader that the stopper holds. */
  sigfillset(&all);
  pthread_attr_init(&attr);
  pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attr, stack);
  int r = pthread_attr_setsigmask_np(&attr, &all);
  if (r == 0) r = real_pthread_create(&id, &attr, body, arg);
  pthread_attr_destroy(&attr);
  return r;
}

/* ---- fork ---- */

atomic_u32 thread_gate GC_OWN_DATA;
static struct thread *gate_owner GC_OWN_DATA; /* [const while the gate is closed] */

void thread_wait_at_gate(struct thread *t) {
  while (atomic32_load_acquire(&thread_gate) != 0 && gate_owner != t) {
    thread_allow_stops();
    os_futex_wait(&thread_gate, 1, 0);
    t->defer = t->defer + 1;
    signal_fence();
  }
}

void threads_close_gate(void) {
  gate_owner = tl_thread;
  atomic32_store_release(&thread_gate, 1); /* pairs with the acquire in thread_defer_stops */
}

void threads_open_gate(void) {
  atomic32_store_release(&thread_gate, 0);
  os_futex_wake(&thread_gate, ~0u >> 1);
}

void threads_fork_child(void) {
  struct thread *self = tl_thread;
  for (struct thread *t = threads.first, *next; t != NULL; t = next) {
    next = t->next;
    if (t == self) continue;
    stacks_forget_thread(t);
    list_remove(t);
  }
  if (self != NULL) self->tid = os_thread_id();
}
