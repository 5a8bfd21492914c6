/* test_threads.c - threads, stacks, the allocation lock, blocking, standing still and fork, as programs of the other library
 * use them. Each case runs in a process of its own, with cycles beside the program and with stopped ones. */
#include "client.h"

#include <gc/javaxfc.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "../system/cases.h"
#include "../system/misuse.h"

#define YIELDS 20000 /* that a thread which should not get on is given to get on */

static void yield_much(void) {
  for (int i = 0; i < YIELDS; i++) sched_yield();
}

static void await(sem_t *s) {
  while (sem_wait(s) != 0) REQUIRE(errno == EINTR);
}

static GC_word tag_of(GC_word which) { return suite_seed() + which; }

/* ---- the allocation lock ---- */

static atomic_uint begun, ended; /* collections */

static void count_collections(GC_EventType event) {
  if (event == GC_EVENT_START) atomic_fetch_add(&begun, 1);
  if (event == GC_EVENT_END) atomic_fetch_add(&ended, 1);
}

static void *collect_once(void *unused) {
  GC_gcollect();
  return unused;
}

struct hidden_chain {
  hidden head;
  pthread_t collector;
};

/* A collection begins, and finds the chain unreachable; it cannot end before the address is back. */
static void *reveal_during_collection(void *arg) {
  struct hidden_chain *c = arg;
  unsigned before = atomic_load(&begun), end = atomic_load(&ended);
  REQUIRE(GC_pthread_create(&c->collector, NULL, collect_once, NULL) == 0);
  while (atomic_load(&begun) == before) sched_yield();
  yield_much();
  REQUIRE_MSG(atomic_load(&ended) == end, "a collection ended while the allocation lock was held");
  return reveal(c->head);
}

static void no_collection_ends_under_the_lock(void) {
  static struct hidden_chain c;
  root held;
  GC_set_on_collection_event(count_collections);
  for (GC_word i = 0; i < 5; i++) {
    c.head = chain_hidden(tag_of(i), &held);
    held = NULL;
    scrub_stack();
    held = GC_call_with_alloc_lock(reveal_during_collection, &c);
    REQUIRE(GC_pthread_join(c.collector, NULL) == 0);
    churn(10 * CHAIN);
    REQUIRE_MSG(chain_ok(c.head, tag_of(i)), "chain %lu was freed though its address was revealed", i);
  }
}

enum { LOCKERS = 12, TURNS = 2000 };
static unsigned long plain_count;

static void *count_one(void *unused) {
  plain_count++;
  return unused;
}

static void *take_turns(void *unused) {
  for (int i = 0; i < TURNS; i++) {
    if (i % 2 == 0) {
      GC_call_with_alloc_lock(count_one, NULL);
    } else {
      GC_alloc_lock();
      plain_count++;
      GC_alloc_unlock();
    }
    if (i % 16 == 0) churn(20);
  }
  return unused;
}

/* Nobody keeps the others out for ever, and the collector neither. */
static void lock_goes_round(void) {
  pthread_t t[LOCKERS];
  beside_begin();
  for (int i = 0; i < LOCKERS; i++) REQUIRE(GC_pthread_create(&t[i], NULL, take_turns, NULL) == 0);
  beside_await(10);
  for (int i = 0; i < LOCKERS; i++) REQUIRE(GC_pthread_join(t[i], NULL) == 0);
  beside_end();
  REQUIRE_MSG(plain_count == LOCKERS * TURNS, "%lu of %d", plain_count, LOCKERS * TURNS);
}

static sem_t holder_ready, holder_go;
static void *hold_and_wait(void *unused) {
  sem_post(&holder_ready);
  await(&holder_go);
  return unused;
}
static void *hold_lock(void *unused) {
  GC_call_with_alloc_lock(hold_and_wait, NULL);
  return unused;
}

/* A thread that holds it sleeps in the kernel, a collection waits for it: the rest of the program runs on. */
static void others_run_on(void) {
  pthread_t holder, collector;
  root held;
  unsigned before = atomic_load(&begun);
  GC_set_on_collection_event(count_collections);
  REQUIRE(sem_init(&holder_ready, 0, 0) == 0 && sem_init(&holder_go, 0, 0) == 0);
  REQUIRE(GC_pthread_create(&holder, NULL, hold_lock, NULL) == 0);
  await(&holder_ready);
  REQUIRE(GC_pthread_create(&collector, NULL, collect_once, NULL) == 0);
  while (atomic_load(&begun) == before) sched_yield();
  hidden h = chain_hidden(tag_of(1), &held);
  REQUIRE(chain_ok(h, tag_of(1)));
  sem_post(&holder_go);
  REQUIRE(GC_pthread_join(collector, NULL) == 0 && GC_pthread_join(holder, NULL) == 0);
  REQUIRE(chain_ok(h, tag_of(1)));
}

