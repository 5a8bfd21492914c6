/* pages.c - see pages.h. Three bitmaps, kept per chunk of 512 pages beside an upper bound of the chunk's
 * longest free run: frees raise it, a search that fails lowers it. A hint per run length remembers the
 * lowest chunk worth looking at, so a search starts where the last one of its length ended. */
#include "alloc/pages.h"

#include "runtime/meta.h"
#include "runtime/os.h"

#define WORDS (CHUNK_PAGES / 64)
#define HINTS 16 /* run lengths up to this have a hint of their own */

_Static_assert(CHUNK_PAGES % 64 == 0, "whole words");

struct chunk {
  uint64_t used[WORDS], released[WORDS], zero[WORDS];
  uint32_t free;  /* pages */
  uint32_t bound; /* no free run inside the chunk is longer */
};

static struct {
  struct chunk *chunk;
  size_t chunks, max_chunks;
  size_t hint[HINTS + 1]; /* by run length; [0] for all longer ones */
  size_t in_use, released;
  size_t unreleased_top; /* chunks from here on have no free unreleased page */
} pages GC_OWN_DATA;

bool pages_init(size_t n) {
  pages.max_chunks = n / CHUNK_PAGES;
  pages.chunk = meta_map(pages.max_chunks * sizeof(struct chunk));
  return pages.chunk != NULL;
}

size_t pages_limit(void) { return pages.chunks * CHUNK_PAGES; }
size_t pages_in_use(void) { return pages.in_use; }
size_t pages_released(void) { return pages.released; }

/* ---- bits of one chunk ---- */

static uint64_t span_bits(size_t from, size_t n) { return (n >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << n) - 1) << from; }

/* Sets or clears n bits from position at; returns how many were set before. */
static size_t change_bits(uint64_t *words, size_t at, size_t n, bool set) {
  size_t before = 0;
  while (n > 0) {
    size_t in_word = min_size(64 - at % 64, n);
    uint64_t bits = span_bits(at % 64, in_word);
    before += count_bits(words[at / 64] & bits);
    if (set)
      words[at / 64] |= bits;
    else
      words[at / 64] &= ~bits;
    at += in_word;
    n -= in_word;
  }
  return before;
}

/* First position from `at` on whose bit equals value; CHUNK_PAGES when none. */
static size_t next_bit(const uint64_t *words, size_t at, bool value) {
  while (at < CHUNK_PAGES) {
    uint64_t w = (value ? words[at / 64] : ~words[at / 64]) >> (at % 64);
    if (w != 0) return at + (size_t)__builtin_ctzll(w);
    at = round_up(at + 1, 64);
  }
  return CHUNK_PAGES;
}

/* A free run of n pages inside the chunk, aligned in the heap; CHUNK_PAGES when none. */
static size_t find_in_chunk(size_t c, size_t n, size_t align) {
  const uint64_t *used = pages.chunk[c].used;
  for (size_t at = 0; at < CHUNK_PAGES;) {
    size_t lo = next_bit(used, at, false);
    size_t hi = next_bit(used, lo, true);
    size_t first = round_up(c * CHUNK_PAGES + lo, align) - c * CHUNK_PAGES;
    if (first < hi && hi - first >= n) return first;
    at = hi;
  }
  return CHUNK_PAGES;
}

/* ---- runs of the whole heap ---- */

static void change_run(uint32_t page, size_t n, void (*change)(struct chunk *, size_t at, size_t n, size_t *count),
                       size_t *count) {
  for (size_t p = page, end = page + n; p < end;) {
    size_t here = min_size(CHUNK_PAGES - p % CHUNK_PAGES, end - p);
    change(&pages.chunk[p / CHUNK_PAGES], p % CHUNK_PAGES, here, count);
    p += here;
  }
}

static void take(struct chunk *c, size_t at, size_t n, size_t *zero) {
  change_bits(c->used, at, n, true);
  pages.released -= change_bits(c->released, at, n, false);
  *zero += change_bits(c->zero, at, n, false);
  c->free -= (uint32_t)n;
}

static void give(struct chunk *c, size_t at, size_t n, size_t *unused) {
  (void)unused;
  change_bits(c->used, at, n, false);
  c->free += (uint32_t)n;
  c->bound = CHUNK_PAGES; /* unknown: it may have joined two runs */
}

static size_t *hint_for(size_t n) { return &pages.hint[n <= HINTS ? n : 0]; }

/* Inside one chunk, from the hint on. A chunk that cannot serve n tells so to later searches; a search for
 * an aligned run may fail where others succeed, so it teaches nothing. */
