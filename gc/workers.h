/* workers.h - the threads that help a cycle mark. They sleep on a futex between cycles, run no code of the
 * program, are not stopped, and their stacks are no roots. */
#ifndef HOLDFAST_WORKERS_H
#define HOLDFAST_WORKERS_H

#include "runtime/atomic.h"

/* Starts the threads that marking `bytes` can use. Creating a thread takes locks of the C library and of the
 * loader, so no lock of ours is held and stops are not deferred. */
void workers_start(uint64_t bytes);

/* How many markers a cycle over `bytes` should have, the caller included. */
unsigned workers_available(uint64_t bytes);

/* Runs f(0) here and f(1) ... f(n - 1) on workers; returns when all have. */
void workers_run(unsigned n, void (*f)(unsigned index));

void workers_fork_child(void); /* they do not exist there */

#endif
