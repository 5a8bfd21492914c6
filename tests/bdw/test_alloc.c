/* test_alloc.c - the drop-in's allocation calls: sizes, alignment, contents, kinds, lists, what keeps objects and what
 * frees them, and what is said of wrong calls. In cycles of both kinds. */
#include "hidden.h"

#include <errno.h>
#include <gc/gc_inline.h>
#include <gc/gc_mark.h>

#include "misuse.h"

enum { N = 1000, UNCOLLECTABLE = 2, ATOMIC_UNCOLLECTABLE = 3 };

static const size_t sizes[] = {0,    1,    8,    15,   16,   17,   24,    31,    32,    33,    48,    100,    1000,
                               1024, 2048, 4095, 4096, 8191, 8192, 32000, 32767, 32768, 40000, 65536, 100000, 1000000};
#define SIZES (sizeof sizes / sizeof *sizes)

static bool is_zero(const void *p, size_t size) {
  for (size_t i = 0; i < size; i++)
    if (((const char *)p)[i] != 0) return false;
  return true;
}

/* -- sizes -- */

static void check_object(void *(*make)(size_t), size_t size, bool cleared) {
  char *p = make(size), *q = make(size);
  REQUIRE(p != NULL && q != NULL && p != q);
  REQUIRE_MSG((uintptr_t)p % 16 == 0, "%zu bytes at %p", size, (void *)p);
  REQUIRE_MSG(GC_size(p) > size, "%zu bytes have room for %zu", size, GC_size(p)); /* one past the end is inside */
  REQUIRE(GC_base(p) == p && GC_base(p + size) == p && GC_is_heap_ptr(p + size));
  if (cleared) REQUIRE_MSG(is_zero(p, GC_size(p)), "%zu bytes are not zero", size);
  memset(p, 0xff, size);
  memset(q, 0xff, size);
  GC_free(p);
  GC_free(q);
}

/* Twice, so that the second round gets what the first has dirtied. */
static void every_size(void) {
  for (int round = 0; round < 2; round++)
    for (size_t i = 0; i < SIZES; i++) {
      check_object(GC_malloc, sizes[i], true);
      check_object(GC_malloc_atomic, sizes[i], false);
      check_object(GC_malloc_uncollectable, sizes[i], true);
      check_object(GC_malloc_atomic_uncollectable, sizes[i], false);
      check_object(GC_malloc_ignore_off_page, sizes[i], true);
      check_object(GC_malloc_atomic_ignore_off_page, sizes[i], false);
    }
}

static void without_the_extra_byte(void) {
  REQUIRE(GC_size(GC_malloc(16)) == 32);
  GC_set_all_interior_pointers(0);
  GC_INIT();
  REQUIRE(GC_get_all_interior_pointers() == 0);
  void *p = GC_malloc(16), *q = GC_malloc(0), *r = GC_malloc(0);
  REQUIRE(GC_size(p) == 16 && (uintptr_t)p % 16 == 0);
  REQUIRE(q != NULL && r != NULL && q != r && GC_size(q) == 16);
}

static size_t refused_bytes;
static char other_object[1];
static void *refuse(size_t bytes) {
  refused_bytes = bytes;
  return other_object;
}
static int warnings;
static void count_warning(char *message, GC_word arg) {
  char text[256];
  snprintf(text, sizeof text, message, arg);
  REQUIRE(strstr(text, "GC Warning: ") == text && strchr(text, '\n') == text + strlen(text) - 1);
  warnings++;
}

/* The compiler may know neither sizes nor what the calls return: it takes what they refuse for a mistake. */
static void *(*volatile malloc_unknown)(size_t) = GC_malloc;
static void *(*volatile realloc_unknown)(void *, size_t) = GC_realloc;

