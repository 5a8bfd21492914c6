/* test_put_off.c - a stop that is broken off between deciding about finalizers and marking what they keep (gc/verdict.h): what was
 * decided stands, whatever the program does before the next stop. The stop is made too long by a hook that lets its time pass. */
#include "hide.h"
#include "unit.h"

#include "gc/clean.h"
#include "gc/cycle.h"
#include "gc/verdict.h"
#include "gc_stats.h"
#include "gc_weak.h"
#include "runtime/dirty.h"

enum { HEADS = 40, CHAIN = 200, NEWBORN = 10000, ROUNDS = 3 };
enum { LEFT_ALONE, FETCHED, SET_ANEW, FREED, FATES }; /* what is done with head i between two stops: i % FATES */

struct node {
  struct node *next;
  uint64_t number, filler[2];
};

static gc_weak *volatile *weak_to, *volatile *long_weak_to, *volatile *weak_to_last,
                                                                *volatile *newborn; /* in the heap */
static root fetched[HEADS];
static bool decided[HEADS];
static unsigned ran[HEADS], ran_anew[HEADS];
static bool unordered;

/* On a stack that is gone afterwards, and so keeps nothing. */
static void *call(void *f) {
  (*(void (**)(void))f)();
  return NULL;
}

static void in_a_thread(void (*f)(void)) {
  pthread_t t;
  start_thread(&t, call, (void *)&f);
  pthread_join(t, NULL);
}

static void require_chain(const struct node *n, uint64_t number) {
  for (int i = 0; i < CHAIN; i++, n = n->next)
    REQUIRE(gc_base((void *)(uintptr_t)n) == (void *)(uintptr_t)n && n->number == number);
  REQUIRE(n == NULL);
}

static void on_end(void *object, void *unused) {
  struct node *n = object;
  (void)unused;
  require_chain(n, n->number);
  ran[n->number]++;
}

static void on_end_anew(void *object, void *unused) {
  struct node *n = object;
  (void)unused;
  require_chain(n, n->number);
  ran_anew[n->number]++;
}

static void set(void *object, void (*f)(void *, void *)) {
  REQUIRE((unordered ? gc_set_finalizer_unordered(object, f, NULL) : gc_set_finalizer(object, f, NULL)) == 0);
}

static NOINLINE void make_heads(void) {
  for (uint64_t i = 0; i < HEADS; i++) {
    struct node *head = NULL, *last = NULL;
    for (int k = 0; k < CHAIN; k++) {
      struct node *n = gc_alloc(sizeof *n);
      *n = (struct node){.next = head, .number = i};
      head = n;
      if (last == NULL) last = n;
    }
    set(head, on_end);
    weak_to[i] = gc_weak_create(head);
    long_weak_to[i] = gc_weak_create_long(head);
    weak_to_last[i] = gc_weak_create(last);
  }
}

/* -- between the stops, in a thread of the program -- */
static atomic_u32 turn, over;
static unsigned between_count;

static NOINLINE void meet_fate(uint64_t i) {
  struct node *n = gc_weak_get(long_weak_to[i]);
  REQUIRE_MSG(n != NULL, "a long weak reference was cleared while its object's finalizer waits");
  REQUIRE_MSG(gc_weak_get(weak_to_last[i]) == NULL,
              "a weak reference to what a doomed object leads to was not cleared");
  require_chain(n, i);
  decided[i] = true;
  if (i % FATES == FETCHED || i % FATES == SET_ANEW) fetched[i] = n;
  if (i % FATES == SET_ANEW) set(n, on_end_anew);
  if (i % FATES == FREED) gc_free(n);
}

static NOINLINE void give_birth(void) {
  for (int i = 0; i < NEWBORN; i++) newborn[i] = gc_weak_create(gc_alloc(100));
}

static void act_between(void) {
  for (uint64_t i = 0; between_count == 0 && i < HEADS && weak_to[i] != NULL; i++)
    if (gc_weak_get(weak_to[i]) == NULL) meet_fate(i);
  if (between_count == 0) give_birth();
  if (between_count == 1) gc_run_finalizers(); /* queued, and the cycle is not over */
  between_count++;
}

