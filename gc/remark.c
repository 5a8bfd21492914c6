/* remark.c - see remark.h. */
#include "gc/remark.h"

#include <string.h>

#include "alloc/pageheap.h"
#include "alloc/slotmap.h"
#include "runtime/dirty.h"
#include "runtime/meta.h"
#include "runtime/os.h"
#include "runtime/torture.h"

#define PIECES 65536     /* listed at a time; one call of the tracker reports at most as many OS pages */
#define PIECE (64 * KIB) /* so that markers share evenly */
#define PROBE_SPANS 8    /* per class */
#define DISARM_SHARE \
  1024 /* disarming costs 10 ns a page, a fault 700, and most of what sweeping freed is written before the next cycle */
#define STRETCH 2048       /* heap pages that the tracker is asked about in one call */
#define STRETCH_LAST 32768 /* the same in the stop, when nobody waits for the call to end */
#define GAP 64             /* pages that are not armed between two that are, and looked through with them */

static struct {
  uint64_t *armed; /* bit per heap page: protected since remark_arm, or dirty and to be reported */
  uint32_t *fresh; /* first pages of spans that are not armed */
  size_t fresh_count, fresh_at, fresh_kept; /* of them; listing goes on at; before it, those that stay fresh */
  struct range *piece;                      /* [const while markers run] */
  size_t count;                             /* of them */
  atomic_word next;                         /* [A] the next piece to take */
  const char *at;                           /* where listing goes on */
#if GC_DEBUG
  uint64_t *sum; /* of the contents of each armed OS page when it was armed; 0: reported since */
#endif
  bool last;                                 /* stop: nothing is armed again */
  uint64_t pages, pages_in_cycle;            /* OS pages listed */
  uint64_t armed_pages;                      /* heap pages */
  uint32_t probe[SPAN_CLASSES][PROBE_SPANS]; /* spans made since marking began, one in PROBES */
  size_t probes[SPAN_CLASSES];
} remark GC_OWN_DATA;

bool remark_init(void) {
  remark.armed = meta_map(heap.pages / 8);
  remark.fresh = meta_map(heap.pages * sizeof remark.fresh[0]);
  remark.piece = meta_map(2 * PIECES * sizeof remark.piece[0]);
#if GC_DEBUG
  remark.sum = meta_map((heap.pages * PAGE_SIZE / os_page_size() + 1) * sizeof remark.sum[0]);
  if (remark.sum == NULL) return false;
#endif
  return remark.armed != NULL && remark.fresh != NULL && remark.piece != NULL;
}

uint64_t remark_pages(void) { return remark.pages; }

/* ---- arming ---- */

static bool is_armed(uint32_t page) { return remark.armed[page / 64] >> (page % 64) & 1; }

static void set_armed(uint32_t page, uint32_t n) {
  for (uint32_t i = page; i < page + n; i++) remark.armed[i / 64] |= (uint64_t)1 << (i % 64);
}

static uint32_t heap_end(void) { return (uint32_t)(atomic_load_acquire(&heap.limit) >> PAGE_SHIFT); }

/* The span at its first page; one that some thread allocates from is not worth a fault per OS page. */
static bool wants_arming(uint32_t page, uint64_t d) {
  if (d == 0 || (desc_class(d) & NOSCAN)) return false;
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
  memset(remark.armed, 0, min_size(heap.pages / 8, end / 8 + 8));
  while (page < end) {
    uint64_t d = page_desc(page);
    bool first = desc_is_first(d), arm = first && wants_arming(page, d);
    if (!arm && !arm_run(lo, page)) return false;
    if (!arm && first && !(desc_class(d) & NOSCAN)) remark.fresh[remark.fresh_count++] = page;
    page += first ? span_pages(page) : 1;
    if (!arm) lo = page;
  }
  return arm_run(lo, end);
}

/* ---- listing ---- */

/* At most PIECES at once: those of an object of many GiB are larger. The table has room for twice as many. */
static void add_piece(char *lo, char *hi) {
  size_t size = max_size(PIECE, round_up((size_t)(hi - lo) / PIECES, PIECE));
  for (; lo < hi; lo += size)
    remark.piece[remark.count++] = (struct range){lo, (size_t)(hi - lo) > size ? lo + size : hi};
}