static void *call_again(void *unused) { return GC_call_with_alloc_lock(count_one, unused); }
static void lock_twice(void) { GC_call_with_alloc_lock(call_again, NULL); }
static void *fork_inside(void *unused) { return fork() == 0 ? unused : NULL; }
static void fork_under_lock(void) { GC_call_with_alloc_lock(fork_inside, NULL); }
static void collect_under_lock(void) { GC_call_with_alloc_lock(collect_once, NULL); }
static void *allocate_much(void *unused) {
  for (int i = 0; i < 1000000; i++) GC_malloc(1000);
  return unused;
}
static void allocate_under_lock(void) { GC_call_with_alloc_lock(allocate_much, NULL); }
static void *end_with_lock(void *unused) {
  GC_alloc_lock();
  return unused;
}
static void end_holding(void) {
  pthread_t t;
  GC_pthread_create(&t, NULL, end_with_lock, NULL);
  GC_pthread_join(t, NULL);
}

static void misuse_of_the_lock(void) {
  require_misuse(lock_twice, "by a thread that holds it");
  require_misuse(GC_alloc_unlock, "does not hold the allocation lock");
  require_misuse(fork_under_lock, "the allocation lock is held");
  require_misuse(collect_under_lock, "the allocation lock is held");
  require_misuse(allocate_under_lock, "the allocation lock is held");
  require_misuse(end_holding, "ends while it holds the allocation lock");
}

/* ---- registration ---- */

static struct {
  sem_t ready, go;
  atomic_bool over;
  atomic_ulong count; /* goes up as long as the thread runs */
  hidden head;
} spinner;

static void spin(void) {
  while (!atomic_load(&spinner.over)) atomic_fetch_add(&spinner.count, 1);
}
static void await_spinner(void) {
  const unsigned long before = atomic_load(&spinner.count);
  while (atomic_load(&spinner.count) == before) sched_yield();
}

static void *register_and_spin(void *unused) {
  struct GC_stack_base base;
  REQUIRE(GC_get_stack_base(&base) == GC_SUCCESS);
  REQUIRE(GC_thread_is_registered() && GC_register_my_thread(&base) == GC_DUPLICATE);
  REQUIRE(GC_unregister_my_thread() == GC_SUCCESS && !GC_thread_is_registered());
  sem_post(&spinner.ready);
  spin();
  REQUIRE(GC_register_my_thread(&base) == GC_SUCCESS && GC_thread_is_registered());
  REQUIRE(GC_register_my_thread(&base) == GC_DUPLICATE);
  REQUIRE(GC_malloc(100) != NULL);
  REQUIRE(GC_unregister_my_thread() == GC_SUCCESS);
  return unused;
}

/* Of a thread that is not registered no stop takes notice. */
static void unregistered_runs_on(void) {
  pthread_t t;
  GC_allow_register_threads();
  REQUIRE(sem_init(&spinner.ready, 0, 0) == 0);
  REQUIRE(GC_thread_is_registered());
  REQUIRE(GC_pthread_create(&t, NULL, register_and_spin, NULL) == 0);
  await(&spinner.ready);
  await_spinner();
  GC_stop_world_external();
  await_spinner();
  GC_start_world_external();
  atomic_store(&spinner.over, true);
  REQUIRE(GC_pthread_join(t, NULL) == 0);
  REQUIRE(GC_unregister_my_thread() == GC_SUCCESS && GC_malloc(10) != NULL); /* the first thread */
}

/* ---- stack bases ---- */

static void *base_is_here(struct GC_stack_base *base, void *arg) {
  char here;
  REQUIRE((char *)base->mem_base > &here && (char *)base->mem_base < (char *)arg);
  return &spinner;
}

