/* frag.c - see frag.h: who may look at which span when, counting its slots, free OS pages, pairs. */
#include "alloc/frag.h"

#include "alloc/cache.h"
#include "alloc/central.h"
#include "alloc/inside.h"
#include "alloc/slotmap.h"
#include "runtime/os.h"

/* ---- one span, which stays what it is while its class's lock is held ---- */

GC_INLINE void fill_used(struct frag_span *s, uint32_t block) {
  for (unsigned g = 0; g < span_class_groups(s->sc); g++) s->used[g] = ~group_equal(slotmap_group(block, g), 0);
}

static void count_listed(struct frag_span *s, uint32_t block, unsigned colour) {
  if (s->sc < 2) {
    unsigned byte = atomic8_load_relaxed(slotmap_group(block, 0));
    s->objects = s->unswept ? byte == colour : byte != 0;
  } else if (s->unswept) {
    /* Bytes past the last slot are 0 and so of no colour. */
    s->objects = groups_equal(slotmap_group(block, 0), span_class_groups(s->sc), colour, s->used);
  } else {
    s->objects = heap.spans[s->page].live;
    if (frag_is_partly_used(s)) fill_used(s, block);
  }
}

/* False: its owner is claiming slots just now. */
static bool count_cached(struct frag_span *s, uint32_t block) {
  struct claims c;
  if (!claims_begin(&c, s->page, s->sc)) return false;
  fill_used(s, block);
  if (!claims_same(&c)) return false;
  s->used[c.group] &= ~c.mask;
  s->claimed_group = c.group;
  s->claimed_mask = c.mask;
  s->claimed = count_bits(c.mask);
  s->objects = 0;
  for (unsigned g = 0; g < span_class_groups(s->sc); g++) s->objects += count_bits(s->used[g]);
  return true;
}

/* ---- which span, and in whose hands ---- */

enum look { LOOK_SEEN, LOOK_GONE, LOOK_AGAIN, LOOK_BUSY };

/* Descriptor and state are of one span when no span was freed between the two looks; then, as long as the lock of its
 * class is held, it is neither freed nor changed (central.h). */
static enum look look_at(struct frag_span *s, uint32_t page, unsigned sc, unsigned colour) {
  uint64_t freed = atomic_load_acquire(&heap.freed_spans), d = page_desc(page);
  unsigned state = atomic8_load_acquire(&heap.spans[page].state);
  if (!desc_is_first(d) || desc_class(d) != sc || atomic_load_relaxed(&heap.freed_spans) != freed) return LOOK_AGAIN;
  if (state == SPAN_NONE) return LOOK_GONE;
  if (state == SPAN_SWEEPING) return LOOK_BUSY;
  s->page = page;
  s->sc = sc;
  s->pages = sc < 2 ? heap.spans[page].pages : span_class_pages(sc);
  s->slots = sc < 2 ? 1 : span_class_slots(sc);
  s->age = (atomic32_load_relaxed(&heap.gen) - desc_born(d)) & AGE_MASK;
  s->cached = state == SPAN_CACHED;
  s->typed = (d & DESC_TYPED) != 0;
  s->unswept = !span_is_swept(page);
  s->claimed = s->claimed_group = 0;
  s->claimed_mask = 0;
  if (s->cached && !count_cached(s, desc_low(d))) return LOOK_BUSY;
  if (!s->cached) count_listed(s, desc_low(d), colour);
  return LOOK_SEEN;
}

/* Neighbours are mostly of one class, so the lock is mostly the same. */
static void change_lock(unsigned *held, unsigned sc) {
  if (*held == sc) return;
  if (*held != SPAN_CLASSES) central_unlock(*held);
  if (sc != SPAN_CLASSES) central_lock(sc);
  *held = sc;
}

/* The colour is read first: a span that is found unswept after it was made so by a stop before, and the next exchange
 * waits until we have left the library. */
