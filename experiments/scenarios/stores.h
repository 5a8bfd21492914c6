/* stores.h - the four structures of the compaction scenario: what they hold, and how each is compacted by hand.
 *
 * Owns:    payloads (objects without pointers, 48 to 768 bytes), the structures that hold them, the count of all that.
 * Promise: a structure's compact reallocates every object it reaches, nested ones included, and leaves it equal;
 *          verify finds a payload that was lost, mixed up or overwritten. What is removed is lab_freed at once.
 * Never:   leaves an object reachable from elsewhere than its root, which is static and volatile.
 * Reading: compactor.h; stores.c has the array, the list and the hash table, tree.c the tree. */
#ifndef SCENARIO_STORES_H
#define SCENARIO_STORES_H

#include "compactor.h"
#include "scenario.h"

/* The head of a payload; the bytes behind it are the key's lowest. */
struct payload {
  uint64_t key;
  uint32_t size; /* bytes of the object                    */
  uint32_t refs; /* nodes that refer to it: more than one only in the tree */
};

struct store {
  const char *name;
  void (*add)(struct payload *payload);         /* one more entry, which owns the payload */
  void (*remove)(size_t count);                 /* so many entries at random places       */
  void (*tick)(void);                           /* the program's time goes on             */
  void (*compact)(struct compactor *compactor); /* all its objects, between begin and end */
  size_t (*verify)(void);                       /* walks it; the number of entries, or the end of the program */
};

enum { STORES = 4 };
extern const struct store *const stores[STORES];
extern const struct store tree_store;

/* Of the one structure that this process has. */
struct store_count {
  uint64_t entries; /* the length of the container           */
  uint64_t objects; /* nodes and payloads                    */
  uint64_t bytes;   /* of these, and of arrays; as asked for */
};
extern struct store_count store_count;

void *store_object(size_t size); /* a scanned object, counted */
void store_free_object(void *object, size_t size);

struct payload *payload_new(uint64_t key, size_t size); /* not yet counted, refs 1 */
void payload_count(const struct payload *payload);
void payload_release(struct payload *payload); /* frees it with its last reference */
void payload_verify(const struct payload *payload);

#endif
