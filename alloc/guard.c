/* guard.c - see guard.h. */
#include "alloc/guard.h"

#include <string.h>

#include "alloc/sample.h"
#include "alloc/walk.h"
#include "runtime/hide.h"
#include "runtime/lock.h"
#include "runtime/meta.h"
#include "runtime/os.h"

#define RED 0xfd
#define GONE 0xdb /* as what debug builds poison with */
#define GONE_WORD ((uintptr_t)0xdbdbdbdbdbdbdbdbu)
#define DISGUISE ((uintptr_t)0xfdc0ffee00000000u) /* sizes have 48 bits: never an address */
#define RING 16384                                /* freed objects in quarantine */
#define RING_BYTES (16 * MIB)                     /* of their slots; one larger than that waits for the next */
#define TAIL (2 * sizeof(uintptr_t))              /* of a slot: the trailer and what lies before the next object */

struct retired {
  char *object;
  size_t size; /* that was asked for */
};

bool guards_on GC_OWN_DATA;

static struct {
  struct lock lock;
  struct retired *ring;     /* [const] table */
  size_t first, count;      /* [L:GUARD; STW] */
  size_t bytes;             /* [L:GUARD] of slots */
  struct guard_fault fault; /* [STW] until taken */
  atomic_u32 found;         /* [A] 0: none; 1: to be taken; 2: taken */
} guards GC_OWN_DATA = {.lock = LOCK_INIT(GUARD)};

bool guards_init(void) {
  guards.ring = meta_map(RING * sizeof *guards.ring);
  guards_on = guards.ring != NULL;
  return guards_on;
}

/* ---- one slot ---- */

/* Read and written where the program may write wrongly at the same time. */
static GC_NO_SANITIZE uintptr_t trailer(const struct slot *s) { return racy_load_word(s->object + s->size - TAIL); }
static GC_NO_SANITIZE void set_trailer(char *p, size_t slot, uintptr_t value) {
  *(volatile scanned_word *)(void *)(p + slot - TAIL) = value;
}

static GC_NO_SANITIZE void fill(char *p, size_t n, unsigned byte) {
  for (size_t i = 0; i < n; i++) ((volatile char *)p)[i] = (char)byte;
}

/* The offset of the first byte in [from, to) that is not `byte`; SIZE_MAX: all are. */
static GC_NO_SANITIZE size_t first_other(const char *p, size_t from, size_t to, unsigned byte) {
  for (size_t i = from; i < to; i++)
    if (((const volatile unsigned char *)p)[i] != byte) return i;
  return SIZE_MAX;
}

void guard_set(char *p, size_t slot, size_t size) {
  memory_show(p, slot);
  fill(p + size, slot - size, RED);
  set_trailer(p, slot, DISGUISE ^ size);
  memory_hide(p + size, slot - size);
}

void guard_drop(const struct slot *s) { set_trailer(s->object, s->size, GONE_WORD); }

void guard_copy(const struct slot *from, const struct slot *to) {
  size_t size = guard_size(from);
  if (size == SIZE_MAX) size = from->size - GUARD_EXTRA; /* a fault that others find */
  guard_set(to->object, to->size, size);
  memcpy(to->object, from->object, size);
}

void guard_bury(const char *p, size_t size) { memory_show(p, size); }

size_t guard_size(const struct slot *s) {
  size_t size = trailer(s) ^ DISGUISE;
  return size <= s->size - GUARD_EXTRA ? size : SIZE_MAX;
}

bool guard_is_gone(const struct slot *s) { return trailer(s) == GONE_WORD; }

bool guard_check(const struct slot *s, struct guard_fault *fault) {
  size_t size = guard_size(s);
  size_t first = size != SIZE_MAX ? first_other(s->object, size, s->size - TAIL, RED) : s->size - TAIL;
  if (first == SIZE_MAX) first = first_other(s->object, s->size - TAIL / 2, s->size, RED);
  *fault = (struct guard_fault){GUARD_WHOLE, s->object, s->size, size, first, SAMPLE_NO_SITE};
  if (first == SIZE_MAX) return false;
  fault->kind = GUARD_OVERRUN;
  fault->site = sample_site(s);
  return true;
}

