/* test_pacer.c - gc/pacer.h: goal and trigger by the rule, the limiter and the assists step by step, and two
 * simulators that run workloads through it: one whose cycles stop the program, and one whose cycles run beside it. */
#include "unit.h"

#include "gc/pacer.h"

#define NEVER UINT64_MAX

/* A cycle that stopped the program. */
static void ended(struct pacer *p, uint64_t live, unsigned threads) {
  pacer_cycle_ended(p, &(struct pacer_report){.live = live, .threads = threads});
}

/* ---- single steps ---- */

static const struct step {
  int percent;
  uint64_t live, trigger;
} steps[] = {
    {100, 0, 4 * MIB},
    {100, 1, 4 * MIB},
    {100, 2 * MIB, 4 * MIB},
    {100, 2 * MIB + 1, 4 * MIB + 2},
    {100, 10 * MIB, 20 * MIB},
    {100, GIB, 2 * GIB},
    {50, 10 * MIB, 15 * MIB},
    {50, 0, 2 * MIB},
    {200, 0, 8 * MIB},
    {200, 3 * MIB, 9 * MIB},
    {25, 100, MIB},
    {1, 1000 * MIB, 1010 * MIB},
    {0, 7 * MIB, 7 * MIB},
    {-1, 7 * MIB, NEVER},
    {-1, 0, NEVER},
    {100000, MIB, 4000 * MIB},
    {100000, 8 * MIB, 8008 * MIB},
    {33, 10 * MIB + 50, 10 * MIB + 50 + (10 * MIB + 50) / 100 * 33 + (10 * MIB + 50) % 100 * 33 / 100},
};
enum { STEPS = sizeof steps / sizeof steps[0] };

START_TEST(single_steps) {
  const struct step *s = &steps[_i];
  struct pacer p, q;
  pacer_init(&p, s->percent);
  ended(&p, s->live, 1);
  REQUIRE_MSG(p.trigger == s->trigger, "%d %%, live %lu: %lu", s->percent, (unsigned long)s->live,
              (unsigned long)p.trigger);
  pacer_init(&q, 77); /* the order of the two calls does not matter */
  ended(&q, s->live, 1);
  pacer_set_percent(&q, s->percent);
  REQUIRE(p.goal == p.trigger && q.goal == p.goal);
  REQUIRE(q.trigger == p.trigger && q.live == s->live && q.percent == s->percent);
}
END_TEST

START_TEST(no_overflow) {
  static const int percents[] = {0, 1, 100, 1000, 100000};
  for (unsigned bit = 20; bit < 63; bit++)
    for (size_t i = 0; i < 5; i++) {
      struct pacer p;
      uint64_t live = ((uint64_t)1 << bit) + 12345;
      pacer_init(&p, percents[i]);
      ended(&p, live, 1);
      REQUIRE_MSG(p.trigger >= live && p.trigger != NEVER, "2^%u, %d %%: %lx", bit, percents[i],
                  (unsigned long)p.trigger);
      __uint128_t exact = live + (__uint128_t)live * (unsigned)percents[i] / 100;
      if (exact < (uint64_t)1 << 62 && live >= 4 * MIB) REQUIRE(p.trigger == (uint64_t)exact);
    }
}
END_TEST

START_TEST(least_goal_per_thread) {
  struct pacer p;
  pacer_init(&p, 50);
  ended(&p, MIB, 8);
  REQUIRE(p.trigger == 16 * MIB);
  ended(&p, MIB, 0);
  REQUIRE(p.trigger == 2 * MIB);
}
END_TEST

/* Growth is no goal below it; limits are. */
START_TEST(a_floor) {
  struct pacer p;
  pacer_init(&p, 100);
  pacer_set_floor(&p, 64 * MIB);
  REQUIRE(p.goal == 64 * MIB && p.trigger == p.goal);
  ended(&p, 20 * MIB, 1);
  REQUIRE(p.goal == 64 * MIB);
  ended(&p, 40 * MIB, 1);
  REQUIRE(p.goal == 80 * MIB);
  pacer_set_percent(&p, -1);
  REQUIRE(p.goal == NEVER);
  pacer_set_percent(&p, 100);
  pacer_set_limit(&p, 50 * MIB);
  REQUIRE(p.goal < 50 * MIB);
  pacer_set_limit(&p, UINT64_MAX);
  pacer_set_floor(&p, UINT64_MAX);
  REQUIRE(p.goal > GIB * GIB && p.goal >= p.trigger);
}
END_TEST

