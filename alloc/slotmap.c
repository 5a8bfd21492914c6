/* slotmap.c - see slotmap.h: who owns which blocks. Free blocks are kept per length; when the map
 * is used up, runs are split and joined. The map never shrinks, and is touched as the heap is. */
#include "alloc/slotmap.h"

#include "runtime/lock.h"
#include "runtime/meta.h"
#include "runtime/os.h"

#define BLOCK ((size_t)64)
#define BLOCKS_MAX 17         /* 1024 slots; 512 slots and the tiny bitmap take 9 */
#define COMMIT_STEP (2 * MIB) /* the size of a huge page: from the second step on the map asks for them */

static struct {
  struct lock lock;
  uint32_t free_list[BLOCKS_MAX + 1]; /* [L:SLOTMAP] by length; linked through the blocks; 0 ends it */
  uint32_t next;                      /* [L:SLOTMAP] first block never used; block 0 is not used */
  size_t committed, reserved;         /* [L:SLOTMAP] bytes */
  uint64_t *is_free;                  /* [L:SLOTMAP] bit per block, all 0 but in join_runs; touched only there */
} map GC_OWN_DATA = {.lock = LOCK_INIT(SLOTMAP), .next = 1};

size_t slotmap_reserve_bytes(size_t pages) { return map.reserved = round_up(pages * 1024, 2 * MIB); }

bool slotmap_init(void) {
  map.is_free = meta_map(map.reserved / BLOCK / 8 + sizeof(uint64_t));
  return map.is_free != NULL;
}

unsigned slotmap_blocks(unsigned sc) {
  if (sc < 2) return 1;
  if (sc == LARGE_TYPED) return 2; /* the second holds the layout's word (alloc/layout.h) */
  return span_class_groups(sc) + (sc == TINY_SPAN_CLASS);
}

static bool commit_for(size_t bytes) {
  char *at = (char *)(uintptr_t)heap.slotmap + map.committed;
  if (bytes <= map.committed) return true;
  if (map.committed + COMMIT_STEP > map.reserved || !os_commit(at, COMMIT_STEP)) return false;
  /* Marking reads the map at random; a small program should not pay 2 MiB for its first block. */
  if (map.committed != 0) os_use_huge_pages(at, COMMIT_STEP);
  map.committed += COMMIT_STEP;
  return true;
}

/* ---- free runs of blocks, linked through their first bytes ---- */

static void push_run(uint32_t block, unsigned n) {
  memcpy((void *)(uintptr_t)slotmap_group(block, 0), &map.free_list[n], sizeof(uint32_t));
  map.free_list[n] = block;
}

static uint32_t pop_run(unsigned n) {
  uint32_t block = map.free_list[n];
  if (block != 0) memcpy(&map.free_list[n], (void *)(uintptr_t)slotmap_group(block, 0), sizeof(uint32_t));
  return block;
}

/* The front of a longer run; the rest stays free. */
static uint32_t split_run(unsigned n) {
  for (unsigned longer = n + 1; longer <= BLOCKS_MAX; longer++) {
    uint32_t block = pop_run(longer);
    if (block == 0) continue;
    push_run(block + n, longer - n);
    return block;
  }
  return 0;
}

/* Joins neighbours, through a bitmap of the free blocks: when the map is used up, what spans of one length
 * left must serve spans of others. */
static void join_runs(void) {
  for (unsigned n = 1; n <= BLOCKS_MAX; n++)
    for (uint32_t block; (block = pop_run(n)) != 0;)
      for (uint32_t b = block; b < block + n; b++) map.is_free[b / 64] |= (uint64_t)1 << (b % 64);
  for (uint32_t b = 0, run = 0; b <= map.next; b++) {
    bool is_free = b < map.next && (map.is_free[b / 64] >> (b % 64) & 1);
    if (is_free) run++;
    if ((!is_free && run > 0) || run == BLOCKS_MAX) {
      push_run(b - run + is_free, run);
      run = 0;
    }
  }
  memset(map.is_free, 0, (map.next / 64 + 1) * sizeof map.is_free[0]);
}

static uint32_t fresh_run(unsigned n) {
  uint32_t block = map.next;
  if (!commit_for((size_t)(map.next + n) * BLOCK)) return 0;
  map.next += n;
  return block;
}

bool slotmap_alloc(unsigned n, uint32_t *block) {
  GC_CHECK(n >= 1 && n <= BLOCKS_MAX);
  lock_acquire(&map.lock);
  *block = pop_run(n);
  if (*block == 0) *block = split_run(n);
  if (*block == 0) *block = fresh_run(n);
  if (*block == 0) {
    join_runs();
    *block = pop_run(n);
    if (*block == 0) *block = split_run(n);
  }
  lock_release(&map.lock);
  if (*block == 0) return false;
  memset((void *)(uintptr_t)slotmap_group(*block, 0), 0, n * BLOCK);
  return true;
}

void slotmap_free(uint32_t block, unsigned n) {
  lock_acquire(&map.lock);
  push_run(block, n);
  lock_release(&map.lock);
}

size_t slotmap_bytes(void) { return map.next * BLOCK; } /* racy read, for statistics */
