/* test_shadow_threads.c - the torture test of many threads: each owns a random graph and its shadow, and
 * hands chains of objects to the others through shared words (shadow.h says what a shadow is).
 * Runs twice: in a process of its own for each test, and with CK_FORK=no, in the process that loaded the
 * library, because a forked child may collect by other means than its parent. */
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "gc_stats.h"
#include "shadow.h"

enum { THREADS = 8, ROOM = 1500, ROUNDS = 3, STEPS = 2500, MAILBOXES = 32 };

static struct shadow shadows[THREADS];
static struct gc_stats stats;
static pthread_barrier_t barrier;
static root data_roots[THREADS][SHADOW_ROOTS / 4];
static __thread root tls_roots[SHADOW_ROOTS / 4];

/* -- parcels: self-describing, because the receiver's shadow has not seen them -- */
struct parcel {
  uint64_t tag;
  size_t length; /* of the body */
  struct parcel *next;
};
static _Atomic(struct parcel *) mailbox[MAILBOXES];

static NOINLINE struct parcel *parcel_new(struct shadow *s) {
  struct parcel *chain = NULL;
  for (size_t i = rng_below(&s->rng, 6) + 1; i > 0; i--) {
    size_t length = rng_below(&s->rng, rng_below(&s->rng, 20) == 0 ? 40000 : 400);
    struct parcel *p = gc_alloc(sizeof *p + length);
    SHADOW_CHECK(s, p != NULL, "%zu bytes", length);
    p->tag = rng_next(&s->rng) | UINT64_C(0xff) << 56;
    p->length = length;
    p->next = chain;
    pattern_fill(p + 1, length, p->tag);
    chain = p;
  }
  return chain;
}

static void parcel_check(const struct shadow *s, const struct parcel *p) {
  for (; p != NULL; p = p->next) {
    SHADOW_CHECK(s, p->length < 40000, "a parcel's head was overwritten");
    SHADOW_CHECK(s, pattern_ok(p + 1, p->length, p->tag), "a parcel of %zu bytes was overwritten", p->length);
  }
}

/* Sends a new parcel, or passes on the tail of what it gets: then the only way to it moves. */
static NOINLINE void trade(struct shadow *s) {
  _Atomic(struct parcel *) *box = &mailbox[rng_below(&s->rng, MAILBOXES)];
  struct parcel *got = atomic_exchange(box, NULL);
  parcel_check(s, got);
  if (got != NULL && got->next != NULL) {
    struct parcel *tail = got->next;
    got->next = NULL;
    parcel_check(s, atomic_exchange(&mailbox[rng_below(&s->rng, MAILBOXES)], tail));
  } else {
    parcel_check(s, atomic_exchange(box, parcel_new(s)));
  }
}

/* -- the threads -- */
struct places {
  root stack[SHADOW_ROOTS / 4];
  root *volatile heap;
};

static void place_roots(struct shadow *s, size_t me, struct places *p) {
  p->heap = gc_calloc(SHADOW_ROOTS / 4, sizeof *p->heap);
  SHADOW_CHECK(s, p->heap != NULL, "the heap's roots");
  for (int i = 0; i < SHADOW_ROOTS; i += 4) {
    shadow_place(s, i, &data_roots[me][i / 4]);
    shadow_place(s, i + 1, &tls_roots[i / 4]);
    shadow_place(s, i + 2, &p->stack[i / 4]);
    shadow_place(s, i + 3, &p->heap[i / 4]); /* itself in malloc's memory: p->heap keeps it */
  }
}

/* Verification by each thread for itself, beside the others' work; then once for all, in silence. */
static void *own_a_graph(void *arg) {
  size_t me = (uintptr_t)arg;
  struct shadow *s = &shadows[me];
  struct places places = {{NULL}, NULL};
  shadow_init(s, suite_seed() * 1000 + me, ROOM);
  place_roots(s, me, &places);
  for (uint64_t round = 0; round < ROUNDS * suite_scale(); round++) {
    for (int i = 0; i < STEPS / 50; i++) {
      shadow_steps(s, 50);
      trade(s);
    }
    if (rng_below(&s->rng, 2) == 0) gc_collect();
    shadow_verify(s);
  }
  shadow_prune(s);
  scrub_stack();
  (void)pthread_barrier_wait(&barrier); /* quiet: the main thread collects and counts */
  (void)pthread_barrier_wait(&barrier);
  shadow_verify(s);
  gc_use(places.heap);
  return NULL;
}

static void check_all(void) {
  uint64_t expected = 0;
  gc_collect();
  shadow_disjoint(shadows, THREADS);
  for (size_t i = 0; i < THREADS; i++) expected += shadow_objects(&shadows[i]);
  gc_read_stats(&stats);
  SHADOW_CHECK(&shadows[0], stats.heap_objects >= expected, "%" PRIu64 " objects, %" PRIu64 " reachable",
               stats.heap_objects, expected);
  /* Not in the shadows: parcels, root tables, what stale words on nine stacks keep. */
  SHADOW_CHECK(&shadows[0], stats.heap_objects <= 2 * expected + 2000, "%" PRIu64 " objects, %" PRIu64 " reachable",
               stats.heap_objects, expected);
  printf("%d threads: %" PRIu64 " live objects, %" PRIu64 " cycles\n", THREADS, expected, stats.num_gc);
}

static void torture(int percent) {
  pthread_t t[THREADS];
  (void)gc_set_percent(percent);
  REQUIRE(pthread_barrier_init(&barrier, NULL, THREADS + 1) == 0);
  for (size_t i = 0; i < THREADS; i++) REQUIRE(pthread_create(&t[i], NULL, own_a_graph, (void *)(uintptr_t)i) == 0);
  (void)pthread_barrier_wait(&barrier);
  check_all();
  (void)pthread_barrier_wait(&barrier);
  for (size_t i = 0; i < THREADS; i++) {
    REQUIRE(pthread_join(t[i], NULL) == 0);
    free(shadows[i].node);
  }
  for (size_t i = 0; i < MAILBOXES; i++) parcel_check(&shadows[0], atomic_load(&mailbox[i]));
}

START_TEST(graphs_with_usual_pacing) { torture(100); }
END_TEST
START_TEST(graphs_with_many_cycles) { torture(20); }
END_TEST

int main(int argc, char **argv) {
  Suite *s = suite_create("shadow_threads");
  TCase *tc = suite_case(s, "shadow_threads");
  (void)argc;
  tcase_add_test(tc, graphs_with_usual_pacing);
  tcase_add_test(tc, graphs_with_many_cycles);
  int status = suite_main(s);
  if (status != EXIT_SUCCESS || getenv("CK_FORK") != NULL) return status;
  setenv("CK_FORK", "no", 1);
  execv("/proc/self/exe", argv);
  return EXIT_FAILURE;
}
