/* compaction.c - when to compact, and what it costs against what it wins: compactor.h's policies on four structures.
 *
 * Workload: per tick, entries of one size are made, a new size each tick, sixteen in turn; one entry of each 8 KiB goes into
 *           the structure, the others, payload and node, are dropped when the tick ends. For the first half of the ticks
 *           the structure grows, for the second half as many random entries leave as come: the live data stays the same.
 * Variants: structure/policy, "never" included. Each runs in a process of its own, with the same random numbers.
 * Rows:     one per variant, t = number of ticks, with the costs and the heap usage over all ticks in the extra column; the
 *           list has one for each tick before, to be drawn.
 * Reading:  play_tick; compactor.h; stores.h. With a malloc, what would be unreachable is freed at the same place. */
#include <inttypes.h>
#include <string.h>

#include "compactor.h"
#include "scenario.h"
#include "stores.h"

enum { KINDS = 16, TICKS = 80, PER_KEPT = 8192, NODE = 32 };

static const size_t sizes[KINDS] = {48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768};

static const struct {
  const char *name;
  struct compact_policy policy;
} policies[] = {{"never", {COMPACT_NEVER, 0}},
                {"doubled", {COMPACT_DOUBLED, 0}},
                {"every_4", {COMPACT_EVERY, 4}},
                {"every_16", {COMPACT_EVERY, 16}},
                {"fragmented_25", {COMPACT_FRAGMENTED, 0.25}},
                {"fragmented_50", {COMPACT_FRAGMENTED, 0.5}}};
enum { POLICIES = sizeof policies / sizeof policies[0], NEVER = 0, DOUBLED = 1, MIN_SAVED = 25 /* % */ };

/* What a tick makes and does not keep. */
struct temporary {
  struct payload *payload;
  void *node;
};
static struct temporary *volatile temporaries;
static size_t temporary_count;

static const struct store *store;
static struct compactor compactor;
static uint64_t usage_peak, insertions;
static uint64_t usage_sum[2]; /* while the structure grows, while it stays the same */

static size_t kept_per_tick(void) { return lab_small() ? 32 : 256; }

/* ---- a tick ---- */

LAB_STEP void make_entries(size_t size) {
  size_t per_kept = PER_KEPT / size;
  temporary_count = kept_per_tick() * per_kept;
  temporaries = lab_new(temporary_count * sizeof *temporaries);
  for (size_t group = 0; group < kept_per_tick(); group++) {
    size_t chosen = lab_below(per_kept);
    for (size_t i = 0; i < per_kept; i++) {
      struct payload *payload = payload_new(lab_random(), size);
      if (i == chosen)
        store->add(payload);
      else
        temporaries[group * per_kept + i] = (struct temporary){payload, lab_new(NODE)};
    }
  }
  insertions += kept_per_tick();
}

LAB_STEP void drop_temporaries(void) {
  for (size_t i = 0; i < temporary_count; i++) {
    lab_free(temporaries[i].payload);
    lab_free(temporaries[i].node);
  }
  lab_free(temporaries);
  temporaries = NULL;
}

static void note_peak(void) {
  lab_peek();
  if (lab_figures()->heap_usage > usage_peak) usage_peak = lab_figures()->heap_usage;
}

static void compact_when_due(int tick) {
  const struct lab_figures *at = lab_figures();
  struct compact_now now = {.tick = (uint64_t)tick,
                            .live = store_count.entries,
                            .fragmentation = at->heap_inuse - at->heap_alloc,
                            .usage = at->heap_usage};
  if (!compactor_due(&compactor, &now)) return;
  compactor_begin(&compactor);
  store->compact(&compactor);
  note_peak();
  compactor_end(&compactor, &now);
  lab_measure();
}

static void play_tick(int tick) {
  make_entries(sizes[tick % KINDS]);
  if (tick >= TICKS / 2) store->remove(kept_per_tick());
  store->tick();
  note_peak();
  drop_temporaries();
  lab_measure();
  compact_when_due(tick);
  usage_sum[tick >= TICKS / 2] += lab_figures()->heap_usage;
}

/* ---- a variant ---- */

static void *copy_object(const void *old, size_t size, enum compact_object kind) {
  return memcpy(kind == COMPACT_SCANNED ? lab_new(size) : lab_new_noscan(size), old, size);
}

static void free_object(void *old) { lab_free(old); }