/* A cycle that leaves so much: the goal, by the divisor. */
static uint64_t divided(struct pacer *p, uint64_t live, uint64_t noscan, uint64_t roots) {
  pacer_cycle_ended(p, &(struct pacer_report){.live = live, .noscan = noscan, .threads = 8, .root_bytes = roots});
  REQUIRE(p->goal == p->trigger);
  return p->goal;
}

/* A fifth or 1 MiB more than (2 * scanned + noscan / 4 + roots) / divisor, and a quarter less of what is above 8 MiB; small heaps
 * grow by 1280 KiB, or to three times the size. */
START_TEST(by_divisor) {
  struct pacer p;
  pacer_init(&p, 100);
  pacer_set_divisor(&p, 3);
  REQUIRE(p.goal == 480 * KIB);
  REQUIRE(divided(&p, 0, 0, 12 * KIB) == 480 * KIB);
  REQUIRE(divided(&p, 200 * KIB, 0, 12 * KIB) == 600 * KIB);
  REQUIRE(divided(&p, 900 * KIB, 900 * KIB, 0) == 2180 * KIB);
  REQUIRE(divided(&p, 24 * MIB, 0, 12 * MIB) == (24 + 20 + 1 - 3) * MIB);
  REQUIRE(divided(&p, 60 * MIB, 48 * MIB, 0) == (60 + 12 + 1 - 1) * MIB);
  pacer_set_divisor(&p, 6);
  REQUIRE(p.goal == (60 + 6 + 1) * MIB);
  pacer_set_floor(&p, 4 * GIB);
  REQUIRE(p.goal == 4 * GIB);
  pacer_set_percent(&p, -1);
  REQUIRE(p.goal == NEVER);
  pacer_set_percent(&p, 100);
  REQUIRE(divided(&p, UINT64_MAX, 0, UINT64_MAX) >= p.live && p.goal < NEVER);
  pacer_set_floor(&p, 0);
  pacer_set_divisor(&p, 0);
  ended(&p, 20 * MIB, 1);
  REQUIRE(p.goal == 40 * MIB);
}
END_TEST

/* A cycle over `live` bytes beside which `bytes` were allocated, with no assists. */
static void ended_beside(struct pacer *p, uint64_t live, uint64_t bytes) {
  struct pacer_report r = {.live = live, .heap_at_start = 2 * live, .heap_at_end = 2 * live + bytes};
  r.mark_ns = r.cycle_cpu_ns = 1000000;
  r.interval_ns = 10 * r.mark_ns;
  r.threads = 1;
  r.concurrent = true;
  pacer_cycle_ended(p, &r);
}

/* Samples are whole bytes per MiB to mark: an error of 1.25 bytes per MiB after the head-room. */
static bool is_about(uint64_t bytes, uint64_t expected) { return bytes <= expected + 8 && bytes + 256 >= expected; }

static const struct concurrent_step {
  uint64_t live, allocated, below_goal; /* of the trigger, after one such cycle */
} concurrent_steps[] = {
    {100 * MIB, 0, 4 * MIB},          /* the least distance: the least goal */
    {40 * MIB, 0, 2 * MIB},           /* or 5 % of the way */
    {100 * MIB, 16 * MIB, 20 * MIB},  /* a quarter more than was allocated */
    {100 * MIB, 56 * MIB, 70 * MIB},  /* 30 % of the way at least */
    {100 * MIB, 500 * MIB, 70 * MIB}, /* whatever was allocated */
    {0, 0, 4 * MIB / 20},
    {0, 4 * MIB, 4 * MIB / 10 * 7},
};
enum { CONCURRENT_STEPS = sizeof concurrent_steps / sizeof concurrent_steps[0] };

START_TEST(trigger_before_goal) {
  const struct concurrent_step *s = &concurrent_steps[_i];
  struct pacer p;
  pacer_init(&p, 100);
  ended_beside(&p, s->live, s->allocated);
  uint64_t below = p.goal - p.trigger;
  REQUIRE(p.goal == (s->live > 2 * MIB ? 2 * s->live : 4 * MIB));
  REQUIRE_MSG(is_about(below, s->below_goal), "%lu", (unsigned long)below);
  ended(&p, s->live, 1); /* after a stop the goal is the trigger again */
  REQUIRE(p.trigger == p.goal);
}
END_TEST

