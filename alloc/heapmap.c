/* heapmap.c - see heapmap.h. A change here is one in docs/heapmap.md and experiments/lab/heapmap.py too. */
#include "alloc/heapmap.h"

#include <string.h>

#include "runtime/os.h"

#define VERSION 1
#define HEADER_BYTES 56
#define RECORD_BYTES 8 /* kind and length */
enum { KIND_SPAN = 1, KIND_END = 2, KIND_SITE = 3, KIND_OWNERS = 4 };
enum { FLAG_NOSCAN = 1, FLAG_CACHED = 2, FLAG_UNSWEPT = 4, FLAG_TYPED = 8 };

static char *put(char *to, uint64_t value, unsigned bytes) {
  for (unsigned i = 0; i < bytes; i++) *to++ = (char)(value >> (8 * i));
  return to;
}

size_t heapmap_header(char *to, uint64_t cycle, uint64_t wall_ns) {
  static const char magic[8] = {'\x89', 'H', 'F', 'M', 'A', 'P', '\r', '\n'};
  memcpy(to, magic, sizeof magic);
  char *at = put(to + sizeof magic, VERSION, 4);
  at = put(at, HEADER_BYTES, 4);
  at = put(at, PAGE_SIZE, 8);
  at = put(at, os_page_size(), 8);
  at = put(at, (uintptr_t)heap.base, 8);
  at = put(at, cycle, 8);
  at = put(at, wall_ns, 8);
  return (size_t)(at - to);
}

/* The length is known when all is put. */
static size_t finish(char *to, const char *end, unsigned kind) {
  size_t bytes = (size_t)(end - to);
  put(put(to, kind, 4), bytes - RECORD_BYTES, 4);
  return bytes;
}

size_t heapmap_span(char *to, const struct frag_span *s, struct heapmap_totals *totals) {
  char *at = put(to + RECORD_BYTES, s->page, 4);
  at = put(at, s->pages, 4);
  at = put(at, s->age, 4);
  at = put(at, class_of(s->sc), 2);
  unsigned flags = (span_class_is_noscan(s->sc) ? FLAG_NOSCAN : 0u) | (s->cached ? FLAG_CACHED : 0u);
  if (s->typed) flags |= FLAG_TYPED;
  at = put(at, flags | (s->unswept ? FLAG_UNSWEPT : 0u), 2);
  at = put(at, s->sc < 2 ? 0 : frag_slot_bytes(s), 4);
  at = put(at, s->slots, 4);
  at = put(at, s->objects, 4);
  at = put(at, s->claimed, 4);
  for (unsigned g = 0; frag_is_partly_used(s) && g < (s->slots + 63) / 64; g++) at = put(at, s->used[g], 8);
  totals->spans++;
  totals->span_bytes += (uint64_t)s->pages << PAGE_SHIFT;
  totals->objects += s->objects;
  totals->live_bytes += s->objects * frag_slot_bytes(s);
  return finish(to, at, KIND_SPAN);
}

size_t heapmap_owners(char *to, const struct frag_span *s, struct sample_tally *t, uint64_t *seen) {
  double bytes = (double)((uint64_t)s->pages << PAGE_SHIFT) / (s->objects != 0 ? s->objects : 1);
  struct sample_share share;
  uint32_t site, n = 0, others = 0;
  char *at = to + RECORD_BYTES + 8;
  for (; (site = sample_tally_take(t, &share)) != SAMPLE_SITES_MAX; n++) {
    if (n >= HEAPMAP_OWNERS) {
      others += share.samples;
      continue;
    }
    seen[site / 64] |= (uint64_t)1 << (site % 64);
    at = put(at, site, 4);
    at = put(at, share.samples, 4);
    at = put(at, (uint64_t)(share.objects * bytes + 0.5), 8);
  }
  if (n == 0) return 0;
  put(put(to + RECORD_BYTES, s->page, 4), others, 4);
  return finish(to, at, KIND_OWNERS);
}

/* Addresses are return addresses less 1, so that they lie in the call. */
size_t heapmap_site(char *to, uint32_t site, heapmap_name *name) {
  void *const *pc;
  unsigned depth = sample_stack(site, &pc);
  char *at = put(to + RECORD_BYTES, site, 4);
  at = put(at, depth, 4);
  for (unsigned i = 0; i < depth; i++) at = put(at, (uintptr_t)pc[i] - 1, 8);
  for (unsigned i = 0; i < depth; i++) at += name(at, HEAPMAP_NAME_MAX, pc[i]) + 1;
  while ((at - to) % 8 != 0) *at++ = '\0';
  return finish(to, at, KIND_SITE);
}

size_t heapmap_end(char *to, uint64_t cycle, const struct heapmap_totals *totals) {
  char *at = put(to + RECORD_BYTES, totals->spans, 8);
  at = put(at, totals->span_bytes, 8);
  at = put(at, totals->objects, 8);
  at = put(at, totals->live_bytes, 8);
  at = put(at, cycle, 8);
  return finish(to, at, KIND_END);
}
