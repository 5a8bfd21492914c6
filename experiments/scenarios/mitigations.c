/* mitigations.c - one workload, written in the ways that the article "Memory Fragmentation in Go" advises, in one table.
 *
 * Workload: eight rounds. A round makes 16 MiB of records of one size (256 to 1024 bytes, each round another, so that
 *           no round can use the holes that an earlier one left), computes with them, and keeps one random
 *           record of every 8 KiB for good.
 * Variants: pointers             the baseline: each record an object of its own
 *           values               the records of a round in one array, the kept ones copied to a smaller one
 *           pool                 records in buffers of 1 KiB that the program takes back and hands out again
 *           together             kept records are allocated together, before the round's others
 *           short_lived_first    and after the round's others are gone
 *           compaction           the baseline, and every second round all kept records are reallocated and copied
 * Rows:     per variant one per round (t), measured after the round; t=9 of pool: after the pool was emptied.
 * Each variant runs in a process of its own. With a malloc, what would be unreachable is freed at the same place.
 * Reading:  play_round; scenario.h for why roots are volatile and steps out of line. */
#include <inttypes.h>
#include <string.h>

#include "compactor.h"
#include "scenario.h"

enum { ROUNDS = 8, PER_KEPT = 8192, BUFFER = 1024, COMPACT_ROUNDS = 2, MAX_KEPT = 2048 };

static const size_t sizes[ROUNDS] = {256, 320, 384, 448, 512, 640, 768, 1024};

/* The first words of every record; the rest is filled with the low byte of the key. */
struct record {
  uint64_t key;
  uint64_t size;
};

/* Reachable from here: kept[r][i] is a record, or (values) kept[r] is the array of them. */
static void *volatile kept[ROUNDS];
static void **volatile burst; /* the records of the round under way, or (values) their array */
static struct compactor compactor = {.policy = {COMPACT_EVERY, COMPACT_ROUNDS}};
static struct {
  void **volatile idle; /* an object: the buffers that may be handed out again */
  size_t count, room;
} pool;
static uint64_t live_bytes, peak;
static volatile uint64_t sum; /* so that the work is done */

static size_t burst_bytes(void) { return lab_small() ? 2 << 20 : 16 << 20; }
static size_t kept_count(void) { return burst_bytes() / PER_KEPT; }
static size_t per_kept(int round) { return PER_KEPT / sizes[round]; } /* records of which one is kept */
static size_t record_count(int round) { return kept_count() * per_kept(round); }

/* ---- records ---- */

static void fill(void *memory, int round, size_t i) {
  struct record *record = memory;
  record->key = (uint64_t)round << 32 | i;
  record->size = sizes[round];
  memset(record + 1, (int)(i & 0xff), sizes[round] - sizeof *record);
}

/* The work: a look at both ends. */
static uint64_t use(const void *memory) {
  const struct record *record = memory;
  return record->key + ((const unsigned char *)memory)[record->size - 1];
}

static void check(const void *memory, int round) {
  const struct record *record = memory;
  if (record->key >> 32 != (uint64_t)round || record->size != sizes[round] ||
      ((const unsigned char *)memory)[record->size - 1] != (record->key & 0xff))
    lab_die("a record of round %d was lost", round + 1);
}

/* ---- a pool of buffers ---- */

LAB_STEP void pool_open(void) {
  pool.room = record_count(0);
  pool.idle = lab_new(pool.room * sizeof(void *));
  live_bytes += pool.room * sizeof(void *);
}

static void *pool_take(void) {
  if (pool.count == 0) {
    live_bytes += BUFFER;
    return lab_new_noscan(BUFFER);
  }
  void *buffer = pool.idle[--pool.count];
  pool.idle[pool.count] = NULL;
  return buffer;
}

static void pool_give(void *buffer) { pool.idle[pool.count++] = buffer; }

LAB_STEP void pool_empty(void) {
  while (pool.count > 0) {
    lab_free(pool.idle[--pool.count]);
    pool.idle[pool.count] = NULL;
    live_bytes -= BUFFER;
  }
}

/* ---- a round of each variant ---- */