static void *be_between(void *unused) {
  while (atomic32_load_acquire(&over) == 0) {
    if (atomic32_load_acquire(&turn) == 1) {
      act_between();
      scrub_stack();
      atomic32_store_release(&turn, 0);
    }
    sched_yield();
  }
  return unused;
}

/* -- the hooks, which the collector's thread calls -- */
static unsigned burns;
static bool burned;

static bool let_time_pass(void) {
  bool more = verdict_marked();
  burned = more && burns > 0;
  if (!burned) return more;
  burns--;
  uint64_t until = os_now_ns() + (CLEAN_NEARLY + 2) * (uint64_t)options.max_pause_us * 1000;
  while (os_now_ns() < until) cpu_relax();
  return more;
}

static void resumed(bool ended) {
  if (ended || !burned) return;
  burned = false; /* the next may be broken off for another reason */
  atomic32_store_release(&turn, 1);
  await(&turn, 0);
}

static void collect_put_off(unsigned times) {
  burns = times;
  between_count = 0;
  cycle_marked_hook = let_time_pass;
  cycle_resumed_hook = resumed;
  scrub_stack();
  gc_collect();
  cycle_marked_hook = verdict_marked;
  cycle_resumed_hook = NULL;
  REQUIRE_MSG(between_count == times, "put off %u times of %u", between_count, times);
}

/* An unordered finalizer runs though its object was fetched; an ordered one waits. */
static unsigned expected_now(int fate) { return fate == LEFT_ALONE || (fate == FETCHED && unordered); }

static void require_runs(bool later) {
  for (int i = 0; i < HEADS; i++) {
    int fate = i % FATES;
    if (!decided[i]) continue;
    unsigned now = later && fate == FETCHED ? 1 : expected_now(fate);
    REQUIRE_MSG(ran[i] == now, "head %d: its finalizer ran %u times, not %u", i, ran[i], now);
    REQUIRE_MSG(ran_anew[i] == (later && fate == SET_ANEW), "head %d: its new finalizer ran %u times", i, ran_anew[i]);
    REQUIRE(gc_weak_get(weak_to[i]) == NULL);
  }
}

static NOINLINE void require_newborn_whole(void) {
  for (int i = 0; i < NEWBORN; i++) {
    void *p = gc_weak_get(newborn[i]);
    REQUIRE_MSG(p == NULL || gc_base(p) == p, "a weak reference that was made between the stops names a free slot");
  }
}

static void begin_round(void) {
  memset(ran, 0, sizeof ran);
  memset(ran_anew, 0, sizeof ran_anew);
  memset(decided, 0, sizeof decided);
  in_a_thread(make_heads);
}

static void end_round(void) {
  for (int i = 0; i < HEADS; i++) fetched[i] = NULL;
  for (int i = 0; i < 3; i++) {
    scrub_stack();
    gc_collect();
    gc_run_finalizers();
  }
}

static gc_weak *volatile *table(size_t n) {
  gc_weak *volatile *t = gc_alloc_uncollectable(n * sizeof *t);
  REQUIRE(t != NULL);
  return t;
}

static void set_up(void) {
  quiet_heap();
  options.concurrent = 2;
  options.finalizers = 1; /* by hand */
  weak_to = table(HEADS);
  long_weak_to = table(HEADS);
  weak_to_last = table(HEADS);
  newborn = table(NEWBORN);
}

/* The second round's newborn are white, since the first's died. */
START_TEST(decisions_stand) {
  pthread_t t;
  unsigned found = 0;
  unordered = _i % 2;
  set_up();
  if (!dirty_works()) return;
  start_thread(&t, be_between, NULL);
  for (int round = 0; round < ROUNDS; round++) {
    begin_round();
    collect_put_off(1 + (unsigned)_i / 2);
    gc_run_finalizers();
    require_runs(false);
    require_newborn_whole();
    for (int i = 0; i < HEADS; i++) found += decided[i];
    end_round();
    require_runs(true);
    require_newborn_whole();
    REQUIRE_WHOLE();
  }
  atomic32_store_release(&over, 1);
  pthread_join(t, NULL);
  REQUIRE_MSG(found * 100 >= HEADS * ROUNDS * 90, "%u of %d were found unreachable", found, HEADS * ROUNDS);
}
END_TEST

