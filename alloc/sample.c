/* sample.c - see sample.h: the samplers' arithmetic, the two tables, and adding them up. */
#include "alloc/sample.h"

#include "alloc/distance.h"
#include "alloc/slotmap.h"
#include "alloc/sweep.h"
#include "runtime/lock.h"
#include "runtime/meta.h"
#include "runtime/os.h"

#define BUCKETS (2 * SAMPLE_SITES_MAX) /* power of two */
#define PIECE 256                      /* samples or sites looked at by one call of samples_read */

struct site {
  double objects, bytes; /* [L:SAMPLE] ever sampled, scaled */
  uint64_t hash;         /* [const once counted] as the rest */
  unsigned depth;
  void *pc[SAMPLE_DEPTH];
};

struct sample {
  uint32_t next; /* [L:SAMPLE] of the span's, or of the unused; 0 ends it */
  uint32_t page; /* [L:SAMPLE] first page of the span; NO_PAGE: unused */
  uint32_t slot;
  uint32_t site;
  double weight;
};

static struct {
  struct lock lock;
  struct site *site;           /* [const once mapped] */
  struct sample *sample;       /* [const once mapped] [0] is not used */
  uint32_t *by_stack;          /* [L:SAMPLE] 1 + site, by hash; 0: empty */
  uint32_t sites;              /* [L:SAMPLE] */
  uint32_t used;               /* [L:SAMPLE] records of samples that were ever used, [0] included */
  uint32_t unused;             /* [L:SAMPLE] list of records to use again */
  struct sample_totals totals; /* [L:SAMPLE] but for sites */
} samples GC_OWN_DATA = {.lock = LOCK_INIT(SAMPLE), .used = 1};

atomic_u32 sample_epoch GC_OWN_DATA = 1;
atomic_word sample_heads GC_OWN_DATA;
static atomic_word rate GC_OWN_DATA; /* [A] */

/* ---- samplers ---- */

void sampler_init(struct sampler *s, uint32_t seed) {
  *s = (struct sampler){.until = UINT64_MAX, .random = (uint64_t)seed << 32};
}

void sampler_restart(struct sampler *s) {
  s->epoch = atomic32_load_acquire(&sample_epoch); /* pairs with sample_set_rate */
  s->mean = atomic_load_relaxed(&rate);
  s->until = s->mean != 0 ? distance_draw(&s->random, s->mean) : UINT64_MAX;
}

void sampler_hit(struct sampler *s) {
  s->due = s->mean;
  s->until = distance_draw(&s->random, s->mean);
}

/* ---- settings ---- */

uint64_t sample_rate(void) { return atomic_load_relaxed(&rate); }

static bool map_tables(void) {
  if (samples.site == NULL) samples.site = meta_map(SAMPLE_SITES_MAX * sizeof(struct site));
  if (samples.sample == NULL) samples.sample = meta_map((size_t)SAMPLES_MAX * sizeof(struct sample));
  if (samples.by_stack == NULL) samples.by_stack = meta_map(BUCKETS * sizeof(uint32_t));
  if (samples.site == NULL || samples.sample == NULL || samples.by_stack == NULL) return false;
  if (atomic_load_relaxed(&sample_heads) != 0) return true;
  void *heads = meta_map(heap.pages * sizeof(atomic_u32));
  if (heads == NULL) return false;
  atomic_store_release(&sample_heads, (uintptr_t)heads); /* pairs with span_has_samples: the table is there */
  samples.totals.started = os_wall_ns();
  return true;
}

bool sample_set_rate(uint64_t bytes) {
  lock_acquire(&samples.lock);
  bool ok = bytes == 0 || map_tables();
  if (ok) {
    unsigned epoch = atomic32_load_relaxed(&sample_epoch) + 1;
    atomic_store_relaxed(&rate, bytes);
    atomic32_store_release(&sample_epoch, epoch != 0 ? epoch : 1); /* pairs with sampler_restart: sees the rate */
  }
  lock_release(&samples.lock);
  return ok;
}

/* ---- sites; under the lock ---- */

static uint64_t hash_stack(void *const *pc, unsigned depth) {
  uint64_t h = depth;
  for (unsigned i = 0; i < depth; i++) {
    h = (h ^ (uintptr_t)pc[i]) * 0x9e3779b97f4a7c15u;
    h ^= h >> 29;
  }
  return h;
}

static bool is_stack(const struct site *s, uint64_t hash, void *const *pc, unsigned depth) {
  return s->hash == hash && s->depth == depth && memcmp(s->pc, pc, depth * sizeof *pc) == 0;
}

