/* gzip.h - a gzip file (RFC 1952) written to a descriptor as its contents become known.
 * The contents are put in stored blocks (RFC 1951), not compressed: the library depends on the C library and
 * libatomic_ops only, and a profile is small. Any reader of gzip reads them. */
#ifndef HOLDFAST_GZIP_H
#define HOLDFAST_GZIP_H

#include "runtime/base.h"

#define GZIP_BLOCK 32768 /* bytes of contents per block; the format allows 65535 */

struct gzip {
  int fd;
  int error;                           /* errno of the first write that failed; nothing is written after it */
  uint32_t crc;                        /* of the contents so far, inverted */
  uint32_t size;                       /* of the contents so far, as the format has it: modulo 2^32 */
  size_t used;                         /* bytes of contents in the block */
  unsigned char block[5 + GZIP_BLOCK]; /* with room for the block's header */
};

void gzip_begin(struct gzip *z, int fd);
void gzip_put(struct gzip *z, const void *bytes, size_t n);
/* The last block and the sums. False: see error. */
bool gzip_end(struct gzip *z);

#endif
