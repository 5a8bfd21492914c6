/* leaks.c - see leaks.h. */
#include "alloc/leaks.h"

#include <string.h>

#include "alloc/walk.h"
#include "runtime/meta.h"

static struct leaks *leaks GC_OWN_DATA; /* [const] after init; contents [L:CYCLE] */
bool leaks_wanted GC_OWN_DATA;

/* The first word of a freed slot: no address, and different in each slot, so that a copy of it means nothing. */
static uintptr_t stamp_of(const char *object) { return ~(uintptr_t)object ^ (uintptr_t)0x1eac000000000000u; }

GC_NO_SANITIZE void leaks_stamp(const struct slot *s) {
  *(volatile scanned_word *)(void *)s->object = stamp_of(s->object);
}

GC_NO_SANITIZE void leaks_unstamp(char *span, size_t size, unsigned group, uint64_t slots) {
  for (; slots != 0; slots &= slots - 1)
    *(volatile scanned_word *)(void *)(span + ((size_t)group * 64 + (unsigned)__builtin_ctzll(slots)) * size) = 0;
}

bool leaks_init(void) {
  leaks = meta_map(sizeof *leaks);
  leaks_wanted = leaks != NULL;
  return leaks_wanted;
}

static void add(struct leak_tally *t, uint64_t objects, uint64_t bytes) {
  t->objects += objects;
  t->bytes += bytes;
}

/* Takes what was freed off. */
static void leave_out_freed(uint32_t page, size_t size, uint64_t *slots) {
  for (unsigned g = 0; g < WALK_GROUPS; g++)
    for (uint64_t rest = slots[g]; rest != 0; rest &= rest - 1) {
      const char *object = walk_object(page, size, g, rest);
      if (racy_load_word(object) == stamp_of(object)) slots[g] &= ~(rest & (0 - rest));
    }
}

struct span_leaks {
  uint64_t slots[WALK_GROUPS];
  size_t size;
};

static void take_sample(void *arg, unsigned slot, uint32_t site) {
  struct span_leaks *s = arg;
  uint64_t bit = (uint64_t)1 << (slot % 64);
  if ((s->slots[slot / 64] & bit) == 0) return;
  s->slots[slot / 64] &= ~bit;
  add(&leaks->by_site[site], 1, s->size);
  add(&leaks->total, 1, s->size);
}

static void count_span(void *arg, uint32_t page, const uint64_t *slots) {
  struct span_leaks s;
  unsigned sc = span_class_of(page), n = 0;
  (void)arg;
  memcpy(s.slots, slots, sizeof s.slots);
  s.size = sc < 2 ? span_bytes(page) : span_class_size(sc);
  leave_out_freed(page, s.size, s.slots);
  if (span_has_samples(page)) samples_each(page, take_sample, &s);
  for (unsigned g = 0; g < WALK_GROUPS; g++) n += count_bits(s.slots[g]);
  add(&leaks->by_class[sc], n, n * s.size);
  add(&leaks->total, n, n * s.size);
}

void leaks_count(void) {
  if (leaks != NULL) walk_objects(other_colour(atomic32_load_relaxed(&heap.live_colour)), count_span, NULL);
}

const struct leaks *leaks_so_far(void) { return leaks; }

void leaks_forget(void) {
  if (leaks != NULL) memset(leaks, 0, sizeof *leaks);
}
