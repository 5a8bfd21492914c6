/* layout.h - spans whose objects lie where a test wants them.
 * Owns:     the objects, all of one size, that fill a number of spans of a class that nobody else uses.
 * Promises: what is dropped goes by gc_free, so that the layout is exact, whatever stale words are about.
 * Needs:    a fresh process (Check's), since the spans of the class must be fresh. */
#ifndef HOLDFAST_TEST_LAYOUT_H
#define HOLDFAST_TEST_LAYOUT_H

#include "gc_frag.h"
#include "hide.h"

#define PAGE ((uint64_t)8192)

enum { LAYOUT_MAX = 1 << 17 };

static struct {
  root object[LAYOUT_MAX]; /* in order of allocation; NULL: dropped */
  size_t count;
  size_t size, slots, span_bytes; /* of the class */
} layout;

/* Which span of the layout, and which slot of it, an object lies in. The spans are neighbours in a fresh heap. */
static uintptr_t layout_base;
static inline size_t layout_span(const void *p) { return ((uintptr_t)p - layout_base) / layout.span_bytes; }
static inline size_t layout_slot(const void *p) {
  return ((uintptr_t)p - layout_base) % layout.span_bytes / layout.size;
}

/* Fills `spans` spans; slots, span_bytes as api/gc_frag.h will report them. */
static HELPER void layout_fill(size_t size, size_t slots, size_t span_bytes, size_t spans) {
  gc_disable();
  layout.size = size;
  layout.slots = slots;
  layout.span_bytes = span_bytes;
  layout.count = spans * slots;
  REQUIRE(layout.count <= LAYOUT_MAX);
  for (size_t i = 0; i < layout.count; i++) {
    layout.object[i] = gc_alloc(size);
    REQUIRE(layout.object[i] != NULL);
    REQUIRE(gc_usable_size(layout.object[i]) == size);
  }
  layout_base = (uintptr_t)layout.object[0];
  REQUIRE(layout_base % PAGE == 0 && layout_span(layout.object[layout.count - 1]) == spans - 1);
}

/* Keeps what f says, and gives this thread's span back to the heap. */
static HELPER void layout_keep(bool (*f)(size_t span, size_t slot)) {
  for (size_t i = 0; i < layout.count; i++) {
    void *p = layout.object[i];
    if (p == NULL || f(layout_span(p), layout_slot(p))) continue;
    layout.object[i] = NULL;
    gc_free(p);
  }
  gc_collect();
}

/* The figures of the class, by looking at the objects' addresses: all but by_pairing. */
static HELPER void layout_count(struct gc_frag_class *c, uint64_t os_page) {
  static unsigned in_span[LAYOUT_MAX];
  static unsigned char touched[LAYOUT_MAX * 8]; /* OS pages of the layout */
  size_t spans = layout.count / layout.slots, per_span = layout.span_bytes / os_page;
  memset(c, 0, sizeof *c);
  memset(in_span, 0, sizeof in_span);
  memset(touched, 0, sizeof touched);
  for (size_t i = 0; i < layout.count; i++) {
    if (layout.object[i] == NULL) continue;
    size_t at = (uintptr_t)layout.object[i] - layout_base;
    in_span[layout_span(layout.object[i])]++;
    for (size_t o = at / os_page; o <= (at + layout.size - 1) / os_page; o++) touched[o] = 1;
  }
  c->size = layout.size;
  for (size_t s = 0; s < spans; s++) {
    if (in_span[s] == 0) continue;
    c->spans++;
    c->objects += in_span[s];
    c->exactly_one += in_span[s] == 1;
    c->histogram[in_span[s] == layout.slots ? 9 : in_span[s] * 10 / layout.slots]++;
    for (size_t o = 0; o < per_span && in_span[s] != layout.slots; o++)
      c->by_os_pages += touched[s * per_span + o] ? 0 : os_page;
  }
  c->span_bytes = c->spans * layout.span_bytes;
  c->slots = c->spans * layout.slots;
  c->live_bytes = c->objects * layout.size;
  c->free_bytes = c->span_bytes - c->live_bytes;
  c->by_compaction = (c->spans - (c->objects + layout.slots - 1) / layout.slots) * layout.span_bytes;
}

#endif
