/* test_places.c - every place of another thread that may hold the only reference to an object.
 * The control: a thread that holds nothing keeps nothing, so a pass says something. */
#include "park.h"

/* -- stack -- */
static void hold_stack(struct park *p) {
  root held = reveal(p->head);
  park_wait(p);
  gc_use(held);
}

static NOINLINE void deeper(struct park *p, int depth) {
  volatile char frame[4096];
  frame[0] = frame[4095] = 0;
  if (depth == 0)
    park_wait(p);
  else
    deeper(p, depth - 1);
  frame[1] = 0;
}

static void hold_deep_stack(struct park *p) {
  root held = reveal(p->head);
  deeper(p, 1000);
  gc_use(held);
}

/* An address into the middle of the head link, unaligned. */
static void hold_interior(struct park *p) {
  root held = (char *)reveal(p->head) + 13;
  park_wait(p);
  gc_use(held);
}

/* -- thread-local storage of the program -- */
static __thread root tls_word;
static __thread struct {
  char gap[1000];
  root word;
} tls_far;

static void hold_tls(struct park *p) {
  tls_word = reveal(p->head);
  park_wait(p);
  tls_word = NULL;
}

static void hold_tls_far(struct park *p) {
  tls_far.word = reveal(p->head);
  park_wait(p);
  tls_far.word = NULL;
}

/* -- pthread keys: the first 32 values lie in the thread's own control block, the others in memory from malloc -- */
static unsigned key_wanted;

static void hold_key(struct park *p) {
  pthread_key_t key;
  do REQUIRE(pthread_key_create(&key, NULL) == 0);
  while (key < key_wanted);
  REQUIRE(pthread_setspecific(key, reveal(p->head)) == 0);
  park_wait(p);
  REQUIRE(pthread_getspecific(key) == reveal(p->head));
}

/* -- blocked -- */
static void hold_in_read(struct park *p) {
  root held = reveal(p->head);
  char c;
  park_tell(p);
  REQUIRE(read(p->fd[0], &c, 1) == 1);
  gc_use(held);
}

static void hold_signals_blocked(struct park *p) {
  root held = reveal(p->head);
  sigset_t all;
  sigfillset(&all);
  REQUIRE(pthread_sigmask(SIG_SETMASK, &all, NULL) == 0);
  park_wait(p);
  gc_use(held);
}

static void hold_signals_blocked_and_read(struct park *p) {
  sigset_t all;
  sigfillset(&all);
  REQUIRE(pthread_sigmask(SIG_BLOCK, &all, NULL) == 0);
  hold_in_read(p);
}

static void hold_sigprocmask(struct park *p) {
  root held = reveal(p->head);
  sigset_t all;
  sigfillset(&all);
  REQUIRE(sigprocmask(SIG_BLOCK, &all, NULL) == 0);
  park_wait(p);
  gc_use(held);
}

static void hold_after_wait(struct park *p) {
  root held = reveal(p->head);
  pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t c = PTHREAD_COND_INITIALIZER;
  const struct timespec soon = {0, 0}; /* long past */
  REQUIRE(pthread_mutex_lock(&m) == 0);
  REQUIRE(pthread_cond_timedwait(&c, &m, &soon) == ETIMEDOUT);
  REQUIRE(pthread_mutex_unlock(&m) == 0);
  park_wait(p);
  gc_use(held);
}

START_TEST(stack) { check_place(hold_stack); }
END_TEST
START_TEST(deep_stack) { check_place(hold_deep_stack); }
END_TEST
START_TEST(interior) { check_place(hold_interior); }
END_TEST
START_TEST(static_tls) { check_place(hold_tls); }
END_TEST
START_TEST(static_tls_far) { check_place(hold_tls_far); }
END_TEST
static const unsigned keys[] = {0, 31, 32, 100, 1000};
START_TEST(key_value) {
  key_wanted = keys[_i];
  check_place(hold_key);
}
END_TEST
START_TEST(blocked_in_read) { check_place(hold_in_read); }
END_TEST
START_TEST(signals_blocked) { check_place(hold_signals_blocked); }
END_TEST
START_TEST(signals_blocked_in_read) { check_place(hold_signals_blocked_and_read); }
END_TEST
START_TEST(signals_blocked_by_sigprocmask) { check_place(hold_sigprocmask); }
END_TEST
START_TEST(after_a_wait) { check_place(hold_after_wait); }
END_TEST

/* -- registers -- */
#if defined(__x86_64__)
_Static_assert(offsetof(struct park, held) == offsetof(struct park, head) + 8, "used below");

/* Unhides into one register, tells, and spins until told to go on: the address is nowhere else. */
#define SPIN_WITH(NAME, PLACE, REMOVE, ...)                                                         \
  static NOINLINE void hold_##NAME(struct park *p) {                                                \
    scrub_stack();                                                                                  \
    __asm__ volatile(PLACE                                                                          \
                     "movq $0, 8(%[hid])\n" /* held */                                              \
                     "movl $1, (%[ready])\n"                                                        \
                     "1: pause\n"                                                                   \
                     "cmpl $0, (%[go])\n"                                                           \
                     "je 1b\n" REMOVE                                                               \
                     :                                                                              \
                     : [ready] "a"(&p->ready_word), [go] "d"(&p->go_word), [hid] "c"(&p->head.bits) \
                     : "memory", "cc", __VA_ARGS__);                                                \
  }

