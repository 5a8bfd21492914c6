/* test_compact.c - gc_should_move and gc_reallocate: a program that walks its objects gets them into as few spans as can
 * hold them, in whatever order it walks, and none is moved for nothing. Each case runs in a process that loaded the
 * library afresh, marking beside the program and with the world stopped (cases.h).
 * Garbage is freed by hand where a test counts exactly: a stale word on a stack keeps nothing then. */
#include "cases.h"
#include "gc_frag.h"
#include "gc_stats.h"
#include "hide.h"

enum { EXAMPLE = 1 << 20, N = 1 << 17, PAGE = 8192 };
static root keep[EXAMPLE];
static struct gc_stats before, now;

/* Objects of 16 and of 32 bytes fill spans of one page: an object's page is its span. */
static uintptr_t span_of(const void *p) { return (uintptr_t)p / PAGE; }

static int by_address(const void *a, const void *b) {
  uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;
  return x < y ? -1 : x > y;
}

/* How many spans the first n kept objects lie in, objects that were dropped left out. */
static HELPER size_t count_spans(size_t n) {
  static uintptr_t page[EXAMPLE];
  size_t kept = 0, spans = 0;
  for (size_t i = 0; i < n; i++)
    if (keep[i] != NULL) page[kept++] = span_of(keep[i]);
  qsort(page, kept, sizeof *page, by_address);
  for (size_t i = 0; i < kept; i++) spans += i == 0 || page[i] != page[i - 1];
  return spans;
}

static void *make(size_t size, bool noscan, uint64_t tag) {
  void *p = noscan ? gc_alloc_noscan(size) : gc_alloc(size);
  REQUIRE(p != NULL);
  pattern_fill(p, size, tag);
  return p;
}

static void fill(size_t n, size_t size, bool noscan) {
  for (size_t i = 0; i < n; i++) keep[i] = make(size, noscan, i);
}

static void drop(size_t i) {
  gc_free(keep[i]);
  keep[i] = NULL;
}

static void check(size_t n, size_t size) {
  for (size_t i = 0; i < n; i++)
    if (keep[i] != NULL) REQUIRE_MSG(pattern_ok(keep[i], size, i), "object %zu is not what it was", i);
}

/* Reallocates object i; true when it moved. */
static bool move(size_t i) {
  void *p = keep[i];
  bool should = gc_should_move(p);
  keep[i] = gc_reallocate(p);
  REQUIRE_MSG((keep[i] != p) == should, "object %zu: should move: %d, moved: %d", i, should, keep[i] != p);
  return keep[i] != p;
}

enum order { FORWARD, BACKWARD, RANDOM, ORDERS };

/* All kept ones of the first n, in the order given; how many moved. */
static size_t walk(size_t n, enum order order) {
  static size_t at[EXAMPLE];
  struct rng r = {suite_seed() + order};
  size_t moved = 0;
  for (size_t i = 0; i < n; i++) at[i] = order == BACKWARD ? n - 1 - i : i;
  for (size_t i = n; order == RANDOM && i-- > 1;) {
    size_t j = rng_below(&r, i + 1), was = at[i];
    at[i] = at[j];
    at[j] = was;
  }
  for (size_t i = 0; i < n; i++) moved += keep[at[i]] != NULL && move(at[i]);
  return moved;
}

/* -- the article's Example 4, with gc_reallocate for new -- */

static void NOINLINE alone_in_their_spans(size_t n) {
  fill(n, 16, true);
  for (size_t i = 0; i < n; i++)
    if (i % 512 != 0) keep[i] = NULL;
}

static void example_4(void) {
  enum { KEPT = EXAMPLE / 512 };
  alone_in_their_spans(EXAMPLE);
  scrub_stack();
  gc_collect();
  REQUIRE(count_spans(EXAMPLE) == KEPT);
  gc_read_stats(&before);
  uint64_t objects = before.by_size[2].mallocs - before.by_size[2].frees;
  size_t least = (objects + 511) / 512, moved = walk(EXAMPLE, FORWARD);
  REQUIRE_MSG(objects < KEPT + 100, "%" PRIu64 " objects of 16 bytes are left", objects);
  check(EXAMPLE, 16);
  REQUIRE_MSG(count_spans(EXAMPLE) <= least, "%zu spans, not %zu", count_spans(EXAMPLE), least);
  REQUIRE(moved >= KEPT - least && walk(EXAMPLE, RANDOM) == 0);
  scrub_stack();
  gc_collect();
  gc_read_stats(&now);
  REQUIRE_MSG(before.heap_inuse - now.heap_inuse >= (KEPT - 10) * (uint64_t)PAGE, "only %" PRIu64 " bytes came back",
              before.heap_inuse - now.heap_inuse);
  check(EXAMPLE, 16);
  printf("%zu moved, %zu spans", moved, count_spans(EXAMPLE));
}

