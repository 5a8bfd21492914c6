/* test_frag_beside.c - gc_read_frag and gc_dump_heap while threads allocate and free, spans come and go, and cycles run.
 * What nobody touches must be counted exactly in every single reading: a span counted twice or not at all, garbage or a
 * colour mistaken, would show there. */
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "beside.h"
#include "cases.h"
#include "gc_stats.h"
#include "mapread.h"

enum { CHURNERS = 3, READINGS = 600, DUMPS = 60, PER_READING = 150 };

static struct gc_frag frag;
static atomic_bool over;

/* ---- what nobody touches: two classes that nobody else allocates from, at 3 of 4 slots, and a third that is full ---- */

enum { STEADY = 6000, BIG = 40 };
static root steady[3][STEADY];
static const size_t steady_size[3] = {48, 3456, 80};
static root big[BIG];

/* No cycle meanwhile: one that marks beside the program may bring back what is freed just then. */
static void make_steady(void) {
  gc_disable();
  for (size_t k = 0; k < 3; k++)
    for (size_t i = 0; i < STEADY; i++) steady[k][i] = k == 1 ? gc_alloc_noscan(3456) : gc_alloc(steady_size[k]);
  for (size_t i = 0; i < BIG; i++) big[i] = gc_alloc_noscan(200000);
  for (size_t k = 0; k < 2; k++)
    for (size_t i = 0; i < STEADY; i += 4) {
      gc_free(steady[k][i]);
      steady[k][i] = NULL;
    }
  gc_collect();
  gc_enable();
}

static uint64_t steady_count(size_t k) { return k == 2 ? STEADY : STEADY - STEADY / 4; }
static unsigned steady_class(const struct gc_frag *f, size_t k) {
  unsigned sc = k == 1 ? 3 : 2;
  while (sc < GC_FRAG_CLASSES && f->by_class[sc].size != steady_size[k]) sc += 2;
  REQUIRE(sc < GC_FRAG_CLASSES);
  return sc;
}

static void check_steady(const struct gc_frag_class *by_class, const struct gc_frag *like) {
  for (size_t k = 0; k < 3; k++) {
    const struct gc_frag_class *c = &by_class[steady_class(like, k)], *was = &like->by_class[steady_class(like, k)];
    REQUIRE_MSG(c->objects == steady_count(k), "%" PRIu64 " objects of %zu bytes, not %" PRIu64, c->objects,
                steady_size[k], steady_count(k));
    REQUIRE(c->spans == was->spans && c->slots == was->slots && c->span_bytes == was->span_bytes);
    REQUIRE(c->live_bytes == was->live_bytes);
  }
}

/* ---- others ---- */

static size_t churn_size(struct rng *r) {
  static const size_t sizes[] = {16, 24, 32, 64, 128, 512, 1024, 2048, 8192, 30000, 60000};
  return sizes[rng_below(r, rng_below(r, 10) == 0 ? 11 : 8)];
}

/* For each reading every churner is let do so much work: beside the readings, and no more than a slow collector bears. */
static sem_t work[CHURNERS];
static void let_work(void) {
  for (size_t i = 0; i < CHURNERS; i++) REQUIRE(sem_post(&work[i]) == 0);
}
static bool may_work(size_t n, uint64_t done) {
  while (done % PER_READING == 0 && sem_wait(&work[n]) != 0) continue; /* a stop may interrupt it */
  return !atomic_load(&over);
}

/* Now and then all is dropped, so that whole spans go back. */
static void *churn(void *arg) {
  enum { HELD = 400 };
  struct rng r = {suite_seed() * 31 + (uintptr_t)arg};
  root held[HELD] = {NULL};
  for (uint64_t i = 0; may_work((uintptr_t)arg, i); i++) {
    size_t k = rng_below(&r, HELD);
    if (i % 4096 == 0)
      for (size_t j = 0; j < HELD; j++) held[j] = NULL;
    if (held[k] != NULL && rng_below(&r, 2) == 0) {
      gc_free(held[k]);
      held[k] = NULL;
    } else {
      size_t size = churn_size(&r);
      held[k] = rng_below(&r, 2) == 0 ? gc_alloc(size) : gc_alloc_noscan(size);
    }
  }
  for (size_t k = 0; k < HELD; k++) held[k] = NULL;
  return NULL;
}

static pthread_t churner[CHURNERS];
static void churn_begin(void *(*body)(void *)) {
  atomic_store(&over, false);
  for (size_t i = 0; i < CHURNERS; i++) {
    REQUIRE(sem_init(&work[i], 0, 0) == 0);
    REQUIRE(pthread_create(&churner[i], NULL, body, (void *)(uintptr_t)i) == 0);
  }
}
static void churn_end(void) {
  atomic_store(&over, true);
  let_work();
  for (size_t i = 0; i < CHURNERS; i++) REQUIRE(pthread_join(churner[i], NULL) == 0);
}

/* ---- what holds of any reading ---- */

static void check_reading(void) {
  uint64_t objects = 0, spans = 0;
  for (unsigned sc = 0; sc < GC_FRAG_CLASSES; sc++) {
    const struct gc_frag_class *c = &frag.by_class[sc];
    uint64_t in_bins = 0;
    for (int i = 0; i < GC_FRAG_BINS; i++) in_bins += c->histogram[i];
    REQUIRE_MSG(in_bins == c->spans && c->objects <= c->slots, "class %u: %" PRIu64 " of %" PRIu64, sc, c->objects,
                c->slots);
    REQUIRE(c->by_compaction <= c->span_bytes && c->by_os_pages <= c->free_bytes);
    REQUIRE(c->by_pairing <= c->span_bytes / 2 && c->live_bytes + c->free_bytes == c->span_bytes);
    objects += c->objects;
    spans += c->spans;
  }
  REQUIRE(objects == frag.total.objects && spans == frag.total.spans);
}

