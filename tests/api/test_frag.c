/* test_frag.c - gc_read_frag on layouts whose figures are known, its agreement with gc_read_stats, its text forms, and
 * gc_advice. Beside other threads and cycles: tests/system/test_frag_beside.c. */
#include <unistd.h>

#include "gc_stats.h"
#include "layout.h"

/* Too big for small test stacks, and no roots should hide in it. */
static struct gc_frag frag;
static struct gc_stats stats;

static uint64_t os_page(void) { return (uint64_t)sysconf(_SC_PAGESIZE); }

/* The scanned class of this slot size. */
static const struct gc_frag_class *class_of(uint64_t size) {
  for (unsigned sc = 2; sc < GC_FRAG_CLASSES; sc += 2)
    if (frag.by_class[sc].size == size) return &frag.by_class[sc];
  ck_abort_msg("no class of %" PRIu64 " bytes", size);
}

#define SAME(field) \
  REQUIRE_MSG(found->field == expected->field, #field ": %" PRIu64 ", not %" PRIu64, found->field, expected->field)

static void compare(const struct gc_frag_class *found, const struct gc_frag_class *expected) {
  SAME(size);
  SAME(spans);
  SAME(span_bytes);
  SAME(slots);
  SAME(objects);
  SAME(live_bytes);
  SAME(free_bytes);
  SAME(exactly_one);
  SAME(by_compaction);
  SAME(by_os_pages);
  for (int i = 0; i < GC_FRAG_BINS; i++) SAME(histogram[i]);
}

/* Sums, and what holds for any class. */
static void check_sums(void) {
  static struct gc_frag_class sum;
  memset(&sum, 0, sizeof sum);
  for (unsigned sc = 0; sc < GC_FRAG_CLASSES; sc++) {
    const struct gc_frag_class *c = &frag.by_class[sc];
    uint64_t in_bins = 0;
    for (int i = 0; i < GC_FRAG_BINS; i++) {
      in_bins += c->histogram[i];
      sum.histogram[i] += c->histogram[i];
    }
    REQUIRE(in_bins == c->spans && c->exactly_one <= c->spans && c->objects <= c->slots);
    REQUIRE(sc < 2 || c->live_bytes == c->objects * c->size);
    REQUIRE(c->live_bytes + c->free_bytes == c->span_bytes);
    REQUIRE(c->by_compaction <= c->free_bytes && c->by_os_pages <= c->free_bytes);
    REQUIRE(c->by_pairing <= c->span_bytes / 2 && c->by_pairing <= c->by_compaction);
    sum.spans += c->spans;
    sum.span_bytes += c->span_bytes;
    sum.slots += c->slots;
    sum.objects += c->objects;
    sum.live_bytes += c->live_bytes;
    sum.free_bytes += c->free_bytes;
    sum.exactly_one += c->exactly_one;
    sum.by_compaction += c->by_compaction;
    sum.by_os_pages += c->by_os_pages;
    sum.by_pairing += c->by_pairing;
  }
  REQUIRE(frag.total.size == 0);
  REQUIRE(memcmp(&sum, &frag.total, sizeof sum) == 0);
}

static void read_frag(void) {
  gc_read_frag(&frag);
  REQUIRE(frag.struct_size == sizeof frag);
  check_sums();
}

/* ---- layouts ---- */

static bool every_512th(size_t span, size_t slot) {
  (void)span;
  return slot == 17;
}
static bool another_each(size_t span, size_t slot) { return slot == span; }
static bool odd_and_even(size_t span, size_t slot) { return slot % 2 == span % 2; }
static bool lower_half(size_t span, size_t slot) {
  (void)span;
  return slot < 256;
}
static bool all(size_t span, size_t slot) {
  (void)span;
  (void)slot;
  return true;
}
static bool every_fourth_span(size_t span, size_t slot) {
  (void)slot;
  return span % 4 == 0;
}

enum { SPANS = 64 };

/* Of 64 spans with 512 slots of 16 bytes; bytes in heap pages. OS pages only where they are of 4 KiB. */
static const struct known {
  bool (*keep)(size_t span, size_t slot);
  uint64_t spans, objects, exactly_one, bin, by_compaction, os_pages, by_pairing;
} known[] = {
    {every_512th, 64, 64, 64, 0, 63, 64, 0}, /* the article's Example 3: all in the same place, so no pairs */
    {another_each, 64, 64, 64, 0, 63, 64, 32},        {odd_and_even, 64, 64 * 256, 0, 5, 32, 0, 32},
    {lower_half, 64, 64 * 256, 0, 5, 32, 64, 0},      {all, 64, 64 * 512, 0, 9, 0, 0, 0},
    {every_fourth_span, 16, 16 * 512, 0, 9, 0, 0, 0},
};

START_TEST(known_layouts) {
  const struct known *k = &known[_i];
  layout_fill(16, 512, PAGE, SPANS);
  layout_keep(k->keep);
  read_frag();
  const struct gc_frag_class *c = class_of(16);
  REQUIRE(c->spans == k->spans && c->span_bytes == k->spans * PAGE && c->slots == k->spans * 512);
  REQUIRE(c->objects == k->objects && c->live_bytes == k->objects * 16);
  REQUIRE(c->free_bytes == k->spans * PAGE - k->objects * 16);
  REQUIRE(c->exactly_one == k->exactly_one && c->histogram[k->bin] == k->spans);
  REQUIRE(c->by_compaction == k->by_compaction * PAGE);
  REQUIRE_MSG(c->by_pairing == k->by_pairing * PAGE, "%" PRIu64 " by pairing", c->by_pairing);
  if (os_page() == 4096) REQUIRE_MSG(c->by_os_pages == k->os_pages * 4096, "%" PRIu64 " by OS pages", c->by_os_pages);
}
END_TEST

/* Classes with slots that lie on two OS pages, spans of several pages, and what is left over at the end. */
static const struct {
  size_t size, slots, pages;
} classes[] = {{8, 1024, 1}, {16, 512, 1}, {48, 170, 1}, {1408, 11, 2}, {2688, 3, 1}, {9472, 6, 7}, {32768, 1, 4}};
enum { CLASSES = sizeof classes / sizeof *classes };

static struct rng randomness;
static size_t share; /* of 100, that are kept */
static bool at_random(size_t span, size_t slot) {
  (void)span;
  (void)slot;
  return rng_below(&randomness, 100) < share;
}

START_TEST(random_layouts) {
  static struct gc_frag_class expected;
  static const size_t shares[] = {100, 90, 50, 30, 50, 10}; /* of what is left */
  randomness.state = suite_seed() + (uint64_t)_i;
  layout_fill(classes[_i].size, classes[_i].slots, classes[_i].pages * PAGE, 60);
  for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
    share = shares[i];
    layout_keep(at_random);
    read_frag();
    layout_count(&expected, os_page());
    compare(class_of(classes[_i].size), &expected);
  }
}
END_TEST

