/* gc_alloc.h - the calls a program makes to Holdfast.
 *
 * Memory from these calls need not be freed: an object stays as long as a word in a register, on a
 * thread's stack, in thread-local storage, in the data of a loaded object, in a registered root or in a
 * scanned object holds an address inside it. One past the end does not count unless the option
 * GC_ONE_PAST_END is set. Memory from malloc is not searched: a pointer kept only there is not seen.
 *
 * Alignment: 16 bytes, except that sizes 1 to 8 and 17 to 24 may be aligned to 8 only, and that noscan
 * objects under 16 bytes are aligned to the lowest set bit of their size. gc_alloc_aligned gives more.
 *
 * Errors: a call that returns memory returns NULL with errno ENOMEM when the size cannot be had, after a
 * collection, after returning free memory to the system, and after the pressure callback. On success errno keeps its
 * value.
 *
 * Threads: every call may be made from every thread at any time; threads are found without the program's
 * help (gc_thread.h: what it may tell all the same). A callback of dl_iterate_phdr must not allocate or collect: it would hold the loader's lock, which a
 * cycle waits for. Signals: no call but gc_use is async-signal-safe; a handler may use objects but not allocate, free or collect.
 *
 * Sizes are in bytes. Statistics are in gc_stats.h; options (environment) in docs/tuning.md. */
#ifndef HOLDFAST_GC_ALLOC_H
#define HOLDFAST_GC_ALLOC_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define GC_API __attribute__((visibility("default")))
#define GC_ALLOC_FN(...) __attribute__((malloc, warn_unused_result, alloc_size(__VA_ARGS__)))
#define GC_UNUSED_RESULT __attribute__((warn_unused_result))
#else
#define GC_API
#define GC_ALLOC_FN(...)
#define GC_UNUSED_RESULT
#endif

/* Initialises the library. Optional: loading the library and the first allocation do the same. Calling
 * it again does nothing. Aborts with one line on stderr when the system refuses any address space. */
GC_API void gc_init(void);

/* Returns size bytes of zeroed memory, searched conservatively for pointers by the collector.
 * Size 0 returns the address of one static object that is the same for every call. */
GC_API GC_ALLOC_FN(1) void *gc_alloc(size_t size);

/* Returns size bytes of memory with indeterminate contents, like malloc's, that the collector never
 * searches: for text, numbers, images. Objects under 16 bytes may share a 16-byte block; such a block
 * stays as long as any of them is reachable. */
GC_API GC_ALLOC_FN(1) void *gc_alloc_noscan(size_t size);

/* As gc_alloc, of an object that is kept, and searched for pointers, until gc_free: for what is held only where the
 * collector does not look, such as memory from malloc or the kernel. gc_realloc keeps the kind. */
GC_API GC_ALLOC_FN(1) void *gc_alloc_uncollectable(size_t size);

/* gc_alloc(n * size); NULL with ENOMEM when the product overflows. */
GC_API GC_ALLOC_FN(1, 2) void *gc_calloc(size_t n, size_t size);

/* Changes the size of the object that starts at p and returns its address, which may be a new one; the
 * old object is then freed as by gc_free, so no other copy of p may be used. The contents up to the lesser
 * of both sizes are kept, and so is the kind (scanned, noscan, or typed with the same layout: gc_typed.h). Of a scanned object, what lies beyond the
 * old usable size is zero. gc_realloc(NULL, size) is gc_alloc(size); gc_realloc(p, 0) frees p and
 * returns the zero-size object. When memory is refused, NULL with ENOMEM; p is then unchanged and valid.
 * A p that is not the start of an object ends the program with one line on stderr. */
GC_API GC_UNUSED_RESULT void *gc_realloc(void *p, size_t size);

/* Frees the object that starts at p at once. Optional: what is unreachable is freed anyway. NULL and the
 * zero-size object are ignored; a noscan object under 16 bytes may share its block, so it is left to the
 * collector. A p that is not the start of an object, or was freed before, ends the program with one
 * line on stderr. The caller guarantees that no other reference to the object is used afterwards. */
GC_API void gc_free(void *p);

/* As gc_alloc, with an address that is a multiple of alignment (any power of two, in bytes).
 * NULL with EINVAL when alignment is not a power of two. */
GC_API GC_UNUSED_RESULT void *gc_alloc_aligned(size_t alignment, size_t size);

