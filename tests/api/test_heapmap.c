/* test_heapmap.c - gc_dump_heap: what it writes is what docs/heapmap.md says, and what gc_read_frag counts; what is cut
 * short is seen to be; what cannot be written is told. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "layout.h"
#include "gc_stats.h"
#include "mapread.h"
#include "reexec.h"

enum { MAP_MAX = 8 << 20 };
static unsigned char text[MAP_MAX];
static struct map map;
static struct gc_frag frag;

static size_t dump(void) {
  int file = memfd_create("map", 0);
  REQUIRE(file >= 0 && gc_dump_heap(file) == 0);
  ssize_t n = pread(file, text, sizeof text, 0);
  close(file);
  REQUIRE(n > 0 && (size_t)n < sizeof text);
  return (size_t)n;
}

static void read_back(size_t bytes) {
  const char *wrong = map_read(&map, text, bytes);
  REQUIRE_MSG(wrong == NULL, "%s", wrong);
}

static void compare(const struct gc_frag_class *a, const struct gc_frag_class *b) {
  REQUIRE_MSG(a->spans == b->spans, "%" PRIu64 " spans, gc_frag %" PRIu64, a->spans, b->spans);
  REQUIRE(a->span_bytes == b->span_bytes && a->slots == b->slots);
  REQUIRE_MSG(a->objects == b->objects, "%" PRIu64 " objects, gc_frag %" PRIu64, a->objects, b->objects);
  REQUIRE(a->live_bytes == b->live_bytes);
}

static void dump_and_compare(void) {
  read_back(dump());
  gc_read_frag(&frag);
  compare(&map.total, &frag.total);
  for (unsigned sc = 0; sc < GC_FRAG_CLASSES; sc++) compare(&map.by_class[sc], &frag.by_class[sc]);
}

enum { N = 20000 };
static root keep[N];

static void make_heap(struct rng *r) {
  for (size_t i = 0; i < N; i++) {
    size_t size = 1 + rng_below(r, rng_below(r, 100) == 0 ? 100000 : 700);
    keep[i] = rng_below(r, 3) == 0 ? NULL : rng_below(r, 2) == 0 ? gc_alloc_noscan(size) : gc_alloc(size);
  }
}

START_TEST(agrees_with_frag) {
  struct rng r = {suite_seed()};
  gc_disable();
  for (int round = 0; round < 5; round++) {
    make_heap(&r);
    dump_and_compare();
    REQUIRE(map.cached > 10 && map.claimed > 10);
    gc_collect();
    dump_and_compare();
    REQUIRE(map.cached == 0 && map.claimed == 0 && map.unswept == 0);
    REQUIRE(map.cycle == (uint64_t)round + 1 && map.end_cycle == map.cycle);
    REQUIRE_MSG(map.oldest == map.cycle, "the oldest span is %" PRIu64 " cycles old, not %" PRIu64, map.oldest,
                map.cycle);
  }
}
END_TEST

START_TEST(header) {
  struct timespec before;
  clock_gettime(CLOCK_REALTIME, &before);
  keep[0] = gc_alloc(100);
  read_back(dump());
  REQUIRE(map.page_size == 8192 && map.os_page_size == (uint64_t)sysconf(_SC_PAGESIZE));
  REQUIRE(map.base <= (uintptr_t)keep[0] && map.base % 8192 == 0);
  REQUIRE(map.time_ns / 1000000000 >= (uint64_t)before.tv_sec);
}
END_TEST

/* -- the very slots: each object of the layout is found in a bitmap, and nothing else -- */
static size_t matched;
static void match(const struct map *m, uint64_t address, uint64_t slot_bytes, uint64_t slots,
                  const unsigned char *bits) {
  (void)m;
  if (slot_bytes != layout.size) return;
  for (size_t i = 0; i < slots; i++) {
    size_t nth = ((address - layout_base) / layout.span_bytes) * slots + i;
    bool live = bits == NULL || (bits[i / 8] >> (i % 8) & 1);
    REQUIRE_MSG(nth < layout.count && live == (layout.object[nth] != NULL), "slot %zu at %" PRIx64, i, address);
    matched++;
  }
}

