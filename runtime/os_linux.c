/* os_linux.c - see os.h; the only file with Linux system calls of the memory and scheduling kind. */
#include "runtime/config.h"

#include "runtime/os.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static size_t page_size GC_OWN_DATA;     /* [const] after the first call; racing writers store the same */
static atomic_u32 cpu_count GC_OWN_DATA; /* [A] 0 = not read yet */

size_t os_page_size(void) {
  if (page_size == 0) page_size = (size_t)sysconf(_SC_PAGESIZE);
  return page_size;
}

unsigned os_cpu_count(void) {
  unsigned n = atomic32_load_relaxed(&cpu_count);
  if (GC_LIKELY(n != 0)) return n;
  cpu_set_t set;
  int saved = errno;
  n = sched_getaffinity(0, sizeof set, &set) == 0 ? (unsigned)CPU_COUNT(&set) : (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
  errno = saved;
  if (n == 0) n = 1;
  atomic32_store_relaxed(&cpu_count, n);
  return n;
}

#if GC_DEBUG
static atomic_word fail_after GC_OWN_DATA = (AO_t)-1; /* [A] */
void os_fail_after(long successes) { atomic_store_relaxed(&fail_after, (uint64_t)successes); }
static bool inject_failure(void) {
  uint64_t n = atomic_load_relaxed(&fail_after);
  if (n == (uint64_t)-1) return false;
  if (n == 0) return true;
  atomic_store_relaxed(&fail_after, n - 1);
  return false;
}
#else
static bool inject_failure(void) { return false; }
#endif

static void *map(size_t size, int protection) {
  int saved = errno;
  void *p = mmap(NULL, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  errno = saved;
  return p == MAP_FAILED ? NULL : p;
}

void *os_reserve(size_t size) { return map(size, PROT_NONE); }
void *os_map(size_t size) { return inject_failure() ? NULL : map(size, PROT_READ | PROT_WRITE); }

bool os_commit(void *p, size_t size) {
  int saved = errno;
  bool ok = !inject_failure() && mprotect(p, size, PROT_READ | PROT_WRITE) == 0;
  errno = saved;
  return ok;
}

void os_unreserve(void *p, size_t size) { munmap(p, size); }

bool os_release(void *p, size_t size, enum os_release_how how) {
  int saved = errno;
  bool ok = (how == OS_RELEASE_LAZY && madvise(p, size, MADV_FREE) == 0) || madvise(p, size, MADV_DONTNEED) == 0;
  errno = saved;
  return ok;
}

void os_use_huge_pages(void *p, size_t size) {
  int saved = errno;
  madvise(p, size, MADV_HUGEPAGE); /* refused where the kernel has none: no harm */
  errno = saved;
}

size_t os_address_space_limit(void) {
  struct rlimit r;
  if (getrlimit(RLIMIT_AS, &r) != 0 || r.rlim_cur == RLIM_INFINITY) return SIZE_MAX;
  return (size_t)r.rlim_cur;
}

uint64_t os_physical_memory(void) {
  struct sysinfo s;
  return sysinfo(&s) == 0 ? (uint64_t)s.totalram * s.mem_unit : UINT64_MAX;
}

bool os_read_file(const char *path, char *text, size_t size) {
  int saved = errno, fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
  size_t n = 0;
  long got = -1;
  while (fd >= 0 && (got = syscall(SYS_read, fd, text + n, size - 1 - n)) > 0) n += (size_t)got;
  if (fd >= 0) syscall(SYS_close, fd);
  text[n] = '\0';
  errno = saved;
  return got == 0;
}

static uint64_t clock_ns(clockid_t id) {
  struct timespec t;
  clock_gettime(id, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
uint64_t os_now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }
uint64_t os_wall_ns(void) { return clock_ns(CLOCK_REALTIME); }
uint64_t os_thread_cpu_ns(void) { return clock_ns(CLOCK_THREAD_CPUTIME_ID); }
int os_thread_id(void) { return (int)syscall(SYS_gettid); }

#ifdef __SANITIZE_THREAD__
/* The thread sanitizer delivers signals only inside functions it knows; it does not know this system call. So
 * its build looks and sleeps, in a function it knows: every caller allows for an early return. */
void os_futex_wait(atomic_u32 *p, unsigned expected, uint64_t timeout_ns) {
  struct timespec t = {0, 100000};
  (void)timeout_ns;
  if (atomic32_load_relaxed(p) == expected) nanosleep(&t, NULL);
}
#else
void os_futex_wait(atomic_u32 *p, unsigned expected, uint64_t timeout_ns) {
  struct timespec t = {(time_t)(timeout_ns / 1000000000u), (long)(timeout_ns % 1000000000u)};
  int saved = errno;
  syscall(SYS_futex, p, FUTEX_WAIT_PRIVATE, expected, timeout_ns ? &t : NULL, NULL, 0);
  errno = saved;
}
#endif

void os_futex_wake(atomic_u32 *p, unsigned count) {
  int saved = errno;
  syscall(SYS_futex, p, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
  errno = saved;
}

int os_signal_thread(int tid, int signal) {
  int saved = errno;
  int r = syscall(SYS_tgkill, getpid(), tid, signal) == 0 ? 0 : errno;
  errno = saved;
  return r;
}

int os_queue_signal(int tid, int signal, const void *info) {
  int saved = errno;
  long r = tid == 0 ? syscall(SYS_rt_sigqueueinfo, getpid(), signal, info)
                    : syscall(SYS_rt_tgsigqueueinfo, getpid(), tid, signal, info);
  int error = r == 0 ? 0 : errno;
  errno = saved;
  return error;
}

bool os_signal_is_pending(int signal) {
  uint64_t pending = 0;
  int saved = errno;
  syscall(SYS_rt_sigpending, &pending, sizeof pending);
  errno = saved;
  return pending >> (signal - 1) & 1;
}

/* A line of the mappings file: "lo-hi perms ...". Parsed by hand: no stdio while the world is stopped. */
struct maps_reader {
  int fd;
  size_t at, length;
  char buffer[4096];
};

static int next_char(struct maps_reader *r) {
  if (r->at == r->length) {
    long n = syscall(SYS_read, r->fd, r->buffer, sizeof r->buffer);
    if (n <= 0) return -1;
    r->at = 0;
    r->length = (size_t)n;
  }
  return (unsigned char)r->buffer[r->at++];
}

static uintptr_t next_hex(struct maps_reader *r, int *after) {
  uintptr_t v = 0;
  for (;;) {
    int c = next_char(r);
    int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) {
      *after = c;
      return v;
    }
    v = v * 16 + (uintptr_t)digit;
  }
}

static bool is_readable(const char *p) {
  char byte;
  struct iovec to = {&byte, 1}, from = {(void *)(uintptr_t)p, 1};
  return syscall(SYS_process_vm_readv, getpid(), &to, 1, &from, 1, 0) == 1;
}

/* Without a descriptor for the list: the readable pages around p, found one by one. */
static bool probe_mapping(const void *p, struct range *out) {
  size_t step = os_page_size();
  char *lo = (char *)round_down((uintptr_t)p, step), *hi = lo;
  if (!is_readable(lo)) return false;
  while (is_readable(lo - step)) lo -= step;
  while (is_readable(hi)) hi += step;
  *out = (struct range){lo, hi};
  return true;
}

bool os_mapping_of(const void *p, struct range *out) {
  struct maps_reader r = {(int)syscall(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC), 0, 0, {0}};
  bool found = false;
  if (r.fd < 0) return probe_mapping(p, out);
  for (int c = 0; c >= 0 && !found;) {
    uintptr_t lo = next_hex(&r, &c);
    uintptr_t hi = c < 0 ? 0 : next_hex(&r, &c);
    found = (uintptr_t)p >= lo && (uintptr_t)p < hi;
    if (found) *out = (struct range){(char *)lo, (char *)hi};
    while (c >= 0 && c != '\n') c = next_char(&r);
  }
  syscall(SYS_close, r.fd); /* plain system calls: the C library's are cancellation points */
  return found;
}

int os_write(int fd, const void *bytes, size_t size) {
  int saved = errno, error = 0;
  for (size_t done = 0; done < size && error == 0;) {
    long n = syscall(SYS_write, fd, (const char *)bytes + done, size - done);
    if (n > 0) done += (size_t)n;
    if (n == 0) error = EIO;
    if (n < 0 && errno != EINTR) error = errno;
  }
  errno = saved;
  return error;
}

bool os_read_memory(void *to, const void *from, size_t size) {
  struct iovec local = {to, size}, remote = {(void *)(uintptr_t)from, size};
  int saved = errno;
  bool ok = process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)size;
  errno = saved;
  return ok;
}
