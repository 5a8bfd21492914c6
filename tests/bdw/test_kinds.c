/* test_kinds.c - kinds that programs make, by all sorts of descriptors; mark procedures; what is called when an object of a kind dies;
 * all objects. */
#include "left.h"

#include <gc/gc_disclaim.h>

enum { N = 300, WORDS = 6 };

static void ***held; /* what the tests hold on to: objects of WORDS words */
static hidden left[N * WORDS], gone[N * WORDS];
static size_t lefts, gones;

static void hold(void) {
  held = GC_malloc_uncollectable(N * sizeof *held);
  REQUIRE(held != NULL);
  lefts = gones = 0;
}

/* N objects of the kind, whose words are addresses of objects of their own: those of a set bit must be kept, others not. */
static HELPER void make_objects(int kind, unsigned kept_words, size_t first) {
  for (size_t i = 0; i < N; i++) {
    held[i] = GC_generic_malloc(WORDS * sizeof(void *), kind);
    REQUIRE(held[i] != NULL && (GC_word)held[i] % 16 == 0);
    for (size_t j = 0; j < WORDS; j++) REQUIRE(held[i][j] == NULL);
    for (size_t j = first; j < WORDS; j++) {
      void *p = GC_malloc_atomic(40);
      if (kept_words >> j & 1)
        left[lefts++] = hide(p);
      else
        gone[gones++] = hide(p);
      held[i][j] = p;
    }
  }
}

static HELPER void check_objects(void) {
  for (int round = 0; round < 2; round++) {
    collect();
    REQUIRE_LEFT(left, lefts);
    REQUIRE_MOSTLY_GONE(gone, gones);
  }
}

/* ---- descriptors ---- */

START_TEST(lengths) {
  only_forced_cycles();
  hold();
  int prefix = (int)GC_new_kind(GC_new_free_list(), 3 * sizeof(void *) | GC_DS_LENGTH, 0, 1);
  int all = (int)GC_new_kind(GC_new_free_list(), GC_DS_LENGTH, 1, 1);
  int nothing = (int)GC_new_kind(GC_new_free_list(), GC_DS_LENGTH, 0, 1);
  REQUIRE(prefix > 3 && all == prefix + 1 && nothing == all + 1);
  make_objects(prefix, 0x07, 0);
  check_objects();
  lefts = gones = 0;
  make_objects(all, 0x3f, 0);
  check_objects();
  lefts = gones = 0;
  make_objects(nothing, 0, 0);
  check_objects();
}
END_TEST

START_TEST(bitmaps) {
  only_forced_cycles();
  hold();
  GC_word first = (GC_word)1 << 63;
  int kind = (int)GC_new_kind(GC_new_free_list(), (first >> 1 | first >> 4) | GC_DS_BITMAP, 0, 1);
  make_objects(kind, 0x12, 0);
  REQUIRE(GC_get_kind_and_size(held[0], NULL) == kind);
  check_objects();
}
END_TEST

/* -- in each object -- */
START_TEST(descriptors_in_objects) {
  only_forced_cycles();
  hold();
  GC_word first = (GC_word)1 << 63;
  int kind = (int)GC_new_kind(GC_new_free_list(), sizeof(GC_word) | GC_DS_PER_OBJECT, 0, 1);
  make_objects(kind, 0x28, 2);
  for (size_t i = 0; i < N; i++) held[i][1] = (void *)((first >> 3 | first >> 5) | GC_DS_BITMAP);
  check_objects();
  for (size_t i = 0; i < N; i++) held[i][1] = NULL; /* not known yet */
  collect();
  REQUIRE_MOSTLY_GONE(left, lefts);
}
END_TEST

/* -- in what the first word points to: at 24 bytes from its start -- */
static GC_word type[4];

START_TEST(descriptors_in_types) {
  only_forced_cycles();
  hold();
  GC_word descr = (GC_word)(-(GC_signed_word)(3 * sizeof(GC_word) + GC_INDIR_PER_OBJ_BIAS)) | GC_DS_PER_OBJECT;
  int kind = (int)GC_new_kind(GC_new_free_list(), descr, 0, 1);
  type[3] = 4 * sizeof(void *) | GC_DS_LENGTH;
  make_objects(kind, 0x0e, 1);
  collect(); /* no type yet: nothing of them points */
  REQUIRE_MOSTLY_GONE(left, lefts);
  lefts = gones = 0;
  make_objects(kind, 0x0e, 1);
  for (size_t i = 0; i < N; i++) held[i][0] = type;
  check_objects();
}
END_TEST

/* ---- mark procedures ---- */

enum { ENV = 4321 };
static unsigned calls;
static size_t smallest; /* object that was asked */
static void *beyond;    /* not in the object, and not in memory that is scanned for itself */