/* What differs when each record is an object. */
struct way {
  const char *variant;
  bool pooled;   /* records are buffers of the pool                       */
  bool before;   /* room for the kept ones is made before the others      */
  bool after;    /* the kept ones are made when the others are gone       */
  bool compacts; /* kept records are reallocated and copied now and then  */
  bool values;   /* records are no objects                                */
};

static const struct way ways[] = {{.variant = "pointers"},
                                  {.variant = "values", .values = true},
                                  {.variant = "pool", .pooled = true},
                                  {.variant = "together", .before = true},
                                  {.variant = "short_lived_first", .after = true},
                                  {.variant = "compaction", .compacts = true}};
enum { WAYS = sizeof ways / sizeof ways[0] };

static void note_peak(void) {
  lab_peek();
  if (lab_figures()->heap_usage > peak) peak = lab_figures()->heap_usage;
}

/* Which record of each group is kept, the same in all variants. */
static size_t chosen[MAX_KEPT];

static void choose(int round) {
  for (size_t group = 0; group < kept_count(); group++) chosen[group] = lab_below(per_kept(round));
}

LAB_STEP void make_burst(const struct way *way, int round) {
  size_t count = record_count(round);
  if (way->values) {
    burst = lab_new_noscan(count * sizes[round]);
    for (size_t i = 0; i < count; i++) fill((char *)burst + i * sizes[round], round, i);
    return;
  }
  burst = lab_new(count * sizeof *burst);
  for (size_t i = 0; i < count; i++) {
    burst[i] = way->pooled ? pool_take() : lab_new_noscan(sizes[round]);
    fill(burst[i], round, i);
  }
}

LAB_STEP void compute(const struct way *way, int round) {
  for (size_t i = 0; i < record_count(round); i++)
    sum += use(way->values ? (const char *)burst + i * sizes[round] : burst[i]);
}

LAB_STEP void make_room(int round) {
  void **records = lab_new(kept_count() * sizeof *records);
  kept[round] = records;
  for (size_t group = 0; group < kept_count(); group++) records[group] = lab_new_noscan(sizes[round]);
}

/* Takes the chosen records out of the burst: as they are, or copied to the room made for them. */
LAB_STEP void keep(const struct way *way, int round) {
  if (!way->before) kept[round] = lab_new(kept_count() * sizeof(void *));
  void **records = kept[round];
  for (size_t group = 0; group < kept_count(); group++) {
    void **place = &burst[group * per_kept(round) + chosen[group]];
    if (way->before) {
      memcpy(records[group], *place, sizes[round]);
      continue;
    }
    records[group] = *place;
    *place = NULL;
  }
}

LAB_STEP void keep_values(int round) {
  char *records = lab_new_noscan(kept_count() * sizes[round]);
  kept[round] = records;
  for (size_t group = 0; group < kept_count(); group++)
    memcpy(records + group * sizes[round], (char *)burst + (group * per_kept(round) + chosen[group]) * sizes[round],
           sizes[round]);
}

LAB_STEP void drop_burst(const struct way *way, int round) {
  for (size_t i = 0; !way->values && i < record_count(round); i++) {
    if (burst[i] != NULL && way->pooled)
      pool_give(burst[i]);
    else
      lab_free(burst[i]);
  }
  lab_free(burst);
  burst = NULL;
}

/* The kept ones are computed again, from nothing but which they are. */
LAB_STEP void make_kept(int round) {
  make_room(round);
  void **records = kept[round];
  for (size_t group = 0; group < kept_count(); group++)
    fill(records[group], round, group * per_kept(round) + chosen[group]);
}

static void *copy_record(const void *old, size_t size, enum compact_object kind) {
  (void)kind;
  return memcpy(lab_new_noscan(size), old, size);
}

static void free_record(void *old) { lab_free(old); }

LAB_STEP void compact(int rounds) {
  compactor_begin(&compactor);
  for (int round = 0; round < rounds; round++) {
    void **records = kept[round];
    for (size_t i = 0; i < kept_count(); i++)
      records[i] = compactor_copy(&compactor, records[i], sizes[round], COMPACT_NOSCAN);
  }
}

