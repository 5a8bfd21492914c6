/* tsdb.c - the in-memory time-series database of "Why I encountered Go memory fragmentation? How did I resolve it?"
 * (Hiroki Sakamoto, 2023): its heap does not recover from a restart unless chunks are restored in chronological order and
 * in the size classes in which new ones grow.
 *
 * Owns:    the model. A series has CHUNKS chunks; a period (4 hours there) begins with the purge of each series' oldest
 *          chunk and fills a new one, piece by piece, all series side by side, by Go's slice growth from capacity 128. A
 *          restart is a new process that reads a snapshot, record by record: each is read into a buffer of its own size
 *          and decoded into a chunk whose capacity is the exact size, or grows from 128 as when it was ingested.
 *          The snapshot is its sequence of records; no file is written.
 * Rows:    t is the period: 0 after the restart, p - 0.95 after the purge that begins period p, p - 0.75 ... p at its quarters.
 * Chosen:  sizes (one to two bytes a point, a point every 15, 30 or 60 s), and that the read buffer is garbage, so that the
 *          finding shows. The article does not tell; with one buffer for all records sorting alone would have done, as the last
 *          variant shows. --model changes the numbers.
 * Reading: run_variant, then check. */
#include <inttypes.h>
#include <string.h>

#include "goclass.h"
#include "scenario.h"

enum {
  CHUNKS = 8,
  PERIODS = 12,
  QUARTERS = 4,
  PASSES = 8, /* over all series in a quarter */
  OLD_NODE_AGE = 3 * CHUNKS
};

/* The article has the capacity (and CHUNKS, PERIODS); the rest was chosen. experiments/README.md: over which range the finding
 * holds. */
static uint32_t series_wanted, scale = 100, dearest = 20, spread = 10, first_capacity = 128, piece_bytes = 32,
                               header = 16;

static const struct lab_knob knobs[] = {
    {"series", &series_wanted, 0, 1 << 20, "series; 0: 16384, or 2000 with --small"},
    {"scale", &scale, 10, 1000, "percent of the usual points of a chunk"},
    {"dearest", &dearest, 10, 100, "tenths of a byte that a point takes at most, 10 at least"},
    {"spread", &spread, 0, 90, "percent by which a series' chunks differ from its usual size, at most"},
    {"capacity", &first_capacity, 8, 4096, "bytes from which a chunk grows"},
    {"piece", &piece_bytes, 1, 4096, "bytes appended at once"},
    {"header", &header, 0, 4096, "bytes of a record beside its points"},
    {NULL, NULL, 0, 0, NULL}};

struct chunk {
  char *bytes;
  uint32_t length, capacity;
};

struct series {
  struct chunk *chunks[CHUNKS]; /* that of period p at p % CHUNKS */
};

struct variant {
  const char *name;
  bool restarted, random, exact, one_buffer;
};

enum { NEVER, RANDOM_EXACT, RANDOM_128, CHRONOLOGICAL_EXACT, CHRONOLOGICAL_128, ONE_BUFFER, VARIANTS };

static const struct variant variants[VARIANTS] = {
    [NEVER] = {"never_restarted", false, false, false, false},
    [RANDOM_EXACT] = {"random+exact", true, true, true, false},
    [RANDOM_128] = {"random+128", true, true, false, false},
    [CHRONOLOGICAL_EXACT] = {"chronological+exact", true, false, true, false},
    [CHRONOLOGICAL_128] = {"chronological+128", true, false, false, false},
    [ONE_BUFFER] = {"chronological+exact+one_buffer", true, false, true, true},
};

static struct series **volatile database;
static char *volatile record;
static uint32_t n_series;
static uint64_t live; /* bytes in chunks */

/* ---- chunks ---- */

/* The same for each variant: a function of the seed, not of the sequence of random numbers. */
static uint32_t mix(uint64_t of) {
  uint64_t state = lab_seed() * 0x10001 + of;
  return (uint32_t)(bench_random(&state) >> 32);
}

static uint32_t chunk_size(uint32_t series, uint32_t period) {
  static const uint32_t points[] = {960, 480, 240, 240};
  uint32_t interval = mix(series), usual = points[interval % 4] * (10 + (interval >> 8) % (dearest - 9)) / 10;
  uint32_t size =
      usual * scale / 100 * (100 - spread + mix(((uint64_t)(period + 1) << 32) + series) % (2 * spread + 1)) / 100;
  return size > 0 ? size : 1;
}

LAB_STEP struct chunk *new_chunk(uint32_t capacity) {
  struct chunk *chunk = lab_new(sizeof *chunk);
  chunk->bytes = lab_new_noscan(capacity);
  chunk->capacity = capacity;
  return chunk;
}

