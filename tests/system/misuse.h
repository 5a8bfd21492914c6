/* misuse.h - a call that must end the program: with one line on stderr, that says what was wrong, and abort.
 * Each misuse runs in a forked child of the test. */
#ifndef HOLDFAST_TEST_MISUSE_H
#define HOLDFAST_TEST_MISUSE_H

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "suite.h"

/* Runs f in a child; text gets what it wrote to stderr. Returns the status as from waitpid. */
static inline int misuse_run(void (*f)(void), char *text, size_t size) {
  int fd[2], status = 0;
  size_t n = 0;
  ssize_t got;
  REQUIRE(pipe(fd) == 0);
  pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    suite_alone = true;
    dup2(fd[1], STDERR_FILENO);
    close(fd[0]);
    close(fd[1]);
    f();
    _exit(0);
  }
  close(fd[1]);
  while (n < size - 1 && (got = read(fd[0], text + n, size - 1 - n)) > 0) n += (size_t)got;
  text[n] = '\0';
  close(fd[0]);
  REQUIRE(waitpid(pid, &status, 0) == pid);
  return status;
}

static inline void require_misuse(void (*f)(void), const char *says) {
  char text[1024];
  int status = misuse_run(f, text, sizeof text);
  REQUIRE_MSG(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "\"%s\": status %x, stderr: %s", says,
              (unsigned)status, text);
  REQUIRE_MSG(strchr(text, '\n') == text + strlen(text) - 1, "\"%s\": not one line: \"%s\"", says, text);
  REQUIRE_MSG(strstr(text, says) != NULL, "\"%s\": the line does not say so: %s", says, text);
}

#endif