/* The site of the stack, made when it is new; SAMPLE_SITES_MAX when there is no room. */
static uint32_t find_site(void *const *pc, unsigned depth) {
  uint64_t hash = hash_stack(pc, depth);
  uint64_t bucket = hash % BUCKETS;
  for (; samples.by_stack[bucket] != 0; bucket = (bucket + 1) % BUCKETS) {
    uint32_t i = samples.by_stack[bucket] - 1;
    if (is_stack(&samples.site[i], hash, pc, depth)) return i;
  }
  if (samples.sites == SAMPLE_SITES_MAX) return SAMPLE_SITES_MAX;
  struct site *s = &samples.site[samples.sites];
  s->hash = hash;
  s->depth = depth;
  memcpy(s->pc, pc, depth * sizeof *pc);
  samples.by_stack[bucket] = ++samples.sites;
  return samples.sites - 1;
}

/* ---- samples; under the lock ---- */

static atomic_u32 *head_of(uint32_t page) { return (atomic_u32 *)atomic_load_relaxed(&sample_heads) + page; }

static uint32_t new_sample(void) {
  uint32_t i = samples.unused;
  if (i != 0)
    samples.unused = samples.sample[i].next;
  else if (samples.used < SAMPLES_MAX)
    i = samples.used++;
  return i;
}

/* before: the one that leads to it in the span's list; 0: it is the first. */
static void unlink_sample(uint32_t page, uint32_t before, uint32_t i) {
  if (before != 0)
    samples.sample[before].next = samples.sample[i].next;
  else
    atomic32_store_relaxed(head_of(page), samples.sample[i].next);
}

static void link_sample(uint32_t page, uint32_t i) {
  samples.sample[i].next = atomic32_load_relaxed(head_of(page));
  atomic32_store_relaxed(head_of(page), i);
}

static void keep_sample(const struct slot *slot, uint32_t site, double weight) {
  uint32_t i = new_sample();
  if (i == 0) {
    samples.totals.lost_samples++;
    return;
  }
  samples.sample[i] = (struct sample){0, slot->page, slot_number(slot), site, weight};
  link_sample(slot->page, i);
}

void sample_add(const void *p, uint64_t mean, void *const *pc, unsigned depth) {
  struct slot slot = slot_find(p);
  double weight = distance_weight(slot.size, mean);
  GC_CHECK(slot.object != NULL && depth <= SAMPLE_DEPTH);
  lock_acquire(&samples.lock);
  uint32_t site = find_site(pc, depth);
  samples.totals.taken++;
  if (site == SAMPLE_SITES_MAX) {
    samples.totals.lost_stacks++;
  } else {
    samples.site[site].objects += weight;
    samples.site[site].bytes += weight * (double)slot.size;
    keep_sample(&slot, site, weight);
  }
  lock_release(&samples.lock);
}

/* Takes the samples off the span that have their slot in the mask of the group. */
static void drop(uint32_t page, unsigned group, uint64_t mask) {
  uint32_t before = 0, next;
  lock_acquire(&samples.lock);
  for (uint32_t i = atomic32_load_relaxed(head_of(page)); i != 0; i = next) {
    struct sample *s = &samples.sample[i];
    next = s->next;
    if (s->slot / 64 != group || (mask >> (s->slot % 64) & 1) == 0) {
      before = i;
      continue;
    }
    unlink_sample(page, before, i);
    s->page = NO_PAGE;
    s->next = samples.unused;
    samples.unused = i;
  }
  lock_release(&samples.lock);
}

void sample_move_slot(const struct slot *from, const struct slot *to) {
  lock_acquire(&samples.lock);
  uint32_t before = 0, i = atomic32_load_relaxed(head_of(from->page)), slot = slot_number(from);
  for (; i != 0 && samples.sample[i].slot != slot; i = samples.sample[i].next) before = i;
  if (i != 0) {
    unlink_sample(from->page, before, i);
    samples.sample[i].page = to->page;
    samples.sample[i].slot = slot_number(to);
    link_sample(to->page, i);
  }
  lock_release(&samples.lock);
}

uint32_t sample_site_of(uint32_t page, unsigned slot) {
  lock_acquire(&samples.lock);
  uint32_t i = atomic32_load_relaxed(head_of(page));
  while (i != 0 && samples.sample[i].slot != slot) i = samples.sample[i].next;
  uint32_t site = i != 0 ? samples.sample[i].site : SAMPLE_NO_SITE;
  lock_release(&samples.lock);
  return site;
}

void samples_each(uint32_t page, void (*f)(void *arg, unsigned slot, uint32_t site), void *arg) {
  for (uint32_t i = atomic32_load_relaxed(head_of(page)); i != 0; i = samples.sample[i].next)
    f(arg, samples.sample[i].slot, samples.sample[i].site);
}

