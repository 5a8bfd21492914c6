/* kept.c - see kept.h. */
#include "gc/kept.h"

#include "gc/watch.h"
#include "runtime/meta.h"

#define BLOCK 8192 /* words, 64 KiB: one piece of roots */
#define BLOCKS_MAX (1u << 14)

struct block {
  uintptr_t *word;  /* [const once made] entries [L:WATCH], read by markers beside it: an old value or a new one */
  uint32_t hinted;  /* [L:WATCH] the cycle that was given all of it beside the program */
  uint32_t changed; /* [L:WATCH] the cycle in which a word was added since */
};

static struct {
  struct block *block; /* [const once mapped] */
  uint32_t end;        /* [L:WATCH] places ever used, number 0 included */
  uint32_t unused;     /* [L:WATCH] list of places to use again */
} kept GC_OWN_DATA = {.end = 1};

/* Volatile: markers read it at any moment. */
static volatile uintptr_t *word_at(uint32_t place) { return &kept.block[place / BLOCK].word[place % BLOCK]; }

static void store(uint32_t place, const void *p) {
  *word_at(place) = (uintptr_t)p;
  kept.block[place / BLOCK].changed = watch_cycle();
}

static uint32_t fresh_place(void) {
  uint32_t place = kept.end;
  if (kept.block == NULL) kept.block = meta_map(BLOCKS_MAX * sizeof *kept.block);
  if (kept.block == NULL || place / BLOCK == BLOCKS_MAX) return 0;
  struct block *b = &kept.block[place / BLOCK];
  if (b->word == NULL) b->word = meta_alloc(BLOCK * sizeof *b->word);
  if (b->word == NULL) return 0;
  kept.end++;
  return place;
}

/* A list's link is odd and small, so it is no address in the heap. */
uint32_t kept_add(const void *p) {
  uint32_t place = kept.unused;
  if (place != 0)
    kept.unused = (uint32_t)(*word_at(place) >> 1);
  else
    place = fresh_place();
  if (place != 0) store(place, p);
  return place;
}

void kept_change(uint32_t place, const void *p) { store(place, p); }

void kept_remove(uint32_t place) {
  *word_at(place) = (uintptr_t)kept.unused << 1 | 1;
  kept.unused = place;
}

/* A block that changes in the cycle's last part counts as changed for all of it. */
void kept_roots(bool hints, void (*range)(void *arg, struct range r), void *arg) {
  uint32_t cycle = watch_cycle();
  if (hints) watch_lock();
  for (uint32_t i = 0; i * BLOCK < kept.end && kept.block != NULL; i++) {
    struct block *b = &kept.block[i];
    if (!hints && b->hinted == cycle && b->changed != cycle) continue;
    if (hints) {
      b->hinted = cycle;
      b->changed = 0;
    }
    range(arg, (struct range){(char *)b->word, (char *)(b->word + min_size(BLOCK, kept.end - i * BLOCK))});
  }
  if (hints) watch_unlock();
}

const char *kept_check(void) {
  for (uint32_t i = 1; i < kept.end; i++) {
    uintptr_t word = *word_at(i);
    if (word & 1) continue;
    struct slot s = slot_find((const void *)word);
    if (s.object == NULL || !is_marked(s.state)) return "an uncollectable object was not marked";
  }
  return NULL;
}
