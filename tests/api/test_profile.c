/* test_profile.c - allocation sites: who is sampled, for how long a sample lives, what is said of it.
 * With a distance of 1 every allocation is sampled, and all figures are exact. The functions named f_* are the sites;
 * the program is linked with -rdynamic, so that the loader knows their names.
 * By hand:  test_profile write FILE   writes the profile that tests/tools/check-profile.sh looks at. */
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <sys/wait.h>

#include "beside.h"
#include "cases.h"
#include "pprof_read.h"

/* The object goes through memory, so that the call is none of the jumps that leave no frame. */
#define SITE(name, expression)          \
  void *name(size_t n);                 \
  NOINLINE void *name(size_t n) {       \
    void *volatile object = expression; \
    return object;                      \
  }
static char text[2000];
static void *volatile old;
SITE(f_pins, gc_alloc(n))
SITE(f_dies, gc_alloc(n))
SITE(f_more, gc_alloc(n))
SITE(f_noscan, gc_alloc_noscan(n))
SITE(f_calloc, gc_calloc(2, n / 2))
SITE(f_aligned, gc_alloc_aligned(256, n))
SITE(f_realloc, gc_realloc(old, n))
SITE(f_strdup, n > 0 ? gc_strdup(text) : NULL)
SITE(f_strndup, gc_strndup(text, n - 1))

/* ---- every object that was made, in order; the last one at an address is the one that is there now ---- */

enum { SLOTS = 512, SIZE = 16, MADE_MAX = 1 << 19 };

static struct made {
  hidden object;
  uint32_t order, pinned;
} made[MADE_MAX];
static size_t made_count;
static root keep[MADE_MAX / SLOTS + 1];

static void note_made(const void *p, bool pinned) {
  REQUIRE(p != NULL && made_count < MADE_MAX);
  made[made_count] = (struct made){hide(p), (uint32_t)made_count, pinned};
  made_count++;
}

/* The planted pattern: of 512 objects, which is a span of them, one is kept. */
static NOINLINE void plant(size_t spans) {
  for (size_t i = 0; i < spans * SLOTS; i++) {
    bool pinned = i % SLOTS == 0;
    void *p = pinned ? f_pins(SIZE) : f_dies(SIZE);
    note_made(p, pinned);
    if (pinned) keep[i / SLOTS] = p;
  }
}

static int by_address(const void *a, const void *b) {
  const struct made *x = a, *y = b;
  if (x->object.bits != y->object.bits) return x->object.bits < y->object.bits ? -1 : 1;
  return x->order < y->order ? -1 : 1;
}

/* What is left: objects of both kinds, and what the spans hold in which they are less than half of the slots. */
struct left {
  size_t pinned, others;
  uint64_t sparse_objects, sparse_bytes;
};

static void add_span(struct left *l, size_t objects) {
  if (objects == 0 || objects * 2 >= SLOTS) return;
  l->sparse_objects += objects;
  l->sparse_bytes += 8192;
}

/* Nothing is allocated meanwhile. */
static struct left count_left(void) {
  struct left l = {0, 0, 0, 0};
  size_t in_span = 0;
  uintptr_t span = 0;
  qsort(made, made_count, sizeof *made, by_address);
  for (size_t i = 0; i < made_count; i++) {
    if (i + 1 < made_count && made[i + 1].object.bits == made[i].object.bits) continue;
    if (gc_base(reveal(made[i].object)) == NULL) continue;
    if (made[i].pinned)
      l.pinned++;
    else
      l.others++;
    if (span != made[i].object.bits >> 13) {
      add_span(&l, in_span);
      in_span = 0;
    }
    span = made[i].object.bits >> 13;
    in_span++;
  }
  add_span(&l, in_span);
  return l;
}

static void expect(const char *type, const char *function, uint64_t value) {
  uint64_t found = pprof_value(type, function);
  REQUIRE_MSG(found == value, "%s of %s: %" PRIu64 ", not %" PRIu64, type, function != NULL ? function : "all", found,
              value);
}

