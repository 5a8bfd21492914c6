/* gc_typed.h - objects of which the collector knows where pointers may be.
 *
 * A scanned object (gc_alloc) is searched word by word, so a number in it that happens to be an address of the heap keeps
 * an object alive. In a typed object only the words that its layout names are searched; what lies in the others is never
 * taken for a pointer. The named words are read as those of a scanned object are: they may hold an address
 * inside an object, NULL, or anything else.
 *
 * A layout describes an element: its size, and the words of it that may hold pointers. It repeats through the object, so the
 * same layout serves for one struct and for an array of them. An object shorter than the element has the part that fits.
 * A word here is 8 bytes, aligned.
 *
 * Threads, signals and errors: as in gc_alloc.h. docs/typed.md tells how it works. */
#ifndef HOLDFAST_GC_TYPED_H
#define HOLDFAST_GC_TYPED_H

#include <stdint.h>

#include "gc_alloc.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gc_layout gc_layout;

/* The layout of an element of element_size bytes of which bit i of the bitmap (bit i % 64 of bits[i / 64]) says whether
 * word i may hold a pointer. The bitmap has `words` entries of 64 bits; words of the element that it does not reach hold
 * no pointers. The same description, given in either way, returns the same address. A layout is permanent; the bitmap is
 * copied. NULL with errno EINVAL: element_size is 0, or not a multiple of 8 while a bit is set; a bit is set for a word
 * that does not lie in the element; bits is NULL and words is not 0. NULL with ENOMEM: memory for layouts is refused,
 * which ends at some million of them. From any thread; not async-signal-safe. */
GC_API const gc_layout *gc_layout_bitmap(size_t element_size, const uint64_t *bits, size_t words);

/* The same from the offsets, in bytes, of the n words that may hold pointers, in any order, repetitions allowed:
 *   static const size_t at[] = {offsetof(struct node, left), offsetof(struct node, right)};
 *   const gc_layout *l = gc_layout_offsets(sizeof(struct node), at, 2);
 * NULL with EINVAL also when an offset is not a multiple of 8 or the word there does not lie in the element. With n 0,
 * offsets may be NULL: the element holds no pointers. */
GC_API const gc_layout *gc_layout_offsets(size_t element_size, const size_t *offsets, size_t n);

/* Returns size bytes of zeroed memory that is searched as the layout says; aligned to 16 bytes, for objects without
 * pointers as gc_alloc_noscan's. The size need not be a multiple of the element's: the last element is cut off, and of a
 * word that is cut nothing is searched. What gc_usable_size adds to the size belongs to the object, and the layout repeats
 * there too. With a NULL layout it is gc_alloc(size). A layout of which no word may hold a pointer makes an object like
 * gc_alloc_noscan's, but zeroed; one of which every word may, an object like gc_alloc's. Size 0 returns what gc_alloc(0)
 * returns. NULL with ENOMEM as gc_alloc. A layout that did not come from the two calls above ends the program with one line
 * on stderr.
 *
 * gc_realloc keeps the layout, gc_reallocate copies it with the object; gc_free, gc_base and gc_usable_size know typed
 * objects. A small typed object (up to 32760 bytes) takes 8 bytes more than its size, behind what gc_usable_size tells: a
 * program that writes there makes the collector search all of the object, and gc_realloc end the program with one line on
 * stderr. In the statistics typed objects count as scanned ones of their slot's size. */
GC_API GC_ALLOC_FN(1) void *gc_alloc_typed(size_t size, const gc_layout *layout);

#ifdef __cplusplus
}
#endif
#endif
