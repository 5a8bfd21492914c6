/* mark.c - see mark.h. Everything here reads the program's memory with the world stopped, or, later,
 * beside it: each word through racy_load_word. */
#include "gc/mark.h"

#include "alloc/layout.h"
#include "alloc/slotmap.h"
#include "gc/black.h"
#include "gc/pool.h"
#include "gc/remark.h"
#include "gc/roots.h"
#include "gc/typed.h"
#include "runtime/meta.h"
#include "runtime/os.h"
#include "runtime/torture.h"

/* A stack entry is an address inside the heap, or, with this bit, the place in a large object where
 * scanning goes on (user addresses never have it). */
#define CONTINUE ((uintptr_t)1 << 63)

#define SHARE_EVERY 64 /* objects between looks at whether another marker is idle */
#define SHARE_MIN 8    /* entries below which none are shared */
#define SHARE_MAX 256
#define AHEAD 128            /* words whose slots' bytes are asked for at once */
#define FOUND_MUCH (1 * MIB) /* bytes marked by a marker in a phase; some 0.4 ms */

struct candidate {
  char *object;
  atomic_u8 *state; /* NULL: empty place in the ring */
  uint32_t size;    /* bytes to scan; 0: noscan or typed; LARGE: scan in chunks */
};
#define LARGE UINT32_MAX

struct marker {
  uintptr_t *stack; /* [own] */
  size_t room;      /* words of it */
  size_t left;      /* [own; collector between phases] entries that a phase which was broken off left on the stack */
  atomic_word bytes, objects; /* [own, read by others as progress] */
  uint64_t most;              /* [own] bytes after which a drain is broken off */
  uint64_t begun;             /* [collector between phases] bytes when the phase began */
  bool overflow;
  struct candidate ring[MARK_RING];
} __attribute__((aligned(128)));

/* What the loop needs of a size class, in one line. */
struct class_info {
  uint32_t size, magic;
};

static struct {
  struct marker marker[MARKERS_MAX + 1]; /* the last: of threads of the program that help, one at a time */
  struct class_info info[SIZE_CLASSES];  /* [const] */
  unsigned markers;                      /* [const while marking] that have a stack */
  unsigned overflows;
  struct deadline deadline; /* [const in a phase] when it is broken off */
} mark GC_OWN_DATA;

/* ---- one marker ---- */

/* What the loop reads at every step, in locals: the compiler must assume that each store to the stack may
 * change any field, and would load them all again. */
struct view {
  uintptr_t base, limit;
  const atomic_word *desc;
  atomic_u8 *slotmap;
  unsigned white;
};

static struct view view_of_heap(void) {
  return (struct view){(uintptr_t)heap.base, atomic_load_relaxed(&heap.limit), heap.desc, heap.slotmap,
                       other_colour(atomic32_load_relaxed(&heap.live_colour))};
}

/* Puts the words that point into the heap on the stack, the last first: the first comes off first, and
 * memory is walked in the order in which it was built. Branch-free: about half of all words are pointers,
 * in no order that a predictor could learn.
 * Four words at a time with AVX-512 was no faster: marking waits for memory. */
GC_INLINE GC_NO_SANITIZE uintptr_t *push_words(const struct view *v, uintptr_t *top, const char *at, size_t words) {
  for (size_t b = words * sizeof(uintptr_t); b > 64; b -= 64) __builtin_prefetch(at + b - 1); /* the first is here */
  for (size_t i = words; i-- > 0;) {
    uintptr_t w = racy_load_word(at + i * sizeof(uintptr_t));
    *top = w;
    top += w - v->base < v->limit;
  }
  return top;
}

/* Room for what one object or chunk can push, and its continuation. What does not fit is forgotten: its
 * parent is black, and mark_finish looks at all black objects again. */
GC_INLINE bool room_for(struct marker *m, const uintptr_t *top, size_t words) {
  if (GC_LIKELY(top + words + 1 + MARK_RING <= m->stack + m->room)) return true;
  m->overflow = true;
  return false;
}

/* The next piece of a large object; the rest goes below its words, where sharing takes it first. */
static GC_NO_SANITIZE uintptr_t *scan_large(struct marker *m, const struct view *v, uintptr_t *top, char *at,
                                            const char *end) {
  size_t words = (size_t)(end - at) / sizeof(uintptr_t);
  if (words > MARK_CHUNK_WORDS) words = MARK_CHUNK_WORDS;
  if (!room_for(m, top, words)) return top;
  if (at + words * sizeof(uintptr_t) < end) *top++ = (uintptr_t)(at + words * sizeof(uintptr_t)) | CONTINUE;
  return push_words(v, top, at, words);
}