/* ---- distance 1 ---- */

static void samples_die_with_their_objects(void) {
  enum { SPANS = 200, ROUNDS = 4 };
  gc_set_percent(5); /* cycles meanwhile */
  REQUIRE(gc_profile_set_rate(1) == 0);
  for (size_t round = 1; round <= ROUNDS; round++) {
    plant(SPANS);
    pprof_take();
    expect("alloc_objects", "f_pins", round * SPANS);
    expect("alloc_space", "f_pins", round * SPANS * SIZE);
    expect("alloc_objects", "f_dies", round * SPANS * (SLOTS - 1));
    expect("alloc_space", "f_dies", round * SPANS * (SLOTS - 1) * SIZE);
    scrub_stack();
    gc_collect();
    gc_disable();
    pprof_take();
    struct left l = count_left();
    REQUIRE_MSG(l.pinned >= SPANS && l.pinned < SPANS + 20 && l.others < 40, "left: %zu and %zu", l.pinned, l.others);
    expect("inuse_objects", "f_pins", l.pinned);
    expect("inuse_space", "f_pins", l.pinned * SIZE);
    expect("inuse_objects", "f_dies", l.others);
    expect("pinned_objects", NULL, l.sparse_objects);
    uint64_t bytes = pprof_value("pinned_space", NULL); /* shares of spans, rounded once per site */
    REQUIRE_MSG(bytes + 4 >= l.sparse_bytes && bytes <= l.sparse_bytes + 4, "%" PRIu64 " pinned bytes, not %" PRIu64,
                bytes, l.sparse_bytes);
    REQUIRE(pprof_value("pinned_space", "f_pins") * 10 > l.sparse_bytes * 8);
    gc_enable();
  }
}

struct way {
  const char *site;
  void *(*make)(size_t n);
  size_t size, slot; /* asked for; of the slot, or the pages */
};
static const struct way ways[] = {
    {"f_pins", f_pins, 16, 16},         {"f_more", f_more, 3000, 3072},       {"f_dies", f_dies, 50000, 57344},
    {"f_noscan", f_noscan, 100, 112},   {"f_calloc", f_calloc, 48, 48},       {"f_aligned", f_aligned, 200, 256},
    {"f_realloc", f_realloc, 400, 416}, {"f_strdup", f_strdup, 1000, 1024},   {"f_strndup", f_strndup, 200, 208},
    {"f_aligned", f_aligned, 256, 256}, {"f_pins", f_pins, 4000000, 4005888}, {"f_noscan", f_noscan, 70000, 73728},
};

/* Each way to get an object, alone: from whom, how many bytes; and gone when it is freed. */
static void every_way_is_sampled(void) {
  memset(text, 'x', 999);
  gc_profile_set_rate(1);
  gc_disable();
  for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
    const struct way *w = &ways[i];
    old = w->make == f_realloc ? f_more(16) : NULL;
    pprof_take();
    uint64_t objects = pprof_value("alloc_objects", NULL), bytes = pprof_value("alloc_space", NULL);
    uint64_t here = pprof_value("alloc_objects", w->site), used = pprof_value("inuse_space", w->site);
    uint64_t all_used = pprof_value("inuse_objects", NULL);
    char *p = w->make(w->size);
    REQUIRE(p != NULL);
    pprof_take();
    expect("alloc_objects", NULL, objects + 1);
    expect("alloc_space", NULL, bytes + w->slot);
    expect("alloc_objects", w->site, here + 1);
    expect("inuse_space", w->site, used + w->slot);
    expect("inuse_objects", NULL, all_used + (w->make != f_realloc));
    gc_free(p);
    pprof_take();
    expect("inuse_space", w->site, used);
    expect("inuse_objects", NULL, all_used - (w->make == f_realloc));
  }
}

