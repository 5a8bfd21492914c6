/* links.c - see links.h. */
#include "gc/links.h"

#include "gc/hash.h"
#include "gc/verdict.h"

static struct {
  struct hash hash; /* [L:WATCH; STW] by the link's address */
  uint32_t in_use;  /* [L:WATCH; STW] links of both kinds */
} links GC_OWN_DATA;

/* ---- by address ---- */

static bool is_link(const struct watch *w) { return w->kind == WATCH_LINK || w->kind == WATCH_LONG_LINK; }

/* Where the number of the link's record is, or would be: in its bucket, or in the record before it. */
static uint32_t *find(enum watch_kind kind, const atomic_word *word) {
  uint32_t *at = hash_bucket(&links.hash, (const void *)(uintptr_t)word);
  while (*at != 0 && (watch_at(*at)->link != word || watch_at(*at)->kind != kind)) at = &watch_at(*at)->next_link;
  return at;
}

static uint32_t number_of(enum watch_kind kind, const atomic_word *word) {
  return links.in_use == 0 ? 0 : *find(kind, word);
}

static void chain(uint32_t i) {
  uint32_t *bucket = hash_bucket(&links.hash, (const void *)(uintptr_t)watch_at(i)->link);
  watch_at(i)->next_link = *bucket;
  *bucket = i;
}

/* A dead one may stand beside a new one for the same word, so it is known by its number. */
void link_unchain(uint32_t i) {
  uint32_t *at = hash_bucket(&links.hash, (const void *)(uintptr_t)watch_at(i)->link);
  while (*at != i) at = &watch_at(*at)->next_link;
  *at = watch_at(i)->next_link;
}

static void grow(void) {
  uint32_t *parted = hash_grow(&links.hash, links.in_use);
  if (parted == NULL) return;
  uint32_t i = *parted;
  *parted = 0;
  for (uint32_t next; i != 0; i = next) {
    next = watch_at(i)->next_link;
    chain(i);
  }
}

/* ---- the program's calls ---- */

static enum link_outcome make(const struct link *l, const void *p, const struct slot *s) {
  uint32_t i = hash_set_up(&links.hash) ? watch_new(l->kind, p, s) : 0;
  if (i == 0) return LINK_NO_MEMORY;
  watch_set_other(i, (void *)(uintptr_t)l->word, &l->place);
  chain(i);
  links.in_use++;
  grow();
  return LINK_DONE;
}

enum link_outcome link_set(const struct link *l, const void *p, const struct slot *s) {
  watch_lock();
  uint32_t i = number_of(l->kind, l->word);
  if (i != 0) watch_retarget(i, p, s);
  enum link_outcome outcome = i != 0 ? LINK_THERE : make(l, p, s);
  watch_unlock();
  return outcome;
}

static void move_to(uint32_t i, const struct link *to) {
  link_unchain(i);
  watch_set_other(i, (void *)(uintptr_t)to->word, &to->place);
  chain(i);
}

enum link_outcome link_move(const struct link *l, const struct link *to) {
  enum link_outcome outcome = LINK_DONE;
  watch_lock();
  uint32_t i = number_of(l->kind, l->word);
  if (i == 0)
    outcome = LINK_MISSING;
  else if (to->word != l->word && number_of(l->kind, to->word) != 0)
    outcome = LINK_THERE;
  else if (to->word != l->word)
    move_to(i, to);
  watch_unlock();
  return outcome;
}

bool link_end(const struct link *l) {
  watch_lock();
  uint32_t i = number_of(l->kind, l->word);
  if (i != 0) link_free(i);
  watch_unlock();
  return i != 0;
}

/* ---- what befalls them ---- */

void link_clear(uint32_t i) { atomic_store_relaxed(watch_at(i)->link, 0); }

void link_free(uint32_t i) {
  link_unchain(i);
  links.in_use--;
  watch_free(i);
}

void link_bury(uint32_t i) {
  links.in_use--;
  watch_bury(i, WATCH_DEAD_LINK);
}

static bool lies_in(const struct watch *w, const struct slot *s) {
  return (uintptr_t)w->link - (uintptr_t)s->object < s->size;
}