/* The next piece of a typed object, which is no larger: layouts with few pointers are read in passing. */
static uintptr_t *scan_typed(struct marker *m, const struct view *v, uintptr_t *top, const struct slot *s, char *at) {
  size_t from = (size_t)(at - s->object) / sizeof(uintptr_t), end = layout_room(s) / sizeof(uintptr_t);
  size_t to = min_size(end, from + MARK_CHUNK_WORDS);
  if (!room_for(m, top, to - from)) return top;
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
  *c = (struct candidate){NULL, NULL, 0};
  if (d == 0) return;
  struct slot s = slot_find(p);
  *c = (struct candidate){s.object, s.state, desc_byte(d) & NOSCAN ? 0 : LARGE};
  __builtin_prefetch((const void *)(uintptr_t)s.state);
}

/* Where in the span of the page with descriptor d the word points, and to which of its slots. Two functions, since no local's
 * address may be taken here: gcc's address sanitizer, which does not look into a drain, would leave its stack poisoned. */
GC_INLINE uint32_t place_in_span(uint64_t d, size_t offset) {
  return (uint32_t)(offset & (PAGE_SIZE - 1)) + (uint32_t)(desc_place(d) << PAGE_SHIFT);
}
GC_INLINE uint32_t slot_index(uint64_t d, uint32_t in_span) {
  return (uint32_t)(((uint64_t)in_span * mark.info[desc_byte(d) / 2].magic) >> 32);
}

/* The slot around an address in the heap, without touching the slot or its byte. The fields are stored one by
 * one: a struct put together on the stack and copied as a whole would stall on store forwarding:
 * 184 ms instead of 124 for 2^25 objects. */
GC_INLINE void find_candidate(struct candidate *c, const struct view *v, uintptr_t w) {
  size_t offset = w - v->base;
  uint64_t d = atomic_load_acquire(&v->desc[offset >> PAGE_SHIFT]);
  unsigned sc = desc_byte(d);
  if (GC_UNLIKELY(sc < 2)) {
    find_large(c, (const char *)w, d);
    return;
  }
  uint32_t size = mark.info[sc / 2].size, in_span = place_in_span(d, offset), index = slot_index(d, in_span);
  /* An index past the last slot meets a byte that is always 0 (mksizeclass checks that there is one). */
  atomic_u8 *state = v->slotmap + (size_t)desc_low(d) * 64 + index;
  char *object = (char *)(w - (in_span - index * size));
  __builtin_prefetch((const void *)(uintptr_t)state);
  __builtin_prefetch(object);
  c->state = state;
  c->object = object;
  c->size = sc & NOSCAN ? 0 : size;
}

static GC_NOINLINE GC_NO_SANITIZE uintptr_t *scan_uncommon(struct marker *m, const struct view *v, uintptr_t *top,
                                                           char *object, uint32_t size) {
  struct slot s = slot_find(object);
  atomic_own_add(&m->bytes, s.size);
  if (size != 0) return scan_large(m, v, top, object, object + s.size);
  return span_is_typed(s.page) ? scan_typed(m, v, top, &s, object) : top;
}

/* Of a drain, in registers. */
struct tally {
  uint64_t bytes, objects;
};

/* The slot's byte decides; white becomes black, and what a scanned object points to goes on the stack. */
GC_INLINE uintptr_t *mark_and_scan(struct marker *m, const struct view *v, uintptr_t *top, struct candidate c,
                                   struct tally *t) {
  if (atomic8_load_relaxed(c.state) != v->white) return top;
  TORTURE_STEP();                                         /* another marker, or gc_free */
  atomic8_store_relaxed(c.state, other_colour(v->white)); /* two markers may both get here: INV-MARK-1 */
  t->objects++;
  if (GC_UNLIKELY(c.size - 1 >= MARK_CHUNK_WORDS * sizeof(uintptr_t)))
    return scan_uncommon(m, v, top, c.object, c.size);
  t->bytes += c.size;
  return room_for(m, top, c.size / sizeof(uintptr_t)) ? push_words(v, top, c.object, c.size / sizeof(uintptr_t)) : top;
}

static GC_NOINLINE uintptr_t *give_some(struct marker *m, uintptr_t *top) {
  size_t count = (size_t)(top - m->stack), n = min_size(count / 2, SHARE_MAX);
  n = pool_put(m->stack, n); /* from the bottom: the entries with the most behind them */
  memmove(m->stack, m->stack + n, (count - n) * sizeof m->stack[0]);
  return top - n;
}

/* What was in the ring has not been marked: back on the stack with it. room_for keeps that much free. */
static uintptr_t *unload_ring(struct marker *m, uintptr_t *top) {
  for (unsigned i = 0; i < MARK_RING; i++) {
    if (m->ring[i].state != NULL) *top++ = (uintptr_t)m->ring[i].object;
    m->ring[i].state = NULL;
  }
  return top;
}

