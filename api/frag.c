/* frag.c - gc_read_frag with its two text forms, gc_advice, and gc_dump_heap. The walk and what makes it exact are in
 * alloc/frag.h; here it is let go and taken up again, so that neither a stop nor a file that is slow to write
 * waits for it, and what it shows is added up. */
#include "alloc/frag.h"

#include <errno.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>

#include "alloc/heapmap.h"
#include "api/object.h"
#include "api/profile.h"
#include "gc_frag.h"
#include "runtime/os.h"

_Static_assert(GC_FRAG_CLASSES == TYPED_FIRST, "the public header knows the span classes");

/* Where a span is counted: typed objects with scanned ones of their size. */
static unsigned index_of(unsigned sc) { return span_class_is_typed(sc) ? span_class(class_of(sc), 0) : sc; }

/* The walk from beginning to end; between is called after every piece, with stops allowed. False: it said stop. */
static bool walk(frag_visit *visit, bool (*between)(void *arg), void *arg) {
  struct frag_walk w = {0, false};
  for (bool more = true; more;) {
    library_enter();
    more = frag_step(&w, visit, arg);
    library_leave();
    if (between != NULL && !between(arg)) return false;
    if (w.waits) sched_yield();
  }
  return true;
}

/* The number of the last completed cycle: there is one generation per cycle. */
static uint64_t cycles_completed(void) { return atomic32_load_relaxed(&heap.gen); }

/* ---- reading ---- */

#define ATTEMPTS 3 /* walks, as long as a cycle ends in each */

struct reading {
  struct gc_frag *out;
  struct frag_pool *pools; /* per span class; NULL: refused, then no pairs are looked for */
  unsigned slots;          /* of the span before, and */
  uint64_t bins_per_slot;  /* GC_FRAG_BINS / slots, times 2^32, rounded up: divided once, not for every span */
};

/* objects x bins / slots, rounded down: exact, since what rounding up adds is less than objects / 2^32, and a quotient
 * that is not whole is at least 1 / slots below the next. */
static unsigned bin_of(struct reading *r, const struct frag_span *s) {
  if (s->slots != r->slots) r->bins_per_slot = ((uint64_t)GC_FRAG_BINS << 32) / s->slots + 1;
  r->slots = s->slots;
  unsigned bin = (unsigned)(s->objects * r->bins_per_slot >> 32);
  return bin < GC_FRAG_BINS ? bin : GC_FRAG_BINS - 1;
}

static unsigned add_span(const struct frag_span *s, void *arg) {
  struct reading *r = arg;
  struct gc_frag_class *c = &r->out->by_class[index_of(s->sc)];
  size_t bytes = (size_t)s->pages << PAGE_SHIFT;
  c->spans++;
  c->span_bytes += bytes;
  c->slots += s->slots;
  c->objects += s->objects;
  c->live_bytes += s->objects * frag_slot_bytes(s);
  c->histogram[bin_of(r, s)]++;
  c->exactly_one += s->objects == 1;
  if (s->sc < 2 && s->objects == 0) c->by_compaction += bytes;
  if (!frag_is_partly_used(s)) return 0;
  c->by_os_pages += frag_free_os_bytes(s);
  if (!s->cached && r->pools != NULL && frag_pair(&r->pools[index_of(s->sc)], s)) c->by_pairing += bytes;
  return 0;
}

static void finish_class(struct gc_frag_class *c, unsigned sc) {
  c->size = sc < 2 ? 0 : span_class_size(sc);
  c->free_bytes = c->span_bytes - c->live_bytes;
  if (sc < 2) return;
  uint64_t needed = (c->objects + span_class_slots(sc) - 1) / span_class_slots(sc);
  c->by_compaction = (c->spans - needed) * span_class_pages(sc) * PAGE_SIZE;
}

/* All fields are counts or bytes, and size is 0 in the total. */
static void add_class(struct gc_frag_class *total, const struct gc_frag_class *c) {
  uint64_t size = total->size;
  for (size_t at = 0; at < sizeof *c; at += sizeof(uint64_t)) {
    uint64_t a, b;
    memcpy(&a, (char *)total + at, sizeof a);
    memcpy(&b, (const char *)c + at, sizeof b);
    a += b;
    memcpy((char *)total + at, &a, sizeof a);
  }
  total->size = size;
}

