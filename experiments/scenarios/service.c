/* service.c - the real-world example of "Memory Fragmentation in Go": a service runs out of memory hours after a task was
 * added that keeps next to nothing; moving the task to a process of its own cures it.
 *
 * Owns:    the model. Requests allocate about 10 MiB each, four at a time, and drop all of it when they are done. The
 *          task works through entries: a burst of the same kind, of which `keep` small objects, under 1 KiB together, stay
 *          until the task ends. Both advance in turns, in slices. As documents do, each burst mostly has objects of a few
 *          sizes of its own.
 * Scale:   50,000 entries as in the article; the burst of an entry is a part of a request's, and each request lasts for
 *          many entries, so that hours become seconds. experiments/README.md tells what that changes.
 * Rows:    t is entries done. Together: under a limit; separated: two processes at once, which share it.
 * Reading: run_part, then check. */
#include <inttypes.h>
#include <string.h>

#include "scenario.h"

enum {
  MAX_REQUESTS = 16,
  MAX_FAVOURITES = 24,
  SLICES = 4,         /* of an entry            */
  KEEP_BYTES = 1023,  /* of an entry's, at most */
  INDEX_OBJECTS = 510 /* an index is 4 KiB      */
};

/* The article has the entries, the bytes kept of each and the bytes of a request; these were chosen. experiments/README.md:
 * over which range the finding holds. */
static uint32_t request_count = 4, favourites = 3, keep = 6, keep_size = 256, run_bytes = 1024, entry_percent = 100,
                limit_percent = 100;

static const struct lab_knob knobs[] = {
    {"requests", &request_count, 1, MAX_REQUESTS, "requests at a time"},
    {"favourites", &favourites, 0, MAX_FAVOURITES, "sizes that a burst mostly has: n of n + 1 of its runs"},
    {"keep", &keep, 1, 100, "objects that are kept of an entry"},
    {"keep_size", &keep_size, 32, 1023, "bytes of a kept object, at most"},
    {"run", &run_bytes, 32, 1 << 20, "bytes of one size in a row"},
    {"entry", &entry_percent, 10, 1000, "percent of the usual bytes of an entry's burst"},
    {"limit", &limit_percent, 10, 1000, "percent of the usual memory limits"},
    {NULL, NULL, 0, 0, NULL}};

static const uint16_t sizes[] = {32,  48,  64,  80,  96,  112,  128,  160,  192,  224,  256,  320,
                                 384, 448, 512, 640, 768, 1024, 1280, 1536, 2048, 3072, 4096, 8192};

/* Addresses of objects, some hundred at a time. */
struct index {
  struct index *next;
  size_t used;
  void *objects[INDEX_OBJECTS];
};

struct burst {
  struct index *objects;
  uint64_t bytes, target;
  uint64_t keep_at;  /* the next object of at most keep_size after so many bytes is kept */
  uint32_t may_keep; /* bytes                                                           */
  uint32_t runs;
  uint16_t favourites[MAX_FAVOURITES];
};

struct sizing {
  uint64_t entries, entry_bytes, request_bytes, served_per_entry;
  uint64_t task_limit, service_limit; /* together: their sum */
};

static struct sizing sizing;
static struct burst entry, requests[MAX_REQUESTS];
static struct index *volatile kept;
static uint64_t kept_bytes, served;

static struct sizing read_sizing(void) {
  struct sizing usual = {50000, 128 << 10, 10 << 20, 256 << 10, 48 << 20, 48 << 20};
  if (lab_small()) usual = (struct sizing){10000, 64 << 10, 4 << 20, 128 << 10, 11 << 20, 20 << 20};
  usual.entry_bytes = usual.entry_bytes * entry_percent / 100;
  usual.task_limit = usual.task_limit * limit_percent / 100;
  usual.service_limit = usual.service_limit * limit_percent / 100;
  return usual;
}

/* ---- bursts ---- */

