/* misuse.h - that a wrong call ends the program with one line on stderr.
 * Owns: the child that makes the call, what it wrote. */
#ifndef HOLDFAST_TEST_MISUSE_H
#define HOLDFAST_TEST_MISUSE_H

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "suite.h"

/* f(arg), in a child, must abort after one line that begins with "holdfast: CALL(". */
static __attribute__((unused)) void misuse(void (*f)(void *), void *arg, const char *call) {
  char text[1024], begin[64];
  size_t n = 0;
  int fd[2], status;
  REQUIRE(pipe(fd) == 0);
  pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    signal(SIGABRT, SIG_DFL);
    dup2(fd[1], STDERR_FILENO);
    f(arg);
    _exit(0);
  }
  close(fd[1]);
  for (ssize_t got; n < sizeof text - 1 && (got = read(fd[0], text + n, sizeof text - 1 - n)) > 0;) n += (size_t)got;
  text[n] = '\0';
  close(fd[0]);
  REQUIRE(waitpid(pid, &status, 0) == pid);
  snprintf(begin, sizeof begin, "holdfast: %s(", call);
  REQUIRE_MSG(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "%s: status %x, stderr: %s", call, (unsigned)status,
              text);
  REQUIRE_MSG(strncmp(text, begin, strlen(begin)) == 0 && strchr(text, '\n') == text + n - 1, "%s: stderr: %s", call,
              text);
}

#endif
