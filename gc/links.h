/* links.h - disappearing links: words of the program's, anywhere, that are set to 0 when the object they are about dies; and toggle
 * references, which the program is asked about before each stop. For api/bdw, whose clients use them as weak references:
 * a link often holds a hidden address, which no marker knows.
 *
 * Why an address that is revealed under bdw_lock lives (INV-LINK-1). A thread that has read a hidden address and not yet
 * made a pointer of it has nothing that a stop would find. So a stop that may be a cycle's last begins only when nobody holds
 * that lock (cycle_stopping_hook), and nobody can take it until the world runs again. Whoever held it before that stop has the
 * pointer in a register, on its stack or in memory it has written since, all of which the stop looks at before anything
 * is decided (INV-WEAK-1 tells why that is enough): the object is black, and stays. Whoever takes it after the stop reads
 * 0, since links are cleared in the same stop in which their objects are found dead. A stop that is broken off frees nothing,
 * and what it has cleared is 0 from then on.
 *
 * Each link has one record (gc/watch.h), found by the object's address there, and by the link's own here. A link in an object
 * of ours ends with that object. */
#ifndef HOLDFAST_LINKS_H
#define HOLDFAST_LINKS_H

#include "gc/watch.h"

/* WATCH_LINK is cleared before finalizers are queued, WATCH_LONG_LINK when the object is freed. A word may be one link of each kind. */
struct link {
  enum watch_kind kind;
  atomic_word *word;
  struct slot place; /* that the word is in; object NULL: none of ours */
};

enum link_outcome { LINK_DONE, LINK_THERE, LINK_MISSING, LINK_NO_MEMORY };

/* All that follows: stops deferred; takes the lock. */

/* The link is about the object at p in slot s (s.object NULL: one that is always reachable). LINK_THERE: it was about another. */
enum link_outcome link_set(const struct link *l, const void *p, const struct slot *s);
/* Goes on at another word of the same kind. LINK_THERE: that is a link already, nothing has changed. */
enum link_outcome link_move(const struct link *l, const struct link *to);
bool link_end(const struct link *l); /* false: there was none */

/* A reference to the object at p in slot s, which it keeps alive while it is strong. False: memory is refused. */
bool toggle_add(const void *p, const struct slot *s, bool strong);

/* ask says of each object that has such a reference what this is from now on. Called with nothing of this layer held; the
 * object is there during the call when no cycle can end and the program frees none. */
enum toggle { TOGGLE_DROP, TOGGLE_STRONG, TOGGLE_WEAK };
void toggles_ask(enum toggle (*ask)(void *object));

/* Under the lock, or in the stop. */

void link_clear(uint32_t i); /* the word becomes 0; then one of the next two */
void link_free(uint32_t i);
void link_bury(uint32_t i);    /* in the stop (watch_bury) */
void link_unchain(uint32_t i); /* for gc/watch.c: a dead one leaves the hash */
/* The object in slot s, which has links or not, is about to be freed; or it goes on as the one in slot `to`, with the same
 * contents: links are copied again, since a stop may have cleared the old ones alone. */
void links_freed(const struct slot *s);
void links_moved(const struct slot *s, const struct slot *to);

/* NULL, or what is wrong. World stopped, cycle over. */
const char *links_check(void);

#endif