static bool add(struct index **to, void *object) {
  if (!*to || (*to)->used == INDEX_OBJECTS) {
    struct index *index = lab_try_new(sizeof *index);
    if (!index) return false;
    index->next = *to;
    *to = index;
  }
  (*to)->objects[(*to)->used++] = object;
  return true;
}

static void begin_burst(struct burst *burst, uint64_t target) {
  *burst = (struct burst){.target = target, .may_keep = KEEP_BYTES, .keep_at = lab_below(2 * target / keep)};
  for (size_t i = 0; i < favourites; i++) burst->favourites[i] = sizes[lab_below(sizeof sizes / sizeof sizes[0])];
}

/* Drops the burst; by hand where nobody collects. */
LAB_STEP void end_burst(struct burst *burst) {
  struct index *index = burst->objects;
  burst->objects = NULL;
  burst->bytes = 0;
  while (!LAB_COLLECTS && index) {
    struct index *next = index->next;
    for (size_t i = 0; i < index->used; i++) lab_free(index->objects[i]);
    lab_free(index);
    index = next;
  }
}

static bool allocate(struct burst *burst, uint32_t size, bool task) {
  void *object = lab_try_new_noscan(size);
  if (!object) return false;
  if (task && burst->bytes >= burst->keep_at && size <= keep_size && size <= burst->may_keep) {
    burst->keep_at += lab_below(2 * burst->target / keep);
    burst->may_keep -= size;
    kept_bytes += size;
    return add((struct index **)&kept, object);
  }
  burst->bytes += size;
  return add(&burst->objects, object);
}

/* Allocates so many bytes more, in runs of one size. False: memory was refused. */
LAB_STEP bool advance(struct burst *burst, uint64_t bytes, bool task) {
  for (uint64_t end = burst->bytes + bytes; burst->bytes < end;) {
    uint32_t which = burst->runs++ % (favourites + 1);
    uint32_t size = which < favourites ? burst->favourites[which] : sizes[lab_below(sizeof sizes / sizeof sizes[0])];
    for (uint32_t done = 0; done < run_bytes; done += size)
      if (!allocate(burst, size, task)) return false;
  }
  return true;
}

/* ---- the service and the task ---- */

/* As busy as ever: the next request begins when one is done. */
LAB_STEP bool serve(uint64_t bytes) {
  for (size_t i = 0; i < request_count; i++) {
    if (requests[i].bytes >= requests[i].target) {
      end_burst(&requests[i]);
      begin_burst(&requests[i], sizing.request_bytes);
      served++;
    }
    if (!advance(&requests[i], bytes / request_count, false)) return false;
  }
  return true;
}

static bool one_entry(bool task, bool service) {
  if (task) begin_burst(&entry, sizing.entry_bytes);
  for (int slice = 0; slice < SLICES; slice++) {
    if (task && !advance(&entry, sizing.entry_bytes / SLICES, true)) return false;
    if (service && !serve(sizing.served_per_entry / SLICES)) return false;
  }
  if (task) end_burst(&entry);
  return true;
}

static void add_row(const char *variant, uint64_t done, bool refused) {
  uint64_t live = kept_bytes + entry.bytes;
  for (size_t i = 0; i < request_count; i++) live += requests[i].bytes;
  lab_measure();
  lab_row(variant, (double)done, live, "kept=%" PRIu64 ";served=%" PRIu64 ";refused=%d", kept_bytes, served, refused);
}

static const char TOGETHER[] = "together", TASK[] = "separated_task", SERVICE[] = "separated_service";

static uint64_t limit_of(const char *variant) {
  if (!strcmp(variant, TASK)) return sizing.task_limit;
  if (!strcmp(variant, SERVICE)) return sizing.service_limit;
  return sizing.task_limit + sizing.service_limit;
}

static void run_part(const char *name) {
  bool task = strcmp(name, SERVICE) != 0, service = strcmp(name, TASK) != 0, refused = false;
  sizing = read_sizing();
  for (size_t i = 0; i < request_count; i++) begin_burst(&requests[i], sizing.request_bytes * (i + 1) / request_count);
  lab_set_limit(limit_of(name));
  add_row(name, 0, false);
  uint64_t rows = lab_small() ? 25 : 100;
  for (uint64_t done = 0; done < sizing.entries && !refused;) {
    refused = !one_entry(task, service);
    if (!refused) done++;
    if (refused || done % ((sizing.entries / rows)) == 0) add_row(name, done, refused);
    lab_progress((double)done / (double)sizing.entries);
  }
}

