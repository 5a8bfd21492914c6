/* compactor.c - policies, forwarding table and bookkeeping of compaction by the program; see compactor.h. */
#include "compactor.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

/* ---- memory that no allocator manages ---- */

static void *map(size_t size) {
  void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory != MAP_FAILED) return memory;
  fprintf(stderr, "out of memory\n");
  exit(2);
}

static void unmap(void *memory, size_t size) {
  if (memory != NULL) munmap(memory, size);
}

static uint64_t now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* ---- when ---- */

static bool doubled(const struct compactor *compactor, const struct compact_now *now) {
  uint64_t from = compactor->low_live > compactor->least_live ? compactor->low_live : compactor->least_live;
  return now->live >= 2 * from;
}

static bool fragmented(const struct compactor *compactor, const struct compact_now *now) {
  double limit = compactor->policy.value * (double)now->usage;
  double risen = (double)now->fragmentation - (double)compactor->left;
  return (double)now->fragmentation > limit && risen >= limit / 2;
}

bool compactor_due(struct compactor *compactor, const struct compact_now *now) {
  if (now->live < compactor->low_live) compactor->low_live = now->live;
  if (!compactor->looked) {
    compactor->looked = true;
    compactor->left = compactor->passes == 0 ? 0 : now->fragmentation;
  }
  switch (compactor->policy.kind) {
    case COMPACT_NEVER: return false;
    case COMPACT_DOUBLED: return doubled(compactor, now);
    case COMPACT_EVERY: return (double)(now->tick - compactor->last_tick) >= compactor->policy.value;
    case COMPACT_FRAGMENTED: return fragmented(compactor, now);
  }
  return false;
}

/* ---- forwarding ---- */

/* Objects are at least 8 bytes apart; the multiplication spreads the rest over the high bits. */
static size_t slot_of(const struct forwarding *table, const void *from) {
  return (size_t)(((uint64_t)(uintptr_t)from >> 3) * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (table->capacity - 1);
}

static struct forwarding_entry *probe(struct forwarding *table, const void *from) {
  size_t i = slot_of(table, from);
  while (table->entries[i].from != NULL && table->entries[i].from != from) i = (i + 1) & (table->capacity - 1);
  return &table->entries[i];
}

static void grow(struct forwarding *table) {
  struct forwarding old = *table;
  table->capacity = old.capacity == 0 ? 1024 : 2 * old.capacity;
  table->entries = map(table->capacity * sizeof *table->entries);
  for (size_t i = 0; i < old.capacity; i++)
    if (old.entries[i].from != NULL) *probe(table, old.entries[i].from) = old.entries[i];
  unmap(old.entries, old.capacity * sizeof *old.entries);
}

void **forwarding_find(struct forwarding *table, const void *from) {
  if (2 * (table->count + 1) > table->capacity) grow(table);
  struct forwarding_entry *entry = probe(table, from);
  if (entry->from == NULL) {
    entry->from = from;
    table->count++;
  }
  return &entry->to;
}

void forwarding_clear(struct forwarding *table) {
  unmap(table->entries, table->capacity * sizeof *table->entries);
  *table = (struct forwarding){0};
}

/* ---- a pass ---- */

static void retire(struct compactor *compactor, void *object) {
  if (compactor->release == NULL) return;
  if (compactor->old_count == compactor->old_capacity) {
    size_t capacity = compactor->old_capacity == 0 ? 1024 : 2 * compactor->old_capacity;
    void **old = map(capacity * sizeof *old);
    for (size_t i = 0; i < compactor->old_count; i++) old[i] = compactor->old[i];
    unmap(compactor->old, compactor->old_capacity * sizeof *old);
    compactor->old = old;
    compactor->old_capacity = capacity;
  }
  compactor->old[compactor->old_count++] = object;
}

void compactor_begin(struct compactor *compactor) { compactor->began_ns = now_ns(); }

void *compactor_copy(struct compactor *compactor, void *object, size_t size, enum compact_object kind) {
  if (object == NULL) return NULL;
  void *copy = compactor->copy(object, size, kind);
  if (copy == object) return object;
  retire(compactor, object);
  compactor->objects++;
  compactor->bytes += size;
  return copy;
}

void *compactor_copy_shared(struct compactor *compactor, void *object, size_t size, enum compact_object kind,
                            bool *first) {
  *first = false;
  if (object == NULL) return NULL;
  void **place = forwarding_find(&compactor->forwarding, object);
  if (*place == NULL) {
    *place = compactor_copy(compactor, object, size, kind);
    *first = true;
  }
  return *place;
}

void compactor_end(struct compactor *compactor, const struct compact_now *now) {
  uint64_t side =
      compactor->forwarding.capacity * sizeof(struct forwarding_entry) + compactor->old_capacity * sizeof(void *);
  if (side > compactor->side_bytes) compactor->side_bytes = side;
  for (size_t i = 0; i < compactor->old_count; i++) compactor->release(compactor->old[i]);
  unmap(compactor->old, compactor->old_capacity * sizeof *compactor->old);
  compactor->old = NULL;
  compactor->old_count = compactor->old_capacity = 0;
  forwarding_clear(&compactor->forwarding);
  compactor->last_tick = now->tick;
  compactor->low_live = now->live;
  compactor->looked = false;
  compactor->passes++;
  compactor->ns += now_ns() - compactor->began_ns;
}