static void *know_bases(void *unused) {
  struct GC_stack_base base, mine;
  REQUIRE(GC_get_stack_base(&base) == GC_SUCCESS);
  REQUIRE((char *)base.mem_base > (char *)&mine && (char *)&mine > (char *)base.mem_base - 64 * 1024 * 1024);
  REQUIRE(GC_get_my_stackbottom(&mine) != NULL && mine.mem_base == base.mem_base);
  REQUIRE(GC_call_with_stack_base(base_is_here, base.mem_base) == &spinner);
  return unused;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
static void set_stackbottom(void *p) { GC_stackbottom = p; }
static void *get_stackbottom(void) { return GC_stackbottom; }
#pragma GCC diagnostic pop

static void stack_bases(void) {
  pthread_t t;
  struct GC_stack_base base;
  know_bases(NULL);
  REQUIRE(GC_get_my_stackbottom(&base) != NULL && base.mem_base == get_stackbottom());
  REQUIRE(GC_pthread_create(&t, NULL, know_bases, NULL) == 0 && GC_pthread_join(t, NULL) == 0);
}

/* ---- fibers of which only the base is told ---- */

enum { FIBER_BYTES = 256 * 1024, VICTIMS = 500 };

static struct {
  char *stack;
  ucontext_t here, there;
  hidden head, victims[VICTIMS];
  void (*work)(void);
} fiber;

static void run_fiber(void) {
  fiber.work();
  swapcontext(&fiber.there, &fiber.here);
}

static void fiber_new(void (*work)(void)) {
  fiber.stack = mmap(NULL, FIBER_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(fiber.stack != MAP_FAILED && getcontext(&fiber.there) == 0);
  fiber.there.uc_stack = (stack_t){.ss_sp = fiber.stack, .ss_size = FIBER_BYTES};
  fiber.work = work;
  makecontext(&fiber.there, run_fiber, 0);
}

static NOINLINE void go_to_fiber(void) { REQUIRE(swapcontext(&fiber.here, &fiber.there) == 0); }

static void hold_and_return(void) {
  root held;
  fiber.head = chain_hidden(tag_of(2), &held);
  scrub_stack();
  REQUIRE(swapcontext(&fiber.there, &fiber.here) == 0);
  REQUIRE(chain_ok(fiber.head, tag_of(2)));
  held = NULL;
}

/* The base is told, the switch is still to come: what sleeps on the fiber is its only root. By any means of telling. */
static void before_the_switch(bool by_call) {
  struct GC_stack_base there = {NULL}, own;
  void *handle = GC_get_my_stackbottom(&own);
  fiber_new(hold_and_return);
  there.mem_base = fiber.stack + FIBER_BYTES;
  go_to_fiber();
  if (by_call)
    GC_set_stackbottom(handle, &there);
  else
    set_stackbottom(there.mem_base);
  collect_hard();
  REQUIRE_MSG(chain_ok(fiber.head, tag_of(2)), "what the fiber holds was freed before the switch to it");
  go_to_fiber();
  GC_set_stackbottom(NULL, &own);
}

static void told_by_variable(void) { before_the_switch(false); }
static void told_by_call(void) { before_the_switch(true); }
static void *tell_in_a_thread(void *unused) {
  before_the_switch(true);
  return unused;
}
static void told_in_a_thread(void) {
  pthread_t t;
  REQUIRE(GC_pthread_create(&t, NULL, tell_in_a_thread, NULL) == 0 && GC_pthread_join(t, NULL) == 0);
}

/* Collections that begin by themselves, which take hints from stacks, or those that are asked for. */
static bool by_itself;
static void collect_on_fiber(void) {
  root held;
  fiber.head = chain_hidden(tag_of(3), &held);
  if (by_itself)
    for (GC_word until = GC_get_gc_no() + 6; GC_get_gc_no() < until;) churn(1000);
  else
    collect_hard();
  REQUIRE_MSG(chain_ok(fiber.head, tag_of(3)), "what the running fiber holds was freed");
  held = NULL;
}

/* Where it has been before is the program's to push, so what only that stack holds goes. */
static void only_the_told_stack_counts(void) {
  root victims[VICTIMS];
  size_t gone = 0, size = GC_size(GC_malloc(64));
  void *own = get_stackbottom();
  fiber_new(collect_on_fiber);
  for (size_t i = 0; i < VICTIMS; i++) fiber.victims[i] = hide(victims[i] = GC_malloc(64));
  churn(100);
  set_stackbottom(fiber.stack + FIBER_BYTES);
  go_to_fiber();
  set_stackbottom(own);
  for (size_t i = 0; i < VICTIMS; i++) { /* their memory may have become objects of another size */
    char *p = reveal(fiber.victims[i]);
    gone += GC_base(p) != p || GC_size(p) != size;
  }
  for (size_t i = 0; i < VICTIMS; i++) victims[i] = NULL;
  REQUIRE_MSG(gone >= VICTIMS * 95 / 100, "only %zu of %d went", gone, VICTIMS);
}

static void only_the_told_stack_gives_hints(void) {
  by_itself = true;
  only_the_told_stack_counts();
}

/* ---- blocking ---- */

static int pipe_fd[2];
static atomic_int interrupted;

static void *poll_pipe(void *result) {
  struct pollfd p = {pipe_fd[0], POLLIN, 0};
  sem_post(&spinner.ready);
  while (poll(&p, 1, -1) != 1) {
    REQUIRE(errno == EINTR);
    atomic_fetch_add(&interrupted, 1);
  }
  return result;
}

static void *hold_and_block(void *unused) {
  root held;
  hidden head = chain_hidden(tag_of(4), &held);
  scrub_stack();
  REQUIRE(GC_do_blocking(poll_pipe, &interrupted) == &interrupted);
  REQUIRE_MSG(chain_ok(head, tag_of(4)), "what a blocking thread held was freed");
  held = NULL;
  return unused;
}

static void blocking_is_left_alone(void) {
  pthread_t t;
  REQUIRE(sem_init(&spinner.ready, 0, 0) == 0 && pipe(pipe_fd) == 0);
  REQUIRE(GC_pthread_create(&t, NULL, hold_and_block, NULL) == 0);
  await(&spinner.ready);
  for (int i = 0; i < 10; i++) collect_hard();
  REQUIRE(write(pipe_fd[1], "x", 1) == 1 && GC_pthread_join(t, NULL) == 0);
  REQUIRE_MSG(atomic_load(&interrupted) == 0, "%d signals came through", atomic_load(&interrupted));
}

/* The data of a blocking call are a root, as there. */
static void *see_data(void *data) {
  const hidden head = hide(data);
  sem_post(&spinner.ready);
  await(&spinner.go);
  REQUIRE_MSG(chain_ok(head, tag_of(5)), "what was passed to a blocking call was freed");
  return NULL;
}
static void *pass_data(void *unused) {
  REQUIRE(GC_do_blocking(see_data, chain_new(tag_of(5))) == NULL);
  return unused;
}

static void data_of_blocking_calls(void) {
  pthread_t t;
  REQUIRE(sem_init(&spinner.ready, 0, 0) == 0 && sem_init(&spinner.go, 0, 0) == 0);
  REQUIRE(GC_pthread_create(&t, NULL, pass_data, NULL) == 0);
  await(&spinner.ready);
  collect_hard();
  sem_post(&spinner.go);
  REQUIRE(GC_pthread_join(t, NULL) == 0);
}

static void *block_deeper(void *arg);

/* Active inside of blocking, and blocking inside of that, and so on. */
static void *be_active(void *arg) {
  const GC_word depth = (GC_word)arg;
  root held;
  hidden head = chain_hidden(tag_of(depth), &held);
  beside_await(1);
  if (depth > 0) REQUIRE(GC_do_blocking(block_deeper, (void *)(depth - 1)) == (void *)(depth - 1));
  GC_gcollect();
  REQUIRE_MSG(chain_ok(head, tag_of(depth)), "what an active function held was freed, at depth %lu", depth);
  held = NULL;
  return arg;
}

static void *block_deeper(void *arg) {
  beside_await(1);
  for (int i = 0; i < 3; i++) REQUIRE(GC_call_with_gc_active(be_active, arg) == arg);
  beside_await(1);
  return arg;
}

static void active_inside_of_blocking(void) {
  root held;
  hidden head = chain_hidden(tag_of(100), &held);
  beside_begin();
  for (int i = 0; i < 5; i++) REQUIRE(GC_do_blocking(block_deeper, (void *)2) == (void *)2);
  REQUIRE(GC_call_with_gc_active(be_active, (void *)1) == (void *)1); /* it is active already */
  beside_end();
  REQUIRE_MSG(chain_ok(head, tag_of(100)), "what lay above the blocking calls was freed");
  held = NULL;
}

static void *allocate(void *unused) {
  (void)unused;
  return GC_malloc(10);
}
static void allocate_in_blocking(void) { GC_do_blocking(allocate, NULL); }
static void misuse_of_blocking(void) { require_misuse(allocate_in_blocking, "inside GC_do_blocking"); }

/* ---- standing still ---- */

static void *hold_and_spin(void *unused) {
  root held;
  spinner.head = chain_hidden(tag_of(6), &held);
  scrub_stack();
  sem_post(&spinner.ready);
  spin();
  REQUIRE(chain_ok(spinner.head, tag_of(6)));
  held = NULL;
  return unused;
}

static void stands_still(pthread_t t) {
  const unsigned long before = atomic_load(&spinner.count);
  REQUIRE(GC_is_thread_suspended(t));
  yield_much();
  collect_hard();
  yield_much();
  REQUIRE_MSG(atomic_load(&spinner.count) == before, "it runs, though it was suspended");
  REQUIRE_MSG(chain_ok(spinner.head, tag_of(6)), "what a suspended thread held was freed");
}

static void suspended_threads(void) {
  pthread_t t;
  REQUIRE(sem_init(&spinner.ready, 0, 0) == 0);
  REQUIRE(GC_pthread_create(&t, NULL, hold_and_spin, NULL) == 0);
  await(&spinner.ready);
  for (int i = 0; i < 10; i++) {
    await_spinner();
    REQUIRE(!GC_is_thread_suspended(t));
    GC_suspend_thread(t);
    if (i % 3 == 0) GC_suspend_thread(t); /* they are not counted */
    stands_still(t);
    GC_resume_thread(t);
  }
  atomic_store(&spinner.over, true);
  REQUIRE(GC_pthread_join(t, NULL) == 0);
  REQUIRE(!GC_is_thread_suspended(t)); /* it is no thread any more */
}

static void *suspend_self(void *unused) {
  root held;
  spinner.head = chain_hidden(tag_of(6), &held);
  scrub_stack();
  for (int i = 0; i < 5; i++) {
    GC_suspend_thread(pthread_self());
    atomic_fetch_add(&spinner.count, 1);
  }
  REQUIRE(chain_ok(spinner.head, tag_of(6)));
  held = NULL;
  return unused;
}

static void suspends_itself(void) {
  pthread_t t;
  REQUIRE(GC_pthread_create(&t, NULL, suspend_self, NULL) == 0);
  for (unsigned long i = 0; i < 5; i++) {
    while (!GC_is_thread_suspended(t)) sched_yield();
    stands_still(t);
    REQUIRE(atomic_load(&spinner.count) == i);
    GC_resume_thread(t);
    while (atomic_load(&spinner.count) == i) sched_yield();
  }
  REQUIRE(GC_pthread_join(t, NULL) == 0);
}

static void *wait_in_kernel(void *unused) {
  sem_post(&spinner.ready);
  await(&spinner.go);
  sem_post(&spinner.ready);
  return unused;
}
static void *block_and_count(void *unused) {
  root held;
  spinner.head = chain_hidden(tag_of(6), &held);
  scrub_stack();
  GC_do_blocking(wait_in_kernel, NULL);
  atomic_fetch_add(&spinner.count, 1);
  held = NULL;
  return unused;
}

/* One that is in a blocking call goes on in there, and no further. */
static void suspended_while_blocking(void) {
  pthread_t t;
  REQUIRE(sem_init(&spinner.ready, 0, 0) == 0 && sem_init(&spinner.go, 0, 0) == 0);
  REQUIRE(GC_pthread_create(&t, NULL, block_and_count, NULL) == 0);
  await(&spinner.ready);
  GC_suspend_thread(t);
  sem_post(&spinner.go);
  await(&spinner.ready);
  stands_still(t);
  GC_resume_thread(t);
  REQUIRE(GC_pthread_join(t, NULL) == 0 && atomic_load(&spinner.count) == 1);
}

static void stopped_world(void) {
  pthread_t t;
  REQUIRE(sem_init(&spinner.ready, 0, 0) == 0);
  REQUIRE(GC_pthread_create(&t, NULL, hold_and_spin, NULL) == 0);
  await(&spinner.ready);
  beside_begin();
  for (int i = 0; i < 10; i++) {
    await_spinner();
    GC_stop_world_external();
    const unsigned long before = atomic_load(&spinner.count), cycles = atomic_load(&beside.cycles);
    yield_much();
    bool still = atomic_load(&spinner.count) == before && atomic_load(&beside.cycles) == cycles;
    GC_start_world_external();
    REQUIRE_MSG(still, "the world went on though it was stopped");
  }
  beside_end();
  atomic_store(&spinner.over, true);
  REQUIRE(GC_pthread_join(t, NULL) == 0);
  require_misuse(GC_start_world_external, "has not called GC_stop_world_external");
}

static atomic_long standing;
static atomic_int told_of_spinner, told_of_others;
static pthread_t the_spinner;

static void on_thread(GC_EventType event, void *id) {
  atomic_fetch_add(&standing, event == GC_EVENT_THREAD_SUSPENDED ? 1 : -1);
  atomic_fetch_add((pthread_t)id == the_spinner ? &told_of_spinner : &told_of_others, 1);
}

static void thread_events(void) {
  REQUIRE(sem_init(&spinner.ready, 0, 0) == 0 && GC_get_on_thread_event() == NULL);
  REQUIRE(GC_pthread_create(&the_spinner, NULL, hold_and_spin, NULL) == 0);
  await(&spinner.ready);
  GC_set_on_thread_event(on_thread);
  REQUIRE(GC_get_on_thread_event() == on_thread);
  for (int i = 0; i < 10; i++) GC_gcollect();
  REQUIRE_MSG(atomic_load(&told_of_spinner) >= 20, "told %d times in 10 collections", atomic_load(&told_of_spinner));
  REQUIRE(atomic_load(&told_of_spinner) % 2 == 0 && atomic_load(&standing) == 0);
  GC_set_on_thread_event(NULL);
  atomic_store(&spinner.over, true);
  REQUIRE(GC_pthread_join(the_spinner, NULL) == 0);
}

/* One serves both: programs leave these alone, and where they do not, it comes through all the same. */
static void signals(void) {
  const int ours = GC_get_suspend_signal();
  sigset_t all, now;
  REQUIRE(ours > 0 && ours <= SIGRTMAX && GC_get_thr_restart_signal() == ours);
  GC_set_suspend_signal(SIGUSR1);
  GC_set_thr_restart_signal(SIGUSR2);
  REQUIRE(GC_get_suspend_signal() == ours && GC_get_thr_restart_signal() == ours);
  sigfillset(&all);
  REQUIRE(GC_pthread_sigmask(SIG_SETMASK, &all, NULL) == 0 && GC_pthread_sigmask(SIG_BLOCK, NULL, &now) == 0);
  REQUIRE(sigismember(&now, SIGUSR1) == 1);
  pthread_t t;
  REQUIRE(GC_pthread_create(&t, NULL, collect_once, NULL) == 0 && GC_pthread_join(t, NULL) == 0);
}

/* ---- births and ends ---- */

static void *give_chain(void *tag) { return chain_new((GC_word)tag); }
static void *exit_with_chain(void *tag) { GC_pthread_exit(chain_new((GC_word)tag)); }
static void *wait_for_ever(void *unused) {
  for (;;) pause();
  return unused;
}

static void births_and_ends(void) {
  void *(*const give[])(void *) = {give_chain, exit_with_chain};
  for (GC_word i = 0; i < 2; i++) {
    pthread_t t;
    root result;
    void *r;
    REQUIRE(GC_pthread_create(&t, NULL, give[i], (void *)tag_of(7)) == 0);
    collect_hard(); /* the result is a root until it is fetched */
    REQUIRE(GC_pthread_join(t, &r) == 0);
    result = r;
    REQUIRE_MSG(chain_ok(hide(result), tag_of(7)), "the result of a thread was freed");
    REQUIRE(GC_pthread_create(&t, NULL, give[i], (void *)tag_of(8)) == 0 && GC_pthread_detach(t) == 0);
  }
  pthread_t t;
  void *r;
  REQUIRE(GC_pthread_create(&t, NULL, wait_for_ever, NULL) == 0 && GC_pthread_cancel(t) == 0);
  REQUIRE(GC_pthread_join(t, &r) == 0 && r == PTHREAD_CANCELED);
  collect_hard();
  void *math = GC_dlopen("libm.so.6", 2 /* RTLD_NOW */);
  REQUIRE(math != NULL);
}

static void what_does_nothing(void) {
  char altstack[1];
  GC_start_mark_threads();
  GC_register_altstack(altstack, 1, altstack, 1);
  GC_set_markers_count(2);
  REQUIRE(GC_malloc(10) != NULL);
}

/* ---- fork ---- */

/* In a child: 0 when all works. alarm ends one that hangs. */
static int live_in_child(hidden head, GC_word tag) {
  alarm(200);
  if (!chain_ok(head, tag)) return 2;
  GC_call_with_alloc_lock(count_one, NULL);
  for (int i = 0; i < 2; i++) {
    root held;
    hidden h = chain_hidden(tag + 1, &held);
    GC_gcollect();
    if (!chain_ok(h, tag + 1) || !chain_ok(head, tag)) return 3;
  }
  return 0;
}

static void end_child(pid_t child) {
  int status = 0;
  REQUIRE(child > 0 && waitpid(child, &status, 0) == child);
  REQUIRE_MSG(status == 0, "the child's status is %x", (unsigned)status);
}

static atomic_bool forks_over;
static void *lock_and_allocate(void *unused) {
  /* Few objects: a debug build's cycle is slow in a heap that has grown beside it. */
  for (int i = 0; !atomic_load(&forks_over); i++) {
    GC_call_with_alloc_lock(count_one, NULL);
    if (i % 256 == 0) churn(1);
  }
  return unused;
}

enum { FORKERS = 4 };
static void fork_beside_lockers(bool by_hand) {
  pthread_t t[FORKERS];
  root held;
  hidden head = chain_hidden(tag_of(9), &held);
  GC_set_handle_fork(by_hand ? -1 : 1);
  for (int i = 0; i < FORKERS; i++) REQUIRE(GC_pthread_create(&t[i], NULL, lock_and_allocate, NULL) == 0);
  for (int i = 0; i < 30; i++) {
    GC_atfork_prepare();
    /* By hand: the C library does not tell the collector of this one. */
    pid_t child = by_hand && i % 2 == 0 ? (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) : fork();
    if (child == 0) {
      GC_atfork_child();
      _exit(live_in_child(head, tag_of(9)));
    }
    GC_atfork_parent();
    end_child(child);
  }
  atomic_store(&forks_over, true);
  for (int i = 0; i < FORKERS; i++) REQUIRE(GC_pthread_join(t[i], NULL) == 0);
  REQUIRE(chain_ok(head, tag_of(9)));
  held = NULL;
}

static void forks(void) { fork_beside_lockers(false); }
static void forks_by_hand(void) { fork_beside_lockers(true); }

/* ---- all at once ---- */

enum { WORKERS = 12, OPS = 400, CELLS = 64 };

/* Weak references as such programs make them: a hidden address in a cell that disappears with its object. */
static struct {
  void *cell[CELLS]; /* hidden, or NULL */
  pthread_t id[WORKERS];
  atomic_int running;
  atomic_int seen;
} stress;

/* Between the two the object has no root, and a collection could find it dead: if one may end there. */
static void *reveal_cell(void *arg) {
  GC_word h = (GC_word)stress.cell[(GC_word)arg];
  for (int i = 0; i < 3; i++) sched_yield();
  return h == 0 ? NULL : reveal((hidden){h});
}

static void new_weak(GC_word i) {
  GC_word *object = GC_malloc(64);
  REQUIRE(object != NULL);
  object[1] = link_tag(i, 0);
  GC_unregister_disappearing_link(&stress.cell[i]);
  stress.cell[i] = (void *)hide(object).bits;
  REQUIRE(GC_general_register_disappearing_link(&stress.cell[i], object) == GC_SUCCESS);
  object = NULL;
}

static pthread_mutex_t weak_owner = PTHREAD_MUTEX_INITIALIZER; /* who changes a cell */

static void use_weak(struct rng *r) {
  GC_word i = rng_below(r, CELLS);
  const GC_word *object = GC_call_with_alloc_lock(reveal_cell, (void *)i);
  if (object != NULL) {
    REQUIRE_MSG(object[1] == link_tag(i, 0), "a revealed object is dead: cell %lu", i);
    atomic_fetch_add(&stress.seen, 1);
  }
  if (rng_below(r, 4) != 0) return;
  pthread_mutex_lock(&weak_owner);
  new_weak(i);
  pthread_mutex_unlock(&weak_owner);
}

static void *yield_in_blocking(void *arg) {
  for (int i = 0; i < 3; i++) sched_yield();
  return arg;
}
static void *make_chain_actively(void *arg) {
  root held;
  GC_word tag = (GC_word)arg;
  hidden h = chain_hidden(tag, &held);
  GC_do_blocking(yield_in_blocking, NULL);
  REQUIRE(chain_ok(h, tag));
  held = NULL;
  return arg;
}
static void *call_back(void *arg) { return GC_call_with_gc_active(make_chain_actively, arg); }

static NOINLINE void leave_and_come_back(void) {
  struct GC_stack_base base;
  REQUIRE(GC_get_stack_base(&base) == GC_SUCCESS && GC_unregister_my_thread() == GC_SUCCESS);
  sched_yield();
  REQUIRE(GC_register_my_thread(&base) == GC_SUCCESS);
}

/* A thread that stands still may do so inside malloc, whose locks a fork needs. */
static pthread_mutex_t fork_or_suspend = PTHREAD_MUTEX_INITIALIZER;

static void fork_and_wait(hidden head, GC_word tag) {
  pthread_mutex_lock(&fork_or_suspend);
  pid_t child = fork();
  if (child == 0) _exit(live_in_child(head, tag));
  pthread_mutex_unlock(&fork_or_suspend);
  int status = 0;
  while (waitpid(child, &status, 0) != child) REQUIRE(errno == EINTR);
  REQUIRE_MSG(status == 0, "the child's status is %x", (unsigned)status);
}

static root worker_root[WORKERS]; /* while its thread is not registered */

static void *work(void *arg) {
  const GC_word me = (GC_word)arg, tag = tag_of(1000 + me);
  struct rng r = {tag};
  root held;
  hidden head = chain_hidden(tag, &held);
  for (int i = 0; i < OPS; i++) {
    switch (rng_below(&r, 8)) {
      case 0: GC_do_blocking(yield_in_blocking, NULL); break;
      case 1: REQUIRE(GC_do_blocking(call_back, (void *)tag) == (void *)tag); break;
      case 2:
        worker_root[me] = held;
        leave_and_come_back();
        break;
      case 3:
        if (rng_below(&r, 40) == 0) fork_and_wait(head, tag);
        break;
      case 4: churn(rng_below(&r, 200)); break;
      default: use_weak(&r); break;
    }
    REQUIRE_MSG(chain_ok(head, tag), "the chain of worker %lu was freed", me);
  }
  held = worker_root[me] = NULL;
  atomic_fetch_sub(&stress.running, 1);
  return NULL;
}

static void everything_at_once(void) {
  struct rng r = {suite_seed()};
  atomic_store(&stress.running, WORKERS);
  beside_begin();
  for (GC_word i = 0; i < WORKERS; i++) REQUIRE(GC_pthread_create(&stress.id[i], NULL, work, (void *)i) == 0);
  while (atomic_load(&stress.running) > 0) {
    pthread_t t = stress.id[rng_below(&r, WORKERS)];
    pthread_mutex_lock(&fork_or_suspend);
    GC_suspend_thread(t);
    beside_await(1);
    GC_resume_thread(t);
    pthread_mutex_unlock(&fork_or_suspend);
    sched_yield();
  }
  for (int i = 0; i < WORKERS; i++) REQUIRE(GC_pthread_join(stress.id[i], NULL) == 0);
  beside_end();
  REQUIRE_MSG(atomic_load(&stress.seen) > 0, "no weak reference was ever seen alive");
}

static const struct test_case table[] = {
    {"no_collection_ends_under_the_lock", no_collection_ends_under_the_lock, NULL},
    {"lock_goes_round", lock_goes_round, NULL},
    {"others_run_on", others_run_on, NULL},
    {"misuse_of_the_lock", misuse_of_the_lock, NULL},
    {"unregistered_runs_on", unregistered_runs_on, NULL},
    {"stack_bases", stack_bases, NULL},
    {"told_by_variable", told_by_variable, NULL},
    {"told_by_call", told_by_call, NULL},
    {"told_in_a_thread", told_in_a_thread, NULL},
    {"only_the_told_stack_counts", only_the_told_stack_counts, NULL},
    {"only_the_told_stack_gives_hints", only_the_told_stack_gives_hints, NULL},
    {"blocking_is_left_alone", blocking_is_left_alone, NULL},
    {"data_of_blocking_calls", data_of_blocking_calls, NULL},
    {"active_inside_of_blocking", active_inside_of_blocking, NULL},
    {"misuse_of_blocking", misuse_of_blocking, NULL},
    {"suspended_threads", suspended_threads, NULL},
    {"suspends_itself", suspends_itself, NULL},
    {"suspended_while_blocking", suspended_while_blocking, NULL},
    {"stopped_world", stopped_world, NULL},
    {"thread_events", thread_events, NULL},
    {"signals", signals, NULL},
    {"births_and_ends", births_and_ends, NULL},
    {"what_does_nothing", what_does_nothing, NULL},
    {"forks", forks, NULL},
    {"forks_by_hand", forks_by_hand, NULL},
    {"everything_at_once", everything_at_once, NULL},
};

int main(int argc, char **argv) {
  GC_INIT();
  return cases_main(argc, argv, "threads", CASES(table));
}
