/* mark.c - see mark.h. Everything here reads the program's memory with the world stopped, or, later,
 * beside it: each word through racy_load_word. */
#include "gc/mark.h"

#include "alloc/layout.h"
#include "gc/black.h"
#include "gc/marker.h"
#include "gc/pool.h"
#include "gc/rescan.h"
#include "gc/roots.h"
#include "gc/typed.h"
#include "runtime/meta.h"
#include "runtime/os.h"
#include "runtime/torture.h"

/* A stack entry is an address inside the heap, or, with this bit, the place in a large object where
 * scanning goes on (user addresses never have it). */
#define CONTINUE ((uintptr_t)1 << 63)

#define SHARE_EVERY 64       /* objects between looks at whether another marker is idle */
#define SHARE_MIN 8          /* entries below which none are shared */
#define AHEAD 128            /* words whose slots' bytes are asked for at once */
#define FOUND_MUCH (1 * MIB) /* bytes marked by a marker in a phase; some 0.4 ms */

static struct {
  struct marker marker[MARKERS_MAX + 1]; /* the last: of threads of the program that help, one at a time */
  unsigned markers;                      /* [const while marking] that have a stack */
  unsigned overflows;
  struct deadline deadline; /* [const in a phase] when it is broken off */
} mark GC_OWN_DATA;

struct class_info marker_class[SIZE_CLASSES] GC_OWN_DATA;

/* ---- one marker ---- */

static struct view view_of_heap(void) {
  return (struct view){(uintptr_t)heap.base, atomic_load_relaxed(&heap.limit), heap.desc, heap.slotmap,
                       other_colour(atomic32_load_relaxed(&heap.live_colour))};
}

/* The next piece of a large object; the rest goes below its words, where sharing takes it first. */
static GC_NO_SANITIZE uintptr_t *scan_large(struct marker *m, const struct view *v, uintptr_t *top, char *at,
                                            const char *end) {
  size_t words = (size_t)(end - at) / sizeof(uintptr_t);
  if (words > MARK_CHUNK_WORDS) words = MARK_CHUNK_WORDS;
  if (!marker_has_room(m, top, words)) return top;
  if (at + words * sizeof(uintptr_t) < end) *top++ = (uintptr_t)(at + words * sizeof(uintptr_t)) | CONTINUE;
  return push_words(v, top, at, words);
}

/* The next piece of a typed object, which is no larger: layouts with few pointers are read in passing. */
static uintptr_t *scan_typed(struct marker *m, const struct view *v, uintptr_t *top, const struct slot *s, char *at) {
  size_t from = (size_t)(at - s->object) / sizeof(uintptr_t), end = layout_room(s) / sizeof(uintptr_t);
  size_t to = min_size(end, from + MARK_CHUNK_WORDS);
  if (!marker_has_room(m, top, to - from)) return top;
  if (to < end) *top++ = (uintptr_t)(s->object + to * sizeof(uintptr_t)) | CONTINUE;
  return typed_push(top, (struct words){s->object, from, to}, layout_of(s), v->base, v->limit);
}

static GC_NOINLINE GC_NO_SANITIZE uintptr_t *scan_continued(struct marker *m, const struct view *v, uintptr_t *top,
                                                            uintptr_t w) {
  char *at = (char *)(w & ~CONTINUE);
  struct slot s = slot_find(at);
  if (s.object == NULL) return top;
  if (span_is_typed(s.page)) return scan_typed(m, v, top, &s, at);
  return scan_large(m, v, top, at, s.object + s.size);
}

static GC_NOINLINE void find_large(struct candidate *c, const char *p, uint64_t d) {
  *c = (struct candidate){NULL, NULL, 0, 0};
  if (d == 0) return;
  struct slot s = slot_find(p);
  *c = (struct candidate){s.object, s.state, 0, d & DESC_TYPED ? TYPED : desc_byte(d) & NOSCAN ? LARGE_NOSCAN : LARGE};
  __builtin_prefetch((const void *)(uintptr_t)s.state);
}

