/* heapcheck.h - the whole-heap checker: counts everything twice, from the lists and from the pages, and
 * compares. World stopped, or no other thread. Debug builds run it after every cycle. */
#ifndef HOLDFAST_HEAPCHECK_H
#define HOLDFAST_HEAPCHECK_H

#include "runtime/base.h"

/* NULL when the heap is whole, else a sentence that names what is not. */
const char *heapcheck(void);

#endif