enum { N = 20000 };
static root keep[N];

/* What a thread has claimed is no object before it is handed out; its span counts all the same. */
START_TEST(claimed_is_not_allocated) {
  gc_disable();
  for (size_t i = 0; i < 100; i++) {
    keep[i] = gc_alloc(16);
    read_frag();
    REQUIRE_MSG(class_of(16)->objects == i + 1, "%" PRIu64 " objects of %zu", class_of(16)->objects, i + 1);
    REQUIRE(class_of(16)->spans == 1);
  }
  gc_free(keep[50]);
  keep[50] = NULL;
  read_frag();
  REQUIRE(class_of(16)->objects == 99);
}
END_TEST

START_TEST(large_objects) {
  gc_disable();
  gc_collect();
  gc_read_frag(&frag);
  uint64_t spans = frag.by_class[0].spans, bytes = frag.by_class[0].span_bytes;
  for (size_t i = 0; i < 3; i++) keep[i] = gc_alloc(100000);
  read_frag();
  const struct gc_frag_class *c = &frag.by_class[0];
  REQUIRE(c->size == 0 && c->spans == spans + 3 && c->slots == c->spans && c->objects == c->spans);
  REQUIRE(c->span_bytes == bytes + 3 * 13 * PAGE && c->live_bytes == c->span_bytes && c->free_bytes == 0);
  REQUIRE(c->histogram[9] == c->spans && c->by_compaction + c->by_os_pages + c->by_pairing == 0);
  gc_free(keep[1]);
  keep[1] = NULL;
  read_frag();
  REQUIRE(c->spans == spans + 2 && c->objects == c->spans);
}
END_TEST

/* ---- against the statistics ---- */

static void against_stats(void) {
  read_frag();
  gc_read_stats(&stats);
  REQUIRE(frag.cycle == stats.num_gc);
  REQUIRE_MSG(frag.total.objects == stats.heap_objects, "%" PRIu64 " objects, heap_objects %" PRIu64,
              frag.total.objects, stats.heap_objects);
  REQUIRE(frag.total.live_bytes == stats.heap_alloc);
  REQUIRE(frag.total.span_bytes == stats.heap_inuse);
  for (unsigned cls = 0; cls < GC_STATS_CLASSES; cls++) {
    uint64_t objects = frag.by_class[2 * cls].objects + frag.by_class[2 * cls + 1].objects;
    REQUIRE_MSG(objects == stats.by_size[cls].mallocs - stats.by_size[cls].frees, "size class %u", cls);
    REQUIRE(frag.by_class[2 * cls].spans == 0 || frag.by_class[2 * cls].size == stats.by_size[cls].size);
  }
}

START_TEST(agrees_with_stats) {
  struct rng r = {suite_seed()};
  gc_disable(); /* or a cycle leaves what statistics still count */
  for (int round = 0; round < 6; round++) {
    for (size_t i = 0; i < N; i++) {
      size_t size = 1 + rng_below(&r, rng_below(&r, 100) == 0 ? 100000 : 700);
      if (rng_below(&r, 3) != 0) keep[i] = rng_below(&r, 2) == 0 ? gc_alloc_noscan(size) : gc_alloc(size);
      if (rng_below(&r, 8) == 0) keep[i] = NULL;
    }
    against_stats();
    gc_collect();
    against_stats();
  }
}
END_TEST