/* The words of odd numbers, and one that is elsewhere. */
static struct GC_ms_entry *mark_odd(GC_word *object, struct GC_ms_entry *top, struct GC_ms_entry *limit, GC_word env) {
  calls++;
  REQUIRE(env == ENV && GC_is_marked(object) && GC_size(object) >= WORDS * sizeof(void *) && GC_base(object) == object);
  if (GC_size(object) < smallest) smallest = GC_size(object);
  for (size_t i = 1; i < WORDS; i += 2) top = GC_MARK_AND_PUSH((void *)object[i], top, limit, NULL);
  return GC_mark_and_push(reveal(hide(beyond)), top, limit, NULL);
}

static int odd_kind(void) {
  return (int)GC_new_kind(GC_new_free_list(), GC_MAKE_PROC(GC_new_proc(mark_odd), ENV), 0, 1);
}

START_TEST(procedures) {
  only_forced_cycles();
  hold();
  int kind = odd_kind();
  make_objects(kind, 0x2a, 0);
  REQUIRE(GC_get_kind_and_size(held[0], NULL) == kind);
  check_objects();
  REQUIRE_MSG(calls >= 2 * N, "%u calls", calls);
}
END_TEST

START_TEST(freed_and_resized_objects) {
  only_forced_cycles();
  hold();
  make_objects(odd_kind(), 0x2a, 0);
  for (size_t i = 0; i < N / 2; i++) {
    GC_free(held[i]);
    held[i] = NULL;
  }
  for (size_t i = N / 2; i < N; i++) REQUIRE((held[i] = GC_realloc(held[i], 4000)) != NULL);
  collect();
  calls = 0;
  smallest = SIZE_MAX;
  collect();
  REQUIRE_MSG(calls >= N / 2 && smallest >= 4000, "%u calls, one of them for an object of %zu bytes", calls, smallest);
  REQUIRE_MOSTLY_GONE(left, N / 2 * (WORDS / 2));
  REQUIRE_LEFT(left + N / 2 * (WORDS / 2), N / 2 * (WORDS / 2));
}
END_TEST

/* A chain through objects whose only link a procedure knows. */
START_TEST(chains) {
  enum { LINKS = 5000 };
  only_forced_cycles();
  hold();
  int kind = odd_kind();
  void **next = NULL;
  for (size_t i = 0; i < LINKS; i++) {
    void **link = GC_generic_malloc(WORDS * sizeof(void *), kind);
    REQUIRE(link != NULL);
    link[1] = next;
    next = link;
  }
  held[0] = next;
  next = NULL;
  collect();
  size_t n = 0;
  for (void **at = held[0]; at != NULL; at = at[1], n++) REQUIRE(GC_base(at) == at);
  REQUIRE(n == LINKS);
}
END_TEST

/* One that leaves entries on its mark stack: a range, and itself again for the rest. */
struct entry {
  void *start;
  GC_word descr;
};

static unsigned parts_proc;
static struct GC_ms_entry *mark_parts(GC_word *object, struct GC_ms_entry *top, struct GC_ms_entry *limit,
                                      GC_word env) {
  struct entry *e = (struct entry *)(void *)top;
  REQUIRE((void *)(e + 2) <= (void *)limit);
  if (env < WORDS - 2) *++e = (struct entry){object, GC_MAKE_PROC(parts_proc, env + 2)};
  *++e = (struct entry){object + env, sizeof(GC_word) | GC_DS_LENGTH};
  return (struct GC_ms_entry *)(void *)e;
}

START_TEST(entries_on_the_mark_stack) {
  only_forced_cycles();
  hold();
  parts_proc = GC_new_proc(mark_parts);
  make_objects((int)GC_new_kind(GC_new_free_list(), GC_MAKE_PROC(parts_proc, 0), 0, 1), 0x15, 0);
  check_objects();
}
END_TEST

START_TEST(uncollectable_objects_of_a_kind) {
  only_forced_cycles();
  hold();
  int kind = odd_kind();
  void **p = GC_generic_malloc_uncollectable(WORDS * sizeof(void *), kind);
  REQUIRE(p != NULL);
  for (size_t i = 0; i < WORDS; i++) p[i] = GC_malloc_atomic(40);
  left[0] = hide(p[1]);
  hidden object = hide(p);
  p = NULL;
  collect();
  REQUIRE_LEFT(left, 1);
  REQUIRE_LEFT(&object, 1);
}
END_TEST

/* ---- what is called when an object dies ---- */

static unsigned dying, stay;

static int count_dying(void *object) {
  void **p = object;
  REQUIRE(GC_base(p[0]) == p[0]); /* what it leads to is there */
  dying++;
  if (stay == 0) return 0;
  stay--;
  return 1;
}

