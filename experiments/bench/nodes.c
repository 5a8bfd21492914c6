/* nodes.c - the live trees of the pause benchmarks; see nodes.h. */
#include "nodes.h"

#include "allocator.h"

static struct node *build(unsigned levels, uint64_t id) {
  struct node *node = bench_alloc(sizeof *node);
  node->id = id;
  node->check = ~id;
  if (levels > 1) {
    node->left = build(levels - 1, 2 * id);
    node->right = build(levels - 1, 2 * id + 1);
  }
  return node;
}

struct node *nodes_build(unsigned levels) {
  return build(levels, 1);
}

static void drop(struct node *node) {
  if (BENCH_COLLECTS || !node) return;
  drop(node->left);
  drop(node->right);
  bench_drop(node);
}

/* Where the pointer to a random subtree is. One random number has bits for more levels than any tree. */
static struct node **find_link(struct node *root, unsigned levels, uint64_t *seed) {
  uint64_t path = bench_random(seed);
  struct node *node = root;
  for (unsigned steps = levels - NODES_SUBTREE_LEVELS; steps > 1; steps--, path >>= 1)
    node = path & 1 ? node->right : node->left;
  return path & 1 ? &node->right : &node->left;
}

void nodes_replace(struct node *root, unsigned levels, uint64_t *seed) {
  struct node **link = find_link(root, levels, seed);
  struct node *old = *link;
  *link = build(NODES_SUBTREE_LEVELS, old->id);
  drop(old);
}

const struct node *nodes_visit(const struct node *root, unsigned levels, uint64_t *seed) {
  return *find_link((struct node *)(uintptr_t)root, levels, seed);
}

void nodes_churn(uint64_t count) {
  for (uint64_t i = 0; i < count; i++) {
    struct node *node = bench_alloc(sizeof *node);
    node->id = i;
    bench_drop(node);
  }
}

static void list(struct node **table, struct node *node) {
  if (!node) return;
  table[node->id] = node;
  list(table, node->left);
  list(table, node->right);
}

struct node **nodes_table(struct node *root, unsigned levels) {
  struct node **table = bench_map(sizeof *table << levels);
  list(table, root);
  return table;
}

void nodes_table_free(struct node **table, unsigned levels) { bench_unmap(table, sizeof *table << levels); }

static void verify(const struct node *node, unsigned levels) {
  if (node->check != ~node->id) bench_die("a node was overwritten");
  if (levels == 1) {
    if (node->left || node->right) bench_die("a leaf has children");
    return;
  }
  if (!node->left || !node->right) bench_die("a node was lost");
  /* Both numbers, on either side: they differ in the last bit and have this node's above it. */
  if (node->left->id >> 1 != node->id || (node->left->id ^ 1) != node->right->id)
    bench_die("a node is in a wrong place");
  verify(node->left, levels - 1);
  verify(node->right, levels - 1);
}

void nodes_verify(const struct node *root, unsigned levels) {
  if (root->id != 1) bench_die("the root was lost");
  verify(root, levels);
}