/* The most of the last four samples counts, per byte to mark. */
START_TEST(samples_remembered) {
  struct pacer p;
  pacer_init(&p, 100);
  ended_beside(&p, 100 * MIB, 40 * MIB);
  for (int i = 0; i < PACER_SAMPLES - 1; i++) {
    ended_beside(&p, 100 * MIB, 16 * MIB);
    REQUIRE(is_about(p.goal - p.trigger, 50 * MIB));
  }
  ended_beside(&p, 100 * MIB, 16 * MIB);
  REQUIRE_MSG(is_about(p.goal - p.trigger, 20 * MIB), "%lx", (unsigned long)(p.goal - p.trigger));
  ended_beside(&p, 200 * MIB, 32 * MIB);
  REQUIRE(is_about(p.goal - p.trigger, 40 * MIB));
}
END_TEST

/* Two threads, one of which assisted all the time, and half of the marking done by it: without it twice the
 * time, and twice the allocation in it. */
START_TEST(assists_corrected_for) {
  struct pacer p;
  pacer_init(&p, 100);
  struct pacer_report r = {.live = 100 * MIB, .heap_at_start = 150 * MIB, .heap_at_end = 154 * MIB, .threads = 2};
  r.mark_ns = r.mutator_assist_ns = r.cycle_cpu_ns = 1000000;
  r.concurrent = true;
  pacer_cycle_ended(&p, &r);
  REQUIRE_MSG(is_about(p.goal - p.trigger, 20 * MIB), "%lx", (unsigned long)(p.goal - p.trigger));
}
END_TEST

/* ---- the memory limit ---- */

static const struct limit_step {
  int percent;
  uint64_t live, limit, overhead, goal; /* MiB */
} limit_steps[] = {
    {100, 100, 1000, 0, 200},                              /* far away: no effect */
    {100, 600, 1000, 0, 970},                              /* 3 % stay free */
    {100, 600, 1000, 100, 873}, {-1, 600, 1000, 100, 873}, /* with percent off as well */
    {-1, 10, 1000, 0, 970},     {100, 0, 3, 1, 1},         /* below the least goal; at least 1 MiB stays free */
    {100, 990, 1000, 0, 990},                              /* never below live */
    {100, 990, 500, 0, 990},    {-1, 990, 500, 600, 990},
};
enum { LIMIT_STEPS = sizeof limit_steps / sizeof limit_steps[0] };

START_TEST(limited) {
  const struct limit_step *s = &limit_steps[_i];
  struct pacer p;
  pacer_init(&p, s->percent);
  ended(&p, s->live * MIB, 1);
  pacer_set_limit(&p, s->limit * MIB);
  pacer_set_overhead(&p, s->overhead * MIB);
  REQUIRE_MSG(p.goal == s->goal * MIB && p.trigger == p.goal, "%lu KiB", (unsigned long)p.goal / 1024);
  pacer_set_limit(&p, UINT64_MAX);
  REQUIRE(s->percent < 0 ? p.trigger == NEVER : p.trigger >= 2 * s->live * MIB);
}
END_TEST

/* Stops of 90 ms in intervals of 100 with 10 MiB allocated: the bucket is full after 13 (1.25 s of 1 s leeway), and
 * then the goal is what is allocated in three times the stop, less the part of that in which the program stands. */
START_TEST(limiter_fills) {
  struct pacer p;
  struct pacer_report r = {.live = 500 * MIB, .mark_ns = 90000000, .interval_ns = 100000000, .threads = 4};
  pacer_init(&p, 100);
  p.cpus = 4;
  pacer_set_limit(&p, 400 * MIB);
  r.heap_at_end = r.heap_at_start = r.live + 10 * MIB;
  for (int i = 1; i <= 13; i++) {
    pacer_cycle_ended(&p, &r);
    REQUIRE_MSG((p.goal > r.live) == (i == 13), "%d: %lu", i, (unsigned long)p.goal);
  }
  REQUIRE_MSG(p.goal > 700 * MIB && p.goal <= 770 * MIB, "%lu", (unsigned long)p.goal / MIB);
  r.interval_ns = 1000000000; /* a calm second: within the limit again */
  pacer_cycle_ended(&p, &r);
  REQUIRE(p.goal == r.live);
}
END_TEST

