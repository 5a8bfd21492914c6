/* path.c - see path.h. Everything between stop and resume reads other threads' memory through racy_load_word, takes memory from
 * the kernel alone, and leaves names to whoever prints. */
#include "gc/path.h"

#include "alloc/cache.h"
#include "alloc/layout.h"
#include "alloc/slotmap.h"
#include "alloc/sweep.h"
#include "gc/background.h"
#include "gc/cycle.h"
#include "gc/weak.h"
#include "runtime/os.h"
#include "runtime/thread.h"
#include "runtime/world.h"

#define NO_PARENT UINT64_MAX /* the word is in a root */

/* An object in order of finding. */
struct found {
  const char *word;
  uint64_t parent; /* index of the object that holds the word */
};

struct search {
  const char *target;
  uint64_t *seen; /* bit per 8 bytes of heap: an object that begins there is in the queue */
  struct found *queue;
  size_t seen_bytes, queue_bytes, room, count, next;
  size_t goal;       /* index of the target; SIZE_MAX: not found */
  struct range skip; /* words here that point to the target do not count */
  size_t skipped;
  const char *first_skipped;
};

struct question {
  uintptr_t hidden;
  struct path *out;
};

/* ---- memory ---- */

static size_t count_slots(void) {
  size_t pages = atomic_load_relaxed(&heap.limit) >> PAGE_SHIFT, n = 0;
  for (uint32_t page = 0; page < pages; page++) {
    uint64_t d = page_desc(page);
    if (desc_is_first(d)) n += desc_class(d) < 2 ? 1 : span_class_slots(desc_class(d));
  }
  return n;
}

static bool search_map(struct search *s) {
  s->room = count_slots() + 1;
  s->seen_bytes = round_up(atomic_load_relaxed(&heap.limit) / 64 + 8, os_page_size());
  s->queue_bytes = round_up(s->room * sizeof *s->queue, os_page_size());
  s->seen = os_map(s->seen_bytes);
  s->queue = s->seen != NULL ? os_map(s->queue_bytes) : NULL;
  if (s->queue == NULL && s->seen != NULL) os_unreserve(s->seen, s->seen_bytes);
  return s->queue != NULL;
}

static void search_unmap(struct search *s) {
  os_unreserve(s->seen, s->seen_bytes);
  os_unreserve(s->queue, s->queue_bytes);
}

/* ---- tracing ---- */

/* An object of the program: what the last cycle found dead, and what a thread has claimed and not handed out, is none. */
static bool is_object(const struct slot *s) {
  return s->object != NULL && slot_is_in_use(atomic8_load_relaxed(s->state)) && !cache_holds_back(s);
}

static bool first_visit(struct search *s, const char *object) {
  size_t i = (size_t)(object - heap.base) / 8;
  uint64_t bit = (uint64_t)1 << (i % 64);
  bool is_first = (s->seen[i / 64] & bit) == 0;
  s->seen[i / 64] |= bit;
  return is_first;
}

static bool is_skipped(struct search *s, const char *word, const char *object) {
  if (object != s->target || word < s->skip.lo || word >= s->skip.hi) return false;
  if (s->skipped++ == 0) s->first_skipped = word;
  return true;
}

static GC_NO_SANITIZE void consider(struct search *s, const char *word, uint64_t parent) {
  uintptr_t w = racy_load_word(word);
  if (!heap_contains(w)) return;
  struct slot slot = slot_find((const void *)w);
  if (!is_object(&slot) || is_skipped(s, word, slot.object) || !first_visit(s, slot.object)) return;
  if (slot.object == s->target) s->goal = s->count;
  s->queue[s->count++] = (struct found){word, parent};
}

static bool is_over(const struct search *s) { return s->goal != SIZE_MAX; }

/* What is not of the heap is always there. */
static bool is_reached(const struct search *s, const void *p) {
  struct slot slot = slot_find(p);
  size_t i = (size_t)(slot.object - heap.base) / 8;
  return slot.object == NULL || (s->seen[i / 64] & (uint64_t)1 << (i % 64)) != 0;
}

/* The record of an object that was reached. The second of key and ephemeron to be expanded finds the other one reached. */
static void follow_record(struct search *s, uint32_t record, uint64_t index) {
  const struct watch *w = watch_at(record);
  bool follow = w->kind == WATCH_FINALIZER;
  if (w->kind == WATCH_EPHEMERON) follow = is_reached(s, w->object) && is_reached(s, w->other);
  if (follow && !is_over(s)) consider(s, (const char *)&w->value, index);
}

/* Those of objects in the slot - a tiny block has several - and the one whose handle it is. */
static void follow_records(struct search *s, const struct slot *slot, uint64_t index) {
  if (!page_is_watched(slot->page)) return;
  size_t places = slot->sc == TINY_SPAN_CLASS ? slot->size : 1;
  for (size_t k = 0; k < places; k++)
    for (uint32_t i = 0; (i = watch_find(slot->object + k, i)) != 0;) follow_record(s, i, index);
  uint32_t i = weak_record_of(slot);
  if (i != 0) follow_record(s, i, index);
}

/* What records keep, whatever is reached. */
static void search_records(struct search *s) {
  for (uint32_t i = 1; i < watch_end() && !is_over(s); i++) {
    const struct watch *w = watch_at(i);
    bool queued = w->kind == WATCH_QUEUED, held = w->kind == WATCH_FINALIZER || w->kind == WATCH_TOGGLE;
    if (queued) consider(s, (const char *)&w->object, NO_PARENT);
    if ((queued || (held && w->how & HOW_HELD)) && !is_over(s)) consider(s, (const char *)&w->value, NO_PARENT);
  }
}

