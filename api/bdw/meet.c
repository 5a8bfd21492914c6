/* meet.c - where the program is when the world stops for what may be the last time of a cycle.
 *
 * That library collects inside of a call: a program with one thread is never stopped between two, and what it tells the collector
 * (mark procedures, stacks of its own, lists of free objects) need not be true there. Guile's virtual machine, for one,
 * has half a stack pointer after it has grown its stack, and its mark procedure then gives back all of it. So a cycle
 * beside the program waits here until a thread of the program is in a call that wants memory, a cycle or the allocation
 * lock. The others are stopped wherever they are, as there. When nobody comes for PATIENCE_NS the program computes
 * or sleeps, and is stopped where it is: the cycle must end. */
#include "api/bdw/bdw.h"
#include "gc/collector.h"
#include "runtime/os.h"

#define PATIENCE_NS 100000000
#define LOOK_NS 50000 /* between looks for threads that wait elsewhere */

static struct {
  atomic_u32 wanted; /* [A; written L:CYCLE] 1: the collector waits for a thread, or the world is stopped; futex */
  atomic_u32 here;   /* [A] threads in bdw_meet; futex of the collector */
} meeting GC_OWN_DATA;

/* Stops are allowed: this is where the thread stands still. */
void bdw_meet(void) {
  if (GC_LIKELY(atomic32_load_acquire(&meeting.wanted) == 0)) return;
  atomic32_add(&meeting.here, 1);
  os_futex_wake(&meeting.here, 1);
  while (atomic32_load_acquire(&meeting.wanted) != 0) os_futex_wait(&meeting.wanted, 1, 0);
  atomic32_sub(&meeting.here, 1);
}

static bool somebody_is_in_a_call(void) {
  return atomic32_load_acquire(&meeting.here) != 0 || bdw_lock_is_awaited() || cycle_is_awaited() ||
         collector_is_awaited();
}

/* A thread of the program that runs the cycle itself is in a call. */
void bdw_meet_await(void) {
  if (tl_thread != NULL) return;
  uint64_t until = os_now_ns() + PATIENCE_NS;
  atomic32_store_release(&meeting.wanted, 1);
  while (!somebody_is_in_a_call() && os_now_ns() < until) os_futex_wait(&meeting.here, 0, LOOK_NS);
}

void bdw_meet_over(void) {
  atomic32_store_release(&meeting.wanted, 0);
  os_futex_wake(&meeting.wanted, ~0u >> 1);
}

/* The threads that stood here are not in the child. */
void bdw_meet_fork_child(void) { atomic32_store_relaxed(&meeting.here, 0); }
