/* stores.c - payloads, and an array, a list and a hash table of them; see stores.h. */
#include "stores.h"

#include <string.h>

struct store_count store_count;

/* ---- objects ---- */

void *store_object(size_t size) {
  store_count.objects++;
  store_count.bytes += size;
  return lab_new(size);
}

void store_free_object(void *object, size_t size) {
  store_count.objects--;
  store_count.bytes -= size;
  lab_free(object);
}

struct payload *payload_new(uint64_t key, size_t size) {
  struct payload *payload = lab_new_noscan(size);
  *payload = (struct payload){.key = key, .size = (uint32_t)size, .refs = 1};
  memset(payload + 1, (int)(key & 0xff), size - sizeof *payload);
  return payload;
}

void payload_count(const struct payload *payload) {
  store_count.objects++;
  store_count.bytes += payload->size;
}

void payload_release(struct payload *payload) {
  if (--payload->refs == 0) store_free_object(payload, payload->size);
}

void payload_verify(const struct payload *payload) {
  const unsigned char *bytes = (const unsigned char *)payload;
  for (size_t i = sizeof *payload; i < payload->size; i++)
    if (bytes[i] != (payload->key & 0xff)) lab_die("a payload was lost or overwritten");
}

/* Of entries met in a row, one of each `step` is to go, at a random place among them. */
static struct { size_t step, at, chosen, left; } going;

static void start_going(size_t count) {
  going.step = store_count.entries / count;
  going.at = going.step; /* so that the first asked starts a group */
  going.left = count;
}

static bool goes(void) {
  if (going.at == going.step) {
    going.at = 0;
    going.chosen = lab_below(going.step);
  }
  if (going.left == 0 || going.at++ != going.chosen) return false;
  going.left--;
  return true;
}

static void no_tick(void) {}

/* ---- a flat array of pointers to payloads ---- */

static struct payload **volatile array;
static size_t array_room;

LAB_STEP void array_grow(void) {
  size_t room = array_room ? 2 * array_room : 1024;
  struct payload **wider = lab_new(room * sizeof *wider);
  if (array_room) memcpy(wider, array, array_room * sizeof *wider);
  lab_free(array);
  array = wider;
  store_count.bytes += (room - array_room) * sizeof *wider;
  array_room = room;
}

LAB_STEP void array_add(struct payload *payload) {
  if (store_count.entries == array_room) array_grow();
  payload_count(payload);
  array[store_count.entries++] = payload;
}

LAB_STEP void array_remove(size_t count) {
  size_t rest = 0, length = store_count.entries;
  start_going(count);
  for (size_t i = 0; i < length; i++) {
    if (goes())
      payload_release(array[i]);
    else
      array[rest++] = array[i];
  }
  store_count.entries = rest;
  while (rest < length) array[rest++] = NULL;
}

/* The array itself is one large object: copying it would win nothing. */
LAB_STEP void array_compact(struct compactor *compactor) {
  for (size_t i = 0; i < store_count.entries; i++)
    array[i] = compactor_copy(compactor, array[i], array[i]->size, COMPACT_NOSCAN);
}

LAB_STEP size_t array_verify(void) {
  for (size_t i = 0; i < store_count.entries; i++) payload_verify(array[i]);
  return store_count.entries;
}

static const struct store array_store = {"array", array_add, array_remove, no_tick, array_compact, array_verify};

/* ---- nodes in chains: the list is one, the hash table has many ---- */

struct node {
  struct node *next;
  struct payload *payload;
  uint64_t key;
  uint64_t unused; /* what a program would keep beside these */
};

static struct node *node_new(struct payload *payload, struct node *next) {
  struct node *node = store_object(sizeof *node);
  payload_count(payload);
  *node = (struct node){.next = next, .payload = payload, .key = payload->key};
  store_count.entries++;
  return node;
}

static void chain_remove(struct node **link) {
  while (*link != NULL) {
    struct node *node = *link;
    if (!goes()) {
      link = &node->next;
      continue;
    }
    *link = node->next;
    payload_release(node->payload);
    store_free_object(node, sizeof *node);
    store_count.entries--;
  }
}

static void chain_compact(struct compactor *compactor, struct node **link) {
  for (; *link != NULL; link = &(*link)->next) {
    struct node *copy = compactor_copy(compactor, *link, sizeof *copy, COMPACT_SCANNED);
    *link = copy;
    copy->payload = compactor_copy(compactor, copy->payload, copy->payload->size, COMPACT_NOSCAN);
  }
}

static size_t chain_verify(const struct node *node) {
  size_t length = 0;
  for (; node != NULL; node = node->next, length++) {
    if (node->key != node->payload->key) lab_die("a node has another's payload");
    payload_verify(node->payload);
  }
  return length;
}

/* ---- a linked list ---- */

static struct node *volatile list;

/* The root is volatile; inside a step a plain pointer may stand for it. */
static struct node **list_root(void) { return (struct node **)(uintptr_t)&list; }

LAB_STEP void list_add(struct payload *payload) { list = node_new(payload, list); }

LAB_STEP void list_remove(size_t count) {
  start_going(count);
  chain_remove(list_root());
}

LAB_STEP void list_compact(struct compactor *compactor) { chain_compact(compactor, list_root()); }
LAB_STEP size_t list_verify(void) { return chain_verify(list); }

static const struct store list_store = {"list", list_add, list_remove, no_tick, list_compact, list_verify};

/* ---- a hash table with chains ---- */

enum { BUCKETS = 1 << 13 };
static struct node **volatile buckets;

LAB_STEP void hash_add(struct payload *payload) {
  if (buckets == NULL) {
    buckets = lab_new(BUCKETS * sizeof *buckets);
    store_count.bytes += BUCKETS * sizeof *buckets;
  }
  struct node **bucket = &buckets[payload->key * UINT64_C(0x9e3779b97f4a7c15) >> 32 & (BUCKETS - 1)];
  *bucket = node_new(payload, *bucket);
}

LAB_STEP void hash_remove(size_t count) {
  start_going(count);
  for (size_t i = 0; i < BUCKETS; i++) chain_remove(&buckets[i]);
}

LAB_STEP void hash_compact(struct compactor *compactor) {
  for (size_t i = 0; i < BUCKETS; i++) chain_compact(compactor, &buckets[i]);
}

LAB_STEP size_t hash_verify(void) {
  size_t entries = 0;
  for (size_t i = 0; i < BUCKETS; i++) entries += chain_verify(buckets[i]);
  return entries;
}

static const struct store hash_store = {"hash", hash_add, hash_remove, no_tick, hash_compact, hash_verify};

const struct store *const stores[STORES] = {&array_store, &list_store, &hash_store, &tree_store};
