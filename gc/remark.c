/* remark.c - see remark.h. */
#include "gc/remark.h"

#include <string.h>

#include "alloc/pageheap.h"
#include "alloc/slotmap.h"
#include "gc/workers.h"
#include "runtime/dirty.h"
#include "runtime/meta.h"
#include "runtime/os.h"
#include "runtime/torture.h"

#define PIECES 65536     /* listed at a time; one call of the tracker reports at most as many OS pages */
#define PIECE (64 * KIB) /* so that markers share evenly */
#define PROBE_SPANS 8    /* per class */
/* One page in so many written during the cycle and all are disarmed: that costs 10 ns a page, a fault 700, and most of what
 * sweeping freed is written before the next cycle. */
#define DISARM_SHARE 1024
/* Heap pages that the tracker is asked about in one call; in the stop, that a marker takes at a time. Checking builds have
 * more stretches, so that small heaps are divided, too. */
#define STRETCH (GC_DEBUG || GC_TORTURE ? 64 : 2048)
#define TABLE (2 * PIECES + STRETCH)
#define GAP 64 /* pages that are not armed between two that are, and looked through with them */

static struct {
  uint64_t *armed; /* bit per heap page: protected since remark_arm, or dirty and to be reported */
  uint32_t *fresh; /* first pages of spans that are not armed */
  size_t fresh_count, fresh_at, fresh_kept; /* of them; listing goes on at; before it, those that stay fresh */
  struct range *piece; /* [const while markers mark]; written by those that list, each its own entries */
  atomic_word count;   /* [A] of them */
  atomic_word next;    /* [A] the next piece to take */
  const char *at;      /* where listing goes on, */
  atomic_word stretch; /* [A] and in the stop, the next STRETCH to look through */
#if GC_DEBUG
  uint64_t *sum; /* of the contents of each armed OS page when it was armed; 0: reported since */
#endif
  bool last;                                 /* stop: nothing is armed again */
  atomic_word pages;                         /* [A] OS pages listed since remark_begin */
  uint64_t pages_in_cycle;                   /* before it, since remark_arm */
  uint64_t armed_pages;                      /* heap pages */
  uint32_t probe[SPAN_CLASSES][PROBE_SPANS]; /* spans made since marking began, one in PROBES */
  size_t probes[SPAN_CLASSES];
} remark GC_OWN_DATA;

bool remark_init(void) {
  remark.armed = meta_map(heap.pages / 8);
  remark.fresh = meta_map(heap.pages * sizeof remark.fresh[0]);
  remark.piece = meta_map(TABLE * sizeof remark.piece[0]);
#if GC_DEBUG
  remark.sum = meta_map((heap.pages * PAGE_SIZE / os_page_size() + 1) * sizeof remark.sum[0]);
  if (remark.sum == NULL) return false;
#endif
  return remark.armed != NULL && remark.fresh != NULL && remark.piece != NULL;
}

uint64_t remark_pages(void) { return atomic_load_relaxed(&remark.pages); }

/* ---- arming ---- */

static bool is_armed(uint32_t page) { return remark.armed[page / 64] >> (page % 64) & 1; }

static void set_armed(uint32_t page, uint32_t n) {
  for (uint32_t i = page; i < page + n; i++) remark.armed[i / 64] |= (uint64_t)1 << (i % 64);
}

static uint32_t heap_end(void) { return (uint32_t)(atomic_load_acquire(&heap.limit) >> PAGE_SHIFT); }

/* The span at its first page; one that some thread allocates from is not worth a fault per OS page. */
static bool wants_arming(uint32_t page, uint64_t d) {
  if (d == 0 || desc_is_noscan(d)) return false;
  if (desc_class(d) < 2) return true;
  return atomic8_load_acquire(&heap.spans[page].state) != SPAN_CACHED;
}

/* ---- the tracker's checker: a sum per armed OS page ---- */