/* A noscan copy of the string s (strdup), or of at most its first n bytes (strndup), terminated. */
GC_API GC_UNUSED_RESULT char *gc_strdup(const char *s);
GC_API GC_UNUSED_RESULT char *gc_strndup(const char *s, size_t n);

/* The number of bytes that may be used at p, the start of an object: at least the size asked for. 0 for
 * NULL, for the zero-size object and for an address that is not the start of an object. For a noscan
 * object under 16 bytes the size is not recorded, and the answer is 1. */
GC_API size_t gc_usable_size(const void *p);

/* The start of the object that p points into, or NULL when there is none. For a noscan object under 16
 * bytes: the start of the block it shares. Safe with any value. */
GC_API void *gc_base(const void *p);

/* Runs a full collection. On return every object that was unreachable at the call has been swept; an
 * object is kept when a stale copy of its address is still on some stack or in some register, or for its finalizer
 * (gc_weak.h). The last object that another thread allocated in each size class is kept, and that thread's spans stay with it. */
GC_API void gc_collect(void);

/* gc_collect, then returns all free pages to the system (Go: debug.FreeOSMemory). */
GC_API void gc_release_memory(void);

/* Collections are not started by allocation between gc_disable and the matching gc_enable; calls nest.
 * gc_collect still works. A gc_enable without gc_disable does nothing. */
GC_API void gc_disable(void);
GC_API void gc_enable(void);

/* Sets the growth, in percent of the live heap, at which the next collection starts (GC_PERCENT, as
 * Go's GOGC); a negative value turns automatic collection off. Returns the previous value. Takes effect
 * at once. */
GC_API int gc_set_percent(int percent);

/* Set a limit, in bytes, for heap and metadata together: heap_sys - heap_released + gc_sys of the statistics.
 * SIZE_MAX: none. Return the previous limit. Take effect at once: free memory beyond the limit goes back to the
 * system; live memory stays, however low the limit. From any thread; not async-signal-safe.
 *
 * The memory limit (GC_MEMORY_LIMIT, as Go's GOMEMLIMIT) is soft: cycles start early enough, and free memory goes
 * back, to stay below. A live heap over the limit does not fail: collecting then takes at most about half of the
 * processors' time, and memory exceeds the limit by what that needs. gc_disable turns these cycles off, too.
 *
 * The hard limit (GC_HARD_LIMIT) is never exceeded by allocation: one that would is refused, NULL with ENOMEM,
 * after all was tried that the head of this file and the next call tell. Below it cycles are paced as below a
 * memory limit. Not limited: metadata of threads, less than 1 KiB each, and mark stacks, which gc_sys does not count. */
GC_API size_t gc_set_memory_limit(size_t bytes);
GC_API size_t gc_set_hard_limit(size_t bytes);

/* Sets a function that makes memory free, for example by emptying caches; NULL: none, as at the start. It is called
 * by a thread inside a call that returns memory,
 * - when that would return NULL with ENOMEM, after a collection; bytes_wanted is the size asked for. The allocation is
 *   then tried again, also after another collection;
 * - at its next slow path after a cycle (once per cycle) that left more than 90 % of the memory limit alive;
 *   bytes_wanted is the excess over these 90 %.
 * The library holds no lock then, and f may call it: allocate, free, collect, set limits and callbacks. Only one thread
 * is inside f at a time: a thread that would call it meanwhile goes on without, and an allocation inside f fails
 * without calling it again. f must return; errno is kept. arg is handed to f and is a root. A call already under way
 * may still use the old f and arg after this returns. From any thread; not async-signal-safe. */
GC_API void gc_set_pressure_callback(void (*f)(size_t bytes_wanted, void *arg), void *arg);

/* Adds the words in [lo, hi) to the roots, or removes all root ranges that lie within [lo, hi). The data
 * of the program and of its libraries, thread-local storage and stacks are roots already. The range must
 * stay readable until removed. gc_add_roots returns 0, or -1 with errno EINVAL (hi < lo) or ENOMEM. */
GC_API int gc_add_roots(void *lo, void *hi);
GC_API void gc_remove_roots(void *lo, void *hi);

/* Makes the compiler believe that all memory was read and written here, and that each argument was used:
 * what they point to stays reachable up to this call. For experiments; costs nothing. */
#define gc_use(...) gc_use_(0, __VA_ARGS__, (const void *)0)
GC_API void gc_use_(int ignored, ...);

#ifdef __cplusplus
}
#endif
#endif