static struct rng randomness;
static bool at_random(size_t span, size_t slot) {
  (void)span;
  (void)slot;
  return rng_below(&randomness, 100) < 40;
}

START_TEST(slots_are_where_they_are) {
  randomness.state = suite_seed();
  layout_fill(48, 170, PAGE, 40);
  layout_keep(at_random);
  map.each = match;
  read_back(dump());
  REQUIRE(matched == (size_t)40 * 170);
}
END_TEST

START_TEST(age_is_that_of_the_span) {
  gc_disable();
  for (uint64_t i = 0; i < 5; i++) gc_collect();
  keep[0] = gc_alloc(100000);
  for (uint64_t i = 0; i < 7; i++) gc_collect();
  read_back(dump());
  REQUIRE_MSG(map.oldest == 7, "%" PRIu64 " cycles old", map.oldest);
}
END_TEST

START_TEST(cut_short_is_seen) {
  struct rng r = {suite_seed()};
  make_heap(&r);
  size_t bytes = dump();
  read_back(bytes);
  for (size_t i = 0; i < 2000; i++) REQUIRE(map_read(&map, text, i < 100 ? i : rng_below(&r, bytes)) != NULL);
}
END_TEST

/* -- who owns a span -- */

#define SITE(name)                     \
  void *name(size_t n);                \
  NOINLINE void *name(size_t n) {      \
    void *volatile made = gc_alloc(n); \
    return made;                       \
  }
SITE(f_first)
SITE(f_second)
SITE(f_third)
SITE(f_fourth)
SITE(f_fifth)
SITE(f_sixth)

static const struct {
  const char *name;
  void *(*f)(size_t n);
} sites[] = {{"f_first", f_first},   {"f_second", f_second}, {"f_third", f_third},
             {"f_fourth", f_fourth}, {"f_fifth", f_fifth},   {"f_sixth", f_sixth}};
enum { SITES = 6, OWNED_SPANS = 20, SLOT = 48, SLOTS = 170 };

/* The site of an owner, by the name of the innermost frame and by its address; SITES: none of ours. */
static size_t site_of(const struct map_owner *o) {
  size_t i = 0;
  const char *name = map.frames[o->site];
  while (i < SITES && (strncmp(name, sites[i].name, strlen(sites[i].name)) != 0 || name[strlen(sites[i].name)] != '+'))
    i++;
  if (i < SITES) {
    uint64_t at = map.first_call[o->site] - (uintptr_t)sites[i].f;
    REQUIRE_MSG(map.depth[o->site] >= 2 && at < 200, "%s: %" PRIu64 " bytes into the function", name, at);
  }
  return i;
}

/* Spans of 48-byte slots, span s with s % 7 objects of the first site, one less of the next, and so on. */
static void plant_owners(void) {
  gc_profile_set_rate(1);
  for (size_t span = 0, n = 0; span < OWNED_SPANS; span++) {
    size_t left[SITES];
    for (size_t i = 0; i < SITES; i++) left[i] = span % 7 > i ? span % 7 - i : 0;
    for (size_t slot = 0, i = 0; slot < SLOTS; slot++, n++) {
      while (i < SITES && left[i] == 0) i++;
      keep[n] = i < SITES ? sites[i].f(SLOT) : gc_alloc(SLOT);
      if (i < SITES) left[i]--;
      REQUIRE((uintptr_t)keep[n] == (uintptr_t)keep[0] + span * PAGE + slot * SLOT);
    }
  }
  for (size_t n = 0; n < (size_t)OWNED_SPANS * SLOTS; n++)
    if (n % SLOTS >= (n / SLOTS % 7) * (n / SLOTS % 7 + 1) / 2) {
      gc_free(keep[n]);
      keep[n] = NULL;
    }
}

