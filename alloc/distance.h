/* distance.h - how far it is from one sample to the next, and how much of its kind a sampled object stands for.
 * Points are scattered over the bytes allocated as a Poisson process scatters them, mean bytes apart; an object that
 * holds a point is sampled, which happens with probability 1 - exp(-bytes / mean), whatever was sampled before.
 * Own arithmetic: the math library is not among what the library depends on. Errors are below 1e-12.
 * Never: a clock or the system's random numbers, so that runs can be repeated. */
#ifndef HOLDFAST_DISTANCE_H
#define HOLDFAST_DISTANCE_H

#include "runtime/base.h"

/* An exponentially distributed number of bytes, at least 1, the sampled byte included; mean 1: always 1. *random is
 * the state of the generator, any value to begin with. */
uint64_t distance_draw(uint64_t *random, uint64_t mean);

/* 1 / (1 - exp(-bytes / mean)): of so many objects of this size one is sampled, on average. Mean 1: 1. */
double distance_weight(uint64_t bytes, uint64_t mean);

#endif
