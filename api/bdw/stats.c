/* stats.c - how much memory there is and how often it was collected, in the other library's terms.
 * Owns:     GC_gc_no, GC_non_gc_bytes, and what was counted when the last cycle ended.
 * Promises: getters work in callbacks too, also in a stop, but for those that take the allocation lock there as well
 *           (GC_get_heap_usage_safe, GC_get_prof_stats).
 * Costs:    GC_get_gc_no one load; heap sizes one lock; bytes allocated a walk over the counts of all span classes: some 20
 *           instructions for each class and thread, 150 where there were objects. */
#include "api/bdw/stats.h"

#include <string.h>

#include "alloc/inside.h"
#include "alloc/pageheap.h"
#include "alloc/sizeclass.h"
#include "api/bdw/params.h"
#include "api/stats.h"
#include "gc/cycle.h"

GC_word GC_gc_no, GC_non_gc_bytes;

static struct {
  atomic_word freed;         /* [A] bytes the program freed, ever */
  atomic_word told;          /* [A] bytes it said it took from lists of its own, ever */
  atomic_word most;          /* [A] that total_bytes has told */
  atomic_word measured_from; /* [A] pause_total_ns when measuring began */
  atomic_u32 measuring;      /* [A] 1: it has begun */
  /* [A; written L:CYCLE and bdw_lock] as the last cycle ended; one that ends between reading two of them is what
   * bdw_lock is for. */
  atomic_word total_then, freed_then, reclaimed_then;
} counts GC_OWN_DATA;

/* ---- bytes allocated and freed ---- */

void bdw_count_freed(size_t bytes) { atomic_add(&counts.freed, bytes); }
void GC_incr_bytes_freed(size_t bytes) { bdw_count_freed(bytes); }
void GC_incr_bytes_allocd(size_t bytes) { atomic_add(&counts.told, bytes); }

/* Of slots, ever. A count may be some slots too high while its thread takes new ones; what was told stays true, since it
 * must not fall. */
static uint64_t total_bytes(struct stats_bytes now) {
  uint64_t total = now.allocated + atomic_load_relaxed(&counts.told), most;
  do most = atomic_load_relaxed(&counts.most);
  while (total > most && !atomic_cas(&counts.most, most, total));
  return max_size(total, most);
}

static struct stats_bytes bytes_now(void) {
  bdw_look();
  struct stats_bytes now = stats_bytes();
  bdw_looked();
  return now;
}

/* By the collector, as far as it has swept. */
static uint64_t reclaimed_bytes(struct stats_bytes now) {
  uint64_t gone = now.allocated - now.in_use;
  return gone - min_size(atomic_load_relaxed(&counts.freed), gone);
}

void bdw_count_cycle(void) {
  struct stats_bytes now = bytes_now();
  atomic_store_relaxed(&counts.total_then, total_bytes(now));
  atomic_store_relaxed(&counts.freed_then, atomic_load_relaxed(&counts.freed));
  atomic_store_relaxed(&counts.reclaimed_then, reclaimed_bytes(now));
  atomic_own_add((atomic_word *)&GC_gc_no, 1);
}

GC_word GC_get_gc_no(void) { return atomic_load_relaxed((const atomic_word *)&GC_gc_no); }
size_t GC_get_total_bytes(void) { return total_bytes(bytes_now()); }

/* A cycle may end in between: then nothing has been allocated since. */
static uint64_t since(uint64_t now, const atomic_word *then) { return now - min_size(atomic_load_relaxed(then), now); }

size_t GC_get_bytes_since_gc(void) { return since(total_bytes(bytes_now()), &counts.total_then); }
size_t GC_get_expl_freed_bytes_since_gc(void) { return since(atomic_load_relaxed(&counts.freed), &counts.freed_then); }

GC_word GC_get_non_gc_bytes(void) { return atomic_load_relaxed((const atomic_word *)&GC_non_gc_bytes); }
void GC_set_non_gc_bytes(GC_word bytes) { atomic_store_relaxed((atomic_word *)&GC_non_gc_bytes, bytes); }

/* ---- memory ---- */

struct memory {
  uint64_t heap;     /* resident, free or not */
  uint64_t free;     /* of these, pages in no span */
  uint64_t unmapped; /* given back, or never touched */
  uint64_t in_spans; /* given back or not */
  uint64_t all;      /* with metadata */
};

/* What is given back inside of spans in use is counted under another lock than the rest. */
static struct memory memory_now(void) {
  bdw_look();
  struct pageheap_totals t = pageheap_totals();
  uint64_t inside_spans = min_size(atomic_load_relaxed(&inside.bytes), t.inuse);
  bdw_looked();
  return (struct memory){.heap = t.sys - t.released - inside_spans,
                         .free = t.sys - t.inuse - t.released,
                         .unmapped = t.released + inside_spans,
                         .in_spans = t.inuse,
                         .all = t.sys + t.metadata};
}

