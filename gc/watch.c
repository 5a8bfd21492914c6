/* watch.c - see watch.h: blocks of records, their hash, and the counts by page that spare gc_free a look.
 * Blocks are never given back; records are used again. */
#include "gc/watch.h"

#include "gc/hash.h"
#include "gc/links.h"
#include "gc/verdict.h"
#include "runtime/lock.h"
#include "runtime/meta.h"

#define BLOCK 1024 /* records, 64 KiB */
#define BLOCKS_MAX (1u << 17)

static struct {
  struct lock lock;
  struct watch **block; /* [const once set up] directory; entries [L:WATCH] */
  struct hash hash;     /* by the object's address */
  uint32_t end;         /* [L:WATCH; STW] as the rest: records that were ever used, number 0 included */
  uint32_t unused;      /* list of records to use again */
  uint32_t dead;        /* list of dead ones, by value; 0 ends it */
  uint32_t in_use;
  uint64_t count[WATCH_KINDS];
} table GC_OWN_DATA = {.lock = LOCK_INIT(WATCH), .end = 1};

atomic_word watch_counts GC_OWN_DATA;

void watch_lock(void) { lock_acquire(&table.lock); }
void watch_unlock(void) { lock_release(&table.lock); }

/* Directory and counts are mapped whole and touched on use. */
static bool set_up(void) {
  if (table.block == NULL) table.block = meta_map(BLOCKS_MAX * sizeof *table.block);
  if (table.block == NULL || !hash_set_up(&table.hash)) return false;
  void *counts = meta_map(heap.pages * sizeof(atomic_u32));
  if (counts == NULL) return false;
  atomic_store_release(&watch_counts, (uintptr_t)counts); /* pairs with page_is_watched: the table is there */
  return true;
}

struct watch *watch_at(uint32_t i) {
  return &table.block[i / BLOCK][i % BLOCK];
}
uint32_t watch_end(void) { return table.end; }
uint64_t watch_count(enum watch_kind kind) { return table.count[kind]; }

uint32_t watch_around(const void *at) {
  for (uint32_t first = 0; table.block != NULL && first < table.end; first += BLOCK) {
    size_t offset = (size_t)((const char *)at - (const char *)table.block[first / BLOCK]);
    if (offset < BLOCK * sizeof(struct watch)) return first + (uint32_t)(offset / sizeof(struct watch));
  }
  return 0;
}

/* ---- the hash ---- */

static uint32_t *bucket_of(const void *p) { return hash_bucket(&table.hash, p); }

/* At the head of its chain. */
static void chain(uint32_t i, uint32_t *bucket) {
  struct watch *w = watch_at(i);
  w->prev = 0;
  w->next = *bucket;
  if (w->next != 0) watch_at(w->next)->prev = i;
  *bucket = i;
}

/* Any number of weak references may have the same object and so the same chain: both ways, so that leaving it is cheap. */
static void unchain(uint32_t i) {
  struct watch *w = watch_at(i);
  *(w->prev != 0 ? &watch_at(w->prev)->next : bucket_of(w->object)) = w->next;
  if (w->next != 0) watch_at(w->next)->prev = w->prev;
}

static void grow(void) {
  uint32_t *parted = hash_grow(&table.hash, table.in_use);
  if (parted == NULL) return;
  uint32_t i = *parted;
  *parted = 0;
  for (uint32_t next; i != 0; i = next) {
    next = watch_at(i)->next;
    chain(i, bucket_of(watch_at(i)->object));
  }
}

/* Of the span, by which gc_free asks. The object is in use, so its span is there. */
static void count_page(const void *p, unsigned by) {
  atomic32_add((atomic_u32 *)atomic_load_relaxed(&watch_counts) + slot_find(p).page, by);
}

static void link_record(uint32_t i) {
  struct watch *w = watch_at(i);
  chain(i, bucket_of(w->object));
  if (w->state != NULL) count_page(w->object, 1);
}

static void unlink_record(uint32_t i) {
  struct watch *w = watch_at(i);
  unchain(i);
  if (w->state != NULL) count_page(w->object, 0u - 1);
}

static bool is_dead(const struct watch *w) { return w->kind == WATCH_DEAD || w->kind == WATCH_DEAD_LINK; }

uint32_t watch_find(const void *p, uint32_t after) {
  if (table.in_use == 0) return 0;
  uint32_t i = after == 0 ? *bucket_of(p) : watch_at(after)->next;
  while (i != 0 && (watch_at(i)->object != p || is_dead(watch_at(i)))) i = watch_at(i)->next;
  return i;
}

/* ---- records ---- */

