/* layout.c - see layout.h: interning. A new record is built behind the last one and stays there only if there is no equal
 * one: so no other memory is needed. The hash table doubles; the arena never moves, since objects name places in it. */
#include "alloc/layout.h"

#include <string.h>

#include "alloc/central.h"
#include "alloc/compact.h"
#include "runtime/lock.h"
#include "runtime/meta.h"
#include "runtime/os.h"

#define ARENA_MAX (64 * MIB) /* of address space: about a million layouts */
#define BUCKETS_FIRST 512

_Static_assert(LAYOUT_WORD == sizeof(atomic_word), "an object names its layout by one word");

struct layouts layouts GC_OWN_DATA;

static struct {
  struct lock lock;
  size_t room;               /* [L:LAYOUT] units of the arena */
  struct gc_layout **bucket; /* [L:LAYOUT] by hash */
  size_t buckets, count;     /* [L:LAYOUT] a power of two; records */
} table GC_OWN_DATA = {.lock = LOCK_INIT(LAYOUT)};

/* One that was made after `used` was read is not known: that is the safe side. The record names itself, so the middle of
 * another is none. */
static const struct gc_layout *layout_of_word(uint64_t word) {
  uint64_t unit = word ^ LAYOUT_TAG;
  if (unit >= atomic_load_relaxed(&layouts.used)) return NULL;
  const struct gc_layout *l = (const struct gc_layout *)(const void *)(layouts.base + unit * LAYOUT_UNIT);
  return l->word == word && l->kind == LAYOUT_TYPED ? l : NULL;
}

static GC_NO_SANITIZE uint64_t word_of(const struct slot *s) {
  const void *large = (const void *)(uintptr_t)slotmap_group(span_block(s->page), 1);
  return racy_load_word(s->sc < 2 ? large : s->object + s->size - LAYOUT_WORD);
}

const struct gc_layout *layout_of(const struct slot *s) { return layout_of_word(word_of(s)); }

bool layout_is_whole(const struct slot *s) {
  uint64_t word = word_of(s);
  if (layout_of_word(word) != NULL) return true;
  return s->sc >= 2 && word == 0;
}

static struct gc_layout **new_buckets(size_t n) { return meta_map(n * sizeof(struct gc_layout *)); }

/* With the first record, so that programs without layouts have none of this. Classes last: see span_classes. */
static bool begin(void) {
  size_t bytes = min_size(ARENA_MAX, heap.pages * PAGE_SIZE / 256);
  if (table.bucket == NULL) table.bucket = new_buckets(BUCKETS_FIRST);
  if (table.bucket != NULL && layouts.base == NULL) layouts.base = meta_map(bytes);
  if (layouts.base == NULL) return false;
  table.buckets = BUCKETS_FIRST;
  atomic_store_relaxed(&layouts.hash, table.buckets * sizeof *table.bucket);
  table.room = bytes / LAYOUT_UNIT;
  central_init(TYPED_FIRST, SPAN_CLASSES);
  compact_init(TYPED_FIRST, SPAN_CLASSES);
  atomic32_store_release(&heap.classes, SPAN_CLASSES);
  return true;
}

/* Twice as many; without memory for them the chains grow. */
static void grow_buckets(void) {
  size_t n = 2 * table.buckets;
  struct gc_layout **bigger = new_buckets(n), *next;
  if (bigger == NULL) return;
  for (size_t i = 0; i < table.buckets; i++)
    for (struct gc_layout *l = table.bucket[i]; l != NULL; l = next) {
      next = l->next;
      l->next = bigger[l->hash & (n - 1)];
      bigger[l->hash & (n - 1)] = l;
    }
  os_unreserve(table.bucket, round_up(table.buckets * sizeof *table.bucket, os_page_size()));
  table.bucket = bigger;
  table.buckets = n;
  atomic_store_relaxed(&layouts.hash, n * sizeof *bigger);
}

static uint64_t hash_of(const struct gc_layout *l) {
  uint64_t h = l->element_size + 1;
  for (uint32_t i = 0; i < l->count; i++) h = (h ^ l->bits[i] ^ h >> 29) * 0x9e3779b97f4a7c15u;
  h *= 0x9e3779b97f4a7c15u;
  return h ^ h >> 32;
}

static uint32_t kind_of(const struct gc_layout *l) {
  size_t words = 0;
  for (uint32_t i = 0; i < l->count; i++) words += count_bits(l->bits[i]);
  if (words == 0) return LAYOUT_NOSCAN;
  return words == l->element_size / sizeof(uintptr_t) ? LAYOUT_SCANNED : LAYOUT_TYPED;
}

static bool is_equal(const struct gc_layout *a, const struct gc_layout *b) {
  return a->hash == b->hash && a->element_size == b->element_size && a->count == b->count &&
         memcmp(a->bits, b->bits, a->count * sizeof a->bits[0]) == 0;
}

/* Built in place, where nobody looks before layouts.used says so. */
static struct gc_layout *build(size_t element_size, size_t words, layout_fill *fill, const void *arg) {
  size_t used = atomic_load_relaxed(&layouts.used), count = (words + 63) / 64;
  struct gc_layout *l = (struct gc_layout *)(void *)(layouts.base + used * LAYOUT_UNIT);
  size_t most = ((table.room - used) * LAYOUT_UNIT) / sizeof l->bits[0];
  if (most < sizeof *l / sizeof l->bits[0] || count > most - sizeof *l / sizeof l->bits[0]) return NULL;
  memset(l, 0, sizeof *l + count * sizeof l->bits[0]); /* one that was not kept may have left something */
  fill(arg, l->bits);
  while (count > 0 && l->bits[count - 1] == 0) count--;
  l->word = LAYOUT_TAG | used;
  l->element_size = element_size;
  l->count = (uint32_t)count;
  l->kind = kind_of(l);
  l->hash = hash_of(l);
  return l;
}

static void keep(struct gc_layout *l) {
  size_t bytes = round_up(sizeof *l + l->count * sizeof l->bits[0], LAYOUT_UNIT);
  if (++table.count > table.buckets) grow_buckets();
  struct gc_layout **bucket = &table.bucket[l->hash & (table.buckets - 1)];
  l->next = *bucket;
  *bucket = l;
  atomic_store_release(&layouts.used, atomic_load_relaxed(&layouts.used) + bytes / LAYOUT_UNIT);
}

static const struct gc_layout *intern_locked(size_t element_size, size_t words, layout_fill *fill, const void *arg) {
  if (layouts.base == NULL && !begin()) return NULL;
  struct gc_layout *l = build(element_size, words, fill, arg);
  if (l == NULL) return NULL;
  for (struct gc_layout *k = table.bucket[l->hash & (table.buckets - 1)]; k != NULL; k = k->next)
    if (is_equal(k, l)) return k;
  keep(l);
  return l;
}

const struct gc_layout *layout_intern(size_t element_size, size_t words, layout_fill *fill, const void *arg) {
  lock_acquire(&table.lock);
  const struct gc_layout *l = intern_locked(element_size, words, fill, arg);
  lock_release(&table.lock);
  return l;
}
