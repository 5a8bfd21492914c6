/* kept.h - the addresses of uncollectable objects, as words that markers read like any root. They lie in blocks that
 * never move and are handed out whole. A cycle beside the program takes all blocks for hints; what they name is
 * black from then on, so its last stop takes only those that were added to since: with 100,000s of objects that is
 * nothing, or a few. Words that are not in use link a list, and are no addresses. */
#ifndef HOLDFAST_KEPT_H
#define HOLDFAST_KEPT_H

#include "runtime/base.h"

/* A place for the word; 0: memory is refused. Under the lock of gc/watch.h, as the next two. */
uint32_t kept_add(const void *p);
void kept_change(uint32_t place, const void *p);
void kept_remove(uint32_t place);

/* Calls range for the blocks. Hints: all, while the program runs; takes the lock. Otherwise, in the stop: those whose
 * words are not all known to markers of this cycle. */
void kept_roots(bool hints, void (*range)(void *arg, struct range r), void *arg);

/* Every word is an object's that was marked; else a sentence. World stopped. */
const char *kept_check(void);

#endif
