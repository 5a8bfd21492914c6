/* marktree.c - time of a full collection of one live tree of 2^levels - 1 nodes of 32 bytes, collectors only.
 * Two layouts: built depth-first, so that marking reads memory in order; and with --random, nodes allocated
 * in order but linked as a complete tree in random order, so that each step goes somewhere else.
 * Of the depth-first tree also: build time, and resident memory against the nodes' own bytes. */
#include "allocator.h"

#if !BENCH_COLLECTS
#error "there is nothing to collect with this allocator"
#endif

enum { PASSES = 5 };

struct node {
  struct node *left, *right;
  uint64_t id, zero; /* words that a conservative collector must look at and reject */
};

/* Static data: what makes the tree reachable. volatile, or a compiler drops a root that is only written,
 * and the empty heap is marked in no time. */
static struct node *volatile tree_root;

static struct node *build_dfs(unsigned levels, uint64_t *next_id) {
  struct node *node = bench_alloc(sizeof *node);
  node->id = (*next_id)++;
  if (levels > 1) {
    node->left = build_dfs(levels - 1, next_id);
    node->right = build_dfs(levels - 1, next_id);
  }
  return node;
}

static void shuffle(struct node **nodes, uint64_t count) {
  uint64_t seed = 1;
  for (uint64_t i = count - 1; i > 0; i--) {
    uint64_t j = bench_random(&seed) % (i + 1);
    struct node *swap = nodes[i];
    nodes[i] = nodes[j];
    nodes[j] = swap;
  }
}

static struct node *build_random(uint64_t count) {
  struct node **nodes = bench_map((size_t)count * sizeof *nodes);
  BENCH_PAUSE(); /* until they are linked, only memory that no collector searches knows the nodes */
  for (uint64_t i = 0; i < count; i++) {
    nodes[i] = bench_alloc(sizeof **nodes);
    nodes[i]->id = i;
  }
  shuffle(nodes, count);
  for (uint64_t i = 0; 2 * i + 2 < count; i++) {
    nodes[i]->left = nodes[2 * i + 1];
    nodes[i]->right = nodes[2 * i + 2];
  }
  struct node *root = nodes[0];
  tree_root = root;
  BENCH_RESUME();
  bench_unmap(nodes, (size_t)count * sizeof *nodes);
  return root;
}

static uint64_t count_and_sum(const struct node *node, uint64_t *sum) {
  if (node->zero) bench_die("a node was overwritten");
  *sum += node->id;
  if (!node->left) return 1;
  return 1 + count_and_sum(node->left, sum) + count_and_sum(node->right, sum);
}

static void verify(uint64_t count) {
  uint64_t sum = 0;
  if (count_and_sum(tree_root, &sum) != count || sum != count * (count - 1) / 2) bench_die("a node was lost");
}

static double collect_ms(void) {
  double ms[PASSES];
  for (int i = 0; i < PASSES; i++) {
    uint64_t start = bench_now_ns();
    BENCH_COLLECT();
    ms[i] = (double)(bench_now_ns() - start) / 1e6;
  }
  return bench_median(ms, PASSES);
}

static void run_random(uint64_t count) {
  tree_root = build_random(count);
  bench_row("marktree_random_mark", collect_ms(), "ms");
}

static void run_dfs(unsigned levels) {
  uint64_t id = 0;
  double bytes = (double)(UINT64_C(1) << levels) * sizeof(struct node);
  uint64_t start = bench_now_ns();
  tree_root = build_dfs(levels, &id);
  double build = (double)(bench_now_ns() - start) / 1e9;
  double built = (double)bench_rss();
  double ms = collect_ms();
  bench_row("marktree_dfs_mark", ms, "ms");
  bench_row("marktree_dfs_build", build, "s");
  bench_row("marktree_dfs_rss_built", built / bytes, "x");
  bench_row("marktree_dfs_rss_collected", (double)bench_rss() / bytes, "x");
}

int main(int argc, char **argv) {
  uint64_t levels, random_layout;
  const struct bench_option options[] = {{"--levels", &levels, 25, 18, 2, 32},
                                         {"--random", &random_layout, 0, 0, 0, 0}};
  bench_begin(argc, argv, options, 2);
  uint64_t count = (UINT64_C(1) << levels) - 1;
  if (random_layout)
    run_random(count);
  else
    run_dfs((unsigned)levels);
  verify(count);
  return 0;
}
