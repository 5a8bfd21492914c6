/* meta.c - see meta.h. */
#include "runtime/meta.h"

#include "runtime/lock.h"
#include "runtime/os.h"

#define META_BLOCK (256 * KIB)

static struct {
  struct lock lock;
  char *at, *end; /* [L:META] the rest of the current block */
  size_t total;   /* [L:META] bytes handed out */
} meta GC_OWN_DATA = {LOCK_INIT(META), NULL, NULL, 0};

void *meta_map(size_t size) { return os_map(round_up(size, os_page_size())); }

void *meta_alloc(size_t size) {
  char *p = NULL;
  size = round_up(size, 64);
  lock_acquire(&meta.lock);
  if ((size_t)(meta.end - meta.at) < size) {
    size_t block = max_size(META_BLOCK, round_up(size, os_page_size()));
    char *fresh = os_map(block);
    if (fresh != NULL) {
      meta.at = fresh;
      meta.end = fresh + block;
    }
  }
  if ((size_t)(meta.end - meta.at) >= size) {
    p = meta.at;
    meta.at += size;
    meta.total += size;
  }
  lock_release(&meta.lock);
  return p;
}

size_t meta_bytes(void) { return meta.total; } /* racy read of a counter: an estimate for statistics */
