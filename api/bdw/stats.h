/* stats.h - exported names of the other library's statistics (docs/bdw.md tells what each counts here). */
#ifndef HOLDFAST_BDW_STATS_H
#define HOLDFAST_BDW_STATS_H

#include "api/bdw/bdw.h"

/* Of programs that were built with a shorter or a longer one: GC_get_prof_stats is told its size. */
struct GC_prof_stats_s;

/* Cycles ended; and bytes that the program said are not for collection, with those of GC_set_non_gc_bytes. */
extern BDW_EXPORT GC_word GC_gc_no, GC_non_gc_bytes;

BDW_EXPORT GC_word GC_get_gc_no(void);
BDW_EXPORT size_t GC_get_heap_size(void), GC_get_free_bytes(void), GC_get_unmapped_bytes(void);
BDW_EXPORT size_t GC_get_bytes_since_gc(void), GC_get_expl_freed_bytes_since_gc(void), GC_get_total_bytes(void);
BDW_EXPORT size_t GC_get_obtained_from_os_bytes(void), GC_get_memory_use(void), GC_get_size_map_at(int i);
BDW_EXPORT GC_word GC_get_non_gc_bytes(void);
BDW_EXPORT void GC_set_non_gc_bytes(GC_word bytes);
BDW_EXPORT void GC_get_heap_usage_safe(GC_word *heap, GC_word *free_bytes, GC_word *unmapped, GC_word *since_gc,
                                       GC_word *total);
BDW_EXPORT size_t GC_get_prof_stats(struct GC_prof_stats_s *out, size_t size);
BDW_EXPORT size_t GC_get_prof_stats_unsafe(struct GC_prof_stats_s *out, size_t size);

/* A client that allocates from lists of its own tells what it took from them, and put back. */
BDW_EXPORT void GC_incr_bytes_allocd(size_t bytes), GC_incr_bytes_freed(size_t bytes);

BDW_EXPORT void GC_start_performance_measurement(void);
BDW_EXPORT unsigned long GC_get_full_gc_total_time(void);

#endif
