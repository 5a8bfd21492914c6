/* ring.c - a queue of messages: a ring of live 1 KiB messages, into which each insertion puts a new one,
 * filled, in the place of the oldest. Measured: each insertion by itself. The malloc family gets memory it
 * need not clear, for the message is written entirely; the collectors' is scanned, with --noscan it is not.
 * The oldest message is looked at before it goes, and all that are left at the end: none was lost. */
#include "allocator.h"
#include "gaps.h"

#include <string.h>

enum { MESSAGE = 1024, RING_MAX = 200000 };

struct message {
  uint64_t number;
  unsigned char text[MESSAGE - sizeof(uint64_t)];
};

static uint64_t messages, insertions, noscan; /* options */
static struct message *ring[RING_MAX];        /* static data: what makes the messages reachable */
static struct gaps gaps;

static struct message *make(uint64_t number) {
  struct message *message = noscan ? bench_alloc_noscan(sizeof *message) : bench_alloc_filled(sizeof *message);
  message->number = number;
  memset(message->text, (int)(number & 127), sizeof message->text);
  return message;
}

/* noinline: the loop must not know that it stores what it reads. */
__attribute__((noinline)) static void insert(uint64_t number) {
  struct message **place = &ring[number % messages];
  if (*place) {
    if ((*place)->number != number - messages) bench_die("a message was lost");
    bench_drop(*place);
  }
  *place = make(number);
}

static void verify(uint64_t end) {
  for (uint64_t number = end - messages; number < end; number++) {
    const struct message *message = ring[number % messages];
    if (message->number != number) bench_die("a message was lost");
    for (size_t i = 0; i < sizeof message->text; i++)
      if (message->text[i] != (number & 127)) bench_die("a message was overwritten");
  }
}

static void row(const char *what, double value, const char *unit) {
  char name[64];
  snprintf(name, sizeof name, "%s_%s", noscan ? "ring_noscan" : "ring", what);
  bench_row(name, value, unit);
}

int main(int argc, char **argv) {
  const struct bench_option options[] = {{"--messages", &messages, RING_MAX, 10000, 1, RING_MAX},
                                         {"--insertions", &insertions, 5000000, 200000, 1, 100000000000},
                                         {"--noscan", &noscan, 0, 0, 0, 0}};
  bench_begin(argc, argv, options, 3);
  bench_warm((size_t)messages * MESSAGE * 4);
  uint64_t number = 0, warm = messages + insertions / 5;
  while (number < warm) insert(number++);
  uint64_t before = bench_cycles();
  gaps_start(&gaps);
  for (uint64_t end = number + insertions; number < end;) {
    insert(number++);
    gaps_tick(&gaps);
  }
  verify(number);
  row("longest", (double)gaps.max / 1e3, "us");
  row("p9999", (double)gaps_quantile(&gaps, 0.9999) / 1e3, "us");
  row("p50", (double)gaps_quantile(&gaps, 0.5) / 1e3, "us");
  row("time", gaps_seconds(&gaps), "s");
  if (BENCH_HAS_PAUSES) row("stopped", (double)bench_pause_max(before) / 1e3, "us");
  if (BENCH_COLLECTS) row("cycles", (double)(bench_cycles() - before), "cycles");
  return 0;
}