/* -- any density, any order -- */

/* Spans of every density; what is left after a cycle lies in few spans, and stays. */
static void compact_all(size_t size, bool noscan, enum order order) {
  struct rng r = {suite_seed()};
  size_t slots = PAGE / size, kept = 0;
  fill(N / 4, size, noscan);
  for (size_t span = 0; span < N / 4 / slots; span++)
    for (size_t i = 0, percent = rng_below(&r, 101); i < slots; i++)
      if (rng_below(&r, 100) >= percent) drop(span * slots + i);
  for (size_t i = 0; i < N / 4; i++) kept += keep[i] != NULL;
  gc_collect();
  size_t most = kept / (slots - slots / 8) + 2, was = count_spans(N / 4), moved = walk(N / 4, order);
  check(N / 4, size);
  REQUIRE_MSG(count_spans(N / 4) <= most, "order %d: %zu objects in %zu spans, before %zu", order, kept,
              count_spans(N / 4), was);
  REQUIRE_MSG(moved < kept, "all %zu moved", kept);
  REQUIRE_MSG(walk(N / 4, (order + 1) % ORDERS) == 0, "order %d: moved twice", order);
  gc_collect();
  size_t again = walk(N / 4, order);
  REQUIRE_MSG(again <= 2 * slots, "order %d: %zu of %zu moved again after a cycle", order, again, kept);
  check(N / 4, size);
  for (size_t i = 0; i < N / 4; i++) keep[i] = NULL;
  gc_collect();
}

static void every_order(void) {
  for (enum order order = FORWARD; order < ORDERS; order++) {
    compact_all(16, order % 2, order);
    compact_all(32, (order + 1) % 2, order);
  }
}

/* -- where to -- */

/* Of three spans the densest takes from the sparsest; the one in the middle is needed and kept. */
static void densest_first(void) {
  static const size_t live[] = {300, 10, 400}; /* of 512 slots */
  size_t n = 3 * 512;
  gc_disable();
  fill(n + 512, 16, false);
  size_t first = 0;
  while (span_of(keep[first]) == span_of(keep[first + 1])) first++; /* spans begin after it */
  first++;
  for (size_t s = 0; s < 3; s++)
    for (size_t i = live[s]; i < 512; i++) drop(first + s * 512 + i);
  for (size_t i = 0; i < n + 512; i++)
    if ((i < first || i >= first + n) && keep[i] != NULL) drop(i);
  gc_collect();
  uintptr_t span[3];
  for (size_t s = 0; s < 3; s++) span[s] = span_of(keep[first + s * 512]);
  for (size_t s = 0; s < 3; s++)
    for (size_t i = first + s * 512; i < first + s * 512 + live[s]; i++) {
      REQUIRE_MSG(move(i) == (s == 1), "object %zu of span %zu", i, s);
      REQUIRE_MSG(span_of(keep[i]) == span[s == 1 ? 2 : s], "object %zu of span %zu went elsewhere", i, s);
    }
  check(n + 512, 16);
  for (size_t i = 0; i < 200; i++) /* there is room for these in the other two, so that the sparse one comes free */
    REQUIRE(span_of(gc_alloc(16)) != span[1]);
  gc_enable();
}

/* gc_free may take a span out of those that are kept, even the one that takes what is moved just now. What is moved then
 * goes to one that is still kept, and stays; what the span holds already may move once more. */
