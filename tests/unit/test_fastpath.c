/* test_fastpath.c - a thread may be stopped at any instruction of the allocation fast path (INV-FAST-1).
 * Owns:     a processor that traps after every instruction of thread A, and thread B, which collects at each.
 * How:      A sets the trap flag and allocates. After each instruction the trap handler, on A, hands over to
 *           B and waits. B runs a full collection - A is stopped inside the handler, its registers in the
 *           signal frame on its stack - and fills many slots of the same class with a pattern. Then A does
 *           its next instruction. Every instruction of the path sees a collection before and after it.
 * One path is sampled (alloc/sample.h): there the whole noting of the call stack is stepped through, too.
 * Then:     A's object must be allocated, zero, nobody else's, and stay what A wrote.
 * The paths through the refill are stepped too, but a thread that defers stops is not handed over there: B
 * would wait for it for ever. */
#include "unit.h"

#if defined(__x86_64__) && defined(__linux__)

#include <signal.h>
#include <ucontext.h>

#include "gc_frag.h"
#include "hide.h"

#define TRAP_FLAG 0x100
#define B_OBJECTS 256 /* as many as are slots in four groups */
#define A_OBJECTS 64
#define PLACES 4096 /* distinct instructions counted */

enum { TURN_A, TURN_B, TURN_END };

static atomic_u32 turn;
static void *volatile table_a[A_OBJECTS], *volatile table_b[B_OBJECTS]; /* roots */
static unsigned made_a;
static volatile unsigned steps, handovers, deferred;
static uintptr_t place[PLACES];
static volatile unsigned places;
static size_t b_size;
static bool b_noscan;
static uint64_t b_round;

/* ---- thread B ---- */

static size_t b_bytes(void) { return b_size; }

static void *b_alloc(void) { return b_noscan ? gc_alloc_noscan(b_size) : gc_alloc(b_size); }

/* What B wrote the last time is still there; then B has other objects, in slots that came free. */
static void b_replace(size_t i) {
  void *old = table_b[i];
  REQUIRE_MSG(old == NULL || pattern_ok(old, b_bytes(), (b_round - 1) * B_OBJECTS + i),
              "B's object %zu was overwritten", i);
  void *p = b_alloc();
  REQUIRE(p != NULL);
  pattern_fill(p, b_bytes(), b_round * B_OBJECTS + i);
  table_b[i] = p;
}

static void b_collect_and_fill(void) {
  gc_collect();
  b_round++;
  for (size_t i = 0; i < B_OBJECTS; i++) b_replace(i);
  for (size_t i = 0; i < B_OBJECTS; i++)
    for (size_t j = 0; j < made_a; j++) REQUIRE_MSG(table_b[i] != table_a[j], "A and B have the same object");
}

static void *b_body(void *unused) {
  (void)unused;
  for (;;) {
    unsigned now = atomic32_load_acquire(&turn);
    if (now == TURN_END) return NULL;
    if (now == TURN_A) {
      os_futex_wait(&turn, TURN_A, 0);
      continue;
    }
    b_collect_and_fill();
    atomic32_store_release(&turn, TURN_A);
    os_futex_wake(&turn, 1);
  }
}

static void hand_over(void) {
  atomic32_store_release(&turn, TURN_B);
  os_futex_wake(&turn, 1);
  while (atomic32_load_acquire(&turn) == TURN_B) os_futex_wait(&turn, TURN_B, 0);
}

/* ---- thread A ---- */

static void note_place(uintptr_t at) {
  for (unsigned i = 0; i < places; i++)
    if (place[i] == at) return;
  if (places < PLACES) place[places++] = at;
}

/* Runs between two instructions of A. */
static void on_trap(int signal, siginfo_t *info, void *context) {
  const ucontext_t *c = context;
  int saved = errno;
  (void)signal;
  (void)info;
  steps++;
  if (tl_thread->defer != 0) {
    deferred++;
  } else {
    note_place((uintptr_t)c->uc_mcontext.gregs[REG_RIP]);
    handovers++;
    hand_over();
  }
  errno = saved;
}

/* The stack pointer steps over the red zone, which the compiler may be using. */
#define SET_FLAGS(change, mask)                                                                                   \
  __asm__ volatile("lea -128(%%rsp), %%rsp\n\tpushfq\n\t" change " %0, (%%rsp)\n\tpopfq\n\tlea 128(%%rsp), %%rsp" \
                   :                                                                                              \
                   : "i"(mask)                                                                                    \
                   : "memory", "cc")

static NOINLINE void *stepped(void *(*alloc)(size_t), size_t size) {
  SET_FLAGS("orq", TRAP_FLAG);
  void *p = alloc(size);
  SET_FLAGS("andq", ~TRAP_FLAG);
  return p;
}

static void trap_with(void (*handler)(int, siginfo_t *, void *)) {
  struct sigaction action = {0};
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO;
  sigemptyset(&action.sa_mask); /* the stop signal must come through */
  REQUIRE(sigaction(SIGTRAP, &action, NULL) == 0);
}

/* Slots left in A's group, so that the path of the next allocations is known. */
static unsigned slots_left(size_t size, bool noscan) {
  uint64_t free_slots = tl_cache->group[span_class(size_class(size), noscan)].free;
  return (unsigned)__builtin_popcountll(free_slots);
}