/* The slot around an address in the heap, without touching the slot or its byte. The fields are stored one by
 * one: a struct put together on the stack and copied as a whole would stall on store forwarding:
 * 184 ms instead of 124 for 2^25 objects. What is not read is not asked for either. */
GC_INLINE void find_candidate(struct candidate *c, const struct view *v, uintptr_t w) {
  size_t offset = w - v->base;
  uint64_t d = atomic_load_acquire(&v->desc[offset >> PAGE_SHIFT]);
  unsigned sc = desc_byte(d);
  if (GC_UNLIKELY(sc < 2)) {
    find_large(c, (const char *)w, d);
    return;
  }
  uint32_t size = marker_class[sc / 2].size, in_span = place_in_span(d, offset), index = slot_index(d, in_span);
  /* An index past the last slot meets a byte that is always 0 (mksizeclass checks that there is one). */
  atomic_u8 *state = v->slotmap + (size_t)desc_low(d) * 64 + index;
  char *object = (char *)(w - (in_span - index * size));
  uint32_t unread = d & DESC_TYPED ? TYPED : 0;
  __builtin_prefetch((const void *)(uintptr_t)state);
  __builtin_prefetch(sc & NOSCAN ? (const char *)(uintptr_t)state : object);
  c->state = state;
  c->object = object;
  c->size = size;
  c->scan = sc & NOSCAN ? unread : size;
}

static GC_NOINLINE GC_NO_SANITIZE uintptr_t *scan_uncommon(struct marker *m, const struct view *v, uintptr_t *top,
                                                           char *object, uint32_t scan) {
  struct slot s = slot_find(object);
  atomic_own_add(&m->bytes, s.size);
  if (scan != LARGE_NOSCAN) atomic_own_add(&m->scanned, s.size);
  switch (scan) {
    case LARGE_NOSCAN: return top;
    case TYPED: return scan_typed(m, v, top, &s, object);
    default: return scan_large(m, v, top, object, object + s.size);
  }
}

/* Of a drain, in registers. */
struct tally {
  uint64_t bytes, scanned, objects;
};

/* The slot's byte decides; white becomes black, and what a scanned object points to goes on the stack. */
GC_INLINE uintptr_t *mark_and_scan(struct marker *m, const struct view *v, uintptr_t *top, struct candidate c,
                                   struct tally *t) {
  if (atomic8_load_relaxed(c.state) != v->white) return top;
  TORTURE_STEP();                                         /* another marker, or gc_free */
  atomic8_store_relaxed(c.state, other_colour(v->white)); /* two markers may both get here: INV-MARK-1 */
  t->objects++;
  if (GC_UNLIKELY(c.scan > MARK_CHUNK_WORDS * sizeof(uintptr_t))) return scan_uncommon(m, v, top, c.object, c.scan);
  t->bytes += c.size;
  t->scanned += c.scan;
  return marker_has_room(m, top, c.scan / sizeof(uintptr_t)) ? push_words(v, top, c.object, c.scan / sizeof(uintptr_t))
                                                             : top;
}

static GC_NOINLINE uintptr_t *give_some(struct marker *m, uintptr_t *top) {
  size_t count = (size_t)(top - m->stack), n = min_size(count / 2, SHARE_MAX);
  n = pool_put(m->stack, n); /* from the bottom: the entries with the most behind them */
  memmove(m->stack, m->stack + n, (count - n) * sizeof m->stack[0]);
  return top - n;
}

/* What was in the ring has not been marked: back on the stack with it. marker_has_room keeps that much free. */
static uintptr_t *unload_ring(struct marker *m, uintptr_t *top) {
  for (unsigned i = 0; i < MARK_RING; i++) {
    if (m->ring[i].state != NULL) *top++ = (uintptr_t)m->ring[i].object;
    m->ring[i].state = NULL;
  }
  return top;
}