static void list_armed(char *lo, char *hi) {
  remark.pages += (size_t)(hi - lo) / os_page_size();
  remark.pages_in_cycle += (size_t)(hi - lo) / os_page_size();
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

/* The next stretch with armed pages, from `from` on, at most about STRETCH long; false when there is none. */
static bool next_stretch(uint32_t from, uint32_t gap, uint32_t *lo, uint32_t *hi) {
  uint32_t end = heap_end(), most = remark.last ? STRETCH_LAST : STRETCH;
  while (from < end && !is_armed(from)) from += remark.armed[from / 64] >> (from % 64) == 0 ? 64 - from % 64 : 1;
  if (from >= end) return false;
  *lo = from;
  *hi = from + 1;
  for (uint32_t p = *hi; p < end && p - *hi <= gap && *hi - *lo < most; p++) {
    bool word = p % 64 == 0 && remark.armed[p / 64] == ~(uint64_t)0; /* 64 at once: there are 131,072 per GiB */
    if (word) p += 63;
    if (word || is_armed(p)) *hi = p + 1;
  }
  return true;
}

/* Protected first, listed after: what is written in between is reported by the next round. False: lost. */
static bool list_one_fresh(uint32_t page) {
  uint32_t n = span_pages(page);
  bool arm = !remark.last && wants_arming(page, page_desc(page));
  if (!arm) remark.fresh[remark.fresh_kept++] = page;
  if (arm && !arm_run(page, page + n)) return false;
  TORTURE_STEP();
  if (arm || remark.last) add_piece(page_address(page), page_address(page + n));
  return true;
}

/* True when all are listed. */
static bool list_fresh(size_t most) {
  size_t n = remark.fresh_count;
  while (remark.fresh_at < n && remark.count < most)
    if (!list_one_fresh(remark.fresh[remark.fresh_at++])) return false;
  if (remark.fresh_at < n) return false;
  remark.fresh_count = remark.fresh_kept;
  return true;
}

static void note_probe(uint32_t page) {
  unsigned sc = span_class_of(page);
  if (page % PROBES == 0 && remark.probes[sc] < PROBE_SPANS) remark.probe[sc][remark.probes[sc]++] = page;
}

void remark_begin(bool last) {
  size_t n = remark.fresh_count;
  remark.fresh_count += pageheap_take_fresh(remark.fresh + n, heap.pages - n);
  for (; n < remark.fresh_count; n++) note_probe(remark.fresh[n]);
  remark.fresh_at = remark.fresh_kept = 0;
  remark.last = last;
  remark.at = heap.base;
  remark.pages = 0;
  remark.count = 0;
  atomic_store_relaxed(&remark.next, 0);
}

bool remark_list(size_t most, uint64_t deadline) {
  uint32_t lo, hi;
  bool more = true;
  if (most > PIECES) most = PIECES;
  remark.count = 0;
  atomic_store_relaxed(&remark.next, 0);
  if (!list_fresh(most)) return dirty_works();
  while (remark.count < most && (more = next_stretch(page_of(remark.at), remark.last ? GAP : 0, &lo, &hi))) {
    const char *from = page_address(lo) > remark.at ? page_address(lo) : remark.at;
    if (!dirty_collect(from, page_address(hi), !remark.last, most, add_dirty, NULL, &remark.at)) return false;
    if (deadline != UINT64_MAX && os_now_ns() >= deadline) return true;
  }
  return more || remark.count > 0;
}

bool remark_take(struct range *piece) {
  if (atomic_load_relaxed(&remark.next) >= remark.count) return false;
  size_t i = atomic_add(&remark.next, 1);
  if (i >= remark.count) return false;
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
  for (unsigned sc = 0; sc < SPAN_CLASSES; sc++) {
    uint64_t born = 0, survived = 0;
    for (size_t i = 0; i < remark.probes[sc]; i++) count_probe(remark.probe[sc][i], sc, &born, &survived);
    if (born > 0) of_1000[sc] = (int)(survived * 1000 / born);
  }
}

void remark_disarm(void) {
  uint64_t os_pages = remark.armed_pages * PAGE_SIZE / os_page_size();
  uint32_t lo, hi = 0;
  if (remark.pages_in_cycle < os_pages / DISARM_SHARE) return;
  while (dirty_works() && next_stretch(hi, GAP, &lo, &hi)) dirty_disarm(page_address(lo), page_address(hi));
}
