/* inside.c - see inside.h. The system is asked for runs, across neighbouring spans where they meet: a call costs about a
 * microsecond, whatever its length. What it refuses (locked memory) is left alone, page by page: of a run that is locked in
 * part it gives up what lies before the locked page, and says no. */
#include "alloc/inside.h"

#include "alloc/central.h"
#include "alloc/slotmap.h"
#include "alloc/sweep.h"
#include "runtime/meta.h"
#include "runtime/options.h"
#include "runtime/os.h"

#define BATCH 32   /* spans in hand at the same time: gc_free of their objects waits */
#define PIECE 4096 /* pages looked at */
#define SLOTS_MAX 1024

struct inside inside GC_OWN_DATA;

static size_t index_of(const char *p) { return (size_t)(p - heap.base) / os_page_size(); }
static const char *address_of(size_t index) { return heap.base + index * os_page_size(); }

/* The bits of `word` that stand for OS pages [first, end). */
static uint64_t word_mask(size_t word, size_t first, size_t end) {
  uint64_t mask = ~(uint64_t)0;
  if (first > word * 64) mask &= ~(uint64_t)0 << (first - word * 64);
  if (end < word * 64 + 64) mask &= ((uint64_t)1 << (end - word * 64)) - 1;
  return mask;
}

/* Adding and subtracting bits that are known to be clear and set changes no others. */
void inside_forget(const char *lo, const char *hi) {
  size_t first = index_of(lo), end = index_of(hi - 1) + 1, n = 0;
  for (size_t w = first / 64; w * 64 < end; w++) {
    uint64_t set = atomic_load_relaxed(&inside.bits[w]) & word_mask(w, first, end);
    if (set == 0) continue;
    atomic_sub(&inside.bits[w], set);
    n += count_bits(set);
  }
  if (n != 0) atomic_sub(&inside.bytes, n * os_page_size());
}

const char *inside_next(const char *at, const char *end) {
  size_t i = index_of(at), last = index_of(end);
  if (inside.bits == NULL) return NULL;
  while (i < last) {
    uint64_t left = atomic_load_relaxed(&inside.bits[i / 64]) >> (i % 64);
    if (left & 1) return address_of(i);
    i += left == 0 ? 64 - i % 64 : (unsigned)__builtin_ctzll(left);
  }
  return NULL;
}

bool inside_is_released(const char *p) {
  size_t i = index_of(p);
  if (atomic_load_relaxed(&inside.bytes) == 0) return false; /* perhaps there are no bits */
  return atomic_load_relaxed(&inside.bits[i / 64]) >> (i % 64) & 1;
}

/* ---- giving back ---- */

struct run {
  char *lo, *hi; /* to be given back; its spans are in hand */
  uint64_t bytes;
};

static bool give_back_pages(struct run *r, char *lo, char *hi) {
  size_t first = index_of(lo), end = index_of(hi);
  if (!os_release(lo, (size_t)(hi - lo), (enum os_release_how)options.release)) return false;
  for (size_t w = first / 64; w * 64 < end; w++) atomic_add(&inside.bits[w], word_mask(w, first, end));
  atomic_add(&inside.bytes, (uint64_t)(hi - lo));
  r->bytes += (uint64_t)(hi - lo);
  return true;
}

/* Refused, some of the run may be gone all the same: asked for once more it is counted. */
static void give_back(struct run *r) {
  if (r->lo == r->hi) return;
  if (!give_back_pages(r, r->lo, r->hi))
    for (char *p = r->lo; p < r->hi; p += os_page_size()) give_back_pages(r, p, p + os_page_size());
  r->lo = r->hi;
}

static void add_page(struct run *r, char *page) {
  if (page != r->hi) {
    give_back(r);
    r->lo = page;
  }
  r->hi = page + os_page_size();
}

static bool any_used(const uint64_t *used, size_t first, size_t end) {
  for (size_t w = first / 64; w * 64 < end; w++)
    if (used[w] & word_mask(w, first, end)) return true;
  return false;
}

/* The OS pages of a span that lie in it whole and touch no slot in use. What is left over behind the last slot is nobody's. */
static void look_through(struct run *r, uint32_t page) {
  unsigned sc = span_class_of(page), slots = span_class_slots(sc), groups = span_class_groups(sc);
  size_t size = span_class_size(sc), step = os_page_size();
  uint64_t used[SLOTS_MAX / 64];
  char *start = page_address(page), *end = (char *)round_down((uintptr_t)start + span_bytes(page), step);
  for (unsigned g = 0; g < groups; g++)
    used[g] = ~group_equal(slotmap_group(span_block(page), g), 0) & group_valid(slots, g);
  for (char *p = (char *)round_up((uintptr_t)start, step); p < end; p += step) {
    size_t first = (size_t)(p - start) / size, past = ((size_t)(p - start) + step - 1) / size + 1;
    if (!inside_is_released(p) && !any_used(used, first, min_size(past, slots))) add_page(r, p);
  }
}

/* Spans in hand, from page *at on. */
static unsigned take_some(uint32_t *at, uint32_t *page) {
  uint32_t end = (uint32_t)(atomic_load_acquire(&heap.limit) >> PAGE_SHIFT);
  uint32_t to = (uint32_t)min_size(*at + PIECE, end);
  unsigned n = 0;
  for (; *at < to && n < BATCH; ++*at) {
    uint64_t d = page_desc(*at);
    if (!desc_is_first(d) || desc_class(d) < 2 || !central_take(desc_class(d), *at)) continue;
    if (!span_is_swept(*at)) sweep_span(*at);
    page[n++] = *at;
  }
  return n;
}

static bool prepare(void) {
  if (inside.bits == NULL)
    inside.bits = meta_map((heap.pages << PAGE_SHIFT) / os_page_size() / 8 + sizeof *inside.bits);
  return inside.bits != NULL;
}

bool inside_release_some(uint32_t *at, uint64_t *bytes) {
  uint32_t page[BATCH];
  struct run run = {NULL, NULL, 0};
  GC_CHECK(!heap_is_marking());
  if (!prepare()) return false;
  unsigned n = take_some(at, page);
  for (unsigned i = 0; i < n; i++)
    if (heap.spans[page[i]].live != 0) look_through(&run, page[i]); /* empty ones are about to be given back whole */
  give_back(&run);
  TORTURE_STEP();
  for (unsigned i = 0; i < n; i++) central_give(span_class_of(page[i]), page[i]);
  *bytes += run.bytes;
  return *at < atomic_load_acquire(&heap.limit) >> PAGE_SHIFT;
}
