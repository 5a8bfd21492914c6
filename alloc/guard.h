/* guard.h - GC_DEBUG=1: writes outside of objects and to freed ones are found.
 *
 * A guarded slot:   | the object, size bytes | RED bytes, 8 at least | trailer: the size, disguised | 8 bytes RED |
 * What lies before an object is the end of the slot before it. No word of these looks like an address.
 * A freed object is filled with GONE, trailer and all, and waits in quarantine, a ring, until so many others were freed
 * after it; only then its slot becomes free. Quarantine is no root: in the last stop of each cycle its slots are made black.
 *
 * Checked: by gc_free and gc_realloc the object itself, in the last stop of each cycle all objects, the dying ones too, and the
 * ring; at the end of its quarantine what was freed. Found in a stop, a fault is kept until threads run, since to name
 * the caller takes the loader's lock.
 *
 * How it is turned on: the class map stays empty (sizeclass_init is not called), so each allocation takes the slow path; what runs
 * without GC_DEBUG has no instruction of it. Callers defer stops. */
#ifndef HOLDFAST_GUARD_H
#define HOLDFAST_GUARD_H

#include "alloc/span.h"

#define GUARD_EXTRA 24 /* bytes that a request grows by */

extern bool guards_on; /* [const] after init */

enum guard_kind { GUARD_WHOLE, GUARD_OVERRUN, GUARD_FREED };
struct guard_fault {
  enum guard_kind kind;
  const char *object;
  size_t slot, size; /* bytes; size SIZE_MAX: not known, the trailer is gone */
  size_t first;      /* offset of the first byte that was overwritten */
  uint32_t site;     /* as from sample_site */
};

bool guards_init(void); /* false: memory is refused */

/* The slot at p was taken for an object of size bytes, size <= slot - GUARD_EXTRA. */
void guard_set(char *p, size_t slot, size_t size);
/* The same with the contents of another slot of the class. */
void guard_copy(const struct slot *from, const struct slot *to);
/* A dead slot is about to be swept: the library's own writes begin. */
void guard_bury(const char *p, size_t size);
/* The slot was never an object, and is given up while markers run. */
void guard_drop(const struct slot *s);

/* For an allocated slot: what was asked for; freed already, or never an object; whether it is whole (then false). */
size_t guard_size(const struct slot *s);
bool guard_is_gone(const struct slot *s);
bool guard_check(const struct slot *s, struct guard_fault *fault);

/* gc_free: into quarantine. False: somebody else has freed it meanwhile. */
bool guard_retire(const struct slot *s);
/* The oldest of a ring that is too full, or with `all` of any that is not empty: its slot is to be freed now. False: none.
 * fault->kind tells whether it was written meanwhile. */
bool guard_release(bool all, struct slot *s, struct guard_fault *fault);

/* In the last stop of a cycle, marking finished. */
void guards_judge(void);
/* The fault that was found in a stop, once: whoever gets it ends the program, others wait for that. */
bool guards_take_fault(struct guard_fault *fault);

#endif