/* STRUCTURE/POLICY */
static void set_up(const char *variant) {
  const char *slash = strchr(variant, '/');
  size_t length = slash ? (size_t)(slash - variant) : strlen(variant);
  for (int i = 0; i < STORES; i++)
    if (!strncmp(stores[i]->name, variant, length) && stores[i]->name[length] == 0) store = stores[i];
  bool found = false;
  for (int i = 0; slash && i < POLICIES; i++)
    if (!strcmp(policies[i].name, slash + 1)) {
      compactor.policy = policies[i].policy;
      found = true;
    }
  if (store == NULL || !found) lab_die("there is no variant %s", variant);
  compactor.copy = copy_object;
  compactor.least_live = kept_per_tick(); /* the first tick's */
  if (!LAB_COLLECTS) compactor.release = free_object;
}

static void part(const char *variant) {
  uint64_t n = (uint64_t)TICKS;
  set_up(variant);
  for (int tick = 0; tick < TICKS; tick++) {
    play_tick(tick);
    lab_progress((tick + 1.0) / TICKS);
    if (!strcmp(store->name, "list") && tick + 1 < TICKS)
      lab_row(variant, tick + 1, store_count.bytes, "passes=%" PRIu64, compactor.passes);
  }
  if (store->verify() != store_count.entries) lab_die("%s: entries were lost", variant);
  lab_row(variant, TICKS, store_count.bytes,
          "passes=%" PRIu64 ";objects=%" PRIu64 ";bytes=%" PRIu64 ";ms=%.2f;usage_avg=%" PRIu64
          ";usage_growing=%" PRIu64 ";usage_steady=%" PRIu64 ";usage_peak=%" PRIu64 ";side_bytes=%" PRIu64
          ";insertions=%" PRIu64,
          compactor.passes, compactor.objects, compactor.bytes, (double)compactor.ns / 1e6,
          (usage_sum[0] + usage_sum[1]) / n, usage_sum[0] / (n / 2), usage_sum[1] / (n / 2), usage_peak,
          compactor.side_bytes, insertions);
}

/* ---- the finding ---- */

static const struct lab_row *summary(int i, int policy) {
  char variant[64];
  snprintf(variant, sizeof variant, "%s/%s", stores[i]->name, policies[policy].name);
  return lab_find(variant, TICKS);
}

/* The share of a kind of heap usage that a policy saved against "never", in percent. */
static double saved(int i, int policy, const char *usage) {
  return 100 - 100 * lab_extra(summary(i, policy), usage) / lab_extra(summary(i, NEVER), usage);
}

static void judge(int i, int policy) {
  const struct lab_row *row = summary(i, policy);
  double growing = saved(i, policy, "usage_growing"), steady = saved(i, policy, "usage_steady");
  lab_add_extra(row, "saved=%.1f;saved_growing=%.1f;saved_steady=%.1f", saved(i, policy, "usage_avg"), growing, steady);
  lab_expect(growing > MIN_SAVED, "%s saves only %.1f %% while the structure grows", row->variant, growing);
  if (policy != DOUBLED) {
    lab_expect(steady > MIN_SAVED, "%s saves only %.1f %% while the live data stays", row->variant, steady);
    return;
  }
  lab_expect(steady < MIN_SAVED, "%s saves %.1f %% while the live data stays", row->variant, steady);
  double copies = lab_extra(row, "objects") / lab_extra(row, "insertions"),
         objects = strcmp(stores[i]->name, "array") ? 2 : 1;
  lab_expect(copies <= 2 * objects, "%s copies %.2f objects per entry of %g", row->variant, copies, objects);
}

static void run(void) {
  for (size_t i = 0; i < STORES; i++)
    for (size_t j = 0; j < POLICIES; j++) {
      char variant[64];
      const char *name = variant;
      snprintf(variant, sizeof variant, "%s/%s", stores[i]->name, policies[j].name);
      lab_run_parts(&name, 1, i * POLICIES + j, STORES * POLICIES);
    }
  for (int i = 0; i < STORES; i++)
    for (int j = 1; j < POLICIES; j++) judge(i, j);
}

static const struct lab_scenario scenario = {
    .name = "compaction",
    .question = "When should a program compact by hand, and what does it cost against what it wins?",
    .workload =
        "Four structures take one entry of every 8 KiB out of bursts of 16 sizes in turn; they grow, then stay "
        "the same size while entries come and go.",
    .metric = "Heap usage after each tick, averaged and peak, against the objects and bytes copied and the time.",
    .finding =
        "Compacting when the live count has doubled costs at most two copies per entry and helps while a "
        "structure grows, but not while its length stays the same; every so many ticks, or by the share of "
        "max fragmentation, helps in both.",
    .run = run,
    .part = part,
};

int main(int argc, char **argv) { return lab_main(argc, argv, &scenario); }
