/* test_compact_threads.c - threads that compact linked structures while cycles run back to back and free OS pages inside
 * spans are given back. Each thread owns a doubly linked list on the heap; the only reference to a node's leaf is in the
 * node, and a node's only ones are in its neighbours, so a copy that a marker misses, or one that lands in a slot that
 * is somebody else's, is a node or a leaf with other contents. Every node is checked each time it is passed. */
#include "beside.h"
#include "cases.h"
#include "gc_frag.h"
#include "gc_stats.h"
#include "hide.h"

enum { THREADS = 3, NODES = 2000 };

struct node {
  struct node *next, *prev;
  void *leaf; /* noscan or scanned, by the tag */
  uint64_t tag;
  uint64_t body[]; /* pattern */
};

struct list {
  struct node *volatile head; /* a ring; the only root of all of it */
  size_t count;
  uint64_t tags; /* sum over the nodes */
  struct rng rng;
  size_t moved, rounds;
};
static struct list lists[THREADS + 1];
static atomic_bool over;
static atomic_uint at_work; /* threads that have not done their part yet */

static size_t body_size(uint64_t tag) { return tag % 50 == 0 ? 2000 + tag % 3000 : 8 * (tag % 40); }
static size_t leaf_size(uint64_t tag) { return 16 + tag % 100; }

/* -- one node -- */

static struct node *node_new(uint64_t tag) {
  struct node *n = gc_alloc(sizeof *n + body_size(tag));
  REQUIRE(n != NULL);
  n->tag = tag;
  pattern_fill(n->body, body_size(tag), tag);
  n->leaf = tag % 2 ? gc_alloc_noscan(leaf_size(tag)) : gc_alloc(leaf_size(tag));
  REQUIRE(n->leaf != NULL);
  pattern_fill(n->leaf, leaf_size(tag), ~tag);
  return n;
}

static void node_check(const struct node *n) {
  REQUIRE_MSG(n->next->prev == n && n->prev->next == n, "the links of a node are not what they were");
  REQUIRE_MSG(pattern_ok(n->body, body_size(n->tag), n->tag), "a node is not what it was");
  REQUIRE_MSG(pattern_ok(n->leaf, leaf_size(n->tag), ~n->tag), "a leaf is not what it was");
}

static void link_between(struct node *n, struct node *prev, struct node *next) {
  n->next = next;
  n->prev = prev;
  next->prev = prev->next = n;
}

static struct node *node_move(struct list *l, struct node *old) {
  struct node *n = gc_reallocate(old);
  if (n != old) {
    l->moved++;
    link_between(n, old->prev, old->next);
    if (l->head == old) l->head = n;
    memset(old, 0xee, sizeof *old); /* who still looks here would notice */
  }
  void *leaf = n->leaf;
  n->leaf = gc_reallocate(leaf);
  l->moved += n->leaf != leaf;
  return n;
}

/* -- a list -- */

static void list_insert(struct list *l, struct node *before) {
  uint64_t tag = rng_next(&l->rng) >> 8;
  struct node *n = node_new(tag);
  link_between(n, before->prev, before);
  l->count++;
  l->tags += tag;
}

static void list_remove(struct list *l, struct node *n) {
  n->prev->next = n->next;
  n->next->prev = n->prev;
  l->count--;
  l->tags -= n->tag;
  if (n->tag % 8 == 0) { /* by hand; the rest is left to the collector */
    gc_free(n->leaf);
    gc_free(n);
  }
}

static void list_make(struct list *l, uint64_t seed) {
  l->rng.state = seed;
  struct node *first = node_new(0);
  first->next = first->prev = first;
  l->head = first;
  l->count = 1;
  while (l->count < NODES) list_insert(l, first);
}

/* Once round. Holes come where nodes are removed, in phases: the list shrinks to a fourth and grows again. */
static void list_round(struct list *l) {
  bool shrink = l->rounds++ / 4 % 2 == 0;
  struct node *n = l->head->next;
  while (n != l->head) {
    struct node *next = n->next;
    size_t dice = rng_below(&l->rng, 16);
    node_check(n);
    if (dice < 2 && shrink ? l->count > NODES / 4 : dice == 0)
      list_remove(l, n);
    else
      n = node_move(l, n);
    if (dice >= 14 && !shrink && l->count < NODES) list_insert(l, next);
    n = next;
  }
  node_move(l, l->head);
}

static void list_check(const struct list *l) {
  uint64_t count = 0, tags = 0;
  const struct node *n = l->head;
  do {
    node_check(n);
    count++;
    tags += n->tag;
    n = n->next;
  } while (n != l->head);
  REQUIRE_MSG(count == l->count && tags == l->tags, "%" PRIu64 " nodes, not %zu", count, l->count);
}

/* -- the threads -- */

static void *compacting(void *arg) {
  struct list *l = arg;
  list_make(l, suite_seed() + (uint64_t)(l - lists));
  while (l->rounds < 24 * suite_scale() || l->moved < 1000 * suite_scale()) list_round(l);
  atomic_fetch_sub(&at_work, 1);
  while (atomic_load(&at_work) != 0) list_round(l); /* the others must not be left alone */
  list_check(l);
  return NULL;
}

static void *releasing(void *unused) {
  while (!atomic_load(&over)) {
    gc_release_inside();
    sched_yield();
  }
  return unused;
}

static pthread_t thread[THREADS], releaser;

static void start_all(void) {
  atomic_store(&at_work, THREADS);
  REQUIRE(pthread_create(&releaser, NULL, releasing, NULL) == 0);
  for (int i = 0; i < THREADS; i++) REQUIRE(pthread_create(&thread[i], NULL, compacting, &lists[i]) == 0);
}

static void join_all(void) {
  for (int i = 0; i < THREADS; i++) REQUIRE(pthread_join(thread[i], NULL) == 0);
  atomic_store(&over, true);
  REQUIRE(pthread_join(releaser, NULL) == 0);
}

static size_t moved(void) {
  size_t n = 0;
  for (int i = 0; i < THREADS; i++) n += lists[i].moved;
  return n;
}

static void cycles_back_to_back(void) {
  beside_begin(0);
  start_all();
  join_all();
  beside_end();
  gc_collect();
  for (int i = 0; i < THREADS; i++) list_check(&lists[i]);
  REQUIRE_MSG(moved() > 100, "only %zu objects moved", moved());
  printf("%zu moved, %lu cycles", moved(), beside_cycles());
}

/* Each child goes on with one list; the threads that held the other ones are not there. */
static void forks(void) {
  struct list *mine = &lists[THREADS];
  list_make(mine, suite_seed());
  start_all();
  for (int i = 0; i < 6; i++) {
    pid_t pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      for (int round = 0; round < 4; round++) list_round(mine);
      gc_collect();
      gc_release_inside();
      list_round(mine);
      list_check(mine);
      _exit(0);
    }
    int status;
    list_round(mine);
    REQUIRE(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  join_all();
  list_check(mine);
}

static const struct test_case cases[] = {{"cycles_back_to_back", cycles_back_to_back, NULL}, {"forks", forks, NULL}};

int main(int argc, char **argv) { return cases_main(argc, argv, "compact_threads", CASES(cases)); }
