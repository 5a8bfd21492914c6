/* reexec.h - runs the test program itself again as a probe, with other environment or limits.
 * Owns:    the child, what it wrote to stdout and stderr. The probe's part is the program's main:
 *          it looks at argv[1] before it starts the suite.
 * Needed because options are read and the address space is reserved when the library is loaded. */
#ifndef HOLDFAST_TEST_REEXEC_H
#define HOLDFAST_TEST_REEXEC_H

#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "suite.h"

enum { PROBE_TEXT = 1 << 16 };

struct probe {
  char out[PROBE_TEXT], err[PROBE_TEXT]; /* terminated; what goes beyond is dropped */
  int status;                            /* as from waitpid */
  void (*prepare)(const char *what);     /* called in the child before it becomes the program again; or NULL */
};

/* env: "NAME=value", or NULL. address_space: RLIMIT_AS in bytes, or 0 for none. */
static inline void probe_child(const char *what, const char *env, size_t address_space) {
  char *copy = env != NULL ? strdup(env) : NULL;
  unsetenv("GC_PERCENT");
  unsetenv("GC_TRACE");
  if (copy != NULL) putenv(copy);
  if (address_space != 0) {
    const struct rlimit limit = {address_space, address_space};
    if (setrlimit(RLIMIT_AS, &limit) != 0) _exit(126);
  }
  execl("/proc/self/exe", "probe", what, (char *)NULL);
  _exit(127);
}

static inline void probe_drain(int out, int err, struct probe *p) {
  struct pollfd fds[2] = {{.fd = out, .events = POLLIN}, {.fd = err, .events = POLLIN}};
  char *text[2] = {p->out, p->err};
  size_t n[2] = {0, 0};
  while (fds[0].fd >= 0 || fds[1].fd >= 0) {
    REQUIRE(poll(fds, 2, -1) > 0);
    for (int i = 0; i < 2; i++) {
      char drop[4096];
      if (fds[i].revents == 0) continue;
      bool full = n[i] == PROBE_TEXT - 1;
      ssize_t got = full ? read(fds[i].fd, drop, sizeof drop) : read(fds[i].fd, text[i] + n[i], PROBE_TEXT - 1 - n[i]);
      if (got <= 0)
        fds[i].fd = -1;
      else if (!full)
        n[i] += (size_t)got;
    }
  }
  text[0][n[0]] = text[1][n[1]] = '\0';
}

static inline void probe_run(struct probe *p, const char *what, const char *env, size_t address_space) {
  int out[2], err[2];
  REQUIRE(pipe(out) == 0 && pipe(err) == 0);
  pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    dup2(out[1], STDOUT_FILENO);
    dup2(err[1], STDERR_FILENO);
    for (int i = 0; i < 2; i++) {
      close(out[i]);
      close(err[i]);
    }
    if (p->prepare != NULL) p->prepare(what);
    probe_child(what, env, address_space);
  }
  close(out[1]);
  close(err[1]);
  probe_drain(out[0], err[0], p);
  close(out[0]);
  close(err[0]);
  REQUIRE(waitpid(pid, &p->status, 0) == pid);
  REQUIRE_MSG(WIFEXITED(p->status) && WEXITSTATUS(p->status) == 0, "probe %s (%s): status %x, stderr: %s", what,
              env != NULL ? env : "", (unsigned)p->status, p->err);
}

static inline size_t probe_lines(const char *text, const char *beginning) {
  size_t n = 0, length = strlen(beginning);
  for (const char *line = text; *line != '\0'; n++) {
    if (strncmp(line, beginning, length) != 0) n--;
    line += strcspn(line, "\n");
    line += *line == '\n';
  }
  return n;
}

#endif
