/* torture.c - see torture.h. Owns the sequence of each thread. */
#include "runtime/torture.h"

#if GC_TORTURE
#include <errno.h>
#include <sched.h>

#include "runtime/atomic.h"
#include "runtime/options.h"

static atomic_u32 threads GC_OWN_DATA; /* [A] that have begun a sequence */
static GC_TLS uint64_t state;          /* [own] of xorshift (G. Marsaglia, "Xorshift RNGs", 2003); 0: not begun */

static uint64_t next(void) {
  if (state == 0) state = ((uint64_t)options.torture_seed + 1) * 0x9e3779b97f4a7c15u + atomic32_add(&threads, 1) + 1;
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

void torture_step(void) {
  if (options.torture_yield == 0 || next() % (uint64_t)options.torture_yield != 0) return;
  int saved = errno;
  sched_yield();
  errno = saved;
}
#else
typedef int torture_is_for_torture_builds; /* ISO C wants a declaration in every file */
#endif
