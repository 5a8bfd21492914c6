/* sample.h - allocation sites by sampling: which allocations are noted, and what is known of them until they die.
 *
 * Who is sampled. Each cache carries a sampler, which counts the bytes that its thread claims (not what it allocates:
 * the fast path knows nothing of all this). When the next sample lies within the slots about to be claimed, only those
 * before it are; the next refill claims the sampled slot alone, so that the slow path itself hands it out, sees `due`
 * and has the call stack noted. Large objects and blocks of tiny ones are counted where they are made. That bytes
 * which are claimed and never handed out count too does no harm: each object is sampled or not independently of
 * all others (distance.h).
 *
 * What is kept: sites, which are call stacks, and samples, which are objects: page, slot, site, weight. No address of
 * an object is kept, and metadata is no root: a sample keeps nothing alive. It ends when its slot is freed, by
 * sweeping or gc_free, before the slot can be claimed again.                                        INV-SAMPLE-1
 * Samples hang on the first page of their span, so that sweeping a span without samples costs one look.
 *
 * Bounded: what does not fit is counted and not kept. Memory is mapped when sampling is first turned on.
 * Never: captures call stacks (api/profile.c does, where the thread may be stopped), or prints. */
#ifndef HOLDFAST_SAMPLE_H
#define HOLDFAST_SAMPLE_H

#include "alloc/span.h"

#define SAMPLE_DEPTH 32        /* frames kept of a call stack, innermost first; as in Go */
#define SAMPLE_SITES_MAX 8192  /* different stacks; 300 bytes each */
#define SAMPLES_MAX (1u << 20) /* objects; 24 bytes each */

/* ---- who is sampled; stops deferred ---- */

struct sampler {
  uint64_t until;  /* [own] the object that holds the until-th byte from here on is sampled; UINT64_MAX: none */
  uint64_t mean;   /* [own] distance that until was drawn for; 0: off */
  uint64_t due;    /* [own] the mean for which what was just claimed or made is a sample; 0: it is none */
  uint64_t random; /* [own] */
  unsigned epoch;  /* [own] of the settings that the above follow */
};

extern atomic_u32 sample_epoch; /* [A] changes with each setting of the distance; never 0 */

void sampler_init(struct sampler *s, uint32_t seed);
void sampler_restart(struct sampler *s); /* after a new setting */
void sampler_hit(struct sampler *s);     /* what is claimed now is a sample: due, and the next distance begins */

/* First of all on the way that claims. */
GC_INLINE void sampler_attend(struct sampler *s) {
  if (GC_UNLIKELY(s->epoch != atomic32_load_relaxed(&sample_epoch))) sampler_restart(s);
}

/* Counts n objects of size bytes that are about to be claimed together; false when a sample is among them: then
 * nothing was counted. */
GC_INLINE bool sampler_pass(struct sampler *s, uint64_t n, uint64_t size) {
  if (GC_UNLIKELY(n * size >= s->until)) return false;
  s->until -= n * size;
  return true;
}

/* Of objects of that size, those wholly before the sampled one. */
GC_INLINE uint64_t sampler_before(const struct sampler *s, uint64_t size) { return (s->until - 1) / size; }

/* The mean for which the object just handed out is to be noted, or 0. */
GC_INLINE uint64_t sampler_take_due(struct sampler *s) {
  uint64_t due = s->due;
  if (GC_UNLIKELY(due != 0)) s->due = 0;
  return due;
}

/* ---- settings ---- */

uint64_t sample_rate(void); /* mean distance, bytes; 0: off */
/* False: the system refuses memory for the tables; nothing changed. Stops deferred. */
bool sample_set_rate(uint64_t bytes);

/* ---- samples; stops deferred ---- */

/* The object around p, allocated by the caller and not yet known to anybody else, was sampled with that mean distance. */
void sample_add(const void *p, uint64_t mean, void *const *pc, unsigned depth);

extern atomic_word
    sample_heads; /* [A] table by page: atomic_u32, first sample of the span that begins there; 0: no table */