static bool find_within(size_t n, size_t align, uint32_t *page) {
  bool learn = align == 1;
  size_t at = CHUNK_PAGES, c = *hint_for(n);
  for (; c < pages.chunks; c++) {
    struct chunk *k = &pages.chunk[c];
    if (k->free < n || k->bound < n) continue;
    at = find_in_chunk(c, n, align);
    if (at < CHUNK_PAGES) break;
    if (learn) k->bound = (uint32_t)n - 1;
  }
  if (learn && n <= HINTS) *hint_for(n) = c;
  *page = (uint32_t)(c * CHUNK_PAGES + at);
  return at < CHUNK_PAGES;
}

/* A run that crosses chunks: adds up free tails, whole free chunks and free heads. */
static bool find_across(size_t n, size_t align, uint32_t *page) {
  size_t start = 0, length = 0;
  for (size_t c = 0; c < pages.chunks; c++) {
    const uint64_t *used = pages.chunk[c].used;
    size_t head = pages.chunk[c].free == CHUNK_PAGES ? CHUNK_PAGES : next_bit(used, 0, true);
    if (length == 0) start = c * CHUNK_PAGES;
    length += head;
    size_t skip = round_up(start, align) - start;
    if (length >= n + skip) {
      *page = (uint32_t)(start + skip);
      return true;
    }
    if (head == CHUNK_PAGES) continue;
    size_t tail = CHUNK_PAGES;
    while (tail > 0 && !(used[(tail - 1) / 64] >> ((tail - 1) % 64) & 1)) tail--;
    start = c * CHUNK_PAGES + tail;
    length = CHUNK_PAGES - tail;
  }
  return false;
}

bool pages_alloc(size_t n, size_t align, uint32_t *page, bool *zero) {
  bool found = n <= CHUNK_PAGES && find_within(n, align, page);
  if (!found && n > 1) found = find_across(n, align, page);
  if (!found) return false;
  size_t zeros = 0;
  change_run(*page, n, take, &zeros);
  pages.in_use += n;
  *zero = zeros == n;
  return true;
}

void pages_free(uint32_t page, size_t n) {
  size_t c = page / CHUNK_PAGES, last = (page + n - 1) / CHUNK_PAGES;
  change_run(page, n, give, NULL);
  pages.in_use -= n;
  for (size_t i = 0; i <= HINTS; i++)
    if (pages.hint[i] > c) pages.hint[i] = c;
  if (pages.unreleased_top <= last) pages.unreleased_top = last + 1;
}

void pages_add_chunk(void) {
  struct chunk *k = &pages.chunk[pages.chunks++];
  GC_CHECK(pages.chunks <= pages.max_chunks);
  for (size_t i = 0; i < WORDS; i++) k->released[i] = k->zero[i] = ~(uint64_t)0;
  k->free = k->bound = CHUNK_PAGES;
  pages.released += CHUNK_PAGES;
}

size_t pages_tail_free(void) {
  size_t n = 0;
  for (size_t p = pages.chunks * CHUNK_PAGES; p > 0 && !pages_is_used((uint32_t)(p - 1)); p--) n++;
  return n;
}

bool pages_is_used(uint32_t page) {
  return pages.chunk[page / CHUNK_PAGES].used[page % CHUNK_PAGES / 64] >> (page % 64) & 1;
}

/* ---- giving back ---- */

static bool is_unreleased(const struct chunk *c, size_t at) {
  return !((c->used[at / 64] | c->released[at / 64]) >> (at % 64) & 1);
}

/* The kernel gives back whole OS pages: where those are larger than ours, the run shrinks to them. */
static bool trim(size_t lo, size_t hi, uint32_t *page, size_t *n, size_t step) {
  lo = round_up(lo, step);
  hi = round_down(hi, step);
  *page = (uint32_t)lo;
  *n = hi > lo ? hi - lo : 0;
  return *n > 0;
}

bool pages_find_unreleased(size_t max, uint32_t *page, size_t *n) {
  size_t step = max_size(1, os_page_size() / PAGE_SIZE);
  for (; pages.unreleased_top > 0; pages.unreleased_top--) {
    size_t c = pages.unreleased_top - 1;
    const struct chunk *k = &pages.chunk[c];
    for (size_t hi = CHUNK_PAGES; hi > 0;) {
      while (hi > 0 && !is_unreleased(k, hi - 1)) hi--;
      size_t lo = hi;
      while (lo > 0 && hi - lo < max && is_unreleased(k, lo - 1)) lo--;
      if (lo < hi && trim(c * CHUNK_PAGES + lo, c * CHUNK_PAGES + hi, page, n, step)) return true;
      hi = lo;
    }
  }
  return false;
}

void pages_set_released(uint32_t page, size_t n, bool zero) {
  struct chunk *k = &pages.chunk[page / CHUNK_PAGES];
  change_bits(k->released, page % CHUNK_PAGES, n, true);
  change_bits(k->zero, page % CHUNK_PAGES, n, zero);
  pages.released += n;
}