bool frag_step(struct frag_walk *w, frag_visit *visit, void *arg) {
  unsigned held = SPAN_CLASSES, colour = atomic32_load_relaxed(&heap.live_colour);
  uint32_t end = (uint32_t)(atomic_load_acquire(&heap.limit) >> PAGE_SHIFT);
  struct frag_span s;
  w->waits = false;
  for (unsigned n = 0; n < FRAG_STEP && w->page < end && !w->waits; n++) {
    uint64_t d = page_desc(w->page);
    if (!desc_is_first(d)) {
      w->page++;
      continue;
    }
    change_lock(&held, desc_class(d));
    enum look found = look_at(&s, w->page, held, colour);
    if (found == LOOK_SEEN) n += visit(&s, arg);
    w->waits = found == LOOK_BUSY;
    if (found == LOOK_SEEN) w->page += s.pages;
    if (found == LOOK_GONE) w->page++;
  }
  change_lock(&held, SPAN_CLASSES);
  return w->page < end;
}

/* ---- figures ---- */

static uint64_t taken(const struct frag_span *s, unsigned group) {
  return group == s->claimed_group ? s->used[group] | s->claimed_mask : s->used[group];
}

/* Whether no slot of first to last is taken. Here and in overlap no loop is left early: the answer is as good as random,
 * and a branch that is foreseen wrongly costs more than the few words. */
static bool slots_are_free(const struct frag_span *s, size_t first, size_t last) {
  uint64_t any = taken(s, (unsigned)(first / 64)) & ~(uint64_t)0 << first % 64, past = ~(uint64_t)1 << last % 64;
  if (first / 64 == last / 64) return (any & ~past) == 0;
  for (size_t g = first / 64 + 1; g < last / 64; g++) any |= taken(s, (unsigned)g);
  return (any | (taken(s, (unsigned)(last / 64)) & ~past)) == 0;
}

/* OS pages may be larger than ours, and are whole in the span only from the first boundary on. */
size_t frag_free_os_bytes(const struct frag_span *s) {
  size_t step = os_page_size(), bytes = (size_t)s->pages << PAGE_SHIFT, start = (size_t)s->page << PAGE_SHIFT, sum = 0;
  uint32_t magic = class_magic[class_of(s->sc)];
  if (s->sc < 2 || !frag_is_partly_used(s)) return 0;
  for (size_t at = round_up(start, step) - start; at + step <= bytes; at += step) {
    size_t first = (at * magic) >> 32, last = ((at + step - 1) * magic) >> 32;
    bool is_free = first >= s->slots || slots_are_free(s, first, min_size(last, s->slots - 1));
    sum += is_free && !inside_is_released(heap.base + start + at) ? step : 0;
  }
  return sum;
}

/* ---- pairs ---- */

static bool overlap(const uint64_t *a, const uint64_t *b, unsigned groups) {
  uint64_t both = 0;
  for (unsigned g = 0; g < groups; g++) both |= a[g] & b[g];
  return both != 0;
}

static bool take_partner(struct frag_pool *p, const struct frag_span *s) {
  unsigned groups = span_class_groups(s->sc);
  for (uint64_t rest = p->valid; rest != 0; rest &= rest - 1) {
    unsigned i = (unsigned)__builtin_ctzll(rest);
    if (p->kept[i].objects + s->objects > s->slots || overlap(p->kept[i].used, s->used, groups)) continue;
    p->valid &= ~((uint64_t)1 << i);
    return true;
  }
  return false;
}

/* The oldest makes room. */
static void keep(struct frag_pool *p, const struct frag_span *s) {
  uint64_t room = ~p->valid & (((uint64_t)1 << FRAG_POOL) - 1);
  unsigned i = room != 0 ? (unsigned)__builtin_ctzll(room) : p->next++ % FRAG_POOL;
  p->valid |= (uint64_t)1 << i;
  p->kept[i].objects = s->objects;
  for (unsigned g = 0; g < span_class_groups(s->sc); g++) p->kept[i].used[g] = s->used[g];
}

bool frag_pair(struct frag_pool *p, const struct frag_span *s) {
  if (p->failures >= FRAG_TIRED && ++p->rest % FRAG_RESTS != 0) return false;
  if (take_partner(p, s)) {
    p->failures = 0;
    return true;
  }
  p->failures++;
  keep(p, s);
  return false;
}