static void settle(struct marker *m, struct tally *t) {
  atomic_own_add(&m->bytes, t->bytes);
  atomic_own_add(&m->objects, t->objects);
  *t = (struct tally){0, 0};
}

static bool is_too_late(uint64_t found) {
  if (mark.deadline.soft == UINT64_MAX) return false;
  uint64_t now = os_now_ns();
  return now >= (found >= FOUND_MUCH ? mark.deadline.soft : mark.deadline.hard);
}

static bool must_break_off(const struct marker *m) {
  uint64_t bytes = atomic_load_relaxed(&m->bytes);
  if (bytes >= m->most) return true;
  if (!pool_is_closed() && is_too_late(bytes - m->begun)) pool_close();
  return pool_is_closed();
}

/* Until stack (filled up to top) and ring are empty; m->left says how much is left if it is broken off. */
static GC_NO_SANITIZE void drain(struct marker *m, const struct view *heap_view, uintptr_t *top) {
  const struct view v = *heap_view;
  struct tally tally = {0, 0};
  unsigned at = 0, idle_rounds = 0, until_share = SHARE_EVERY;
  while (idle_rounds < MARK_RING || top > m->stack) { /* the last one out of the ring may push */
    struct candidate *place = &m->ring[at], oldest = {place->object, place->state, place->size};
    at = (at + 1) % MARK_RING;
    if (GC_UNLIKELY(top == m->stack)) {
      place->state = NULL;
      idle_rounds++;
    } else {
      uintptr_t w = *--top;
      idle_rounds = 0;
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
      if (GC_UNLIKELY(must_break_off(m))) {
        top = unload_ring(m, top);
        break;
      }
    }
  }
  m->left = (size_t)(top - m->stack);
  settle(m, &tally);
}

/* The black slots of a group, whose first slot is at `at`, as far as they lie in r: neighbours at once. */
static GC_NO_SANITIZE uintptr_t *rescan_group(struct marker *m, const struct view *v, uintptr_t *top, uint64_t black,
                                              char *at, size_t size, struct range r) {
  for (unsigned i = 0, n = 0; black != 0; black &= n < 64 ? ~(uint64_t)0 << n : 0) {
    i = (unsigned)__builtin_ctzll(black);
    uint64_t rest = ~(black >> i);
    n = rest == 0 ? 64 : i + (unsigned)__builtin_ctzll(rest); /* slots i to n - 1 */
    char *lo = at + i * size, *hi = at + n * size;
    if (lo < r.lo) lo = r.lo;
    if (hi > r.hi) hi = r.hi;
    if (lo >= hi) continue;
    TORTURE_STEP();
    if (!room_for(m, top, (size_t)(hi - lo) / sizeof(uintptr_t))) break;
    top = push_words(v, top, lo, (size_t)(hi - lo) / sizeof(uintptr_t));
  }
  return top;
}

/* What the layout says of the part of a typed object that lies in r. */
static uintptr_t *rescan_typed(struct marker *m, const struct view *v, uintptr_t *top, const struct slot *s,
                               struct range r) {
  size_t from = r.lo > s->object ? (size_t)(r.lo - s->object) / sizeof(uintptr_t) : 0;
  size_t to = min_size((size_t)(r.hi - s->object), layout_room(s)) / sizeof(uintptr_t);
  if (from >= to || !room_for(m, top, to - from)) return top;
  return typed_push(top, (struct words){s->object, from, to}, layout_of(s), v->base, v->limit);
}

static uintptr_t *rescan_typed_group(struct marker *m, const struct view *v, uintptr_t *top, uint64_t black,
                                     struct slot s, char *at, struct range r) {
  for (; black != 0; black &= black - 1) {
    s.object = at + (unsigned)__builtin_ctzll(black) * s.size;
    TORTURE_STEP();
    if (s.object < r.hi) top = rescan_typed(m, v, top, &s, r);
  }
  return top;
}

static uintptr_t *rescan_slots(struct marker *m, const struct view *v, uintptr_t *top, const struct slot *first,
                               struct range r) {
  char *span = page_address(first->page);
  unsigned slots = span_class_slots(first->sc), black = other_colour(v->white);
  uint32_t block = span_block(first->page);
  bool typed = span_class_is_typed(first->sc);
  for (unsigned g = (unsigned)((size_t)(first->object - span) / first->size / 64); g < (slots + 63) / 64; g++) {
    char *at = span + (size_t)g * 64 * first->size;
    if (at >= r.hi) break;
    uint64_t mask = group_equal(slotmap_group(block, g), black) & group_valid(slots, g);
    mask &= ~black_held_back(first, g, mask);
    top =
        typed ? rescan_typed_group(m, v, top, mask, *first, at, r) : rescan_group(m, v, top, mask, at, first->size, r);
  }
  return top;
}

