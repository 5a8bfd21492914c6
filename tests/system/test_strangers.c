/* test_strangers.c - threads that the library did not see being made: by the C library's own pthread_create, called behind
 * its back, and by a raw clone; what gc_thread_register and gc_thread_unregister do for them, and what happens to those
 * that end without a word. */
#include <dlfcn.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "beside.h"
#include "cases.h"
#include "gc_thread.h"
#include "misuse.h"
#include "moves.h"
#include "park.h"

/* -- the C library's pthread_create -- */
typedef int create_fn(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

static create_fn *libc_create(void) {
  void *found = dlsym(dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD), "pthread_create");
  create_fn *create;
  REQUIRE_MSG(found != NULL, "%s", dlerror());
  memcpy(&create, &found, sizeof create);
  REQUIRE(create != (create_fn *)pthread_create);
  return create;
}

static void start_stranger(pthread_t *t, void *(*body)(void *), void *arg) {
  REQUIRE(libc_create()(t, NULL, body, arg) == 0);
}

static struct park park;

static void *hold_in_stranger(void *how) {
  if (how != NULL) REQUIRE(gc_thread_register() == 0);
  return park_main(&park); /* else its first allocation registers it */
}

static void hold_on_stack(struct park *p) {
  root held = reveal(p->head);
  park_wait(p);
  gc_use(held);
}

START_TEST(strangers_stack_is_a_root) {
  pthread_t t;
  park.hold = hold_on_stack;
  park.tag = 1;
  REQUIRE(sem_init(&park.ready, 0, 0) == 0 && sem_init(&park.go, 0, 0) == 0 && pipe(park.fd) == 0);
  start_stranger(&t, hold_in_stranger, _i == 0 ? NULL : &park);
  park_ready(&park);
  collect_hard();
  REQUIRE(chain_ok(park.head, park.tag));
  park_go(&park);
  REQUIRE(pthread_join(t, NULL) == 0);
}
END_TEST

/* It is given an object before it has called anything: only registering in time makes its stack a root. */
static _Atomic(uintptr_t) handed_over; /* hidden */
static atomic_int stage;

static void *hold_given(void *unused) {
  REQUIRE(gc_thread_register() == 0);
  root held = (void *)~atomic_load(&handed_over);
  atomic_store(&stage, 1);
  while (atomic_load(&stage) == 1) sched_yield();
  gc_use(held);
  return unused;
}

START_TEST(registered_before_its_first_call) {
  pthread_t t;
  root held;
  hidden h = chain_new(2, &held);
  atomic_store(&handed_over, h.bits);
  start_stranger(&t, hold_given, NULL);
  while (atomic_load(&stage) == 0) sched_yield();
  held = NULL;
  collect_hard();
  REQUIRE(chain_ok(h, 2));
  atomic_store(&stage, 2);
  REQUIRE(pthread_join(t, NULL) == 0);
}
END_TEST

/* -- what the two return -- */
static void *call_both(void *stranger) {
  if (stranger != NULL) {
    REQUIRE(gc_thread_unregister() == -1 && errno == ESRCH);
    REQUIRE(gc_thread_register() == 0);
  }
  REQUIRE(gc_thread_register() == -1 && errno == EEXIST);
  refill(100, 64);
  REQUIRE(gc_thread_unregister() == 0);
  REQUIRE(gc_thread_unregister() == -1 && errno == ESRCH);
  for (int i = 0; i < 5; i++) {
    refill(100, 64); /* registers again */
    REQUIRE(gc_thread_register() == -1 && errno == EEXIST);
    gc_collect();
    REQUIRE(gc_thread_unregister() == 0);
    REQUIRE(gc_thread_register() == 0);
    REQUIRE(gc_thread_unregister() == 0);
  }
  return NULL;
}