size_t GC_get_heap_size(void) { return memory_now().heap; }
size_t GC_get_free_bytes(void) { return memory_now().free; }
size_t GC_get_unmapped_bytes(void) { return memory_now().unmapped; }
size_t GC_get_obtained_from_os_bytes(void) { return memory_now().all; }
size_t GC_get_memory_use(void) { return memory_now().in_spans; }

/* What GC_malloc gives for so many bytes, as GC_size tells it. */
size_t GC_get_size_map_at(int i) {
  bdw_look();
  size_t size = i < 0 ? SIZE_MAX : round_up((size_t)i + bdw_extra, 16);
  if (size == 0) size = 16;
  size_t given = size > SMALL_MAX ? SIZE_MAX : class_size[size_class_by_table(size)];
  bdw_looked();
  return given;
}

/* ---- many at once ---- */

static void put(GC_word *to, GC_word value) {
  if (to != NULL) *to = value;
}

void GC_get_heap_usage_safe(GC_word *heap_size, GC_word *free_bytes, GC_word *unmapped, GC_word *since_gc,
                            GC_word *total) {
  bdw_lock();
  struct memory m = {0};
  if (heap_size != NULL || free_bytes != NULL || unmapped != NULL) m = memory_now();
  uint64_t all = since_gc != NULL || total != NULL ? total_bytes(bytes_now()) : 0;
  uint64_t new = since(all, &counts.total_then);
  bdw_unlock();
  put(heap_size, m.heap);
  put(free_bytes, m.free);
  put(unmapped, m.unmapped);
  put(since_gc, new);
  put(total, all);
}

/* In the order in which that library added them. */
struct GC_prof_stats_s {
  GC_word heapsize_full, free_bytes_full, unmapped_bytes; /* the first two with the third */
  GC_word bytes_allocd_since_gc, allocd_bytes_before_gc;
  GC_word non_gc_bytes, gc_no;
  GC_word markers_m1; /* markers without the one that leads */
  GC_word bytes_reclaimed_since_gc, reclaimed_bytes_before_gc;
  GC_word expl_freed_bytes_since_gc;
  GC_word obtained_from_os_bytes;
};

static struct GC_prof_stats_s prof_stats(void) {
  struct memory m = memory_now();
  struct stats_bytes now = bytes_now();
  uint64_t total = total_bytes(now), new = since(total, &counts.total_then);
  return (struct GC_prof_stats_s){.heapsize_full = m.heap + m.unmapped,
                                  .free_bytes_full = m.free + m.unmapped,
                                  .unmapped_bytes = m.unmapped,
                                  .bytes_allocd_since_gc = new,
                                  .allocd_bytes_before_gc = total - new,
                                  .non_gc_bytes = GC_get_non_gc_bytes(),
                                  .gc_no = GC_get_gc_no(),
                                  .markers_m1 = (GC_word)GC_get_parallel(),
                                  .bytes_reclaimed_since_gc = since(reclaimed_bytes(now), &counts.reclaimed_then),
                                  .reclaimed_bytes_before_gc = atomic_load_relaxed(&counts.reclaimed_then),
                                  .expl_freed_bytes_since_gc = GC_get_expl_freed_bytes_since_gc(),
                                  .obtained_from_os_bytes = m.all};
}

/* Fields that the program knows and we do not are all ones. */
size_t GC_get_prof_stats_unsafe(struct GC_prof_stats_s *out, size_t size) {
  struct GC_prof_stats_s s = prof_stats();
  size_t known = min_size(size, sizeof s);
  memcpy(out, &s, known);
  if (size > known) memset((char *)out + known, 0xff, size - known);
  return known;
}

size_t GC_get_prof_stats(struct GC_prof_stats_s *out, size_t size) {
  bdw_lock();
  size_t known = GC_get_prof_stats_unsafe(out, size);
  bdw_unlock();
  return known;
}

/* ---- time ---- */

static uint64_t stopped_ns(void) {
  struct cycle_stats s;
  runtime_ensure_init();
  cycle_read_stats(&s);
  return s.pause_total_ns;
}

void GC_start_performance_measurement(void) {
  if (atomic32_swap(&counts.measuring, 1) == 0) atomic_store_relaxed(&counts.measured_from, stopped_ns());
}

/* Of a cycle beside the program, what the program notices. */
unsigned long GC_get_full_gc_total_time(void) {
  if (atomic32_load_relaxed(&counts.measuring) == 0) return 0;
  return since(stopped_ns(), &counts.measured_from) / 1000000;
}
