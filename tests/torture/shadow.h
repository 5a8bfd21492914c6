/* shadow.h - a random object graph on the heap, and a shadow of it that knows what must be there.
 * Owns:     the shadow nodes (malloc memory, addresses hidden), the random operations, the verification.
 * Promises: a node is touched only through a path of real pointers from a root, each compared with the
 *           shadow on the way; the shadow alone keeps nothing alive.
 * Layout:   word 0 of an object is its tag, then its pointers (scanned and typed objects only), then a pattern.
 * Typed:    in a shadow with typed set, so many of 8 objects that are not noscan have a layout that names their pointers, some
 *           words of the pattern, and never word 0; its period is that of the object or longer.
 * Words:    edge = a pointer with its offset into the target; holder = a root or an edge.
 * One shadow belongs to one thread. Failures end the process with a message and the seed. */
#ifndef HOLDFAST_TEST_SHADOW_H
#define HOLDFAST_TEST_SHADOW_H

#include "gc_typed.h"
#include "hide.h"

enum { SHADOW_ROOTS = 64, MAX_EDGES = 24, NONE = -1 };

struct edge {
  int to; /* index of a node, or NONE */
  uint32_t offset;
};

struct node {
  hidden at;
  size_t size;
  uint64_t tag;
  int refs;  /* holders, those in dead nodes included until shadow_prune */
  int edges; /* pointer slots; 0 in a noscan object */
  bool used, noscan, reached;
  struct edge edge[MAX_EDGES];
};

struct shadow {
  struct rng rng;
  uint64_t seed;
  struct node *node;
  int room, live, spare; /* spare: where the search for an unused node starts */
  unsigned typed;        /* of 8 */
  struct edge root[SHADOW_ROOTS];
  root *word[SHADOW_ROOTS]; /* where each root really is */
};