static HELPER void make_dying(int kind) {
  hidden *h = gone;
  for (size_t i = 0; i < N; i++) {
    void **p = GC_generic_malloc(WORDS * sizeof(void *), kind);
    REQUIRE(p != NULL);
    p[0] = GC_malloc_atomic(40);
    h[i] = hide(p);
  }
}

START_TEST(disclaim_procedures) {
  only_forced_cycles();
  int kind = (int)GC_new_kind(GC_new_free_list(), GC_DS_LENGTH, 1, 1);
  GC_register_disclaim_proc(kind, count_dying, 1);
  make_dying(kind);
  stay = N;
  collect();
  GC_invoke_finalizers();
  unsigned first = dying;
  REQUIRE_MSG(first * 100 >= N * 95 && first <= N, "%u of %d", first, N);
  REQUIRE_MSG(count_gone(gone, N) == 0, "%zu went that were to stay", count_gone(gone, N));
  stay = 0;
  collect();
  GC_invoke_finalizers();
  REQUIRE_MSG((dying - first) * 100 >= first * 95, "%u, then %u", first, dying - first);
  REQUIRE_MOSTLY_GONE(gone, N);
}
END_TEST

static void note_end(void *object, void *data) {
  REQUIRE(data == &dying && *(GC_word *)object == 99);
  dying++;
}

static HELPER void make_finalized(void) {
  struct GC_finalizer_closure *closure = GC_malloc(sizeof *closure);
  *closure = (struct GC_finalizer_closure){note_end, &dying};
  for (size_t i = 0; i < N; i++) {
    GC_word *p = GC_finalized_malloc(40, closure);
    REQUIRE(p != NULL && GC_base(p) == p - 1 && GC_size(p - 1) > 40);
    *p = 99;
    if (i == 0) GC_free(p - 1);
  }
}

START_TEST(finalized_objects_of_any_size) {
  static struct GC_finalizer_closure closure = {note_end, &dying};
  volatile size_t most = SIZE_MAX; /* with the word in front it is more than there is */
  GC_INIT();
  GC_set_warn_proc(GC_ignore_warn_proc);
  REQUIRE(GC_finalized_malloc(most, &closure) == NULL && GC_finalized_malloc(most - 8, &closure) == NULL);
  REQUIRE(GC_finalized_malloc(0, &closure) != NULL);
}
END_TEST

START_TEST(finalized_objects) {
  only_forced_cycles();
  GC_init_finalized_malloc();
  make_finalized();
  collect();
  GC_invoke_finalizers();
  collect();
  REQUIRE_MSG(dying * 100 >= N * 95 && dying < N, "%u of %d", dying, N - 1);
}
END_TEST

/* ---- all objects ---- */

static GC_word found, sizes;
static void note_object(void *object, size_t bytes, void *data) {
  REQUIRE(data == &found && GC_base(object) == object && GC_size(object) == bytes);
  for (size_t i = 0; i < N; i++) found += object == (void *)held[i];
  sizes += bytes;
}

static void *walk(void *unused) {
  GC_enumerate_reachable_objects_inner(note_object, &found);
  return unused;
}

START_TEST(reachable_objects) {
  only_forced_cycles();
  hold();
  make_objects(odd_kind(), 0, 0);
  for (size_t i = 0; i < N; i += 2) held[i] = GC_malloc(70000);
  for (size_t i = 0; i < N; i += 3) GC_free(held[i]);
  collect();
  GC_call_with_alloc_lock(walk, NULL);
  REQUIRE_MSG(found == N - N / 3, "%lu of %d", found, N - N / 3);
  REQUIRE(sizes >= N / 3 * 70000);
}
END_TEST

int main(void) {
  Suite *s = suite_create("kinds");
  TCase *tc = suite_case(s, "descriptors");
  tcase_add_test(tc, lengths);
  tcase_add_test(tc, bitmaps);
  tcase_add_test(tc, descriptors_in_objects);
  tcase_add_test(tc, descriptors_in_types);
  tc = suite_case(s, "mark procedures");
  tcase_add_test(tc, procedures);
  tcase_add_test(tc, freed_and_resized_objects);
  tcase_add_test(tc, chains);
  tcase_add_test(tc, entries_on_the_mark_stack);
  tcase_add_test(tc, uncollectable_objects_of_a_kind);
  tc = suite_case(s, "death");
  tcase_add_test(tc, disclaim_procedures);
  tcase_add_test(tc, finalized_objects);
  tcase_add_test(tc, finalized_objects_of_any_size);
  tc = suite_case(s, "all objects");
  tcase_add_test(tc, reachable_objects);
  return main_in_both_kinds_of_cycle(s);
}