static void grow(struct chunk *chunk) {
  uint32_t capacity = (uint32_t)go_grow(chunk->capacity);
  char *bytes = lab_new_noscan(capacity);
  memcpy(bytes, chunk->bytes, chunk->length);
  lab_free(chunk->bytes);
  chunk->bytes = bytes;
  chunk->capacity = capacity;
}

LAB_STEP void fill_to(struct chunk *chunk, uint32_t length) {
  while (chunk->length < length) {
    uint32_t piece = length - chunk->length < piece_bytes ? length - chunk->length : piece_bytes;
    while (chunk->length + piece > chunk->capacity) grow(chunk);
    memset(chunk->bytes + chunk->length, 1, piece);
    chunk->length += piece;
    live += piece;
  }
}

/* ---- the database ---- */

LAB_STEP void make_database(void) {
  n_series = series_wanted ? series_wanted : lab_small() ? 2000 : 16384;
  database = lab_new(n_series * sizeof *database);
  for (uint32_t i = 0; i < n_series; i++) database[i] = lab_new(sizeof(struct series));
}

/* The new period's chunk takes the place of the oldest. */
LAB_STEP void purge_oldest(uint32_t period) {
  for (uint32_t i = 0; i < n_series; i++) {
    struct chunk **place = &database[i]->chunks[period % CHUNKS];
    if (*place) {
      live -= (*place)->length;
      lab_free((*place)->bytes);
      lab_free(*place);
    }
    *place = new_chunk(first_capacity);
  }
}

LAB_STEP void ingest_quarter(uint32_t period, uint32_t quarter) {
  for (uint32_t pass = quarter * PASSES + 1; pass <= (quarter + 1) * PASSES; pass++)
    for (uint32_t i = 0; i < n_series; i++)
      fill_to(database[i]->chunks[period % CHUNKS], chunk_size(i, period) * pass / (QUARTERS * PASSES));
}

/* ---- the restart ---- */

/* Record i of the snapshot is chunk order[i]: period * n_series + series. */
static uint32_t *snapshot_order(bool random) {
  uint32_t n = n_series * CHUNKS, *order = bench_map(n * sizeof *order);
  for (uint32_t i = 0; i < n; i++) order[i] = i;
  for (uint32_t i = n - 1; random && i > 0; i--) {
    uint32_t j = (uint32_t)lab_below(i + 1), swap = order[i];
    order[i] = order[j];
    order[j] = swap;
  }
  return order;
}

LAB_STEP void restore_record(const struct variant *variant, uint32_t period, uint32_t series) {
  uint32_t size = chunk_size(series, period);
  if (!variant->one_buffer) record = lab_new_noscan(header + size);
  struct chunk *chunk = new_chunk(variant->exact ? size : first_capacity);
  fill_to(chunk, size);
  database[series]->chunks[period] = chunk;
  lab_free(record);
  record = NULL;
}

static void restore(const struct variant *variant) {
  uint32_t *order = snapshot_order(variant->random);
  for (uint32_t i = 0; i < n_series * CHUNKS; i++) restore_record(variant, order[i] / n_series, order[i] % n_series);
  bench_unmap(order, n_series * CHUNKS * sizeof *order);
}

/* A node that was never restarted: its heap is what periods of ingestion have made it. */
static void grow_old(void) {
  for (uint32_t period = 0; period < OLD_NODE_AGE; period++) {
    purge_oldest(period);
    for (uint32_t quarter = 0; quarter < QUARTERS; quarter++) ingest_quarter(period, quarter);
  }
}

/* ---- one variant, in a process of its own ---- */

static void add_row(const struct variant *variant, double t) {
  lab_measure();
  lab_row(variant->name, t, live, NULL);
}

static void run_period(const struct variant *variant, uint32_t p) {
  uint32_t period = p - 1 + OLD_NODE_AGE; /* a multiple of CHUNKS later: the same places in both histories */
  purge_oldest(period);
  add_row(variant, p - 0.95);
  for (uint32_t quarter = 0; quarter < QUARTERS; quarter++) {
    ingest_quarter(period, quarter);
    add_row(variant, p - 0.75 + 0.25 * quarter);
  }
}

static void run_variant(const char *name) {
  const struct variant *variant = variants;
  while (strcmp(variant->name, name) != 0) variant++;
  make_database();
  if (variant->restarted)
    restore(variant);
  else
    grow_old();
  add_row(variant, 0);
  for (uint32_t p = 1; p <= PERIODS; p++) run_period(variant, p);
}

/* ---- the finding ---- */

