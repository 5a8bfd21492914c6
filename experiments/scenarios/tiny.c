/* tiny.c - the smallest and the largest objects: tiny blocks, the zero-size object, what rounding to size classes wastes,
 * and large buffers with and without a pool.
 *
 * Seed:     "This improves utilization from 45.83% to 68.75% in some cases", of objects under 16 bytes that share a block of
 *           16. 45.83 % is 11/24 and 68.75 % is 11/16: three objects of 11 bytes together, in three slots of 8 bytes or in one
 *           block. Of the nine such triples of sizes up to 8, six fill one block each; {1, 2, 8}, a bool, an int16 and an
 *           int64, is the plainest. The other three, {1, 5, 5} {3, 3, 5} {3, 4, 4}, leave room that the next uses.
 * Variants: mix/tiny, mix/slots  that mix with and without tiny blocks (t: objects). Without: in a collector, objects that
 *                                may hold pointers; elsewhere there are none, and mix/slots is all there is
 *           zero                 objects of size 0 (t: how many)
 *           class N, classes     the histogram's objects in slots of N bytes (t: N), and all of them (t: 0)
 *           large/fresh, large/pool  buffers of 64 KiB to 1 MiB, each used once; eight at a time (t: how many)
 * Reading:  run; histogram.h. Figures of a class row are of the heap that holds the whole histogram, scaled to 64 MiB. */
#include <inttypes.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "histogram.h"
#include "scenario.h"

enum { MIX = 3, MIX_BYTES = 1 + 2 + 8, IN_USE = 8, LARGE_MIN = 64 << 10, LARGE_MAX = 1 << 20 };
static const size_t mix[MIX] = {1, 2, 8};

/* ---- the slot of an object ---- */

#if defined(SCENARIO_HOLDFAST)
#define HAS_TINY 1
static size_t slot_bytes(void *object) { return gc_usable_size(object); }
#elif defined(SCENARIO_BDWGC)
#define HAS_TINY 0
static size_t slot_bytes(void *object) { return GC_size(object); }
#else
#include <malloc.h>
#define HAS_TINY 0
#if defined(SCENARIO_GLIBC)
enum { HEADER = 8 }; /* the word before each object */
#else
enum { HEADER = 0 };
#endif
static size_t slot_bytes(void *object) { return malloc_usable_size(object) + HEADER; }
#endif

/* Pointers to all objects of a part: one large object, so that the small ones are the only small ones. */
static void **volatile objects;
static size_t object_count;

LAB_STEP void open_objects(size_t count) {
  objects = lab_new(count * sizeof *objects);
  object_count = count;
}

LAB_STEP void drop_objects(void) {
  for (size_t i = 0; i < object_count; i++) lab_free(objects[i]);
  lab_free(objects);
  objects = NULL;
  object_count = 0;
}

static uint64_t measured(void) {
  lab_measure();
  return lab_figures()->heap_alloc;
}

/* ---- the mix ---- */

LAB_STEP void make_mix(bool tiny) {
  for (size_t i = 0; i < object_count; i++)
    objects[i] = tiny || !LAB_COLLECTS ? lab_new_noscan(mix[i % MIX]) : lab_new(mix[i % MIX]);
}

static void measure_mix(const char *variant, bool tiny, double expected) {
  open_objects(MIX * (lab_small() ? (size_t)1 << 14 : (size_t)1 << 18));
  uint64_t before = measured();
  make_mix(tiny);
  uint64_t used = measured() - before, asked = object_count / MIX * MIX_BYTES;
  double utilisation = 100 * (double)asked / (double)used;
  lab_row(variant, (double)object_count, object_count * sizeof *objects + asked,
          "asked=%" PRIu64 ";used=%" PRIu64 ";utilisation=%.2f", asked, used, utilisation);
  lab_expect(utilisation > expected - 0.005 && utilisation < expected + 0.005,
             "%s: the utilisation is %.2f %%, not %.2f %%", variant, utilisation, expected);
  drop_objects();
}

/* ---- size 0 ---- */

LAB_STEP size_t make_nothings(void) {
  size_t addresses = 1;
  for (size_t i = 0; i < object_count; i++) {
    objects[i] = i % 2 ? lab_new(0) : lab_new_noscan(0);
    addresses += i > 0 && objects[i] != objects[i - 1];
  }
  return addresses;
}