static GC_NO_SANITIZE void expand(struct search *s, uint64_t index) {
  struct slot slot = slot_find((const void *)racy_load_word(s->queue[index].word));
  follow_records(s, &slot, index);
  if (span_class_is_noscan(slot.sc)) return;
  const struct gc_layout *l = layout_to_read(&slot);
  for (size_t i = 0; i < slot.size / sizeof(uintptr_t) && !is_over(s); i++)
    if (layout_may_point(l, i)) consider(s, slot.object + i * sizeof(uintptr_t), index);
}

static void search_roots(struct search *s, bool stacks) {
  struct range piece;
  if (!stacks) search_records(s);
  roots_rewind();
  while (!is_over(s) && roots_take(&piece)) {
    if (roots_is_stack(piece.lo) != stacks) continue;
    for (; piece.lo < piece.hi && !is_over(s); piece.lo += sizeof(uintptr_t)) consider(s, piece.lo, NO_PARENT);
  }
  while (!is_over(s) && s->next < s->count) expand(s, s->next++);
}

/* ---- the answer ---- */

static enum path_edge edge_of(const char *word, const struct slot *holder) {
  uint32_t i = watch_around(word);
  if (i == 0) return EDGE_WORD;
  if (watch_at(i)->kind == WATCH_FINALIZER) return EDGE_ARGUMENT;
  return slot_find(watch_at(i)->object).object == holder->object ? EDGE_KEY : EDGE_EPHEMERON;
}

static GC_NO_SANITIZE struct path_step describe(const char *word) {
  struct path_step step = {EDGE_WORD, (uintptr_t)word, racy_load_word(word), 0, 0, 0, SAMPLE_NO_SITE};
  struct slot slot = slot_find((const void *)step.value);
  step.object = (uintptr_t)slot.object;
  step.size = slot.size;
  step.sc = slot.sc;
  step.site = sample_site(&slot);
  return step;
}

static GC_NO_SANITIZE void describe_step(struct path_step *step, const struct search *s, uint64_t at) {
  const struct found *f = &s->queue[at];
  *step = describe(f->word);
  if (f->parent == NO_PARENT) return;
  struct slot holder = slot_find((const void *)racy_load_word(s->queue[f->parent].word));
  step->edge = edge_of(f->word, &holder);
}

static GC_NO_SANITIZE void describe_root(struct path *out, const char *word) {
  out->root = roots_place(word);
  if (out->root.kind != ROOT_STACK) return;
  for (; out->above_count < PATH_ABOVE && word < out->root.range.hi; word += sizeof(uintptr_t))
    out->above[out->above_count++] = racy_load_word(word);
}

static void describe_path(struct path *out, const struct search *s) {
  size_t i = 0;
  out->answer = PATH_ALIVE;
  for (uint64_t at = s->goal; at != NO_PARENT; at = s->queue[at].parent) out->length++;
  for (uint64_t at = s->goal; at != NO_PARENT; at = s->queue[at].parent) {
    size_t place = out->length - 1 - i++;
    bool shown = place < PATH_ENDS || out->length - place <= PATH_ENDS;
    if (shown) describe_step(&out->step[path_step(out, place) - out->step], s, at);
    if (place == 0) describe_root(out, s->queue[at].word);
  }
}

static void describe_own_words(struct path *out, const struct search *s) {
  out->answer = PATH_ALIVE;
  out->length = 1;
  out->only_own_words = true;
  out->step[0] = describe(s->first_skipped);
  describe_root(out, s->first_skipped);
}

static void look(struct path *out, struct search *s) {
  struct thread *self = tl_thread;
  s->skip = (struct range){self->sp, self->stack_base};
  if (self->other_stack.lo != NULL) s->skip = self->other_stack;
  search_roots(s, false);
  out->only_stacks = !is_over(s);
  if (!is_over(s)) search_roots(s, true);
  out->own_words = s->skipped;
  out->answer = PATH_UNREACHABLE;
  if (is_over(s))
    describe_path(out, s);
  else if (s->skipped != 0)
    describe_own_words(out, s);
}

/* World stopped, roots listed. */
static void answer(const struct question *q, const struct slot *slot) {
  struct search s = {.target = slot->object, .goal = SIZE_MAX};
  if (!search_map(&s)) {
    q->out->answer = PATH_NO_MEMORY;
    return;
  }
  look(q->out, &s);
  q->out->target =
      (struct path_step){EDGE_WORD, 0, ~q->hidden, (uintptr_t)slot->object, slot->size, slot->sc, sample_site(slot)};
  search_unmap(&s);
}

static void in_stop(char *sp, void *arg) {
  const struct question *q = arg;
  roots_stop_and_gather(sp, false);
  for (struct cache *c = cache_first(); c != NULL; c = c->next)
    cache_stopped(c, atomic32_load_relaxed(&heap.live_colour), roots_add_word, NULL); /* they are of that colour */
  roots_seal();
  struct slot slot = slot_find((const void *)~q->hidden);
  q->out->answer = slot.object == NULL ? PATH_NOT_HEAP : PATH_NO_OBJECT;
  if (is_object(&slot)) answer(q, &slot);
  world_start();
}

/* Like a cycle, but that what was sweeping goes on where it was. The caller's cache goes back first, as in gc_collect: the
 * last object that this thread made is kept by nothing else. */
void path_find(uintptr_t hidden, struct path *out) {
  struct question q = {hidden, out};
  thread_defer_stops();
  if (tl_cache != &empty_cache) cache_flush(tl_cache);
  thread_allow_stops();
  cycle_keep_out();
  background_hold();
  world_with_spilled_registers(in_stop, &q);
  background_let_go();
  cycle_let_in();
}
