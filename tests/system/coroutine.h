/* coroutine.h - coroutines made with ucontext, for tests: their stacks registered, their contexts no roots. */
#ifndef HOLDFAST_TEST_COROUTINE_H
#define HOLDFAST_TEST_COROUTINE_H

#include <sys/mman.h>
#include <ucontext.h>

#include "gc_thread.h"
#include "moves.h"
#include "park.h"

#define KIB ((size_t)1024)
#define MIB (KIB * KIB)

/* A coroutine. Its context lies in memory from malloc, so what swapcontext saves in it is no root. */
struct coroutine {
  ucontext_t *here, *back;
  gc_stack *stack;
  char *memory;
  size_t size;
  void (*body)(struct coroutine *);
  hidden head;
  uint64_t tag;
  struct moves *moves;
  struct rng rng;
  bool over;
};

static inline void come_back(struct coroutine *c) {
  gc_stack_switch(NULL);
  REQUIRE(swapcontext(c->here, c->back) == 0);
}

static inline void go_on(struct coroutine *c) {
  gc_stack_switch(c->stack);
  REQUIRE(swapcontext(c->back, c->here) == 0);
}

static inline void run_body(unsigned lo, unsigned hi) {
  struct coroutine *c = (struct coroutine *)((uintptr_t)hi << 32 | lo);
  c->body(c);
  c->over = true;
  for (;;) come_back(c);
}

/* memory NULL: mapped here */
static HELPER struct coroutine *coroutine_new(void (*body)(struct coroutine *), char *memory, size_t size) {
  struct coroutine *c = calloc(1, sizeof *c);
  REQUIRE(c != NULL && (c->here = calloc(1, sizeof *c->here)) != NULL &&
          (c->back = calloc(1, sizeof *c->back)) != NULL);
  c->memory = memory != NULL ? memory : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(c->memory != MAP_FAILED && getcontext(c->here) == 0);
  c->size = size;
  c->body = body;
  c->here->uc_stack.ss_sp = c->memory;
  c->here->uc_stack.ss_size = size;
  c->stack = gc_stack_register(c->memory, c->memory + size);
  REQUIRE(c->stack != NULL);
  makecontext(c->here, (void (*)(void))run_body, 2, (unsigned)(uintptr_t)c, (unsigned)((uintptr_t)c >> 32));
  return c;
}

static inline void coroutine_delete(struct coroutine *c) {
  gc_stack_unregister(c->stack);
  REQUIRE(munmap(c->memory, c->size) == 0);
  free(c->here);
  free(c->back);
  free(c);
}

/* Holds a chain in its frames while it sleeps; found whole when it goes on. */
static HELPER void hold_asleep(struct coroutine *c, void *head) {
  root held = head;
  head = NULL;
  come_back(c);
  REQUIRE(chain_ok(c->head, c->tag));
  gc_use(held);
}

static inline void make_and_hold(struct coroutine *c) {
  root held;
  c->head = chain_new(c->tag, &held);
  hold_asleep(c, held);
}

static HELPER struct coroutine *started(void (*body)(struct coroutine *), size_t size, uint64_t tag) {
  struct coroutine *c = coroutine_new(body, NULL, size);
  c->tag = tag;
  go_on(c);
  return c;
}

#endif