void samples_died(uint32_t page, unsigned group, uint64_t mask) { drop(page, group, mask); }
void sample_forget_slot(uint32_t page, unsigned slot) { drop(page, slot / 64, (uint64_t)1 << (slot % 64)); }

/* ---- one span's samples ---- */

/* A slot has one sample at most. */
static void tally(struct sample_tally *t, const struct sample *s) {
  struct sample_share *share = &t->of[s->site];
  GC_ASSERT(t->sites < SAMPLE_SLOTS_MAX);
  if (share->samples++ == 0) t->site[t->sites++] = s->site;
  share->objects += s->weight;
}

unsigned samples_tally(struct sample_tally *t, uint32_t page, const uint64_t *used) {
  unsigned looks = 0;
  lock_acquire(&samples.lock);
  for (uint32_t i = atomic32_load_relaxed(head_of(page)); i != 0; i = samples.sample[i].next, looks++) {
    const struct sample *s = &samples.sample[i];
    if (used == NULL || (used[s->slot / 64] >> (s->slot % 64) & 1)) tally(t, s);
  }
  lock_release(&samples.lock);
  return looks;
}

uint32_t sample_tally_take(struct sample_tally *t, struct sample_share *share) {
  unsigned most = 0;
  if (t->sites == 0) return SAMPLE_SITES_MAX;
  for (unsigned i = 1; i < t->sites; i++)
    if (t->of[t->site[i]].objects > t->of[t->site[most]].objects) most = i;
  uint32_t site = t->site[most];
  t->site[most] = t->site[--t->sites];
  *share = t->of[site];
  t->of[site] = (struct sample_share){0};
  return site;
}

/* ---- reading; under the lock, which keeps the samples' spans from being freed ---- */

static unsigned slot_byte(const struct sample *s) {
  return atomic8_load_relaxed(slotmap_group(span_block(s->page), 0) + s->slot);
}

static void read_sample(struct sample_reader *r, const struct sample *s) {
  if (s->page == NO_PAGE || s->site >= r->sites || !slot_is_in_use(slot_byte(s))) return;
  struct sample_figures *f = &r->figures[s->site];
  unsigned sc = span_class_of(s->page), slots = sc < 2 ? 1 : span_class_slots(sc);
  unsigned live = sc < 2 ? 1 : span_count_objects(s->page);
  double bytes = (double)span_bytes(s->page);
  f->samples++;
  f->inuse_objects += s->weight;
  f->inuse_bytes += s->weight * (sc < 2 ? bytes : (double)span_class_size(sc));
  if (live * 100u >= slots * r->percent) return;
  f->pinned_samples++;
  f->pinned_objects += s->weight;
  f->pinned_bytes += s->weight * bytes / (live != 0 ? live : 1);
}

static void read_site(struct sample_reader *r, uint32_t i) {
  r->figures[i].alloc_objects = samples.site[i].objects;
  r->figures[i].alloc_bytes = samples.site[i].bytes;
}

bool samples_read(struct sample_reader *r) {
  lock_acquire(&samples.lock);
  uint32_t site_end = (uint32_t)min_size(r->next_site + PIECE, r->sites);
  uint32_t sample_end = (uint32_t)min_size(r->next_sample + PIECE, samples.used);
  for (; r->next_site < site_end; r->next_site++) read_site(r, r->next_site);
  for (; r->next_sample < sample_end; r->next_sample++)
    if (r->next_sample != 0) read_sample(r, &samples.sample[r->next_sample]);
  bool more = r->next_site < r->sites || r->next_sample < samples.used;
  lock_release(&samples.lock);
  return more;
}

struct sample_totals sample_totals(void) {
  lock_acquire(&samples.lock);
  struct sample_totals t = samples.totals;
  t.sites = samples.sites;
  lock_release(&samples.lock);
  return t;
}

unsigned sample_stack(uint32_t site, void *const **pc) {
  *pc = samples.site[site].pc;
  return samples.site[site].depth;
}

/* ---- checking ---- */

const char *sample_check(void) {
  for (uint32_t i = 1; i < samples.used; i++) {
    const struct sample *s = &samples.sample[i];
    if (s->page == NO_PAGE) continue;
    uint64_t d = page_desc(s->page);
    if (!desc_is_first(d)) return "a sample outlived its span";
    if (slot_byte(s) == 0) return "a sample outlived its object";
    if (s->slot >= (desc_class(d) < 2 ? 1 : span_class_slots(desc_class(d)))) return "a sample is in no slot";
  }
  return NULL;
}