/* ---- quarantine ---- */

static bool check_retired(const struct retired *r, const struct slot *s, struct guard_fault *fault) {
  size_t first = first_other(s->object, 0, s->size, GONE);
  *fault = (struct guard_fault){GUARD_WHOLE, s->object, s->size, r->size, first, SAMPLE_NO_SITE};
  if (first == SIZE_MAX) return false;
  fault->kind = GUARD_FREED;
  fault->site = sample_site(s);
  return true;
}

/* The lock decides which of two that free the same object at the same time comes first. Who retires one releases all that is too
 * many, so the ring is never full but with as many threads inside gc_free as it has places left. */
bool guard_retire(const struct slot *s) {
  size_t size = guard_size(s);
  lock_acquire(&guards.lock);
  bool ours = !guard_is_gone(s);
  if (guards.count == RING) fatal("more than %d threads are inside gc_free", RING - RING / 2);
  if (ours) {
    guards.ring[(guards.first + guards.count++) % RING] = (struct retired){s->object, size};
    guards.bytes += s->size;
    memory_show(s->object, s->size);
    fill(s->object, s->size, GONE);
    memory_hide(s->object, s->size);
  }
  lock_release(&guards.lock);
  return ours;
}

bool guard_release(bool all, struct slot *s, struct guard_fault *fault) {
  lock_acquire(&guards.lock);
  bool some = guards.count > (all ? 0 : 1) && (all || guards.count > RING / 2 || guards.bytes > RING_BYTES);
  struct retired r = guards.ring[guards.first];
  if (some) {
    *s = slot_find(r.object);
    guards.first = (guards.first + 1) % RING;
    guards.count--;
    guards.bytes -= s->size;
  }
  lock_release(&guards.lock);
  if (some) memory_show(s->object, s->size);
  if (some) check_retired(&r, s, fault);
  return some;
}

/* ---- in a stop ---- */

static void note_fault(const struct guard_fault *fault) {
  if (atomic32_load_relaxed(&guards.found) != 0) return;
  guards.fault = *fault;
  atomic32_store_release(&guards.found, 1); /* pairs with guards_take_fault */
}

static void check_span(void *unused, uint32_t page, const uint64_t *slots) {
  struct guard_fault fault;
  unsigned sc = span_class_of(page);
  size_t size = sc < 2 ? span_bytes(page) : span_class_size(sc);
  (void)unused;
  for (unsigned g = 0; g < WALK_GROUPS; g++)
    for (uint64_t rest = slots[g]; rest != 0; rest &= rest - 1) {
      struct slot s = {walk_object(page, size, g, rest), NULL, page, sc, size};
      if (!guard_is_gone(&s) && guard_check(&s, &fault)) note_fault(&fault);
    }
}

static void keep_ring(void) {
  struct guard_fault fault;
  unsigned black = atomic32_load_relaxed(&heap.live_colour);
  for (size_t i = 0; i < guards.count; i++) {
    const struct retired *r = &guards.ring[(guards.first + i) % RING];
    struct slot s = slot_find(r->object);
    atomic8_store_relaxed(s.state, black);
    if (check_retired(r, &s, &fault)) note_fault(&fault);
  }
}

void guards_judge(void) {
  keep_ring();
  walk_objects(1, check_span, NULL);
  walk_objects(2, check_span, NULL);
}

bool guards_take_fault(struct guard_fault *fault) {
  if (atomic32_load_acquire(&guards.found) == 0) return false; /* pairs with note_fault */
  while (!atomic32_cas(&guards.found, 1, 2)) os_futex_wait(&guards.found, 2, 0);
  *fault = guards.fault;
  return true;
}
