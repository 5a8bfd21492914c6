/* compact.c - see compact.h. A plan is made in pieces, each under the plan's lock and by whoever asks: the rest of the
 * class is swept; its partly used spans are counted by how many slots are in use; where the line falls between spans
 * of the same count, the ones below it are found by their addresses. Destinations are then sought from the densest down, in
 * passes over the heap's pages, for a band of densities each: one density while there are few spans, a 16th of the spans when
 * there are many, so that passes are few. A pass reads 8 bytes per page of heap, 1 MiB per GiB.
 *
 * When all kept spans are full though some objects are not moved yet - threads allocate from the same spans - the line is
 * lowered, a span at a time. */
#include "alloc/compact.h"

#include <string.h>

#include "alloc/central.h"
#include "alloc/sweep.h"
#include "runtime/lock.h"
#include "runtime/meta.h"

#define PIECE 4096 /* pages looked at while the class's lock is held */
#define BANDS 16
#define DENSE 8 /* a span of which at most one slot in so many is free is not worth emptying */

enum phase { SWEEP, COUNT, DRAW, READY };

static struct plan {
  struct lock lock;
  enum phase phase;      /* [L:COMPACT], as all below */
  unsigned gen;          /* heap.gen that the plan is for, + 1; 0: none yet */
  struct keep_line keep; /* DRAW: of its level, the lowest `ties` spans are kept */
  uint32_t ties;
  uint32_t at;        /* where the pass goes on */
  unsigned low, high; /* the pass is for destinations with so many slots in use */
  bool lowering;      /* it is for one span below the line */
  uint32_t to;        /* the destination; NO_PAGE: to be sought */
  bool none;          /* there is none left */
  unsigned group;     /* of it, where to look for a free slot */
  uint32_t *spans;    /* by the number of slots in use, how many partly used spans there were */
  uint32_t total;     /* of them */
  uint64_t objects;   /* in them */
} plans[SPAN_CLASSES] GC_OWN_DATA;

void compact_init(unsigned from, unsigned to) {
  for (unsigned sc = from; sc < to; sc++) plans[sc].lock.rank = RANK_COMPACT;
}

static void begin_pass(struct plan *p, enum phase phase) {
  p->phase = phase;
  p->at = 0;
}

/* ---- making the plan ---- */

static bool begin(struct plan *p, unsigned sc) {
  size_t bytes = (span_class_slots(sc) + 1) * sizeof p->spans[0];
  if (p->spans == NULL) p->spans = meta_map(bytes);
  if (p->spans == NULL) return false;
  memset(p->spans, 0, bytes);
  p->gen = atomic32_load_relaxed(&heap.gen) + 1;
  p->total = 0;
  p->objects = 0;
  p->to = NO_PAGE;
  p->none = p->lowering = false;
  begin_pass(p, SWEEP);
  return true;
}

static bool count_span(void *arg, uint32_t page, unsigned live) {
  struct plan *p = arg;
  (void)page;
  p->spans[live]++;
  p->total++;
  p->objects += live;
  return true;
}

/* Above the line are K spans, or all dense ones if these are more. */
static void draw_line(struct plan *p, unsigned sc) {
  unsigned slots = span_class_slots(sc), level = slots, dense = slots - slots / DENSE;
  uint64_t wanted = (p->objects + slots - 1) / slots, kept = 0;
  while (level > 0 && kept < wanted) kept += p->spans[--level];
  p->ties = p->spans[level] - (uint32_t)(kept - wanted);
  if (level >= dense) {
    level = dense;
    p->ties = p->spans[level];
  }
  p->keep = (struct keep_line){level, p->ties == p->spans[level] ? NO_PAGE : 0};
  p->low = slots;
  begin_pass(p, p->keep.cut == NO_PAGE ? READY : DRAW);
}

static bool draw_at_span(void *arg, uint32_t page, unsigned live) {
  struct plan *p = arg;
  if (live != p->keep.level) return true;
  p->keep.cut = page + 1;
  return --p->ties > 0;
}

/* A piece of a pass; true when it is over: the last page was looked at, or f wanted no more. */
static bool pass(struct plan *p, unsigned sc, central_visit *f) {
  uint32_t end = (uint32_t)(atomic_load_acquire(&heap.limit) >> PAGE_SHIFT);
  uint32_t to = (uint32_t)min_size(p->at + PIECE, end);
  p->at = central_walk(sc, p->at, to, f, p);
  return p->at < to || p->at >= end;
}

static void plan_piece(struct plan *p, unsigned sc) {
  size_t freed = 0;
  switch (p->phase) {
    case SWEEP:
      if (central_sweep(sc, SWEEP_BATCH, &freed) == 0) begin_pass(p, COUNT);
      break;
    case COUNT:
      if (pass(p, sc, count_span)) draw_line(p, sc);
      break;
    case DRAW:
      if (pass(p, sc, draw_at_span) || p->ties == 0) begin_pass(p, READY);
      break;
    case READY: break;
  }
}

/* ---- destinations ---- */

static bool note_destination(void *arg, uint32_t page, unsigned live) {
  struct plan *p = arg;
  if (live < p->low || live > p->high || is_kept(&p->keep, page, live) == p->lowering) return true;
  if (p->lowering) p->keep.cut = page + 1;
  p->to = page;
  p->group = 0;
  return false;
}

/* One more span is kept from here on: the next one of the line's level, or the first of the next level that had any. */
static void lower(struct plan *p) {
  struct keep_line *k = &p->keep;
  if (p->lowering || k->cut == NO_PAGE) { /* the pass went to the end, or the level is all kept */
    while (k->level > 0 && p->spans[--k->level] == 0) continue;
    k->cut = 0;
  }
  p->none = k->level == 0;
  p->lowering = true;
  p->low = p->high = k->level;
}

/* The next band down to the line, of at least a 16th of the spans. */
static void next_band(struct plan *p) {
  uint32_t found = 0;
  p->at = 0;
  if (p->lowering || p->low <= p->keep.level) {
    lower(p);
    return;
  }
  p->high = p->low - 1;
  do found += p->spans[--p->low];
  while (p->low > p->keep.level && found <= p->total / BANDS);
}

static void seek_piece(struct plan *p, unsigned sc) {
  if (p->at == 0 && !p->lowering && p->low == span_class_slots(sc)) next_band(p);
  if (pass(p, sc, note_destination) && p->to == NO_PAGE) next_band(p);
}

static enum compact_answer find(struct plan *p, const struct slot *s, char **to) {
  if (p->gen != atomic32_load_relaxed(&heap.gen) + 1 && !begin(p, s->sc)) return COMPACT_STAY;
  if (p->phase != READY) {
    plan_piece(p, s->sc);
    return COMPACT_AGAIN;
  }
  struct move_request r = {p->keep, s->page, p->to, p->group};
  enum move done = central_move(s->sc, &r, to);
  p->group = r.group;
  if (done == MOVE_DONE) return COMPACT_MOVE;
  if (done == MOVE_STAYS || p->none) return COMPACT_STAY;
  p->to = NO_PAGE;
  seek_piece(p, s->sc);
  return COMPACT_AGAIN;
}

enum compact_answer compact_find(const struct slot *s, char **to) {
  struct plan *p = &plans[s->sc];
  lock_acquire(&p->lock);
  enum compact_answer answer = find(p, s, to);
  lock_release(&p->lock);
  return answer;
}