/* The words of black objects of the page that lie in [lo, hi); the object may have been scanned before they were
 * written. A white one needs nothing: it is scanned when it is found. */
static GC_NO_SANITIZE uintptr_t *rescan_page(struct marker *m, const struct view *v, uintptr_t *top, uint32_t page,
                                             char *lo, char *hi) {
  uint64_t d = page_desc(page);
  if (d == 0 || desc_is_noscan(d)) return top;
  struct slot first = slot_find(lo);
  if (first.object == NULL) return top; /* in the unused tail of a span */
  if (first.sc >= 2) return rescan_slots(m, v, top, &first, (struct range){lo, hi});
  size_t words = (size_t)(hi - lo) / sizeof(uintptr_t);
  if (atomic8_load_relaxed(first.state) != other_colour(v->white)) return top;
  if (d & DESC_TYPED) return rescan_typed(m, v, top, &first, (struct range){lo, hi});
  if (!room_for(m, top, words)) return top;
  return push_words(v, top, lo, words);
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

/* Of the words in [from, top), those that are left to do; returns the new top. On a page that is looked at again nearly all
 * lead to what is black, and the drain would ask memory for each of these objects, too: twice as long. */
static GC_NO_SANITIZE uintptr_t *keep_white(const struct view *heap_view, uintptr_t *from, uintptr_t *top) {
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
    size_t words = min_size((size_t)(hi - lo) / sizeof(uintptr_t), m->room / 2); /* emptying the ring costs 32 turns */
    uintptr_t *top = push_words(v, m->stack, lo, words);
    if (heap_is_marking()) top = keep_white(v, m->stack, top);
    drain(m, v, top);
    lo += words * sizeof(uintptr_t);
  }
}

/* A run of OS pages: what they point to and is white goes on the stack. */
static uintptr_t *rescan(struct marker *m, const struct view *v, uintptr_t *top, struct range r) {
  for (char *lo = r.lo; lo < r.hi;) {
    char *end = page_address(page_of(lo) + 1), *hi = end < r.hi ? end : r.hi;
    top = keep_white(v, top, rescan_page(m, v, top, page_of(lo), lo, hi));
    lo = hi;
  }
  return top;
}

/* A drain costs 32 turns of the ring, so it waits until it is worth them. A piece is finished before a phase is broken off. */
static void rescan_pieces(struct marker *m, const struct view *v) {
  uintptr_t *top = m->stack;
  struct range piece;
  while (m->left == 0 && !must_break_off(m) && remark_take(&piece)) {
    top = rescan(m, v, top, piece);
    if (top - m->stack < SHARE_MAX) continue;
    drain(m, v, top);
    top = m->stack;
  }
  if (top > m->stack) drain(m, v, top);
}

void mark_run(unsigned index) {
  struct marker *m = &mark.marker[index];
  struct view v = view_of_heap();
  struct range piece;
  if (m->left != 0) drain(m, &v, m->stack + m->left);
  while (m->left == 0 && !pool_is_closed() && roots_take(&piece)) drain_range(m, &v, piece.lo, piece.hi);
  if (m->left == 0) rescan_pieces(m, &v);
  for (size_t n; m->left == 0 && (n = pool_take(m->stack, SHARE_MAX)) != 0;) drain(m, &v, m->stack + n);
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
  atomic_store_relaxed(&m->objects, 0);
  m->most = UINT64_MAX;
  m->left = 0;
  m->overflow = false;
  return m->stack != NULL;
}

/* The first marker's stack is got at the start: a cycle must be possible when there is no more memory. */
bool mark_init(void) {
  for (unsigned i = 0; i < SIZE_CLASSES; i++) mark.info[i] = (struct class_info){class_size[i], class_magic[i]};
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
  drain(m, &v, m->stack + m->left);
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

uint64_t mark_objects(void) {
  uint64_t sum = 0;
  for (unsigned i = 0; i <= MARKERS_MAX; i++) sum += atomic_load_relaxed(&mark.marker[i].objects);
  return sum;
}

unsigned mark_overflows(void) { return mark.overflows; }

/* ---- after an overflow ---- */

/* Objects are put on the stack many at a time: emptying the ring after each would cost 32 turns. */
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
      drain(r->m, &r->v, r->top);
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
    drain(r.m, &r.v, r.top);
    for (size_t n; (n = pool_try_take(r.m->stack, SHARE_MAX)) != 0;) drain(r.m, &r.v, r.m->stack + n);
  }
}

void mark_forget(void) { mark.marker[0].overflow = true; }
void mark_note(uint64_t bytes) { settle(&mark.marker[0], &(struct tally){bytes, 1}); }