static void read_once(struct reading *r) {
  struct gc_frag *out = r->out;
  memset(out, 0, sizeof *out);
  out->struct_size = sizeof *out;
  out->cycle = cycles_completed();
  walk(add_span, NULL, r);
  for (unsigned sc = 0; sc < GC_FRAG_CLASSES; sc++) {
    finish_class(&out->by_class[sc], sc);
    add_class(&out->total, &out->by_class[sc]);
  }
}

/* Between two walks; what was not used is still untouched memory. */
static void forget_pools(const struct reading *r) {
  for (unsigned sc = 0; r->pools != NULL && sc < GC_FRAG_CLASSES; sc++)
    if (r->out->by_class[sc].spans != 0) memset(&r->pools[sc], 0, sizeof r->pools[sc]);
}

/* A cycle that ends within the walk changes what is an object half-way: once more, then. */
void gc_read_frag(struct gc_frag *out) {
  const size_t bytes = round_up(GC_FRAG_CLASSES * sizeof(struct frag_pool), os_page_size());
  uint64_t start = os_now_ns();
  runtime_ensure_init();
  struct reading r = {.out = out, .pools = os_map(bytes)};
  for (int i = 0; i < ATTEMPTS; i++) {
    read_once(&r);
    if (cycles_completed() == out->cycle) break;
    forget_pools(&r);
  }
  if (r.pools != NULL) os_unreserve(r.pools, bytes);
  out->took_ns = os_now_ns() - start;
}

/* ---- text ---- */

