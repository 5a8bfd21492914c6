/* weak.c - see weak.h. */
#include "gc/weak.h"

#include "gc/finalize.h"
#include "gc/kept.h"
#include "gc/links.h"

static void write_target(struct handle *h, const void *p, uintptr_t value) {
  atomic_store_relaxed(&h->target, (uintptr_t)p);
  atomic_store_relaxed(&h->value, value);
}

/* The seal last: the program sees the handle only after the call. */
static void make_handle(struct handle *h, enum watch_kind kind, uint32_t record, const void *p, uintptr_t value) {
  write_target(h, p, value);
  h->record = record;
  h->kind = kind;
  h->seal = handle_seal(h, kind == WATCH_EPHEMERON);
}

bool weak_bind(struct handle *h, const struct slot *place, enum watch_kind kind, const void *p, const struct slot *s,
               uintptr_t value) {
  watch_lock();
  uint32_t i = watch_new(kind, p, s);
  if (i != 0) {
    watch_set_other(i, h, place);
    watch_at(i)->value = value;
    make_handle(h, kind, i, p, value);
  }
  watch_unlock();
  return i != 0;
}

void weak_clear(uint32_t i) {
  struct handle *h = watch_at(i)->other;
  write_target(h, NULL, 0);
  h->record = 0;
}

static void clear_and_free(uint32_t i) {
  weak_clear(i);
  watch_free(i);
}

static void clear_link(uint32_t i) {
  link_clear(i);
  link_free(i);
}

void weak_handle_died(uint32_t i) {
  watch_at(i)->other->seal = 0;
  weak_clear(i);
}

void weak_unbind(struct handle *h) {
  watch_lock();
  if (h->record != 0) clear_and_free(h->record);
  h->seal = 0;
  watch_unlock();
}

uint32_t weak_record_of(const struct slot *s) {
  const struct handle *h = (const struct handle *)(uintptr_t)s->object;
  if (s->size < sizeof *h || !handle_is(h, h->kind == WATCH_EPHEMERON)) return 0;
  uint32_t i = h->record;
  if (i == 0 || i >= watch_end() || watch_at(i)->kind != h->kind || watch_at(i)->other != h) return 0;
  return i;
}

bool weak_is_bound(const struct slot *s) {
  watch_lock();
  bool bound = weak_record_of(s) != 0;
  watch_unlock();
  return bound;
}

static void end_record(uint32_t i) {
  struct watch *w = watch_at(i);
  switch ((enum watch_kind)w->kind) {
    case WATCH_WEAK:
    case WATCH_LONG_WEAK:
    case WATCH_EPHEMERON: clear_and_free(i); break;
    case WATCH_LINK:
    case WATCH_LONG_LINK: clear_link(i); break;
    case WATCH_QUEUED:
    case WATCH_TRACED: watch_cancel(i); break;
    case WATCH_KEPT: kept_remove((uint32_t)w->value); /* fall through */
    default: watch_free(i); break;
  }
}

/* One that shares its slot has no links in it: the slot is not freed with it. */
static struct slot slot_of_its_own(const void *p) {
  struct slot s = slot_find(p);
  if (s.object != p) s.size = 0;
  return s;
}

void weak_object_freed(const void *p) {
  struct slot s = slot_of_its_own(p);
  watch_lock();
  links_freed(&s);
  for (uint32_t i; (i = watch_find(p, 0)) != 0;) end_record(i);
  watch_unlock();
}

/* Links to it hold its old address, hidden or not, and only the program could change that. */
static void move_record(uint32_t i, const void *q, const struct slot *to) {
  struct watch *w = watch_at(i);
  if (w->kind == WATCH_LINK || w->kind == WATCH_LONG_LINK) {
    clear_link(i);
    return;
  }
  watch_retarget(i, q, to);
  if (w->kind == WATCH_KEPT) kept_change((uint32_t)w->value, q);
  if (w->kind == WATCH_TOGGLE && w->value != 0) w->value = (uintptr_t)q;
  if (w->other_state != NULL) atomic_store_relaxed(&w->other->target, (uintptr_t)q);
}

void weak_object_moved(const void *p, const void *q, const struct slot *to) {
  struct slot s = slot_of_its_own(p);
  watch_lock();
  links_moved(&s, to);
  for (uint32_t i; (i = watch_find(p, 0)) != 0;) move_record(i, q, to);
  watch_unlock();
}

bool weak_keep(const void *p, const struct slot *s) {
  watch_lock();
  uint32_t place = kept_add(p), i = place != 0 ? watch_new(WATCH_KEPT, p, s) : 0;
  if (i != 0)
    watch_at(i)->value = place;
  else if (place != 0)
    kept_remove(place);
  watch_unlock();
  return i != 0;
}
