/* central.c - see central.h. */
#include "alloc/central.h"

#include "alloc/inside.h"
#include "alloc/layout.h"
#include "alloc/pageheap.h"
#include "alloc/slotmap.h"
#include "alloc/sweep.h"

struct list {
  uint32_t first, last; /* NO_PAGE when empty */
};

struct central {
  struct lock lock;
  struct list partial[2]; /* [L:CENTRAL] some slot may be free; half gen & 1 is swept */
  struct list full[2];    /* [L:CENTRAL] no slot is known to be free */
  struct central_counts counts;
} __attribute__((aligned(128)));

static struct central centrals[SPAN_CLASSES] GC_OWN_DATA;

static unsigned swept_half(void) { return atomic32_load_relaxed(&heap.gen) & 1; }

void central_init(unsigned from, unsigned to) {
  for (unsigned sc = from; sc < to; sc++) {
    centrals[sc].lock.rank = RANK_CENTRAL;
    for (int half = 0; half < 2; half++)
      centrals[sc].partial[half] = centrals[sc].full[half] = (struct list){NO_PAGE, NO_PAGE};
  }
}

struct central_counts *central_counts(unsigned sc) {
  return &centrals[sc].counts;
}

/* ---- lists; all under the class's lock ---- */

static void list_append(struct list *l, uint32_t page) {
  struct span *s = &heap.spans[page];
  s->next = NO_PAGE;
  s->prev = l->last;
  if (l->last != NO_PAGE)
    heap.spans[l->last].next = page;
  else
    l->first = page;
  l->last = page;
}

static void list_push(struct list *l, uint32_t page) {
  struct span *s = &heap.spans[page];
  s->prev = NO_PAGE;
  s->next = l->first;
  if (l->first != NO_PAGE)
    heap.spans[l->first].prev = page;
  else
    l->last = page;
  l->first = page;
}

static void list_remove(struct list *l, uint32_t page) {
  struct span *s = &heap.spans[page];
  if (s->prev != NO_PAGE)
    heap.spans[s->prev].next = s->next;
  else
    l->first = s->next;
  if (s->next != NO_PAGE)
    heap.spans[s->next].prev = s->prev;
  else
    l->last = s->prev;
}

static struct list *list_of(struct central *c, uint32_t page) {
  unsigned half = span_is_swept(page) ? swept_half() : !swept_half();
  return heap.spans[page].partial ? &c->partial[half] : &c->full[half];
}

/* The state changes under the lock: who holds it and finds SPAN_LISTED may take the span. */
static uint32_t pop(struct list *l) {
  uint32_t page = l->first;
  if (page == NO_PAGE) return NO_PAGE;
  list_remove(l, page);
  atomic8_store_release(&heap.spans[page].state, SPAN_SWEEPING);
  return page;
}

static void file(struct central *c, unsigned sc, uint32_t page) {
  struct span *s = &heap.spans[page];
  GC_CHECK_HELD(&c->lock);
  s->partial = sc >= 2 && s->live < span_class_slots(sc);
  list_append(list_of(c, page), page);
  atomic8_store_release(&s->state, SPAN_LISTED); /* pairs with the acquire in span_wait_swept */
}

/* ---- the public moves ---- */

void central_give(unsigned sc, uint32_t page) {
  if (sc >= 2 && heap.spans[page].live == 0) {
    span_free(page);
    return;
  }
  struct central *c = &centrals[sc];
  lock_acquire(&c->lock);
  file(c, sc, page);
  lock_release(&c->lock);
}

/* Under the lock. */
static uint32_t pop_unswept_locked(struct central *c) {
  unsigned old = !swept_half();
  uint32_t page = pop(&c->partial[old]);
  return page != NO_PAGE ? page : pop(&c->full[old]);
}