static void refused_sizes(void) {
  const size_t most[] = {SIZE_MAX, SIZE_MAX - 7, SIZE_MAX - 16, SIZE_MAX - 40, SIZE_MAX / 2, SIZE_MAX / 2 + 1};
  GC_set_warn_proc(count_warning);
  for (size_t i = 0; i < sizeof most / sizeof *most; i++) {
    REQUIRE(GC_malloc(most[i]) == NULL && GC_malloc_atomic(most[i]) == NULL);
    REQUIRE(GC_malloc_uncollectable(most[i]) == NULL && GC_malloc_atomic_uncollectable(most[i]) == NULL);
    REQUIRE(GC_memalign(64, most[i]) == NULL);
    REQUIRE(GC_realloc(NULL, most[i]) == NULL);
  }
  REQUIRE(warnings == 6 * 6);
  GC_set_oom_fn(refuse);
  REQUIRE(GC_get_oom_fn() == refuse);
  REQUIRE(malloc_unknown(SIZE_MAX - 40) == other_object && refused_bytes == SIZE_MAX - 40);
  void *p = GC_malloc(100);
  REQUIRE(realloc_unknown(p, SIZE_MAX / 2) == other_object && refused_bytes == SIZE_MAX / 2);
  REQUIRE(GC_base(p) == p);
}

static void aligned(void) {
  for (size_t align = 1; align <= 65536; align *= 2)
    for (size_t i = 0; i < SIZES; i++) {
      void *p = GC_memalign(align, sizes[i]), *q = NULL;
      REQUIRE_MSG(p != NULL && (uintptr_t)p % align == 0 && GC_base(p) == p, "%zu bytes aligned to %zu", sizes[i],
                  align);
      REQUIRE(is_zero(p, sizes[i]));
      int wrong = align % sizeof(void *) != 0 ? EINVAL : 0;
      REQUIRE(GC_posix_memalign(&q, align, sizes[i]) == wrong && (wrong || ((uintptr_t)q % align == 0 && q != NULL)));
    }
  void *q = NULL;
  REQUIRE(GC_posix_memalign(&q, 24, 8) == EINVAL && GC_posix_memalign(&q, 0, 8) == EINVAL && q == NULL);
}

static void strings(void) {
  char *a = GC_strdup("sixteen letters."), *b = GC_strndup("sixteen", 3), *c = GC_strndup("two", 100),
       *d = GC_strdup("");
  REQUIRE(strcmp(a, "sixteen letters.") == 0 && strcmp(b, "six") == 0 && strcmp(c, "two") == 0 && strcmp(d, "") == 0);
  REQUIRE(GC_get_kind_and_size(a, NULL) == GC_I_PTRFREE);
  REQUIRE(GC_strdup(NULL) == NULL);
}

/* -- kinds, and what they keep -- */

static void kinds(void) {
  size_t size;
  REQUIRE(GC_get_kind_and_size(GC_malloc(100), &size) == GC_I_NORMAL && size == 112);
  REQUIRE(GC_get_kind_and_size(GC_malloc_atomic(100), &size) == GC_I_PTRFREE && size == 112);
  REQUIRE(GC_get_kind_and_size(GC_malloc_uncollectable(40000), &size) == UNCOLLECTABLE && size > 40000);
  REQUIRE(GC_get_kind_and_size(GC_malloc_atomic_uncollectable(100), &size) == ATOMIC_UNCOLLECTABLE && size == 112);
  for (int kind = GC_I_PTRFREE; kind <= ATOMIC_UNCOLLECTABLE; kind++) {
    REQUIRE(GC_get_kind_and_size(GC_generic_malloc(100, kind), &size) == kind && size == 112);
    REQUIRE(GC_get_kind_and_size(GC_malloc_kind(100, kind), &size) == kind && size == 112);
    REQUIRE(GC_get_kind_and_size(GC_malloc_kind_global(100, kind), NULL) == kind);
    REQUIRE(GC_get_kind_and_size(GC_generic_or_special_malloc(100, kind), NULL) == kind);
    REQUIRE(GC_get_kind_and_size(GC_generic_malloc_ignore_off_page(100, kind), NULL) == kind);
    REQUIRE(GC_get_kind_and_size(GC_generic_malloc_uncollectable(100, kind), NULL) ==
            UNCOLLECTABLE + (kind == 0 || kind == 3));
  }
}

