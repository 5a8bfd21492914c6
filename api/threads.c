/* threads.c - gc_thread.h: registration, blocking, coroutine stacks; what they do is in runtime/thread.c,
 * runtime/world_linux.c and runtime/stacks.c. */
#include <errno.h>

#include "alloc/cache.h"
#include "api/object.h"
#include "gc_thread.h"
#include "runtime/stacks.h"

static int result(int error) {
  if (error == 0) return 0;
  errno = error;
  return -1;
}

int gc_thread_register(void) {
  runtime_ensure_init();
  bool known = tl_thread != NULL;
  int saved = errno;
  thread_register_self();
  errno = saved;
  return result(known ? EEXIST : 0);
}

int gc_thread_unregister(void) {
  runtime_ensure_init();
  return result(thread_unregister_self());
}

/* No allocation finds a slot meanwhile, so the fast path needs no test: each ends in thread_register_self. The cache
 * itself stays the thread's; the collector knows it from its list. */
void gc_blocking_begin(void) {
  int saved = errno;
  runtime_ensure_init();
  thread_block(__builtin_dwarf_cfa());
  tl_cache = (struct cache *)(uintptr_t)&empty_cache;
  errno = saved;
}

void gc_blocking_end(void) {
  int saved = errno;
  thread_unblock();
  if (tl_thread->cache != NULL) tl_cache = tl_thread->cache;
  errno = saved;
}

gc_stack *gc_stack_register(void *lo, void *hi) {
  if ((char *)hi <= (char *)lo) {
    errno = EINVAL;
    return NULL;
  }
  library_enter();
  gc_stack *s = stacks_add(lo, hi);
  library_leave();
  if (s == NULL) errno = ENOMEM;
  return s;
}

void gc_stack_unregister(gc_stack *s) {
  if (s == NULL) return;
  library_enter();
  stacks_remove(s);
  library_leave();
}

/* A thread that stops on its way out stands on the stack that is left. */
void gc_stack_switch(gc_stack *to) {
  library_enter();
  stacks_switch(to, __builtin_dwarf_cfa());
  library_leave();
}