/* -- more words given to marking than markers take before the stop is broken off: what they lead to has to wait for its turn, and
 * is not forgotten -- */
enum { WIDE = 20000 };
static unsigned wide_ran, child_ran;

static void count_child(void *object, void *unused) {
  (void)object;
  (void)unused;
  child_ran++;
}

static void look_at_all(void *object, void *unused) {
  struct node **wide = object;
  (void)unused;
  for (uint64_t i = 0; i < WIDE; i++)
    REQUIRE_MSG(gc_base(wide[i]) == wide[i] && wide[i]->number == i, "%lu is lost", (unsigned long)i);
  wide_ran++;
}

static NOINLINE void make_wide(void) {
  struct node **wide = gc_alloc(WIDE * sizeof *wide);
  for (uint64_t i = 0; i < WIDE; i++) {
    wide[i] = gc_alloc(sizeof *wide[i]);
    wide[i]->number = i;
    if (i % 10 == 9) REQUIRE(gc_set_finalizer(wide[i], count_child, NULL) == 0);
  }
  REQUIRE(gc_set_finalizer(wide, look_at_all, NULL) == 0);
}

START_TEST(no_word_is_forgotten) {
  pthread_t t;
  set_up();
  if (!dirty_works()) return;
  start_thread(&t, be_between, NULL);
  for (int i = 0; i < 10; i++) {
    in_a_thread(make_wide);
    collect_put_off(1);
    unsigned before = wide_ran, children_before = child_ran;
    for (size_t n = 0; n < WIDE; n++) REQUIRE(gc_alloc(sizeof(struct node)) != NULL); /* in place of what was freed */
    gc_run_finalizers();
    REQUIRE_MSG(wide_ran == before || child_ran == children_before, "finalized in the cycle of what leads to it");
    end_round();
  }
  atomic32_store_release(&over, 1);
  pthread_join(t, NULL);
  REQUIRE_MSG(wide_ran >= 8, "%u of 10 were finalized", wide_ran);
}
END_TEST

/* -- a million objects behind one finalizer: all there when it runs. The stops are told, not judged -- */
enum { MANY = 1000000 };
static uint64_t seen;

static void count_all(void *object, void *unused) {
  (void)unused;
  for (struct node *n = object; n != NULL; n = n->next) seen += n->number == seen;
}

static NOINLINE void make_many(void) {
  struct node *head = NULL;
  for (uint64_t i = MANY; i-- > 0;) {
    struct node *n = gc_alloc(sizeof *n);
    *n = (struct node){.next = head, .number = i};
    head = n;
  }
  REQUIRE(gc_set_finalizer(head, count_all, NULL) == 0);
}

static unsigned longest(void) {
  static struct gc_stats s;
  unsigned i = GC_STATS_BUCKETS;
  gc_read_stats(&s);
  while (i > 0 && s.pause_hist[i - 1] == 0) i--;
  return i;
}

START_TEST(a_million_behind_one) {
  set_up();
  in_a_thread(make_many);
  for (int i = 0; i < 5 && seen == 0; i++) {
    scrub_stack();
    gc_collect();
    gc_run_finalizers();
  }
  REQUIRE_MSG(seen == MANY, "%lu of %d were there", (unsigned long)seen, MANY);
  printf("a million objects behind one finalizer: the longest stop took less than %lu us\n",
         (unsigned long)((uint64_t)1 << longest()) / 1000);
}
END_TEST

int main(void) {
  Suite *s = suite_create("put_off");
  TCase *tc = suite_case(s, "put_off");
  tcase_add_loop_test(tc, decisions_stand, 0, 4);
  tcase_add_test(tc, no_word_is_forgotten);
  tcase_add_test(tc, a_million_behind_one);
  return suite_main(s);
}