static void *kept_hidden[N]; /* uncollectable objects, which the test alone knows */

/* Each holds its own object of n words. */
static NOINLINE void make_holders(void *(*make)(size_t)) {
  for (size_t i = 0; i < N; i++) {
    void **holder = make(64);
    REQUIRE(holder != NULL);
    holder[7] = GC_MALLOC_ATOMIC(64);
    fill(holder[7], 8, i);
    kept_hidden[i] = hidden(holder);
  }
}

static NOINLINE size_t alive_behind(void) {
  size_t n = 0;
  for (size_t i = 0; i < N; i++) {
    void **holder = hidden(kept_hidden[i]);
    REQUIRE_MSG(GC_size(holder) != 0, "uncollectable object %zu went", i);
    n += GC_size(holder[7]) != 0;
  }
  return n;
}

static NOINLINE void require_filled(void) {
  for (size_t i = 0; i < N; i++) REQUIRE(is_filled(((void **)hidden(kept_hidden[i]))[7], 8, i));
}

static NOINLINE void free_holders(void) {
  for (size_t i = 0; i < N; i++) GC_free(hidden(kept_hidden[i]));
}

static void uncollectable_ones_keep(void) {
  GC_word before = GC_get_non_gc_bytes();
  make_holders(GC_malloc_uncollectable);
  REQUIRE(GC_get_non_gc_bytes() == before + N * GC_size(hidden(kept_hidden[0])));
  collect();
  REQUIRE(alive_behind() == N);
  refill(4 * N, 64);
  require_filled();
  free_holders();
  REQUIRE(GC_get_non_gc_bytes() == before);
}

static void atomic_ones_keep_nothing(void) {
  make_holders(GC_malloc_atomic_uncollectable);
  collect();
  REQUIRE_MOSTLY(N - alive_behind(), (size_t)N);
  free_holders();
}

/* Only the address one past the end is held. */
static char *past[N];
static NOINLINE void make_past(void) {
  for (size_t i = 0; i < N; i++) {
    char *p = GC_MALLOC(64);
    fill(p, 8, i);
    past[i] = p + 64;
  }
}

static void one_past_the_end_keeps(void) {
  make_past();
  collect();
  refill(4 * N, 64);
  for (size_t i = 0; i < N; i++) REQUIRE(is_filled(past[i] - 64, 8, i));
}

/* -- changing the size -- */

static void resize(size_t from, size_t to, int kind) {
  char *p = GC_generic_malloc(from, kind);
  size_t had = GC_size(p), words = (from < to ? from : to) / 8;
  fill(p, had / 8, from);
  char *q = GC_realloc(p, to);
  REQUIRE(q != NULL && (uintptr_t)q % 16 == 0 && GC_size(q) > to);
  REQUIRE_MSG(GC_get_kind_and_size(q, NULL) == kind, "%zu -> %zu: kind %d", from, to, kind);
  REQUIRE_MSG(is_filled(q, words, from), "%zu -> %zu: contents", from, to);
  if (to > had && kind % 2 == 1) REQUIRE(is_zero(q + had, to - had));
  GC_free(q);
}

static void every_change_of_size(void) {
  for (int kind = GC_I_PTRFREE; kind <= UNCOLLECTABLE; kind++)
    for (size_t i = 1; i < SIZES; i++)
      for (size_t k = 1; k < SIZES; k++) resize(sizes[i], sizes[k], kind);
  REQUIRE(GC_get_non_gc_bytes() == 0);
  void *p = GC_realloc(NULL, 50);
  REQUIRE(GC_size(p) == 64 && GC_realloc(p, 0) == NULL && GC_size(p) == 0);
}

