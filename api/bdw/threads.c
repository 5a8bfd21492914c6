/* threads.c - threads, stacks, the allocation lock and fork as the other library has them, on runtime/thread.h.
 * Owns:    the allocation lock (rank PROGRAM), GC_stackbottom.
 * Differs: threads are known without help where pthread_create is ours, and at the latest at their first call; so registering
 *          is allowed, and rarely needed. A stack is searched from the stack pointer to its end, also above the base that the
 *          program names: more is kept, never less. Fork is always handled.
 *
 * The lock. The program runs what it likes under it, and the collector, to stop the world for what may be the last time of a
 * cycle, takes it first. So the holder may be stopped only by others (turns of slowing writers, GC_suspend_thread, which
 * takes it too), and may block in the kernel or wait for its fellows: all run on, only the cycle waits. What would hang:
 *  - The holder wants a cycle, or none (GC_gcollect, an allocation when one is due, fork): CYCLE may be held by who waits
 *    for it. must_not_hold ends the program before it waits.
 *  - The holder ends, or takes the lock again, or another gives it back: told by one line, too.
 *  - It is held at a fork by a thread that is not in the child: the forking thread takes it (fork_with_lock), after CYCLE and before
 *    it closes the gate, at which the holder might wait on its way to give it back.
 * A thread that waits for it may be stopped; whoever gives it back under contention hands it to one that waits, so that
 * threads that take it in turns cannot keep the collector from it for ever (runtime/lock.c). */
#include "api/bdw/threads.h"

#include <dlfcn.h>
#include <unistd.h>

#include "alloc/cache.h"
#include "api/object.h"
#include "gc/cycle.h"
#include "runtime/interpose.h"
#include "runtime/lock.h"
#include "runtime/options.h"
#include "runtime/os.h"
#include "runtime/thread.h"
#include "runtime/world.h"

enum { SUCCESS = 0, DUPLICATE = 1, UNIMPLEMENTED = 3 };

/* ---- the allocation lock ---- */

static struct lock program_lock GC_OWN_DATA = LOCK_INIT(PROGRAM);
static GC_TLS bool holds; /* [own] this thread has the lock */

static void must_not_hold(void) {
  if (holds)
    fatal(
        "the allocation lock is held (GC_call_with_alloc_lock, GC_alloc_lock) by a thread that allocates, collects or "
        "forks");
}

/* A thread that wants something of the collector is where the world may stop. */
static void on_asked(void) {
  must_not_hold();
  bdw_meet();
}

bool bdw_lock_is_awaited(void) { return lock_is_awaited(&program_lock); }

void bdw_lock(void) {
  if (holds) fatal("the allocation lock is taken by a thread that holds it; GC_call_with_alloc_lock does not nest");
  library_enter();
  library_leave();
  lock_acquire_stoppable(&program_lock);
  holds = true;
  thread_allow_stops();
}

void bdw_unlock(void) {
  if (!holds) fatal("GC_alloc_unlock by a thread that does not hold the allocation lock");
  thread_defer_stops();
  holds = false;
  lock_release_stoppable(&program_lock);
}

/* Who holds CYCLE may wait with stops deferred: nobody else stops the world. */
void bdw_lock_for_stop(void) {
  lock_acquire_stoppable(&program_lock);
  holds = true;
}

void bdw_unlock_after_stop(void) {
  holds = false;
  lock_release_stoppable(&program_lock);
}

void GC_alloc_lock(void) { bdw_lock(); }
void GC_alloc_unlock(void) { bdw_unlock(); }

void *GC_call_with_alloc_lock(GC_fn_type fn, void *client_data) {
  bdw_lock();
  void *result = fn(client_data);
  bdw_unlock();
  return result;
}

/* ---- which threads there are ---- */

void GC_allow_register_threads(void) { bdw_init(); }
void GC_start_mark_threads(void) { bdw_init(); } /* they start when there is enough to mark */

/* Below the base nothing is missed: the thread's own stack is known, and of another the mapping around the stack pointer counts. */
int GC_register_my_thread(const struct GC_stack_base *base) {
  (void)base;
  bdw_init();
  if (tl_thread != NULL) return DUPLICATE;
  thread_register_self();
  return SUCCESS;
}

/* The first thread of the process stays registered, and one that is not, is not. */
int GC_unregister_my_thread(void) {
  bdw_init();
  (void)thread_unregister_self();
  return SUCCESS;
}

int GC_thread_is_registered(void) { return tl_thread != NULL; }

static void (*next_exit_hook)(struct thread *t) GC_OWN_DATA;

/* Also called by the stopper, for threads that have gone without a word. */
static void at_thread_exit(struct thread *t) {
  if (t == tl_thread && holds)
    fatal("a thread ends while it holds the allocation lock (GC_call_with_alloc_lock, GC_alloc_lock)");
  next_exit_hook(t);
}

