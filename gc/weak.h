/* weak.h - weak references and ephemerons, and what befalls the records of an object that the program frees or moves.
 *
 * A handle is what the program holds: a noscan object, so that the addresses in it keep nothing alive, and are there to
 * be read at once. It is collected like any object; its record goes in the same stop.
 *
 * Why reading the address is enough (INV-WEAK-1). It is one load, by a thread that can be stopped at any instruction but
 * has no stops deferred. The last stop of a cycle finds the thread before the load, and then it reads what the stop left;
 * or behind it, and then the address is in a register or on the stack: a root, from which the stop marks before it
 * decides, so the object is black and the handle is not cleared. Where the thread has put the address meanwhile does
 * not matter either: a stack or register is scanned in that stop; memory in the heap was written since it was
 * armed, so it is scanned again (INV-REMARK-1); data and thread-local storage are roots. Clearing and the end of marking are in
 * the same stop, so what was cleared is never seen again, and what was not is not freed. Births of any
 * colour, and marks that were set beside the program, only add to what is black. */
#ifndef HOLDFAST_WEAK_H
#define HOLDFAST_WEAK_H

#include "gc/watch.h"

struct handle {
  atomic_word target; /* [A; written under L:WATCH or STW] what is referred to, or the key; 0: cleared */
  atomic_word value;  /* [A; as target] of an ephemeron */
  uint64_t seal;      /* [const once bound] tells a handle from anything else; 0 when it ends */
  uint32_t record;    /* [L:WATCH; STW] 0: none, since there is nothing to watch any more */
  uint32_t kind;      /* [const] enum watch_kind */
};

GC_INLINE uint64_t handle_seal(const void *h, bool ephemeron) {
  return ((uintptr_t)h ^ 0x57eb1d5a9c3e7f61u) * 0x9e3779b97f4a7c15u + ephemeron;
}

/* Whether h is a handle that has not ended, of an ephemeron or a weak reference. Safe with any value. */
GC_INLINE bool handle_is(const struct handle *h, bool ephemeron) {
  uintptr_t p = (uintptr_t)h;
  return p % 8 == 0 && heap_contains(p) && heap_contains(p + sizeof *h - 1) && h->seal == handle_seal(h, ephemeron);
}

/* All that follows: stops deferred; takes the lock. */

/* Makes h, an object of ours in slot `place`, a handle for the object at p in slot s. False: memory is refused. */
bool weak_bind(struct handle *h, const struct slot *place, enum watch_kind kind, const void *p, const struct slot *s,
               uintptr_t value);
void weak_unbind(struct handle *h); /* it ends; its slot is the caller's */

/* The object at p, in a watched span, is about to be freed: its records end. */
void weak_object_freed(const void *p);
/* It goes on as the object at q in slot `to`: so do its records. */
void weak_object_moved(const void *p, const void *q, const struct slot *to);
/* Whether the slot holds a handle that a record names. */
bool weak_is_bound(const struct slot *s);

/* Under the lock or in the stop: the record that names the object in s, of any contents, as its handle; 0: none. A slot may
 * still hold the seal of a handle that was there before. */
uint32_t weak_record_of(const struct slot *s);

/* Under the lock or in the stop: the handle refers to nothing any more; the record is to be freed, or buried. */
void weak_clear(uint32_t i);
/* The handle itself is about to be freed. */
void weak_handle_died(uint32_t i);

/* Makes the object at p, in slot s, uncollectable. False: memory is refused. */
bool weak_keep(const void *p, const struct slot *s);

#endif
