/* stats.c - how much memory there is and how often it was collected, in the other library's terms, and the dumps.
 * Owns:     GC_gc_no, GC_non_gc_bytes, and what was counted when the last cycle ended.
 * Promises: getters work in callbacks too, also in a stop, but for those that take the allocation lock there as well
 *           (GC_get_heap_usage_safe, GC_get_prof_stats) and the dumps.
 * Costs:    GC_get_gc_no one load; heap sizes one lock; bytes allocated a walk over the counts of all span classes, under
 *           a microsecond for each thread. */
#include "api/bdw/stats.h"

#include <stdlib.h>
#include <string.h>

#include "alloc/inside.h"
#include "alloc/pageheap.h"
#include "alloc/sizeclass.h"
#include "api/bdw/misc.h"
#include "api/stats.h"
#include "gc/cycle.h"
#include "gc_frag.h"

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

int GC_get_parallel(void);

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

/* ---- dumps ---- */

static void print_memory(void) {
  struct memory m = memory_now();
  GC_printf("heap: %lu bytes resident, %lu of them free; %lu given back or never touched\n", (unsigned long)m.heap,
            (unsigned long)m.free, (unsigned long)m.unmapped);
  GC_printf("allocated: %lu bytes in all, %lu since the last collection\n", (unsigned long)GC_get_total_bytes(),
            (unsigned long)GC_get_bytes_since_gc());
}

static void print_class(const struct gc_frag_class *c, const char *what) {
  if (c->spans == 0) return;
  GC_printf("%-10s %8lu %10lu %12lu %14lu %14lu\n", what, (unsigned long)c->size, (unsigned long)c->spans,
            (unsigned long)c->objects, (unsigned long)c->live_bytes, (unsigned long)c->free_bytes);
}

/* NULL when the system refuses the memory, which is too much for a small stack. */
static struct gc_frag *read_frag(void) {
  struct gc_frag *frag = malloc(sizeof *frag);
  if (frag != NULL) gc_read_frag(frag);
  return frag;
}

void GC_dump_named(const char *name) {
  struct gc_frag *frag = read_frag();
  if (name != NULL)
    GC_printf("*** dump %s\n", name);
  else
    GC_printf("*** dump of collection %lu\n", (unsigned long)GC_get_gc_no());
  print_memory();
  if (frag == NULL) return;
  GC_printf("%-10s %8s %10s %12s %14s %14s\n", "kind", "size", "blocks", "objects", "bytes", "free bytes");
  for (unsigned i = 0; i < GC_FRAG_CLASSES; i++)
    print_class(&frag->by_class[i], i % 2 == 0 ? "scanned" : "pointerfree");
  print_class(&frag->total, "all");
  free(frag);
}

/* The lock is not held: nothing here needs it, and writing may take long. */
void GC_dump(void) { GC_dump_named(NULL); }

/* A chunk is what the heap grows by. */
static void print_chunk(uint32_t page) {
  unsigned used = 0, first = 0;
  for (uint32_t i = page; i < page + CHUNK_PAGES; i++) {
    uint64_t d = page_desc(i);
    used += d != 0;
    first += desc_is_first(d);
  }
  GC_printf("section from %p to %p: %u blocks in %u of %u pages\n", (void *)page_address(page),
            (void *)(page_address(page) + CHUNK_SIZE), first, used, (unsigned)CHUNK_PAGES);
}

void GC_dump_regions(void) {
  runtime_ensure_init();
  uint32_t pages = (uint32_t)(atomic_load_acquire(&heap.limit) >> PAGE_SHIFT);
  for (uint32_t page = 0; page + CHUNK_PAGES <= pages; page += CHUNK_PAGES) print_chunk(page);
}

/* There are no lists of free objects here, but places for them: how many. kind: 0 pointer-free, else scanned. */
void GC_print_free_list(int kind, size_t granules) {
  size_t size = granules * 16;
  if (size == 0 || size > SMALL_MAX) return;
  struct gc_frag *frag = read_frag();
  if (frag == NULL) return;
  unsigned sc = span_class(size_class_by_table(size), kind == 0 ? NOSCAN : 0);
  const struct gc_frag_class *c = &frag->by_class[sc];
  GC_printf("free objects of %lu bytes, kind %d: %lu\n", (unsigned long)c->size, kind,
            (unsigned long)(c->slots - c->objects));
  free(frag);
}