static uint32_t take_record(void) {
  uint32_t i = table.unused;
  if (i != 0) {
    table.unused = watch_at(i)->next;
    return i;
  }
  i = table.end;
  if (i / BLOCK == BLOCKS_MAX) return 0;
  if (table.block[i / BLOCK] == NULL) table.block[i / BLOCK] = meta_alloc(BLOCK * sizeof(struct watch));
  if (table.block[i / BLOCK] == NULL) return 0;
  table.end++;
  return i;
}

static void set_target(struct watch *w, const void *p, const struct slot *s) {
  w->object = (char *)(uintptr_t)p;
  w->state = s->object != NULL ? s->state : NULL;
}

uint32_t watch_new(enum watch_kind kind, const void *p, const struct slot *s) {
  if (atomic_load_relaxed(&watch_counts) == 0 && !set_up()) return 0;
  uint32_t i = take_record();
  if (i == 0) return 0;
  struct watch *w = watch_at(i);
  *w = (struct watch){.kind = (uint8_t)kind, .is_open = w->is_open, .next_open = w->next_open};
  set_target(w, p, s);
  link_record(i);
  table.count[kind]++;
  table.in_use++;
  grow();
  verdict_reopen(i);
  return i;
}

/* The handle's span is watched, too: nobody may free a handle that a record names. */
void watch_set_other(uint32_t i, void *other, const struct slot *s) {
  struct watch *w = watch_at(i);
  if (w->other_state != NULL) count_page(w->other, 0u - 1);
  w->other = other;
  w->other_state = s->object != NULL ? s->state : NULL;
  if (w->other_state != NULL) count_page(other, 1);
  verdict_reopen(i);
}

void watch_changed(uint32_t i, enum watch_kind kind) {
  table.count[watch_at(i)->kind]--;
  table.count[kind]++;
  watch_at(i)->kind = (uint8_t)kind;
}

void watch_cancel(uint32_t i) {
  unlink_record(i);
  watch_changed(i, WATCH_CANCELLED);
  struct watch *w = watch_at(i);
  w->object = NULL;
  w->state = w->other_state = NULL;
  w->value = 0;
}

void watch_free(uint32_t i) {
  struct watch *w = watch_at(i);
  if (w->kind != WATCH_CANCELLED) unlink_record(i);
  if (w->other_state != NULL) count_page(w->other, 0u - 1);
  watch_changed(i, WATCH_NONE);
  table.in_use--;
  w->next = table.unused;
  table.unused = i;
}

/* Spans may change hands before the record is freed: what is counted by them goes now. */
void watch_bury(uint32_t i, enum watch_kind dead) {
  struct watch *w = watch_at(i);
  if (w->state != NULL) count_page(w->object, 0u - 1);
  if (w->other_state != NULL) count_page(w->other, 0u - 1);
  w->state = w->other_state = NULL;
  watch_changed(i, dead);
  w->value = table.dead;
  table.dead = i;
}

bool watch_free_dead(unsigned most) {
  for (uint32_t i; most > 0 && (i = table.dead) != 0; most--) {
    table.dead = (uint32_t)watch_at(i)->value;
    if (watch_at(i)->kind == WATCH_DEAD_LINK) link_unchain(i);
    watch_free(i);
  }
  return table.dead != 0;
}

void watch_retarget(uint32_t i, const void *p, const struct slot *s) {
  unlink_record(i);
  set_target(watch_at(i), p, s);
  link_record(i);
  verdict_reopen(i);
}

/* ---- checking ---- */

static bool is_found(uint32_t i) {
  const struct watch *w = watch_at(i);
  return (w->prev != 0 ? watch_at(w->prev)->next : *bucket_of(w->object)) == i &&
         (w->next == 0 || watch_at(w->next)->prev == i);
}

const char *watch_check(void) {
  uint64_t in_use = 0;
  for (uint32_t i = 1; i < table.end; i++) {
    const struct watch *w = watch_at(i);
    if (w->kind == WATCH_NONE) continue;
    in_use++;
    if (w->kind == WATCH_CANCELLED) continue;
    if (!is_found(i)) return "a record of an object is not found by its address";
    if (!is_marked(w->state)) return "a record outlived its object";
    if (!is_marked(w->other_state)) return "a record outlived its weak reference, or what its link lies in";
    if (w->state != NULL && slot_find(w->object).state != w->state) return "a record names another slot's byte";
    if (w->state != NULL && !page_is_watched(slot_find(w->object).page))
      return "an object with a record is in a span that has none";
  }
  return in_use == table.in_use ? links_check() : "the count of records is not what there are";
}
