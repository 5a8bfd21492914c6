/* park.h - a thread that holds a chain of objects in one named place while others collect.
 * Owns:     the chain, its only address (hidden), the hand-over between the test and its thread.
 * Promises: outside the place under test no word of the program holds an address of the chain, but for
 *           stale copies; these can hide a missed place, never make a sound collector fail.
 * Next:     test_places.c. */
#ifndef HOLDFAST_TEST_PARK_H
#define HOLDFAST_TEST_PARK_H

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "hide.h"

enum { CHAIN = 200 };

struct link {
  struct link *next;
  uint64_t body[5];
};

static inline uint64_t link_tag(uint64_t tag, size_t i) { return tag * 1000 + i; }

/* Returns the hidden head of a chain of CHAIN links, which *held keeps alive. The head is not the last
 * object of its size that the thread allocates: that one the library keeps by itself. */
static HELPER hidden chain_new(uint64_t tag, root *held) {
  struct link *head = NULL;
  for (size_t i = 0; i < CHAIN; i++) {
    struct link *l = gc_alloc(sizeof *l);
    REQUIRE(l != NULL);
    pattern_fill(l->body, sizeof l->body, link_tag(tag, i));
    l->next = head;
    head = l;
  }
  hidden h = hide(head);
  *held = head;
  head = NULL;
  refill(100, sizeof(struct link));
  return h;
}

/* Safe on a chain that was wrongly freed: no word is followed that is not an object. */
static HELPER bool chain_ok(hidden head, uint64_t tag) {
  const struct link *l = reveal(head);
  for (size_t i = CHAIN; i-- > 0; l = l->next) {
    if (l == NULL || gc_base(l) != (const void *)l) return false;
    if (!pattern_ok(l->body, sizeof l->body, link_tag(tag, i))) return false;
  }
  return l == NULL;
}

/* Collects, and overwrites what was freed. */
static HELPER void collect_hard(void) {
  for (int i = 0; i < 3; i++) {
    scrub_stack();
    gc_collect();
    refill(10 * CHAIN, sizeof(struct link));
  }
}

struct park {
  void (*hold)(struct park *); /* returns after park_wait or an equal wait of its own */
  hidden head;
  root held; /* keeps the chain until it is in its place; cleared before ready is told */
  uint64_t tag;
  sem_t ready, go;
  atomic_int ready_word, go_word; /* the same, for those who cannot call */
  int fd[2];                      /* a pipe, for those who block in read */
  bool skipped;
};

/* In the holding thread: the address is in its place, and from now on nowhere else. */
static inline void park_tell(struct park *p) {
  p->held = NULL;
  scrub_stack();
  sem_post(&p->ready);
}

static inline void park_wait(struct park *p) {
  park_tell(p);
  while (sem_wait(&p->go) != 0) REQUIRE(errno == EINTR);
}

static HELPER void *park_main(void *arg) {
  struct park *p = arg;
  p->head = chain_new(p->tag, &p->held);
  scrub_stack();
  p->hold(p);
  return NULL;
}

static inline void park_start(struct park *p, pthread_t *t, void (*hold)(struct park *)) {
  p->hold = hold;
  p->tag = suite_seed() + 1;
  p->skipped = false;
  atomic_store(&p->ready_word, 0);
  atomic_store(&p->go_word, 0);
  REQUIRE(sem_init(&p->ready, 0, 0) == 0 && sem_init(&p->go, 0, 0) == 0 && pipe(p->fd) == 0);
  REQUIRE(pthread_create(t, NULL, park_main, p) == 0);
}

static inline void park_ready(struct park *p) {
  while (sem_wait(&p->ready) != 0) REQUIRE(errno == EINTR);
}

static inline void park_go(struct park *p) {
  atomic_store(&p->go_word, 1);
  sem_post(&p->go);
  REQUIRE(write(p->fd[1], "g", 1) == 1);
}

/* The whole test of one place, when hold signals with p->ready. */
static inline void check_place(void (*hold)(struct park *)) {
  static struct park p;
  pthread_t t;
  park_start(&p, &t, hold);
  park_ready(&p);
  if (!p.skipped) {
    collect_hard();
    REQUIRE_MSG(chain_ok(p.head, p.tag), "the chain was freed or overwritten");
  }
  park_go(&p);
  REQUIRE(pthread_join(t, NULL) == 0);
}

#endif
