/* test_coroutines.c - stacks of coroutines: what is in use of them is searched, and no more; whoever runs on them. */
#include <sys/mman.h>
#include <ucontext.h>

#include "beside.h"
#include "cases.h"
#include "gc_stats.h"
#include "gc_thread.h"
#include "misuse.h"
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

static void come_back(struct coroutine *c) {
  gc_stack_switch(NULL);
  REQUIRE(swapcontext(c->here, c->back) == 0);
}

static void go_on(struct coroutine *c) {
  gc_stack_switch(c->stack);
  REQUIRE(swapcontext(c->back, c->here) == 0);
}

static void run_body(unsigned lo, unsigned hi) {
  struct coroutine *c = (struct coroutine *)((uintptr_t)hi << 32 | lo);
  c->body(c);
  c->over = true;
  for (;;) come_back(c);
}

/* memory NULL: mapped here */
static struct coroutine *coroutine_new(void (*body)(struct coroutine *), char *memory, size_t size) {
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

static void coroutine_delete(struct coroutine *c) {
  gc_stack_unregister(c->stack);
  REQUIRE(munmap(c->memory, c->size) == 0);
  free(c->here);
  free(c->back);
  free(c);
}

/* -- what sleeping and running ones hold -- */
static NOINLINE void hold_asleep(struct coroutine *c, void *head) {
  root held = head;
  head = NULL;
  come_back(c);
  REQUIRE(chain_ok(c->head, c->tag));
  gc_use(held);
}

static void make_and_hold(struct coroutine *c) {
  root held;
  c->head = chain_new(c->tag, &held);
  hold_asleep(c, held);
}

static NOINLINE struct coroutine *started(void (*body)(struct coroutine *), size_t size, uint64_t tag) {
  struct coroutine *c = coroutine_new(body, NULL, size);
  c->tag = tag;
  go_on(c);
  return c;
}

START_TEST(asleep) {
  struct coroutine *c = started(make_and_hold, 256 * KIB, 1);
  collect_hard();
  REQUIRE_MSG(chain_ok(c->head, 1), "a sleeping coroutine holds nothing");
  go_on(c);
  REQUIRE(c->over);
  coroutine_delete(c);
}
END_TEST

/* The last reference is in a register that a function must preserve, at the call of gc_stack_switch; what saves it afterwards
 * saves it below, or in the context. */
#if defined(__x86_64__)
void swap_back(struct coroutine *c);
void swap_back(struct coroutine *c) { REQUIRE(swapcontext(c->here, c->back) == 0); }

static NOINLINE void hold_in_rbx(struct coroutine *c) {
  root held;
  c->head = chain_new(c->tag, &held);
  held = NULL;
  scrub_stack();
  __asm__ volatile(
      "push %%rbx\npush %[c]\nmov %%rsp, %%rax\nsub $256, %%rsp\nand $-16, %%rsp\npush %%rax\npush %[c]\n"
      "mov %c[hid](%[c]), %%rbx\nnot %%rbx\n"
      "xor %%edi, %%edi\ncall gc_stack_switch\n"
      "mov (%%rsp), %%rdi\ncall swap_back\n"
      "not %%rbx\nmov (%%rsp), %%rdx\ncmp %c[hid](%%rdx), %%rbx\nje 1f\nud2\n1:\n"
      "pop %%rdx\npop %%rsp\npop %%rdx\npop %%rbx\n"
      : [c] "+d"(c)
      : [hid] "i"(offsetof(struct coroutine, head))
      : "rax", "rcx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc");
}

START_TEST(asleep_in_a_register) {
  struct coroutine *c = started(hold_in_rbx, 256 * KIB, 2);
  collect_hard();
  REQUIRE_MSG(chain_ok(c->head, 2), "what a coroutine had in rbx is lost");
  go_on(c);
  coroutine_delete(c);
}
END_TEST
#endif

static void collect_inside(struct coroutine *c) {
  root held;
  c->head = chain_new(c->tag, &held);
  collect_hard();
  REQUIRE(chain_ok(c->head, c->tag));
  gc_use(held);
}

/* The thread's own stack is asleep meanwhile. */
static NOINLINE hidden own_stack_holds(struct coroutine *c) {
  root held;
  hidden h = chain_new(4, &held);
  go_on(c);
  REQUIRE_MSG(chain_ok(h, 4), "the stack of the thread was not searched");
  gc_use(held);
  return h;
}

START_TEST(running) {
  struct coroutine *c = coroutine_new(collect_inside, NULL, 256 * KIB);
  c->tag = 3;
  own_stack_holds(c);
  REQUIRE(c->over);
  coroutine_delete(c);
}
END_TEST

/* A stack that is an array on the thread's own. */
static NOINLINE void run_on_array(void) {
  char memory[64 * KIB];
  struct coroutine *c = coroutine_new(make_and_hold, memory, sizeof memory);
  c->tag = 5;
  go_on(c);
  collect_hard();
  REQUIRE(chain_ok(c->head, 5));
  go_on(c);
  gc_stack_unregister(c->stack);
}
START_TEST(inside_the_own_stack) { run_on_array(); }
END_TEST

/* Words in the part of a stack that is not in use keep nothing, and it is not read. */
enum { LOOSE = 2000 };
static void make_loose(struct coroutine *c) {
  root *table = (root *)(void *)c->memory;
  hidden *h = hidden_new(LOOSE);
  for (size_t i = 0; i < LOOSE; i++) {
    table[i] = gc_alloc(80);
    h[i] = hide(table[i]);
  }
  c->head = hide(h);
  come_back(c);
}

static uint64_t stack_bytes(void) {
  static struct gc_stats s;
  gc_read_stats(&s);
  return s.stack_scan_bytes;
}

START_TEST(only_the_used_part) {
  uint64_t before;
  gc_collect();
  before = stack_bytes();
  struct coroutine *c = started(make_loose, 64 * MIB, 6);
  scrub_stack();
  gc_collect();
  REQUIRE_MOSTLY_GONE((hidden *)reveal(c->head), LOOSE);
  REQUIRE_MSG(stack_bytes() < before + 64 * KIB, "%" PRIu64 " bytes searched", stack_bytes() - before);
  coroutine_delete(c);
}
END_TEST

START_TEST(forgotten_when_unregistered) {
  struct coroutine *c = started(make_and_hold, 256 * KIB, 7);
  gc_stack_unregister(c->stack);
  scrub_stack();
  gc_collect();
  REQUIRE(gc_base(reveal(c->head)) == NULL);
}
END_TEST

/* What makecontext and its kind put at the top before the first switch. */
START_TEST(not_entered_yet) {
  root held;
  char *memory = mmap(NULL, 64 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(memory != MAP_FAILED);
  gc_stack *s = gc_stack_register(memory, memory + 64 * MIB);
  hidden h = chain_new(8, &held);
  *(root *)(void *)(memory + 64 * MIB - 16) = held;
  held = NULL;
  collect_hard();
  REQUIRE(chain_ok(h, 8));
  gc_stack_unregister(s);
}
END_TEST

/* Registered, and entered without a word: the stack pointer tells. */
START_TEST(entered_unannounced) {
  struct coroutine *c = coroutine_new(collect_inside, NULL, 256 * KIB);
  root held;
  hidden h = chain_new(9, &held);
  c->tag = 10;
  REQUIRE(swapcontext(c->back, c->here) == 0);
  REQUIRE(c->over && chain_ok(h, 9));
  gc_use(held);
  coroutine_delete(c);
}
END_TEST

/* -- between the call and the switch: another thread collects while this one stands there -- */
static atomic_int stage;

static NOINLINE void stand_between(struct coroutine *c, root fresh) {
  gc_stack_switch(c->stack);
  atomic_store(&stage, 1);
  while (atomic_load(&stage) == 1) sched_yield(); /* stopped here, and yet on the stack it said it leaves */
  REQUIRE(swapcontext(c->back, c->here) == 0);
  gc_use(fresh);
}

static void stand_in_body(struct coroutine *c) {
  root held;
  c->head = chain_new(c->tag, &held);
  gc_stack_switch(NULL);
  atomic_store(&stage, 3);
  while (atomic_load(&stage) == 3) sched_yield();
  REQUIRE(swapcontext(c->here, c->back) == 0);
  REQUIRE(chain_ok(c->head, c->tag));
  gc_use(held);
}

static hidden between_head;
static void *stand_and_switch(void *arg) {
  struct coroutine *c = arg;
  root held;
  between_head = chain_new(11, &held);
  stand_between(c, held);
  REQUIRE(chain_ok(between_head, 11));
  go_on(c);
  return NULL;
}

START_TEST(between_call_and_switch) {
  struct coroutine *c = coroutine_new(stand_in_body, NULL, 256 * KIB), *other = started(make_and_hold, 256 * KIB, 13);
  pthread_t t;
  c->tag = 12;
  REQUIRE(pthread_create(&t, NULL, stand_and_switch, c) == 0);
  while (atomic_load(&stage) != 1) sched_yield();
  collect_hard();
  REQUIRE_MSG(chain_ok(between_head, 11), "lost on the stack that is about to be left");
  atomic_store(&stage, 2);
  while (atomic_load(&stage) != 3) sched_yield();
  collect_hard();
  REQUIRE_MSG(chain_ok(c->head, 12), "lost on the coroutine that is about to be left");
  REQUIRE_MSG(chain_ok(between_head, 11), "lost on the stack that is about to be entered");
  atomic_store(&stage, 4);
  REQUIRE(pthread_join(t, NULL) == 0 && c->over);
  REQUIRE(chain_ok(other->head, 13));
  coroutine_delete(c);
}
END_TEST

/* -- a handler on the signal stack interrupts a coroutine -- */
static char signal_stack[128 * 1024];
static void collect_in_another(int signal) {
  (void)signal;
  atomic_store(&stage, 1);
  while (atomic_load(&stage) == 1) sched_yield();
}

/* Deeper than where the coroutine was left before. */
static NOINLINE void raise_holding(void *head) {
  volatile char frame[4096];
  root held = head;
  head = NULL;
  frame[0] = frame[4095] = 0;
  REQUIRE(raise(SIGUSR2) == 0);
  gc_use(held);
}

static void raise_in_body(struct coroutine *c) {
  root held;
  come_back(c);
  c->head = chain_new(c->tag, &held);
  void *copy = held;
  held = NULL;
  raise_holding(copy);
  come_back(c);
}

static void *be_interrupted(void *arg) {
  stack_t s = {.ss_sp = signal_stack, .ss_size = sizeof signal_stack};
  struct sigaction a = {.sa_handler = collect_in_another, .sa_flags = SA_ONSTACK};
  root held;
  REQUIRE(sigaltstack(&s, NULL) == 0 && sigaction(SIGUSR2, &a, NULL) == 0);
  between_head = chain_new(15, &held);
  go_on(arg);
  go_on(arg);
  gc_use(held);
  return NULL;
}

START_TEST(interrupted_on_the_signal_stack) {
  struct coroutine *c = coroutine_new(raise_in_body, NULL, 256 * KIB);
  pthread_t t;
  c->tag = 14;
  REQUIRE(pthread_create(&t, NULL, be_interrupted, c) == 0);
  while (atomic_load(&stage) != 1) sched_yield();
  collect_hard();
  REQUIRE_MSG(chain_ok(c->head, 14), "lost on the coroutine under a handler");
  REQUIRE_MSG(chain_ok(between_head, 15), "lost on the thread's own stack");
  atomic_store(&stage, 2);
  REQUIRE(pthread_join(t, NULL) == 0);
  coroutine_delete(c);
}
END_TEST

/* -- threads take turns on coroutines, beside cycles -- */
enum { COROUTINES = 12, RUNNERS = 3, VISITS = 4000, HOLDS = 8 };
static struct {
  pthread_mutex_t mutex;
  struct coroutine *queue[COROUTINES];
  size_t first, count;
  unsigned long visits;
} ready = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static struct coroutine *take_ready(void) {
  pthread_mutex_lock(&ready.mutex);
  struct coroutine *c = ready.count != 0 ? ready.queue[ready.first] : NULL;
  if (c != NULL) {
    ready.first = (ready.first + 1) % COROUTINES;
    ready.count--;
    ready.visits++;
  }
  pthread_mutex_unlock(&ready.mutex);
  return c;
}

static void put_ready(struct coroutine *c) {
  pthread_mutex_lock(&ready.mutex);
  ready.queue[(ready.first + ready.count++) % COROUTINES] = c;
  pthread_mutex_unlock(&ready.mutex);
}

static bool enough_visits(void) {
  pthread_mutex_lock(&ready.mutex);
  bool enough = ready.visits > VISITS * suite_scale() && beside_cycles() > 5;
  pthread_mutex_unlock(&ready.mutex);
  return enough;
}

/* At a depth that changes, objects in frames; one of them is made anew each time. */
static NOINLINE void deeper(struct coroutine *c, size_t depth, root from_above) {
  root held[HOLDS];
  for (uint64_t i = 0; i < HOLDS; i++) {
    held[i] = gc_alloc(40 + i * 8);
    REQUIRE(held[i] != NULL);
    pattern_fill(held[i], 40 + i * 8, c->tag + i);
  }
  for (int turn = 0; turn < 5; turn++) {
    come_back(c);
    size_t k = rng_below(&c->rng, HOLDS);
    for (uint64_t i = 0; i < HOLDS; i++)
      REQUIRE_MSG(gc_base(held[i]) == held[i] && pattern_ok(held[i], 40 + i * 8, c->tag + i), "lost");
    held[k] = gc_alloc(40 + k * 8);
    pattern_fill(held[k], 40 + k * 8, c->tag + k);
    if (depth > 0 && turn == 2) deeper(c, depth - 1, held[k]);
  }
  if (from_above != NULL) REQUIRE(gc_base(from_above) == from_above);
}

static void wander(struct coroutine *c) {
  c->rng.state = suite_seed() + c->tag;
  while (!enough_visits()) deeper(c, rng_below(&c->rng, 12), NULL);
}

static void *visit_coroutines(void *seed) {
  struct moves own;
  moves_init(&own, suite_seed() + (uintptr_t)seed);
  size_t over = 0;
  while (!enough_visits() || over < 100) {
    struct coroutine *c = take_ready();
    if (c != NULL && !c->over) go_on(c);
    if (c != NULL) put_ready(c);
    moves_run(&own, 5);
    over += enough_visits();
  }
  moves_check(&own);
  free(own.tag);
  return NULL;
}

static void threads_take_turns(void) {
  pthread_t t[RUNNERS];
  for (uint64_t i = 0; i < COROUTINES; i++) {
    struct coroutine *c = coroutine_new(wander, NULL, MIB);
    c->tag = i * 100;
    put_ready(c);
  }
  beside_begin(1000);
  for (uintptr_t i = 0; i < RUNNERS; i++) REQUIRE(pthread_create(&t[i], NULL, visit_coroutines, (void *)i) == 0);
  for (int i = 0; i < RUNNERS; i++) REQUIRE(pthread_join(t[i], NULL) == 0);
  beside_end();
  printf("%lu visits, %lu cycles", ready.visits, beside_cycles());
}

/* Born, run once and gone, beside cycles: registration is what changes. */
static void hold_once(struct coroutine *c) {
  root held;
  hidden h = chain_new(c->tag, &held);
  come_back(c);
  REQUIRE(chain_ok(h, c->tag));
  gc_use(held);
}

static void come_and_go(void) {
  beside_begin(200);
  for (uint64_t i = 0; i < 400 * suite_scale(); i++) {
    struct coroutine *c = started(hold_once, 128 * KIB, i);
    if (i % 16 == 0) beside_await(1);
    go_on(c);
    coroutine_delete(c);
  }
  beside_end();
}

/* In the child of a fork what another thread ran on is empty, and the rest goes on. */
static void spin_in_body(struct coroutine *c) {
  root held;
  c->head = chain_new(c->tag, &held);
  atomic_store(&stage, 1);
  while (atomic_load(&stage) == 1) sched_yield();
  REQUIRE(chain_ok(c->head, c->tag));
  gc_use(held);
}
static void *run_coroutine(void *c) {
  go_on(c);
  return NULL;
}

static void forks(void) {
  struct coroutine *mine = started(make_and_hold, 256 * KIB, 20),
                   *theirs = coroutine_new(spin_in_body, NULL, 256 * KIB);
  pthread_t t;
  int status;
  theirs->tag = 21;
  REQUIRE(pthread_create(&t, NULL, run_coroutine, theirs) == 0);
  while (atomic_load(&stage) != 1) sched_yield();
  pid_t pid = fork();
  if (pid == 0) {
    collect_hard();
    REQUIRE(chain_ok(mine->head, 20) && !chain_ok(theirs->head, 21));
    go_on(mine);
    coroutine_delete(theirs);
    coroutine_delete(mine);
    _exit(0);
  }
  REQUIRE(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  collect_hard();
  atomic_store(&stage, 2);
  REQUIRE(pthread_join(t, NULL) == 0);
}

/* -- arguments and misuse -- */
START_TEST(arguments) {
  char memory[4096];
  errno = 0;
  gc_stack *s = gc_stack_register(memory, memory);
  REQUIRE(s == NULL && errno == EINVAL);
  s = gc_stack_register(memory + 100, memory);
  REQUIRE(s == NULL && errno == EINVAL);
  gc_stack_unregister(NULL);
  gc_stack_switch(NULL);
  s = gc_stack_register(memory, memory + sizeof memory);
  REQUIRE(s != NULL);
  gc_stack_unregister(s);
  gc_stack *again = gc_stack_register(memory, memory + sizeof memory);
  REQUIRE(again == s); /* records are used again */
  gc_stack_unregister(again);
}
END_TEST

static char other_memory[256 * 1024];
static gc_stack *a_stack(void) {
  gc_stack *s = gc_stack_register(other_memory, other_memory + sizeof other_memory);
  REQUIRE(s != NULL);
  return s;
}
static void switch_foreign(void) { gc_stack_switch((gc_stack *)(void *)other_memory); }
static void switch_inside(void) { gc_stack_switch((gc_stack *)(void *)((char *)a_stack() + 8)); }
static void switch_gone(void) {
  gc_stack *s = a_stack();
  gc_stack_unregister(s);
  gc_stack_switch(s);
}
static void unregister_twice(void) {
  gc_stack *s = a_stack();
  gc_stack_unregister(s);
  gc_stack_unregister(s);
}
static void unregister_foreign(void) { gc_stack_unregister((gc_stack *)(void *)other_memory); }
static void unregister_in_use(void) {
  gc_stack *s = a_stack();
  gc_stack_switch(s);
  gc_stack_unregister(s);
}
static void *switch_to(void *s) {
  gc_stack_switch(s);
  return NULL;
}
static void two_threads_on_one(void) {
  gc_stack *s = a_stack();
  pthread_t t;
  gc_stack_switch(s);
  REQUIRE(pthread_create(&t, NULL, switch_to, s) == 0);
  (void)pthread_join(t, NULL);
}

START_TEST(misuse) {
  require_misuse(switch_foreign, "gc_stack_switch: ");
  require_misuse(switch_inside, "is not a registered stack");
  require_misuse(switch_gone, "is not a registered stack");
  require_misuse(unregister_twice, "gc_stack_unregister: ");
  require_misuse(unregister_foreign, "is not a registered stack");
  require_misuse(unregister_in_use, "a thread runs on the stack");
  require_misuse(two_threads_on_one, "another thread runs on the stack");
}
END_TEST

/* A thread that ends on a stack leaves it empty; it can be unregistered, or entered by another thread. */
START_TEST(thread_ends_on_a_stack) {
  gc_stack *s = a_stack();
  pthread_t t;
  for (int i = 0; i < 3; i++) REQUIRE(pthread_create(&t, NULL, switch_to, s) == 0 && pthread_join(t, NULL) == 0);
  gc_collect();
  gc_stack_unregister(s);
}
END_TEST

static const struct test_case cases[] = {
    {"threads_take_turns", threads_take_turns, NULL},
    {"come_and_go", come_and_go, NULL},
    {"forks", forks, NULL},
};

int main(int argc, char **argv) {
  int status = cases_run(argc, argv, CASES(cases));
  if (status >= 0) return status;
  Suite *s = suite_create("coroutines");
  TCase *tc = suite_case(s, "coroutines");
  tcase_add_test(tc, asleep);
#if defined(__x86_64__)
  tcase_add_test(tc, asleep_in_a_register);
#endif
  tcase_add_test(tc, running);
  tcase_add_test(tc, inside_the_own_stack);
  tcase_add_test(tc, only_the_used_part);
  tcase_add_test(tc, forgotten_when_unregistered);
  tcase_add_test(tc, not_entered_yet);
  tcase_add_test(tc, entered_unannounced);
  tcase_add_test(tc, between_call_and_switch);
  tcase_add_test(tc, interrupted_on_the_signal_stack);
  tcase_add_test(tc, arguments);
  tcase_add_test(tc, misuse);
  tcase_add_test(tc, thread_ends_on_a_stack);
  cases_add(s);
  return suite_main(s);
}