/* ---- assists ---- */

START_TEST(debt_rises) {
  struct pacer p;
  pacer_init(&p, 100);
  REQUIRE(pacer_assist_debt(&p, 0, 0) == 0);
  ended_beside(&p, 100 * MIB, 64 * MIB); /* trigger 130, goal 200 */
  pacer_cycle_started(&p, 130 * MIB);
  REQUIRE(pacer_assist_debt(&p, 138 * MIB, 0) == 0);
  uint64_t late = pacer_assist_debt(&p, 150 * MIB, 0), on_time = pacer_assist_debt(&p, 150 * MIB, 50 * MIB);
  REQUIRE_MSG(late == 2 * 1024 + 1 && on_time == 0, "%lu", (unsigned long)late);
  uint64_t before = late;
  for (uint64_t now = 150 * MIB; now < 400 * MIB; now += MIB / 8) { /* rises with the heap, and is finite */
    uint64_t d = pacer_assist_debt(&p, now, 0);
    REQUIRE(d >= before && d < 1024 * 1024 * 1024);
    before = d;
  }
  REQUIRE(pacer_assist_debt(&p, 220 * MIB, 0) == 220 * MIB / (64 * KIB) * 1024 + 1);
  REQUIRE(pacer_assist_debt(&p, 150 * MIB, 101 * MIB) == 0); /* more than expected, but early */
  REQUIRE(pacer_assist_debt(&p, 195 * MIB, 101 * MIB) > 5 * 1024);
  for (uint64_t now = 0; now < 400 * MIB; now += MIB) /* falls with what is marked */
    REQUIRE(pacer_assist_debt(&p, now, 90 * MIB) <= pacer_assist_debt(&p, now, 10 * MIB));
  pacer_set_percent(&p, -1);
  REQUIRE(pacer_assist_debt(&p, 1000 * MIB, 0) == 0);
}
END_TEST

START_TEST(debt_when_started_late) {
  struct pacer p;
  pacer_init(&p, 100);
  ended(&p, 100 * MIB, 1);
  pacer_cycle_started(&p, 200 * MIB); /* at the goal: a tenth further */
  REQUIRE(pacer_assist_debt(&p, 202 * MIB, 0) == 0 && pacer_assist_debt(&p, 205 * MIB, 0) > 0);
  REQUIRE(pacer_most(&p) == 2 * 200 * MIB + 64 * MIB);
  pacer_cycle_started(&p, 2000 * MIB); /* one huge object */
  REQUIRE(pacer_most(&p) == 2 * 2000 * MIB + 64 * MIB);
  REQUIRE(pacer_assist_debt(&p, 2020 * MIB, 0) == 0 && pacer_assist_debt(&p, 2100 * MIB, 0) == 1025);
}
END_TEST

START_TEST(extremes) {
  static const uint64_t bytes[] = {0, 1, 4096, 64 * MIB, UINT64_MAX / 4, UINT64_MAX / 2, UINT64_MAX};
  enum { N = sizeof bytes / sizeof bytes[0] };
  for (unsigned i = 0; i < N * N * N; i++) {
    uint64_t a = bytes[i % N], b = bytes[i / N % N], c = bytes[i / N / N];
    struct pacer p;
    struct pacer_report r = {a, c, b, c, b, c, a, b, c, 64, true};
    pacer_init(&p, i % 2 ? 100 : -1);
    pacer_set_limit(&p, c);
    for (int k = 0; k < 6; k++) pacer_cycle_ended(&p, &r);
    REQUIRE(p.trigger <= p.goal && (p.trigger == NEVER || p.trigger >= p.live));
    pacer_cycle_started(&p, b);
    REQUIRE(pacer_assist_debt(&p, a, c) < UINT64_MAX && pacer_assist_debt(&p, c, a) < UINT64_MAX);
  }
}
END_TEST

START_TEST(a_quarter_marks) {
  static const unsigned expected[][2] = {{1, 1}, {2, 1},  {4, 1},   {6, 2},
                                         {8, 2}, {10, 3}, {64, 16}, {1000, MARKERS_MAX}};
  struct pacer p;
  pacer_init(&p, 100);
  ended(&p, 64 * MIB, 1);
  for (unsigned i = 0; i < sizeof expected / sizeof expected[0]; i++)
    REQUIRE_MSG(pacer_markers(&p, expected[i][0]) == expected[i][1], "%u", expected[i][0]);
  ended(&p, 64 * MIB - 1, 1);
  REQUIRE(pacer_markers(&p, 64) == 1);
}
END_TEST

