/* pageheap.c - see pageheap.h. */
#include "alloc/pageheap.h"

#include "alloc/inside.h"
#include "alloc/layout.h"
#include "alloc/pages.h"
#include "alloc/sample.h"
#include "alloc/slotmap.h"
#include "runtime/atomic.h"
#include "runtime/config.h"
#include "runtime/lock.h"
#include "runtime/meta.h"
#include "runtime/options.h"
#include "runtime/os.h"

static struct lock heap_lock GC_OWN_DATA = LOCK_INIT(HEAP);

/* First pages of the spans for scanned objects that were made while markers ran beside the program. */
static struct {
  uint32_t *page;    /* [L:HEAP] */
  size_t count, max; /* [L:HEAP] */
} fresh GC_OWN_DATA;

/* Bytes of memory, as pageheap_totals counts it; UINT64_MAX: none. */
static struct { uint64_t soft, hard; /* [L:HEAP] */ } limit GC_OWN_DATA = {UINT64_MAX, UINT64_MAX};

atomic_u32 pageheap_note GC_OWN_DATA;

bool pageheap_init(void) {
  fresh.max = heap.pages;
  fresh.page = meta_map(fresh.max * sizeof fresh.page[0]);
  return fresh.page != NULL && pages_init(heap.pages);
}

/* Published first, then the look: the collector raises the flag first and then looks through the descriptors, so one
 * of both sees the other. Both do no harm. */
static void note_fresh(uint32_t page, unsigned sc) {
  full_fence();
  if (!heap_is_marking() || span_class_is_noscan(sc)) return;
  lock_acquire(&heap_lock);
  GC_ASSERT(fresh.count < fresh.max); /* no span is freed while marking, so none is here twice */
  fresh.page[fresh.count++] = page;
  lock_release(&heap_lock);
}

size_t pageheap_take_fresh(uint32_t *page, size_t max) {
  lock_acquire(&heap_lock);
  size_t n = min_size(max, fresh.count);
  fresh.count -= n;
  memcpy(page, fresh.page + fresh.count, n * sizeof *page);
  lock_release(&heap_lock);
  return n;
}

/* ---- memory and its limits ---- */

#define TABLE_BYTES (sizeof(atomic_word) + sizeof(struct span)) /* per page */

/* Exact but for records of threads and layouts: the slot map grows only under HEAP. */
static uint64_t metadata(void) { return meta_bytes() + layout_bytes() + slotmap_bytes() + pages_limit() * TABLE_BYTES; }
static uint64_t memory(void) { return ((pages_limit() - pages_released()) << PAGE_SHIFT) + metadata(); }
static uint64_t needed(void) { return (pages_in_use() << PAGE_SHIFT) + metadata(); } /* the rest can be given back */

/* Whether `more` bytes can be had below the hard limit once all that is free has been given back. */
static bool fits(uint64_t more) { return limit.hard == UINT64_MAX || needed() + more <= limit.hard; }

static bool release_pages(uint32_t page, size_t n) {
  if (!os_release(page_address(page), n << PAGE_SHIFT, (enum os_release_how)options.release)) return false;
  pages_set_released(page, n, options.release == OS_RELEASE_NOW);
  return true;
}

/* Refused, what lies before the locked page is gone all the same (os_release), and is to be counted. */
static size_t release_free(size_t max) {
  size_t done = 0, n;
  uint32_t page;
  GC_CHECK_HELD(&heap_lock);
  while (done < max && pages_find_unreleased((max - done - 1) / PAGE_SIZE + 1, &page, &n)) {
    if (!release_pages(page, n)) {
      for (; n > 0 && release_pages(page, 1); page++, n--) done += PAGE_SIZE;
      break;
    }
    done += n << PAGE_SHIFT;
  }
  return done;
}

static size_t release_beyond_limits(size_t max) {
  uint64_t most = min_size(limit.soft, limit.hard), now = memory();
  if (now <= most) return 0;
  return release_free(min_size(max, max_size(now - most, SCAVENGE_STEP)));
}

/* Pages that were released have been taken and will be touched: as much is given back first, as Go's scavenge on
 * allocation does. When that is not enough to stay below the soft limit, the pacer should know. */
static void keep_limits(void) {
  release_beyond_limits(SIZE_MAX);
  if (needed() > limit.soft) atomic32_store_relaxed(&pageheap_note, 1);
}

/* ---- growing ---- */

/* One chunk more. The limit is raised last: a marker that sees it may read the tables up to it. */
static bool grow_one(void) {
  size_t bytes = atomic_load_relaxed(&heap.limit);
  char *at = heap.base + bytes;
  GC_CHECK_HELD(&heap_lock);
  if (bytes + CHUNK_SIZE > heap.pages << PAGE_SHIFT) return false;
  if (!heap_commit_tables(bytes + CHUNK_SIZE) || !os_commit(at, CHUNK_SIZE)) return false;
  if (options.huge_pages) os_use_huge_pages(at, CHUNK_SIZE);
  pages_add_chunk();
  atomic_store_release(&heap.limit, bytes + CHUNK_SIZE); /* pairs with page_desc's acquire after the compare */
  return true;
}