static void settle(struct marker *m, struct tally *t) {
  atomic_own_add(&m->bytes, t->bytes);
  atomic_own_add(&m->scanned, t->scanned);
  atomic_own_add(&m->objects, t->objects);
  *t = (struct tally){0, 0, 0};
}

static bool is_too_late(uint64_t found) {
  if (mark.deadline.soft == UINT64_MAX) return false;
  uint64_t now = os_now_ns();
  return now >= (found >= FOUND_MUCH ? mark.deadline.soft : mark.deadline.hard);
}

bool marker_must_break_off(const struct marker *m) {
  uint64_t bytes = atomic_load_relaxed(&m->bytes);
  if (bytes >= m->most) return true;
  if (!pool_is_closed() && is_too_late(bytes - m->begun)) pool_close();
  return pool_is_closed();
}

GC_NO_SANITIZE void marker_drain(struct marker *m, const struct view *heap_view, uintptr_t *top) {
  const struct view v = *heap_view;
  struct tally tally = {0, 0, 0};
  /* Of the ring, `held` places before `at` are in use, the others are empty. While there is work, what is taken is the oldest
   * of a full ring; when there is none, the oldest there is: a list would go around the ring once for each object. */
  unsigned at = 0, held = 0, until_share = SHARE_EVERY;
  while (held > 0 || top > m->stack) {
    bool more = top > m->stack;
    struct candidate *place = &m->ring[GC_LIKELY(more) ? at : (at - held) % MARK_RING];
    struct candidate oldest = {place->object, place->state, place->size, place->scan};
    if (GC_UNLIKELY(!more)) {
      place->state = NULL;
      held--;
    } else {
      uintptr_t w = *--top;
      at = (at + 1) % MARK_RING;
      held += held < MARK_RING;
      if (GC_UNLIKELY(w & CONTINUE)) {
        place->state = NULL;
        top = scan_continued(m, &v, top, w);
      } else {
        find_candidate(place, &v, w);
      }
    }
    if (GC_LIKELY(oldest.state != NULL)) top = mark_and_scan(m, &v, top, oldest, &tally);
    if (GC_UNLIKELY(--until_share == 0)) {
      until_share = SHARE_EVERY;
      settle(m, &tally);
      if (top - m->stack >= SHARE_MIN && pool_is_hungry()) top = give_some(m, top);
      if (GC_UNLIKELY(marker_must_break_off(m))) {
        top = unload_ring(m, top);
        break;
      }
    }
  }
  m->left = (size_t)(top - m->stack);
  settle(m, &tally);
}

/* The byte of the slot that the word points into, asked for early; NULL: it is for the drain to say. */
GC_INLINE const atomic_u8 *state_ahead(const struct view *v, uintptr_t w) {
  size_t offset = w - v->base;
  uint64_t d = atomic_load_acquire(&v->desc[offset >> PAGE_SHIFT]);
  if (GC_UNLIKELY(desc_byte(d) < 2)) return NULL;
  const atomic_u8 *state = v->slotmap + (size_t)desc_low(d) * 64 + slot_index(d, place_in_span(d, offset));
  __builtin_prefetch((const void *)(uintptr_t)state);
  return state;
}

GC_NO_SANITIZE uintptr_t *marker_keep_white(const struct view *heap_view, uintptr_t *from, uintptr_t *top) {
  const struct view v = *heap_view;
  const atomic_u8 *state[AHEAD];
  uintptr_t *kept = from;
  for (; from < top; from += AHEAD) {
    size_t n = min_size((size_t)(top - from), AHEAD);
    for (size_t i = 0; i < n; i++) state[i] = state_ahead(&v, from[i]);
    for (size_t i = 0; i < n; i++) {
      *kept = from[i];
      kept += state[i] == NULL || atomic8_load_relaxed(state[i]) == v.white;
    }
  }
  return kept;
}

