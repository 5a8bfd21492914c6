/* client.h - what tests of the drop-in share that are programs of the other library: its header, objects whose only address is
 * hidden, and a thread that collects without a break.
 * Never:    expects that every unreachable object goes: a stale word on a stack may keep a few. */
#ifndef HOLDFAST_TEST_CLIENT_H
#define HOLDFAST_TEST_CLIENT_H

#undef GC_DEBUG /* of debug builds of ours; there it chooses other macros */
#ifndef GC_THREADS
#define GC_THREADS
#endif
#define GC_NO_THREAD_REDIRECTS
#include <gc/gc.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "conceal.h"
#include "suite.h"

/* ---- chains ---- */

enum { CHAIN = 200 };

struct link {
  struct link *next;
  GC_word tag, number, filler;
};

/* No word of these looks like an address. */
static inline GC_word link_tag(GC_word tag, size_t i) { return rng_mix(tag * 1000 + i) | (GC_word)0xff << 56; }

static HELPER struct link *chain_new(GC_word tag) {
  struct link *head = NULL;
  for (size_t i = 0; i < CHAIN; i++) {
    struct link *l = GC_malloc(sizeof *l);
    REQUIRE(l != NULL);
    *l = (struct link){head, link_tag(tag, i), i, 0};
    head = l;
  }
  return head;
}

/* Safe on a chain that was wrongly freed: no word is followed that is not an object. */
static HELPER bool chain_ok(hidden head, GC_word tag) {
  struct link *l = reveal(head);
  for (size_t i = CHAIN; i-- > 0; l = l->next)
    if (l == NULL || GC_size(l) == 0 || l->number != i || l->tag != link_tag(tag, i)) return false;
  return l == NULL;
}

/* Allocates and drops: what was wrongly freed is overwritten, and what the thread made last is not kept for that. */
static HELPER void churn(size_t n) {
  for (size_t i = 0; i < n; i++) {
    GC_word *p = GC_malloc(sizeof(struct link));
    REQUIRE(p != NULL);
    p[0] = p[1] = p[2] = p[3] = (GC_word)0xff << 56 | i;
  }
}

/* Returns the hidden head of a chain that *held keeps. */
static HELPER hidden chain_hidden(GC_word tag, root *held) {
  struct link *head = chain_new(tag);
  hidden h = hide(head);
  *held = head;
  head = NULL;
  churn(100);
  return h;
}

static HELPER void collect_hard(void) {
  for (int i = 0; i < 3; i++) {
    scrub_stack();
    GC_gcollect();
    churn(10 * CHAIN);
  }
}

/* ---- a thread that collects beside the others ---- */

static struct {
  pthread_t thread;
  atomic_bool over;
  atomic_ulong cycles;
} beside;

static HELPER void *beside_main(void *unused) {
  while (!atomic_load(&beside.over)) {
    GC_gcollect();
    atomic_fetch_add(&beside.cycles, 1);
    churn(100);
  }
  return unused;
}

static HELPER void beside_begin(void) {
  atomic_store(&beside.over, false);
  REQUIRE(GC_pthread_create(&beside.thread, NULL, beside_main, NULL) == 0);
}

static HELPER void beside_end(void) {
  atomic_store(&beside.over, true);
  REQUIRE(GC_pthread_join(beside.thread, NULL) == 0);
}

/* Returns after n cycles that began after the call. */
static HELPER void beside_await(unsigned long n) {
  const unsigned long until = atomic_load(&beside.cycles) + n + 1; /* one may be under way */
  while (atomic_load(&beside.cycles) < until) sched_yield();
}

#endif
