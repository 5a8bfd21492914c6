/* test_lock.c - runtime/lock.h: one holder at a time, waiting where a stop may come, and the rank checker. */
#include <signal.h>

#include "unit.h"

#include "runtime/lock.h"
#include "runtime/world.h"

enum { THREADS_USED = 4, ROUNDS = 20000 };

static struct lock heap_like = LOCK_INIT(HEAP), cycle_like = LOCK_INIT(CYCLE);
static volatile uint64_t inside, entries, sum; /* plain: the lock alone protects them */

static void critical_section(void) {
  REQUIRE(inside == 0);
  inside = 1;
  entries++;
  sum = sum + entries;
  REQUIRE(inside == 1);
  inside = 0;
}

static void *use_lock(void *unused) {
  for (int i = 0; i < ROUNDS; i++) {
    thread_defer_stops();
    lock_acquire(&heap_like);
    critical_section();
    lock_release(&heap_like);
    thread_allow_stops();
  }
  return unused;
}

static void *use_stoppable(void *unused) {
  for (int i = 0; i < ROUNDS; i++) {
    lock_acquire_stoppable(&cycle_like);
    REQUIRE(tl_thread->defer == 1);
    critical_section();
    lock_release_stoppable(&cycle_like);
    REQUIRE(tl_thread->defer == 0);
  }
  return unused;
}

static void *use_try(void *unused) {
  for (int done = 0; done < ROUNDS;) {
    thread_defer_stops();
    bool ours = lock_try(&heap_like);
    if (ours) {
      critical_section();
      lock_release(&heap_like);
    }
    thread_allow_stops();
    done += ours;
  }
  return unused;
}

static void *(*const users[])(void *) = {use_lock, use_stoppable, use_try};

START_TEST(one_holder_at_a_time) {
  pthread_t id[THREADS_USED];
  uint64_t n = THREADS_USED * ROUNDS;
  for (int i = 0; i < THREADS_USED; i++) start_thread(&id[i], users[_i], NULL);
  for (int i = 0; i < THREADS_USED; i++) pthread_join(id[i], NULL);
  REQUIRE(entries == n && sum == n * (n + 1) / 2);
  REQUIRE(heap_like.state == 0 && cycle_like.state == 0);
}
END_TEST

START_TEST(try_fails_while_held) {
  struct lock other = LOCK_INIT(META);
  REQUIRE(lock_try(&heap_like) && !lock_try(&heap_like));
  lock_acquire(&other);
  lock_release(&heap_like); /* not in reverse order: allowed */
  REQUIRE(!lock_try(&other));
  lock_release(&other);
  REQUIRE(lock_try(&heap_like));
  lock_release(&heap_like);
}
END_TEST

/* ---- the stoppable wait ---- */

static atomic_u32 got_it;

static void *wait_for_cycle(void *unused) {
  lock_acquire_stoppable(&cycle_like);
  atomic32_store_release(&got_it, 1);
  lock_release_stoppable(&cycle_like);
  return unused;
}

/* The waiting thread can be stopped, again and again; the lock is its own only once it was released. */
START_TEST(stopped_while_waiting) {
  pthread_t id;
  lock_acquire_stoppable(&cycle_like);
  start_thread(&id, wait_for_cycle, NULL);
  await(&cycle_like.waiters, 1); /* it waits */
  for (int i = 0; i < 50; i++) {
    world_stop(__builtin_frame_address(0), true);
    REQUIRE(world_is_stopped() && atomic32_load_acquire(&got_it) == 0);
    world_start();
  }
  REQUIRE(atomic32_load_acquire(&got_it) == 0);
  lock_release_stoppable(&cycle_like);
  pthread_join(id, NULL);
  REQUIRE(atomic32_load_acquire(&got_it) == 1 && cycle_like.state == 0 && cycle_like.waiters == 0);
}
END_TEST

/* ---- ranks ---- */

START_TEST(ranks_in_order) {
  struct lock l[LOCK_RANKS];
  for (unsigned i = 0; i < LOCK_RANKS; i++) {
    l[i] = (struct lock){.rank = i};
    lock_acquire(&l[i]);
  }
  for (unsigned i = LOCK_RANKS; i-- > 0;) lock_release(&l[i]);
  for (unsigned i = 0; i < LOCK_RANKS; i++) lock_acquire(&l[i]);
  for (unsigned i = 0; i < LOCK_RANKS; i++) lock_release(&l[i]);
}
END_TEST

#if GC_DEBUG
START_TEST(held_is_known) {
  REQUIRE(!lock_is_held(&heap_like));
  lock_acquire(&heap_like);
  REQUIRE(lock_is_held(&heap_like) && !lock_is_held(&cycle_like));
  lock_release(&heap_like);
  REQUIRE(!lock_is_held(&heap_like));
}
END_TEST

/* Pair _i of ranks, the later one first; equal ranks too. */
START_TEST(wrong_order_aborts) {
  unsigned first = (unsigned)_i / LOCK_RANKS, second = (unsigned)_i % LOCK_RANKS;
  struct lock a = {.rank = first}, b = {.rank = second};
  if (second > first) abort(); /* the right order: not a pair of this test */
  lock_acquire(&a);
  lock_acquire(&b);
}
END_TEST

START_TEST(release_of_a_free_lock_aborts) { lock_release(&heap_like); }
END_TEST

static void take_wrongly(void *unused) {
  struct lock central = LOCK_INIT(CENTRAL);
  pid_t child;
  (void)unused;
  if ((child = fork()) == 0) {
    lock_acquire(&heap_like);
    lock_acquire(&central);
    _exit(0);
  }
  int status = 0;
  REQUIRE(child > 0 && waitpid(child, &status, 0) == child);
  REQUIRE(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

START_TEST(wrong_order_names_both) {
  char text[500];
  capture_stderr(take_wrongly, NULL, text, sizeof text);
  REQUIRE_MSG(strstr(text, "lock rank: CENTRAL taken while HEAP is held") != NULL, "said '%s'", text);
}
END_TEST

static void add_debug_tests(Suite *s) {
  TCase *tc = suite_case(s, "ranks");
  tcase_add_test(tc, held_is_known);
  tcase_add_loop_test_raise_signal(tc, wrong_order_aborts, SIGABRT, 0, LOCK_RANKS * LOCK_RANKS);
  tcase_add_test_raise_signal(tc, release_of_a_free_lock_aborts, SIGABRT);
  tcase_add_test(tc, wrong_order_names_both);
}
#else
static void add_debug_tests(Suite *s) { (void)s; }
#endif

int main(void) {
  Suite *s = suite_create("lock");
  TCase *tc = suite_case(s, "lock");
  tcase_add_loop_test(tc, one_holder_at_a_time, 0, 3);
  tcase_add_test(tc, try_fails_while_held);
  tcase_add_test(tc, stopped_while_waiting);
  tcase_add_test(tc, ranks_in_order);
  add_debug_tests(s);
  return suite_main(s);
}