#if GC_DEBUG
static uint64_t *sum_at(const char *page) { return &remark.sum[(size_t)(page - heap.base) / os_page_size()]; }

static GC_NO_SANITIZE uint64_t sum_of(const char *page) {
  uint64_t h = 0;
  for (size_t i = 0; i < os_page_size(); i += sizeof(uintptr_t))
    h = (h ^ racy_load_word(page + i)) * 0x9e3779b97f4a7c15u;
  return h | 1;
}

/* The pages were armed before: whoever writes from now on is reported. */
static void sum_up(const char *lo, const char *hi) {
  for (; lo < hi; lo += os_page_size()) *sum_at(lo) = sum_of(lo);
}

static void sum_forget(const char *lo, const char *hi) {
  for (; lo < hi; lo += os_page_size()) *sum_at(lo) = 0;
}

static void note_written(void *written, struct range r) {
  (void)r;
  *(bool *)written = true;
}

/* By a blocked thread, which runs on while the world is stopped: after all that was written was listed. */
static bool was_written_since(const char *page) {
  const char *next;
  bool written = false;
  return !dirty_collect(page, page + os_page_size(), false, 1, note_written, &written, &next) || written;
}

const char *remark_check(void) {
  for (uint32_t page = 0; page < heap_end(); page++)
    for (const char *at = page_address(page); is_armed(page) && at < page_address(page + 1); at += os_page_size())
      if (*sum_at(at) != 0 && *sum_at(at) != sum_of(at) && !was_written_since(at))
        return "a page was written and the tracker did not say so (direct input into the heap?)";
  return NULL;
}
#else
static void sum_up(const char *lo, const char *hi) { (void)lo, (void)hi; }
static void sum_forget(const char *lo, const char *hi) { (void)lo, (void)hi; }
const char *remark_check(void) { return NULL; }
#endif

static bool arm_run(uint32_t lo, uint32_t hi) {
  if (lo >= hi) return true;
  set_armed(lo, hi - lo);
  remark.armed_pages += hi - lo;
  TORTURE_STEP();
  bool ok = dirty_arm(page_address(lo), page_address(hi));
  TORTURE_STEP();
  sum_up(page_address(lo), page_address(hi));
  return ok;
}

/* Runs of neighbouring spans in one call each. */
bool remark_arm(void) {
  uint32_t end = heap_end(), lo = 0, page = 0;
  remark.fresh_count = 0;
  memset(remark.probes, 0, sizeof remark.probes);
  remark.armed_pages = remark.pages_in_cycle = 0;
  atomic_store_relaxed(&remark.pages, 0);
  memset(remark.armed, 0, min_size(heap.pages / 8, end / 8 + 8));
  while (page < end) {
    uint64_t d = page_desc(page);
    bool first = desc_is_first(d), arm = first && wants_arming(page, d);
    if (!arm && !arm_run(lo, page)) return false;
    if (!arm && first && !desc_is_noscan(d)) remark.fresh[remark.fresh_count++] = page;
    page += first ? span_pages(page) : 1;
    if (!arm) lo = page;
  }
  return arm_run(lo, end);
}

/* ---- listing ---- */

/* At most PIECES at once, and one: those of an object of many GiB are larger. The table has room for twice as many, and what
 * a run of fresh spans holds that was not long enough yet. */
static void add_piece(char *lo, char *hi) {
  size_t size = max_size(PIECE, round_up((size_t)(hi - lo) / PIECES, PIECE));
  for (; lo < hi; lo += size) {
    size_t i = atomic_add(&remark.count, 1);
    GC_CHECK(i < TABLE);
    remark.piece[i] = (struct range){lo, (size_t)(hi - lo) > size ? lo + size : hi};
  }
}

static void list_armed(char *lo, char *hi) {
  atomic_add(&remark.pages, (size_t)(hi - lo) / os_page_size());
  add_piece(lo, hi);
  if (remark.last)
    sum_forget(lo, hi);
  else
    sum_up(lo, hi);
}

