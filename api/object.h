/* object.h - what the files of api/ share. */
#ifndef HOLDFAST_OBJECT_H
#define HOLDFAST_OBJECT_H

#include "alloc/span.h"
#include "runtime/init.h"
#include "runtime/thread.h"

/* Every public call that touches the heap does so between these two: the library is initialised, the thread is
 * known, and it will not be stopped. A thread that nobody told us of would run on while the world is stopped. */
GC_INLINE void library_enter(void) {
  runtime_ensure_init();
  thread_register_self();
  thread_defer_stops();
}
GC_INLINE void library_leave(void) { thread_allow_stops(); }

extern const char zero_size_object[16];

/* The allocated slot that holds p, its span swept, so that its byte is the truth; object NULL if none. Stops deferred, up
 * to the end of what the caller does with it. */
struct slot object_find(const void *p);
bool object_is_tiny_block(const struct slot *s); /* shared by noscan objects under 16 bytes */
/* The object that starts at p; otherwise ends the program with a line that names the call. Stops as above. */
struct slot object_expect(const void *p, const char *who);
/* The same for a call that is not for handles of weak references. */
struct slot object_expect_plain(const void *p, const char *who);
/* NULL, or the zero-size object. */
GC_INLINE bool object_is_nothing(const void *p) { return p == NULL || p == (const void *)zero_size_object; }
/* Frees the slot that was found for the start of an object. */
void object_free_slot(const struct slot *s);

/* gc_free and gc_realloc of an object; `who` is the call that messages name. Stops not deferred. */
void object_free(void *p, const char *who);
void *object_resize(void *p, size_t size, const char *who);

/* At least one and at most `most` objects of size bytes, linked by their first words, NULL behind the last: what lies ready
 * in the thread's cache is taken at once. NULL: memory is refused. */
void *allocate_linked(size_t size, unsigned noscan, size_t most);

/* A full collection: this thread's cache is given back first, all is swept after. */
void collect_fully(void);
/* After memory was refused: the same, and free pages go back to the system. */
void collect_for_memory(void);

/* GC_DEBUG: what was freed becomes free. */
void quarantine_empty(void);

/* Calls the program's pressure callback. False: there is none, or this thread is inside it. */
bool pressure_call(size_t bytes_wanted);
/* After pageheap_note: a cycle may be due, and the program may have to be told. Stops allowed. */
void limits_attend(void);
extern void (*attended_hook)(void); /* called at its end, for a layer that leaves notes, too; set at init, or NULL */
void limits_fork_child(void);

/* For a fork that the C library does not tell us of: called by the thread that forks, before and, on both sides, after it. If the
 * C library does tell us of it, too, what it says counts for nothing. The second without the first does nothing. */
void fork_begin_by_hand(void);
void fork_end_by_hand(bool in_child);

#endif
