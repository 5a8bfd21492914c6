/* os.h - all that Holdfast asks of the kernel.
 * Address space is in one of four states, and each call below is one transition plus nothing else:
 *   none -> reserved   os_reserve      no access, no memory
 *   reserved -> ready  os_commit       readable, writable, zero; memory comes at first touch
 *   ready -> released  os_release      contents given up; ready again (zero) at the next touch
 *   any -> none        os_unreserve
 * Sizes are bytes, multiples of os_page_size(). Nothing here takes a lock or memory from malloc. */
#ifndef HOLDFAST_OS_H
#define HOLDFAST_OS_H

#include "runtime/atomic.h"
#include "runtime/config.h"

size_t os_page_size(void);
unsigned os_cpu_count(void); /* processors this process may use; read once */

void *os_reserve(size_t size); /* NULL when refused */
bool os_commit(void *p, size_t size);
void os_unreserve(void *p, size_t size);
void *os_map(size_t size); /* none -> ready at once; NULL when refused */

enum os_release_how { OS_RELEASE_NOW, OS_RELEASE_LAZY }; /* MADV_DONTNEED; MADV_FREE: contents unknown after */
/* False: refused (locked memory). Of several pages those before the first that is locked may be given up all the same; of a
 * single one the contents are as they were. */
bool os_release(void *p, size_t size, enum os_release_how how);
void os_use_huge_pages(void *p, size_t size);
size_t os_address_space_limit(void); /* RLIMIT_AS in bytes; SIZE_MAX when none */
uint64_t os_physical_memory(void);   /* bytes the machine has */

/* Reads a small text file, from its beginning, without malloc; terminated. False when it cannot be read. */
bool os_read_file(const char *path, char *text, size_t size);

uint64_t os_now_ns(void);  /* monotonic */
uint64_t os_wall_ns(void); /* since 1970 */
uint64_t os_thread_cpu_ns(void);
int os_thread_id(void);

/* Waits until woken, while *p == expected; timeout_ns 0 = for ever. May return early. errno is kept. */
void os_futex_wait(atomic_u32 *p, unsigned expected, uint64_t timeout_ns);
void os_futex_wake(atomic_u32 *p, unsigned count);
int os_signal_thread(int tid, int signal); /* 0, or an errno value */

/* The same with what the receiver is told (siginfo_t), of which the kernel sets the number alone. tid 0: to the process. */
int os_queue_signal(int tid, int signal, const void *info);
bool os_signal_is_pending(int signal); /* for the calling thread or the process, and blocked */

/* The mapping around p, from the kernel's list; false when there is none. For rare paths: it reads a file. */
bool os_mapping_of(const void *p, struct range *out);

/* Writes all of it; 0, or an errno value. Not write(2) of the C library, which is a cancellation point: a thread that ended
 * there would leave what it holds behind. errno is kept. */
int os_write(int fd, const void *bytes, size_t size);

/* Copies memory of this process that may be gone: false then, or when the kernel does not let us. */
bool os_read_memory(void *to, const void *from, size_t size);

#if GC_DEBUG
/* Fault injection for tests: after `successes` more calls, os_commit and os_map fail until set to -1. */
void os_fail_after(long successes);
#endif

#endif