/* Only what is armed: memory beside it that is not counts as written to the kernel. */
static void add_dirty(void *unused, struct range r) {
  (void)unused;
  for (char *lo = r.lo; lo < r.hi;) {
    uint32_t page = page_of(lo);
    char *end = page_address(page + 1), *hi = end < r.hi ? end : r.hi;
    while (hi < r.hi && is_armed(page_of(hi)) == is_armed(page)) {
      end = page_address(page_of(hi) + 1);
      hi = end < r.hi ? end : r.hi;
    }
    if (is_armed(page)) list_armed(lo, hi);
    lo = hi;
  }
}

/* The next stretch with armed pages in [from, end), at most about STRETCH long; false when there is none. */
static bool next_stretch(uint32_t from, uint32_t end, uint32_t gap, uint32_t *lo, uint32_t *hi) {
  while (from < end && !is_armed(from)) from += remark.armed[from / 64] >> (from % 64) == 0 ? 64 - from % 64 : 1;
  if (from >= end) return false;
  *lo = from;
  *hi = from + 1;
  for (uint32_t p = *hi; p < end && p - *hi <= gap && *hi - *lo < STRETCH; p++) {
    bool word = p % 64 == 0 && p + 64 <= end &&
                remark.armed[p / 64] == ~(uint64_t)0; /* 64 at once: there are 131,072 per GiB */
    if (word) p += 63;
    if (word || is_armed(p)) *hi = p + 1;
  }
  return true;
}

/* Spans made since marking began. Protected first, listed after: what is written in between is reported by the next round.
 * False: lost. */
static bool list_fresh_run(uint32_t lo, uint32_t hi) {
  if (lo >= hi) return true;
  if (!remark.last && !arm_run(lo, hi)) return false;
  TORTURE_STEP();
  atomic_add(&remark.pages, (hi - lo) * (PAGE_SIZE / os_page_size()));
  add_piece(page_address(lo), page_address(hi));
  return true;
}

/* True when all are listed. Neighbours are armed in one call, which interrupts the other processors: with a call per span, a
 * cycle of the ring of messages (experiments/bench/ring.c) made 32,000. */
static bool list_fresh(size_t most) {
  uint32_t lo = 0, hi = 0;
  for (; remark.fresh_at < remark.fresh_count && atomic_load_relaxed(&remark.count) < most; remark.fresh_at++) {
    uint32_t page = remark.fresh[remark.fresh_at];
    bool arm = !remark.last && wants_arming(page, page_desc(page));
    if (!arm) remark.fresh[remark.fresh_kept++] = page;
    if (!arm && !remark.last) continue;
    if (page != hi) {
      if (!list_fresh_run(lo, hi)) return false;
      lo = page;
    }
    hi = page + span_pages(page);
    if (hi - lo < STRETCH) continue;
    if (!list_fresh_run(lo, hi)) return false; /* before the next look at how many pieces there are */
    lo = hi;
  }
  if (!list_fresh_run(lo, hi) || remark.fresh_at < remark.fresh_count) return false;
  remark.fresh_count = remark.fresh_kept;
  return true;
}

static void note_probe(uint32_t page) {
  unsigned sc = span_class_of(page);
  if (page % PROBES == 0 && remark.probes[sc] < PROBE_SPANS) remark.probe[sc][remark.probes[sc]++] = page;
}

static void empty_table(void) {
  atomic_store_relaxed(&remark.count, 0);
  atomic_store_relaxed(&remark.next, 0);
}

void remark_begin(bool last) {
  size_t n = remark.fresh_count;
  remark.fresh_count += pageheap_take_fresh(remark.fresh + n, heap.pages - n);
  for (; n < remark.fresh_count; n++) note_probe(remark.fresh[n]);
  remark.fresh_at = remark.fresh_kept = 0;
  remark.last = last;
  remark.at = heap.base;
  atomic_store_relaxed(&remark.stretch, 0);
  remark.pages_in_cycle += remark_pages();
  atomic_store_relaxed(&remark.pages, 0);
  empty_table();
}