/* ---- the finding ---- */

/* Mean fragmentation of a variant's rows with from < t <= to, bytes. */
static double mean_fragmentation(const char *variant, double from, double to) {
  double sum = 0, rows = 0;
  for (size_t i = 0; i < lab_row_count(); i++) {
    const struct lab_row *row = lab_row_at(i);
    if (strcmp(row->variant, variant) != 0 || row->t <= from || row->t > to) continue;
    sum += lab_fragmentation_mib(row) * LAB_MIB;
    rows++;
  }
  return rows > 0 ? sum / rows : 0;
}

static const struct lab_row *last_row(const char *variant) {
  const struct lab_row *last = NULL;
  for (size_t i = 0; i < lab_row_count(); i++)
    if (!strcmp(lab_row_at(i)->variant, variant)) last = lab_row_at(i);
  if (!last) lab_die("%s has no rows", variant);
  return last;
}

/* Out of memory, though what is live would have fitted in three quarters of the limit. */
static void check_together(void) {
  const struct lab_row *end = last_row(TOGETHER);
  lab_add_extra(end, "limit=%" PRIu64, limit_of(TOGETHER));
  lab_expect(lab_extra(end, "refused") == 1, "together: %.0f entries done, and the limit was not hit", end->t);
  lab_expect((double)end->live_bytes < 0.75 * (double)limit_of(TOGETHER),
             "together: at the limit, %.1f of %.1f MiB were live, so it was not fragmentation",
             (double)end->live_bytes / LAB_MIB, (double)limit_of(TOGETHER) / LAB_MIB);
}

static void check_separated(const char *variant) {
  const struct lab_row *end = last_row(variant);
  lab_add_extra(end, "limit=%" PRIu64, limit_of(variant));
  lab_expect(lab_extra(end, "refused") == 0, "%s: hit its limit after %.0f entries", variant, end->t);
}

static void check_service_is_flat(void) {
  double all = (double)sizing.entries, at_limit = last_row(TOGETHER)->t;
  double early = mean_fragmentation(SERVICE, 0, all / 4), late = mean_fragmentation(SERVICE, all * 3 / 4, all);
  double together = mean_fragmentation(TOGETHER, at_limit * 3 / 4, at_limit);
  lab_expect(late <= 1.5 * early, "separated_service: fragmentation grew from %.1f to %.1f MiB", early / LAB_MIB,
             late / LAB_MIB);
  lab_expect(2 * late <= together, "fragmentation late on: together %.1f MiB, the service alone %.1f",
             together / LAB_MIB, late / LAB_MIB);
}

static void run(void) {
  const char *const parts[] = {TOGETHER, TASK,
                               SERVICE}; /* at once: they have nothing in common, and it is the longest run */
  sizing = read_sizing();
  lab_run_parts(parts, 3, 0, 1);
  check_together();
  check_separated(TASK);
  check_separated(SERVICE);
  check_service_is_flat();
}

int main(int argc, char **argv) {
  static const struct lab_scenario scenario = {
      .name = "service",
      .question =
          "Why does a service run out of memory beside a task that keeps next to nothing, and does separating them "
          "help?",
      .workload =
          "A task of 50,000 entries that each keep under 1 KiB out of a burst, beside requests of 10 MiB bursts, four "
          "at a time: in one process under a memory limit, then in two that share the limit.",
      .metric = "heap usage, live bytes and fragmentation over the entries done.",
      .finding =
          "Together, memory is refused while under three quarters of the limit are live; apart, both finish in the "
          "same memory, and the fragmentation of the service does not grow.",
      .run = run,
      .part = run_part,
      .knobs = knobs};
  return lab_main(argc, argv, &scenario);
}
