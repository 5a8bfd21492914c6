/* test_intake.c - addresses that the kernel writes into the heap: read, recv and their kin bring the only
 * references that remain. The calls must succeed at once and in full, whatever the collector does to the
 * pages they write to, and no object may be lost.
 * While addresses are on their way, in a pipe or a file, the sender still holds the objects.
 * Direct input (O_DIRECT) goes to noscan memory here: the kernel takes such pages before it writes to them, and a cycle
 * that protects them in between is not told of the write (docs/collection.md). */
#include <fcntl.h>
#include <semaphore.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "beside.h"
#include "cases.h"

enum {
  BATCH = 512, /* addresses at a time: an OS page of them */
  BATCH_BYTES = BATCH * 8,
  FRESH = 24,        /* areas of their own, new for each batch */
  AREAS = 2 * FRESH, /* the other half lies in one large object, across OS pages */
  ROUNDS = 200,
  CYCLES = 60
};

/* -- the objects, and the areas whose words refer to them -- */
static struct {
  root *volatile fresh[FRESH];
  root *volatile large;
  uint64_t tag[AREAS]; /* of the batch in each area; 0: none */
  struct rng rng;
} in;

static size_t object_size(uint64_t tag, size_t i) { return 16 + (tag + i * 7) % 120; }

static NOINLINE void make_batch(root *held, uint64_t tag) {
  for (size_t i = 0; i < BATCH; i++) {
    REQUIRE((held[i] = gc_alloc(object_size(tag, i))) != NULL);
    pattern_fill(held[i], object_size(tag, i), tag + i);
  }
}

static void wipe(root *held) {
  for (size_t i = 0; i < BATCH; i++) held[i] = NULL;
}

/* Half on one OS page and half on the next. */
static root *area(size_t a) { return a < FRESH ? in.fresh[a] : in.large + (a - FRESH) * 2 * BATCH + BATCH / 2; }

static void check_area(size_t a) {
  root *w = area(a);
  for (size_t i = 0; in.tag[a] != 0 && i < BATCH; i++)
    REQUIRE_MSG(gc_base(w[i]) == w[i] && pattern_ok(w[i], object_size(in.tag[a], i), in.tag[a] + i),
                "object %zu of area %zu was lost", i, a);
}

/* The area that the next batch goes to. Sometimes memory that was never touched. */
static size_t next_area(void) {
  size_t a = rng_below(&in.rng, AREAS);
  check_area(a);
  if (a < FRESH) REQUIRE((in.fresh[a] = gc_alloc(BATCH_BYTES)) != NULL);
  return a;
}

/* -- the ways in. Each moves BATCH_BYTES -- */
struct way {
  const char *name;
  bool (*open)(int fd[2]); /* fd[0] to receive from, fd[1] to send to; false: not to be had here */
  ssize_t (*send)(int fd, const void *from);
  ssize_t (*receive)(int fd, void *to);
};

static bool open_pipe(int fd[2]) { return pipe(fd) == 0; }
static bool open_stream(int fd[2]) { return socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == 0; }
static bool open_packets(int fd[2]) { return socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fd) == 0; }

static bool open_file_as(int fd[2], int flags) {
  char path[] = "/var/tmp/holdfast-test-XXXXXX";
  fd[1] = mkstemp(path);
  if (fd[1] < 0) return false;
  fd[0] = open(path, O_RDONLY | flags);
  REQUIRE(unlink(path) == 0);
  return fd[0] >= 0;
}
static bool open_file(int fd[2]) { return open_file_as(fd, 0); }
static bool open_direct(int fd[2]) { return open_file_as(fd, O_DIRECT); }

static ssize_t by_write(int fd, const void *from) { return write(fd, from, BATCH_BYTES); }
static ssize_t by_pwrite(int fd, const void *from) { return pwrite(fd, from, BATCH_BYTES, 0); }
static ssize_t by_read(int fd, void *to) { return read(fd, to, BATCH_BYTES); }
static ssize_t by_pread(int fd, void *to) { return pread(fd, to, BATCH_BYTES, 0); }
static ssize_t by_recv(int fd, void *to) { return recv(fd, to, BATCH_BYTES, 0); }
static ssize_t by_recv_all(int fd, void *to) { return recv(fd, to, BATCH_BYTES, MSG_WAITALL); }

