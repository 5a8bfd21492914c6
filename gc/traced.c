/* traced.c - see traced.h. A record is on one of two lists, linked by next_queued; the program only adds to the first, and what it
 * frees stays linked, cancelled, until the next stop. */
#include "gc/traced.h"

#include "gc/closure.h"
#include "gc/roots.h"

#define PLAIN_ROUNDS 3 /* of marking by all markers, before chains are followed by one */

static struct {
  uint32_t first; /* [L:WATCH; STW] of objects that are new, or were asked in the last stop */
  uint32_t white; /* [STW] of those that were not black yet in this stop */
  uint32_t stop;  /* [STW] number of the stop; a record's `asked` */
  unsigned rounds, calls;
  bool named;                    /* a white object since this was set to false */
  const char *except;            /* object that is not to be named */
  void (*give)(uintptr_t white); /* where names go */
} traced GC_OWN_DATA;

void (*traced_call)(char *object, uintptr_t what) GC_OWN_DATA;

bool traced_any(void) {
  watch_lock();
  bool any = watch_count(WATCH_TRACED) != 0;
  watch_unlock();
  return any;
}

bool traced_add(const void *p, const struct slot *s, uintptr_t what) {
  watch_lock();
  uint32_t i = watch_new(WATCH_TRACED, p, s);
  if (i != 0) {
    struct watch *w = watch_at(i);
    w->value = what;
    w->next_queued = traced.first;
    traced.first = i;
  }
  watch_unlock();
  return i != 0;
}

static uint32_t record_of(const void *p) {
  uint32_t i = watch_find(p, 0);
  while (i != 0 && watch_at(i)->kind != WATCH_TRACED) i = watch_find(p, i);
  return i;
}

uintptr_t traced_what(const void *p) {
  watch_lock();
  uint32_t i = record_of(p);
  uintptr_t what = i != 0 ? watch_at(i)->value : 0;
  watch_unlock();
  return what;
}

/* ---- names ---- */

static void give_to_roots(uintptr_t word) { roots_add_word(NULL, (const void *)word); }

static void give_to_closure(uintptr_t word) {
  if (!closure_push(word)) give_to_roots(word);
}

/* Most of what is named is black by then: asking here is cheaper than a phase of marking that finds out. */
void traced_name(uintptr_t word) {
  if (!heap_contains(word) || traced.give == NULL) return;
  struct slot s = slot_find((const void *)word);
  unsigned white = other_colour(atomic32_load_relaxed(&heap.live_colour));
  if (s.object == NULL || s.object == traced.except || atomic8_load_relaxed(s.state) != white) return;
  traced.named = true;
  traced.give(word);
}

bool traced_is_asking(void) { return traced.give != NULL; }

static void call(struct watch *w) {
  w->asked = traced.stop;
  traced.calls++;
  traced_call(w->object, w->value);
}

/* ---- the lists ---- */

static void put(uint32_t *list, uint32_t i) {
  watch_at(i)->next_queued = *list;
  *list = i;
}

/* Asks the black ones of a list, and puts them and the white ones where they belong. */
static void sort(uint32_t i) {
  for (uint32_t next; i != 0; i = next) {
    struct watch *w = watch_at(i);
    next = w->next_queued;
    if (w->kind == WATCH_CANCELLED) {
      watch_free(i);
      continue;
    }
    bool black = is_marked(w->state);
    put(black ? &traced.first : &traced.white, i);
    if (black) call(w);
  }
}

/* A stop that is not the last leaves white ones: the next one sorts them again. */
static void begin(void) {
  uint32_t first = traced.first, white = traced.white;
  traced.first = traced.white = 0;
  traced.stop++;
  traced.rounds = 0;
  traced.give = give_to_roots;
  sort(first);
  sort(white);
  traced.give = NULL;
}

void traced_hint(void) { begin(); }
void traced_gather(void) { begin(); }

/* ---- those that turn black ---- */

static void met(const struct slot *s) {
  uint32_t i = page_is_watched(s->page) ? record_of(s->object) : 0;
  if (i != 0 && watch_at(i)->asked != traced.stop) call(watch_at(i));
}

static void ask_new_black(bool plain) {
  uint32_t *link = &traced.white;
  for (uint32_t i; (i = *link) != 0;) {
    struct watch *w = watch_at(i);
    if (!is_marked(w->state)) {
      link = &w->next_queued;
      continue;
    }
    *link = w->next_queued;
    put(&traced.first, i);
    if (w->asked != traced.stop) call(w); /* else it was met below */
    if (!plain) closure_run(met);
  }
}

/* What the closure has marked is done; but it may have run out of room, which another phase of marking makes good. */
bool traced_marked(void) {
  if (traced.white == 0) return false;
  bool plain = traced.rounds++ < PLAIN_ROUNDS;
  traced.calls = 0;
  traced.named = false;
  traced.give = plain ? give_to_roots : give_to_closure;
  ask_new_black(plain);
  traced.give = NULL;
  return plain ? traced.named : traced.calls != 0;
}

unsigned traced_rounds(void) { return traced.rounds; }

void traced_name_children(const struct slot *s, bool but_itself) {
  uint32_t i = record_of(s->object);
  if (i == 0) return;
  traced.except = but_itself ? s->object : NULL;
  traced.give = give_to_roots;
  traced_call(s->object, watch_at(i)->value);
  traced.give = NULL;
  traced.except = NULL;
}

/* What a diagnostic has blackened since was not asked, and lives. */
void traced_judged(void) {
  for (uint32_t i = traced.white, next; i != 0; i = next) {
    next = watch_at(i)->next_queued;
    if (is_marked(watch_at(i)->state))
      put(&traced.first, i);
    else
      watch_free(i);
  }
  traced.white = 0;
}

/* ---- checking ---- */

static void give_nowhere(uintptr_t word) { (void)word; }

const char *traced_check(void) {
  traced.named = false;
  traced.give = give_nowhere;
  for (uint32_t i = traced.first; i != 0; i = watch_at(i)->next_queued)
    if (watch_at(i)->asked == traced.stop) traced_call(watch_at(i)->object, watch_at(i)->value);
  traced.give = NULL;
  return traced.named ? "an object whose pointers the program names has named one that was not marked" : NULL;
}