/* -- lists -- */

static size_t check_list(void *list, size_t size, bool cleared) {
  size_t n = 0;
  for (void *p = list, *next; p != NULL; p = next, n++) {
    next = GC_NEXT(p);
    REQUIRE((uintptr_t)p % 16 == 0 && GC_base(p) == p && GC_size(p) >= size);
    if (cleared) REQUIRE(is_zero((char *)p + sizeof(void *), size - sizeof(void *)));
    memset((char *)p + sizeof(void *), 0xff, size - sizeof(void *));
  }
  return n;
}

static void lists(void) {
  size_t longest = 0;
  for (size_t size = 16; size <= 8192; size += size < 256 ? 16 : 512)
    for (int round = 0; round < 20; round++) {
      void *list = NULL;
      size_t n = check_list(GC_malloc_many(size), size, true);
      REQUIRE(n >= 1);
      if (n > longest) longest = n;
      GC_generic_malloc_many(size, GC_I_NORMAL, &list);
      REQUIRE(check_list(list, size, true) >= 1);
      GC_generic_malloc_many(size, GC_I_PTRFREE, &list);
      REQUIRE(check_list(list, size, false) >= 1);
      GC_generic_malloc_many(size, UNCOLLECTABLE, &list);
      REQUIRE(check_list(list, size, true) >= 1);
    }
  REQUIRE_MSG(longest >= 16, "at most %zu objects at a time", longest);
}

static void *head[N];

/* Marked through the first words. */
static void lists_live(void) {
  size_t n = 0;
  for (size_t i = 0; i < N; i++) {
    head[i] = GC_malloc_many(64);
    for (uint64_t *p = head[i]; p != NULL; p = GC_NEXT(p)) fill(p + 1, 7, n++);
    if (i % 100 == 99) collect();
  }
  collect();
  refill(4 * n, 64);
  n = 0;
  for (size_t i = 0; i < N; i++)
    for (uint64_t *p = head[i]; p != NULL; p = GC_NEXT(p)) REQUIRE(is_filled(p + 1, 7, n++));
}

/* -- wrong calls -- */

static void free_it(void *p) { GC_free(p); }
static void realloc_it(void *p) { REQUIRE(GC_realloc(p, 100) == NULL); }

static void wrong_calls(void) {
  char local[16] __attribute__((aligned(16)));
  char *p = GC_malloc(100), *q = GC_malloc(100);
  GC_free(NULL);
  misuse(free_it, local, "GC_free");
  misuse(realloc_it, local, "GC_realloc");
  misuse(free_it, p + 16, "GC_free");
  misuse(realloc_it, p + 16, "GC_realloc");
  GC_free(q);
  misuse(free_it, q, "GC_free");
  REQUIRE(GC_base(local) == NULL && !GC_is_heap_ptr(local) && !GC_is_heap_ptr(NULL) && GC_base(p + 50) == p);
  GC_reachable_here(p);
}

static const struct test_case cases[] = {{"every_size", every_size, NULL},
                                         {"without_the_extra_byte", without_the_extra_byte, NULL},
                                         {"refused_sizes", refused_sizes, NULL},
                                         {"aligned", aligned, NULL},
                                         {"strings", strings, NULL},
                                         {"kinds", kinds, NULL},
                                         {"uncollectable_ones_keep", uncollectable_ones_keep, NULL},
                                         {"atomic_ones_keep_nothing", atomic_ones_keep_nothing, NULL},
                                         {"one_past_the_end_keeps", one_past_the_end_keeps, NULL},
                                         {"every_change_of_size", every_change_of_size, NULL},
                                         {"lists", lists, NULL},
                                         {"lists_live", lists_live, NULL},
                                         {"wrong_calls", wrong_calls, NULL}};

int main(int argc, char **argv) { return cases_main(argc, argv, "alloc", CASES(cases)); }