GC_INLINE bool span_has_samples(uint32_t page) {
  const atomic_u32 *heads = (const atomic_u32 *)atomic_load_acquire(&sample_heads); /* pairs with map_tables */
  return GC_UNLIKELY(heads != NULL) && atomic32_load_relaxed(&heads[page]) != 0;
}

/* The slots of mask in a group of the span are dead and about to be freed, by the sweeper that owns the span. */
void samples_died(uint32_t page, unsigned group, uint64_t mask);

/* gc_free of a slot, before it is free. */
void sample_forget_slot(uint32_t page, unsigned slot);
GC_INLINE void sample_forget(uint32_t page, unsigned slot) {
  if (span_has_samples(page)) sample_forget_slot(page, slot);
}

/* gc_reallocate: what is known of the object goes with its copy, and not with the old one. Both slots allocated. */
void sample_move_slot(const struct slot *from, const struct slot *to);
GC_INLINE void sample_move(const struct slot *from, const struct slot *to) {
  if (span_has_samples(from->page)) sample_move_slot(from, to);
}

/* The site that allocated the object; SAMPLE_NO_SITE: it is no sample. */
#define SAMPLE_NO_SITE UINT32_MAX
uint32_t sample_site_of(uint32_t page, unsigned slot);
GC_INLINE uint32_t sample_site(const struct slot *s) {
  if (GC_LIKELY(!span_has_samples(s->page))) return SAMPLE_NO_SITE;
  return sample_site_of(s->page, slot_number(s));
}

/* Each sample of the span that begins at page. World stopped; f takes no lock. */
void samples_each(uint32_t page, void (*f)(void *arg, unsigned slot, uint32_t site), void *arg);

/* NULL, or what is wrong. World stopped. */
const char *sample_check(void);

/* ---- reading ---- */

#define SAMPLE_SLOTS_MAX 1024 /* slots of the class with most */

/* The samples of one span, added up by site. Between two spans all zero. */
struct sample_tally {
  unsigned sites; /* that have one */
  uint32_t site[SAMPLE_SLOTS_MAX];
  struct sample_share {
    uint32_t samples;
    double objects; /* scaled */
  } of[SAMPLE_SITES_MAX];
};

/* Fills the tally with the samples of the span that begins at page; with used given, of the slots whose bits are set there. Returns
 * how many were looked at. Stops deferred; the span's class's lock is held, so that it remains that span. */
unsigned samples_tally(struct sample_tally *t, uint32_t page, const uint64_t *used);

/* The site with most objects, taken off the tally; SAMPLE_SITES_MAX when none is left. */
uint32_t sample_tally_take(struct sample_tally *t, struct sample_share *share);

/* Estimates, scaled up from the samples. In use: not found unreachable by the last cycle. */
struct sample_figures {
  double alloc_objects, alloc_bytes;   /* ever sampled */
  double inuse_objects, inuse_bytes;   /* of these, in use */
  double pinned_objects, pinned_bytes; /* of these, in sparse spans; the bytes of a span are shared by its objects */
  uint64_t samples;                    /* in use, not scaled */
  uint64_t pinned_samples;             /* of these, in sparse spans */
};

struct sample_totals {
  uint64_t taken;                     /* samples ever */
  uint64_t lost_samples, lost_stacks; /* not kept: a table was full */
  uint64_t started;                   /* os_wall_ns when sampling was first turned on; 0: never */
  uint32_t sites;
};
struct sample_totals sample_totals(void);

/* The stack of a site below sample_totals().sites. *pc stays valid. */
unsigned sample_stack(uint32_t site, void *const **pc);

/* Adds figures up, a bounded piece per call, so that the caller can let stops come between. figures has room for sites,
 * begins zeroed. percent: a span is sparse when less than that share of its slots holds objects. */
struct sample_reader {
  struct sample_figures *figures;
  uint32_t sites, next_site, next_sample;
  unsigned percent;
};
bool samples_read(struct sample_reader *r); /* true while there is more */

#endif
