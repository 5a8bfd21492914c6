/* mapread.h - reads a heap map (docs/heapmap.md) into the figures of gc_frag that can be compared.
 * Owns:     the format as a reader sees it, written anew from the document.
 * Promises: a map that is cut short or contradicts itself is told by what it returns: NULL, or what is wrong. */
#ifndef HOLDFAST_TEST_MAPREAD_H
#define HOLDFAST_TEST_MAPREAD_H

#include "gc_frag.h"
#include "hide.h"

struct map {
  uint64_t page_size, os_page_size, base, cycle, time_ns, end_cycle;
  uint64_t spans, claimed, cached, unswept, oldest;      /* counts; the age of the oldest span */
  struct gc_frag_class total, by_class[GC_FRAG_CLASSES]; /* spans, span_bytes, slots, objects, live_bytes */
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
  return NULL;
}

static inline const char *map_end(struct map *m, const unsigned char *at, uint64_t length, uint64_t rest) {
  if (length != 40 || rest != 0) return "the end is not the end";
  m->end_cycle = map_get(at + 32, 8);
  if (map_get(at, 8) != m->total.spans || map_get(at + 8, 8) != m->total.span_bytes ||
      map_get(at + 16, 8) != m->total.objects || map_get(at + 24, 8) != m->total.live_bytes)
    return "the totals are not those of the spans";
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
    const char *wrong = kind == 1 ? map_span(m, text + at, length, &next_page) : "an unknown record";
    if (wrong != NULL) return wrong;
    at += length;
  }
}

#endif
