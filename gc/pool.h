/* pool.h - work that markers share: a small store that busy markers fill when others are idle, and the
 * agreement that nothing is left. */
#ifndef HOLDFAST_POOL_H
#define HOLDFAST_POOL_H

#include "runtime/atomic.h"

void pool_begin(unsigned markers); /* what an earlier phase left in the store is still there */
void pool_close(void);             /* breaks marking off: pool_take returns 0, markers see it and keep what they have */
bool pool_is_closed(void);
bool pool_is_hungry(void);    /* some marker waits and the store is empty: cheap */
void pool_want(bool wanting); /* somebody beside the markers would take some */
bool pool_has_work(void);
size_t pool_try_take(uintptr_t *to, size_t max);  /* at once, or 0 */
size_t pool_put(const uintptr_t *from, size_t n); /* returns how many were taken over */
size_t pool_take(uintptr_t *to, size_t max);      /* waits; 0: all markers are here, so all is done; or closed */

#endif
