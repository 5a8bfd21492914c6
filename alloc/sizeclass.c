/* sizeclass.c - see sizeclass.h: the maps from sizes to classes that allocation reads. */
#include "alloc/sizeclass.h"

struct class_map class_map GC_OWN_DATA;
size_t tiny_limit GC_OWN_DATA;

static uint8_t class_holding(size_t size) {
  for (unsigned cls = 1; cls < SIZE_CLASSES; cls++)
    if (class_size[cls] >= size) return (uint8_t)cls;
  return 0;
}

void sizeclass_init(bool one_past_end) {
  for (size_t i = 1; i < sizeof class_map.by_8; i++)
    class_map.by_8[i] = one_past_end ? class_holding(i * 8 + 1) : class_by_8[i];
  for (size_t i = 0; i < sizeof class_map.by_128; i++)
    class_map.by_128[i] = one_past_end ? class_holding(1024 + i * 128 + 1) : class_by_128[i];
  tiny_limit = one_past_end ? 0 : TINY_SIZE;
}

void sizeclass_no_tiny(void) { tiny_limit = 0; }
