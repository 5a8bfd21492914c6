/* dirty_linux.c - see dirty.h: userfaultfd in its asynchronous write-protect mode, and the PAGEMAP_SCAN ioctl
 * (Linux 6.7). Both without privileges. Their declarations are younger than Debian's headers, so they are here:
 * Documentation/admin-guide/mm/{userfaultfd,pagemap}.rst and include/uapi/linux/{userfaultfd,fs}.h. */
#include "runtime/dirty.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/atomic.h"
#include "runtime/options.h"
#include "runtime/os.h"

#define USER_MODE_ONLY 1 /* flag of userfaultfd(2): what an unprivileged process may ask for */
#define FEATURE_WP_UNPOPULATED (1u << 13)
#define FEATURE_WP_ASYNC (1u << 15)
#define REGIONS 256 /* reported by one call, */
#define PAGES 65536 /* with together at most so many pages */

struct page_region {
  uint64_t start, end, categories;
};
struct scan_arg {
  uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
  uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define SCAN _IOWR('f', 16, struct scan_arg)
#define PAGE_WRITTEN ((uint64_t)1 << 1)
#define WP_MATCHING ((uint64_t)1 << 0)
#define CHECK_WPASYNC ((uint64_t)1 << 1) /* fail where the memory is not watched (any more) */

static struct {
  struct file {
    int fd; /* -1: none */
    dev_t device;
    ino_t inode; /* to know it again: the program may have closed it and got the number for another file */
  } fault, pagemap;
  atomic_u32 works;   /* [A] */
  atomic_word reason; /* [A] a literal; two that lose it at the same time may each tell theirs */
  char *lo;           /* what is watched */
  size_t size;
} tracker GC_OWN_DATA = {.fault = {.fd = -1}, .pagemap = {.fd = -1}, .reason = (uintptr_t) "not started"};

bool dirty_works(void) { return atomic32_load_acquire(&tracker.works) != 0; } /* pairs with lose: its reason */
const char *dirty_reason(void) { return (const char *)(uintptr_t)atomic_load_relaxed(&tracker.reason); }

static bool lose(const char *reason) {
  atomic_store_relaxed(&tracker.reason, (uintptr_t)reason);
  atomic32_store_release(&tracker.works, 0); /* pairs with dirty_works */
  return false;
}

/* Keeps the file, under a number away from those that a program counts on getting for its own files. */
static bool keep(struct file *f, int fd) {
  struct stat s;
  int high = fcntl(fd, F_DUPFD_CLOEXEC, 100);
  if (high >= 0) close(fd);
  f->fd = high >= 0 ? high : fd;
  if (fstat(f->fd, &s) != 0) return false;
  f->device = s.st_dev;
  f->inode = s.st_ino;
  return true;
}

static bool is_ours(const struct file *f) {
  struct stat s;
  return f->fd >= 0 && fstat(f->fd, &s) == 0 && s.st_dev == f->device && s.st_ino == f->inode;
}

static void drop(struct file *f) {
  if (is_ours(f)) close(f->fd);
  f->fd = -1;
}

static bool open_fault(void) {
  struct uffdio_api api = {.api = UFFD_API, .features = FEATURE_WP_ASYNC | FEATURE_WP_UNPOPULATED};
  struct uffdio_register whole = {{(uintptr_t)tracker.lo, tracker.size}, UFFDIO_REGISTER_MODE_WP, 0};
  long fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | USER_MODE_ONLY);
  if (fd < 0) {
    if (errno == ENOSYS) return lose("the kernel has no userfaultfd");
    return lose(errno == EMFILE || errno == ENFILE ? "no descriptor is left" : "userfaultfd is not permitted");
  }
  if (keep(&tracker.fault, (int)fd) && ioctl(tracker.fault.fd, UFFDIO_API, &api) == 0 &&
      ioctl(tracker.fault.fd, UFFDIO_REGISTER, &whole) == 0)
    return true;
  return lose("the kernel's userfaultfd cannot track writes");
}

static bool open_pagemap(void) {
  int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  return (fd >= 0 && keep(&tracker.pagemap, fd)) || lose("/proc/self/pagemap cannot be opened");
}

