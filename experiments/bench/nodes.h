/* nodes.h - the live trees of the pause benchmarks: complete binary trees of 32-byte nodes, and what a
 * program does to them. Compiled once per allocator.
 * Promise: whatever was done to a tree, each node knows its place in it and nodes_verify checks it, so a
 *          node that was lost or handed out twice ends the program.
 * Rule:    the caller keeps the root in static data. */
#ifndef BENCH_NODES_H
#define BENCH_NODES_H

#include "support.h"

enum { NODES_SUBTREE_LEVELS = 4, NODES_SUBTREE = (1 << NODES_SUBTREE_LEVELS) - 1 };

/* The node with number id has children 2 * id and 2 * id + 1, on either side; the root is number 1. */
struct node {
  struct node *left, *right;
  uint64_t id, check; /* check is ~id. Words that a conservative collector must look at and reject. */
};

/* A tree of 2^levels - 1 nodes, allocated depth-first. */
struct node *nodes_build(unsigned levels);

/* Walks to a random subtree of NODES_SUBTREE nodes and puts a new one in its place. */
void nodes_replace(struct node *root, unsigned levels, uint64_t *seed);

/* The same walk without a store; returns the subtree's root. */
const struct node *nodes_visit(const struct node *root, unsigned levels, uint64_t *seed);

/* Allocates and drops count objects of a node's size. */
void nodes_churn(uint64_t count);

/* Exchanges a node's children: two stores of pointers that leave the tree a tree. */
static inline void nodes_swap(struct node *node) {
  struct node *left = node->left;
  node->left = node->right;
  node->right = left;
}

/* All nodes by number, in memory that no collector searches; to be used while no subtree is replaced. */
struct node **nodes_table(struct node *root, unsigned levels);
void nodes_table_free(struct node **table, unsigned levels);

void nodes_verify(const struct node *root, unsigned levels);

#endif