/* ---- workloads whose cycles stop the program ---- */

/* After cycle n, `live(n)` bytes survive. The heap grows by steps until the trigger. */
struct workload {
  const char *name;
  int percent, later_percent; /* the second from cycle 5 on */
  uint64_t (*live)(unsigned cycle);
  uint64_t allocate; /* bytes in all */
  unsigned cycles;   /* expected, worked out by hand */
  uint64_t peak;     /* expected largest heap */
};

static uint64_t tiny(unsigned n) { return n % 2 * 100; }
static uint64_t steady(unsigned n) { return n * 0 + 10 * MIB; }
static uint64_t growing(unsigned n) { return n * 4 * MIB; }
static uint64_t burst(unsigned n) { return n == 3 ? 100 * MIB : 5 * MIB; }

/* MiB allocated when a cycle starts. steady, 100 %: 4, 14, 24 ... 94. growing: 4, 8, 16, 28 ... 116. burst: 4, 9,
 * 14, then 100 more, then 5 each: 114 ... 134. percent rises: 4, 14, 24, 34, 44, then every 40. */
static const struct workload workloads[] = {
    {"tiny heap", 100, 100, tiny, 40 * MIB, 9, 4 * MIB + 100},
    {"steady", 100, 100, steady, 100 * MIB, 10, 20 * MIB},
    {"steady, eager", 10, 10, steady, 20 * MIB, 20, 11 * MIB},
    {"steady, lazy", 300, 300, steady, 100 * MIB, 3, 40 * MIB},
    {"growing", 100, 100, growing, MIB + 4 * MIB + 4 * MIB * 28, 8, 56 * MIB},
    {"burst", 100, 100, burst, 135 * MIB, 8, 200 * MIB},
    {"percent rises", 100, 400, steady, 125 * MIB, 7, 50 * MIB},
    {"percent falls", 400, 10, steady, 200 * MIB, 28, 50 * MIB},
    {"off", -1, -1, steady, 1000 * MIB, 0, 1000 * MIB},
    {"switched on later", 100, -1, steady, 200 * MIB, 5, 166 * MIB},
};
enum { WORKLOADS = sizeof workloads / sizeof workloads[0] };

START_TEST(simulated) {
  const struct workload *w = &workloads[_i];
  const uint64_t step = 1024;
  uint64_t heap_bytes = 0, peak = 0;
  unsigned cycles = 0;
  struct pacer p;
  pacer_init(&p, w->percent);
  for (uint64_t at = 0; at < w->allocate; at += step) {
    if (heap_bytes >= p.trigger) {
      heap_bytes = w->live(++cycles);
      ended(&p, heap_bytes, 1);
      if (cycles == 5) pacer_set_percent(&p, w->later_percent);
    }
    heap_bytes += step;
    if (heap_bytes > peak) peak = heap_bytes;
  }
  REQUIRE_MSG(cycles == w->cycles, "%s: %u cycles", w->name, cycles);
  REQUIRE_MSG(peak >= w->peak - step && peak <= w->peak + step, "%s: peak %lu KiB", w->name,
              (unsigned long)peak / 1024);
}
END_TEST

/* ---- workloads whose cycles run beside the program ---- */

/* Threads allocate at a rate, assist when the pacer says so, and share the processors with the markers. Time passes
 * with every QUANTUM allocated; units are nanoseconds of CPU and bytes. */
#define QUANTUM (32 * KIB)
#define START_NS 300000 /* wall time from the start of a cycle until markers mark */
#define WARM 8          /* cycles not counted in the shares */

struct load {
  const char *name;
  int percent, later_percent; /* the second from the middle of cycle 20 on */
  unsigned cpus, threads;
  uint64_t limit;                                  /* MiB; 0: none */
  unsigned rate, speed;                            /* MB/s per thread, per marker */
  uint64_t roots;                                  /* MiB */
  uint64_t (*live)(unsigned cycle, uint64_t full); /* bytes that cycle n, started at this heap, must mark */
  unsigned (*pace)(unsigned cycle);                /* factor on rate */
  unsigned cycles;
  unsigned cpu_least, cpu_most; /* collector's share of CPU time, percent; above 50 where it must break the limit */
  unsigned marking_most;        /* share of wall time in which a cycle runs, percent */
  bool settles;                 /* after the first WARM cycles the trigger stays within 5 % */
};