START_TEST(owners_are_told) {
  size_t told = 0, others = 0;
  gc_disable();
  plant_owners();
  gc_collect();
  uintptr_t base = (uintptr_t)keep[SLOTS] / PAGE * PAGE - PAGE; /* the first span has no object left */
  read_back(dump());
  for (size_t k = 0; k < map.owners; k++) {
    const struct map_owner *o = &map.owner[k];
    size_t span = (o->address - base) / PAGE, i = site_of(o);
    if (o->address < base || span >= OWNED_SPANS) continue;
    REQUIRE_MSG(i < SITES && o->samples == span % 7 - i, "span %zu: %" PRIu64 " objects of %s", span, o->samples,
                map.frames[o->site]);
    REQUIRE(o->bytes == (uint64_t)((double)o->samples * PAGE / (double)o->objects + 0.5));
    told++;
  }
  size_t expected = 0;
  for (size_t span = 0; span < OWNED_SPANS; span++)
    for (size_t i = 0; i < span % 7; i++) {
      expected += i < 4;
      others += i < 4 ? 0 : span % 7 - i;
    }
  REQUIRE_MSG(told == expected && map.others == others, "%zu owners, not %zu; %" PRIu64 " others, not %zu", told,
              expected, map.others, others);
}
END_TEST

static void require_all_owned(void) {
  uint64_t owned = map.others;
  for (size_t k = 0; k < map.owners; k++) owned += map.owner[k].samples;
  REQUIRE_MSG(owned == map.total.objects && owned > N / 10, "%" PRIu64 " of %" PRIu64 " objects have owners", owned,
              map.total.objects);
}

/* Every object was noted, so that each that is shown has an owner: in spans of any kind, in anybody's hands. */
START_TEST(all_are_owned) {
  struct rng r = {suite_seed()};
  gc_profile_set_rate(1);
  for (int round = 0; round < 3; round++) {
    make_heap(&r);
    if (round == 1) gc_collect();
    if (round == 2) gc_release_memory();
    read_back(dump());
    require_all_owned();
  }
}
END_TEST

/* Just after a cycle that came by itself, nobody but allocation sweeping: samples of the dead are still there. */
static void dead_and_unswept(void) {
  static struct gc_stats stats;
  struct rng r = {suite_seed()};
  gc_profile_set_rate(1);
  make_heap(&r);
  gc_collect();
  gc_read_stats(&stats);
  uint64_t cycles = stats.num_gc;
  for (size_t i = 0; i < N; i++)
    if (i % 3 != 0) keep[i] = NULL;
  while (stats.num_gc == cycles) {
    keep[0] = gc_alloc(200);
    gc_read_stats(&stats);
  }
  read_back(dump());
  REQUIRE_MSG(map.unswept > 100, "only %" PRIu64 " spans are not swept", map.unswept);
  require_all_owned();
}

START_TEST(the_dead_own_nothing) {
  static struct probe probe;
  probe_run(&probe, "dead_and_unswept", "GC_BACKGROUND=off", 0);
}
END_TEST

START_TEST(no_owners_without_samples) {
  struct rng r = {suite_seed()};
  make_heap(&r);
  read_back(dump());
  REQUIRE(map.owners == 0 && map.sites == 0 && map.others == 0);
}
END_TEST

/* -- the reader of the laboratory, where the tests run in the source tree -- */
#define PYTHON_READER "experiments/lab/heapmap.py"

static int python_runs(const char *command, size_t bytes) {
  FILE *to = popen(command, "w");
  REQUIRE(to != NULL);
  signal(SIGPIPE, SIG_IGN);
  (void)fwrite(text, 1, bytes, to);
  return pclose(to);
}

static int python_reads(size_t bytes) { return python_runs("python3 " PYTHON_READER " - >/dev/null 2>&1", bytes); }

/* What it says of the owners is what it was told: each is named, with the samples of all its sparse spans. */
static void python_tells_owners(void) {
  for (size_t i = 0; i < 4; i++) {
    char command[200];
    size_t samples = 0, spans = 0;
    for (size_t span = 0; span < OWNED_SPANS; span++) {
      samples += span % 7 > i ? span % 7 - i : 0;
      spans += span % 7 > i;
    }
    snprintf(command, sizeof command,
             "python3 " PYTHON_READER
             " - | grep 'pinned by %s+0x.*MiB, %zu sampled objects in %zu sparse spans' >/dev/null",
             sites[i].name, samples, spans);
    REQUIRE_MSG(python_runs(command, dump()) == 0, "%s", command);
  }
}

