/* goclass.c - see goclass.h. */
#include "goclass.h"

/* clang-format off */
static const struct { unsigned short slot, pages; } classes[] = {
  {8, 1}, {16, 1}, {24, 1}, {32, 1}, {48, 1}, {64, 1}, {80, 1}, {96, 1}, {112, 1}, {128, 1}, {144, 1}, {160, 1},
  {176, 1}, {192, 1}, {208, 1}, {224, 1}, {240, 1}, {256, 1}, {288, 1}, {320, 1}, {352, 1}, {384, 1}, {416, 1},
  {448, 1}, {480, 1}, {512, 1}, {576, 1}, {640, 1}, {704, 1}, {768, 1}, {896, 1}, {1024, 1}, {1152, 1}, {1280, 1},
  {1408, 2}, {1536, 1}, {1792, 2}, {2048, 1}, {2304, 2}, {2688, 1}, {3072, 3}, {3200, 2}, {3456, 3}, {4096, 1},
  {4864, 3}, {5376, 2}, {6144, 3}, {6528, 4}, {6784, 5}, {6912, 6}, {8192, 1}, {9472, 7}, {9728, 6}, {10240, 5},
  {10880, 4}, {12288, 3}, {13568, 5}, {14336, 7}, {16384, 2}, {18432, 9}, {19072, 7}, {20480, 5}, {21760, 8},
  {24576, 3}, {27264, 10}, {28672, 7}, {32768, 4},
};
/* clang-format on */

struct go_class go_class_of(size_t size) {
  if (size > GO_LARGEST_SMALL) {
    size_t bytes = (size + GO_PAGE - 1) / GO_PAGE * GO_PAGE;
    return (struct go_class){bytes, bytes, 1};
  }
  size_t i = 0;
  while (classes[i].slot < size) i++;
  size_t span = (size_t)classes[i].pages * GO_PAGE;
  return (struct go_class){classes[i].slot, span, span / classes[i].slot};
}

/* Doubled below 256; above, a quarter and 192 more; then rounded up to what the allocator would waste anyway. */
size_t go_grow(size_t capacity) {
  enum { THRESHOLD = 256 };
  size_t wanted = capacity < THRESHOLD ? 2 * capacity : capacity + (capacity + 3 * THRESHOLD) / 4;
  return go_class_of(wanted).slot;
}
