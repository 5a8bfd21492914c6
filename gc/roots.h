/* roots.h - where marking starts: the data of every loaded object, thread-local storage, stacks and
 * registers, ranges the program registered, and what threads' caches hold. The list is made with the
 * world stopped, in pieces that markers take one at a time. */
#ifndef HOLDFAST_ROOTS_H
#define HOLDFAST_ROOTS_H

#include "runtime/atomic.h"

bool roots_init(void); /* false when memory for the list is refused */

/* Stops the world and lists all roots but those of caches. sp: see world_stop. */
void roots_stop_and_gather(char *sp, bool brief); /* brief: see world_stop */
/* Called at the end of the above, in the stop, for what the program itself says is a root: it calls roots_add_range, for words
 * that stay where they are until the world runs again. Set at init, or NULL. */
extern void (*roots_program_hook)(void);
/* Whether it will say anything. Set at init when the above is, or NULL. */
extern bool (*roots_program_speaks)(void);
void roots_add_range(struct range r);

/* For a stop in the middle of a cycle beside the program: what the above has to say, and what traced objects name (gc/traced.h),
 * as words that are marked beside the program once it runs again. wanted: there may be such words. */
bool roots_wants_hint_stop(void);
void roots_hint_stopped(void);

/* Then: single words, and the end of the list. More words may follow, and another end: then only they are handed out. */
void roots_add_word(void *unused, const void *p);
void roots_seal(void);

/* Lists, while the program runs, words that point into the heap from data, registered ranges and, with stacks, from
 * about where stacks are in use: hints where to start. They miss what moves, and find what is dead. */
void roots_hint(bool stacks);
void roots_discard(void); /* the rest of the list, which is worthless once the world runs again */

/* Hands the single words out once more, and nothing else; after the last seal. They stay what they are when the world runs. */
void roots_words_again(void);

/* The next piece nobody has taken; false when there is none. Markers call it at the same time. */
bool roots_take(struct range *piece);
void roots_rewind(void); /* hand all pieces out again: the verifier's second look */

/* What a word of the list is, by its address. World stopped, until the next list. */
enum root_kind {
  ROOT_DATA,   /* of a loaded object */
  ROOT_RANGE,  /* registered; range is it */
  ROOT_STACK,  /* of thread tid, 0: of a coroutine that no thread runs; range is the part in use */
  ROOT_TLS,    /* of thread tid; range is the block */
  ROOT_THREAD, /* start argument or result of thread tid */
  ROOT_KEPT,   /* an uncollectable object */
  ROOT_QUEUED, /* an object whose finalizer's turn has come, or the argument: not on the list, but kept as if it were */
  ROOT_HELD,   /* the same of what another record holds: a toggle reference, a finalizer that keeps its argument */
  ROOT_CACHE,  /* an object that a thread made last, or a block it fills with small ones */
};
struct root_place {
  enum root_kind kind;
  int tid;
  bool own; /* that thread is the caller */
  struct range range;
};
struct root_place roots_place(const char *at);
bool roots_is_stack(const char *at);

uint64_t roots_bytes(void), roots_stack_bytes(void); /* of the last list */

/* User ranges. add: false when memory is refused; once: not again what is there already, which is looked for. remove: all that lie
 * within [lo, hi). */
bool roots_add(char *lo, char *hi), roots_add_once(char *lo, char *hi);
void roots_remove(char *lo, char *hi);

/* Data of loaded objects and user ranges that are not to be read; false when memory is refused. */
bool roots_exclude(char *lo, char *hi);
void roots_exclude_nothing(void);

#endif