START_TEST(results) {
  pthread_t t;
  REQUIRE(gc_thread_register() == -1 && errno == EEXIST);
  REQUIRE(gc_thread_unregister() == -1 && errno == EPERM);
  REQUIRE(pthread_create(&t, NULL, call_both, NULL) == 0 && pthread_join(t, NULL) == 0);
  start_stranger(&t, call_both, &t);
  REQUIRE(pthread_join(t, NULL) == 0);
  gc_collect();
}
END_TEST

static char stack_memory[256 * 1024];
static void *leave_on_a_stack(void *unused) {
  gc_stack *s = gc_stack_register(stack_memory, stack_memory + sizeof stack_memory);
  REQUIRE(s != NULL);
  gc_stack_switch(s);
  REQUIRE(gc_thread_unregister() == -1 && errno == EBUSY);
  gc_stack_switch(NULL);
  REQUIRE(gc_thread_unregister() == 0);
  gc_stack_unregister(s);
  return unused;
}

START_TEST(not_on_a_coroutines_stack) {
  pthread_t t;
  REQUIRE(pthread_create(&t, NULL, leave_on_a_stack, NULL) == 0 && pthread_join(t, NULL) == 0);
}
END_TEST

/* An unregistered thread keeps nothing, and is not stopped: it may stay where no signal reaches it. */
enum { LOOSE = 2000 };
static hidden loose[LOOSE];
static void *let_go(void *unused) {
  root table[LOOSE];
  for (size_t i = 0; i < LOOSE; i++) {
    table[i] = gc_alloc(80);
    loose[i] = hide(table[i]);
  }
  REQUIRE(gc_thread_unregister() == 0);
  atomic_store(&stage, 1);
  while (atomic_load(&stage) == 1) sched_yield();
  gc_use(table[0]);
  return unused;
}

START_TEST(unregistered_keeps_nothing) {
  pthread_t t;
  REQUIRE(pthread_create(&t, NULL, let_go, NULL) == 0);
  while (atomic_load(&stage) == 0) sched_yield();
  gc_collect();
  REQUIRE_MOSTLY_GONE(loose, LOOSE);
  atomic_store(&stage, 2);
  REQUIRE(pthread_join(t, NULL) == 0);
}
END_TEST

/* -- raw clones: a thread of the kernel's, with thread-local storage, of which the C library knows nothing -- */
#if defined(__x86_64__)
enum { CLONE_STACK = 128 * 1024 };
struct clone {
  char *stack, *tp;
  int (*body)(void *);
  atomic_int tid; /* set and woken by the kernel */
};

/* What pthread_create does to a new control block, as far as it matters: the block's own address, at 0 and at 16, and the two
 * guards (the x86-64 ABI of stack protectors; glibc's of mangled pointers). */
static char *new_tls(void) {
  void *(*allocate)(void *);
  void *found = dlsym(RTLD_DEFAULT, "_dl_allocate_tls");
  uintptr_t guard[2];
  if (found == NULL) return NULL;
  memcpy(&allocate, &found, sizeof allocate);
  char *tp = allocate(NULL);
  REQUIRE(tp != NULL);
  __asm__("mov %%fs:0x28, %0\nmov %%fs:0x30, %1" : "=r"(guard[0]), "=r"(guard[1]));
  memcpy(tp, &tp, sizeof tp);
  memcpy(tp + 16, &tp, sizeof tp);
  memcpy(tp + 0x28, guard, sizeof guard);
  return tp;
}

