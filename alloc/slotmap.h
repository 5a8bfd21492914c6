/* slotmap.h - one byte per slot, outside the heap.
 *
 * value           meaning                                            written by
 *   0             free                                               sweeping, gc_free, giving back
 *   live colour   allocated (or claimed by a thread for allocation)  the claiming thread, marking
 *   other colour  while marking: allocated, not reached yet;         (the colours trade places at the
 *                 after it: dead, not swept yet                       start of marking, nobody writes)
 *   3             freed, or given back, while markers ran beside the program; dead at the next sweep   gc_free, giving back
 *
 * While they run (heap_is_marking), bytes change only from 0 to the birth colour, from white to black, and to 3.
 *
 * One byte holds both the allocated test and the mark, so marking touches one line per object and needs
 * no atomic read-modify-write: two markers that meet store the same byte (INV-MARK-1). A thread that claims
 * slots stores only the bytes of the slots it claims, never a blended line: that would erase a mark set
 * in between (INV-CLAIM-1).
 *
 * A span of n slots owns (n + 63) / 64 blocks of 64 bytes. Bytes past n stay 0. The 16-byte noscan class
 * has one more block, a bitmap of the slots that are tiny blocks; a large typed object one that says its layout. Blocks are numbered; a page descriptor
 * holds the first one's number. */
#ifndef HOLDFAST_SLOTMAP_H
#define HOLDFAST_SLOTMAP_H

#include <string.h>

#include "alloc/span.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

size_t slotmap_reserve_bytes(size_t pages);
bool slotmap_init(void);              /* after the reservation; false when memory is refused */
unsigned slotmap_blocks(unsigned sc); /* blocks that a span of the class, or LARGE_TYPED, owns */

/* n zeroed blocks; false when memory is refused. */
bool slotmap_alloc(unsigned n, uint32_t *block);
void slotmap_free(uint32_t block, unsigned n);
size_t slotmap_bytes(void); /* touched so far */
GC_INLINE size_t slotmap_block_bytes(unsigned n) { return n * (size_t)64; }

GC_INLINE atomic_u8 *slotmap_group(uint32_t block, unsigned group) {
  return heap.slotmap + ((size_t)block + group) * 64;
}

/* Bit i of the result: byte i of the group equals value. Reads beside markers and other threads' gc_free:
 * each byte is a value it had at some moment, and the users of the mask allow for that. */
GC_INLINE GC_NO_SANITIZE uint64_t group_equal(const atomic_u8 *group, unsigned value) {
#ifdef __SSE2__
  const __m128i *g = (const __m128i *)(uintptr_t)group;
  __m128i v = _mm_set1_epi8((char)value);
  uint64_t mask = 0;
  for (int i = 0; i < 4; i++)
    mask |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_load_si128(g + i), v)) << (16 * i);
  return mask;
#else
  const uint64_t ones = 0x0101010101010101u, low = 0x7f * ones; /* low + low has no carry from byte to byte */
  uint64_t mask = 0;
  for (int i = 0; i < 8; i++) {
    uint64_t d = racy_load_word((const char *)(uintptr_t)group + 8 * i) ^ (ones * value);
    uint64_t differs = (((d & low) + low) | d) >> 7 & ones;
    mask |= ((differs ^ ones) * 0x0102040810204080u >> 56) << (8 * i);
  }
  return mask;
#endif
}

/* The same for n groups in a row, at most 16; returns how many bytes equal value. Each is read once. Counted beside the
 * masks, which costs next to nothing, not by count_bits. */
GC_INLINE GC_NO_SANITIZE unsigned groups_equal(const atomic_u8 *group, unsigned n, unsigned value, uint64_t *mask) {
#ifdef __SSE2__
  const __m128i *g = (const __m128i *)(uintptr_t)group;
  __m128i v = _mm_set1_epi8((char)value), zero = _mm_setzero_si128(), sum = zero; /* 16 sums of at most 64 */
  for (unsigned i = 0; i < n; i++, g += 4) {
    mask[i] = 0;
    for (int k = 0; k < 4; k++) {
      __m128i equal = _mm_cmpeq_epi8(_mm_load_si128(g + k), v);
      sum = _mm_sub_epi8(sum, equal);
      mask[i] |= (uint64_t)(unsigned)_mm_movemask_epi8(equal) << (16 * k);
    }
  }
  sum = _mm_sad_epu8(sum, zero);
  return (unsigned)(_mm_cvtsi128_si32(sum) + _mm_extract_epi16(sum, 4));
#else
  unsigned count = 0;
  for (unsigned i = 0; i < n; i++) count += count_bits(mask[i] = group_equal(group + (size_t)i * 64, value));
  return count;
#endif
}

/* Stores value into the bytes of mask and no others: all at once, or eight at a time, where that is what is meant. */
GC_INLINE GC_NO_SANITIZE void group_store(atomic_u8 *group, uint64_t mask, unsigned value) {
#ifdef __SSE2__
  if (mask == ~(uint64_t)0) {
    __m128i *g = (__m128i *)(uintptr_t)group, v = _mm_set1_epi8((char)value);
    for (int i = 0; i < 4; i++) _mm_store_si128(g + i, v);
    return;
  }
#endif
  for (unsigned i = 0; i < 64; i += 8) {
    uint64_t eight = mask >> i & 0xff;
    if (eight == 0xff) {
      *(volatile scanned_word *)(uintptr_t)(group + i) = 0x0101010101010101u * value;
      continue;
    }
    for (; eight != 0; eight &= eight - 1) atomic8_store_relaxed(&group[i + (unsigned)__builtin_ctzll(eight)], value);
  }
}

/* The bits of a group that stand for slots of a span with n slots. */
GC_INLINE uint64_t group_valid(unsigned n, unsigned group) {
  unsigned rest = n - group * 64;
  return rest >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << rest) - 1;
}

/* Tiny blocks: bit per slot, in the extra block of TINY_SPAN_CLASS. Written by the cache that owns the span. */
GC_INLINE atomic_word *tiny_bits(uint32_t block, unsigned group) {
  return (atomic_word *)(uintptr_t)slotmap_group(block, class_slots[2] / 64) + group;
}

#endif