/* Fragmentation of period p, MiB: the mean of its five rows, as a graph of it would be read. */
static double of_period(const struct variant *variant, int p) {
  double sum = lab_fragmentation_mib(lab_find(variant->name, p - 0.95));
  for (int quarter = 0; quarter < QUARTERS; quarter++)
    sum += lab_fragmentation_mib(lab_find(variant->name, p - 0.75 + 0.25 * quarter));
  return sum / (1 + QUARTERS);
}

/* What became of the fragmentation of the first period, while restored chunks were left. */
struct course {
  const char *name;
  double first, worst, last; /* MiB; worst: of periods 2 ... 7; last: period 7, 28 hours after the restart */
  double fell;               /* share of first                                                            */
};

static struct course course_of(const struct variant *variant) {
  struct course course = {variant->name, of_period(variant, 1), 0, of_period(variant, CHUNKS - 1), 0};
  for (int p = 2; p < CHUNKS; p++)
    if (of_period(variant, p) > course.worst) course.worst = of_period(variant, p);
  course.fell = 1 - course.last / course.first;
  lab_add_extra(lab_find(variant->name, CHUNKS - 1), "first_mib=%.2f;worst_mib=%.2f;last_mib=%.2f;fell=%.2f",
                course.first, course.worst, course.last, course.fell);
  return course;
}

static double mean_of(int variant) {
  double sum = 0;
  for (int p = 1; p <= PERIODS; p++) sum += of_period(&variants[variant], p);
  return sum / PERIODS;
}

static void check_lowest(int lowest, int other) {
  lab_expect(mean_of(lowest) <= 0.95 * mean_of(other), "12 periods' mean: %s %.1f MiB, %s %.1f", variants[lowest].name,
             mean_of(lowest), variants[other].name, mean_of(other));
}

static void check_grows(struct course course) {
  lab_expect(course.worst >= 1.15 * course.first, "%s does not grow: period 1 %.1f MiB, worst later %.1f", course.name,
             course.first, course.worst);
}

static void check_does_not_grow(struct course course) {
  lab_expect(course.worst <= 1.03 * course.first, "%s grows: period 1 %.1f MiB, worst later %.1f", course.name,
             course.first, course.worst);
}

static void check_orders(struct course chronological, struct course random) {
  lab_expect(chronological.fell >= 1.3 * random.fell && chronological.last < random.last,
             "%s falls by %.0f %% to %.1f MiB, %s by %.0f %% to %.1f", chronological.name, 100 * chronological.fell,
             chronological.last, random.name, 100 * random.fell, random.last);
}

static void run(void) {
  for (size_t i = 0; i < VARIANTS; i++) {
    lab_run_parts(&variants[i].name, 1, i, VARIANTS);
    lab_progress((double)(i + 1) / VARIANTS);
  }
  struct course random = course_of(&variants[RANDOM_128]), chronological = course_of(&variants[CHRONOLOGICAL_128]);
  check_grows(course_of(&variants[RANDOM_EXACT]));
  check_grows(course_of(&variants[CHRONOLOGICAL_EXACT]));
  check_does_not_grow(random);
  check_does_not_grow(chronological);
  check_orders(chronological, random);
  for (int other = RANDOM_EXACT; other < CHRONOLOGICAL_128; other++) check_lowest(CHRONOLOGICAL_128, other);
  const struct variant *usual = &variants[NEVER], *one_buffer = &variants[ONE_BUFFER];
  lab_expect(of_period(one_buffer, CHUNKS - 1) < 2 * of_period(usual, CHUNKS - 1) + 1,
             "with one read buffer, sorting alone leaves %.1f MiB in period 7, a node never restarted has %.1f",
             of_period(one_buffer, CHUNKS - 1), of_period(usual, CHUNKS - 1));
}

int main(int argc, char **argv) {
  static const struct lab_scenario scenario = {
      .name = "tsdb",
      .question =
          "Why does the heap of a time-series database not recover from a restart, and which restore order and "
          "chunk capacity cure it?",
      .workload =
          "16,384 series of 8 chunks that grow by Go's slice rule from 128 bytes; restored in random or chronological "
          "order, with exact size or from 128; then 12 periods that each purge the oldest chunk and fill a new one.",
      .metric = "heap in use minus heap allocated, five times a period, over 12 periods.",
      .finding =
          "Only chronological order with capacity 128 recovers; exact sizes grow worse while restored chunks are "
          "left, sorted or not, and capacity 128 in random order stays fragmented.",
      .run = run,
      .part = run_variant,
      .knobs = knobs};
  return lab_main(argc, argv, &scenario);
}
