/* verdict.c - see verdict.h. */
#include "gc/verdict.h"

#include "alloc/layout.h"
#include "gc/closure.h"
#include "gc/finalize.h"
#include "gc/links.h"
#include "gc/roots.h"
#include "gc/traced.h"
#include "gc/weak.h"

#define PLAIN_ROUNDS 3 /* of marking by all markers, before chains are followed by one */
#define ROUNDS_BESIDE 8
#define PIECE 1024 /* records looked at while threads of the program may want the lock */
#define AHEAD 16   /* records whose slot bytes are asked for ahead */

enum step { BEGIN, CONVERGE, ORDER, LATE, LAST };
enum { NOT_DOOMED, DOOMED, DOOMED_IF_WHITE, DOOMED_LATE };

/* [L:WATCH; STW] */
static struct {
  enum step step;
  unsigned rounds; /* of the current step */
  bool listed;     /* the open list of this cycle is being made, or is made */
  uint32_t open;   /* its first; 0 ends it */
  uint64_t asked;  /* values handed to marking since this was set to 0 */
  uint64_t queued; /* in this cycle, so far, as found */
  struct verdict_counts counts, found;
} verdict GC_OWN_DATA;

struct verdict_counts verdict_counts(void) {
  return verdict.counts;
}

/* ---- the open list ---- */

static void push_open(uint32_t i) {
  struct watch *w = watch_at(i);
  if (w->is_open) return;
  w->is_open = true;
  w->next_open = verdict.open;
  verdict.open = i;
}

void verdict_reopen(uint32_t i) {
  if (verdict.listed) push_open(i);
}

/* Nothing is decided about it here. */
static bool is_others(const struct watch *w) {
  switch (w->kind) {
    case WATCH_NONE:
    case WATCH_KEPT:
    case WATCH_TRACED:
    case WATCH_DEAD:
    case WATCH_DEAD_LINK: return true;
    default: return false;
  }
}

static bool is_settled(const struct watch *w) {
  if (is_others(w) || w->kind == WATCH_CANCELLED) return true;
  if (w->doomed != NOT_DOOMED) return false;
  if (w->value != 0 && w->asked != watch_cycle()) return false;
  return w->kind == WATCH_QUEUED || (is_marked(w->state) && is_marked(w->other_state));
}

/* ---- converging ---- */

static void give_plainly(uintptr_t word) {
  if (heap_contains(word)) roots_add_word(NULL, (const void *)word);
}

static void give_to_closure(uintptr_t word) {
  if (!closure_push(word)) give_plainly(word);
}

/* Hands what the record keeps to marking, once per cycle. */
static void ask(struct watch *w, void (*give)(uintptr_t word)) {
  bool queued = w->kind == WATCH_QUEUED, surely = queued || (w->how & HOW_HELD) != 0;
  if (is_others(w) || w->asked == watch_cycle() || (w->value == 0 && !queued)) return;
  if (!surely && !(is_marked(w->state) && is_marked(w->other_state))) return;
  w->asked = watch_cycle();
  verdict.asked++;
  give(w->value);
  if (queued) give((uintptr_t)w->object);
}

/* An object has turned black that may be a key, or a handle. */
static void met(const struct slot *s) {
  if (!page_is_watched(s->page)) return;
  for (uint32_t key = 0; (key = watch_find(s->object, key)) != 0;) ask(watch_at(key), give_to_closure);
  uint32_t i = weak_record_of(s);
  if (i != 0) ask(watch_at(i), give_to_closure);
}

/* One round over the open list; what is settled leaves it. True: marking has something to do. */
static bool converge_open(void) {
  bool plain = verdict.rounds++ < PLAIN_ROUNDS;
  uint32_t *link = &verdict.open;
  verdict.asked = 0;
  for (uint32_t i; (i = *link) != 0;) {
    struct watch *w = watch_at(i);
    ask(w, plain ? give_plainly : give_to_closure);
    if (!plain) closure_run(met);
    if (!is_settled(w)) {
      link = &w->next_open;
      continue;
    }
    *link = w->next_open;
    w->is_open = false;
  }
  return verdict.asked != 0;
}

/* Records [from, to): the open list is made of those that are not settled. */
static void list_some(uint32_t from, uint32_t to) {
  for (uint32_t i = from; i < to; i++) {
    if (i + AHEAD < to) {
      __builtin_prefetch((const void *)(uintptr_t)watch_at(i + AHEAD)->state);
      __builtin_prefetch((const void *)(uintptr_t)watch_at(i + AHEAD)->other_state);
    }
    struct watch *w = watch_at(i);
    ask(w, give_plainly);
    if (!is_settled(w)) push_open(i);
  }
}

static bool list_all(void) {
  verdict.listed = true;
  verdict.asked = 0;
  verdict.rounds = 0;
  list_some(1, watch_end());
  return verdict.asked != 0;
}

/* ---- beside the program ---- */

/* A record is made or freed between two pieces at any place: what is made goes on the list, since listed is set. */
static void list_beside(void) {
  bool more = true;
  for (uint32_t i = 1; more; i += PIECE) {
    watch_lock();
    if (i == 1) verdict.listed = true;
    uint32_t end = watch_end();
    list_some(i, i + PIECE < end ? i + PIECE : end);
    more = i + PIECE < end;
    watch_unlock();
  }
}

static bool converge_beside(void) {
  watch_lock();
  bool more = converge_open();
  watch_unlock();
  return more;
}

void verdict_beside(void (*mark)(void)) {
  if (atomic_load_relaxed(&watch_counts) == 0) return;
  verdict.rounds = 0;
  list_beside();
  for (int round = 0; round < ROUNDS_BESIDE; round++) {
    roots_seal();
    mark();
    if (!converge_beside()) break;
  }
}

