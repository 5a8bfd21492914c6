/* gc_weak.h - finalizers, weak references and ephemerons: what is to happen to an object when the program can no longer
 * reach it.
 *
 * "Reachable" is what the head of gc_alloc.h says: conservatively, from roots. A stale copy of an address on some stack may keep an
 * object, so none of this is promised to happen at a certain time, or at all for a given object; what is promised is
 * that it does not happen to an object that is reachable. Nothing happens at the end of the program: no finalizer runs then.
 *
 * When a cycle finds objects unreachable, in one stop of the program and in this order:
 *   1. ordinary weak references to them are cleared, and ephemerons whose keys they are end;
 *   2. finalizers whose turn has come are queued; their objects, and what these lead to, stay until the finalizer has run;
 *   3. long weak references to what is left are cleared, and that is freed.
 *
 * obj or key is the start of an object of this heap, scanned or noscan, of any size. NULL is refused with errno EINVAL; the
 * zero-size object is never unreachable; any other address ends the program with one line on stderr. An object under 16 bytes that
 * shares its block counts as unreachable when the whole block is.
 *
 * gc_free of such an object: its finalizer is dropped without being run, its weak references are cleared, ephemerons with that key
 * end. gc_realloc and gc_reallocate that move it: all of them go with it to the new address. Neither may be done while another
 * thread gets the object from a weak reference: the program must exclude that, as any use beside gc_free.
 *
 * Threads: every call may be made from every thread at any time, also by finalizers. Signals: no call is async-signal-safe.
 * fork: the child has all of it, except finalizers that another thread was running at that moment. Chapter: docs/finalizers.md. */
#ifndef HOLDFAST_GC_WEAK_H
#define HOLDFAST_GC_WEAK_H

#include <stddef.h>
#include <stdint.h>

#include "gc_alloc.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- finalizers ---- */

/* Has fn(obj, arg) called once when obj has become unreachable; replaces what was set for obj before; fn NULL: nothing is called any
 * more. Returns 0, or -1 with errno EINVAL (obj NULL) or ENOMEM (nothing is changed then).
 *
 * Order: an object is finalized before what it points to. As long as an unreachable object with an ordered finalizer can be
 * reached from another one, it waits; a chain of n such objects takes n cycles. arg counts as something that obj
 * points to. Pointers from obj into obj itself, and an arg that is obj, do not count.
 * Objects on a cycle of which one or more have ordered finalizers and which reach each other, or back to themselves
 * through other objects, are never finalized, and stay, with what they point to: gc_read_weak_stats counts them (finalizers_stuck). Break
 * the cycle, with a weak reference, or use unordered finalizers.
 *
 * arg is kept alive as long as obj is and until fn has been called, not longer, and does not keep obj.
 *
 * Who calls: a thread of the library, started at the first need; or, with GC_FINALIZERS=manual, only those who call
 * gc_run_finalizers. The thread is like any of the program: it is stopped and scanned, and has 8 MiB of stack and all signals
 * blocked. fn is called with no lock held and may use the whole library; it must return, not end its thread, and not
 * throw. While it runs, later ones wait; so it should not wait for long.
 *
 * fn may make obj reachable again by storing its address. Then it lives on, without a finalizer unless one is set again
 * (fn itself may do so). Otherwise the next cycle that finds it unreachable frees it. */
GC_API int gc_set_finalizer(void *obj, void (*fn)(void *obj, void *arg), void *arg);

/* The same without order: fn is called after the first cycle that finds obj unreachable, whoever else unreachable points to
 * it; so what obj points to may have been finalized already. Objects on cycles are finalized like others. Prefer it
 * where fn looks at nothing but obj's own contents. An object has one finalizer, of either kind. */
GC_API int gc_set_finalizer_unordered(void *obj, void (*fn)(void *obj, void *arg), void *arg);

/* Calls the finalizers that are queued, oldest first, in this thread, until the queue is empty; returns how many it called.
 * Does not collect. One that another thread took is not waited for. May be called whatever GC_FINALIZERS says. */
GC_API size_t gc_run_finalizers(void);

/* ---- weak references ---- */

/* A weak reference is itself an object of 32 bytes that is collected when it is unreachable; to be found it must be held where
 * gc_alloc.h says that pointers are. Destroying it is optional. What was noted about it goes with it, or when its object
 * does, so no number of them makes memory grow beyond those that are reachable at once. */
typedef struct gc_weak gc_weak;

/* A reference that does not keep obj. NULL with errno EINVAL (obj NULL) or ENOMEM. Any number of them may refer to an object.
 * It is cleared when obj becomes unreachable, before a finalizer of obj is queued, and stays so, also if the finalizer makes
 * obj reachable again. */
GC_API GC_UNUSED_RESULT gc_weak *gc_weak_create(void *obj);

/* A long one: it refers to obj through finalizers, as long as obj is not freed. */
GC_API GC_UNUSED_RESULT gc_weak *gc_weak_create_long(void *obj);

/* The object, or NULL when the reference was cleared. The result is as any pointer on the stack: the object is kept for as long as
 * it is held. Beside a collection this is one of both: either the object is returned and that cycle does not free it, or NULL is
 * from then on. No lock is taken; it costs a few loads. w NULL: NULL. Anything but a weak reference, or a destroyed one,
 * ends the program with one line on stderr. */
GC_API void *gc_weak_get(gc_weak *w);

/* Ends it at once; NULL is ignored. What is no weak reference, or was destroyed before, ends the program with one line on
 * stderr, and so does gc_free or gc_realloc of one that refers to an object. */
GC_API void gc_weak_destroy(gc_weak *w);

/* ---- ephemerons ---- */

/* A pair that keeps value as long as both it and key are reachable by other means: from elsewhere, or from values of ephemerons
 * whose keys are. So value may point to key. When key is unreachable, key and value read NULL from then on. It is an object of 32
 * bytes, collected like a weak reference. */
typedef struct gc_ephemeron gc_ephemeron;

/* value may be any address or NULL; it does not change. NULL with errno EINVAL (key NULL) or ENOMEM. */
GC_API GC_UNUSED_RESULT gc_ephemeron *gc_ephemeron_create(void *key, void *value);

/* As gc_weak_get. Who holds key gets its value; who does not should get key first, so that value is not NULL only because
 * a cycle came in between. */
GC_API void *gc_ephemeron_get_key(gc_ephemeron *e);
GC_API void *gc_ephemeron_get_value(gc_ephemeron *e);
GC_API void gc_ephemeron_destroy(gc_ephemeron *e); /* as gc_weak_destroy */

/* ---- statistics ---- */

struct gc_weak_stats {
  uint64_t struct_size;        /* sizeof(struct gc_weak_stats) in the library that filled it */
  uint64_t finalizers;         /* set and not queued */
  uint64_t finalizers_queued;  /* queued and not called yet */
  uint64_t finalizers_waiting; /* ordered ones that the last cycle found unreachable and made wait for others */
  uint64_t
      finalizers_stuck;   /* of these, all if the turn of none had come, else 0: they lie on cycles, or behind some */
  uint64_t weak;          /* weak references, long ones included, that refer to an object */
  uint64_t ephemerons;    /* whose key is there */
  uint64_t uncollectable; /* objects of gc_alloc_uncollectable */
};

GC_API void gc_read_weak_stats(struct gc_weak_stats *out);

#ifdef __cplusplus
}
#endif
#endif
