/* links.c - disappearing links, long links and toggle references of the other library, on gc/links.h, which tells why hidden
 * pointers that are revealed under GC_call_with_alloc_lock live. */
#include "api/bdw/links.h"

#include "api/object.h"
#include "gc/links.h"

static atomic_word toggleref_func GC_OWN_DATA; /* [A; written under bdw_lock] a GC_toggleref_func; 0: none */
static GC_toggleref_func asked(void) { return (GC_toggleref_func)atomic_load_relaxed(&toggleref_func); }

/* A mistake of the caller's, which ends the program, as it does there. */
static void refuse(const void *link, const char *who) {
  if (link == NULL || (uintptr_t)link % sizeof(uintptr_t) != 0) fatal("%s(%p): not the address of a word", who, link);
}

/* Stops deferred. */
static struct link link_at(enum watch_kind kind, void **word) {
  return (struct link){kind, (atomic_word *)word, object_find(word)};
}

/* What is no object of ours never dies. */
static int set(enum watch_kind kind, void **word, const void *obj, const char *who) {
  refuse(word, who);
  library_enter();
  struct link l = link_at(kind, word);
  struct slot s = object_find(obj);
  const void *p = s.object != NULL && !object_is_tiny_block(&s) ? s.object : obj;
  enum link_outcome outcome = link_set(&l, p, &s);
  library_leave();
  if (outcome == LINK_NO_MEMORY) bdw_refused(sizeof(struct watch));
  return outcome == LINK_DONE ? GC_SUCCESS : outcome == LINK_THERE ? GC_DUPLICATE : GC_NO_MEMORY;
}

static int move(enum watch_kind kind, void **word, void **new_word, const char *who) {
  refuse(new_word, who);
  library_enter();
  struct link from = link_at(kind, word), to = link_at(kind, new_word);
  enum link_outcome outcome = link_move(&from, &to);
  library_leave();
  return outcome == LINK_DONE ? GC_SUCCESS : outcome == LINK_THERE ? GC_DUPLICATE : GC_NOT_FOUND;
}

static int end(enum watch_kind kind, void **word) {
  library_enter();
  struct link l = {kind, (atomic_word *)word, {NULL, NULL, NO_PAGE, 0, 0}};
  bool found = link_end(&l);
  library_leave();
  return found;
}

int GC_general_register_disappearing_link(void **link, const void *obj) {
  return set(WATCH_LINK, link, obj, "GC_general_register_disappearing_link");
}

int GC_register_disappearing_link(void **link) {
  library_enter();
  const void *obj = object_find(link).object;
  library_leave();
  if (obj == NULL) fatal("GC_register_disappearing_link(%p): not in an object of this heap", (void *)link);
  return set(WATCH_LINK, link, obj, "GC_register_disappearing_link");
}

int GC_move_disappearing_link(void **link, void **new_link) {
  return move(WATCH_LINK, link, new_link, "GC_move_disappearing_link");
}
int GC_unregister_disappearing_link(void **link) { return end(WATCH_LINK, link); }

int GC_register_long_link(void **link, const void *obj) {
  return set(WATCH_LONG_LINK, link, obj, "GC_register_long_link");
}
int GC_move_long_link(void **link, void **new_link) {
  return move(WATCH_LONG_LINK, link, new_link, "GC_move_long_link");
}
int GC_unregister_long_link(void **link) { return end(WATCH_LONG_LINK, link); }

/* ---- toggle references ---- */

void GC_set_toggleref_func(GC_toggleref_func fn) {
  bdw_lock();
  atomic_store_relaxed(&toggleref_func, (uintptr_t)fn);
  bdw_unlock();
}

GC_toggleref_func GC_get_toggleref_func(void) {
  bdw_lock();
  GC_toggleref_func fn = asked();
  bdw_unlock();
  return fn;
}

/* Without a function there is nobody who would ever drop it. */
int GC_toggleref_add(void *obj, int is_strong) {
  if (GC_get_toggleref_func() == NULL) return GC_SUCCESS;
  library_enter();
  struct slot s = object_find(obj);
  bool ok = s.object == NULL || toggle_add(object_is_tiny_block(&s) ? obj : s.object, &s, is_strong != 0);
  library_leave();
  return ok ? GC_SUCCESS : GC_NO_MEMORY;
}

static enum toggle ask(void *object) {
  switch (asked()(object)) {
    case GC_TOGGLE_REF_STRONG: return TOGGLE_STRONG;
    case GC_TOGGLE_REF_WEAK: return TOGGLE_WEAK;
    default: return TOGGLE_DROP;
  }
}

/* At the beginning, or what has become weak since would be marked for what it was; and last before the stop. */
void bdw_final_stopping(void) {
  if (asked() != NULL) toggles_ask(ask);
}

void bdw_final_began(void) {
  if (asked() == NULL) return;
  bdw_lock_for_stop();
  bdw_final_stopping();
  bdw_unlock_after_stop();
}