/* Of objects that share a block the one for which it was made is noted, and stands for the block. */
static void tiny_objects_are_sampled_by_block(void) {
  gc_profile_set_rate(1);
  gc_disable();
  for (size_t i = 0; i < 400; i++) keep[i] = f_noscan(4);
  pprof_take();
  expect("alloc_objects", "f_noscan", 100);
  expect("inuse_space", "f_noscan", 1600);
  for (size_t i = 0; i < 400; i++) gc_free(keep[i]); /* which leaves blocks to the collector */
  pprof_take();
  expect("inuse_objects", "f_noscan", 100);
}

static void realloc_in_place_keeps_its_site(void) {
  gc_profile_set_rate(1);
  gc_disable();
  old = f_more(100);
  REQUIRE(f_realloc(110) == old);
  pprof_take();
  expect("alloc_objects", "f_realloc", 0);
  expect("inuse_space", "f_more", 112);
  old = f_realloc(1000);
  pprof_take();
  expect("inuse_space", "f_more", 0);
  expect("inuse_space", "f_realloc", 1024);
}

/* gc_free while a cycle may be marking, and the slot used again at once. */
static void freed_objects_are_gone(void) {
  gc_profile_set_rate(1);
  gc_set_percent(5);
  beside_begin(500);
  for (size_t i = 0; i < 200000; i++) {
    keep[i % 100] = f_more(48);
    gc_free(keep[i % 100]);
    keep[i % 100] = NULL;
    if (i % 1000 == 0) gc_free(f_dies(100000));
  }
  beside_end();
  pprof_take();
  expect("alloc_objects", "f_more", 200000);
  expect("inuse_objects", "f_more", 0);
  expect("alloc_objects", "f_dies", 200);
  expect("inuse_objects", "f_dies", 0);
}

static void turned_off(void) {
  gc_disable();
  gc_profile_set_rate(1);
  void *volatile p = f_more(64), *volatile q = f_more(64);
  REQUIRE(gc_profile_set_rate(0) == 1);
  for (int i = 0; i < 1000; i++) gc_use(f_more(64), f_dies(40000));
  pprof_take();
  REQUIRE(pprof.period == 0);
  expect("alloc_objects", NULL, 2);
  gc_free(p);
  pprof_take();
  expect("inuse_objects", "f_more", 1); /* what is known goes on being kept up to date */
  REQUIRE(gc_profile_set_rate(1) == 0 && gc_profile_set_rate(512) == 1 && gc_profile_set_rate(1) == 512);
  gc_use(f_more(64), q);
  pprof_take();
  expect("alloc_objects", "f_more", 3);
}

/* ---- estimates ---- */

static void near(const char *type, const char *function, uint64_t value, uint64_t percent) {
  uint64_t found = pprof_value(type, function);
  REQUIRE_MSG(found * 100 >= value * (100 - percent) && found * 100 <= value * (100 + percent),
              "%s of %s: %" PRIu64 " is not near %" PRIu64, type, function, found, value);
  printf("%s of %s: %.3f\n", type, function, (double)found / (double)value);
}

/* No cycle, no other thread: the same samples in every run. Noscan objects that nobody writes cost no memory. The bounds
 * are 4 standard deviations: of n expected samples, 400 / sqrt(n) percent; fewer where most objects are sampled. */
static void estimates(void) {
  enum { MIB = 1 << 20 };
  gc_disable();
  gc_profile_set_rate(512 * 1024);
  for (size_t i = 0; i < 128 * MIB / 64; i++) gc_use(f_noscan(64)); /* 256 samples */
  for (size_t i = 0; i < 512; i++) {
    gc_use(f_strndup(32768));                             /* at most 2000 bytes of text: 32 */
    for (int k = 0; k < 64; k++) gc_use(f_aligned(4096)); /* 128 MiB: 256 samples */
  }
  for (size_t i = 0; i < 256; i++) keep[i] = f_pins(MIB); /* each with probability 0.86 */
  pprof_take();
  near("alloc_space", "f_noscan", 128 * MIB, 25);
  near("alloc_objects", "f_noscan", 128 * MIB / 64, 25);
  near("alloc_space", "f_aligned", 128 * MIB, 25);
  near("alloc_objects", "f_pins", 256, 10);
  near("inuse_space", "f_pins", 256 * (uint64_t)MIB, 10);
  for (size_t i = 0; i < 128; i++) gc_free(keep[i]);
  pprof_take();
  near("inuse_objects", "f_pins", 128, 15);
  near("alloc_objects", "f_pins", 256, 10);
}

