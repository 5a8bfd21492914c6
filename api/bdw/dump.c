/* dump.c - what is in the heap, printed for people.
 * Never: holds a lock or keeps stops off while it prints, since writing may wait. What changes meanwhile is shown as it was at one
 * moment or another. */
#include "api/bdw/dump.h"

#include <stdlib.h>

#include "api/bdw/misc.h"
#include "api/bdw/stats.h"
#include "gc/watch.h"
#include "gc_frag.h"

static void print_memory(void) {
  GC_printf("heap: %lu bytes resident, %lu of them free; %lu given back or never touched\n", GC_get_heap_size(),
            GC_get_free_bytes(), GC_get_unmapped_bytes());
  GC_printf("allocated: %lu bytes in all, %lu since the last collection\n", GC_get_total_bytes(),
            GC_get_bytes_since_gc());
}

static void print_class(const struct gc_frag_class *c, const char *what) {
  if (c->spans == 0) return;
  GC_printf("%-12s %8lu %10lu %12lu %14lu %14lu\n", what, (unsigned long)c->size, (unsigned long)c->spans,
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
  GC_printf("%-12s %8s %10s %12s %14s %14s\n", "kind", "size", "blocks", "objects", "bytes", "free bytes");
  for (unsigned i = 0; i < GC_FRAG_CLASSES; i++)
    print_class(&frag->by_class[i], i % 2 == 0 ? "scanned" : "pointer-free");
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

/* ---- records of finalizers and links ---- */

static const char *kind_name(unsigned kind) {
  switch (kind) {
    case WATCH_FINALIZER: return "finalizable object";
    case WATCH_QUEUED: return "object that waits for its finalizer";
    case WATCH_LINK: return "disappearing link";
    case WATCH_LONG_LINK: return "long link";
    case WATCH_TOGGLE: return "toggle reference";
    default: return NULL; /* no such thing in that library, or shown as an object */
  }
}

#define AT_A_TIME 64
struct line {
  const char *what;
  void *object, *link;
};

/* Returns how many lines there are among the records from *next on, which moves on. */
static unsigned read_records(uint32_t *next, struct line line[AT_A_TIME]) {
  unsigned n = 0;
  library_enter();
  watch_lock();
  for (; n < AT_A_TIME && *next < watch_end(); ++*next) {
    const struct watch *w = watch_at(*next);
    bool is_link = w->kind == WATCH_LINK || w->kind == WATCH_LONG_LINK;
    if (kind_name(w->kind) == NULL) continue;
    line[n++] = (struct line){kind_name(w->kind), w->object, is_link ? (void *)(uintptr_t)w->link : NULL};
  }
  watch_unlock();
  library_leave();
  return n;
}

void GC_dump_finalization(void) {
  struct line line[AT_A_TIME];
  uint32_t next = 1;
  for (unsigned n; (n = read_records(&next, line)) > 0;)
    for (unsigned i = 0; i < n; i++) {
      GC_printf("%s: %p", line[i].what, line[i].object);
      if (line[i].link != NULL) GC_printf(" from %p", line[i].link);
      GC_printf("\n");
    }
}
