/* test_coroutines.c - stacks of coroutines: what is in use of them is searched, and no more. Many of them, and
 * many threads: test_coroutine_threads.c. */
#include "coroutine.h"
#include "gc_stats.h"

/* -- what sleeping and running ones hold -- */
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
  stack_t s = {.ss_sp = signal_stack, .ss_size = sizeof signal_stack}, before;
  struct sigaction a = {.sa_handler = collect_in_another, .sa_flags = SA_ONSTACK};
  root held;
  REQUIRE(sigaltstack(&s, &before) == 0 && sigaction(SIGUSR2, &a, NULL) == 0);
  between_head = chain_new(15, &held);
  go_on(arg);
  go_on(arg);
  gc_use(held);
  REQUIRE(sigaltstack(&before, NULL) == 0); /* a sanitizer has one, and gives it back when the thread ends */
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

int main(void) {
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
  return suite_main(s);
}
