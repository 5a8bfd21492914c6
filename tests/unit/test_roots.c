/* test_roots.c - gc/roots.h: what is on the list of roots, in pieces, each handed out once; user ranges. */
#include "unit.h"

#include "gc/roots.h"
#include "runtime/world.h"

enum { PIECES = 100000, TAKERS = 4 };

static struct range piece[PIECES];
static size_t pieces;

static void *in_data = &in_data, *in_bss;
static __thread void *in_tls = &in_bss;

/* Not inlined: its frame must lie below those of the tests, whose stacks are to be found. */
static GC_NOINLINE void gather(void) {
  roots_stop_and_gather(__builtin_frame_address(0), true);
  world_start();
}

/* All pieces of the list, from the front. */
static void list_all(void) {
  pieces = 0;
  roots_rewind();
  while (roots_take(&piece[pieces])) REQUIRE(++pieces < PIECES);
}

static size_t times_covered(const void *p) {
  size_t n = 0;
  for (size_t i = 0; i < pieces; i++) n += piece[i].lo <= (const char *)p && (const char *)p < piece[i].hi;
  return n;
}

static void gather_and_list(void) {
  gather();
  roots_seal();
  list_all();
}

/* ---- what is there by itself ---- */

struct waiter {
  atomic_u32 ready, go;
  void *volatile *on_stack, **tls;
};

static void *wait_below(void *arg) {
  struct waiter *w = arg;
  void *volatile local = arg;
  w->on_stack = &local;
  w->tls = &in_tls;
  in_tls = arg;
  atomic32_store_release(&w->ready, 1);
  await(&w->go, 1);
  return local;
}

START_TEST(data_stacks_and_tls) {
  pthread_t id;
  static struct waiter w;
  void *volatile local = &w;
  start_thread(&id, wait_below, &w);
  await(&w.ready, 1);
  in_tls = (void *)(uintptr_t)&local; /* touched: this thread has a block */
  gather_and_list();
  REQUIRE(times_covered(&in_data) == 1 && times_covered(&in_bss) == 1);
  REQUIRE(times_covered(&in_tls) >= 1 && times_covered(w.tls) >= 1 && w.tls != &in_tls);
  REQUIRE(times_covered((const void *)(uintptr_t)&local) == 1);
  REQUIRE(times_covered((const void *)(uintptr_t)w.on_stack) == 1);
  REQUIRE(roots_stack_bytes() > 0 && roots_stack_bytes() < roots_bytes());
  atomic32_store_release(&w.go, 1);
  pthread_join(id, NULL);
}
END_TEST

/* The library's own data would keep garbage alive. */
START_TEST(own_data_is_left_out) {
  gather_and_list();
  REQUIRE(times_covered(&heap) == 0 && times_covered(&options) == 0 &&
          times_covered((const void *)(uintptr_t)&thread_gate) == 0);
  REQUIRE(times_covered(&heap.spans) == 0);
}
END_TEST

START_TEST(pieces_are_small_and_aligned) {
  static char big[5 * ROOT_PIECE + 100];
  uint64_t sum = 0;
  REQUIRE(roots_add(big, big + sizeof big));
  gather_and_list();
  for (size_t i = 0; i < pieces; i++) {
    REQUIRE(piece[i].lo < piece[i].hi && (size_t)(piece[i].hi - piece[i].lo) <= ROOT_PIECE);
    REQUIRE((uintptr_t)piece[i].lo % 8 == 0 && (uintptr_t)piece[i].hi % 8 == 0);
    sum += (uint64_t)(piece[i].hi - piece[i].lo);
  }
  REQUIRE(sum == roots_bytes());
  for (size_t at = 8; at + 8 < sizeof big; at += 512) REQUIRE(times_covered(big + at) == 2); /* bss, and registered */
}
END_TEST

/* ---- user ranges: memory that is no root by itself ---- */

static char *area;

static void make_area(void) { REQUIRE((area = os_map(MIB)) != NULL); }

static void expect(size_t lo, size_t hi, size_t times) {
  for (size_t at = lo; at < hi; at += 8) REQUIRE_MSG(times_covered(area + at) == times, "offset %zu", at);
}

START_TEST(user_ranges) {
  gather_and_list();
  expect(0, 4096, 0);
  REQUIRE(roots_add(area + 64, area + 128) && roots_add(area + 1024, area + 2048) &&
          roots_add(area + 1024, area + 1032));
  gather_and_list();
  expect(0, 64, 0);
  expect(64, 128, 1);
  expect(128, 1024, 0);
  expect(1024, 1032, 2);
  expect(1032, 2048, 1);
  expect(2048, 4096, 0);
}
END_TEST

/* Words that lie only partly inside a range hold no whole pointer. */
START_TEST(odd_ranges) {
  REQUIRE(roots_add(area + 65, area + 90) && roots_add(area + 200, area + 200) && roots_add(area + 301, area + 303));
  REQUIRE(roots_add(area + 401, area + 409));
  gather_and_list();
  expect(0, 72, 0);
  expect(72, 88, 1);
  expect(88, 1000, 0);
}
END_TEST

/* Exactly the ranges that lie within. */
START_TEST(removal) {
  for (size_t i = 0; i < 10; i++) REQUIRE(roots_add(area + i * 100 * 8, area + i * 100 * 8 + 400));
  roots_remove(area + 801, area + 4000 + 400); /* 1 starts before it; 2 to 5 lie within */
  gather_and_list();
  for (size_t i = 0; i < 10; i++) expect(i * 800, i * 800 + 400, i >= 2 && i <= 5 ? 0 : 1);
  roots_remove(area + 4800, area + 4800 + 399); /* 6 ends behind it */
  gather_and_list();
  expect(4800, 5200, 1);
  roots_remove(area, area + MIB);
  roots_remove(area, area + MIB);
  gather_and_list();
  expect(0, 8192, 0);
}
END_TEST