/* Pieces that end inside words. */
static int pieces(struct iovec v[4], void *to) {
  static const size_t at[] = {0, 803, 2045, 3001, BATCH_BYTES};
  for (int i = 0; i < 4; i++) v[i] = (struct iovec){(char *)to + at[i], at[i + 1] - at[i]};
  return 4;
}
static ssize_t by_readv(int fd, void *to) {
  struct iovec v[4];
  return readv(fd, v, pieces(v, to));
}
static ssize_t by_preadv(int fd, void *to) {
  struct iovec v[4];
  return preadv(fd, v, pieces(v, to), 0);
}
static ssize_t by_recvmsg(int fd, void *to) {
  struct iovec v[4];
  struct msghdr message = {.msg_iov = v, .msg_iovlen = (size_t)pieces(v, to)};
  return recvmsg(fd, &message, 0);
}

static const struct way ways[] = {
    {"read", open_pipe, by_write, by_read},          {"readv", open_pipe, by_write, by_readv},
    {"recv", open_packets, by_write, by_recv},       {"recv_all", open_stream, by_write, by_recv_all},
    {"recvmsg", open_packets, by_write, by_recvmsg}, {"pread", open_file, by_pwrite, by_pread},
    {"preadv", open_file, by_pwrite, by_preadv},
};
enum { WAYS = sizeof ways / sizeof *ways };

/* The way that the name of the case begins with. */
static const struct way *way_of_case(void) {
  size_t i = 0, n = strcspn(case_name, " ");
  while (i < WAYS - 1 && (strlen(ways[i].name) != n || strncmp(ways[i].name, case_name, n) != 0)) i++;
  return &ways[i];
}

static void in_init(void) {
  in.rng.state = suite_seed();
  in.large = gc_alloc_aligned(4096, (size_t)(AREAS - FRESH + 1) * 2 * BATCH_BYTES);
  REQUIRE(in.large != NULL);
}

static void check_receipt(const struct way *w, ssize_t got) {
  REQUIRE_MSG(got == BATCH_BYTES, "%s returned %zd (%s)", w->name, got, got < 0 ? strerror(errno) : "short");
}

static bool enough(uint64_t round) {
  return round >= ROUNDS * suite_scale() && beside_cycles() >= CYCLES * suite_scale();
}

/* -- one thread sends to itself -- */
static NOINLINE void transfer(const struct way *w, int fd[2]) {
  root held[BATCH];
  size_t a = next_area();
  uint64_t tag = rng_next(&in.rng) | 1;
  in.tag[a] = 0;
  make_batch(held, tag);
  REQUIRE(w->send(fd[1], (const void *)(uintptr_t)held) == BATCH_BYTES);
  check_receipt(w, w->receive(fd[0], (void *)(uintptr_t)area(a)));
  in.tag[a] = tag;
  wipe(held);
}

static void to_itself(void) {
  const struct way *w = way_of_case();
  int fd[2];
  if (!w->open(fd)) {
    printf("skipped: %s", strerror(errno));
    return;
  }
  in_init();
  beside_begin(200);
  uint64_t round = 0;
  for (; !enough(round); round++) transfer(w, fd);
  beside_end();
  for (size_t a = 0; a < AREAS; a++) check_area(a);
  printf("%" PRIu64 " rounds, %lu cycles", round, beside_cycles());
}

/* -- the receiver sleeps in its call when the cycles come -- */
static struct {
  const struct way *way;
  int fd[2];
  atomic_int tid;
  size_t area;
  sem_t go, arrived;
  atomic_bool over;
} sleeper;

static void await(sem_t *s) {
  while (sem_wait(s) != 0) REQUIRE(errno == EINTR);
}

static void *sleep_in_call(void *unused) {
  atomic_store(&sleeper.tid, (int)gettid());
  for (;;) {
    await(&sleeper.go);
    if (atomic_load(&sleeper.over)) return unused;
    check_receipt(sleeper.way, sleeper.way->receive(sleeper.fd[0], (void *)(uintptr_t)area(sleeper.area)));
    sem_post(&sleeper.arrived);
  }
}

static NOINLINE void transfer_to_sleeper(bool after_a_cycle) {
  root held[BATCH];
  sleeper.area = next_area();
  in.tag[sleeper.area] = 0;
  uint64_t tag = rng_next(&in.rng) | 1;
  sem_post(&sleeper.go);
  make_batch(held, tag);
  if (after_a_cycle) beside_await(1);
  REQUIRE(sleeper.way->send(sleeper.fd[1], (const void *)(uintptr_t)held) == BATCH_BYTES);
  await(&sleeper.arrived);
  in.tag[sleeper.area] = tag;
  wipe(held);
}

