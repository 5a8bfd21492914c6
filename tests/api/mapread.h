/* mapread.h - reads a heap map (docs/heapmap.md) into the figures of gc_frag that can be compared.
 * Owns:     the format as a reader sees it, written anew from the document.
 * Promises: a map that is cut short or contradicts itself is told by what it returns: NULL, or what is wrong. */
#ifndef HOLDFAST_TEST_MAPREAD_H
#define HOLDFAST_TEST_MAPREAD_H

#include "gc_frag.h"
#include "hide.h"

enum { MAP_SITES_MAX = 8192, MAP_OWNERS_MAX = 1 << 16 };

struct map_owner {
  uint64_t address, span_bytes, objects; /* of the span */
  uint64_t site, samples, bytes;
};

struct map {
  uint64_t page_size, os_page_size, base, cycle, time_ns, end_cycle;
  uint64_t spans, claimed, cached, unswept, oldest;      /* counts; the age of the oldest span */
  struct gc_frag_class total, by_class[GC_FRAG_CLASSES]; /* spans, span_bytes, slots, objects, live_bytes */
  uint64_t others;                                       /* sampled objects of sites not told */
  size_t owners, sites;
  struct map_owner owner[MAP_OWNERS_MAX];
  const char *frames[MAP_SITES_MAX]; /* by site: names of its frames, each ended by a zero byte; NULL: not told */
  uint64_t depth[MAP_SITES_MAX], first_call[MAP_SITES_MAX];
  struct map_owner last; /* span */
  void (*each)(const struct map *m, uint64_t address, uint64_t slot_bytes, uint64_t slots, const unsigned char *bits);
};

static inline uint64_t map_get(const unsigned char *at, unsigned bytes) {
  uint64_t v = 0;
  for (unsigned i = 0; i < bytes; i++) v |= (uint64_t)at[i] << (8 * i);
  return v;
}

static inline unsigned map_bits(const unsigned char *bits, size_t slots) {
  unsigned n = 0;
  for (size_t i = 0; i < slots; i++) n += bits[i / 8] >> (i % 8) & 1;
  return n;
}

static inline void map_count(struct gc_frag_class *c, uint64_t bytes, uint64_t slots, uint64_t objects, uint64_t size) {
  c->spans++;
  c->span_bytes += bytes;
  c->slots += slots;
  c->objects += objects;
  c->live_bytes += objects * size;
}

static inline const char *map_span(struct map *m, const unsigned char *at, uint64_t length, uint64_t *next_page) {
  if (length < 32) return "a span's record is too short";
  uint64_t page = map_get(at, 4), pages = map_get(at + 4, 4), age = map_get(at + 8, 4), cls = map_get(at + 12, 2);
  uint64_t flags = map_get(at + 14, 2), size = map_get(at + 16, 4), slots = map_get(at + 20, 4);
  uint64_t objects = map_get(at + 24, 4), claimed = map_get(at + 28, 4), words = (slots + 63) / 64;
  if (page < *next_page || pages == 0) return "spans overlap or are not in order";
  *next_page = page + pages;
  if (cls >= 68 || flags > 15 || (size == 0) != (cls == 0)) return "a span of no class";
  if (size == 0) size = pages * m->page_size;
  if (slots == 0 || objects + claimed > slots || slots * size > pages * m->page_size) return "a span's slots are wrong";
  bool partly = objects != 0 && objects != slots;
  if (length != 32 + (partly ? words * 8 : 0)) return "a span's record has another length";
  if (partly && (map_bits(at + 32, words * 64) != objects || map_bits(at + 32, slots) != objects))
    return "a bitmap is not of as many objects";
  if (m->each != NULL) m->each(m, m->base + page * m->page_size, size, slots, partly ? at + 32 : NULL);
  map_count(&m->by_class[2 * cls + flags % 2], pages * m->page_size, slots, objects, size);
  map_count(&m->total, pages * m->page_size, slots, objects, size);
  m->claimed += claimed;
  m->cached += flags >> 1 & 1;
  m->unswept += flags >> 2 & 1;
  m->oldest = age > m->oldest ? age : m->oldest;
  m->last = (struct map_owner){m->base + page * m->page_size, pages * m->page_size, objects, 0, 0, 0};
  return NULL;
}