enum births { WHITE, BLACK, BLACK_SEEN, BIRTHS }; /* free at once, count as live, and in pacer_assist_debt's marked */

struct sim {
  const struct load *l;
  enum births births;
  struct pacer p;
  uint64_t heap, work, marked, start; /* of the running cycle */
  uint64_t started_ns, ended_ns, now_ns, assist_ns, marker_ns;
  unsigned cycle;
  /* results */
  uint64_t counted_from_ns, cpu_ns, marking_ns, peak;
  uint64_t worst; /* heap at the end over max(goal, heap at the start), per mille */
  uint64_t first_trigger, low, high;
};

static uint64_t live_none(unsigned n, uint64_t full) { return n * 0 + full * 0 + 10000; }
static uint64_t live_32(unsigned n, uint64_t full) { return n * 0 + full * 0 + 32 * MIB; }
static uint64_t live_256(unsigned n, uint64_t full) { return n * 0 + full * 0 + 256 * MIB; }
static uint64_t live_768(unsigned n, uint64_t full) { return n * 0 + full * 0 + 768 * MIB; }
static uint64_t live_grows(unsigned n, uint64_t full) { return full * 0 + 64 * MIB + n * 24 * MIB; }
static uint64_t live_all(unsigned n, uint64_t full) { return n * 0 + full; }
static uint64_t live_shrinks(unsigned n, uint64_t full) {
  return full * 0 + (n < 14 ? 1024 * MIB : n < 20 ? 256 * MIB : 16 * MIB);
}
static uint64_t live_leaps(unsigned n, uint64_t full) { return n % 8 == 7 ? full : 64 * MIB; }

static unsigned even(unsigned n) { return n * 0 + 1; }
static unsigned burst_at_20(unsigned n) { return n >= 20 && n < 26 ? 20 : 1; }
static unsigned bursts(unsigned n) { return n % 5 == 4 ? 20 : 1; }

static const struct load loads[] = {
    {"steady", 100, 100, 4, 2, 0, 300, 2000, 1, live_256, even, 40, 2, 30, 40, true},
    {"steady, one thread, two cpus", 100, 100, 2, 1, 0, 1000, 2000, 1, live_256, even, 40, 5, 30, 60, true},
    {"steady, fast allocation", 100, 100, 2, 2, 0, 2000, 1000, 1, live_256, even, 40, 20, 70, 100, false},
    {"steady, large roots", 100, 100, 4, 2, 0, 300, 2000, 128, live_32, even, 40, 5, 45, 80, true},
    {"tiny", 100, 100, 2, 1, 0, 1000, 2000, 0, live_none, even, 60, 0, 30, 30, true},
    {"tiny, fast", 100, 100, 4, 4, 0, 2000, 2000, 1, live_none, even, 60, 0, 30, 75, true},
    {"64 cpus", 100, 100, 64, 64, 0, 300, 1500, 8, live_768, even, 30, 2, 30, 80, true},
    {"64 cpus, one marker", 100, 100, 64, 64, 0, 300, 1500, 8, live_32, even, 40, 1, 30, 75, true},
    {"growing", 100, 100, 4, 2, 0, 300, 2000, 1, live_grows, even, 40, 2, 30, 60, false},
    {"all survives", 100, 100, 4, 4, 0, 1000, 1000, 1, live_all, even, 11, 0, 60, 100, false},
    {"shrinking", 100, 100, 4, 2, 0, 300, 2000, 1, live_shrinks, even, 40, 0, 30, 60, false},
    {"leaps", 100, 100, 4, 2, 0, 300, 2000, 1, live_leaps, even, 40, 0, 30, 60, false},
    {"burst", 100, 100, 4, 2, 0, 100, 2000, 1, live_256, burst_at_20, 40, 0, 50, 100, false},
    {"bursts", 100, 100, 4, 2, 0, 100, 2000, 1, live_256, bursts, 40, 0, 50, 100, false},
    {"percent rises", 25, 400, 4, 2, 0, 300, 2000, 1, live_256, even, 40, 0, 30, 60, false},
    {"percent falls", 400, 25, 4, 2, 0, 300, 2000, 1, live_256, even, 40, 0, 60, 100, false},
    {"switched off", 100, -1, 4, 2, 0, 300, 2000, 1, live_256, even, 21, 0, 30, 60, false},
    {"limit above", 100, 100, 4, 2, 2048, 300, 2000, 1, live_256, even, 40, 2, 30, 40, true},
    {"limit near", 100, 100, 4, 2, 1024, 100, 2000, 1, live_768, even, 60, 0, 50, 100, false},
    {"limit close", 100, 100, 2, 2, 820, 300, 2000, 1, live_768, even, 200, 40, 55, 100, false},
    {"limit below live", 100, 100, 2, 2, 512, 300, 2000, 1, live_768, even, 200, 40, 55, 100, false},
    {"off, with limit", -1, -1, 4, 2, 1024, 300, 2000, 1, live_256, even, 40, 0, 30, 40, true},
    {"off, limit below live", -1, -1, 2, 2, 512, 300, 2000, 1, live_768, even, 200, 40, 55, 100, false},
    {"off, limit below, 8 cpus", -1, -1, 8, 8, 512, 300, 2000, 1, live_768, even, 300, 25, 55, 100, false},
};
enum { LOADS = sizeof loads / sizeof loads[0] };
#define OVERHEAD (16 * MIB)