static void run_readings(void) {
  static struct gc_frag before;
  make_steady();
  gc_read_frag(&before);
  churn_begin(churn);
  beside_begin(200);
  for (size_t i = 0; i < READINGS; i++) {
    let_work();
    gc_read_frag(&frag);
    check_reading();
    check_steady(frag.by_class, &before);
    REQUIRE(frag.by_class[1].objects >= BIG);
  }
  beside_await(2);
  beside_end();
  churn_end();
  printf("%lu cycles beside %d readings\n", beside_cycles(), READINGS);
}

static void run_dumps(void) {
  enum { ROOM = 4 << 20 };
  static unsigned char text[ROOM];
  static struct gc_frag before;
  static struct map map;
  gc_profile_set_rate(64); /* owners of spans are looked up while samples come and go */
  make_steady();
  gc_read_frag(&before);
  churn_begin(churn);
  beside_begin(200);
  for (size_t i = 0; i < DUMPS; i++) {
    let_work();
    int file = memfd_create("map", 0);
    REQUIRE(file >= 0 && gc_dump_heap(file) == 0);
    ssize_t n = pread(file, text, ROOM, 0);
    close(file);
    REQUIRE(n > 0 && n < ROOM);
    const char *wrong = map_read(&map, text, (size_t)n);
    REQUIRE_MSG(wrong == NULL, "%s", wrong);
    REQUIRE(map.owners > 10);
    check_steady(map.by_class, &before);
  }
  beside_end();
  churn_end();
}

/* ---- one span, from which a thread allocates all the time: it holds one object that stays and at most one more ---- */

static const size_t own_size[CHURNERS] = {112, 1152, 3072}; /* the fewer slots, the more often some are claimed */
static atomic_uint started;

static void *one_at_a_time(void *arg) {
  size_t size = own_size[(uintptr_t)arg];
  root mine, stays = gc_alloc(size); /* or the span would be given back, and the object be counted in the next too */
  atomic_fetch_add(&started, 1);
  while (!atomic_load(&over)) {
    mine = gc_alloc(size);
    gc_free(mine);
    mine = NULL;
  }
  gc_use(stays);
  return NULL;
}

/* Without cycles: in one that marks beside the program, what is freed counts until it has ended. */
static void run_own_span(void) {
  gc_disable();
  churn_begin(one_at_a_time);
  while (atomic_load(&started) < CHURNERS) sched_yield();
  for (size_t i = 0; i < 2 * READINGS; i++) {
    gc_read_frag(&frag);
    check_reading();
    for (unsigned k = 0, sc = 2; k < CHURNERS; sc += 2) {
      const struct gc_frag_class *c = &frag.by_class[sc];
      if (c->spans == 0) continue;
      REQUIRE_MSG(c->size == own_size[k] && c->spans == 1 && (c->objects == 1 || c->objects == 2),
                  "%" PRIu64 " objects of %" PRIu64 " bytes in %" PRIu64 " spans", c->objects, c->size, c->spans);
      k++;
    }
  }
  churn_end();
}

/* ---- readers at once, and threads that come and go with their caches ---- */

static void *brief(void *arg) {
  struct rng r = {(uintptr_t)arg};
  root last = NULL;
  for (int i = 0; i < 200; i++) last = gc_alloc(churn_size(&r));
  gc_use(last);
  return NULL;
}

static void *read_beside(void *unused) {
  static __thread struct gc_frag mine;
  while (!atomic_load(&over)) gc_read_frag(&mine);
  return unused;
}

static void run_threads_come_and_go(void) {
  static struct gc_frag before;
  make_steady();
  gc_read_frag(&before);
  churn_begin(read_beside);
  beside_begin(0);
  for (size_t i = 0; i < 40; i++) {
    pthread_t t[4];
    for (size_t k = 0; k < 4; k++) REQUIRE(pthread_create(&t[k], NULL, brief, (void *)(i * 4 + k)) == 0);
    gc_read_frag(&frag);
    check_reading();
    check_steady(frag.by_class, &before);
    for (size_t k = 0; k < 4; k++) REQUIRE(pthread_join(t[k], NULL) == 0);
  }
  beside_end();
  churn_end();
}

/* ---- and all is as it was ---- */

static void run_then_quiet(void) {
  static struct gc_stats stats;
  run_readings();
  gc_disable();
  gc_collect();
  gc_read_frag(&frag);
  gc_read_stats(&stats);
  REQUIRE(frag.total.objects == stats.heap_objects && frag.total.live_bytes == stats.heap_alloc);
  REQUIRE(frag.total.span_bytes == stats.heap_inuse);
}

static const struct test_case cases[] = {
    {"readings", run_then_quiet, NULL},
    {"dumps", run_dumps, NULL},
    {"own_span", run_own_span, NULL},
    {"threads_come_and_go", run_threads_come_and_go, NULL},
};

int main(int argc, char **argv) { return cases_main(argc, argv, "frag_beside", CASES(cases)); }