START_TEST(many_ranges) {
  enum { MANY = 9000 };
  for (size_t i = 0; i < MANY; i++) REQUIRE(roots_add(area + i * 16, area + i * 16 + 8));
  gather_and_list();
  size_t found = 0;
  for (size_t i = 0; i < pieces; i++) found += piece[i].lo >= area && piece[i].lo < area + MIB;
  REQUIRE(found == MANY);
}
END_TEST

START_TEST(a_range_once) {
  for (int i = 0; i < 3; i++) REQUIRE(roots_add_once(area + 64, area + 128) && roots_add_once(area + 64, area + 120));
  gather_and_list();
  expect(64, 120, 2);
  expect(120, 128, 1);
}
END_TEST

/* Holes at both ends, in the middle, next to each other, around a whole range, and more than one range long. */
START_TEST(excluded_ranges) {
  for (size_t i = 0; i < 4; i++) REQUIRE(roots_add(area + i * 1000, area + i * 1000 + 800));
  static const size_t hole[][2] = {{0, 80}, {400, 480}, {480, 560}, {760, 800}, {1000, 1800}, {2400, 3400}};
  for (size_t i = 0; i < sizeof hole / sizeof *hole; i++) REQUIRE(roots_exclude(area + hole[i][0], area + hole[i][1]));
  gather_and_list();
  expect(0, 80, 0);
  expect(80, 400, 1);
  expect(400, 560, 0);
  expect(560, 760, 1);
  expect(760, 2000, 0);
  expect(2000, 2400, 1);
  expect(2400, 3400, 0);
  expect(3400, 3800, 1);
  roots_exclude_nothing();
  gather_and_list();
  for (size_t i = 0; i < 4; i++) expect(i * 1000, i * 1000 + 800, 1);
}
END_TEST

/* ---- what the program says in a stop for hints ---- */

static void say_area(void) { roots_add_range((struct range){area, area + 4096}); }

static size_t times_listed(const void *object) {
  size_t n = 0;
  for (size_t i = 0; i < pieces; i++)
    for (const char *at = piece[i].lo; at < piece[i].hi; at += sizeof(void *))
      n += racy_load_word(at) == (uintptr_t)object;
  return n;
}

/* The range is read at once: it may be gone when marking looks at the list. */
START_TEST(ranges_of_hints_are_copied) {
  void *object = gc_alloc(64);
  memcpy(area + 80, &object, sizeof object);
  roots_program_hook = say_area;
  REQUIRE(!roots_wants_hint_stop());
  roots_hint_stopped();
  REQUIRE(munmap(area, 4096) == 0);
  roots_seal();
  list_all();
  REQUIRE(times_listed(object) == 1 && times_covered(area + 80) == 0);
}
END_TEST

/* ---- single words, and takers at the same time ---- */

/* Reads whatever lies in a piece, like marking: the address sanitizer must not look. */
static GC_NO_SANITIZE GC_NOINLINE uintptr_t follow_words(const struct range *r, uintptr_t next, uintptr_t end) {
  for (const uintptr_t *w = (const void *)r->lo; (const char *)w < r->hi; w++)
    if (next < end && *w == next << 40) next++;
  return next;
}

START_TEST(single_words) {
  gather();
  for (uintptr_t i = 1; i <= 5000; i++) roots_add_word(NULL, (const void *)(i << 40));
  roots_seal();
  list_all();
  uintptr_t next = 1;
  for (size_t i = 0; i < pieces; i++) next = follow_words(&piece[i], next, 5001);
  REQUIRE_MSG(next == 5001, "word %lu is not on the list", (unsigned long)next);
}
END_TEST

static atomic_u32 taken[PIECES];

static void *take_pieces(void *unused) {
  for (struct range r; roots_take(&r);)
    for (size_t i = 0; i < pieces; i++)
      if (piece[i].lo == r.lo && piece[i].hi == r.hi) atomic32_add(&taken[i], 1);
  return unused;
}

START_TEST(each_piece_once) {
  pthread_t id[TAKERS];
  REQUIRE(roots_add(area, area + MIB));
  gather_and_list();
  roots_rewind();
  for (int i = 0; i < TAKERS; i++) start_thread(&id[i], take_pieces, NULL);
  for (int i = 0; i < TAKERS; i++) pthread_join(id[i], NULL);
  for (size_t i = 0; i < pieces; i++) REQUIRE(taken[i] == 1);
  REQUIRE(!roots_take(&(struct range){NULL, NULL}));
}
END_TEST

int main(void) {
  Suite *s = suite_create("roots");
  TCase *tc = suite_case(s, "roots");
  tcase_add_checked_fixture(tc, make_area, NULL);
  tcase_add_test(tc, data_stacks_and_tls);
  tcase_add_test(tc, own_data_is_left_out);
  tcase_add_test(tc, pieces_are_small_and_aligned);
  tcase_add_test(tc, user_ranges);
  tcase_add_test(tc, odd_ranges);
  tcase_add_test(tc, removal);
  tcase_add_test(tc, many_ranges);
  tcase_add_test(tc, a_range_once);
  tcase_add_test(tc, excluded_ranges);
  tcase_add_test(tc, ranges_of_hints_are_copied);
  tcase_add_test(tc, single_words);
  tcase_add_test(tc, each_piece_once);
  return suite_main(s);
}