static const struct field {
  const char *name;
  size_t offset;
} fields[] = {
#define FIELD(name) \
  { #name, offsetof(struct gc_frag_class, name) }
    FIELD(size),          FIELD(spans),       FIELD(span_bytes), FIELD(slots),
    FIELD(objects),       FIELD(live_bytes),  FIELD(free_bytes), FIELD(exactly_one),
    FIELD(by_compaction), FIELD(by_os_pages), FIELD(by_pairing),
#undef FIELD
};
#define FIELDS (sizeof fields / sizeof fields[0])
/* A field added to the struct and not to the table is caught here. */
_Static_assert(sizeof(struct gc_frag_class) == (FIELDS + GC_FRAG_BINS) * sizeof(uint64_t), "every field has a row");

static unsigned long long value(const struct gc_frag_class *c, const struct field *f) {
  uint64_t v;
  memcpy(&v, (const char *)c + f->offset, sizeof v);
  return v;
}

static void json_class(FILE *to, const struct gc_frag_class *c) {
  for (size_t i = 0; i < FIELDS; i++) fprintf(to, "\"%s\": %llu, ", fields[i].name, value(c, &fields[i]));
  fprintf(to, "\"histogram\": [");
  for (size_t i = 0; i < GC_FRAG_BINS; i++)
    fprintf(to, "%s%llu", i == 0 ? "" : ", ", (unsigned long long)c->histogram[i]);
  fprintf(to, "]}");
}

int gc_frag_print_json(FILE *to, const struct gc_frag *frag) {
  bool first = true;
  fprintf(to, "{\n  \"cycle\": %llu,\n  \"took_ns\": %llu,\n  \"total\": {", (unsigned long long)frag->cycle,
          (unsigned long long)frag->took_ns);
  json_class(to, &frag->total);
  fprintf(to, ",\n  \"by_class\": [");
  for (unsigned sc = 0; sc < GC_FRAG_CLASSES; sc++) {
    if (frag->by_class[sc].spans == 0) continue;
    fprintf(to, "%s\n    {\"class\": %u, \"noscan\": %s, ", first ? "" : ",", sc / 2, sc % 2 ? "true" : "false");
    json_class(to, &frag->by_class[sc]);
    first = false;
  }
  fprintf(to, "%s]\n}\n", first ? "" : "\n  ");
  return ferror(to) ? -1 : 0;
}

static double mib(uint64_t bytes) { return (double)bytes / (double)MIB; }
static double percent(uint64_t part, uint64_t whole) { return whole == 0 ? 0 : 100.0 * (double)part / (double)whole; }

static void table_row(FILE *to, const char *size, const char *kind, const struct gc_frag_class *c) {
  fprintf(to, "%8s %-7s %9llu %11llu %11llu %6.1f %10.2f %10.2f %9llu %10.2f %10.2f %10.2f\n", size, kind,
          (unsigned long long)c->spans, (unsigned long long)c->slots, (unsigned long long)c->objects,
          percent(c->objects, c->slots), mib(c->span_bytes), mib(c->free_bytes), (unsigned long long)c->exactly_one,
          mib(c->by_compaction), mib(c->by_os_pages), mib(c->by_pairing));
}

int gc_frag_print_table(FILE *to, const struct gc_frag *frag) {
  fprintf(to, "%8s %-7s %9s %11s %11s %6s %10s %10s %9s %10s %10s %10s\n", "size", "kind", "spans", "slots", "objects",
          "full %", "MiB", "free MiB", "with one", "compaction", "OS pages", "pairing");
  for (unsigned sc = 0; sc < GC_FRAG_CLASSES; sc++) {
    char size[24] = "large";
    const struct gc_frag_class *c = &frag->by_class[sc];
    if (c->spans == 0) continue;
    if (sc >= 2) snprintf(size, sizeof size, "%llu", (unsigned long long)c->size);
    table_row(to, size, sc % 2 ? "noscan" : "scanned", c);
  }
  table_row(to, "all", "", &frag->total);
  return ferror(to) ? -1 : 0;
}

/* ---- advice ---- */

#define ADVICE_CLASSES 5      /* told of at most */
#define PINNED_PERCENT 50     /* occupied: spans below are what call sites are told for */
#define ADVICE_MIN (64 * KIB) /* bytes to win below which a class is not worth a line */

static uint64_t to_win(const struct gc_frag_class *c) {
  uint64_t most = c->by_compaction > c->by_os_pages ? c->by_compaction : c->by_os_pages;
  return most > c->by_pairing ? most : c->by_pairing;
}

/* The class with most to win among those not told yet; GC_FRAG_CLASSES: none is worth it. */
static unsigned next_class(const struct gc_frag *frag, const bool *told) {
  unsigned best = GC_FRAG_CLASSES;
  for (unsigned sc = 0; sc < GC_FRAG_CLASSES; sc++) {
    uint64_t win = to_win(&frag->by_class[sc]);
    if (told[sc] || win < ADVICE_MIN) continue;
    if (best == GC_FRAG_CLASSES || win > to_win(&frag->by_class[best])) best = sc;
  }
  return best;
}

static void advise_small(FILE *to, const struct gc_frag_class *c, unsigned sc) {
  fprintf(to, "%llu bytes, %s: %llu spans, %.1f %% of their slots hold objects; %llu spans hold just one.\n",
          (unsigned long long)c->size, sc % 2 ? "noscan" : "scanned", (unsigned long long)c->spans,
          percent(c->objects, c->slots), (unsigned long long)c->exactly_one);
  if (c->by_compaction >= ADVICE_MIN)
    fprintf(to, "  %.2f MiB by compaction: let the program reallocate (gc_reallocate) what gc_should_move names.\n",
            mib(c->by_compaction));
  if (c->by_os_pages >= ADVICE_MIN)
    fprintf(to, "  %.2f MiB by release, nothing moved: gc_release_inside, or GC_RELEASE_INSIDE=on.\n",
            mib(c->by_os_pages));
  if (c->by_pairing >= ADVICE_MIN)
    fprintf(to, "  %.2f MiB at least if spans whose objects do not overlap shared pages; nothing here does that.\n",
            mib(c->by_pairing));
}

static void advise_large(FILE *to, const struct gc_frag_class *c, unsigned sc) {
  fprintf(to, "large objects, %s: %llu, of which %llu are unreachable.\n", sc % 2 ? "noscan" : "scanned",
          (unsigned long long)c->spans, (unsigned long long)(c->spans - c->objects));
  fprintf(to, "  %.2f MiB by sweeping, which is under way: gc_release_memory waits for it.\n", mib(c->by_compaction));
}

static void advise(FILE *to, const struct gc_frag *frag) {
  bool told[GC_FRAG_CLASSES] = {false};
  const struct gc_frag_class *t = &frag->total;
  fprintf(to, "After cycle %llu %.2f MiB of objects are spread over %.2f MiB of spans (%.1f %%).\n",
          (unsigned long long)frag->cycle, mib(t->live_bytes), mib(t->span_bytes),
          percent(t->live_bytes, t->span_bytes));
  if (next_class(frag, told) == GC_FRAG_CLASSES) fprintf(to, "There is nothing to win.\n");
  for (int i = 0; i < ADVICE_CLASSES; i++) {
    unsigned sc = next_class(frag, told);
    if (sc == GC_FRAG_CLASSES) break;
    told[sc] = true;
    if (sc < 2)
      advise_large(to, &frag->by_class[sc], sc);
    else
      advise_small(to, &frag->by_class[sc], sc);
  }
}

/* The figures take more room than a small thread's stack should be asked for. */
int gc_advice(FILE *to) {
  const size_t bytes = round_up(sizeof(struct gc_frag), os_page_size());
  struct gc_frag *frag = os_map(bytes);
  if (frag == NULL) return -1;
  gc_read_frag(frag);
  advise(to, frag);
  os_unreserve(frag, bytes);
  if (profile_has_samples()) gc_profile_print(to, PINNED_PERCENT);
  return ferror(to) ? -1 : 0;
}

/* ---- the heap map ---- */

#define DUMP_BUFFER (64 * KIB)
/* Bytes of a piece of the walk, or of anything else. */
#define DUMP_STEP_MAX ((FRAG_STEP + 1) * (size_t)(HEAPMAP_SPAN_MAX + HEAPMAP_OWNERS_MAX))
_Static_assert(DUMP_BUFFER >= 2 * DUMP_STEP_MAX, "a piece always fits after what is left of the one before");
_Static_assert(DUMP_STEP_MAX >= HEAPMAP_SITE_MAX, "and so does a site");
#define SAMPLES_PER_LOOK 8 /* samples in the time of a span, about */

struct dump {
  int fd;
  size_t used;
  int error; /* 0, or an errno value */
  struct heapmap_totals totals;
  uint64_t seen[SAMPLE_SITES_MAX / 64]; /* bit per site that the map speaks of */
  struct sample_tally tally;
  char buffer[DUMP_BUFFER];
};

static bool flush(struct dump *d) {
  d->error = os_write(d->fd, d->buffer, d->used);
  d->used = 0;
  return d->error == 0;
}

/* Who owns it: samples of what the map shows as objects. A span may have as many samples as slots: the piece ends sooner. */
static unsigned dump_owners(struct dump *d, const struct frag_span *s) {
  unsigned looks = samples_tally(&d->tally, s->page, frag_is_partly_used(s) ? s->used : NULL);
  d->used += heapmap_owners(d->buffer + d->used, s, &d->tally, d->seen);
  return looks / SAMPLES_PER_LOOK;
}

static unsigned dump_span(const struct frag_span *s, void *arg) {
  struct dump *d = arg;
  d->used += heapmap_span(d->buffer + d->used, s, &d->totals);
  return s->objects != 0 && span_has_samples(s->page) ? dump_owners(d, s) : 0;
}

static bool dump_between(void *arg) {
  struct dump *d = arg;
  return d->used + DUMP_STEP_MAX <= DUMP_BUFFER || flush(d);
}

/* Last, where the loader may be asked for names: the walk holds locks and stops. */
static bool dump_sites(struct dump *d) {
  for (uint32_t site = 0; site < SAMPLE_SITES_MAX; site++) {
    if ((d->seen[site / 64] >> (site % 64) & 1) == 0) continue;
    d->used += heapmap_site(d->buffer + d->used, site, profile_frame_name);
    if (!dump_between(d)) return false;
  }
  return true;
}

static bool dump(struct dump *d) {
  d->used = heapmap_header(d->buffer, cycles_completed(), os_wall_ns());
  if (!flush(d) || !walk(dump_span, dump_between, d)) return false; /* flushed at once: a bad descriptor shows early */
  if (!dump_sites(d)) return false;
  d->used += heapmap_end(d->buffer + d->used, cycles_completed(), &d->totals);
  return flush(d);
}

int gc_dump_heap(int fd) {
  const size_t bytes = round_up(sizeof(struct dump), os_page_size());
  runtime_ensure_init();
  struct dump *d = os_map(bytes);
  if (d == NULL) {
    errno = ENOMEM;
    return -1;
  }
  d->fd = fd;
  bool ok = dump(d);
  int error = d->error;
  os_unreserve(d, bytes);
  if (!ok) errno = error;
  return ok ? 0 : -1;
}
