/* scavenge.c - see scavenge.h. Go's background scavenger has the same goal (runtime/mgcscavenge.go):
 * heap memory in use grows to about next_gc before the next cycle, so giving back below that plus a tenth
 * would only be faulted in again. */
#include "alloc/scavenge.h"

#include "alloc/pageheap.h"
#include "runtime/atomic.h"
#include "runtime/config.h"

static atomic_word goal GC_OWN_DATA = UINT64_MAX; /* [A] bytes to keep resident */

void scavenge_set_goal(uint64_t next_gc) {
  uint64_t kept = next_gc > UINT64_MAX / 2 ? UINT64_MAX : next_gc + next_gc / 100 * SCAVENGE_RETAIN_PERCENT;
  atomic_store_relaxed(&goal, kept);
}

/* Idle pages only: what is in use cannot be given back, however far beyond the goal it is. */
uint64_t scavenge_excess(void) {
  struct pageheap_totals t = pageheap_totals();
  uint64_t resident = t.sys - t.released, keep = atomic_load_relaxed(&goal);
  uint64_t idle = resident - t.inuse, excess = resident > keep ? resident - keep : 0;
  return excess < idle ? excess : idle;
}

size_t scavenge_step(size_t max) {
  uint64_t excess = scavenge_excess();
  if (excess < PAGE_SIZE) return 0;
  return pageheap_scavenge(min_size(max, round_down(excess, PAGE_SIZE)));
}

void scavenge_all(void) { pageheap_scavenge(SIZE_MAX); }