struct path {
  const char *name;
  size_t size;
  bool noscan, tiny, refill; /* refill: the group is used up first */
  unsigned times;
  bool sampled;
};

static const struct path paths[] = {
    {"sampled, 48 bytes", 48, false, false, true, 1, true}, {"8 bytes", 8, false, false, false, 2, false},
    {"16 bytes", 16, false, false, false, 3, false},        {"48 bytes", 48, false, false, false, 3, false},
    {"112 bytes", 112, false, false, false, 2, false},      {"256 bytes", 256, false, false, false, 2, false},
    {"noscan, 16 bytes", 16, true, false, false, 3, false}, {"noscan, 48 bytes", 48, true, false, false, 3, false},
    {"tiny, 5 bytes", 5, true, true, false, 3, false},      {"tiny, 8 bytes", 8, true, true, false, 1, false},
    {"refill, 48 bytes", 48, false, false, true, 1, false}, {"refill, noscan", 64, true, false, true, 1, false},
    {"refill, tiny", 12, true, true, true, 1, false},
};
enum { PATHS = sizeof paths / sizeof paths[0] };

static void *allocate(const struct path *p) { return p->noscan ? gc_alloc_noscan(p->size) : gc_alloc(p->size); }

/* A's cache gets slots of its own (or, for the refill, has none left). */
static void prepare(const struct path *p) {
  unsigned wanted = p->times + 1;
  for (int i = 0; i < 100 && !p->tiny && slots_left(p->size, p->noscan) < wanted; i++) REQUIRE(allocate(p) != NULL);
  while (p->refill && !p->tiny && slots_left(p->size, p->noscan) > 0) REQUIRE(allocate(p) != NULL);
  if (p->tiny) REQUIRE(gc_alloc_noscan(1) != NULL); /* a block with 15 bytes left */
  if (p->tiny && p->refill) tl_cache->tiny = tl_cache->tiny_end;
  if (p->sampled) { /* the next object of A, and none of B's */
    gc_profile_set_rate((uint64_t)1 << 60);
    sampler_restart(&tl_cache->sampler);
    tl_cache->sampler.until = 1;
  }
}

static void check_new(const struct path *p, const char *o) {
  REQUIRE(o != NULL);
  const char *base = gc_base(o);
  REQUIRE_MSG(base != NULL && (p->tiny ? o - base < TINY_SIZE : o == base), "%s: what came back is not allocated",
              p->name);
  REQUIRE_MSG(p->noscan || all_zero(o, p->size), "%s: the new object is not zero", p->name);
  for (unsigned i = 0; i < made_a; i++) REQUIRE_MSG(table_a[i] != o, "%s: object given out twice", p->name);
}

static void check_all_of_a(const struct path *p) {
  for (unsigned i = 0; i < made_a; i++)
    REQUIRE_MSG(pattern_ok(table_a[i], p->size, UINT64_C(0xa) << 32 | i), "%s: A's object %u was overwritten", p->name,
                i);
}

/* In torture builds each allocation takes the slow path, where stops are deferred most of the time. */
static void check_steps(const struct path *p) {
  REQUIRE_MSG(steps > 20 && places > 20, "%s: only %u steps, %u places", p->name, steps, places);
  REQUIRE(handovers + deferred == steps);
  if (!p->refill && !GC_TORTURE) REQUIRE_MSG(deferred == 0, "%s: left the fast path", p->name);
  if (p->refill) REQUIRE(deferred > 0);
}

START_TEST(stopped_at_every_instruction) {
  const struct path *p = &paths[_i];
  pthread_t b;
  quiet_heap();
  b_size = p->size;
  b_noscan = p->noscan;
  own_test_cache();
  start_thread(&b, b_body, NULL);
  prepare(p);
  hand_over(); /* B has objects before the first step */
  trap_with(on_trap);
  for (unsigned i = 0; i < p->times; i++) {
    char *o = stepped(p->noscan ? gc_alloc_noscan : gc_alloc, p->size);
    check_new(p, o);
    pattern_fill(o, p->size, UINT64_C(0xa) << 32 | made_a);
    table_a[made_a++] = o;
  }
  check_steps(p);
  REQUIRE(sample_totals().taken == (p->sampled ? 1 : 0));
  flush_own_cache(); /* now B may be given the spans that A's objects are in */
  for (int i = 0; i < 4; i++) hand_over();
  check_all_of_a(p);
  atomic32_store_release(&turn, TURN_END);
  os_futex_wake(&turn, 1);
  pthread_join(b, NULL);
  REQUIRE_WHOLE();
}
END_TEST

int main(void) {
  Suite *s = suite_create("fastpath");
#ifdef __SANITIZE_ADDRESS__
  int first = 1; /* the sanitizer stands in front of the C library: noting a stack is minutes of single steps */
#else
  int first = 0;
#endif
  tcase_add_loop_test(suite_case(s, "fastpath"), stopped_at_every_instruction, first, PATHS);
  return suite_main(s);
}

#else
int main(void) { return suite_main(suite_create("fastpath")); }
#endif