START_TEST(before_anything_is_allocated) {
  read_frag();
  REQUIRE(frag.total.objects == 0 || frag.total.spans > 0);
}
END_TEST

/* ---- text ---- */

static char *print(int (*f)(FILE *to, const struct gc_frag *frag)) {
  char *text = NULL;
  size_t size = 0;
  FILE *to = open_memstream(&text, &size);
  REQUIRE(to != NULL && f(to, &frag) == 0 && fclose(to) == 0);
  REQUIRE(size > 0 && text[size - 1] == '\n');
  return text;
}

static int advise(FILE *to, const struct gc_frag *unused) {
  (void)unused;
  return gc_advice(to);
}

#define PYTHON_CHECK                                                                  \
  "python3 -c '\n"                                                                    \
  "import json, sys\n"                                                                \
  "d = json.load(sys.stdin)\n"                                                        \
  "c = [c for c in d[\"by_class\"] if c[\"size\"] == 16 and not c[\"noscan\"]][0]\n"  \
  "assert c[\"spans\"] == 64 and c[\"objects\"] == 64 and c[\"class\"] == 2\n"        \
  "assert c[\"histogram\"] == [64] + [0] * 9 and c[\"by_compaction\"] == 63 * 8192\n" \
  "for k in c:\n"                                                                     \
  "  if k in (\"class\", \"size\", \"noscan\", \"histogram\"): continue\n"            \
  "  assert d[\"total\"][k] == sum(c[k] for c in d[\"by_class\"]), k\n"               \
  "'"

START_TEST(json_is_json) {
  layout_fill(16, 512, PAGE, SPANS);
  layout_keep(every_512th);
  read_frag();
  FILE *to = popen(PYTHON_CHECK, "w");
  REQUIRE(to != NULL);
  REQUIRE(gc_frag_print_json(to, &frag) == 0);
  REQUIRE_MSG(pclose(to) == 0, "python3 does not accept the JSON");
  memset(&frag, 0, sizeof frag);
  to = popen("python3 -m json.tool >/dev/null", "w");
  REQUIRE(to != NULL);
  REQUIRE(gc_frag_print_json(to, &frag) == 0);
  REQUIRE_MSG(pclose(to) == 0, "no classes: not JSON");
}
END_TEST

START_TEST(table_and_advice) {
  layout_fill(16, 512, PAGE, SPANS);
  layout_keep(another_each);
  read_frag();
  char *table = print(gc_frag_print_table), *advice = print(advise);
  REQUIRE(strstr(table, "\n      16 scanned        64       32768          64    0.2       0.50") != NULL);
  REQUIRE(strstr(table, "\n     all ") != NULL);
  REQUIRE_MSG(
      strstr(advice, "\n16 bytes, scanned: 64 spans, 0.2 % of their slots hold objects; 64 spans hold just one.\n"),
      "%s", advice);
  REQUIRE(strstr(advice, "\n  0.49 MiB by compaction") != NULL && strstr(advice, "\n  0.25 MiB at least") != NULL);
  if (os_page() == 4096) REQUIRE(strstr(advice, "\n  0.25 MiB by release") != NULL);
  free(table);
  free(advice);
}
END_TEST

START_TEST(advice_on_a_tight_heap) {
  layout_fill(16, 512, PAGE, SPANS);
  layout_keep(all);
  char *advice = print(advise);
  REQUIRE_MSG(strstr(advice, "There is nothing to win.\n") != NULL, "%s", advice);
  free(advice);
}
END_TEST

START_TEST(failed_writing_is_told) {
  read_frag();
  FILE *to = fopen("/dev/full", "w");
  REQUIRE(to != NULL && setvbuf(to, NULL, _IONBF, 0) == 0);
  REQUIRE(gc_frag_print_json(to, &frag) == -1);
  clearerr(to);
  REQUIRE(gc_frag_print_table(to, &frag) == -1);
  clearerr(to);
  REQUIRE(gc_advice(to) == -1);
  fclose(to);
}
END_TEST

int main(void) {
  Suite *s = suite_create("frag");
  TCase *tc = suite_case(s, "frag");
  tcase_add_loop_test(tc, known_layouts, 0, sizeof known / sizeof *known);
  tcase_add_loop_test(tc, random_layouts, 0, CLASSES);
  tcase_add_test(tc, claimed_is_not_allocated);
  tcase_add_test(tc, large_objects);
  tcase_add_test(tc, agrees_with_stats);
  tcase_add_test(tc, before_anything_is_allocated);
  tcase_add_test(tc, json_is_json);
  tcase_add_test(tc, table_and_advice);
  tcase_add_test(tc, advice_on_a_tight_heap);
  tcase_add_test(tc, failed_writing_is_told);
  return suite_main(s);
}
