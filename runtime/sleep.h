/* sleep.h - sleeping that stops do not cut short. The kernel ends nanosleep and its kind with EINTR after every signal handler,
 * also one with SA_RESTART; the stop signal's is none of the program's business. */
#ifndef HOLDFAST_SLEEP_H
#define HOLDFAST_SLEEP_H

#include <time.h>

#include "runtime/base.h"

/* As clock_nanosleep, but it returns EINTR only when a handler of the program's was run. */
int sleep_on_clock(clockid_t clock, int flags, const struct timespec *request, struct timespec *left);

/* In the stop signal's handler, at its end: where it interrupted the thread, and what will be blocked when it has returned. */
void sleep_was_interrupted(const char *sp, const void *mask);

#endif
