/* tree.c - a tree whose versions share nodes: each change copies the path to it and leaves the older versions as they
 * are, and the last versions are kept. So a node may be reached from several roots and must be copied once, or compaction would
 * multiply the memory that it is to save. See stores.h.
 *
 * Where memory is freed by hand, nodes and payloads count their references; a collector's build counts, too, so that all
 * do the same work. Keys are random, so the tree needs no balancing: its depth is about 2 ln n. */
#include "stores.h"

struct tree {
  struct tree *left, *right;
  struct payload *payload;
  uint64_t key;
  uint64_t refs; /* nodes and versions that refer to it */
};

enum { VERSIONS = 8 };
static struct tree *volatile versions[VERSIONS]; /* versions[newest] is being changed */
static size_t newest;

static struct tree *retain(struct tree *tree) {
  if (tree != NULL) tree->refs++;
  return tree;
}

static void release(struct tree *tree) {
  if (tree == NULL || --tree->refs > 0) return;
  release(tree->left);
  release(tree->right);
  payload_release(tree->payload);
  store_free_object(tree, sizeof *tree);
}

static struct tree *node_new(struct payload *payload, struct tree *left, struct tree *right) {
  struct tree *tree = store_object(sizeof *tree);
  *tree = (struct tree){.left = left, .right = right, .payload = payload, .key = payload->key, .refs = 1};
  return tree;
}

/* The node again, with these children, whose references become its. */
static struct tree *again(const struct tree *tree, struct tree *left, struct tree *right) {
  tree->payload->refs++;
  return node_new(tree->payload, left, right);
}

static struct tree *inserted(const struct tree *tree, struct payload *payload) {
  if (tree == NULL) return node_new(payload, NULL, NULL);
  if (payload->key < tree->key) return again(tree, inserted(tree->left, payload), retain(tree->right));
  return again(tree, retain(tree->left), inserted(tree->right, payload));
}

static struct tree *removed(const struct tree *tree, uint64_t key) {
  if (key < tree->key) return again(tree, removed(tree->left, key), retain(tree->right));
  if (key > tree->key) return again(tree, retain(tree->left), removed(tree->right, key));
  if (tree->left == NULL) return retain(tree->right);
  if (tree->right == NULL) return retain(tree->left);
  const struct tree *least = tree->right;
  while (least->left != NULL) least = least->left;
  return again(least, retain(tree->left), removed(tree->right, least->key));
}

static void change_to(struct tree *tree) {
  struct tree *old = versions[newest];
  versions[newest] = tree;
  release(old);
}

LAB_STEP void tree_add(struct payload *payload) {
  payload_count(payload);
  store_count.entries++;
  change_to(inserted(versions[newest], payload));
}

/* The key of a random node: a random walk that stops at each with probability 1/8, or at the end. */
static uint64_t random_key(const struct tree *tree) {
  for (uint64_t dice = lab_random();; dice >>= 4, dice = dice ? dice : lab_random()) {
    const struct tree *next = dice & 1 ? tree->left : tree->right;
    if (next == NULL || (dice & 14) == 0) return tree->key;
    tree = next;
  }
}

LAB_STEP void tree_remove(size_t count) {
  for (; count > 0; count--) {
    change_to(removed(versions[newest], random_key(versions[newest])));
    store_count.entries--;
  }
}

/* The version is final; the oldest one gives way to the next. */
LAB_STEP void tree_tick(void) {
  struct tree *now = versions[newest];
  newest = (newest + 1) % VERSIONS;
  change_to(retain(now));
}

/* Counts of references are copied, too, and stay right: each is of references that are all replaced. */
static struct tree *compacted(struct compactor *compactor, struct tree *old) {
  bool first;
  struct tree *copy = compactor_copy_shared(compactor, old, sizeof *copy, COMPACT_SCANNED, &first);
  if (!first) return copy;
  copy->left = compacted(compactor, copy->left);
  copy->right = compacted(compactor, copy->right);
  copy->payload = compactor_copy_shared(compactor, copy->payload, copy->payload->size, COMPACT_NOSCAN, &first);
  return copy;
}

LAB_STEP void tree_compact(struct compactor *compactor) {
  for (size_t i = 0; i < VERSIONS; i++) versions[i] = compacted(compactor, versions[i]);
}

static size_t verify(const struct tree *tree, uint64_t low, uint64_t high) {
  if (tree == NULL) return 0;
  if (tree->key != tree->payload->key || tree->key < low || tree->key > high) lab_die("a node is in a wrong place");
  payload_verify(tree->payload);
  return verify(tree->left, low, tree->key) + 1 + verify(tree->right, tree->key, high);
}

LAB_STEP size_t tree_verify(void) {
  for (size_t i = 0; i < VERSIONS; i++)
    if (i != newest) verify(versions[i], 0, UINT64_MAX);
  return verify(versions[newest], 0, UINT64_MAX);
}

const struct store tree_store = {"tree", tree_add, tree_remove, tree_tick, tree_compact, tree_verify};
