/* twothreads.c - what two threads of one process do to each other: the garbage and trees loops in two
 * threads, against the same in two processes at the same time, as total rates and their ratio.
 * The processes are this program started again with --worker: after a bare fork a collector would be in a
 * state of its own, and the two would not start from the same heap. They run first, while this process has
 * an empty heap, which the threads then find. */
#include "allocator.h"
#include "loops.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAIR = 2 };

struct job {
  const char *name;
  size_t size; /* bytes of a garbage object; 0 for trees */
};

static const struct job jobs[] = {{"garbage16", 16}, {"garbage64", 64}, {"trees", 0}};
enum { JOBS = sizeof jobs / sizeof jobs[0] };

static uint64_t objects, depth; /* options */

/* Does one worker's share and returns the number of objects allocated. */
static uint64_t work(const struct job *job) {
  if (!job->size) return loop_trees((unsigned)depth);
  uint64_t count = loop_garbage_count(job->size, objects);
  loop_garbage(job->size, count);
  return count;
}

/* -- threads -- */

static pthread_barrier_t ready;
static uint64_t thread_objects[PAIR];
static const struct job *thread_job;

static void *thread_main(void *number) {
  pthread_barrier_wait(&ready);
  *(uint64_t *)number = work(thread_job);
  return NULL;
}

static double rate_of_threads(const struct job *job) {
  pthread_t threads[PAIR];
  thread_job = job;
  pthread_barrier_init(&ready, NULL, PAIR + 1);
  for (int i = 0; i < PAIR; i++)
    if (pthread_create(&threads[i], NULL, thread_main, &thread_objects[i])) bench_die("cannot start a thread");
  uint64_t start = bench_now_ns(); /* before the barrier: this thread may be the last to get past it */
  pthread_barrier_wait(&ready);
  for (int i = 0; i < PAIR; i++) pthread_join(threads[i], NULL);
  uint64_t ns = bench_now_ns() - start;
  pthread_barrier_destroy(&ready);
  return (double)(thread_objects[0] + thread_objects[1]) * 1e3 / (double)ns;
}

/* -- processes: a worker says it is ready, waits for a byte, works, and answers with its count -- */

struct worker {
  pid_t pid;
  int to, from;
};

static int worker_main(const struct job *job) {
  uint64_t count = 0;
  char go;
  if (write(STDOUT_FILENO, &count, sizeof count) != sizeof count) return 1;
  if (read(STDIN_FILENO, &go, 1) != 1) return 1;
  count = work(job);
  return write(STDOUT_FILENO, &count, sizeof count) != sizeof count;
}

static _Noreturn void worker_exec(size_t job, int in, int out) {
  char number[24], count[24], levels[24];
  snprintf(number, sizeof number, "%zu", job + 1);
  snprintf(count, sizeof count, "%llu", (unsigned long long)objects);
  snprintf(levels, sizeof levels, "%llu", (unsigned long long)depth);
  prctl(PR_SET_PDEATHSIG, SIGKILL); /* a killed runner must not leave a load behind */
  dup2(in, STDIN_FILENO);
  dup2(out, STDOUT_FILENO);
  execl("/proc/self/exe", program_invocation_short_name, "--worker", number, "--objects", count, "--depth", levels,
        (char *)NULL);
  _exit(127);
}

static struct worker worker_start(size_t job) {
  int down[2], up[2];
  if (pipe2(down, O_CLOEXEC) || pipe2(up, O_CLOEXEC)) bench_die("cannot make a pipe");
  pid_t pid = fork();
  if (pid < 0) bench_die("cannot start a process");
  if (!pid) worker_exec(job, down[0], up[1]);
  close(down[0]);
  close(up[1]);
  return (struct worker){pid, down[1], up[0]};
}

static uint64_t worker_answer(const struct worker *worker) {
  uint64_t count;
  if (read(worker->from, &count, sizeof count) != sizeof count) bench_die("a worker process failed");
  return count;
}

static void worker_end(const struct worker *worker) {
  int status;
  close(worker->to);
  close(worker->from);
  if (waitpid(worker->pid, &status, 0) < 0 || status) bench_die("a worker process failed");
}

static double rate_of_processes(size_t job) {
  struct worker workers[PAIR];
  uint64_t total = 0;
  for (int i = 0; i < PAIR; i++) workers[i] = worker_start(job);
  for (int i = 0; i < PAIR; i++) worker_answer(&workers[i]);
  uint64_t start = bench_now_ns();
  for (int i = 0; i < PAIR; i++)
    if (write(workers[i].to, "g", 1) != 1) bench_die("a worker process failed");
  for (int i = 0; i < PAIR; i++) total += worker_answer(&workers[i]);
  uint64_t ns = bench_now_ns() - start;
  for (int i = 0; i < PAIR; i++) worker_end(&workers[i]);
  return (double)total * 1e3 / (double)ns;
}

static void row(const struct job *job, const char *what, double value, const char *unit) {
  char name[64];
  snprintf(name, sizeof name, "twothreads_%s_%s", job->name, what);
  bench_row(name, value, unit);
}

int main(int argc, char **argv) {
  uint64_t worker;
  double processes[JOBS];
  const struct bench_option options[] = {{"--objects", &objects, 50000000, 1000000, 1, 100000000000},
                                         {"--depth", &depth, 17, 10, 4, 28},
                                         {"--worker", &worker, 0, 0, 1, JOBS}};
  bench_begin(argc, argv, options, 3);
  if (worker) return worker_main(&jobs[worker - 1]);
  for (size_t i = 0; i < JOBS; i++) processes[i] = rate_of_processes(i);
  for (size_t i = 0; i < JOBS; i++) {
    double threads = rate_of_threads(&jobs[i]);
    row(&jobs[i], "threads", threads, "Mobject/s");
    row(&jobs[i], "processes", processes[i], "Mobject/s");
    row(&jobs[i], "ratio", threads / processes[i], "x");
  }
  return 0;
}
