/* hash.h - from an address to records (gc/watch.h): a hash that grows one bucket at a time, so that no insertion takes long.
 * A bucket is the number of its first record, 0: none; how the others are linked is the user's affair.
 * Never: gives memory back. All calls under the lock of gc/watch.h, or in the stop. */
#ifndef HOLDFAST_HASH_H
#define HOLDFAST_HASH_H

#include "runtime/base.h"

struct hash {         /* all fields [L:WATCH; STW] */
  uint32_t **segment; /* directory of buckets */
  uint32_t buckets;   /* 0: not set up */
  uint32_t low;       /* the largest power of two not above buckets */
};

/* Once before the others. False: memory is refused; it may be called again. */
bool hash_set_up(struct hash *h);

uint32_t *hash_bucket(const struct hash *h, const void *p);

/* Of buckets 0 to h->buckets - 1. */
uint32_t hash_first(const struct hash *h, uint32_t bucket);

/* There are so many records now. NULL, or a bucket of which each record is to be put where hash_bucket says from now on. */
uint32_t *hash_grow(struct hash *h, uint32_t records);

#endif