static void compact_when_due(int rounds) {
  struct compact_now now = {.tick = (uint64_t)rounds};
  if (!compactor_due(&compactor, &now)) return;
  compact(rounds);
  compactor_end(&compactor, &now);
}

static void play_round(const struct way *way, int round) {
  choose(round);
  if (way->before) make_room(round);
  make_burst(way, round);
  note_peak();
  compute(way, round);
  if (way->values)
    keep_values(round);
  else if (!way->after)
    keep(way, round);
  drop_burst(way, round);
  if (way->after) make_kept(round);
  if (way->compacts) compact_when_due(round + 1);
  if (!way->pooled) live_bytes += kept_count() * sizes[round];
  if (!way->values) live_bytes += kept_count() * sizeof(void *);
}

LAB_STEP void verify(const struct way *way) {
  for (int round = 0; round < ROUNDS; round++)
    for (size_t i = 0; i < kept_count(); i++)
      check(way->values ? (char *)kept[round] + i * sizes[round] : ((void **)kept[round])[i], round);
}

/* ---- the scenario ---- */

static const struct way *find_way(const char *variant) {
  for (int i = 0; i < WAYS; i++)
    if (!strcmp(ways[i].variant, variant)) return &ways[i];
  lab_die("there is no variant %s", variant);
}

static void measure_row(const struct way *way, int t) {
  lab_measure();
  lab_row(way->variant, t, live_bytes, "peak=%" PRIu64 ";copied=%" PRIu64, peak, compactor.bytes);
}

static void part(const char *variant) {
  const struct way *way = find_way(variant);
  if (!LAB_COLLECTS) compactor.release = free_record;
  compactor.copy = copy_record;
  if (way->pooled) pool_open();
  for (int round = 0; round < ROUNDS; round++) {
    play_round(way, round);
    measure_row(way, round + 1);
    lab_progress((round + 1.0) / ROUNDS);
  }
  if (way->pooled) {
    pool_empty();
    measure_row(way, ROUNDS + 1);
  }
  verify(way);
}

/* What is left of the baseline's max fragmentation must be under this. */
enum { MAX_LEFT_PERCENT = 10 };

static void judge(const struct way *way) {
  const struct lab_row *baseline = lab_find(ways[0].variant, ROUNDS), *row = lab_find(way->variant, ROUNDS);
  double left = 100 * lab_fragmentation_mib(row) / lab_fragmentation_mib(baseline);
  lab_add_extra(row, "left_percent=%.2f;usage_left_percent=%.2f", left,
                100 * lab_usage_mib(row) / lab_usage_mib(baseline));
  lab_expect(left < MAX_LEFT_PERCENT, "%s leaves %.1f %% of the baseline's max fragmentation (%.2f MiB)", way->variant,
             left, lab_fragmentation_mib(baseline));
}

static void run(void) {
  for (size_t i = 0; i < WAYS; i++) {
    const char *variant = ways[i].variant;
    lab_run_parts(&variant, 1, i, WAYS);
  }
  const struct lab_row *baseline = lab_find(ways[0].variant, ROUNDS);
  lab_expect(lab_fragmentation_mib(baseline) > lab_usage_mib(baseline) / 2,
             "the baseline's max fragmentation, %.2f MiB, is not even half of its heap usage",
             lab_fragmentation_mib(baseline));
  for (int i = 1; i < WAYS; i++) judge(&ways[i]);
}

static const struct lab_scenario scenario = {
    .name = "mitigations",
    .question = "How much does each advice against fragmentation help?",
    .workload = "Eight rounds, each 16 MiB of records of another size, one of every 8 KiB of which is kept.",
    .metric = "Max fragmentation after the last round, after collecting and giving back.",
    .finding =
        "Arrays of values, a buffer pool, allocating survivors together (before or after the short-lived) and "
        "compaction each remove more than 90 % of the max fragmentation of an array of pointers.",
    .run = run,
    .part = part,
};

int main(int argc, char **argv) { return lab_main(argc, argv, &scenario); }