/* Two lock operations for a batch, not for a span. */
unsigned central_sweep(unsigned sc, unsigned most, size_t *freed_pages) {
  struct central *c = &centrals[sc];
  uint32_t batch[SWEEP_BATCH], kept[SWEEP_BATCH];
  unsigned n = 0, keep = 0;
  lock_acquire(&c->lock);
  while (n < most && n < SWEEP_BATCH && (batch[n] = pop_unswept_locked(c)) != NO_PAGE) n++;
  lock_release(&c->lock);
  for (unsigned i = 0; i < n; i++) {
    uint32_t page = batch[i];
    bool empty = !sweep_span(page) || (sc >= 2 && heap.spans[page].live == 0);
    if (!empty) {
      kept[keep++] = page;
      continue;
    }
    *freed_pages += span_pages(page);
    span_free(page);
  }
  if (keep != 0) {
    lock_acquire(&c->lock);
    for (unsigned i = 0; i < keep; i++) file(c, sc, kept[i]);
    lock_release(&c->lock);
  }
  return n;
}

static size_t room_bytes(unsigned sc, uint32_t page) {
  return (size_t)(span_class_slots(sc) - heap.spans[page].live) * span_class_size(sc);
}

/* What a cache gives back: counted, and filed unless it is empty and the caller's to free. Returns the bytes of free
 * slots. While marking runs an empty one is filed too, for the sweeper. The count is taken under the lock, so that no
 * gc_free is half done; a used up span in which nothing was freed meanwhile need not be counted. */
static size_t retire_locked(struct central *c, unsigned sc, uint32_t page, bool used_up, bool *empty) {
  struct span *s = &heap.spans[page];
  s->owner = 0;
  s->live = (uint16_t)(used_up && !s->partial ? span_class_slots(sc) : span_count_live(page));
  atomic8_store_release(&s->state, SPAN_SWEEPING);
  size_t room = room_bytes(sc, page); /* once filed it is anybody's */
  *empty = s->live == 0 && !heap_is_marking();
  if (!*empty) file(c, sc, page);
  return room;
}

static uint32_t pop_for_cache(struct central *c, bool *swept) {
  uint32_t page = pop(&c->partial[swept_half()]);
  *swept = page != NO_PAGE;
  return *swept ? page : pop_unswept_locked(c);
}

/* An unswept span that turns out to be full goes back, and another is taken. Each costs a look, so their number is
 * bounded. */
static uint32_t with_room(struct central *c, unsigned sc, uint32_t page, bool swept) {
  for (int i = 0; page != NO_PAGE; i++) {
    if (!swept) sweep_span(page);
    if (heap.spans[page].live < span_class_slots(sc)) return page;
    if (i == SWEEP_BATCH) break;
    lock_acquire(&c->lock);
    file(c, sc, page);
    page = pop_for_cache(c, &swept);
    lock_release(&c->lock);
  }
  if (page != NO_PAGE) central_give(sc, page);
  return NO_PAGE;
}

static uint32_t take_new(unsigned sc) {
  sweep_before_growing(span_class_pages(sc));
  return span_alloc(sc);
}

/* One lock operation for both in the usual case. */
uint32_t central_exchange(unsigned sc, uint32_t old, bool used_up) {
  struct central *c = &centrals[sc];
  bool swept, empty = false;
  size_t unused = 0;
  lock_acquire(&c->lock);
  if (old != NO_PAGE) unused = retire_locked(c, sc, old, used_up, &empty);
  uint32_t page = pop_for_cache(c, &swept);
  lock_release(&c->lock);
  if (empty) span_free(old);
  page = with_room(c, sc, page, swept);
  if (page == NO_PAGE) page = take_new(sc);
  size_t room = page != NO_PAGE ? room_bytes(sc, page) : 0;
  if (room != unused) atomic_add(&heap.live, room - unused);
  return page;
}

bool central_return(unsigned sc, uint32_t page, atomic_u8 *bytes, uint64_t mask) {
  struct central *c = &centrals[sc];
  bool empty;
  lock_acquire(&c->lock);
  bool ok = !heap_is_marking();
  /* Marked as freed, not left in the birth colour: born black and never handed out, a slot is never scanned, and nobody
   * would know any more that its words are a dead object's. */
  group_store(bytes, mask, ok ? 0 : FREED_WHILE_MARKING);
  size_t unused = retire_locked(c, sc, page, false, &empty);
  lock_release(&c->lock);
  if (unused != 0) atomic_sub(&heap.live, unused);
  if (empty) span_free(page);
  return ok;
}