/* One does both. It is set when the library is loaded (GC_SIGNAL), so a suggestion comes too late. */
void GC_set_suspend_signal(int signal) { (void)signal; }
int GC_get_suspend_signal(void) { return world_signal(); }
void GC_set_thr_restart_signal(int signal) { (void)signal; }
int GC_get_thr_restart_signal(void) { return world_signal(); }

/* The environment (GC_MARKERS) comes first, as there. Plain: a cycle that is under way may not see it. */
void GC_set_markers_count(unsigned markers) {
  if (options.markers == 0) options.markers = (int)min_size(markers, MARKERS_MAX);
}

/* ---- where stacks begin ---- */

/* A program that runs fibers without threads says here where the stack begins that it is about to go on (runtime/stacks.c). */
char *GC_stackbottom;

int GC_get_stack_base(struct GC_stack_base *base) {
  pthread_attr_t attr;
  void *lo = NULL;
  size_t size = 0;
  if (tl_thread != NULL && tl_thread->stack_base != NULL) {
    base->mem_base = tl_thread->stack_base;
    return SUCCESS;
  }
  if (pthread_getattr_np(pthread_self(), &attr) != 0) return UNIMPLEMENTED;
  pthread_attr_getstack(&attr, &lo, &size);
  pthread_attr_destroy(&attr);
  base->mem_base = (char *)lo + size;
  return SUCCESS;
}

static char *bottom_of(struct thread *t) {
  struct range mapping;
  if (t->said_at != NULL && *t->said_at != NULL) return *t->said_at;
  if (t->stack_base != NULL) return t->stack_base;
  return os_mapping_of(__builtin_frame_address(0), &mapping) ? mapping.hi : NULL;
}

void *GC_get_my_stackbottom(struct GC_stack_base *base) {
  bdw_init();
  struct thread *t = thread_register_self();
  base->mem_base = bottom_of(t);
  return t;
}

/* The thread is the caller, or stands still, since the caller holds the allocation lock and knows what the other does. */
void GC_set_stackbottom(void *thread_handle, const struct GC_stack_base *base) {
  bdw_init();
  struct thread *t = thread_handle != NULL ? thread_handle : thread_register_self();
  if (t->said_at == NULL) {
    t->said = base->mem_base;
    t->said_at = &t->said;
  }
  *t->said_at = base->mem_base;
}

GC_NOINLINE void *GC_call_with_stack_base(GC_stack_base_func fn, void *arg) {
  struct GC_stack_base base = {__builtin_frame_address(0)};
  void *result = fn(&base, arg);
  __asm__ volatile("" : : "r"(&base) : "memory"); /* the frame lasts as long as the call */
  return result;
}

/* The kernel tells which signal stack a thread is on. */
void GC_register_altstack(void *stack, GC_word stack_size, void *altstack, GC_word altstack_size) {
  (void)stack;
  (void)stack_size;
  (void)altstack;
  (void)altstack_size;
}

/* ---- blocking ---- */

/* Allocation finds no slot meanwhile, so that its fast path needs no test (api/threads.c). */
static void hide_cache(void) { tl_cache = (struct cache *)(uintptr_t)&empty_cache; }
static void show_cache(void) {
  if (tl_thread->cache != NULL) tl_cache = tl_thread->cache;
}

struct call {
  GC_fn_type fn;
  void *data; /* then the result */
};

/* The caller's frame, and with it the data, is the last that counts. */
static GC_NOINLINE void call_blocking(struct call *c) {
  thread_block(__builtin_dwarf_cfa());
  hide_cache();
  c->data = c->fn(c->data);
  thread_unblock();
  show_cache();
}

void *GC_do_blocking(GC_fn_type fn, void *client_data) {
  struct call c = {fn, client_data};
  bdw_init();
  call_blocking(&c);
  return c.data;
}

/* While the function runs, all of the stack counts, with the frames of what blocks; then again only what did before. */
void *GC_call_with_gc_active(GC_fn_type fn, void *client_data) {
  struct blocked_at where;
  bdw_init();
  if (!thread_is_blocked()) {
    thread_register_self();
    return fn(client_data);
  }
  thread_unblock_to_call(&where);
  show_cache();
  void *result = fn(client_data);
  thread_block_again(&where);
  hide_cache();
  return result;
}

/* ---- standing still ---- */

static struct thread *find(pthread_t id) {
  struct thread *t = threads_first();
  while (t != NULL && (t->state != THREAD_RUNNING || t->tp != (char *)id)) t = threads_next(t);
  return t;
}

/* Under the lock, so that it does not stand still with it. The stop is what it finds the flag in; one that is in a blocking call finds
 * it at the end of that, and the caller itself when it has let go of all. */
