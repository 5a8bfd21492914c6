/* images.h - what the dynamic loader has mapped: writable data of every loaded object, and thread-local
 * storage. The world is stopped inside the loader's own lock, so that no stopped thread holds it and the
 * list is complete: an object loaded a moment later has no pointers yet.              INV-ROOT-1 */
#ifndef HOLDFAST_IMAGES_H
#define HOLDFAST_IMAGES_H

#include "runtime/base.h"

struct thread;

/* Looks up what glibc does not declare; before the first cycle, since it takes the loader's lock. */
void images_init(void);

/* Calls stop(arg) with the loader's lock held, then range(arg, r) for each piece of writable data that can
 * hold a pointer into the heap. The library's own data is left out. stop NULL: just that, while the program runs. */
void images_stop_and_walk(void (*stop)(void *arg), void (*range)(void *arg, struct range r), void *arg);

/* Calls range for the thread-local storage of a stopped thread: its control block and each module's block
 * that exists. Uses the modules seen by the last images_stop_and_walk. */
void images_walk_tls(const struct thread *t, void (*range)(void *arg, struct range r), void *arg);

#endif