static void ignore(void *unused, struct range r) { (void)unused, (void)r; }

/* Asks about one page of memory: does the kernel know the call, and does a filter let it through? */
static bool try_scan(void) {
  const char *next;
  atomic_store_relaxed(&tracker.reason, (uintptr_t) "the kernel or a filter refuses PAGEMAP_SCAN");
  return dirty_arm(tracker.lo, tracker.lo + os_page_size()) &&
         dirty_collect(tracker.lo, tracker.lo + os_page_size(), false, 1, ignore, NULL, &next);
}

static bool start(void) {
  bool ok = open_fault() && open_pagemap();
  atomic32_store_relaxed(&tracker.works, ok);
  if (ok && try_scan()) return true;
  drop(&tracker.fault);
  drop(&tracker.pagemap);
  return false;
}

bool dirty_init(char *lo, size_t size) {
  int saved = errno;
  tracker.lo = lo;
  tracker.size = size;
  bool ok = false;
  if (options.concurrent == 0)
    lose("GC_CONCURRENT=off");
  else if (os_page_size() > PAGE_SIZE)
    lose("the system's pages are larger than the heap's");
  else
    ok = start();
  errno = saved;
  return ok;
}

/* The kernel checks the other half: memory whose userfaultfd was closed is no longer watched, and EPERM says so. */
static long scan(struct scan_arg *arg) {
  int saved = errno;
  long n = dirty_works() && is_ours(&tracker.pagemap) ? ioctl(tracker.pagemap.fd, SCAN, arg) : -1;
  if (n < 0) lose(errno == EPERM ? "userfaultfd was closed" : "the page map was closed, or refused to answer");
  errno = saved;
  return n;
}

/* The kernel holds the lock of the address space during a call: 10 ms for 1 GiB, and a thread that grows the heap, or
 * maps anything, waits for it. So calls that protect are for at most STEP bytes. */
#define STEP (16 * MIB)

static const char *step_end(const char *lo, const char *hi) { return (size_t)(hi - lo) > STEP ? lo + STEP : hi; }

bool dirty_arm(const char *lo, const char *hi) {
  for (; lo < hi; lo = step_end(lo, hi)) {
    struct scan_arg arg = {sizeof arg,
                           WP_MATCHING | CHECK_WPASYNC,
                           (uintptr_t)lo,
                           (uintptr_t)step_end(lo, hi),
                           0,
                           0,
                           0,
                           0,
                           0,
                           PAGE_WRITTEN,
                           0,
                           0};
    if (scan(&arg) < 0) return false;
  }
  return true;
}

bool dirty_disarm(const char *lo, const char *hi) {
  int saved = errno;
  bool ok = dirty_works() && is_ours(&tracker.fault);
  for (; ok && lo < hi; lo = step_end(lo, hi)) {
    struct uffdio_writeprotect free = {{(uintptr_t)lo, (uintptr_t)(step_end(lo, hi) - lo)}, 0};
    ok = ioctl(tracker.fault.fd, UFFDIO_WRITEPROTECT, &free) == 0;
  }
  errno = saved;
  return ok || lose("userfaultfd was closed");
}

bool dirty_collect(const char *lo, const char *hi, bool rearm, size_t most, void (*f)(void *arg, struct range r),
                   void *arg, const char **next) {
  struct page_region region[REGIONS];
  struct scan_arg a = {sizeof a,
                       (rearm ? WP_MATCHING : 0) | CHECK_WPASYNC,
                       (uintptr_t)lo,
                       (uintptr_t)(rearm ? step_end(lo, hi) : hi),
                       0,
                       (uintptr_t)region,
                       REGIONS,
                       min_size(most, PAGES),
                       0,
                       PAGE_WRITTEN,
                       0,
                       PAGE_WRITTEN};
  long n = scan(&a);
  for (long i = 0; i < n; i++) f(arg, (struct range){(char *)region[i].start, (char *)region[i].end});
  *next = (const char *)(uintptr_t)a.walk_end;
  return n >= 0;
}

void dirty_fork_child(void) {
  if (!dirty_works()) return;
  drop(&tracker.fault);
  drop(&tracker.pagemap);
  start();
}