void GC_suspend_thread(pthread_t thread) {
  library_enter();
  library_leave();
  cycle_keep_out();
  bdw_lock_for_stop();
  threads_lock();
  struct thread *t = find(thread), *self = tl_thread;
  if (t != NULL) thread_suspend(t);
  threads_unlock();
  if (t != NULL && t != self) {
    world_stop(__builtin_frame_address(0), true);
    world_start();
  }
  bdw_unlock_after_stop();
  cycle_let_in();
  if (t == self) world_park_self();
}

void GC_resume_thread(pthread_t thread) {
  library_enter();
  library_leave();
  threads_lock();
  struct thread *t = find(thread);
  if (t != NULL) thread_resume(t);
  threads_unlock();
}

int GC_is_thread_suspended(pthread_t thread) {
  library_enter();
  library_leave();
  threads_lock();
  struct thread *t = find(thread);
  int suspended = t != NULL && atomic32_load_relaxed(&t->suspended) != 0;
  threads_unlock();
  return suspended;
}

static GC_TLS bool has_stopped_world; /* [own] between the next two */

void GC_stop_world_external(void) {
  library_enter();
  library_leave();
  cycle_keep_out();
  bdw_lock_for_stop();
  world_stop(__builtin_frame_address(0), false);
  has_stopped_world = true;
}

void GC_start_world_external(void) {
  if (!has_stopped_world) fatal("GC_start_world_external by a thread that has not called GC_stop_world_external");
  has_stopped_world = false;
  world_start();
  bdw_unlock_after_stop();
  cycle_let_in();
}

static GC_on_thread_event_proc on_thread_event GC_OWN_DATA; /* [L:PROGRAM] */

void GC_set_on_thread_event(GC_on_thread_event_proc proc) {
  bdw_lock();
  on_thread_event = proc;
  bdw_unlock();
}

GC_on_thread_event_proc GC_get_on_thread_event(void) {
  bdw_lock();
  GC_on_thread_event_proc proc = on_thread_event;
  bdw_unlock();
  return proc;
}

/* Of the threads that this stop keeps from running; those in blocking calls are not. */
static void tell_of_threads(GC_EventType event) {
  if (on_thread_event == NULL) return;
  for (struct thread *t = threads_first(); t != NULL; t = threads_next(t))
    if (t->state == THREAD_RUNNING && t != tl_thread && atomic32_load_relaxed(&t->blocked) != THREAD_HELD)
      on_thread_event(event, t->tp);
}

void bdw_threads_stopped(void) { tell_of_threads(GC_EVENT_THREAD_SUSPENDED); }
void bdw_threads_resuming(void) { tell_of_threads(GC_EVENT_THREAD_UNSUSPENDED); }

/* ---- fork ---- */

static bool by_hand GC_OWN_DATA; /* GC_set_handle_fork(-1): the program calls the three around each fork */

/* The C library tells us of each fork, whatever is set here; the program's calls do something only if it has said that it makes
 * them: it may fork by other means. */
void GC_set_handle_fork(int how) { by_hand = how < 0; }

void GC_atfork_prepare(void) {
  bdw_init();
  if (by_hand) fork_begin_by_hand();
}

/* Of those who waited for the lock nobody is left. */
static void forget_waiters(void) {
  atomic32_store_relaxed(&program_lock.waiters, 0);
  bdw_meet_fork_child();
}

void GC_atfork_parent(void) { fork_end_by_hand(false); }
void GC_atfork_child(void) {
  forget_waiters();
  fork_end_by_hand(true);
}

static void fork_with_lock(bool before) {
  if (before)
    bdw_lock_for_stop();
  else
    bdw_unlock_after_stop();
}

/* ---- names of the C library ---- */

int GC_pthread_create(pthread_t *id, const pthread_attr_t *attr, void *(*start)(void *), void *arg) {
  return interpose_create(id, attr, start, arg);
}
int GC_pthread_join(pthread_t id, void **result) { return interpose_join(id, result); }
int GC_pthread_detach(pthread_t id) { return interpose_detach(id); }
int GC_pthread_cancel(pthread_t id) { return pthread_cancel(id); }
void GC_pthread_exit(void *result) { interpose_exit(result); }
int GC_pthread_sigmask(int how, const sigset_t *set, sigset_t *old) { return interpose_sigmask(how, set, old); }
void *GC_dlopen(const char *path, int mode) { return dlopen(path, mode); }

void bdw_threads_init(void) {
  struct thread *t = thread_register_self();
  cycle_asked_hook = on_asked;
  cycle_forking_hook = fork_with_lock;
  next_exit_hook = thread_exit_hook;
  thread_exit_hook = at_thread_exit;
  pthread_atfork(NULL, NULL, forget_waiters);
  if (os_thread_id() != (int)getpid()) return;
  if (GC_stackbottom == NULL) GC_stackbottom = t->stack_base;
  t->said_at = &GC_stackbottom;
}
