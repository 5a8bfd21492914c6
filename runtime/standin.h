/* standin.h - the program's own use of the stop signal. That is SIGURG, unless GC_SIGNAL names another: it is ignored by
 * default, so one that still waits for a thread when that calls exec does the new program no harm.
 * What the program asks of this signal is asked of the kernel for another one, the stand-in, and a stop signal that no stop has
 * sent is sent on as the stand-in. So the program's handler with its mask and flags, blocking and waiting are the kernel's
 * work as for any signal. Sets of signals go through standin_out on their way to the kernel and through standin_in back. */
#ifndef HOLDFAST_STANDIN_H
#define HOLDFAST_STANDIN_H

#include <signal.h>

#include "runtime/base.h"

/* found: the action that the stop signal had until now. */
void standin_init(int stop, const struct sigaction *found);
int standin_signal(void); /* 0: not initialised. Not the program's to use */

/* NULL stays NULL. */
const sigset_t *standin_out(const sigset_t *set, sigset_t *copy);
void standin_in(sigset_t *set);
int standin_number_in(int signal);

/* sigaction of the stop signal, for the program; each may be NULL. */
void standin_action(const struct sigaction *action, struct sigaction *old);

/* The calling thread can be sent stop signals from here on. If they were blocked, the program wants its own to stay so. */
void standin_open(void);

void standin_fork_child(void); /* whoever was in here is not there */

/* In the stop signal's handler, of one that no stop sent. mask: what was blocked when it came. */
void standin_send_on(const siginfo_t *info, const sigset_t *mask);

#endif