static void to_sleeper(void) {
  pthread_t t;
  sleeper.way = way_of_case();
  REQUIRE(sleeper.way->open(sleeper.fd));
  REQUIRE(sem_init(&sleeper.go, 0, 0) == 0 && sem_init(&sleeper.arrived, 0, 0) == 0);
  in_init();
  REQUIRE(pthread_create(&t, NULL, sleep_in_call, NULL) == 0);
  beside_begin(2000);
  uint64_t round = 0;
  for (; !enough(round); round++) transfer_to_sleeper(round % 4 == 0);
  beside_end();
  atomic_store(&sleeper.over, true);
  sem_post(&sleeper.go);
  REQUIRE(pthread_join(t, NULL) == 0);
  for (size_t a = 0; a < AREAS; a++) check_area(a);
  printf("%" PRIu64 " rounds, %lu cycles", round, beside_cycles());
}

/* -- text, which holds no addresses, into memory of both kinds -- */
static void text(void) {
  enum { BYTES = 300000 };
  int fd[2];
  REQUIRE(open_file(fd));
  char *original = malloc(BYTES);
  REQUIRE(original != NULL);
  pattern_fill(original, BYTES, suite_seed());
  REQUIRE(write(fd[1], original, BYTES) == BYTES);
  in.rng.state = suite_seed();
  beside_begin(200);
  for (uint64_t round = 0; !enough(round); round++) {
    size_t n = 1 + rng_below(&in.rng, round % 8 == 0 ? BYTES : 5000), at = rng_below(&in.rng, BYTES - n + 1);
    char *to = round % 2 == 0 ? gc_alloc_noscan(n) : gc_alloc(n);
    REQUIRE(to != NULL);
    ssize_t got = pread(fd[0], to, n, (off_t)at);
    REQUIRE_MSG(got == (ssize_t)n, "pread of %zu bytes returned %zd (%s)", n, got, got < 0 ? strerror(errno) : "short");
    REQUIRE_MSG(memcmp(to, original + at, n) == 0, "%zu bytes came in otherwise than they are in the file", n);
  }
  beside_end();
}

/* -- whole blocks past the page cache, into noscan memory -- */
static void direct(void) {
  enum { BLOCK = 4096, BLOCKS = 64 };
  int fd[2];
  if (!open_direct(fd)) {
    printf("skipped: %s", strerror(errno));
    return;
  }
  char *original = gc_alloc_noscan((size_t)BLOCKS * BLOCK);
  REQUIRE(original != NULL);
  pattern_fill(original, (size_t)BLOCKS * BLOCK, suite_seed());
  REQUIRE(write(fd[1], original, (size_t)BLOCKS * BLOCK) == BLOCKS * BLOCK);
  in.rng.state = suite_seed();
  beside_begin(200);
  for (uint64_t round = 0; !enough(round); round++) {
    size_t n = 1 + rng_below(&in.rng, 4), at = rng_below(&in.rng, BLOCKS - n + 1);
    char *to = gc_alloc_noscan((n + 1) * BLOCK), *block = to + (BLOCK - (uintptr_t)to % BLOCK) % BLOCK;
    REQUIRE(to != NULL);
    ssize_t got = pread(fd[0], block, n * BLOCK, (off_t)(at * BLOCK));
    REQUIRE_MSG(got == (ssize_t)(n * BLOCK), "%zd of %zu bytes (%s)", got, n * BLOCK,
                got < 0 ? strerror(errno) : "short");
    REQUIRE_MSG(memcmp(block, original + at * BLOCK, n * BLOCK) == 0,
                "bytes came in otherwise than they are in the file");
  }
  beside_end();
}

static const struct test_case cases[] = {
    {"read", to_itself, NULL},
    {"readv", to_itself, NULL},
    {"recv", to_itself, NULL},
    {"recv_all", to_itself, NULL},
    {"recvmsg", to_itself, NULL},
    {"pread", to_itself, NULL},
    {"preadv", to_itself, NULL},
    {"read asleep", to_sleeper, NULL},
    {"readv asleep", to_sleeper, NULL},
    {"recv asleep", to_sleeper, NULL},
    {"recv_all asleep", to_sleeper, NULL},
    {"recvmsg asleep", to_sleeper, NULL},
    {"text", text, NULL},
    {"direct", direct, NULL},
};

int main(int argc, char **argv) { return cases_main(argc, argv, "intake", CASES(cases)); }
