/* compact.c - gc_should_move and gc_reallocate: what a program that walks its own structures needs to compact them. Where an
 * object had better be is alloc/compact.h's to say; here is the copying. A slot is claimed, filled and handed out with stops
 * deferred, so a cycle never meets it half done; markers beside the program may, as with any object that is being
 * written: the tracker reports the page (docs/compaction.md). */
#include <string.h>

#include "alloc/compact.h"
#include "alloc/guard.h"
#include "alloc/sample.h"
#include "api/object.h"
#include "gc/cycle.h"
#include "gc/weak.h"
#include "gc_frag.h"

/* copy NULL: only asks. Otherwise, at COMPACT_MOVE, the new object. */
static enum compact_answer attempt(const void *p, char **copy) {
  enum compact_answer answer = COMPACT_STAY;
  library_enter();
  struct slot s = object_find(p);
  bool watched = s.object != NULL && page_is_watched(s.page), fixed = watched && weak_is_bound(&s); /* by its record */
  if (s.object != NULL && s.object == p && s.sc >= 2 && !object_is_tiny_block(&s) && !fixed)
    answer = compact_find(&s, copy);
  TORTURE_STEP(); /* claimed, with old contents */
  if (answer == COMPACT_MOVE && copy != NULL) {
    struct slot to = slot_find(*copy);
    if (guards_on)
      guard_copy(&s, &to);
    else
      memcpy(*copy, p, s.size);
    sample_move(&s, &to);
    if (watched) weak_object_moved(p, *copy, &to);
  }
  library_leave();
  return answer;
}

/* A plan is made in pieces, with stops between them; a cycle makes it void. Who meets two had better not wait for a third. */
static enum compact_answer ask(const void *p, char **copy) {
  enum compact_answer answer;
  unsigned gen = atomic32_load_relaxed(&heap.gen);
  do answer = attempt(p, copy);
  while (answer == COMPACT_AGAIN && atomic32_load_relaxed(&heap.gen) - gen < 2);
  return answer;
}

bool gc_should_move(const void *p) { return ask(p, NULL) == COMPACT_MOVE; }

/* Copies count as allocation: without a look at the trigger a program could double its small objects unseen. */
void *gc_reallocate(void *p) {
  char *copy;
  if (ask(p, &copy) != COMPACT_MOVE) return p;
  if (cycle_is_due() && !heap_is_marking()) cycle_run(CYCLE_HEAP);
  return copy;
}