/* The planted pattern at a distance that notes some 60 of 4000 survivors. */
static void pins_are_estimated(void) {
  gc_disable();
  gc_profile_set_rate(1024);
  plant(1000);
  gc_collect();
  pprof_take();
  struct left l = count_left();
  near("alloc_objects", "f_dies", 1000 * (SLOTS - 1), 10); /* 8000 samples */
  REQUIRE_MSG(pprof_value("pinned_space", "f_pins") * 100 >= l.sparse_bytes * 30,
              "of %" PRIu64 " pinned bytes %" PRIu64, l.sparse_bytes,
              pprof_value("pinned_space", "f_pins")); /* 16 samples */
  REQUIRE(pprof_value("pinned_space", "f_dies") * 10 <= pprof_value("pinned_space", "f_pins"));
}

/* ---- threads ---- */

enum { THREADS = 4, EACH = 60000 };
static atomic_bool over;

static void *allocate_beside(void *arg) {
  size_t first = (uintptr_t)arg * EACH;
  root kept[16] = {NULL};
  for (size_t i = 0; i < EACH; i++) {
    bool pinned = i % 16 == 0;
    void *p = pinned ? f_pins(32) : f_dies(32);
    made[first + i] = (struct made){hide(p), (uint32_t)(first + i), pinned};
    if (pinned) kept[i / 16 % 16] = p;
  }
  gc_use(kept[0]);
  return NULL;
}

static int look_at_image(struct dl_phdr_info *info, size_t size, void *arg) {
  *(uintptr_t *)arg += info->dlpi_addr + size;
  return 0;
}

/* Keeps the loader's lock busy: the unwinder and the stopper want it too. */
static void *use_loader(void *unused) {
  uintptr_t sum = 0;
  while (!atomic_load(&over)) {
    dl_iterate_phdr(look_at_image, &sum);
    void *library = dlopen("libresolv.so.2", RTLD_NOW);
    if (library != NULL) dlclose(library);
  }
  gc_use(sum);
  return unused;
}

static void threads_beside_cycles(void) {
  pthread_t id[THREADS], loader;
  gc_set_percent(5);
  gc_profile_set_rate(1);
  REQUIRE(pthread_create(&loader, NULL, use_loader, NULL) == 0);
  beside_begin(200);
  for (size_t i = 0; i < THREADS; i++)
    REQUIRE(pthread_create(&id[i], NULL, allocate_beside, (void *)(uintptr_t)i) == 0);
  for (size_t i = 0; i < THREADS; i++) REQUIRE(pthread_join(id[i], NULL) == 0);
  beside_end();
  atomic_store(&over, true);
  REQUIRE(pthread_join(loader, NULL) == 0);
  made_count = THREADS * EACH;
  gc_collect();
  gc_disable();
  pprof_take();
  expect("alloc_objects", "f_pins", made_count / 16);
  expect("alloc_objects", "f_dies", made_count / 16 * 15);
  for (size_t i = 0; i < pprof.samples; i++) /* f_pins or f_dies, allocate_beside; refills of beside.h, its thread */
    REQUIRE_MSG(pprof.sample[i].depth == 2, "%u frames of a thread", (unsigned)pprof.sample[i].depth);
  struct left l = count_left();
  REQUIRE(l.pinned + l.others < 1000);
  REQUIRE_MSG(pprof_value("inuse_objects", "f_pins") + pprof_value("inuse_objects", "f_dies") == l.pinned + l.others,
              "in use: %" PRIu64 " and %" PRIu64 ", not %zu", pprof_value("inuse_objects", "f_pins"),
              pprof_value("inuse_objects", "f_dies"), l.pinned + l.others);
}

