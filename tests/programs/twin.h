/* twin.h - the allocator that a real program gets. Each program is built four ways from the same source:
 *   holdfast   Holdfast's calls; what the program frees is left to the collector, untouched
 *   clearing   (-DTWIN_CLEAR) the same, but what the program frees is cleared: it holds nothing else any more
 *   freeing    (-DTWIN_FREE) the same, with gc_free; the programs forget some objects, which the collector finds
 *   malloc     (-DTWIN_MALLOC) the C library's
 * Owns:     the hooks, reading how much memory objects take, the bounds that a run is held to.
 * Promises: what a program prints on stdout depends on its arguments only, so the twins' outputs can be compared;
 *           figures of memory go to stderr. A broken promise ends the program with status 1 and one line.
 * Next:     docs/programs.md: where pointers could hide in each program, and what clearing is for. */
#ifndef HOLDFAST_PROGRAMS_TWIN_H
#define HOLDFAST_PROGRAMS_TWIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef TWIN_MALLOC
enum { twin_collects = 0, twin_clears = 0, twin_frees = 1 };
#elif defined(TWIN_CLEAR)
enum { twin_collects = 1, twin_clears = 1, twin_frees = 0 };
#elif defined(TWIN_FREE)
enum { twin_collects = 1, twin_clears = 0, twin_frees = 1 };
#else
enum { twin_collects = 1, twin_clears = 0, twin_frees = 0 };
#endif

void *twin_alloc(size_t size);
void *twin_alloc_noscan(size_t size); /* for what never holds a pointer */
void *twin_realloc(void *p, size_t size);
void twin_free(void *p);
size_t twin_size(void *p);
char *twin_strdup(const char *s);

/* Bytes in objects after a full collection; in heap in use now, free places between objects included. malloc: 0. */
size_t twin_live(void);
size_t twin_heap(void);

/* End the program unless bytes <= bound; malloc: do nothing. The heap is held to its bound only where cycles stop the
 * program: how far one of a few MiB grows while GC_CONCURRENT=always runs a cycle beside it is up to the scheduler. With
 * TWIN_HEAP_TOLD in the environment it is told and not held: large inputs are marked beside the program by default, too. */
void twin_at_most(const char *what, size_t bytes, size_t bound);
void twin_heap_at_most(const char *what, size_t bytes, size_t bound);

/* Overwrites what earlier calls left on the stack below and in vector registers: no test of a baseline may depend on a stale word. */
void twin_scrub_stack(void);

/* One line on stderr, exit(1). */
_Noreturn void twin_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A number argument, or otherwise when there is none. */
unsigned long twin_number(int argc, char **argv, int place, unsigned long otherwise);

/* -- random numbers (splitmix64) and a digest (64-bit FNV-1a) of what a program computed -- */
uint64_t twin_random(uint64_t *state);
uint64_t twin_digest(uint64_t digest, const void *bytes, size_t n);
#define TWIN_DIGEST UINT64_C(0xcbf29ce484222325)

#endif