bool remark_list(size_t most, uint64_t deadline) {
  uint32_t lo, hi;
  bool more = true;
  if (most > PIECES) most = PIECES;
  empty_table();
  if (!list_fresh(most)) return dirty_works();
  while (atomic_load_relaxed(&remark.count) < most &&
         (more = next_stretch(page_of(remark.at), heap_end(), 0, &lo, &hi))) {
    const char *from = page_address(lo) > remark.at ? page_address(lo) : remark.at;
    if (!dirty_collect(from, page_address(hi), true, most, add_dirty, NULL, &remark.at)) return false;
    if (deadline != UINT64_MAX && os_now_ns() >= deadline) return true;
  }
  return more || atomic_load_relaxed(&remark.count) > 0;
}

static void list_range(uint32_t from, uint32_t end) {
  for (uint32_t lo, hi; next_stretch(from, end, GAP, &lo, &hi); from = hi)
    for (const char *at = page_address(lo); at < page_address(hi);)
      if (!dirty_collect(at, page_address(hi), false, SIZE_MAX, add_dirty, NULL, &at)) return;
}

/* By all markers at once: looking through the page tables takes 0.5 ms per GiB. A stretch is listed to its end, since the
 * table has room for what MARKERS_MAX of them hold beyond PIECES: every other OS page, 2,048. */
static void list_stretches(unsigned unused) {
  uint32_t end = heap_end();
  (void)unused;
  while (atomic_load_relaxed(&remark.count) < PIECES && dirty_works()) {
    uint64_t i = atomic_add(&remark.stretch, 1);
    if (i * STRETCH >= end) return;
    list_range((uint32_t)i * STRETCH, (uint32_t)min_size((i + 1) * STRETCH, end));
  }
}

_Static_assert(MARKERS_MAX *(STRETCH *(PAGE_SIZE / 4096) / 2 + 1) <= PIECES, "what a stretch holds has room");

bool remark_list_last(unsigned markers) {
  empty_table();
  if (list_fresh(PIECES)) workers_run(markers, list_stretches);
  return dirty_works() && atomic_load_relaxed(&remark.count) > 0;
}

bool remark_take(struct range *piece) {
  size_t n = atomic_load_relaxed(&remark.count);
  if (atomic_load_relaxed(&remark.next) >= n) return false;
  size_t i = atomic_add(&remark.next, 1);
  if (i >= n) return false;
  *piece = remark.piece[i];
  return true;
}

/* ---- what the cycle learned ---- */

static void count_probe(uint32_t page, unsigned sc, uint64_t *born, uint64_t *survived) {
  unsigned black = atomic32_load_relaxed(&heap.live_colour), groups = sc < 2 ? 1 : span_class_groups(sc);
  for (unsigned g = 0; g < groups; g++) {
    *survived += count_bits(group_equal(slotmap_group(span_block(page), g), black));
    *born += 64 - count_bits(group_equal(slotmap_group(span_block(page), g), 0));
  }
}

void remark_survivors(int *of_1000) {
  for (unsigned sc = 0; sc < span_classes(); sc++) {
    uint64_t born = 0, survived = 0;
    for (size_t i = 0; i < remark.probes[sc]; i++) count_probe(remark.probe[sc][i], sc, &born, &survived);
    if (born > 0) of_1000[sc] = (int)(survived * 1000 / born);
  }
}

void remark_disarm(void) {
  uint64_t os_pages = remark.armed_pages * PAGE_SIZE / os_page_size();
  uint32_t lo, hi = 0;
  if (remark.pages_in_cycle + remark_pages() < os_pages / DISARM_SHARE) return;
  while (dirty_works() && next_stretch(hi, heap_end(), GAP, &lo, &hi)) dirty_disarm(page_address(lo), page_address(hi));
}
