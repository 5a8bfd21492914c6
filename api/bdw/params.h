/* params.h - the exported parameters of the other library: variables, and the functions that set and read them.
 *
 * Programs assign the variables too, and an executable may own one by a copy relocation: they are read where they are used,
 * through the global offset table, and what the heap must be told of, params_take tells it. */
#ifndef HOLDFAST_BDW_PARAMS_H
#define HOLDFAST_BDW_PARAMS_H

#include "api/bdw/bdw.h"
#include "api/bdw/env.h"

typedef void (*GC_on_heap_resize_proc)(GC_word new_size);
typedef void (*GC_start_callback_proc)(void);
typedef void (*GC_abort_func)(const char *message);
typedef int (*GC_stop_func)(void);

#ifndef GC_H
#define GC_TIME_UNLIMITED 999999

struct GC_timeval_s {
  unsigned long tv_ms, tv_nsec;
};
#endif
typedef void (*GC_on_collection_event_proc)(GC_EventType event);

/* PARAMETER(type, name, default): a variable GC_name with GC_set_name and GC_get_name. SETTING: the functions alone. */
#define PARAMETERS(PARAMETER, SETTING)                            \
  PARAMETER(int, dont_expand, 0)                                  \
  PARAMETER(int, full_freq, 19)                                   \
  PARAMETER(int, no_dls, 0)                                       \
  PARAMETER(GC_word, max_retries, 0)                              \
  PARAMETER(int, dont_precollect, 0)                              \
  PARAMETER(int, java_finalization, 1)                            \
  PARAMETER(GC_on_heap_resize_proc, on_heap_resize, NULL)         \
  SETTING(GC_on_collection_event_proc, on_collection_event, NULL) \
  SETTING(GC_start_callback_proc, start_callback, NULL)           \
  SETTING(GC_word, allocd_bytes_per_finalizer, 10000)             \
  SETTING(size_t, min_bytes_allocd, 1)                            \
  SETTING(int, rate, 10)                                          \
  SETTING(int, max_prior_attempts, 1)                             \
  SETTING(int, manual_vdb_allowed, 0)                             \
  SETTING(int, force_unmap_on_gcollect, 0)

#define SETTING(type, name, initial)         \
  BDW_EXPORT void GC_set_##name(type value); \
  BDW_EXPORT type GC_get_##name(void);
#define PARAMETER(type, name, initial) \
  extern BDW_EXPORT type GC_##name;    \
  SETTING(type, name, initial)
PARAMETERS(PARAMETER, SETTING)
#undef PARAMETER
#undef SETTING

/* Those that do more, or are less. */
extern BDW_EXPORT int GC_find_leak;
extern BDW_EXPORT int GC_all_interior_pointers;
extern BDW_EXPORT int GC_use_entire_heap;
extern BDW_EXPORT GC_word GC_free_space_divisor;
extern BDW_EXPORT unsigned long GC_time_limit;
extern BDW_EXPORT int GC_parallel;
extern BDW_EXPORT GC_oom_func GC_oom_fn;
extern BDW_EXPORT GC_abort_func GC_on_abort;

BDW_EXPORT void GC_set_find_leak(int value);
BDW_EXPORT int GC_get_find_leak(void);
BDW_EXPORT void GC_set_all_interior_pointers(int value);
BDW_EXPORT int GC_get_all_interior_pointers(void);
BDW_EXPORT void GC_set_free_space_divisor(GC_word value);
BDW_EXPORT GC_word GC_get_free_space_divisor(void);
BDW_EXPORT void GC_set_time_limit(unsigned long ms);
BDW_EXPORT unsigned long GC_get_time_limit(void);
BDW_EXPORT void GC_set_time_limit_tv(struct GC_timeval_s value);
BDW_EXPORT struct GC_timeval_s GC_get_time_limit_tv(void);
BDW_EXPORT void GC_set_pages_executable(int value);
BDW_EXPORT int GC_get_pages_executable(void);
BDW_EXPORT void GC_set_disable_automatic_collection(int value);
BDW_EXPORT int GC_get_disable_automatic_collection(void);
BDW_EXPORT int GC_get_parallel(void);
BDW_EXPORT void GC_set_max_heap_size(GC_word bytes);
BDW_EXPORT void GC_set_oom_fn(GC_oom_func f);
BDW_EXPORT GC_oom_func GC_get_oom_fn(void);
BDW_EXPORT void GC_set_abort_func(GC_abort_func f);
BDW_EXPORT GC_abort_func GC_get_abort_func(void);
BDW_EXPORT void GC_set_warn_proc(GC_warn_proc f);
BDW_EXPORT GC_warn_proc GC_get_warn_proc(void);
BDW_EXPORT void GC_ignore_warn_proc(char *message, GC_word arg);
BDW_EXPORT void GC_abort_on_oom(void);
BDW_EXPORT unsigned GC_get_version(void);

/* Tells the heap what variables say now. Stops not deferred; under no lock of ours. */
void params_take(void);
/* The program said that cycles are not to begin by themselves. */
bool params_automatic(void);
/* The library ends the program with this line: GC_on_abort is told. */
void params_abort(const char *line);

#endif
