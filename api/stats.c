/* stats.c - gc_read_stats and its text forms, made from one table of fields. A third one is api/metrics.c. */
#include <stddef.h>
#include <string.h>

#include "alloc/cache.h"
#include "alloc/central.h"
#include "alloc/inside.h"
#include "alloc/pageheap.h"
#include "api/object.h"
#include "api/stats.h"
#include "gc/cycle.h"
#include "gc_stats.h"
#include "runtime/init.h"
#include "runtime/thread.h"

/* What a struct gc_stats holds: the scalar fields, in order of printing. */
const struct stats_field stats_fields[] = {
#define FIELD(name, unit, kind, metric, help) \
  { #name, unit, kind, metric, help, offsetof(struct gc_stats, name) }
    FIELD(alloc, "B", GAUGE, "alloc_bytes", "Bytes of slots that hold objects"),
    FIELD(total_alloc, "B", COUNTER, "allocated_bytes", "Bytes of slots ever allocated"),
    FIELD(sys, "B", GAUGE, "sys_bytes", "Bytes obtained from the system for heap and metadata"),
    FIELD(mallocs, "", COUNTER, "mallocs", "Objects ever allocated"),
    FIELD(frees, "", COUNTER, "frees", "Objects ever freed"),
    FIELD(heap_alloc, "B", GAUGE, "heap_alloc_bytes", "Bytes of slots that hold objects"),
    FIELD(heap_sys, "B", GAUGE, "heap_sys_bytes", "Bytes of heap committed"),
    FIELD(heap_idle, "B", GAUGE, "heap_idle_bytes", "Bytes of pages in no span"),
    FIELD(heap_inuse, "B", GAUGE, "heap_inuse_bytes", "Bytes of pages in spans in use"),
    FIELD(heap_released, "B", GAUGE, "heap_released_bytes", "Bytes of idle pages that are not resident"),
    FIELD(heap_released_inside, "B", GAUGE, "heap_released_inside_bytes",
          "Bytes of free OS pages inside spans in use that are given back now"),
    FIELD(heap_objects, "", GAUGE, "heap_objects", "Slots that hold objects"),
    FIELD(gc_sys, "B", GAUGE, "gc_sys_bytes", "Bytes of metadata"),
    FIELD(memory_limit, "B", GAUGE, "memory_limit_bytes", "Soft limit of heap and metadata"),
    FIELD(hard_limit, "B", GAUGE, "hard_limit_bytes", "Hard limit of heap and metadata"),
    FIELD(next_gc, "B", GAUGE, "next_gc_bytes", "Heap at which the next cycle should have ended"),
    FIELD(last_gc, "ns", GAUGE, "last_gc_time_seconds", "End of the last cycle since 1970, 0 before the first"),
    FIELD(pause_total_ns, "ns", COUNTER, "pause_seconds", "Time the world was stopped"),
    FIELD(num_gc, "", COUNTER, "gc_cycles", "Cycles completed"),
    FIELD(num_forced_gc, "", COUNTER, "gc_forced_cycles", "Cycles asked for by the program or by refused memory"),
    FIELD(gc_cpu_ns, "ns", COUNTER, "gc_cpu_seconds", "CPU time of marking, assists included"),
    FIELD(gc_assist_ns, "ns", COUNTER, "gc_assist_cpu_seconds", "CPU time of marking by threads that allocated"),
    FIELD(live_bytes, "B", GAUGE, "live_bytes", "Bytes marked by the last cycle"),
    FIELD(stack_scan_bytes, "B", GAUGE, "stack_scan_bytes", "Bytes of stacks and registers searched by the last cycle"),
    FIELD(root_scan_bytes, "B", GAUGE, "root_scan_bytes", "Bytes of all roots searched by the last cycle"),
#undef FIELD
};
#define FIELDS (sizeof stats_fields / sizeof stats_fields[0])
const size_t stats_field_count = FIELDS;
/* A field added to the struct and not to the table is caught here. */
_Static_assert(offsetof(struct gc_stats, pause_ns) == (FIELDS + 1) * sizeof(uint64_t), "every scalar field has a row");

_Static_assert(GC_STATS_BUCKETS == TIME_BUCKETS, "the public header knows the buckets");

uint64_t stats_value(const struct gc_stats *s, const struct stats_field *f) {
  uint64_t v;
  memcpy(&v, (const char *)s + f->offset, sizeof v);
  return v;
}

/* ---- reading ---- */

/* A refill raises `taken` before it publishes the mask, and a flush clears the mask before it lowers `taken`: between two
 * equal readings of it the mask belongs to it, or counts too little, and then too much is handed out: never below 0. */
static uint64_t handed_out(const struct cache *k, unsigned sc) {
  for (;;) {
    uint64_t taken = atomic_load_acquire(&k->span[sc].taken);
    if (taken == 0) return 0; /* most classes of most threads */
    uint64_t mask = atomic_load_acquire((const atomic_word *)(const void *)&k->group[sc].free);
    if (taken == atomic_load_relaxed(&k->span[sc].taken)) return taken - min_size(taken, count_bits(mask));
  }
}

static uint64_t class_taken(unsigned sc) {
  uint64_t taken = atomic_load_relaxed(&central_counts(sc)->retired);
  for (struct cache *k = cache_first(); k != NULL; k = k->next) taken += handed_out(k, sc);
  return taken;
}

/* What was freed is read before what was taken: it is never more. */
static struct stats_bytes class_bytes(unsigned sc, uint64_t freed, uint64_t taken) {
  const struct central_counts *counts = central_counts(sc);
  uint64_t size = span_class_size(sc);
  if (sc >= 2) return (struct stats_bytes){taken * size, (taken - freed) * size};
  uint64_t gone = atomic_load_relaxed(&counts->large_freed_bytes), made = atomic_load_relaxed(&counts->large_bytes);
  return (struct stats_bytes){made, made - gone};
}

struct stats_bytes stats_bytes(void) {
  struct stats_bytes sum = {0, 0};
  caches_lock();
  for (unsigned sc = 0; sc < span_classes(); sc++) {
    uint64_t freed = atomic_load_relaxed(&central_counts(sc)->freed), taken = class_taken(sc);
    if (taken == 0) continue;
    struct stats_bytes b = class_bytes(sc, freed, taken);
    sum.allocated += b.allocated;
    sum.in_use += b.in_use;
  }
  caches_unlock();
  return sum;
}

static void read_class(struct gc_stats *out, unsigned sc) {
  struct gc_stats_class *c = &out->by_size[class_of(sc)];
  uint64_t freed = atomic_load_relaxed(&central_counts(sc)->freed), taken = class_taken(sc);
  struct stats_bytes b = class_bytes(sc, freed, taken);
  c->size = span_class_size(sc);
  c->mallocs += taken;
  c->frees += freed;
  out->mallocs += taken;
  out->frees += freed;
  out->total_alloc += b.allocated;
  out->heap_alloc += b.in_use;
}

/* Of the objects that share a block one is counted with the block; the others count as allocated, and at
 * once as freed: the block is the object that stays. */
static void read_tiny(struct gc_stats *out) {
  for (struct cache *k = cache_first(); k != NULL; k = k->next) {
    uint64_t blocks = atomic_load_relaxed(&k->tiny_blocks), objects = atomic_load_relaxed(&k->tiny_objects);
    uint64_t n = objects > blocks ? objects - blocks : 0; /* a block is counted before its first object */
    out->mallocs += n;
    out->frees += n;
  }
}

static void read_heap(struct gc_stats *out) {
  struct pageheap_totals t = pageheap_totals();
  caches_lock();
  for (unsigned sc = 0; sc < span_classes(); sc++) read_class(out, sc);
  caches_unlock();
  out->heap_objects = out->mallocs - out->frees;
  read_tiny(out);
  out->alloc = out->heap_alloc;
  out->heap_sys = t.sys;
  out->heap_inuse = t.inuse;
  out->heap_idle = t.sys - t.inuse;
  out->heap_released = t.released;
  out->heap_released_inside = atomic_load_relaxed(&inside.bytes);
  out->gc_sys = t.metadata;
  out->sys = out->heap_sys + out->gc_sys;
}

static void read_cycles(struct gc_stats *out) {
  struct cycle_stats s;
  cycle_read_stats(&s);
  out->memory_limit = s.memory_limit;
  out->hard_limit = s.hard_limit;
  out->next_gc = s.next_gc;
  out->last_gc = s.last_gc;
  out->pause_total_ns = s.pause_total_ns;
  out->num_gc = s.num_gc;
  out->num_forced_gc = s.num_forced;
  out->gc_cpu_ns = s.cpu_ns + s.assist_ns;
  out->gc_assist_ns = s.assist_ns;
  out->live_bytes = s.live_bytes;
  out->stack_scan_bytes = s.stack_bytes;
  out->root_scan_bytes = s.root_bytes;
  memcpy(out->pause_ns, s.pause_ns, sizeof out->pause_ns);
  memcpy(out->pause_end, s.pause_end, sizeof out->pause_end);
  memcpy(out->pause_hist, s.pause_hist, sizeof out->pause_hist);
  memcpy(out->assist_hist, s.assist_hist, sizeof out->assist_hist);
}

void gc_read_stats(struct gc_stats *out) {
  runtime_ensure_init();
  memset(out, 0, sizeof *out);
  out->struct_size = sizeof *out;
  read_cycles(out);
  library_enter();
  read_heap(out);
  library_leave();
}

/* ---- text ---- */

static void json_array(FILE *to, const char *name, const uint64_t *v, size_t n) {
  fprintf(to, "  \"%s\": [", name);
  for (size_t i = 0; i < n; i++) fprintf(to, "%s%llu", i == 0 ? "" : ", ", (unsigned long long)v[i]);
  fprintf(to, "],\n");
}

int gc_stats_print_json(FILE *to, const struct gc_stats *s) {
  fprintf(to, "{\n");
  for (size_t i = 0; i < FIELDS; i++)
    fprintf(to, "  \"%s\": %llu,\n", stats_fields[i].name, (unsigned long long)stats_value(s, &stats_fields[i]));
  json_array(to, "pause_ns", s->pause_ns, GC_STATS_PAUSES);
  json_array(to, "pause_end", s->pause_end, GC_STATS_PAUSES);
  json_array(to, "pause_hist", s->pause_hist, GC_STATS_BUCKETS);
  json_array(to, "assist_hist", s->assist_hist, GC_STATS_BUCKETS);
  fprintf(to, "  \"by_size\": [\n");
  for (size_t i = 0; i < GC_STATS_CLASSES; i++)
    fprintf(to, "    {\"size\": %llu, \"mallocs\": %llu, \"frees\": %llu}%s\n", (unsigned long long)s->by_size[i].size,
            (unsigned long long)s->by_size[i].mallocs, (unsigned long long)s->by_size[i].frees,
            i + 1 < GC_STATS_CLASSES ? "," : "");
  fprintf(to, "  ]\n}\n");
  return ferror(to) ? -1 : 0;
}

int gc_stats_print_table(FILE *to, const struct gc_stats *s) {
  for (size_t i = 0; i < FIELDS; i++)
    fprintf(to, "%-20s %20llu %s\n", stats_fields[i].name, (unsigned long long)stats_value(s, &stats_fields[i]),
            stats_fields[i].unit);
  fprintf(to, "\n%10s %14s %14s %14s\n", "size", "mallocs", "frees", "objects");
  for (size_t i = 0; i < GC_STATS_CLASSES; i++) {
    const struct gc_stats_class *c = &s->by_size[i];
    if (c->mallocs == 0) continue;
    fprintf(to, "%10llu %14llu %14llu %14llu\n", (unsigned long long)c->size, (unsigned long long)c->mallocs,
            (unsigned long long)c->frees, (unsigned long long)(c->mallocs - c->frees));
  }
  return ferror(to) ? -1 : 0;
}
