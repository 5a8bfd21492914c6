/* geometry.c - see geometry.h. */
#include "geometry.h"

#include "scenario.h"

#if defined(SCENARIO_HOLDFAST)

struct geometry geometry_of(size_t size, int noscan) {
  struct go_class class = go_class_of(noscan && size < GO_TINY_BLOCK ? GO_TINY_BLOCK : size);
  struct geometry out = {class.slot, class.span, class.slots,
                         class.slot / (size < class.slot && noscan ? size : class.slot)};
  if (size >= GO_TINY_BLOCK) out.share = 1;
  return out;
}

#elif defined(SCENARIO_JEMALLOC)

static size_t bin_value(unsigned bin, const char *what) {
  char name[64];
  size_t value = 0, length;
  uint32_t regions = 0;
  snprintf(name, sizeof name, "arenas.bin.%u.%s", bin, what);
  length = sizeof value;
  if (!mallctl(name, &value, &length, NULL, 0)) return value;
  length = sizeof regions;
  if (mallctl(name, &regions, &length, NULL, 0)) lab_die("jemalloc does not know %s", name);
  return regions;
}

struct geometry geometry_of(size_t size, int noscan) {
  (void)noscan;
  unsigned bins = 0;
  size_t length = sizeof bins, slot = nallocx(size, 0);
  mallctl("arenas.nbins", &bins, &length, NULL, 0);
  for (unsigned bin = 0; bin < bins; bin++)
    if (bin_value(bin, "size") == slot)
      return (struct geometry){slot, bin_value(bin, "slab_size"), bin_value(bin, "nregs"), 1};
  return (struct geometry){slot, slot, 1, 1}; /* large */
}

#elif defined(SCENARIO_BDWGC)

/* Its blocks are one OS page; every object has one more byte, so that an address one past its end keeps it. */
struct geometry geometry_of(size_t size, int noscan) {
  enum { BLOCK = 4096 };
  size_t slot = GC_size(noscan ? GC_MALLOC_ATOMIC(size) : GC_MALLOC(size));
  if (slot > BLOCK / 2) return (struct geometry){slot, (slot + BLOCK - 1) / BLOCK * BLOCK, 1, 1};
  return (struct geometry){slot, BLOCK, BLOCK / slot, 1};
}

#else

struct geometry geometry_of(size_t size, int noscan) {
  (void)noscan;
  return (struct geometry){size, 0, 1, 1};
}

#endif

/* Object i lies in span i / m, m being the objects of a full span. The kept ones are 0, k, 2k ... last.
 * k <= m: m neighbours include one that is kept, so every span up to that of the last one survives.
 * k > m:  two that are kept are never in one span, so each keeps its own: as many spans as objects.
 * In one line, for n much larger than m: spans = min(n / m, n / k), occupancy = max(1 / k, 1 / m), and the bytes in use
 * but not allocated are largest, nearly all of the heap, where k = m. The same with slots that objects share. */
struct prediction geometry_predict(const struct geometry *geometry, uint64_t n, uint64_t step) {
  struct prediction out = {.kept = (n + step - 1) / step};
  uint64_t last = (out.kept - 1) * step, per_span = geometry->slots * geometry->share;
  out.live_slots = step <= geometry->share ? last / geometry->share + 1 : out.kept;
  out.spans = step <= per_span ? last / per_span + 1 : out.kept;
  out.inuse = out.spans * geometry->span;
  out.alloc = out.live_slots * geometry->slot;
  return out;
}
