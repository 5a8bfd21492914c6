/* mapdemo.c - two heap maps for the report: a fragmented heap, and the same heap after its objects were copied.
 *
 * Owns:    the files DIR/before.map, DIR/after.map (docs/heapmap.md), which name the call stacks that own the objects as the
 *          library noted them, and DIR/before.advice, DIR/after.advice, the text of gc_advice.
 * Pattern: Example 4 of the article: 2^20 objects of 16 bytes, of which every 512th is kept, so that each span of 512
 *          slots holds one; then each is replaced by a copy. --small: 2^17 objects.
 * Usage:   mapdemo [--small] DIR. Exit: 0 written, 1 cannot be written or compaction won nothing, 2 bad arguments.
 * Rules:   those of experiments/examples/examples.h about stale addresses: roots are volatile, steps out of line. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../examples/stale.h"
#include "gc_alloc.h"
#include "gc_frag.h"
#include "gc_stats.h"

#define STEP static STALE_NOINLINE
/* Exported, so that the loader knows their names: call sites. */
STALE_NOINLINE void fragment(size_t count);
STALE_NOINLINE void compact(void);

enum { SIZE = 16, EVERY = 512, WHOLE = 1 << 20, SMALL = 1 << 17 };

static void **volatile all;
static void **volatile kept;
static size_t kept_count;

static _Noreturn void fail(const char *what) {
  fprintf(stderr, "mapdemo: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void *new_object(void) {
  void *object = gc_alloc_noscan(SIZE);
  if (object == NULL) fail("allocating");
  return object;
}

/* Keeps every EVERY-th of count objects; the others stay reachable until all are made, as in the article. */
void fragment(size_t count) {
  kept_count = count / EVERY;
  all = gc_calloc(count, sizeof *all);
  kept = gc_calloc(kept_count, sizeof *kept);
  if (all == NULL || kept == NULL) fail("allocating");
  for (size_t i = 0; i < count; i++) {
    all[i] = new_object();
    if (i % EVERY == 0) kept[i / EVERY] = all[i];
  }
  all = NULL;
}

void compact(void) {
  for (size_t i = 0; i < kept_count; i++) {
    void *copy = new_object();
    memcpy(copy, kept[i], SIZE);
    kept[i] = copy;
  }
}

STEP void write_map(const char *folder, const char *name) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s.map", folder, name);
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0 || gc_dump_heap(fd) != 0 || close(fd) != 0) fail(path);
}

STEP void write_advice(const char *folder, const char *name) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s.advice", folder, name);
  FILE *to = fopen(path, "w");
  if (to == NULL) fail(path);
  if (gc_advice(to) | fclose(to)) fail(path);
}

STEP void collect(void) {
  STALE_FORGET_REGISTERS();
  gc_release_memory(); /* collects first */
}

STEP uint64_t read_in_use(void) {
  static struct gc_stats stats;
  gc_read_stats(&stats);
  return stats.heap_inuse;
}

/* Returns the bytes in use once everything unreachable is freed. */
STEP uint64_t show(const char *folder, const char *name) {
  stale_wipe_stack();
  collect();
  write_map(folder, name);
  write_advice(folder, name);
  return read_in_use();
}

int main(int argc, char **argv) {
  int small = argc == 3 && strcmp(argv[1], "--small") == 0;
  if (argc != 2 + small || argv[1 + small][0] == '-') {
    fprintf(stderr, "mapdemo: usage: mapdemo [--small] DIR\n");
    return 2;
  }
  const char *folder = argv[1 + small];
  gc_profile_set_rate(1); /* each object: a survivor of 16 bytes is hardly ever noted at larger distances */
  fragment(small ? SMALL : WHOLE);
  uint64_t before = show(folder, "before");
  compact();
  uint64_t after = show(folder, "after");
  printf("heap_inuse_before=%llu heap_inuse_after=%llu\n", (unsigned long long)before, (unsigned long long)after);
  if (after * 4 < before) return 0;
  fprintf(stderr, "mapdemo: copying left more than a quarter of the heap in use\n");
  return 1;
}
