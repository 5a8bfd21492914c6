/* hash.c - see hash.h. A linear hash: when there are more records than buckets, one bucket is split. */
#include "gc/hash.h"

#include "runtime/meta.h"

#define SEGMENT 16384 /* buckets, 64 KiB */
#define SEGMENTS_MAX (1u << 13)

static uint32_t *bucket_at(const struct hash *h, uint32_t b) { return &h->segment[b / SEGMENT][b % SEGMENT]; }

static uint32_t number_of(const void *p) { return (uint32_t)(((uintptr_t)p >> 3) * 0x9e3779b97f4a7c15u >> 32); }

/* The directory is mapped whole and touched on use. */
bool hash_set_up(struct hash *h) {
  if (h->buckets != 0) return true;
  if (h->segment == NULL) h->segment = meta_map(SEGMENTS_MAX * sizeof *h->segment);
  if (h->segment == NULL) return false;
  h->segment[0] = meta_alloc(SEGMENT * sizeof(uint32_t));
  if (h->segment[0] == NULL) return false;
  h->buckets = h->low = SEGMENT;
  return true;
}

uint32_t *hash_bucket(const struct hash *h, const void *p) {
  uint32_t n = number_of(p), b = n & (2 * h->low - 1);
  return bucket_at(h, b < h->buckets ? b : n & (h->low - 1));
}

uint32_t hash_first(const struct hash *h, uint32_t bucket) { return *bucket_at(h, bucket); }

/* The next bucket takes over its half of the one it was part of. Without memory chains are longer. */
uint32_t *hash_grow(struct hash *h, uint32_t records) {
  uint32_t fresh = h->buckets, **segment = &h->segment[fresh / SEGMENT];
  if (records <= fresh || fresh / SEGMENT == SEGMENTS_MAX) return NULL;
  if (fresh % SEGMENT == 0) *segment = meta_alloc(SEGMENT * sizeof(uint32_t));
  if (*segment == NULL) return NULL;
  uint32_t *parted = bucket_at(h, fresh - h->low);
  h->buckets++;
  if (h->buckets == 2 * h->low) h->low *= 2;
  return parted;
}