/* Traces from the words of a range, a piece at a time. The stack is empty before and after. Beside the program most of them have
 * been found already, as hints or in a stop before. */
static GC_NO_SANITIZE void drain_range(struct marker *m, const struct view *v, const char *lo, const char *hi) {
  while (lo < hi && m->left == 0) {
    size_t words = min_size((size_t)(hi - lo) / sizeof(uintptr_t), m->room / 2);
    uintptr_t *top = push_words(v, m->stack, lo, words);
    if (heap_is_marking()) top = marker_keep_white(v, m->stack, top);
    marker_drain(m, v, top);
    lo += words * sizeof(uintptr_t);
  }
}

void mark_run(unsigned index) {
  struct marker *m = &mark.marker[index];
  struct view v = view_of_heap();
  struct range piece;
  if (m->left != 0) marker_drain(m, &v, m->stack + m->left);
  while (m->left == 0 && !pool_is_closed() && roots_take(&piece)) drain_range(m, &v, piece.lo, piece.hi);
  if (m->left == 0) rescan_pieces(m, &v);
  for (size_t n; m->left == 0 && (n = pool_take(m->stack, SHARE_MAX)) != 0;) marker_drain(m, &v, m->stack + n);
}

/* ---- a cycle ---- */

/* A smaller stack overflows more often, and is enough to finish. */
static bool stack_prepare(struct marker *m) {
  size_t bytes = min_size(MARK_STACK_WORDS * sizeof(uintptr_t), heap.pages * PAGE_SIZE / 256);
  while (m->stack == NULL && bytes >= 4 * MARK_CHUNK_WORDS * sizeof(uintptr_t)) {
    m->stack = meta_map(bytes);
    m->room = bytes / sizeof(uintptr_t);
    if (m->stack == NULL) bytes /= 2;
  }
  atomic_store_relaxed(&m->bytes, 0);
  atomic_store_relaxed(&m->scanned, 0);
  atomic_store_relaxed(&m->objects, 0);
  m->most = UINT64_MAX;
  m->left = 0;
  m->overflow = false;
  return m->stack != NULL;
}

/* The first marker's stack is got at the start: a cycle must be possible when there is no more memory. */
bool mark_init(void) {
  for (unsigned i = 0; i < SIZE_CLASSES; i++) marker_class[i] = (struct class_info){class_size[i], class_magic[i]};
  return stack_prepare(&mark.marker[0]);
}

unsigned mark_begin(unsigned n) {
  mark.overflows = 0;
  if (!stack_prepare(&mark.marker[MARKERS_MAX])) mark.marker[MARKERS_MAX].most = 0;
  for (mark.markers = 0; mark.markers < n && stack_prepare(&mark.marker[mark.markers]);) mark.markers++;
  return mark.markers;
}

/* What a marker has left that does not take part now goes to the first one. */
static void adopt(struct marker *to, struct marker *from) {
  if (from->left == 0) return;
  if (to->left + from->left + MARK_RING < to->room) {
    memcpy(to->stack + to->left, from->stack, from->left * sizeof to->stack[0]);
    to->left += from->left;
  } else {
    to->overflow = true;
  }
  from->left = 0;
}

static void mark_adopt_assist(void) {
  adopt(&mark.marker[0], &mark.marker[MARKERS_MAX]);
  mark.marker[0].overflow |= mark.marker[MARKERS_MAX].overflow;
  mark.marker[MARKERS_MAX].overflow = false;
}

bool mark_assist(uint64_t bytes) {
  struct marker *m = &mark.marker[MARKERS_MAX];
  struct view v = view_of_heap();
  if (m->stack == NULL) return false;
  if (m->left == 0) m->left = pool_try_take(m->stack, SHARE_MAX);
  if (m->left == 0) return false;
  m->most = atomic_load_relaxed(&m->bytes) + bytes;
  marker_drain(m, &v, m->stack + m->left);
  m->most = UINT64_MAX;
  size_t given = pool_put(m->stack, m->left); /* so that it does not wait for the next assist */
  memmove(m->stack, m->stack + given, (m->left - given) * sizeof m->stack[0]);
  m->left -= given;
  return true;
}

