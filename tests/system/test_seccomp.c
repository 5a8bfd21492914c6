/* test_seccomp.c - a sandbox may refuse any system call that the library can do without, with any error, from
 * the start or from some moment on. The heap stays right, whatever the library makes of it. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "beside.h"
#include "cases.h"
#include "moves.h"

/* _IOWR('f', 16, struct pm_scan_arg): younger than some systems' headers. */
#define PAGEMAP_SCAN_REQUEST 0xc0606610U
#define ANY_REQUEST 0U

enum { THREADS = 3, STEPS = 20000, CYCLES = 30 };

/* -- filters -- */
static long seccomp_filter(unsigned flags, struct sock_fprog *program) {
  REQUIRE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, program);
}

/* Refuses the call - only with this second argument, unless that is ANY_REQUEST - with an errno value, in all
 * threads. */
static void refuse(int call, unsigned request, int error) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
      BPF_JUMP(BPF_JMP | (request == ANY_REQUEST ? BPF_JGE : BPF_JEQ) | BPF_K, request, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof code / sizeof *code, code};
  REQUIRE_MSG(seccomp_filter(SECCOMP_FILTER_FLAG_TSYNC, &program) == 0, "no filter: %s", strerror(errno));
}

/* That the filter refuses what it should. */
static void require_refused(int call, unsigned request, int error) {
  errno = 0;
  REQUIRE(syscall(call, -1, request, 0, 0) == -1);
  REQUIRE_MSG(errno == error, "call %d is refused with %s", call, strerror(errno));
}

static const struct refusal {
  const char *name; /* of the case, to which " late" may be added */
  int call;
  unsigned request;
  int error;
} refusals[] = {
    {"userfaultfd EPERM", SYS_userfaultfd, ANY_REQUEST, EPERM},
    {"userfaultfd ENOSYS", SYS_userfaultfd, ANY_REQUEST, ENOSYS},
    {"userfaultfd EMFILE", SYS_userfaultfd, ANY_REQUEST, EMFILE},
    {"api EINVAL", SYS_ioctl, (unsigned)UFFDIO_API, EINVAL},
    {"register EINVAL", SYS_ioctl, (unsigned)UFFDIO_REGISTER, EINVAL},
    {"register ENOMEM", SYS_ioctl, (unsigned)UFFDIO_REGISTER, ENOMEM},
    {"protect EPERM", SYS_ioctl, (unsigned)UFFDIO_WRITEPROTECT, EPERM},
    {"scan EPERM", SYS_ioctl, PAGEMAP_SCAN_REQUEST, EPERM},
    {"scan ENOTTY", SYS_ioctl, PAGEMAP_SCAN_REQUEST, ENOTTY},
    {"scan ENOSYS", SYS_ioctl, PAGEMAP_SCAN_REQUEST, ENOSYS},
    {"ioctl EPERM", SYS_ioctl, ANY_REQUEST, EPERM},
    {"open EACCES", SYS_openat, ANY_REQUEST, EACCES},
    {"membarrier ENOSYS", SYS_membarrier, ANY_REQUEST, ENOSYS},
};

/* The one that a name begins with. Also called in the child of Check, before the case has a process. */
static const struct refusal *refusal_of(const char *name) {
  for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
    if (strncmp(refusals[i].name, name, strlen(refusals[i].name)) == 0) return &refusals[i];
  ck_abort_msg("no refusal is called %s", name);
}

/* -- the work -- */
static struct moves moves;

static void *move_in_a_thread(void *seed) {
  struct moves own;
  moves_init(&own, suite_seed() + (uintptr_t)seed);
  moves_run(&own, STEPS);
  moves_check(&own);
  free(own.tag);
  return NULL;
}

static void work(void) {
  pthread_t t[THREADS];
  for (uintptr_t i = 0; i < THREADS; i++) REQUIRE(pthread_create(&t[i], NULL, move_in_a_thread, (void *)(i + 1)) == 0);
  do moves_run(&moves, STEPS);
  while (beside_cycles() < CYCLES * suite_scale());
  for (int i = 0; i < THREADS; i++) REQUIRE(pthread_join(t[i], NULL) == 0);
  moves_check(&moves);
}

static void begin(void) {
  moves_init(&moves, suite_seed());
  beside_begin(500);
}

/* The call is refused before the library is loaded: installed by refuse_of in the process that becomes it. */
static void refuse_of(const char *name) {
  const struct refusal *r = refusal_of(name);
  refuse(r->call, r->request, r->error);
}

static void from_the_start(void) {
  const struct refusal *r = refusal_of(case_name);
  require_refused(r->call, r->request, r->error);
  begin();
  work();
  beside_end();
}

/* Refused from a moment on at which cycles have begun, and may be under way. */
static void late(void) {
  const struct refusal *r = refusal_of(case_name);
  begin();
  moves_run(&moves, STEPS);
  beside_await(5);
  refuse(r->call, r->request, r->error);
  require_refused(r->call, r->request, r->error);
  work();
  beside_end();
}

/* A process that may not be dumped: its files in /proc belong to root. */
static void not_dumpable(void) {
  begin();
  moves_run(&moves, STEPS);
  REQUIRE(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0);
  work();
  beside_end();
}

#define BOTH(name) \
  {name, from_the_start, refuse_of}, { name " late", late, NULL }
static const struct test_case cases[] = {
    BOTH("userfaultfd EPERM"),
    BOTH("userfaultfd ENOSYS"),
    BOTH("userfaultfd EMFILE"),
    BOTH("api EINVAL"),
    BOTH("register EINVAL"),
    BOTH("register ENOMEM"),
    BOTH("protect EPERM"),
    BOTH("scan EPERM"),
    BOTH("scan ENOTTY"),
    BOTH("scan ENOSYS"),
    BOTH("ioctl EPERM"),
    BOTH("membarrier ENOSYS"),
    {"open EACCES late", late, NULL}, /* from the start the loader would find no C library */
    {"not dumpable", not_dumpable, NULL},
};

int main(int argc, char **argv) { return cases_main(argc, argv, "seccomp", CASES(cases)); }