/* ---- fork ---- */

static void in_child(void) {
  pprof_take();
  expect("inuse_objects", "f_more", 100);
  for (size_t i = 0; i < 50; i++) gc_free(keep[i]);
  for (size_t i = 0; i < 30; i++) keep[i] = f_pins(64);
  gc_collect();
  pprof_take();
  expect("inuse_objects", "f_more", 50);
  expect("inuse_objects", "f_pins", 30);
}

static void fork_has_its_own(void) {
  gc_profile_set_rate(1);
  for (size_t i = 0; i < 100; i++) keep[i] = f_more(64);
  pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    in_child();
    _exit(0);
  }
  int status;
  REQUIRE(waitpid(pid, &status, 0) == pid);
  REQUIRE_MSG(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with status %x", (unsigned)status);
  pprof_take();
  expect("inuse_objects", "f_more", 100);
  expect("alloc_objects", "f_pins", 0);
}

/* ---- in words ---- */

static char words[1 << 16];

static void print_words(unsigned percent) {
  FILE *to = fmemopen(words, sizeof words, "w");
  REQUIRE(to != NULL);
  REQUIRE(gc_profile_print(to, percent) == 0);
  REQUIRE(fclose(to) == 0);
}

static void print_advice(void) {
  FILE *to = fmemopen(words, sizeof words, "w");
  REQUIRE(to != NULL);
  REQUIRE(gc_advice(to) == 0);
  REQUIRE(fclose(to) == 0);
}

/* What is known of an object goes with it when the program compacts. */
static NOINLINE size_t compact_all(size_t n) {
  size_t moved = 0;
  for (size_t i = 0; i < n; i++) {
    root was = keep[i];
    keep[i] = gc_reallocate((void *)(uintptr_t)was);
    moved += keep[i] != was;
  }
  return moved;
}

static void compaction_keeps_sites(void) {
  enum { SPANS = 200 };
  gc_profile_set_rate(1);
  for (int round = 0; round < 2; round++) {
    if (round == 0)
      plant(SPANS);
    else
      REQUIRE(compact_all(SPANS) > SPANS / 2);
    scrub_stack();
    gc_collect();
    pprof_take();
    uint64_t left = pprof_value("inuse_objects", "f_pins"); /* a word on the stack may keep a few old ones */
    REQUIRE_MSG(left >= SPANS && left < SPANS + 20, "round %d: %" PRIu64 " samples", round, left);
  }
}

/* gc_advice ends with the call sites, when there are any. */
static void advice_names_sites(void) {
  plant(100);
  gc_collect();
  print_advice();
  REQUIRE_MSG(strstr(words, "by compaction") != NULL && strstr(words, "f_pins") == NULL, "%s", words);
  gc_profile_set_rate(1);
  plant(100);
  gc_collect();
  print_advice();
  char *win = strstr(words, "by compaction"), *pins = strstr(words, "f_pins+0x");
  REQUIRE_MSG(win != NULL && pins > win, "%s", words);
}

static void told_in_words(void) {
  print_words(50);
  REQUIRE_MSG(strstr(words, "No call stacks: sampling is off") == words && strstr(words, "GC_PROFILE") != NULL, "%s",
              words);
  gc_profile_set_rate((uint64_t)1 << 40);
  gc_use(f_more(100));
  print_words(50);
  REQUIRE_MSG(strstr(words, "No call stacks: nothing was sampled yet") == words, "%s", words);
  gc_profile_set_rate(1);
  plant(100);
  gc_collect();
  print_words(0);
  REQUIRE_MSG(strstr(words, "\nNone: of ") != NULL, "%s", words);
  print_words(10);
  char *pins = strstr(words, "f_pins+0x"), *sum = strstr(words, "together");
  REQUIRE_MSG(pins != NULL && sum != NULL && sum < pins && strstr(pins, "plant") == NULL, "%s", words);
  REQUIRE_MSG(strstr(words, "less than 10 % full") != NULL && strstr(pins, "main+0x") != NULL, "%s", words);
  char *dies = strstr(words, "f_dies+0x");
  REQUIRE_MSG(dies == NULL || dies > pins, "%s", words);
}