static void measure_zero(void) {
  open_objects(lab_small() ? (size_t)1 << 16 : (size_t)1 << 20);
  uint64_t before = measured();
  size_t addresses = make_nothings();
  uint64_t used = measured() - before;
  lab_row("zero", (double)object_count, object_count * sizeof *objects, "addresses=%zu;used=%" PRIu64, addresses, used);
  lab_expect(addresses == 1 && used == 0, "objects of size 0 have %zu addresses and take %" PRIu64 " bytes", addresses,
             used);
  drop_objects();
}

/* ---- classes ---- */

static struct histogram histogram;

struct class_use {
  uint64_t slot, objects, asked;
};
static struct class_use classes[HISTOGRAM_LINES];
static size_t class_count;
static size_t slots[HISTOGRAM_LINES]; /* of each line of the histogram */

LAB_STEP void probe_slots(void) {
  for (size_t i = 0; i < histogram.count; i++) {
    void *object = lab_new(histogram.lines[i].size);
    slots[i] = slot_bytes(object);
    lab_free(object);
  }
}

static struct class_use *class_of(size_t slot) {
  size_t i = 0;
  while (i < class_count && classes[i].slot != slot) i++;
  if (i == class_count) classes[class_count++] = (struct class_use){.slot = slot};
  return &classes[i];
}

static int by_slot(const void *a, const void *b) {
  const struct class_use *x = a, *y = b;
  return x->slot < y->slot ? -1 : x->slot > y->slot;
}

/* Returns all classes as one. */
static struct class_use sum_classes(void) {
  struct class_use all = {0};
  for (size_t i = 0; i < histogram.count; i++) {
    const struct histogram_line *line = &histogram.lines[i];
    struct class_use *use = class_of(slots[i]);
    use->objects += line->count;
    use->asked += line->count * line->size;
    all.objects += line->count;
    all.asked += line->count * line->size;
    all.slot += line->count * slots[i];
  }
  qsort(classes, class_count, sizeof classes[0], by_slot);
  return all;
}

/* How many objects of a line are made, so that all together take some 64 MiB. */
static size_t scaled(size_t i, uint64_t total) {
  double share = (double)(lab_small() ? 8 << 20 : 64 << 20) / (double)total;
  return (size_t)((double)histogram.lines[i].count * share);
}

LAB_STEP void make_histogram(uint64_t total) {
  for (size_t i = 0, made = 0; i < histogram.count; i++)
    for (size_t n = scaled(i, total); n > 0; n--) objects[made++] = lab_new(histogram.lines[i].size);
}

static double waste(uint64_t asked, uint64_t taken) { return 100 - 100 * (double)asked / (double)taken; }

static void class_rows(const struct class_use *all, const char *check) {
  char variant[64];
  for (size_t i = 0; i < class_count; i++) {
    const struct class_use *use = &classes[i];
    snprintf(variant, sizeof variant, "class %" PRIu64, use->slot);
    lab_row(variant, (double)use->slot, use->asked,
            "objects=%" PRIu64 ";asked=%" PRIu64 ";slots=%" PRIu64 ";waste=%.2f", use->objects, use->asked,
            use->objects * use->slot, waste(use->asked, use->objects * use->slot));
  }
  lab_row("classes", 0, all->asked, "objects=%" PRIu64 ";asked=%" PRIu64 ";slots=%" PRIu64 ";waste=%.2f;%s",
          all->objects, all->asked, all->slot, waste(all->asked, all->slot), check);
}

static void measure_classes(void) {
  char check[128];
  size_t count = 0;
  uint64_t predicted = 0;
  if (histogram.count == 0) histogram_default(&histogram);
  probe_slots();
  struct class_use all = sum_classes();
  for (size_t i = 0; i < histogram.count; i++) {
    count += scaled(i, all.slot);
    predicted += scaled(i, all.slot) * slots[i];
  }
  open_objects(count + 1);
  uint64_t before = measured();
  make_histogram(all.slot);
  uint64_t used = measured() - before;
  snprintf(check, sizeof check, "predicted=%" PRIu64 ";used=%" PRIu64, predicted, used);
  class_rows(&all, check);
  double off = predicted ? 100 * ((double)used / (double)predicted - 1) : 0;
  lab_expect(off < 0.1 && off > -0.1, "the histogram takes %.2f %% more bytes than its size classes say", off);
  drop_objects();
}

