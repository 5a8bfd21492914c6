/* pprof_read.h - reads what gc_profile_write wrote: the gzip file in stored blocks, with its sums, and of the
 * profile.proto message inside what tests ask for.
 * Owns:     one profile at a time, in static memory. Fails the test when the format is violated.
 * Written from RFC 1951, RFC 1952 and profile.proto, not from the library. */
#ifndef HOLDFAST_TEST_PPROF_READ_H
#define HOLDFAST_TEST_PPROF_READ_H

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "gc_frag.h"
#include "suite.h"

enum { PPROF_BYTES = 1 << 22, PPROF_STRINGS = 4096, PPROF_LOCATIONS = 4096, PPROF_SAMPLES = 4096, PPROF_TYPES = 6 };

struct pprof_bytes {
  const unsigned char *at, *end;
};

static struct {
  unsigned char file[PPROF_BYTES], text[PPROF_BYTES];
  struct pprof_bytes string[PPROF_STRINGS];
  size_t strings, samples, types;
  uint64_t type_name[PPROF_TYPES], type_unit[PPROF_TYPES];
  uint64_t function_name[PPROF_LOCATIONS], location_function[PPROF_LOCATIONS]; /* by id */
  struct {
    uint64_t leaf, depth, value[PPROF_TYPES];
  } sample[PPROF_SAMPLES];
  uint64_t period, mappings;
} pprof;

/* ---- gzip ---- */

static inline uint32_t pprof_le(const unsigned char *p, int n) {
  uint32_t v = 0;
  for (int i = 0; i < n; i++) v |= (uint32_t)p[i] << (8 * i);
  return v;
}

