/* interpose.h - the C library's functions behind the ones that this library puts in front of them. */
#ifndef HOLDFAST_INTERPOSE_H
#define HOLDFAST_INTERPOSE_H

#include <pthread.h>
#include <signal.h>

#include "runtime/base.h"

/* Looks all of them up, before the first cycle: a look-up takes the loader's lock. */
void interpose_init(void);

/* A name of the C library's that its headers do not declare; NULL: there is none. Before the first cycle. */
const void *interpose_find(const char *name);

/* Ours, whatever the name means in this process: where the C library comes before this one in the order of look-up, it is
 * the C library's. */
int interpose_create(pthread_t *id, const pthread_attr_t *attr, void *(*start)(void *), void *arg);
int interpose_join(pthread_t id, void **result);
int interpose_detach(pthread_t id);
GC_NORETURN void interpose_exit(void *result);
int interpose_sigmask(int how, const sigset_t *set, sigset_t *old);

int real_pthread_create(pthread_t *id, const pthread_attr_t *attr, void *(*start)(void *), void *arg);
int real_pthread_sigmask(int how, const sigset_t *set, sigset_t *old);
int real_clock_nanosleep(clockid_t clock, int flags, const struct timespec *request, struct timespec *left);
int real_sigaction(int signal, const struct sigaction *action, struct sigaction *old);

#endif