/* ---- large buffers ---- */

static void *volatile in_use[IN_USE];
static void *volatile pool[IN_USE];
static size_t pooled;
static uint64_t made, made_bytes;

/* Not cleared: whoever takes it writes it. */
static void *take(size_t size, bool from_pool) {
  if (from_pool && pooled > 0) return pool[--pooled];
  if (from_pool) size = LARGE_MAX;
  made++;
  made_bytes += size;
  return bench_alloc_noscan(size);
}

static void give(void *buffer, bool to_pool) {
  if (to_pool && buffer != NULL)
    pool[pooled++] = buffer;
  else
    lab_free(buffer);
}

LAB_STEP void use_buffers(size_t count, bool with_pool) {
  for (size_t i = 0; i < count; i++) {
    size_t size = LARGE_MIN + lab_below(LARGE_MAX - LARGE_MIN + 1);
    give(in_use[i % IN_USE], with_pool);
    in_use[i % IN_USE] = NULL;
    void *buffer = take(size, with_pool);
    if (buffer == NULL) lab_die("out of memory");
    memset(buffer, 1, size);
    in_use[i % IN_USE] = buffer;
    if (i % 64 == 0) lab_progress((double)i / (double)count);
  }
}

static uint64_t faults(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (uint64_t)usage.ru_minflt;
}

static void part(const char *variant) {
  bool with_pool = !strcmp(variant, "large/pool");
  size_t count = lab_small() ? 1000 : 10000;
  uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), cycles = bench_cycles(), faulted = faults(), began = bench_now_ns();
  use_buffers(count, with_pool);
  double ms = (double)(bench_now_ns() - began) / 1e6;
  faulted = (faults() - faulted) * page;
  cycles = bench_cycles() - cycles;
  lab_peek();
  lab_row(variant, (double)count, made_bytes < IN_USE * LARGE_MAX ? made_bytes : IN_USE * LARGE_MAX,
          "allocations=%" PRIu64 ";bytes=%" PRIu64 ";faulted=%" PRIu64 ";cycles=%" PRIu64 ";ms=%.1f", made, made_bytes,
          faulted, cycles, ms);
}

static void measure_large(void) {
  static const char *const variants[] = {"large/fresh", "large/pool"};
  double count = lab_small() ? 1000 : 10000;
  for (size_t i = 0; i < 2; i++) lab_run_parts(&variants[i], 1, 2 + i, 4);
  const struct lab_row *fresh = lab_find(variants[0], count), *pool_row = lab_find(variants[1], count);
  lab_expect(lab_extra(fresh, "allocations") == count && lab_extra(pool_row, "allocations") == IN_USE,
             "the pool made %g buffers for %g uses", lab_extra(pool_row, "allocations"), count);
  lab_expect(lab_extra(pool_row, "faulted") <= lab_extra(fresh, "faulted"), "the pool touches more fresh memory");
}

/* ---- the scenario ---- */

static void run(void) {
  if (HAS_TINY) measure_mix("mix/tiny", true, 100 * 11.0 / 16);
  measure_mix("mix/slots", false, 100 * 11.0 / 24);
  lab_progress(0.2);
  measure_zero();
  lab_progress(0.3);
  measure_classes();
  lab_progress(0.5);
  measure_large();
}

static void set_histogram(const char *path) { histogram_read(&histogram, path); }

static const struct lab_scenario scenario = {
    .name = "tiny",
    .question = "What do the smallest, the empty, the rounded and the largest objects cost?",
    .workload = "Objects of 1, 2 and 8 bytes; of size 0; of the sizes of a histogram; large buffers used once each.",
    .metric = "Bytes asked for against bytes of slots; allocations, bytes faulted in and time of large buffers.",
    .finding =
        "Tiny blocks raise the utilisation of the mix from 45.83 % to 68.75 %; all objects of size 0 are one "
        "address and take nothing; a histogram takes what its size classes say; a pool makes eight large buffers, "
        "not one per use.",
    .run = run,
    .part = part,
    .option = "histogram",
    .option_help =
        "  --histogram FILE  lines \"size count\" for the waste per size class (built in: those of a git log)\n",
    .set_option = set_histogram,
};

int main(int argc, char **argv) { return lab_main(argc, argv, &scenario); }