/* Calls f for each link in the object. Looks at its words, or at all records, whichever are fewer. */
static void each_in(const struct slot *s, void (*f)(uint32_t i, const struct slot *s, const struct slot *to),
                    const struct slot *to) {
  if (links.in_use == 0) return;
  if (watch_end() < s->size / sizeof(uintptr_t)) {
    for (uint32_t i = 1; i < watch_end(); i++)
      if (is_link(watch_at(i)) && lies_in(watch_at(i), s)) f(i, s, to);
    return;
  }
  for (size_t at = 0; at < s->size; at += sizeof(uintptr_t))
    for (enum watch_kind kind = WATCH_LINK; kind <= WATCH_LONG_LINK; kind++) {
      uint32_t i = number_of(kind, (atomic_word *)(s->object + at));
      if (i != 0) f(i, s, to);
    }
}

static void end_one(uint32_t i, const struct slot *s, const struct slot *to) {
  (void)s, (void)to;
  link_free(i);
}

void links_freed(const struct slot *s) { each_in(s, end_one, NULL); }

static void move_one(uint32_t i, const struct slot *s, const struct slot *to) {
  size_t at = (size_t)((char *)(uintptr_t)watch_at(i)->link - s->object);
  struct link l = {watch_at(i)->kind, (atomic_word *)(to->object + at), *to};
  if (at + sizeof(uintptr_t) > to->size) {
    link_free(i);
    return;
  }
  atomic_store_relaxed(l.word, atomic_load_relaxed(watch_at(i)->link));
  move_to(i, &l);
}

void links_moved(const struct slot *s, const struct slot *to) { each_in(s, move_one, to); }

/* ---- toggle references ---- */

static void turn(uint32_t i, enum toggle to) {
  struct watch *w = watch_at(i);
  w->value = to == TOGGLE_STRONG ? (uintptr_t)w->object : 0;
  w->asked = 0;
  verdict_reopen(i);
}

bool toggle_add(const void *p, const struct slot *s, bool strong) {
  watch_lock();
  uint32_t i = watch_new(WATCH_TOGGLE, p, s);
  if (i != 0) {
    watch_at(i)->how = HOW_HELD;
    turn(i, strong ? TOGGLE_STRONG : TOGGLE_WEAK);
  }
  watch_unlock();
  return i != 0;
}

/* The next one after *i; its object, or NULL at the end. */
static void *next_toggle(uint32_t *i) {
  while (++*i < watch_end())
    if (watch_at(*i)->kind == WATCH_TOGGLE) return watch_at(*i)->object;
  return NULL;
}

/* While ask runs, the program may end any record, and use it again. */
void toggles_ask(enum toggle (*ask)(void *object)) {
  uint32_t i = 0;
  watch_lock();
  for (void *p; watch_count(WATCH_TOGGLE) != 0 && (p = next_toggle(&i)) != NULL;) {
    watch_unlock();
    enum toggle to = ask(p);
    watch_lock();
    if (watch_at(i)->kind != WATCH_TOGGLE || watch_at(i)->object != p) continue;
    if (to == TOGGLE_DROP)
      watch_free(i);
    else
      turn(i, to);
  }
  watch_unlock();
}

/* ---- checking ---- */

/* Entries of all chains; more than there are links, dead ones too, when others are among them, or a chain has no end. */
static uint64_t chained(uint64_t most) {
  uint64_t n = 0;
  for (uint32_t b = 0; b < links.hash.buckets; b++)
    for (uint32_t i = hash_first(&links.hash, b); i != 0 && n <= most; i = watch_at(i)->next_link) n++;
  return n;
}

const char *links_check(void) {
  uint32_t in_use = 0;
  for (uint32_t i = 1; i < watch_end(); i++) {
    const struct watch *w = watch_at(i);
    if (!is_link(w)) continue;
    in_use++;
    if (number_of(w->kind, w->link) != i) return "a link is not found by its address";
    if (w->other_state != NULL && slot_find((const void *)(uintptr_t)w->link).state != w->other_state)
      return "a link names another slot's byte than it is in";
  }
  uint64_t all = in_use + watch_count(WATCH_DEAD_LINK);
  return in_use == links.in_use && chained(all) == all ? NULL : "the count of links is not what there are";
}