static void freed_below_the_line(void) {
  enum { SIZE = 1024, SLOTS = PAGE / SIZE, SPANS = 7, MADE = (SPANS + 4) * SLOTS };
  static const size_t live[SPANS] = {6, 5, 5, 1, 1, 1, 1}; /* 20 objects: the first three can hold them */
  size_t first = 0;
  gc_disable();
  fill(MADE, SIZE, true);
  while ((uintptr_t)keep[first] % PAGE != 0) first++;
  for (size_t i = 0; i < MADE; i++)
    if (i < first || i - first >= SPANS * SLOTS || (i - first) % SLOTS >= live[(i - first) / SLOTS]) drop(i);
  gc_collect();
  uintptr_t second = span_of(keep[first + SLOTS]), third = span_of(keep[first + 2 * SLOTS]);
  for (size_t s = 3; s < 6; s++) REQUIRE(move(first + s * SLOTS));
  REQUIRE(span_of(keep[first + 5 * SLOTS]) == second); /* the first span is full */
  for (size_t i = 0; i < 4; i++) drop(first + SLOTS + i);
  REQUIRE(move(first + 6 * SLOTS) && span_of(keep[first + 6 * SLOTS]) == third);
  REQUIRE(!move(first + 6 * SLOTS));
  REQUIRE(move(first + 5 * SLOTS) && !move(first + 5 * SLOTS));
  check(MADE, SIZE);
  gc_enable();
}

/* A span with one slot free in eight is not worth emptying, though there is room elsewhere. */
static void dense_ones_stay(void) {
  gc_disable();
  fill(N / 4, 32, false);
  for (size_t i = 0; i < N / 4; i += 10) drop(i);
  gc_collect();
  size_t moved = walk(N / 4, RANDOM);
  REQUIRE_MSG(moved <= 512, "%zu objects of spans that are 90 %% full moved", moved); /* ends of the walk */
  check(N / 4, 32);
  gc_enable();
}

/* Spans that other threads and this one allocate from are left alone: what was just made stays. */
static void new_ones_stay(void) {
  for (size_t i = 0; i < 100; i++) keep[i] = make(16, false, i);
  for (size_t i = 0; i < 100; i++) REQUIRE(!move(i));
}

/* -- what is no candidate -- */

static void expect_stays(void *p, const char *what) {
  REQUIRE_MSG(!gc_should_move(p), "%s should move", what);
  REQUIRE_MSG(gc_reallocate(p) == p, "%s moved", what);
}

static void others_stay(void) {
  static char of_the_program[64];
  char on_the_stack[64];
  void *from_malloc = malloc(64);
  alone_in_their_spans(N);
  gc_collect();
  expect_stays(NULL, "NULL");
  expect_stays(of_the_program, "static data");
  expect_stays(on_the_stack, "a variable");
  expect_stays(from_malloc, "malloc's memory");
  expect_stays(gc_alloc(0), "the object of size 0");
  expect_stays((char *)keep[512] + 8, "an interior pointer");
  expect_stays(gc_alloc(100000), "a large object");
  free(from_malloc);
}

/* Objects that share a block cannot be told apart: none moves, and their block neither. */
static void tiny_ones_stay(void) {
  enum { STEP = 2048 }; /* 8-byte objects share blocks of 16 bytes */
  for (size_t i = 0; i < N; i++) keep[i] = make(8, true, i);
  for (size_t i = 0; i < N; i++)
    if (i % STEP != 0) keep[i] = NULL;
  scrub_stack();
  gc_collect();
  for (size_t i = 0; i < N; i += STEP) expect_stays(keep[i], "a tiny object");
  check(N, 8);
}

/* A slot that was a shared block is an object's own when it is given to a copy. */
static void copies_share_nothing(void) {
  size_t n = N / 4, moved = 0;
  for (size_t i = 0; i < n; i++) {
    keep[i] = make(16, true, i);
    if (i % 512 < 300) make(12, true, i); /* more than half of a block: each has its own */
  }
  for (size_t i = 0; i < n; i++)
    if (i % 3000 > 100) drop(i);
  scrub_stack();
  gc_collect();
  for (size_t i = 0; i < n; i++) {
    if (keep[i] == NULL) continue;
    moved += move(i);
    REQUIRE_MSG(gc_usable_size(keep[i]) == 16, "object %zu has become a shared block", i);
  }
  REQUIRE_MSG(moved > 100, "%zu moved", moved);
  check(n, 16);
}

/* -- same size, alignment, kind -- */

static void sparse(size_t size, size_t alignment, size_t step) {
  for (size_t i = 0; i < N / 8; i++) {
    keep[i] = alignment == 0 ? make(size, false, i) : gc_alloc_aligned(alignment, size);
    REQUIRE(keep[i] != NULL);
    pattern_fill(keep[i], size, i);
  }
  for (size_t i = 0; i < N / 8; i++)
    if (i % step != 0) drop(i);
  gc_collect();
}

