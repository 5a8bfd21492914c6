/* gc_thread.h - what a program may tell Holdfast about its threads and stacks.
 *
 * Most programs need none of it: threads are found without help, whoever creates them, at the latest at their first
 * allocation. These calls are for threads that end without their destructors, for long system calls that stops
 * should not interrupt, and for coroutines. docs/threads.md has the whole story.
 *
 * Signals: no call is async-signal-safe. Misuse that a call cannot return as an error ends the program with one line on
 * stderr. */
#ifndef HOLDFAST_GC_THREAD_H
#define HOLDFAST_GC_THREAD_H

#include "gc_alloc.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Makes the calling thread known: its stack, registers and thread-local storage are roots from here on, and it is stopped
 * when a cycle asks for it. Needed only by a thread that holds objects before its first call of the library and was not
 * created by this program's pthread_create or thrd_create. Such a thread must have thread-local storage of its own (a raw
 * clone: CLONE_SETTLS).
 * Returns 0, or -1 with errno EEXIST when the thread is registered already; nothing has changed then. */
GC_API int gc_thread_register(void);

/* Lets the calling thread go: what it holds keeps nothing alive from here on, and stops leave it alone. A thread
 * whose end runs no destructors of thread-specific data (a raw clone) calls it before it ends; if it does not, the next
 * cycle after its end notices, but until then its stack and thread-local storage must stay mapped. For others it
 * is optional. Any later call of the library but this one registers the thread again. The result of a thread that
 * unregistered is no root while it waits to be joined.
 * Returns 0, or -1 with errno
 *   ESRCH  the thread is not registered;
 *   EPERM  it is the first thread of the process, which stays registered;
 *   EBUSY  it runs on a stack that it entered by gc_stack_switch. */
GC_API int gc_thread_unregister(void);

/* Between the two the calling thread is not stopped, signalled or waited for: for system calls that may take long, and
 * should not return early with EINTR or wake a processor for each cycle. What its stack held at the call of gc_blocking_begin,
 * from the caller's frame up, and what registers held that a function must preserve, are roots, and so is its thread-local
 * storage; what it finds later is not.
 *
 * So in between the thread may read and write inside objects that are reachable anyway, for example let read(2) fill one,
 * but must not load the address of an object from memory that others, or it itself, may change, nor store one
 * anywhere. The same goes for signal handlers that interrupt it: block their signals before if they use objects. It must
 * not touch for the first time the thread-local storage of a library that was loaded at run time.
 *
 * gc_blocking_end waits while the world is stopped. The thread need not be registered before. Calls do not nest. A
 * thread that is cancelled or calls pthread_exit in between is no longer blocked when its thread-specific data are destroyed;
 * a cleanup handler that uses the library or objects calls gc_blocking_end first. Leaving by longjmp or an exception: the
 * same. errno is kept by both.
 * Misuse, each with one line on stderr and abort: a second gc_blocking_begin, any other call of the library in between
 * that allocates, frees, collects, reads statistics, or creates a thread or a process by fork (pthread_join, signal
 * masks, posix_spawn, exec and system are allowed), gc_blocking_end without gc_blocking_begin. Between the two, an allocation is refused that way always,
 * however small. */
GC_API void gc_blocking_begin(void);
GC_API void gc_blocking_end(void);

/* ---- coroutines ----
 *
 * A program that runs code on stacks of its own registers each of them, and tells where it goes before it goes:
 *
 *     gc_stack *s = gc_stack_register(memory, memory + size);
 *     ...
 *     gc_stack_switch(s);              // then at once:
 *     swapcontext(&here, &coroutine);
 *     ...                              // and inside, on the way back:
 *     gc_stack_switch(NULL);
 *     swapcontext(&coroutine, &here);
 *
 * Then only the parts in use are searched, of every registered stack, whether or not anybody runs on it. Without, all
 * works that does not depend on coroutines that sleep: the stack a thread stands on is found by its stack pointer. */
typedef struct gc_stack gc_stack;

/* Registers [lo, hi) as a stack; it grows down from hi. Until a thread first enters it, its highest 64 KiB count as in use.
 * The memory must stay mapped until it is unregistered, and may come from anywhere, malloc, mmap, or another stack; not
 * from noscan objects that nothing else keeps alive. Registering does not keep an object alive that contains the stack.
 * Returns NULL with errno EINVAL (hi is not above lo) or ENOMEM (no memory for the record, or 262,144 are registered). */
GC_API GC_UNUSED_RESULT gc_stack *gc_stack_register(void *lo, void *hi);

/* Forgets the stack; what it held keeps nothing alive from here on. NULL is ignored. From any thread.
 * A value that is not a registered stack, or one that a thread runs on, ends the program with one line on stderr. */
GC_API void gc_stack_unregister(gc_stack *s);

/* Says that the calling thread is about to go on on the stack `to`; NULL: on its own. Called just before the switch,
 * on the stack that is left. What is live on that one from the caller's frame up, and in registers that a function must
 * preserve, is kept until a thread comes back to it. Between this call and the switch the thread must not load the address of an
 * object from memory for use after it comes back: have it in a variable before. The context that the switch fills
 * may lie anywhere, also in memory from malloc.
 * A stack may be entered by another thread than the one that left it, once that one has left it. To the stack that the thread
 * is on already: does nothing. A thread that ends on a registered stack leaves it empty, and in the child of a fork so are
 * those that other threads ran on.
 * On a signal stack the parts in use of what was interrupted are not known: meanwhile the stack that the thread runs on is
 * searched whole. So is one that was entered without this call.
 * A value that is not a registered stack, or one that another thread runs on, ends the program with one line on stderr. */
GC_API void gc_stack_switch(gc_stack *to);

#ifdef __cplusplus
}
#endif
#endif