static inline uint32_t pprof_crc(const unsigned char *p, size_t n) {
  uint32_t crc = ~(uint32_t)0;
  for (size_t i = 0; i < n; i++) {
    crc ^= p[i];
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc;
}

/* Returns the bytes of text. */
static inline size_t pprof_unzip(size_t n) {
  const unsigned char *p = pprof.file + 10, *end = pprof.file + n;
  size_t text = 0;
  REQUIRE_MSG(n >= 23 && memcmp(pprof.file, "\x1f\x8b\x08\0", 4) == 0, "not a gzip file of %zu bytes", n);
  for (bool last = false; !last;) {
    size_t length = pprof_le(p + 1, 2);
    last = p[0] == 1;
    REQUIRE_MSG(p[0] <= 1 && length == (~pprof_le(p + 3, 2) & 0xffff), "no stored block");
    p += 5;
    REQUIRE(p + length + 8 <= end && text + length <= PPROF_BYTES);
    memcpy(pprof.text + text, p, length);
    p += length;
    text += length;
  }
  REQUIRE_MSG(p + 8 == end, "bytes after the last block");
  REQUIRE_MSG(pprof_le(p, 4) == pprof_crc(pprof.text, text), "the sum is wrong");
  REQUIRE_MSG(pprof_le(p + 4, 4) == text, "the length is wrong");
  return text;
}

/* ---- protocol buffers ---- */

static inline uint64_t pprof_varint(struct pprof_bytes *b) {
  uint64_t v = 0;
  for (unsigned shift = 0;; shift += 7) {
    REQUIRE(b->at < b->end && shift < 64);
    v |= (uint64_t)(*b->at & 127) << shift;
    if (*b->at++ < 128) return v;
  }
}

/* One field: its number; *v for numbers, *inner for what has a length. 0 at the end. */
static inline uint64_t pprof_field(struct pprof_bytes *b, uint64_t *v, struct pprof_bytes *inner) {
  if (b->at == b->end) return 0;
  uint64_t key = pprof_varint(b), n = 0;
  REQUIRE_MSG((key & 7) == 0 || (key & 7) == 2, "a field of kind %u", (unsigned)(key & 7));
  *v = pprof_varint(b);
  if ((key & 7) == 2) n = *v;
  REQUIRE_MSG(n <= (size_t)(b->end - b->at), "a field is longer than what it is in");
  *inner = (struct pprof_bytes){b->at, b->at + n};
  b->at += n;
  return key >> 3;
}

static inline void pprof_pair(struct pprof_bytes b, uint64_t *first, uint64_t *second) {
  uint64_t v;
  struct pprof_bytes inner;
  for (uint64_t f; (f = pprof_field(&b, &v, &inner)) != 0;) *(f == 1 ? first : second) = v;
}

static inline void pprof_location(struct pprof_bytes b) {
  uint64_t id = 0, function = 0, unused = 0, v;
  struct pprof_bytes inner;
  for (uint64_t f; (f = pprof_field(&b, &v, &inner)) != 0;) {
    if (f == 1) id = v;
    if (f == 4) pprof_pair(inner, &function, &unused);
  }
  REQUIRE(id > 0 && id < PPROF_LOCATIONS);
  pprof.location_function[id] = function;
}

static inline void pprof_function(struct pprof_bytes b) {
  uint64_t id = 0, name = 0, v;
  struct pprof_bytes inner;
  for (uint64_t f; (f = pprof_field(&b, &v, &inner)) != 0;) {
    if (f == 1) id = v;
    if (f == 2) name = v;
  }
  REQUIRE(id > 0 && id < PPROF_LOCATIONS);
  pprof.function_name[id] = name;
}

static inline void pprof_sample(struct pprof_bytes b) {
  uint64_t v, values = 0;
  struct pprof_bytes inner;
  REQUIRE(pprof.samples < PPROF_SAMPLES);
  for (uint64_t f; (f = pprof_field(&b, &v, &inner)) != 0;)
    while (inner.at < inner.end) {
      v = pprof_varint(&inner);
      if (f == 1 && pprof.sample[pprof.samples].depth++ == 0) pprof.sample[pprof.samples].leaf = v;
      if (f == 2 && values < PPROF_TYPES) pprof.sample[pprof.samples].value[values++] = v;
    }
  REQUIRE_MSG(values == PPROF_TYPES, "a sample has %u values", (unsigned)values);
  pprof.samples++;
}

static inline void pprof_record(uint64_t field, uint64_t v, struct pprof_bytes inner) {
  size_t t = pprof.types;
  if (field == 2) pprof_sample(inner);
  if (field == 3) pprof.mappings++;
  if (field == 4) pprof_location(inner);
  if (field == 5) pprof_function(inner);
  if (field == 12) pprof.period = v;
  if (field == 1) {
    REQUIRE(t < PPROF_TYPES);
    pprof_pair(inner, &pprof.type_name[t], &pprof.type_unit[t]);
    pprof.types++;
  }
  if (field == 6) {
    REQUIRE(pprof.strings < PPROF_STRINGS);
    pprof.string[pprof.strings++] = inner;
  }
}

static inline bool pprof_is(uint64_t string, const char *text) {
  REQUIRE_MSG(string < pprof.strings, "string %u of %zu", (unsigned)string, pprof.strings);
  struct pprof_bytes s = pprof.string[string];
  return (size_t)(s.end - s.at) == strlen(text) && memcmp(s.at, text, strlen(text)) == 0;
}

/* ---- what tests ask ---- */

/* Writes the profile to memory and reads it. */
static __attribute__((unused)) void pprof_take(void) {
  int fd = memfd_create("profile", 0);
  REQUIRE(fd >= 0);
  REQUIRE_MSG(gc_profile_write(fd) == 0, "gc_profile_write: %s", strerror(errno));
  memset(&pprof, 0, sizeof pprof);
  ssize_t n = pread(fd, pprof.file, PPROF_BYTES, 0);
  REQUIRE(n > 0 && n < PPROF_BYTES);
  close(fd);
  struct pprof_bytes all = {pprof.text, pprof.text + pprof_unzip((size_t)n)}, inner;
  uint64_t v;
  for (uint64_t f; (f = pprof_field(&all, &v, &inner)) != 0;) pprof_record(f, v, inner);
  REQUIRE(pprof.types == PPROF_TYPES && pprof_is(0, ""));
}

/* The value of that type, of all samples whose innermost frame is in the function (NULL: of all). */
static __attribute__((unused)) uint64_t pprof_value(const char *type, const char *function) {
  uint64_t sum = 0;
  size_t t = 0;
  while (t < PPROF_TYPES && !pprof_is(pprof.type_name[t], type)) t++;
  REQUIRE_MSG(t < PPROF_TYPES, "no sample type %s", type);
  for (size_t i = 0; i < pprof.samples; i++) {
    uint64_t f = pprof.location_function[pprof.sample[i].leaf];
    if (function == NULL || (f != 0 && pprof_is(pprof.function_name[f], function))) sum += pprof.sample[i].value[t];
  }
  return sum;
}

#endif