static inline const char *map_owners(struct map *m, const unsigned char *at, uint64_t length) {
  uint64_t n = (length - 8) / 16, before = UINT64_MAX, samples = map_get(at + 4, 4);
  if (length < 24 || length % 16 != 8 || n > 4) return "owners of another length";
  if (m->last.objects == 0 || m->base + map_get(at, 4) * m->page_size != m->last.address)
    return "owners of another span";
  m->others += samples;
  if (samples != 0 && n < 4) return "sites are left out though there is room";
  for (at += 8; n-- > 0; at += 16) {
    struct map_owner o = m->last;
    o.site = map_get(at, 4);
    o.samples = map_get(at + 4, 4);
    o.bytes = map_get(at + 8, 8);
    samples += o.samples;
    if (o.site >= MAP_SITES_MAX || m->owners == MAP_OWNERS_MAX) return "more sites than there can be";
    if (o.samples == 0 || o.bytes > before) return "a site without samples, or out of order";
    before = o.bytes;
    m->owner[m->owners++] = o;
  }
  if (samples > m->last.objects) return "more samples than objects";
  m->last.objects = 0; /* once */
  return NULL;
}

static inline const char *map_site(struct map *m, const unsigned char *at, uint64_t length) {
  if (length < 8) return "a site's record is too short";
  uint64_t site = map_get(at, 4), n = map_get(at + 4, 4), names = 0;
  if (site >= MAP_SITES_MAX || m->frames[site] != NULL) return "a site twice";
  if (n > 32 || length < 8 + 9 * n) return "a site's frames do not fit its record";
  const unsigned char *text = at + 8 + 8 * n, *end = at + length;
  m->frames[site] = (const char *)text;
  m->depth[site] = n;
  if (n != 0) m->first_call[site] = map_get(at + 8, 8);
  m->sites++;
  for (; names < n; names++) {
    const unsigned char *zero = memchr(text, '\0', (size_t)(end - text));
    if (zero == NULL || zero == text) return "a frame without a name";
    text = zero + 1;
  }
  if (end - text >= 8) return "more behind the names";
  while (text < end)
    if (*text++ != 0) return "more behind the names";
  return NULL;
}

static inline const char *map_record(struct map *m, uint64_t kind, const unsigned char *at, uint64_t length,
                                     uint64_t *next_page) {
  if (kind == 1 && m->sites == 0) return map_span(m, at, length, next_page);
  if (kind == 4 && m->sites == 0) return map_owners(m, at, length);
  return kind == 3 ? map_site(m, at, length) : "a record that is unknown, or where none is expected";
}

static inline const char *map_end(struct map *m, const unsigned char *at, uint64_t length, uint64_t rest) {
  if (length != 40 || rest != 0) return "the end is not the end";
  m->end_cycle = map_get(at + 32, 8);
  if (map_get(at, 8) != m->total.spans || map_get(at + 8, 8) != m->total.span_bytes ||
      map_get(at + 16, 8) != m->total.objects || map_get(at + 24, 8) != m->total.live_bytes)
    return "the totals are not those of the spans";
  for (size_t i = 0; i < m->owners; i++)
    if (m->frames[m->owner[i].site] == NULL) return "an owner that is not told";
  return NULL;
}

/* each is kept. */
static HELPER const char *map_read(struct map *m, const unsigned char *text, size_t bytes) {
  void (*each)(const struct map *, uint64_t, uint64_t, uint64_t, const unsigned char *) = m->each;
  uint64_t at = 56, next_page = 0;
  memset(m, 0, sizeof *m);
  m->each = each;
  if (bytes < 56 || memcmp(text, "\x89HFMAP\r\n", 8) != 0) return "no header";
  if (map_get(text + 8, 4) != 1 || map_get(text + 12, 4) != 56) return "another version";
  m->page_size = map_get(text + 16, 8);
  m->os_page_size = map_get(text + 24, 8);
  m->base = map_get(text + 32, 8);
  m->cycle = map_get(text + 40, 8);
  m->time_ns = map_get(text + 48, 8);
  for (;;) {
    if (bytes - at < 8) return "cut short between records";
    uint64_t kind = map_get(text + at, 4), length = map_get(text + at + 4, 4);
    at += 8;
    if (length % 8 != 0 || bytes - at < length) return "cut short inside a record";
    if (kind == 2) return map_end(m, text + at, length, bytes - at - length);
    const char *wrong = map_record(m, kind, text + at, length, &next_page);
    if (wrong != NULL) return wrong;
    at += length;
  }
}

#endif