START_TEST(python_reads_it) {
  struct rng r = {suite_seed()};
  if (access(PYTHON_READER, R_OK) != 0) return;
  make_heap(&r);
  size_t bytes = dump();
  REQUIRE(python_reads(bytes) == 0);
  REQUIRE(python_reads(bytes - 1) != 0 && python_reads(bytes - 48) != 0 && python_reads(3) != 0);
}
END_TEST

START_TEST(python_reads_owners) {
  if (access(PYTHON_READER, R_OK) != 0) return;
  gc_disable();
  plant_owners();
  gc_collect();
  python_tells_owners();
}
END_TEST

/* -- descriptors -- */

/* A slow reader: a few bytes at a time, so that the pipe is full most of the time. */
static void *read_pipe(void *arg) {
  size_t got = 0;
  ssize_t n;
  while ((n = read(*(int *)arg, text + got, sizeof text - got < 777 ? sizeof text - got : 777)) > 0) got += (size_t)n;
  return (void *)(uintptr_t)got;
}

START_TEST(through_a_pipe) {
  struct rng r = {suite_seed()};
  int ends[2];
  pthread_t reader;
  void *got;
  make_heap(&r);
  REQUIRE(pipe(ends) == 0 && pthread_create(&reader, NULL, read_pipe, &ends[0]) == 0);
  REQUIRE(gc_dump_heap(ends[1]) == 0);
  close(ends[1]);
  REQUIRE(pthread_join(reader, &got) == 0);
  read_back((uintptr_t)got);
  REQUIRE(map.total.objects > N / 10);
}
END_TEST

START_TEST(bad_descriptors) {
  int file = open("/dev/null", O_RDONLY), full = open("/dev/full", O_WRONLY), ends[2];
  const struct { int fd, error; } bad[] = {{-1, EBADF}, {12345, EBADF}, {file, EBADF}, {full, ENOSPC}};
  REQUIRE(file >= 0 && full >= 0);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    errno = 0;
    REQUIRE(gc_dump_heap(bad[i].fd) == -1);
    REQUIRE_MSG(errno == bad[i].error, "descriptor %d: errno %d", bad[i].fd, errno);
  }
  signal(SIGPIPE, SIG_IGN);
  REQUIRE(pipe(ends) == 0 && close(ends[0]) == 0);
  REQUIRE(gc_dump_heap(ends[1]) == -1 && errno == EPIPE);
}
END_TEST

/* A file that may only grow so far takes a part of what is written, and then no more. */
START_TEST(partly_written) {
  const struct rlimit limit = {200, 200};
  int file = memfd_create("map", 0);
  struct stat info;
  for (size_t i = 0; i < 10; i++) keep[i] = gc_alloc(50000);
  signal(SIGXFSZ, SIG_IGN);
  REQUIRE(file >= 0 && setrlimit(RLIMIT_FSIZE, &limit) == 0);
  REQUIRE(gc_dump_heap(file) == -1 && errno == EFBIG);
  REQUIRE(fstat(file, &info) == 0 && info.st_size == 200);
}
END_TEST

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "dead_and_unswept") == 0) {
    suite_alone = true;
    dead_and_unswept();
    return EXIT_SUCCESS;
  }
  Suite *s = suite_create("heapmap");
  TCase *tc = suite_case(s, "heapmap");
  tcase_add_test(tc, agrees_with_frag);
  tcase_add_test(tc, header);
  tcase_add_test(tc, slots_are_where_they_are);
  tcase_add_test(tc, age_is_that_of_the_span);
  tcase_add_test(tc, cut_short_is_seen);
  tcase_add_test(tc, python_reads_it);
  tcase_add_test(tc, owners_are_told);
  tcase_add_test(tc, all_are_owned);
  tcase_add_test(tc, the_dead_own_nothing);
  tcase_add_test(tc, no_owners_without_samples);
  tcase_add_test(tc, python_reads_owners);
  tcase_add_test(tc, through_a_pipe);
  tcase_add_test(tc, bad_descriptors);
  tcase_add_test(tc, partly_written);
  return suite_main(s);
}
