/* gzip.c - see gzip.h. */
#include "api/gzip.h"

#include <string.h>

#include "runtime/os.h"

static void write_all(struct gzip *z, const unsigned char *bytes, size_t n) {
  if (z->error == 0) z->error = os_write(z->fd, bytes, n);
}

static void put_le(unsigned char *to, uint32_t v, int bytes) {
  for (int i = 0; i < bytes; i++) to[i] = (unsigned char)(v >> (8 * i));
}

/* Four bits at a time; the polynomial, reflected, is 0xedb88320. */
static uint32_t crc_add(uint32_t crc, const unsigned char *bytes, size_t n) {
  static const uint32_t nibble[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
                                      0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
                                      0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
  for (size_t i = 0; i < n; i++) {
    crc ^= bytes[i];
    crc = nibble[crc & 15] ^ crc >> 4;
    crc = nibble[crc & 15] ^ crc >> 4;
  }
  return crc;
}

/* Header of a stored block: whether it is the last one, its length, and the length's complement. */
static void flush_block(struct gzip *z, bool last) {
  z->block[0] = last;
  put_le(z->block + 1, (uint32_t)z->used, 2);
  put_le(z->block + 3, ~(uint32_t)z->used, 2);
  write_all(z, z->block, 5 + z->used);
  z->used = 0;
}

/* Identification, method "deflate", no flags, no time, no extra flags, system "unknown". */
void gzip_begin(struct gzip *z, int fd) {
  static const unsigned char header[10] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255};
  z->fd = fd;
  z->error = 0;
  z->crc = ~(uint32_t)0;
  z->size = 0;
  z->used = 0;
  write_all(z, header, sizeof header);
}

void gzip_put(struct gzip *z, const void *bytes, size_t n) {
  const unsigned char *from = bytes;
  z->crc = crc_add(z->crc, from, n);
  z->size += (uint32_t)n;
  while (n > 0) {
    size_t part = min_size(n, GZIP_BLOCK - z->used);
    memcpy(z->block + 5 + z->used, from, part);
    z->used += part;
    from += part;
    n -= part;
    if (z->used == GZIP_BLOCK) flush_block(z, false);
  }
}

bool gzip_end(struct gzip *z) {
  unsigned char sums[8];
  flush_block(z, true);
  put_le(sums, ~z->crc, 4);
  put_le(sums + 4, z->size, 4);
  write_all(z, sums, sizeof sums);
  return z->error == 0;
}