bool mark_assist_has_left(void) { return mark.marker[MARKERS_MAX].left != 0 || pool_has_work(); }

unsigned mark_phase_begin(unsigned n, struct deadline deadline) {
  n = (unsigned)min_size(n, mark.markers);
  for (unsigned i = n; i < mark.markers; i++) adopt(&mark.marker[0], &mark.marker[i]);
  mark_adopt_assist();
  mark.deadline = deadline;
  for (unsigned i = 0; i <= MARKERS_MAX; i++) mark.marker[i].begun = atomic_load_relaxed(&mark.marker[i].bytes);
  pool_begin(n);
  return n;
}

bool mark_phase_done(void) {
  bool done = !pool_is_closed();
  for (unsigned i = 0; i < mark.markers; i++) done = done && mark.marker[i].left == 0 && !mark.marker[i].overflow;
  return done;
}

uint64_t mark_bytes(void) {
  uint64_t sum = 0;
  for (unsigned i = 0; i <= MARKERS_MAX; i++) sum += atomic_load_relaxed(&mark.marker[i].bytes);
  return sum;
}

uint64_t mark_noscan_bytes(void) {
  uint64_t scanned = 0;
  for (unsigned i = 0; i <= MARKERS_MAX; i++) scanned += atomic_load_relaxed(&mark.marker[i].scanned);
  return mark_bytes() - scanned;
}

uint64_t mark_objects(void) {
  uint64_t sum = 0;
  for (unsigned i = 0; i <= MARKERS_MAX; i++) sum += atomic_load_relaxed(&mark.marker[i].objects);
  return sum;
}

unsigned mark_overflows(void) { return mark.overflows; }

/* ---- after an overflow ---- */

/* Objects are put on the stack many at a time: each drain begins with an empty ring. */
struct rescan {
  struct marker *m;
  struct view v;
  uintptr_t *top;
};

static GC_NO_SANITIZE void scan_again(const struct slot *s, void *arg) {
  struct rescan *r = arg;
  bool typed = span_is_typed(s->page);
  size_t end = (typed ? layout_room(s) : s->size) / sizeof(uintptr_t);
  for (size_t from = 0, to; from < end; from = to) {
    to = min_size(end, from + MARK_CHUNK_WORDS);
    if (r->top + (to - from) > r->m->stack + r->m->room / 2) {
      marker_drain(r->m, &r->v, r->top);
      r->top = r->m->stack;
    }
    if (typed)
      r->top = typed_push(r->top, (struct words){s->object, from, to}, layout_of(s), r->v.base, r->v.limit);
    else
      r->top = push_words(&r->v, r->top, s->object + from * sizeof(uintptr_t), to - from);
  }
}

/* One marker alone, as often as its own stack overflows again: each time more objects are black. What an assist made it
 * give away, or gave itself, it takes back. */
void mark_finish(void) {
  mark.deadline = DEADLINE_NEVER;
  pool_begin(1);
  for (bool again = false;; again = false) {
    for (unsigned i = 0; i < mark.markers; i++) {
      again |= mark.marker[i].overflow;
      mark.marker[i].overflow = false;
    }
    if (!again) return;
    mark.overflows++;
    struct rescan r = {&mark.marker[0], view_of_heap(), mark.marker[0].stack};
    black_each(scan_again, &r);
    marker_drain(r.m, &r.v, r.top);
    for (size_t n; (n = pool_try_take(r.m->stack, SHARE_MAX)) != 0;) marker_drain(r.m, &r.v, r.m->stack + n);
  }
}

void mark_forget(void) { mark.marker[0].overflow = true; }
void mark_note(uint64_t bytes) { settle(&mark.marker[0], &(struct tally){bytes, bytes, 1}); }
