/* compactor.h - compaction by the program itself, as a piece to reuse: when to do it, and what to keep in mind while
 * objects are copied. Copying all survivors packs them into few spans, and the spans they leave become free.
 *
 * Owns:    the three policies that say when, the forwarding table that copies a shared object once, the list of old
 *          objects to free, the counts of what compaction cost.
 * Promise: the tables lie in memory of their own (mmap), which no collector searches: an old address in them keeps
 *          nothing alive. Old objects are freed only at the end of a pass: an allocator that hands out what was freed
 *          last would else put each copy into the hole of the object before, and nothing would be packed.
 * Never:   walks a structure, that is the caller's; collects; allocates other than by the caller's function.
 * Use:     if (compactor_due(&c, &now)) {
 *            compactor_begin(&c);
 *            root = compactor_copy(&c, root, size, kind); ... and so on for every pointer inside ...
 *            compactor_end(&c, &now);
 *          }
 *          A copy must be reachable, from a stack at least, while its inside is walked; an old object stays reachable from
 *          every place that still has to be changed.
 * Threads: one thread at a time per compactor. */
#ifndef SCENARIO_COMPACTOR_H
#define SCENARIO_COMPACTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- when ---- */

enum compact_kind {
  COMPACT_NEVER,
  COMPACT_DOUBLED,   /* live objects are twice as many as their least number since the last pass. Each pass over n
                        objects follows n/2 insertions, so at most two copies are made per insertion   */
  COMPACT_EVERY,     /* so many ticks after the last pass; a tick is whatever the program counts          */
  COMPACT_FRAGMENTED /* max fragmentation is more than a share of heap usage, and has risen since the last
                        pass by half of that: what a pass could not win does not start the next         */
};

struct compact_policy {
  enum compact_kind kind;
  double value; /* EVERY: ticks; FRAGMENTED: share, between 0 and 1 */
};

/* What the program looks like when it asks. */
struct compact_now {
  uint64_t tick;
  uint64_t live;          /* objects                                                         */
  uint64_t fragmentation; /* bytes, measured after a collection                              */
  uint64_t usage;         /* bytes of heap usage, at the same moment                         */
};

/* ---- what was moved ---- */

/* Old address -> new address, open addressing. Empty: all 0. */
struct forwarding {
  struct forwarding_entry {
    const void *from; /* NULL: free */
    void *to;
  } * entries;
  size_t capacity; /* a power of two, or 0 */
  size_t count;
};

/* The place of from's copy; *place is NULL when it has none yet. Valid until the next call. from is not NULL. */
void **forwarding_find(struct forwarding *table, const void *from);
void forwarding_clear(struct forwarding *table); /* gives its memory back */

/* ---- the compactor ---- */

enum compact_object { COMPACT_SCANNED, COMPACT_NOSCAN };

struct compactor {
  /* Set by the caller. */
  struct compact_policy policy;
  uint64_t least_live;                                                   /* DOUBLED counts from at least so many */
  void *(*copy)(const void *old, size_t size, enum compact_object kind); /* a copy of old, or old: it stays        */
  void (*release)(void *old);                                            /* NULL: a collector finds them         */

  /* Since the last pass. */
  uint64_t last_tick;
  uint64_t low_live; /* least number of live objects seen */
  uint64_t left;     /* fragmentation found at the first look after the pass, bytes */
  bool looked;       /* that look was taken */

  /* What it cost. */
  uint64_t passes, objects, bytes, ns;
  uint64_t side_bytes; /* most that the tables below took at a time */

  /* Of the pass under way. */
  struct forwarding forwarding;
  void **old; /* to be released */
  size_t old_count, old_capacity;
  uint64_t began_ns;
};

/* Is a pass due? To be asked once per tick. */
bool compactor_due(struct compactor *compactor, const struct compact_now *now);

void compactor_begin(struct compactor *compactor);

/* The copy of an object that has only one reference; NULL for NULL. */
void *compactor_copy(struct compactor *compactor, void *object, size_t size, enum compact_object kind);

/* The copy of an object that may have several: made at the first call and found again at the others. *first says
 * whether it was made now, so that the pointers inside must be walked. NULL, and false, for NULL. */
void *compactor_copy_shared(struct compactor *compactor, void *object, size_t size, enum compact_object kind,
                            bool *first);

/* Releases the old objects, forgets the tables, counts the pass. */
void compactor_end(struct compactor *compactor, const struct compact_now *now);

#endif
