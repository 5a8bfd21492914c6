/* fault.h - how a program ends whose memory was overwritten (alloc/guard.h): one line that names the object. */
#ifndef HOLDFAST_FAULT_H
#define HOLDFAST_FAULT_H

#include "alloc/guard.h"

/* found_by: what noticed it. Where the thread may be stopped and holds no lock: names are looked up. */
GC_NORETURN void fault_tell(const struct guard_fault *fault, const char *found_by);

/* What a cycle found, if it did. */
void fault_tell_pending(void);

#endif