bool central_claim(unsigned sc, uint32_t page) {
  struct central *c = &centrals[sc];
  lock_acquire(&c->lock);
  bool ours = atomic8_load_acquire(&heap.spans[page].state) == SPAN_LISTED && span_is_swept(page);
  if (ours) {
    list_remove(list_of(c, page), page);
    atomic8_store_release(&heap.spans[page].state, SPAN_SWEEPING);
  }
  lock_release(&c->lock);
  return ours;
}

/* A listed span changes lists, or leaves them when that was its last object. */
static bool refile(struct central *c, uint32_t page) {
  struct span *s = &heap.spans[page];
  list_remove(list_of(c, page), page);
  s->live--;
  if (s->live == 0) {
    atomic8_store_release(&s->state, SPAN_SWEEPING);
    return true;
  }
  if (s->partial == SPAN_VACATED) {
    list_append(list_of(c, page), page);
    return false;
  }
  s->partial = 1;
  list_push(list_of(c, page), page); /* first: its memory is warm */
  return false;
}

bool central_free_slot(unsigned sc, uint32_t page, atomic_u8 *state) {
  struct central *c = &centrals[sc];
  struct span *s = &heap.spans[page];
  bool empty = false;
  if (slot_free_later(state)) return true;
  lock_acquire(&c->lock);
  unsigned where = atomic8_load_acquire(&s->state);
  bool ours = where == SPAN_CACHED || (where == SPAN_LISTED && span_is_swept(page));
  if (ours) {
    atomic8_store_relaxed(&s->zeroed, 0);
    atomic8_store_release(state, 0); /* pairs with the fence in claim_group: zeroed is seen cleared */
    atomic_add(&c->counts.freed, 1);
    if (where == SPAN_LISTED) {
      atomic_sub(&heap.live, span_class_size(sc));
      empty = refile(c, page);
    } else {
      s->partial = 1; /* retire_locked must count */
    }
  }
  lock_release(&c->lock);
  if (empty) span_free(page);
  return ours;
}

/* ---- compaction ---- */

/* Under the lock. In this order: a span that is freed meanwhile belongs to another class, or is on no list, and a listed one
 * of this class stays what it is. One hole: the state may be that of a listed span of another class, the descriptor that of
 * a span of ours made of its pages since, which is on no list. No caller takes it for one: whoever made it left it swept and
 * not partial before the descriptor was there to be read, only under our lock does that change, and all look for a span that is
 * partial or unswept. */
static bool is_listed(unsigned sc, uint32_t page) {
  if (page == NO_PAGE || atomic8_load_acquire(&heap.spans[page].state) != SPAN_LISTED) return false;
  uint64_t d = page_desc(page);
  return d != 0 && desc_class(d) == sc && desc_is_first(d);
}

static bool is_listed_and_swept(unsigned sc, uint32_t page) { return is_listed(sc, page) && span_is_swept(page); }

uint32_t central_walk(unsigned sc, uint32_t from, uint32_t to, central_visit *f, void *arg) {
  struct central *c = &centrals[sc];
  bool more = true;
  lock_acquire(&c->lock);
  for (; from < to && more; from++) {
    uint64_t d = page_desc(from);
    if (d == 0 || desc_class(d) != sc || !is_listed_and_swept(sc, from) || !heap.spans[from].partial) continue;
    more = f(arg, from, heap.spans[from].live);
  }
  lock_release(&c->lock);
  return from;
}

/* To the end of its list, so that it may come free before a cache is offered it. No more than a likelihood: what is filed later
 * goes behind it, and a cache that has used up the spans before it takes it. */
static void vacate(struct central *c, uint32_t page) {
  struct span *s = &heap.spans[page];
  if (s->partial == SPAN_VACATED) return;
  list_remove(list_of(c, page), page);
  s->partial = SPAN_VACATED;
  list_append(list_of(c, page), page);
}

