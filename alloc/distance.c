/* distance.c - see distance.h. Splitmix64 for the random bits, series for the logarithm and the exponential. */
#include "alloc/distance.h"

#include <string.h>

#define LN2 0.693147180559945309417
#define SQRT2 1.41421356237309504880
#define LONGEST ((uint64_t)1 << 62)

static uint64_t next_random(uint64_t *state) {
  uint64_t x = *state += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

/* Of a normal number: x = m * 2^e with m around 1, and ln m = 2 artanh((m - 1) / (m + 1)). */
static double logarithm(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  int e = (int)(bits >> 52) - 1023;
  bits = (bits & (((uint64_t)1 << 52) - 1)) | (uint64_t)1023 << 52;
  double m;
  memcpy(&m, &bits, sizeof m);
  if (m > SQRT2) {
    m /= 2;
    e++;
  }
  double s = (m - 1) / (m + 1), power = s, sum = 0;
  for (int k = 1; k < 20; k += 2, power *= s * s) sum += power / k;
  return e * LN2 + 2 * sum;
}

uint64_t distance_draw(uint64_t *random, uint64_t mean) {
  if (mean <= 1) return 1;
  double u = (double)((next_random(random) >> 11) + 1) * 0x1p-53; /* in (0, 1] */
  double bytes = -logarithm(u) * (double)mean;
  return bytes < (double)LONGEST ? (uint64_t)bytes + 1 : LONGEST;
}

/* 1 - exp(-x), x > 0: a series where x is small; and from f(x) follows f(2x) = f(x) (2 - f(x)). */
static double share(double x) {
  int doublings = 0;
  if (x > 40) return 1;
  for (; x > 0.5; x /= 2) doublings++;
  double term = x, sum = 0;
  for (int k = 2; k < 16; k++) {
    sum += term;
    term *= -x / k;
  }
  for (; doublings > 0; doublings--) sum *= 2 - sum;
  return sum;
}

double distance_weight(uint64_t bytes, uint64_t mean) {
  return mean <= 1 ? 1 : 1 / share((double)bytes / (double)mean);
}