static bool start_clone(struct clone *c, int (*body)(void *), void *arg) {
  c->tp = new_tls();
  if (c->tp == NULL) return false;
  c->stack = mmap(NULL, CLONE_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(c->stack != MAP_FAILED);
  atomic_store(&c->tid, -1);
  const int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS |
                    CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
  REQUIRE(clone(body, c->stack + CLONE_STACK, flags, arg, &c->tid, c->tp, &c->tid) > 0);
  return true;
}

/* Its stack is unmapped as soon as the kernel says that it is gone; its TLS is left alone, since only the loader knows how. */
static void join_clone(struct clone *c) {
  for (int tid; (tid = atomic_load(&c->tid)) != 0;) syscall(SYS_futex, &c->tid, FUTEX_WAIT, tid, NULL, NULL, 0);
  REQUIRE(munmap(c->stack, CLONE_STACK) == 0);
}

static void leave_clone(bool unregister) {
  if (unregister) REQUIRE(gc_thread_unregister() == 0);
  syscall(SYS_exit, 0);
}

static int hold_in_clone(void *unregister) {
  (void)park_main(&park);
  leave_clone(unregister != NULL);
  return 0;
}

START_TEST(clones_stack_is_a_root) {
  struct clone c;
  park.hold = hold_on_stack;
  park.tag = 3;
  REQUIRE(sem_init(&park.ready, 0, 0) == 0 && sem_init(&park.go, 0, 0) == 0 && pipe(park.fd) == 0);
  if (!start_clone(&c, hold_in_clone, _i == 0 ? NULL : &park)) return;
  park_ready(&park);
  collect_hard();
  REQUIRE(chain_ok(park.head, park.tag));
  park_go(&park);
  join_clone(&c);
  collect_hard();
  REQUIRE(!chain_ok(park.head, park.tag));
}
END_TEST

/* They come and go beside cycles, half of them without a word, some in the middle of a blocking call. */
static int work_in_clone(void *how) {
  struct moves own;
  moves_init(&own, suite_seed() + (uintptr_t)how);
  moves_run(&own, 500);
  moves_check(&own);
  free(own.tag);
  if ((uintptr_t)how % 4 == 3) gc_blocking_begin();
  leave_clone((uintptr_t)how % 2 == 0);
  return 0;
}

static void clones_beside_cycles(void) {
  struct clone c[4];
  struct moves own;
  moves_init(&own, suite_seed());
  beside_begin(200);
  for (uintptr_t i = 0; i < 40 * suite_scale(); i += 4) {
    for (uintptr_t k = 0; k < 4; k++)
      if (!start_clone(&c[k], work_in_clone, (void *)(i + k))) exit(0);
    moves_run(&own, 500);
    for (int k = 0; k < 4; k++) join_clone(&c[k]);
  }
  beside_end();
  moves_check(&own);
}
#endif

/* -- many strangers -- */
static void *work_in_stranger(void *how) {
  struct moves own;
  if ((uintptr_t)how % 2 == 0) REQUIRE(gc_thread_register() == 0);
  moves_init(&own, suite_seed() + (uintptr_t)how);
  moves_run(&own, 2000);
  moves_check(&own);
  free(own.tag);
  if ((uintptr_t)how % 3 == 0) REQUIRE(gc_thread_unregister() == 0);
  return NULL;
}

static void strangers_beside_cycles(void) {
  pthread_t t[4];
  beside_begin(200);
  for (uintptr_t i = 0; i < 40 * suite_scale(); i += 4) {
    for (uintptr_t k = 0; k < 4; k++) start_stranger(&t[k], work_in_stranger, (void *)(i + k));
    for (int k = 0; k < 4; k++) REQUIRE(pthread_join(t[k], NULL) == 0);
  }
  beside_end();
}

static const struct test_case cases[] = {
    {"strangers_beside_cycles", strangers_beside_cycles, NULL},
#if defined(__x86_64__)
    {"clones_beside_cycles", clones_beside_cycles, NULL},
#endif
};

int main(int argc, char **argv) {
  int status = cases_run(argc, argv, CASES(cases));
  if (status >= 0) return status;
  Suite *s = suite_create("strangers");
  TCase *tc = suite_case(s, "strangers");
  tcase_add_loop_test(tc, strangers_stack_is_a_root, 0, 2);
  tcase_add_test(tc, registered_before_its_first_call);
  tcase_add_test(tc, results);
  tcase_add_test(tc, not_on_a_coroutines_stack);
  tcase_add_test(tc, unregistered_keeps_nothing);
#if defined(__x86_64__)
  tcase_add_loop_test(tc, clones_stack_is_a_root, 0, 2);
#endif
  cases_add(s);
  return suite_main(s);
}