/* ---- deciding ---- */

/* What it points to is not to be finalized before it. */
static GC_NO_SANITIZE void mark_children(const struct watch *w) {
  struct slot s = slot_find(w->object);
  uintptr_t lo = (uintptr_t)s.object, itself = (w->how & HOW_SELF) != 0 ? 0 : s.size; /* words that do not count */
  if (w->value - lo >= itself) give_plainly(w->value);
  if (span_class_is_noscan(s.sc)) {
    traced_name_children(&s, itself != 0);
    return;
  }
  const struct gc_layout *l = layout_to_read(&s);
  for (size_t i = 0; i < s.size / sizeof(uintptr_t); i++) {
    uintptr_t word = racy_load_word(s.object + i * sizeof(uintptr_t));
    if (layout_may_point(l, i) && word - lo >= itself) give_plainly(word);
  }
}

static void bury_weak(uint32_t i) {
  weak_clear(i);
  watch_bury(i, WATCH_DEAD);
}

static void bury_link(uint32_t i) {
  link_clear(i);
  link_bury(i);
}

/* Before any object's words are read for the order of turns: links may be among them. */
static void clear_weak(void) {
  for (uint32_t i = verdict.open, next; i != 0; i = next) {
    struct watch *w = watch_at(i);
    next = w->next_open;
    if (is_marked(w->state)) continue;
    if (w->kind == WATCH_WEAK || w->kind == WATCH_EPHEMERON) bury_weak(i);
    if (w->kind == WATCH_LINK) bury_link(i);
  }
}

/* True: some objects are to be finalized. */
static bool doom(void) {
  bool doomed = false;
  for (uint32_t i = verdict.open; i != 0; i = watch_at(i)->next_open) {
    struct watch *w = watch_at(i);
    /* One that was doomed in an earlier stop has named what it keeps already. */
    if (w->kind != WATCH_FINALIZER || w->doomed != NOT_DOOMED || is_marked(w->state)) continue;
    w->doomed = w->how & HOW_SURELY ? DOOMED : w->how & HOW_LAST ? DOOMED_LATE : DOOMED_IF_WHITE;
    doomed = true;
    if (w->how & HOW_FIRST) mark_children(w);
  }
  return doomed;
}

static bool decide(void) {
  clear_weak();
  return doom();
}

static void queue_doomed(int turn) {
  for (uint32_t i = verdict.open; i != 0; i = watch_at(i)->next_open) {
    struct watch *w = watch_at(i);
    if (w->doomed != turn) continue;
    w->doomed = NOT_DOOMED;
    bool now = turn == DOOMED || !is_marked(w->state);
    verdict.queued += now;
    verdict.found.waiting += !now;
    if (now) finalize_queue(i);
  }
}

static void object_died(uint32_t i) {
  switch (watch_at(i)->kind) {
    case WATCH_LONG_WEAK: bury_weak(i); break;
    case WATCH_LONG_LINK: bury_link(i); break;
    case WATCH_TOGGLE: watch_bury(i, WATCH_DEAD); break;
    default: break;
  }
}

static void other_died(uint32_t i) {
  switch (watch_at(i)->kind) {
    case WATCH_NONE: break;
    case WATCH_LINK:
    case WATCH_LONG_LINK: link_bury(i); break;
    default:
      weak_handle_died(i);
      watch_bury(i, WATCH_DEAD);
      break;
  }
}

static void end(void) {
  for (uint32_t i = verdict.open, next; i != 0; i = next) {
    struct watch *w = watch_at(i);
    next = w->next_open;
    w->is_open = false;
    if (!is_marked(w->state)) object_died(i);
    if (!is_marked(w->other_state)) other_died(i);
  }
  verdict.open = 0;
  verdict.listed = false;
  verdict.counts = verdict.found;
  if (verdict.queued == 0) verdict.counts.stuck = verdict.counts.waiting;
  verdict.found = (struct verdict_counts){0, 0};
  verdict.queued = 0;
}

/* ---- in the stop ---- */

static void go_to(enum step step) {
  verdict.step = step;
  verdict.rounds = 0;
}

/* A step has converged; true: the next one wants marking. */
static bool next_step(void) {
  switch (verdict.step) {
    case CONVERGE: go_to(ORDER); return decide();
    case ORDER: /* unordered ones come first: what they point to may be about to be finalized, too */
      queue_doomed(DOOMED);
      queue_doomed(DOOMED_IF_WHITE);
      go_to(LATE);
      return false;
    case LATE:
      queue_doomed(DOOMED_LATE);
      go_to(LAST);
      return false;
    default:
      end();
      go_to(BEGIN);
      return false;
  }
}

static bool run_steps(void) {
  if (verdict.step == BEGIN) {
    go_to(CONVERGE);
    if (!verdict.listed && list_all()) return true;
  }
  do {
    if (converge_open() || next_step()) return true;
  } while (verdict.step != BEGIN);
  return false;
}

void verdict_over(void) {
  if (atomic_load_relaxed(&watch_counts) == 0) return;
  for (bool more = true; more;) {
    watch_lock();
    more = watch_free_dead(PIECE / 8);
    watch_unlock();
  }
}

void verdict_put_off(void) {
  if (verdict.step != BEGIN) go_to(CONVERGE);
}

bool verdict_marked(void) {
  if (atomic_load_relaxed(&watch_counts) == 0) return false;
  watch_lock();
  bool more = run_steps();
  watch_unlock();
  return more;
}
