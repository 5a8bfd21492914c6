/* threads.h - exported names about threads and their stacks, the allocation lock, fork. What they mean here where it is not
 * what they mean there is told in threads.c. */
#ifndef HOLDFAST_BDW_THREADS_H
#define HOLDFAST_BDW_THREADS_H

#include <pthread.h>
#include <signal.h>

#include "api/bdw/bdw.h"

#ifndef GC_H
struct GC_stack_base {
  void *mem_base;
};
#endif
typedef void *(*GC_stack_base_func)(struct GC_stack_base *base, void *arg);

BDW_EXPORT void GC_alloc_lock(void);
BDW_EXPORT void GC_alloc_unlock(void);
BDW_EXPORT void *GC_call_with_alloc_lock(GC_fn_type fn, void *client_data);

/* Which threads there are. 0 is success, 1 duplicate, 3 unimplemented. */
BDW_EXPORT void GC_allow_register_threads(void);
BDW_EXPORT int GC_register_my_thread(const struct GC_stack_base *base);
BDW_EXPORT int GC_unregister_my_thread(void);
BDW_EXPORT int GC_thread_is_registered(void);

/* Where stacks begin. */
extern BDW_EXPORT char *GC_stackbottom;
BDW_EXPORT int GC_get_stack_base(struct GC_stack_base *base);
BDW_EXPORT void *GC_get_my_stackbottom(struct GC_stack_base *base);
BDW_EXPORT void GC_set_stackbottom(void *thread_handle, const struct GC_stack_base *base);
BDW_EXPORT void *GC_call_with_stack_base(GC_stack_base_func fn, void *arg);
BDW_EXPORT void GC_register_altstack(void *stack, GC_word stack_size, void *altstack, GC_word altstack_size);

BDW_EXPORT void *GC_do_blocking(GC_fn_type fn, void *client_data);
BDW_EXPORT void *GC_call_with_gc_active(GC_fn_type fn, void *client_data);

/* Standing still. */
BDW_EXPORT void GC_suspend_thread(pthread_t thread);
BDW_EXPORT void GC_resume_thread(pthread_t thread);
BDW_EXPORT int GC_is_thread_suspended(pthread_t thread);
BDW_EXPORT void GC_stop_world_external(void);
BDW_EXPORT void GC_start_world_external(void);
BDW_EXPORT void GC_set_suspend_signal(int signal);
BDW_EXPORT int GC_get_suspend_signal(void);
BDW_EXPORT void GC_set_thr_restart_signal(int signal);
BDW_EXPORT int GC_get_thr_restart_signal(void);

BDW_EXPORT void GC_start_mark_threads(void);
BDW_EXPORT void GC_set_markers_count(unsigned markers);

typedef void (*GC_on_thread_event_proc)(GC_EventType event, void *thread_id);
BDW_EXPORT void GC_set_on_thread_event(GC_on_thread_event_proc proc);
BDW_EXPORT GC_on_thread_event_proc GC_get_on_thread_event(void);

BDW_EXPORT void GC_set_handle_fork(int how);
BDW_EXPORT void GC_atfork_prepare(void);
BDW_EXPORT void GC_atfork_parent(void);
BDW_EXPORT void GC_atfork_child(void);

/* What that library's header makes of the names without GC_. */
BDW_EXPORT int GC_pthread_create(pthread_t *id, const pthread_attr_t *attr, void *(*start)(void *), void *arg);
BDW_EXPORT int GC_pthread_join(pthread_t id, void **result);
BDW_EXPORT int GC_pthread_detach(pthread_t id);
BDW_EXPORT int GC_pthread_cancel(pthread_t id);
BDW_EXPORT GC_NORETURN void GC_pthread_exit(void *result);
BDW_EXPORT int GC_pthread_sigmask(int how, const sigset_t *set, sigset_t *old);
BDW_EXPORT void *GC_dlopen(const char *path, int mode);

#endif