/* One more frame per level of depth: many sites. Not by a loop, so that each frame is left as it is. */
static NOINLINE void *nested(unsigned depth) {
  void *volatile p = depth == 0 ? f_more(10000) : nested(depth - 1);
  return p;
}

static void at_most_twenty(void) {
  gc_profile_set_rate(1);
  for (unsigned i = 0; i < 25; i++) keep[i] = nested(i);
  print_words(101);
  size_t sites = 0;
  for (const char *p = words; (p = strstr(p, "  from\n")) != NULL; p++) sites++;
  REQUIRE_MSG(sites == 20, "%zu sites: %s", sites, words);
  REQUIRE_MSG(strstr(words, "others: ") != NULL, "%s", words);
}

static void errors_are_told(void) {
  gc_profile_set_rate(1);
  for (size_t i = 0; i < 100; i++) keep[i] = f_more(64);
  errno = 0;
  REQUIRE(gc_profile_write(-1) == -1 && errno == EBADF);
  int full = open("/dev/full", O_WRONLY);
  REQUIRE(full >= 0);
  REQUIRE(gc_profile_write(full) == -1 && errno == ENOSPC);
  FILE *to = fdopen(full, "w");
  REQUIRE(to != NULL && setvbuf(to, NULL, _IONBF, 0) == 0);
  REQUIRE(gc_profile_print(to, 50) == -1);
  fclose(to);
}

static void empty_profile(void) {
  pprof_take();
  REQUIRE(pprof.samples == 0 && pprof.mappings > 1);
  REQUIRE(pprof_is(pprof.type_name[0], "alloc_objects") && pprof_is(pprof.type_unit[0], "count"));
  REQUIRE(pprof_is(pprof.type_name[5], "pinned_space") && pprof_is(pprof.type_unit[5], "bytes"));
}

/* ---- GC_PROFILE ---- */

static void with_option(void) {
  gc_disable();
  for (size_t i = 0; i < 300; i++) keep[i] = f_more(64);
  pprof_take();
  REQUIRE(pprof.period == 1);
  expect("alloc_objects", "f_more", 300);
  REQUIRE(gc_profile_set_rate(1) == 1);
}

START_TEST(from_the_environment) {
  static struct probe probe;
  probe_run(&probe, "with_option", "GC_PROFILE=1", 0);
}
END_TEST

static int write_planted(const char *file) {
  int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  gc_disable();
  gc_profile_set_rate(1);
  plant(64);
  gc_collect();
  if (fd < 0 || gc_profile_write(fd) != 0 || close(fd) != 0) {
    perror(file);
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}

#define CASE(f) \
  { #f, f, NULL }
static const struct test_case table[] = {
    CASE(samples_die_with_their_objects),
    CASE(every_way_is_sampled),
    CASE(tiny_objects_are_sampled_by_block),
    CASE(realloc_in_place_keeps_its_site),
    CASE(freed_objects_are_gone),
    CASE(turned_off),
    CASE(estimates),
    CASE(pins_are_estimated),
    CASE(advice_names_sites),
    CASE(compaction_keeps_sites),
    CASE(threads_beside_cycles),
    CASE(fork_has_its_own),
    CASE(told_in_words),
    CASE(at_most_twenty),
    CASE(errors_are_told),
    CASE(empty_profile),
};

int main(int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "write") == 0) return write_planted(argv[2]);
  if (argc == 2 && strcmp(argv[1], "with_option") == 0) {
    suite_alone = true;
    with_option();
    return EXIT_SUCCESS;
  }
  int status = cases_run(argc, argv, CASES(table));
  if (status >= 0) return status;
  Suite *s = suite_create("profile");
  cases_add(s);
  tcase_add_test(suite_case(s, "options"), from_the_environment);
  return suite_main(s);
}
