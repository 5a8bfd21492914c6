/* loops.c - the loops of the garbage and trees benchmarks; see loops.h. */
#include "loops.h"

#include "allocator.h"

void loop_garbage(size_t size, uint64_t count) {
  for (uint64_t i = 0; i < count; i++) {
    uint64_t *object = bench_alloc(size);
    *object = i;
    bench_drop(object);
  }
}

uint64_t loop_garbage_count(size_t size, uint64_t objects) {
  for (; size > 16; size /= 4) objects /= 2;
  return objects ? objects : 1;
}

struct node {
  struct node *left, *right;
};

static struct node *tree_build(unsigned depth) {
  struct node *node = bench_alloc(sizeof *node);
  if (depth > 0) {
    node->left = tree_build(depth - 1);
    node->right = tree_build(depth - 1);
  }
  return node;
}

static uint64_t tree_count(const struct node *node) {
  return node->left ? 1 + tree_count(node->left) + tree_count(node->right) : 1;
}

static void tree_drop(struct node *node) {
  if (BENCH_COLLECTS) return;
  if (node->left) {
    tree_drop(node->left);
    tree_drop(node->right);
  }
  bench_drop(node);
}

static uint64_t tree_check(const struct node *root, unsigned depth) {
  uint64_t nodes = tree_count(root);
  if (nodes != (UINT64_C(2) << depth) - 1) bench_die("a tree has lost or gained nodes");
  return nodes;
}

static uint64_t tree_cycle(unsigned depth) {
  struct node *root = tree_build(depth);
  uint64_t nodes = tree_check(root, depth);
  tree_drop(root);
  return nodes;
}

uint64_t loop_trees(unsigned depth) {
  const unsigned min_depth = 4;
  uint64_t nodes = tree_cycle(depth + 1); /* the "stretch" tree */
  struct node *long_lived = tree_build(depth);
  for (unsigned d = min_depth; d <= depth; d += 2)
    for (uint64_t left = UINT64_C(1) << (depth - d + min_depth); left > 0; left--) nodes += tree_cycle(d);
  nodes += tree_check(long_lived, depth);
  tree_drop(long_lived);
  return nodes;
}