static void sim_start(struct sim *s) {
  s->start = s->heap;
  s->work = min_size(s->l->live(s->cycle, s->heap), s->heap) + s->l->roots * MIB;
  s->marked = s->assist_ns = s->marker_ns = 0;
  s->started_ns = s->now_ns;
  pacer_cycle_started(&s->p, s->heap);
}

static void sim_judge(struct sim *s, const struct pacer_report *r) {
  uint64_t goal = s->p.goal > s->start ? s->p.goal : s->start, worst = s->heap * 1000 / goal;
  REQUIRE_MSG(s->heap <= goal + goal / 10 + MIB, "%s, cycle %u: %lu MiB, goal %lu", s->l->name, s->cycle,
              (unsigned long)(s->heap / MIB), (unsigned long)(goal / MIB));
  if (s->cycle < WARM) {
    s->counted_from_ns = s->now_ns;
    return;
  }
  if (worst > s->worst) s->worst = worst;
  if (s->heap > s->peak) s->peak = s->heap;
  s->cpu_ns += r->cycle_cpu_ns + r->mutator_assist_ns;
  s->marking_ns += r->mark_ns;
}

static void sim_end(struct sim *s) {
  struct pacer_report r = {.heap_at_start = s->start, .heap_at_end = s->heap, .concurrent = true};
  r.live = s->work - s->l->roots * MIB + (s->births == WHITE ? 0 : s->heap - s->start);
  r.mark_ns = s->now_ns - s->started_ns;
  r.interval_ns = s->now_ns - s->ended_ns;
  r.mutator_assist_ns = s->assist_ns;
  r.cycle_cpu_ns = s->marker_ns;
  r.root_bytes = s->l->roots * MIB;
  r.threads = s->l->threads;
  sim_judge(s, &r);
  pacer_cycle_ended(&s->p, &r);
  s->ended_ns = s->now_ns;
  s->heap = r.live;
  s->cycle++;
  if (s->cycle == WARM) s->low = s->high = s->p.trigger;
  if (s->cycle > WARM && s->p.trigger < s->low) s->low = s->p.trigger;
  if (s->cycle > WARM && s->p.trigger > s->high) s->high = s->p.trigger;
}

/* Allocates a quantum, with what has to be marked for it, and lets the markers mark in the same time. */
static void sim_step(struct sim *s, bool marking) {
  const struct load *l = s->l;
  uint64_t seen = s->marked + (s->births == BLACK_SEEN ? s->heap - s->start : 0);
  uint64_t debt = marking ? pacer_assist_debt(&s->p, s->heap, seen) : 0;
  uint64_t assist = min_size(debt * (QUANTUM / 1024), s->work - s->marked);
  unsigned markers = marking ? pacer_markers(&s->p, l->cpus) : 0;
  unsigned wanted = markers + l->threads, crowd = wanted > l->cpus ? wanted : l->cpus;
  uint64_t assist_ns = assist * 1000 / l->speed;
  uint64_t own_ns = QUANTUM * 1000 / (l->rate * l->pace(s->cycle));
  uint64_t wall_ns = (own_ns + assist_ns) * crowd / (l->threads * l->cpus);
  uint64_t marker_ns = wall_ns * markers * l->cpus / crowd;
  s->heap += QUANTUM;
  s->now_ns += wall_ns;
  if (!marking) return;
  s->assist_ns += assist_ns;
  s->marked += assist;
  if (s->now_ns < s->started_ns + START_NS) return;
  s->marker_ns += marker_ns;
  s->marked += marker_ns * l->speed / 1000;
}

