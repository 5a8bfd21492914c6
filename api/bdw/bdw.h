/* bdw.h - what the files of api/bdw share. Together they are libgc.so.1: the interface of the Boehm-Demers-Weiser collector, 8.2, on
 * this one, for programs that were built for that and are not built again. docs/bdw.md tells users what they get.
 *
 * Each group of that interface has its file, alloc.c, control.c and so on, and a header of the same name with the exported
 * names of the group. tests/bdw checks these declarations against the other library's own header, and the names against its
 * exports. Names and meanings are that library's, as documented; the code is ours.
 *
 * Never: included from outside of api/bdw. The other libraries that are built here know nothing of it. */
#ifndef HOLDFAST_BDW_H
#define HOLDFAST_BDW_H

#include <stddef.h>
#include <stdint.h>

#include "api/object.h"

#define BDW_EXPORT __attribute__((visibility("default")))

/* Typedefs of that library are repeated freely. Its structs and enums stand between #ifndef GC_H and #endif, since
 * tests/bdw/test_header.c includes its gc.h first, and then every header of this folder. */

typedef uintptr_t GC_word;
typedef intptr_t GC_signed_word;
typedef void *(*GC_fn_type)(void *);
typedef void (*GC_warn_proc)(char *message, GC_word arg);
typedef void *(*GC_oom_func)(size_t bytes);

#ifndef GC_H
typedef enum {
  GC_EVENT_START,
  GC_EVENT_MARK_START,
  GC_EVENT_MARK_END,
  GC_EVENT_RECLAIM_START,
  GC_EVENT_RECLAIM_END,
  GC_EVENT_END,
  GC_EVENT_PRE_STOP_WORLD,
  GC_EVENT_POST_STOP_WORLD,
  GC_EVENT_PRE_START_WORLD,
  GC_EVENT_POST_START_WORLD,
  GC_EVENT_THREAD_SUSPENDED,
  GC_EVENT_THREAD_UNSUSPENDED
} GC_EventType;
#endif

/* What GC_init does, once: the environment is read, hooks are set. Any thread; cheap when it is done. (control.c) */
void bdw_init(void);

/* Bytes added to each object of the program, 1 or 0, so that a pointer one past its end keeps it: GC_all_interior_pointers of
 * that library. (params.c) */
extern size_t bdw_extra;

/* What is asked of the heap for an object of so many bytes: that library's alignment, a size above 0, no overflow. */
GC_INLINE size_t bdw_round(size_t bytes) {
  size_t rounded = (bytes + bdw_extra + (bytes == 0) + 15) & ~(size_t)15;
  return GC_LIKELY(rounded >= bytes) ? rounded : SIZE_MAX;
}

/* The heap refuses so many bytes: warns, and returns what the program's GC_oom_fn returns. Stops allowed. (alloc.c) */
void *bdw_refused(size_t bytes);

/* Kinds of that library: what objects hold, and what keeps them. More are made by GC_new_kind. */
enum bdw_kind { KIND_ATOMIC, KIND_NORMAL, KIND_UNCOLLECTABLE, KIND_ATOMIC_UNCOLLECTABLE, KINDS_FIXED };

/* An object of a kind that the program made, for `bytes` as the program counts them; NULL: refused. And the kind of the
 * object in the slot when it is such a one, else -1; stops deferred. (kinds.c) */
void *bdw_kind_alloc(int kind, size_t bytes);
int bdw_kind_of(const struct slot *s);

/* One line through the program's warn procedure; format holds one %p-sized conversion, or none, for arg. (params.c) */
void bdw_warn(const char *format, GC_word arg);

/* One line, the first time for each function: what it cannot do here, and what to do instead. Never silence. (params.c) */
void bdw_unsupported(const char *function, const char *advice);

/* Around what only looks, object_find too, in calls that callbacks may make in a stop. Not library_enter: the thread there may be
 * one of ours, which must not register. A thread that nobody knows is not stopped meanwhile, and what it is told may change. */
GC_INLINE void bdw_look(void) {
  runtime_ensure_init();
  thread_defer_stops();
}
GC_INLINE void bdw_looked(void) { thread_allow_stops(); }

/* Where GC_log_printf and warnings go: 2, or what GC_set_log_fd and the environment say; and whether GC_printf and the log say
 * nothing (GC_QUIET). (misc.c; env.c sets both at init) */
extern int bdw_log_fd;
extern bool bdw_quiet;

/* What the program frees itself is counted, in bytes of slots: GC_free and GC_realloc call it. (stats.c) */
void bdw_count_freed(size_t bytes);

/* GC_gc_no counts up, and what is told "since the last collection" begins again. Called by the resumed hook when the cycle has
 * ended, before bdw_lock is given back. (stats.c) */
void bdw_count_cycle(void);

/* That library's allocation lock, as far as programs see it: no cycle ends while a thread holds it, so hidden pointers
 * that are revealed under it do not die (links, GC_call_with_alloc_lock). Not recursive. Under it nothing is allocated, and
 * no cycle is started. The holder may be stopped, though not for the last time of a cycle; stops are not deferred at the
 * call. In a stop, and in cycle hooks between the next two, the collecting thread has it already. (threads.c) */
void bdw_lock(void), bdw_unlock(void);

/* The same for the thread that is about to stop the world, which holds CYCLE: cycle_stopping_hook begins with the first and
 * cycle_resumed_hook ends with the second. (threads.c) */
void bdw_lock_for_stop(void), bdw_unlock_after_stop(void);

/* What bdw_init does for threads: hooks that only they need, and GC_stackbottom. (threads.c) */
void bdw_threads_init(void);

/* meet.c: a thread of the program is in a call that wants something of the collector (stops allowed); the collector waits for
 * one, the allocation lock held, before the world stops; the world runs again; a child of fork. */
void bdw_meet(void), bdw_meet_await(void), bdw_meet_over(void), bdw_meet_fork_child(void);
bool bdw_lock_is_awaited(void); /* threads.c: threads wait for the allocation lock */

/* Called by control.c's hooks (gc/cycle.h, gc/roots.h). */

/* threads.c: in the stop, when it has begun (roots_program_hook) and just before it ends (cycle_resuming_hook): the program is told
 * of the threads that stand still. */
void bdw_threads_stopped(void), bdw_threads_resuming(void);
/* debug.c: in the last stop, when all is judged: debug objects that were overwritten; and after the cycle, one line for each. */
void bdw_debug_judge(void), bdw_debug_tell(void);
/* roots.c: in the stop, what GC_push_other_roots pushes becomes a root. */
void bdw_roots_gather(void);
/* links.c: a cycle begins; and before a stop that may be its last, right after bdw_lock is taken for it. */
void bdw_final_began(void), bdw_final_stopping(void);
/* finalize.c: the cycle has ended and the world runs again, before bdw_lock is given back. */
void bdw_final_ended(void);
/* finalize.c: a cycle is over, no lock is held, the program runs. */
void bdw_final_over(void);

/* Finalizers of programs run, or their notifier is called, in a thread of theirs that holds nothing of ours: in the slow path of
 * an allocation, and at the end of each call that collects, which calls the first. Nobody else runs them, after the second. */
void bdw_final_attend(void), bdw_final_init(void);

#endif