#define SHADOW_CHECK(s, cond, ...)                                                                           \
  do {                                                                                                       \
    if (!(cond)) {                                                                                           \
      fprintf(stderr, "%s:%d: seed %" PRIu64 ": does not hold: %s: ", __FILE__, __LINE__, (s)->seed, #cond); \
      fprintf(stderr, __VA_ARGS__);                                                                          \
      fputc('\n', stderr);                                                                                   \
      abort();                                                                                               \
    }                                                                                                        \
  } while (0)

/* -- making and dropping -- */
static inline void shadow_init(struct shadow *s, uint64_t seed, int room) {
  memset(s, 0, sizeof *s);
  s->seed = seed;
  s->rng.state = seed;
  s->room = room;
  s->node = calloc((size_t)room, sizeof *s->node);
  if (s->node == NULL) abort();
  for (int i = 0; i < SHADOW_ROOTS; i++) s->root[i].to = NONE;
}

/* Where root i is; it may hold a word of an earlier test in this process. */
static inline void shadow_place(struct shadow *s, int i, root *word) {
  s->word[i] = word;
  *word = NULL;
}

static inline int shadow_unused(struct shadow *s) {
  for (int i = 0; i < s->room; i++) {
    int k = (s->spare + i) % s->room;
    if (s->node[k].used) continue;
    s->spare = k + 1;
    return k;
  }
  return NONE;
}

static inline size_t shadow_size(struct rng *r) {
  switch (rng_below(r, 64)) {
    case 0: return 32769 + rng_below(r, 400000);
    case 1:
    case 2: return 2049 + rng_below(r, 30720);
    case 3:
    case 4:
    case 5:
    case 6: return 513 + rng_below(r, 1536);
    case 7: return (size_t)1 << (4 + rng_below(r, 13));
    default: return 1 + rng_below(r, 512);
  }
}

/* Words the pointer slots take; the pattern follows them. */
static inline size_t body_offset(const struct node *n) { return 8 * (1 + (size_t)n->edges); }

static inline uint64_t node_word0(const struct node *n) { return n->tag | UINT64_C(0xff) << 56; }

static inline void node_fill(const struct node *n, char *p) {
  uint64_t w = node_word0(n);
  if (n->size < 8) {
    memcpy(p, &w, n->size);
    return;
  }
  memcpy(p, &w, 8);
  if (n->size > body_offset(n)) pattern_fill(p + body_offset(n), n->size - body_offset(n), n->tag);
}

static inline bool node_ok(const struct node *n, const char *p) {
  uint64_t w = node_word0(n);
  if (memcmp(p, &w, n->size < 8 ? n->size : 8) != 0) return false;
  return n->size <= body_offset(n) || pattern_ok(p + body_offset(n), n->size - body_offset(n), n->tag);
}

static inline int edges_for(struct rng *r, size_t size) {
  if (size < 16) return 0;
  size_t most = size / 8 - 1;
  return (int)(1 + rng_below(r, most < MAX_EDGES ? most : MAX_EDGES));
}

/* The object may be resized later: then the layout repeats, over words of the pattern. Few periods, so that layouts are found
 * again. */
static inline const gc_layout *shadow_layout(struct shadow *s, const struct node *n) {
  uint64_t rest = rng_next(&s->rng) << rng_below(&s->rng, 20), edges = ((UINT64_C(1) << n->edges) - 1) << 1;
  uint64_t bits = edges | rest << 1 << n->edges;
  size_t period = 64;
  while (period * 8 < n->size) period *= 2;
  const gc_layout *l = gc_layout_bitmap(period * 8, &bits, 1);
  SHADOW_CHECK(s, l != NULL && gc_layout_bitmap(period * 8, &bits, 1) == l, "layout %" PRIx64, bits);
  return l;
}

static inline void *shadow_allocate(struct shadow *s, struct node *n) {
  char *p;
  if (n->noscan) {
    p = gc_alloc_noscan(n->size);
  } else if (s->typed != 0 && rng_below(&s->rng, 8) < s->typed) {
    p = gc_alloc_typed(n->size, shadow_layout(s, n));
  } else if (rng_below(&s->rng, 40) == 0) {
    size_t alignment = (size_t)1 << rng_below(&s->rng, 13);
    p = gc_alloc_aligned(alignment, n->size);
    SHADOW_CHECK(s, (uintptr_t)p % alignment == 0, "alignment %zu", alignment);
  } else {
    p = gc_alloc(n->size);
  }
  SHADOW_CHECK(s, p != NULL, "size %zu", n->size);
  if (!n->noscan) SHADOW_CHECK(s, all_zero(p, n->size), "size %zu", n->size);
  return p;
}

/* -- edges and roots: the real word and its shadow change together -- */
static inline void *edge_address(const struct shadow *s, struct edge e) {
  return e.to == NONE ? NULL : (char *)reveal(s->node[e.to].at) + e.offset;
}

static inline struct edge edge_to(struct shadow *s, int to) {
  struct edge e = {to, 0};
  if (rng_below(&s->rng, 3) == 0) e.offset = (uint32_t)rng_below(&s->rng, s->node[to].size);
  return e;
}

static inline void holder_set(struct shadow *s, struct edge *e, void *volatile *word, struct edge value) {
  SHADOW_CHECK(s, *word == edge_address(s, *e), "a pointer changed by itself");
  if (value.to != NONE) s->node[value.to].refs++;
  if (e->to != NONE) s->node[e->to].refs--;
  *e = value;
  *word = edge_address(s, value);
}

static inline void *volatile *slot_of(const struct shadow *s, int node, int edge) {
  return (void *volatile *)reveal(s->node[node].at) + 1 + edge;
}

/* A holder found by walking: a root when node is NONE, else an edge of node. */
struct holder {
  int node, index;
};

static inline struct edge *holder_edge(struct shadow *s, struct holder h) {
  return h.node == NONE ? &s->root[h.index] : &s->node[h.node].edge[h.index];
}

static inline void *volatile *holder_word(const struct shadow *s, struct holder h) {
  return h.node == NONE ? s->word[h.index] : slot_of(s, h.node, h.index);
}

/* Walks some random steps from a random root; every object on the way is checked. */
static inline struct holder shadow_walk(struct shadow *s) {
  struct holder h = {NONE, (int)rng_below(&s->rng, SHADOW_ROOTS)};
  for (size_t steps = rng_below(&s->rng, 12);; steps--) {
    struct edge e = *holder_edge(s, h);
    SHADOW_CHECK(s, *holder_word(s, h) == edge_address(s, e), "a pointer changed by itself");
    if (e.to == NONE) return h;
    const struct node *n = &s->node[e.to];
    SHADOW_CHECK(s, node_ok(n, reveal(n->at)), "%zu bytes %s overwritten", n->size, n->noscan ? "noscan" : "scanned");
    if (steps == 0 || n->edges == 0) return h;
    h = (struct holder){e.to, (int)rng_below(&s->rng, (size_t)n->edges)};
  }
}

/* -- the operations -- */
static inline int shadow_new(struct shadow *s, size_t size, bool noscan, uint64_t tag) {
  int k = shadow_unused(s);
  if (k == NONE) return NONE;
  struct node *n = &s->node[k];
  memset(n, 0, sizeof *n);
  n->used = true;
  n->size = size;
  n->noscan = noscan;
  n->tag = tag;
  n->edges = noscan ? 0 : edges_for(&s->rng, size);
  for (int i = 0; i < MAX_EDGES; i++) n->edge[i].to = NONE;
  s->live++;
  return k;
}

/* A new object takes over what its holder held, so that the graph grows deep; one that cannot replaces
 * it now and then only, or a few steps would cut off most of the graph. */
static inline void op_new(struct shadow *s) {
  struct holder h = shadow_walk(s);
  struct edge old = *holder_edge(s, h);
  bool noscan = rng_below(&s->rng, 3) == 0;
  if (noscan && old.to != NONE && rng_below(&s->rng, 8) != 0) return;
  int k = shadow_new(s, shadow_size(&s->rng), noscan, rng_next(&s->rng));
  if (k == NONE) return;
  void *p = shadow_allocate(s, &s->node[k]);
  node_fill(&s->node[k], p);
  s->node[k].at = hide(p);
  holder_set(s, holder_edge(s, h), holder_word(s, h), edge_to(s, k));
  if (old.to != NONE && s->node[k].edges > 0) {
    int i = (int)rng_below(&s->rng, (size_t)s->node[k].edges);
    holder_set(s, &s->node[k].edge[i], slot_of(s, k, i), old);
  }
}

static inline void op_link(struct shadow *s) {
  struct holder from = shadow_walk(s), to = shadow_walk(s);
  int k = holder_edge(s, to)->to;
  if (holder_edge(s, from)->to != NONE && rng_below(&s->rng, 8) != 0) return;
  if (k != NONE) holder_set(s, holder_edge(s, from), holder_word(s, from), edge_to(s, k));
}

static inline void op_drop(struct shadow *s) {
  struct holder h = shadow_walk(s);
  if (h.node == NONE && rng_below(&s->rng, 8) != 0) return;
  holder_set(s, holder_edge(s, h), holder_word(s, h), (struct edge){NONE, 0});
}

/* Moves the only pointer from one holder to another: the concurrent marker's trap. */
static inline void op_move(struct shadow *s) {
  struct holder from = shadow_walk(s), to = shadow_walk(s);
  if (from.node == to.node && from.index == to.index) return;
  struct edge e = *holder_edge(s, from);
  holder_set(s, holder_edge(s, from), holder_word(s, from), (struct edge){NONE, 0});
  /* If that cut the way to the second holder, it is not ours to touch any more. */
  if (e.to != NONE && to.node == NONE) holder_set(s, holder_edge(s, to), holder_word(s, to), e);
}

static inline void op_free(struct shadow *s) {
  struct holder h = shadow_walk(s);
  int k = holder_edge(s, h)->to;
  if (k == NONE || k == h.node || s->node[k].refs != 1) return;
  void *p = reveal(s->node[k].at);
  for (int i = 0; i < s->node[k].edges; i++)
    holder_set(s, &s->node[k].edge[i], slot_of(s, k, i), (struct edge){NONE, 0});
  holder_set(s, holder_edge(s, h), holder_word(s, h), (struct edge){NONE, 0});
  gc_free(p);
  s->node[k].used = false;
  s->live--;
}

/* The node's edges that no longer fit after shrinking are dropped first. */
static inline void op_realloc(struct shadow *s) {
  struct holder h = shadow_walk(s);
  int k = holder_edge(s, h)->to;
  if (k == NONE || k == h.node || s->node[k].refs != 1) return;
  struct node *n = &s->node[k];
  size_t size = shadow_size(&s->rng), old_usable = gc_usable_size(reveal(n->at));
  if (size < body_offset(n) || size < 8) return;
  bool grown = !n->noscan && size > old_usable;
  char *p = gc_realloc(reveal(n->at), size);
  SHADOW_CHECK(s, p != NULL, "size %zu", size);
  struct node before = *n;
  before.size = before.size < size ? before.size : size;
  SHADOW_CHECK(s, node_ok(&before, p), "gc_realloc %zu -> %zu", n->size, size);
  if (grown) SHADOW_CHECK(s, all_zero(p + old_usable, size - old_usable), "gc_realloc %zu -> %zu", n->size, size);
  n->size = size;
  n->at = hide(p);
  node_fill(n, p);
  struct edge *e = holder_edge(s, h);
  if (e->offset >= size) e->offset = 0;
  *holder_word(s, h) = edge_address(s, *e);
}

static inline void shadow_step(struct shadow *s) {
  size_t dice = rng_below(&s->rng, 100);
  if (dice < 60)
    op_new(s);
  else if (dice < 75)
    op_link(s);
  else if (dice < 80)
    op_drop(s);
  else if (dice < 87)
    op_move(s);
  else if (dice < 92)
    op_free(s);
  else
    op_realloc(s);
}

/* -- verification -- */
static inline void shadow_reach(struct shadow *s, int *stack, int *depth, struct edge e) {
  if (e.to == NONE || s->node[e.to].reached) return;
  s->node[e.to].reached = true;
  stack[(*depth)++] = e.to;
}

static inline void shadow_mark(struct shadow *s) {
  int *stack = malloc((size_t)s->room * sizeof *stack), depth = 0;
  if (stack == NULL) abort();
  for (int i = 0; i < s->room; i++) s->node[i].reached = false;
  for (int i = 0; i < SHADOW_ROOTS; i++) shadow_reach(s, stack, &depth, s->root[i]);
  while (depth > 0) {
    const struct node *n = &s->node[stack[--depth]];
    for (int i = 0; i < n->edges; i++) shadow_reach(s, stack, &depth, n->edge[i]);
  }
  free(stack);
}

/* Forgets the nodes that nothing reaches, and what they held. */
static inline void shadow_prune(struct shadow *s) {
  shadow_mark(s);
  for (int i = 0; i < s->room; i++) {
    struct node *n = &s->node[i];
    if (!n->used || n->reached) continue;
    for (int k = 0; k < n->edges; k++)
      if (n->edge[k].to != NONE) s->node[n->edge[k].to].refs--;
    n->used = false;
    s->live--;
  }
}

static inline void shadow_verify_node(struct shadow *s, int i) {
  const struct node *n = &s->node[i];
  char *p = reveal(n->at);
  bool tiny = n->noscan && n->size < 16;
  char *base = gc_base(p);
  SHADOW_CHECK(s, base != NULL && (tiny ? base <= p && p + n->size <= base + 16 : base == p),
               "%zu bytes: base %p of %p", n->size, (void *)base, (void *)p);
  if (!tiny) SHADOW_CHECK(s, gc_usable_size(p) >= n->size, "%zu bytes", n->size);
  SHADOW_CHECK(s, gc_base(p + n->size - 1) == base, "%zu bytes", n->size);
  SHADOW_CHECK(s, node_ok(n, p), "%zu bytes %s overwritten", n->size, n->noscan ? "noscan" : "scanned");
  for (int k = 0; k < n->edges; k++)
    SHADOW_CHECK(s, *slot_of(s, i, k) == edge_address(s, n->edge[k]), "edge %d of %zu bytes changed", k, n->size);
}

/* Checks everything reachable, and forgets the rest. */
static inline void shadow_verify(struct shadow *s) {
  shadow_prune(s);
  for (int i = 0; i < SHADOW_ROOTS; i++)
    SHADOW_CHECK(s, *s->word[i] == edge_address(s, s->root[i]), "root %d changed", i);
  for (int i = 0; i < s->room; i++)
    if (s->node[i].used) shadow_verify_node(s, i);
}

/* Random steps; a full graph loses a third of its roots. */
static HELPER void shadow_steps(struct shadow *s, int n) {
  for (int i = 0; i < n; i++) {
    shadow_step(s);
    if (s->live < s->room) continue;
    for (int r = 0; r < SHADOW_ROOTS; r++)
      if (rng_below(&s->rng, 3) == 0) holder_set(s, &s->root[r], s->word[r], (struct edge){NONE, 0});
    shadow_prune(s);
  }
}

/* -- no two objects overlap -- */
struct extent {
  uintptr_t lo, hi;
};

static inline int extent_order(const void *a, const void *b) {
  uintptr_t x = ((const struct extent *)a)->lo, y = ((const struct extent *)b)->lo;
  return x < y ? -1 : x > y;
}

/* Complemented addresses, which are no pointers: lo and hi change places. Returns the objects counted. */
static inline size_t shadow_disjoint(struct shadow *all, size_t shadows) {
  size_t n = 0, room = 0;
  for (size_t i = 0; i < shadows; i++) room += (size_t)all[i].live;
  struct extent *e = malloc((room + 1) * sizeof *e);
  if (e == NULL) abort();
  for (size_t i = 0; i < shadows; i++)
    for (int k = 0; k < all[i].room; k++) {
      const struct node *node = &all[i].node[k];
      if (node->used) e[n++] = (struct extent){node->at.bits - node->size + 1, node->at.bits};
    }
  SHADOW_CHECK(all, n == room, "the shadow lost count");
  qsort(e, n, sizeof *e, extent_order);
  for (size_t i = 1; i < n; i++) SHADOW_CHECK(all, e[i - 1].hi < e[i].lo, "two objects overlap");
  free(e);
  return n;
}

/* Objects as the heap counts them: residents of one tiny block are one. */
static inline size_t shadow_objects(const struct shadow *s) {
  size_t n = 0, tiny = 0;
  for (int k = 0; k < s->room; k++) {
    if (!s->node[k].used) continue;
    if (s->node[k].noscan && s->node[k].size < 16)
      tiny++;
    else
      n++;
  }
  return n + tiny / 16;
}

#endif