#define SPIN_GENERAL(REG) \
  SPIN_WITH(REG, "mov (%[hid]), %%" #REG "\nnot %%" #REG "\n", "xor %%" #REG ", %%" #REG "\n", #REG)
SPIN_GENERAL(rbx)
SPIN_GENERAL(rsi)
SPIN_GENERAL(rdi)
SPIN_GENERAL(r8)
SPIN_GENERAL(r9)
SPIN_GENERAL(r10)
SPIN_GENERAL(r11)
SPIN_GENERAL(r12)
SPIN_GENERAL(r13)
SPIN_GENERAL(r14)
SPIN_GENERAL(r15)

/* Compilers copy and exchange pairs of pointers through vector registers, so these count too. */
#define SPIN_VECTOR(REG)                                                                         \
  SPIN_WITH(REG, "movq (%[hid]), %%" #REG "\npcmpeqd %%xmm1, %%xmm1\npxor %%xmm1, %%" #REG "\n", \
            "pxor %%" #REG ", %%" #REG "\n", #REG, "xmm1")
SPIN_VECTOR(xmm0)
SPIN_VECTOR(xmm7)
SPIN_VECTOR(xmm15)

/* The 128 bytes below the stack pointer belong to the running function. The stack pointer is moved away
 * first, from what the compiler itself keeps there. */
SPIN_WITH(red_zone,
          "lea -512(%%rsp), %%rsp\n"
          "mov (%[hid]), %%r8\nnot %%r8\nmov %%r8, -128(%%rsp)\nxor %%r8, %%r8\n",
          "movq $0, -128(%%rsp)\nlea 512(%%rsp), %%rsp\n", "r8")

static void (*const registers[])(struct park *) = {hold_rbx, hold_rsi,  hold_rdi,  hold_r8,    hold_r9,
                                                   hold_r10, hold_r11,  hold_r12,  hold_r13,   hold_r14,
                                                   hold_r15, hold_xmm0, hold_xmm7, hold_xmm15, hold_red_zone};
#define REGISTERS ((int)(sizeof registers / sizeof *registers))

START_TEST(register_of_a_running_thread) {
  static struct park p;
  pthread_t t;
  park_start(&p, &t, registers[_i]);
  while (atomic_load(&p.ready_word) == 0) sched_yield();
  collect_hard();
  REQUIRE_MSG(chain_ok(p.head, p.tag), "register %d of the table is no root", _i);
  park_go(&p);
  REQUIRE(pthread_join(t, NULL) == 0);
}
END_TEST
#endif

/* -- the control -- */
enum { LOOSE = 2000 };
static hidden loose[LOOSE];

static NOINLINE void make_loose(void) {
  for (size_t i = 0; i < LOOSE; i++) {
    void *o = gc_alloc(80);
    REQUIRE(o != NULL);
    loose[i] = hide(o);
  }
}

static void hold_nothing(struct park *p) {
  make_loose();
  park_wait(p);
}

START_TEST(nothing_held_nothing_kept) {
  static struct park p;
  pthread_t t;
  park_start(&p, &t, hold_nothing);
  park_ready(&p);
  gc_collect();
  REQUIRE_MOSTLY_GONE(loose, LOOSE);
  park_go(&p);
  REQUIRE(pthread_join(t, NULL) == 0);
}
END_TEST

/* What a thread left on its stack keeps nothing once it has ended. */
static void hold_then_end(struct park *p) {
  root table[LOOSE];
  for (size_t i = 0; i < LOOSE; i++) {
    table[i] = gc_alloc(80);
    loose[i] = hide(table[i]);
  }
  tls_word = table[0];
  sem_post(&p->ready);
}

START_TEST(ended_thread_keeps_nothing) {
  static struct park p;
  pthread_t t;
  park_start(&p, &t, hold_then_end);
  park_ready(&p);
  REQUIRE(pthread_join(t, NULL) == 0);
  gc_collect();
  REQUIRE_MOSTLY_GONE(loose, LOOSE);
}
END_TEST

int main(void) {
  Suite *s = suite_create("places");
  TCase *tc = suite_case(s, "places");
  tcase_add_test(tc, stack);
  tcase_add_test(tc, deep_stack);
  tcase_add_test(tc, interior);
  tcase_add_test(tc, static_tls);
  tcase_add_test(tc, static_tls_far);
  tcase_add_loop_test(tc, key_value, 0, sizeof keys / sizeof *keys);
  tcase_add_test(tc, blocked_in_read);
  tcase_add_test(tc, signals_blocked);
  tcase_add_test(tc, signals_blocked_in_read);
  tcase_add_test(tc, signals_blocked_by_sigprocmask);
  tcase_add_test(tc, after_a_wait);
#if defined(__x86_64__)
  tcase_add_loop_test(tc, register_of_a_running_thread, 0, REGISTERS);
#endif
  tcase_add_test(tc, nothing_held_nothing_kept);
  tcase_add_test(tc, ended_thread_keeps_nothing);
  return suite_main(s);
}