/* Growing by what is missing at the end; an aligned run may need align - 1 pages more. bytes: what is wanted of it. */
static bool grow_for(size_t n, size_t align, uint64_t bytes) {
  size_t tail = pages_tail_free(), chunks = tail < n + align - 1 ? (n + align - 2 - tail) / CHUNK_PAGES + 1 : 0;
  if (!fits(bytes + chunks * CHUNK_PAGES * TABLE_BYTES)) return false;
  for (; chunks > 0; chunks--)
    if (!grow_one()) return false;
  return true;
}

/* Pages and slot map blocks of a span, both or none. */
static bool take(size_t n, size_t align, unsigned blocks, uint32_t *page, uint32_t *block, bool *zero) {
  uint64_t bytes = ((uint64_t)n << PAGE_SHIFT) + slotmap_block_bytes(blocks);
  if (n > heap.pages || align > heap.pages) return false;
  lock_acquire(&heap_lock);
  bool ok = fits(bytes) &&
            (pages_alloc(n, align, page, zero) || (grow_for(n, align, bytes) && pages_alloc(n, align, page, zero)));
  if (ok && !slotmap_alloc(blocks, block)) {
    pages_free(*page, n);
    ok = false;
  }
  if (ok) keep_limits();
  lock_release(&heap_lock);
  return ok;
}

static void init_span(uint32_t page, bool zero) {
  struct span *s = &heap.spans[page];
  s->next = s->prev = NO_PAGE;
  s->pages = 0; /* live and owner too */
  s->partial = 0;
  atomic8_store_relaxed(&s->zeroed, zero);
  atomic8_store_relaxed(&s->gen, atomic32_load_relaxed(&heap.gen) & 0xff);
  atomic8_store_release(&s->state, SPAN_SWEEPING); /* pairs with span_wait_swept; the fields above */
}

uint32_t span_alloc(unsigned sc) {
  uint32_t page, block, n = span_class_pages(sc);
  bool zero;
  if (!take(n, 1, slotmap_blocks(sc), &page, &block, &zero)) return NO_PAGE;
  init_span(page, zero);
  span_publish(page, sc, n, block);
  note_fresh(page, sc);
  return page;
}

uint32_t span_alloc_large(size_t n, size_t align, unsigned sc, bool *zero) {
  uint32_t page, block;
  if (!take(n, align, slotmap_blocks(sc), &page, &block, zero)) return NO_PAGE;
  init_span(page, *zero);
  heap.spans[page].pages = (uint32_t)n;
  atomic8_store_relaxed(slotmap_group(block, 0), span_birth_colour(page, sc == LARGE_TYPED ? 0 : sc));
  span_publish(page, sc, (uint32_t)n, block);
  note_fresh(page, sc);
  return page;
}

void span_free(uint32_t page) {
  uint32_t n = span_pages(page), block = span_block(page);
  uint64_t d = page_desc(page);
  unsigned sc = desc_class(d), blocks = slotmap_blocks(sc < 2 && (d & DESC_TYPED) ? LARGE_TYPED : sc);
  GC_CHECK(atomic8_load_relaxed(&heap.spans[page].state) == SPAN_SWEEPING);
  GC_CHECK(!span_has_samples(page));
  atomic8_store_release(&heap.spans[page].state, SPAN_NONE);
  if (sc >= 2) inside_handed_out(page_address(page), page_address(page + n));
  span_unpublish(page, n); /* before the pages and blocks can have a new owner */
  atomic_add(&heap.freed_spans, 1);
  slotmap_free(block, blocks);
  lock_acquire(&heap_lock);
  pages_free(page, n);
  lock_release(&heap_lock);
}

/* ---- questions and giving back ---- */

bool pageheap_must_grow(size_t n) {
  lock_acquire(&heap_lock);
  size_t resident = pages_limit() - pages_in_use() - pages_released();
  lock_release(&heap_lock);
  return resident < n;
}

bool pageheap_is_near_limit(size_t n) {
  lock_acquire(&heap_lock);
  bool near = needed() + ((uint64_t)n << PAGE_SHIFT) > min_size(limit.soft, limit.hard);
  lock_release(&heap_lock);
  return near;
}

size_t pageheap_scavenge(size_t max) {
  lock_acquire(&heap_lock);
  size_t done = release_free(max);
  lock_release(&heap_lock);
  return done;
}

void pageheap_set_limits(uint64_t soft, uint64_t hard) {
  lock_acquire(&heap_lock);
  limit.soft = soft;
  limit.hard = hard;
  lock_release(&heap_lock);
}

size_t pageheap_scavenge_beyond_limits(size_t max) {
  lock_acquire(&heap_lock);
  size_t done = release_beyond_limits(max);
  lock_release(&heap_lock);
  return done;
}

struct pageheap_totals pageheap_totals(void) {
  lock_acquire(&heap_lock);
  struct pageheap_totals t = {pages_limit() << PAGE_SHIFT, pages_in_use() << PAGE_SHIFT, pages_released() << PAGE_SHIFT,
                              metadata()};
  lock_release(&heap_lock);
  return t;
}