/* The first free slot from the group on, else from the start: something was freed there. There is one. */
static unsigned find_free(uint32_t block, unsigned sc, unsigned *group) {
  unsigned slots = span_class_slots(sc), groups = span_class_groups(sc);
  for (unsigned tries = 0; tries <= groups; tries++, *group = (*group + 1) % groups) {
    uint64_t mask = group_equal(slotmap_group(block, *group), 0) & group_valid(slots, *group);
    if (mask != 0) return *group * 64 + (unsigned)__builtin_ctzll(mask);
  }
  fatal("a span has fewer free slots than its count says");
}

/* What claim_group and own_span do, for one slot of a span that stays listed: as if it had never been free. */
static char *take_slot(struct central *c, unsigned sc, uint32_t page, unsigned *group) {
  struct span *s = &heap.spans[page];
  uint32_t block = span_block(page);
  unsigned i = find_free(block, sc, group);
  char *object = page_address(page) + (size_t)i * span_class_size(sc);
  if (span_class_is_typed(sc)) layout_clear(object, span_class_size(sc));
  TORTURE_STEP(); /* a marker may set a mark in this group */
  group_store(slotmap_group(block, i / 64), (uint64_t)1 << (i % 64), span_birth_colour(page, sc));
  if (sc == TINY_SPAN_CLASS) {
    atomic_word *bits = tiny_bits(block, i / 64);
    atomic_store_relaxed(bits, atomic_load_relaxed(bits) & ~((uint64_t)1 << (i % 64)));
  }
  atomic_add(&c->counts.retired, 1);
  atomic_add(&heap.live, span_class_size(sc));
  if (++s->live == span_class_slots(sc)) {
    list_remove(list_of(c, page), page);
    s->partial = 0;
    list_append(list_of(c, page), page);
  }
  inside_handed_out(object, object + span_class_size(sc));
  return object;
}

/* Both sides of the line are looked at now, not when the destination was chosen: gc_free may have taken it below the line since.
 * What is kept is no sparser than what is not, and another span. */
static enum move move_locked(struct central *c, unsigned sc, struct move_request *r, char **object) {
  const struct span *from = &heap.spans[r->from], *to = &heap.spans[r->to == NO_PAGE ? 0 : r->to];
  if (!is_listed_and_swept(sc, r->from) || !from->partial || is_kept(&r->keep, r->from, from->live)) return MOVE_STAYS;
  if (!is_listed_and_swept(sc, r->to) || !to->partial || !is_kept(&r->keep, r->to, to->live)) return MOVE_NO_ROOM;
  if (object == NULL) return MOVE_DONE;
  *object = take_slot(c, sc, r->to, &r->group);
  vacate(c, r->from);
  return MOVE_DONE;
}

enum move central_move(unsigned sc, struct move_request *r, char **object) {
  struct central *c = &centrals[sc];
  lock_acquire(&c->lock);
  enum move done = move_locked(c, sc, r, object);
  lock_release(&c->lock);
  return done;
}

bool central_take(unsigned sc, uint32_t page) {
  struct central *c = &centrals[sc];
  lock_acquire(&c->lock);
  bool ours = is_listed(sc, page) && (heap.spans[page].partial || !span_is_swept(page));
  if (ours) {
    list_remove(list_of(c, page), page);
    atomic8_store_release(&heap.spans[page].state, SPAN_SWEEPING);
  }
  lock_release(&c->lock);
  return ours;
}

/* ---- looking and checking ---- */

void central_lock(unsigned sc) { lock_acquire(&centrals[sc].lock); }
void central_unlock(unsigned sc) { lock_release(&centrals[sc].lock); }

void central_each(unsigned sc, void (*f)(uint32_t page, bool partial, bool swept, void *arg), void *arg) {
  struct central *c = &centrals[sc];
  for (unsigned half = 0; half < 2; half++) {
    bool swept = half == swept_half();
    for (uint32_t p = c->partial[half].first; p != NO_PAGE; p = heap.spans[p].next) f(p, true, swept, arg);
    for (uint32_t p = c->full[half].first; p != NO_PAGE; p = heap.spans[p].next) f(p, false, swept, arg);
  }
}