static void sim_cycle(struct sim *s) {
  while (s->heap < s->p.trigger && s->heap < 8 * GIB) {
    if (s->cycle == 20 && s->heap > (s->p.live + s->p.trigger) / 2) pacer_set_percent(&s->p, s->l->later_percent);
    sim_step(s, false);
  }
  sim_start(s);
  do {
    sim_step(s, true);
    s->marked = min_size(s->marked, s->work);
  } while (s->marked < s->work);
  sim_end(s);
}

/* The first cycle marks beside the program after one that stopped it. */
static void sim_run(struct sim *s) {
  pacer_init(&s->p, s->l->percent);
  s->p.cpus = s->l->cpus;
  if (s->l->limit != 0) pacer_set_limit(&s->p, s->l->limit * MIB);
  pacer_set_overhead(&s->p, OVERHEAD);
  s->heap = s->l->live(0, 4 * MIB);
  pacer_cycle_ended(&s->p,
                    &(struct pacer_report){.live = s->heap, .root_bytes = s->l->roots * MIB, .threads = s->l->threads});
  while (s->cycle < s->l->cycles) sim_cycle(s);
}

/* Prints the rows of the table in docs/pacing.md. */
START_TEST(simulated_beside) {
  static const char *const births[] = {"white", "black", "seen"};
  const struct load *l = &loads[_i / BIRTHS];
  struct sim s = {.l = l, .births = (enum births)(_i % BIRTHS)};
  sim_run(&s);
  uint64_t wall_ns = s.now_ns - s.counted_from_ns;
  uint64_t cpu = s.cpu_ns * 100 / (wall_ns * l->cpus), marking = s.marking_ns * 100 / wall_ns;
  printf("| %s, %s | %lu | %lu | %lu | %lu | %lu | %lu |\n", l->name, births[s.births],
         (unsigned long)(wall_ns / 1000000), (unsigned long)cpu, (unsigned long)marking, (unsigned long)(s.worst / 10),
         (unsigned long)(s.peak / MIB), (unsigned long)((s.high - s.low) * 100 / s.high));
  REQUIRE_MSG(cpu >= l->cpu_least && cpu <= l->cpu_most, "%s: %lu %% CPU", l->name, (unsigned long)cpu);
  REQUIRE_MSG(l->limit == 0 || l->cpu_most > 50 || s.peak + OVERHEAD <= l->limit * MIB, "%s: %lu MiB", l->name,
              (unsigned long)(s.peak / MIB));
  REQUIRE_MSG(marking <= l->marking_most, "%s: marking %lu %%", l->name, (unsigned long)marking);
  REQUIRE_MSG(!l->settles || s.high - s.low <= s.high / 20, "%s: trigger %lu to %lu", l->name, (unsigned long)s.low,
              (unsigned long)s.high);
}
END_TEST

int main(void) {
  Suite *s = suite_create("pacer");
  TCase *tc = suite_case(s, "pacer");
  tcase_add_loop_test(tc, single_steps, 0, STEPS);
  tcase_add_test(tc, no_overflow);
  tcase_add_test(tc, least_goal_per_thread);
  tcase_add_test(tc, a_floor);
  tcase_add_test(tc, by_divisor);
  tcase_add_loop_test(tc, trigger_before_goal, 0, CONCURRENT_STEPS);
  tcase_add_test(tc, samples_remembered);
  tcase_add_test(tc, assists_corrected_for);
  tcase_add_loop_test(tc, limited, 0, LIMIT_STEPS);
  tcase_add_test(tc, limiter_fills);
  tcase_add_test(tc, debt_rises);
  tcase_add_test(tc, debt_when_started_late);
  tcase_add_test(tc, extremes);
  tcase_add_test(tc, a_quarter_marks);
  tcase_add_loop_test(tc, simulated, 0, WORKLOADS);
  tcase_add_loop_test(tc, simulated_beside, 0, LOADS * BIRTHS);
  return suite_main(s);
}