static void same_size_and_alignment(void) {
  static const struct {
    size_t size, alignment, step;
  } kinds[] = {{8, 0, 999}, {24, 0, 300}, {48, 16, 171}, {64, 64, 99}, {100, 128, 60}, {300, 256, 20}, {4096, 4096, 5}};
  for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
    size_t moved = 0, step = kinds[k].step;
    sparse(kinds[k].size, kinds[k].alignment, step);
    for (size_t i = 0; i < N / 8; i += step) {
      size_t usable = gc_usable_size(keep[i]);
      moved += move(i);
      REQUIRE(gc_usable_size(keep[i]) == usable && gc_base(keep[i]) == keep[i]);
      if (kinds[k].alignment != 0) REQUIRE((uintptr_t)keep[i] % kinds[k].alignment == 0);
    }
    REQUIRE_MSG(moved >= N / 8 / step / 2, "size %zu: only %zu moved", kinds[k].size, moved);
    check(N / 8, kinds[k].size);
    for (size_t i = 0; i < N / 8; i += step) drop(i);
    gc_collect();
  }
}

/* A scanned object's copy keeps what it points to; a noscan one's does not. */
static void same_kind(void) {
  enum { STEP = 512, KEPT = N / 8 / STEP };
  for (int noscan = 0; noscan < 2; noscan++) {
    static hidden child[KEPT];
    for (size_t i = 0; i < N / 8; i++) keep[i] = make(16, noscan, i);
    for (size_t i = 0; i < N / 8; i++)
      if (i % STEP != 0) drop(i);
    gc_collect();
    for (size_t k = 0; k < KEPT; k++) {
      void *c = make(200, true, k), **object = keep[k * STEP];
      child[k] = hide(c);
      object[0] = c;
    }
    size_t moved = walk(N / 8, BACKWARD);
    REQUIRE_MSG(moved >= KEPT - 2, "%zu moved", moved);
    scrub_stack();
    gc_collect();
    if (noscan) REQUIRE_MOSTLY_GONE(child, KEPT);
    for (size_t k = 0; k < KEPT && !noscan; k++)
      REQUIRE(*(void **)keep[k * STEP] == reveal(child[k]) && pattern_ok(reveal(child[k]), 200, k));
    for (size_t i = 0; i < N / 8; i += STEP) drop(i);
  }
}

/* Each move is one allocation, and the old object one that is freed. */
static void statistics(void) {
  gc_disable();
  sparse(32, 0, 256);
  gc_read_stats(&before);
  size_t moved = walk(N / 8, FORWARD);
  gc_read_stats(&now);
  REQUIRE(moved > 0 && now.mallocs - before.mallocs == moved && now.frees == before.frees);
  REQUIRE(now.heap_objects - before.heap_objects == moved && now.heap_alloc - before.heap_alloc == 32 * moved);
  REQUIRE(now.total_alloc - before.total_alloc == 32 * moved && now.heap_inuse == before.heap_inuse);
  scrub_stack();
  gc_collect();
  gc_read_stats(&now);
  REQUIRE_MSG(now.frees - before.frees >= moved * 95 / 100, "%" PRIu64 " of %zu were freed", now.frees - before.frees,
              moved);
  gc_enable();
}

/* A program that does nothing but compact gets its cycles. */
static void cycles_come(void) {
  gc_disable();
  sparse(16, 0, 512);
  gc_read_stats(&before);
  gc_set_percent(0);
  gc_enable();
  REQUIRE(walk(N / 8, RANDOM) > 0);
  do gc_read_stats(&now); /* it may go on beside us */
  while (now.num_gc == before.num_gc);
  check(N / 8, 16);
}

static const struct test_case cases[] = {
    {"example_4", example_4, NULL},
    {"every_order", every_order, NULL},
    {"densest_first", densest_first, NULL},
    {"freed_below_the_line", freed_below_the_line, NULL},
    {"dense_ones_stay", dense_ones_stay, NULL},
    {"new_ones_stay", new_ones_stay, NULL},
    {"others_stay", others_stay, NULL},
    {"tiny_ones_stay", tiny_ones_stay, NULL},
    {"copies_share_nothing", copies_share_nothing, NULL},
    {"same_size_and_alignment", same_size_and_alignment, NULL},
    {"same_kind", same_kind, NULL},
    {"statistics", statistics, NULL},
    {"cycles_come", cycles_come, NULL},
};

int main(int argc, char **argv) { return cases_main(argc, argv, "compact", CASES(cases)); }
