/* pacer.c - see pacer.h. Modelled on the pacer of Go since 1.19 (src/runtime/mgcpacer.go, mgclimit.go); formulas,
 * sources and differences are in docs/pacing.md.
 *
 *   goal     live * (1 + percent / 100), at least 4 MiB * percent / 100 per allocating thread, and the floor; lowered to
 *            what the memory limit leaves, unless the collector has had more than its half of the CPU
 *   trigger  goal less what the program will allocate while the cycle marks: the most it allocated per
 *            byte of marking in the last cycles, times the bytes to mark, and a quarter more
 *   debt     marking that is left over heap that is left, for threads that allocate ahead of the schedule
 *
 * The least goal is per running thread that allocates, unlike Go's: two threads that share the 4 MiB would start
 * twice as many cycles as two processes do, each with a stop of the other thread (0.57 of the processes' rate at 64
 * bytes).
 *
 * For programs of the other collector (pacer_set_divisor) the goal is its heap's size instead: a process should be no larger on
 * this library, nor collect more often in the same memory. */
#include "gc/pacer.h"

#define MOST (UINT64_MAX / 2)   /* what sums and products stop at: two of them stay below UINT64_MAX */
#define WORK_LEAST (64 * KIB)   /* bytes of marking that any cycle is taken for */
#define RUNWAY_LEAST (64 * KIB) /* bytes of heap over which a cycle that is late spreads its work */
#define LIMIT_ROOM (1 * MIB)    /* bytes kept free below the memory limit, at least (Go) */
#define LIMIT_ROOM_PERCENT 3    /* of what the limit leaves, kept free (Go) */
#define BUCKET_NS 1000000000u   /* per processor: the collector's leeway above its half (Go) */
/* The other library allocates, between collections, by this rule at least, and until its heap, which grows in steps of a third or
 * 8 MiB, is used up: some more. Small heaps grow by more; the first collection finds nothing there. */
#define STEP_SHARE 5 /* of what the rule says, one part more, ... */
#define STEP_MOST (1 * MIB)
#define RULE_LARGE (8 * MIB) /* beyond this a part less: what spans hold beside live objects grows with the heap */
#define LARGE_SHARE 4
#define SMALL_TIMES 2 /* what is live, or ... */
#define SMALL_GROWTH (1280 * KIB)
#define SMALL_GOAL (480 * KIB)
#define USUAL_DIVISOR 3             /* the above are measured with this one */
#define FAR_BEYOND (64 * MIB)       /* twice the goal, and so much: a cycle beside the program has lost the race */
#define CONCURRENT_LEAST (64 * MIB) /* bytes to mark that justify a second marker beside the program */

/* ---- arithmetic ---- */

static uint64_t plus(uint64_t a, uint64_t b) { return min_size(a, MOST) + min_size(b, MOST); }
static uint64_t minus(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }

/* a * b / c, rounded down, at most MOST. c > 0. */
static uint64_t mul_div(uint64_t a, uint64_t b, uint64_t c) {
  __uint128_t exact = (__uint128_t)a * b / c;
  return exact < MOST ? (uint64_t)exact : MOST;
}

static uint64_t times(uint64_t a, uint64_t b) { return mul_div(a, b, 1); }

/* ---- goal ---- */

static uint64_t goal_by_percent(const struct pacer *p) {
  uint64_t percent = (uint64_t)p->percent;
  uint64_t least = max_size(mul_div(HEAP_MIN_GOAL * (uint64_t)p->threads, percent, 100), p->floor);
  return max_size(plus(p->live, mul_div(p->live, percent, 100)), least);
}

/* There, objects without pointers count an eighth of others. */
static uint64_t goal_by_divisor(const struct pacer *p) {
  uint64_t scanned = minus(p->live, p->noscan);
  uint64_t rule = plus(plus(scanned, scanned), plus(p->noscan / 4, p->roots)) / p->divisor;
  uint64_t usual = plus(rule, min_size(rule / STEP_SHARE, STEP_MOST)) - minus(rule, RULE_LARGE) / LARGE_SHARE;
  uint64_t small = mul_div(min_size(times(p->live, SMALL_TIMES), SMALL_GROWTH), USUAL_DIVISOR, p->divisor);
  uint64_t least = max_size(mul_div(SMALL_GOAL, USUAL_DIVISOR, p->divisor), p->floor);
  return max_size(plus(p->live, max_size(usual, small)), least);
}

static uint64_t goal_by_growth(const struct pacer *p) {
  if (p->percent < 0) return UINT64_MAX;
  return p->divisor != 0 ? goal_by_divisor(p) : goal_by_percent(p);
}

static bool has_had_its_half(const struct pacer *p) { return p->cpu_ns >= times(BUCKET_NS, p->cpus); }

/* Never below the live heap: a cycle cannot end there. Relief at most doubles the heap. */
static uint64_t goal_by_limit(const struct pacer *p) {
  if (p->limit == UINT64_MAX) return UINT64_MAX;
  uint64_t left = minus(p->limit, p->overhead), room = mul_div(left, LIMIT_ROOM_PERCENT, 100);
  uint64_t least = p->live;
  if (has_had_its_half(p)) least = plus(p->live, min_size(p->relief, max_size(p->live, HEAP_MIN_GOAL)));
  return max_size(minus(left, max_size(room, LIMIT_ROOM)), least);
}

/* ---- trigger ---- */

static uint64_t work_expected(const struct pacer *p) { return max_size(plus(p->live, p->roots), WORK_LEAST); }

static uint64_t allocation_expected(const struct pacer *p) {
  uint64_t most = 0;
  for (unsigned i = 0; i < PACER_SAMPLES; i++) most = max_size(most, p->samples[i]);
  return mul_div(most, work_expected(p), MIB);
}

/* At least 30 % of the way, so that cycles do not run back to back; some way before the goal, so that the next
 * sample is not lost in rounding: 5 % of the way or the least goal, whichever is less. */
static uint64_t trigger_below(const struct pacer *p) {
  uint64_t way = minus(p->goal, p->live), runway = allocation_expected(p);
  runway = max_size(plus(runway, runway / 4), min_size(way / 20, HEAP_MIN_GOAL));
  return p->goal - min_size(runway, mul_div(way, 7, 10));
}

static void update(struct pacer *p) {
  p->goal = min_size(goal_by_growth(p), goal_by_limit(p));
  p->trigger = p->goal == UINT64_MAX || !p->concurrent ? p->goal : trigger_below(p);
}

/* ---- what a cycle tells ---- */

/* Assists slow allocation down and marking up. What would have been allocated without them: while the markers
 * did all of the marking, and by threads that only allocated. Each correction is at most eightfold. */
static void take_sample(struct pacer *p, const struct pacer_report *r) {
  uint64_t threads_ns = times(r->mark_ns, p->threads);
  if (!r->concurrent || threads_ns == 0 || r->cycle_cpu_ns == 0) return;
  uint64_t all_ns = min_size(plus(r->cycle_cpu_ns, r->mutator_assist_ns), times(r->cycle_cpu_ns, 8));
  uint64_t program_ns = max_size(minus(threads_ns, r->mutator_assist_ns), threads_ns / 8 + 1);
  uint64_t bytes = mul_div(minus(r->heap_at_end, r->heap_at_start), all_ns, r->cycle_cpu_ns);
  bytes = mul_div(bytes, max_size(threads_ns, program_ns), program_ns);
  p->samples[p->next_sample] = mul_div(bytes, MIB, work_expected(p));
  p->next_sample = (p->next_sample + 1) % PACER_SAMPLES;
}

/* CPU time that the collector took from the program. A stop takes all processors (Go). */
static uint64_t cpu_spent(const struct pacer *p, const struct pacer_report *r) {
  uint64_t ns = plus(r->cycle_cpu_ns, r->mutator_assist_ns);
  if (!r->concurrent) ns = max_size(ns, times(r->mark_ns, p->cpus));
  return min_size(ns, times(r->interval_ns, p->cpus));
}

/* The bucket fills with the collector's time and leaks with the program's. It may hold twice what makes it full, since
 * it changes once per cycle: what a cycle spends beyond full must be given back too. */
static void fill_bucket(struct pacer *p, const struct pacer_report *r) {
  uint64_t spent = cpu_spent(p, r), rest = times(r->interval_ns, p->cpus) - spent;
  p->cpu_ns = min_size(minus(plus(p->cpu_ns, spent), rest), times(2 * (uint64_t)BUCKET_NS, p->cpus));
}

/* What the threads allocate in the time in which a cycle as dear as this one is a third of the CPU time. */
static void find_relief(struct pacer *p, uint64_t live_before, const struct pacer_report *r) {
  uint64_t all_ns = times(r->interval_ns, p->threads);
  uint64_t taken = plus(r->mutator_assist_ns, r->concurrent ? 0 : times(r->mark_ns, p->threads));
  uint64_t program_ns = max_size(minus(all_ns, taken), all_ns / 8 + 1);
  uint64_t wanted_ns = mul_div(cpu_spent(p, r), 3 * (uint64_t)p->threads, p->cpus);
  p->relief = mul_div(minus(r->heap_at_end, live_before), wanted_ns, program_ns);
}

void pacer_cycle_ended(struct pacer *p, const struct pacer_report *r) {
  uint64_t live_before = p->live;
  p->live = min_size(r->live, MOST);
  p->noscan = min_size(r->noscan, p->live);
  p->roots = r->root_bytes;
  p->threads = r->threads > 0 ? r->threads : 1;
  p->concurrent = r->concurrent;
  take_sample(p, r);
  fill_bucket(p, r);
  find_relief(p, live_before, r);
  update(p);
}

/* ---- while a cycle marks ---- */

/* The heap at which `done` of `all` should be marked: in proportion, after an eighth of the way for starting up. */
static uint64_t schedule(uint64_t start, uint64_t end, uint64_t done, uint64_t all) {
  uint64_t way = end - start;
  return start + way / 8 + mul_div(way - way / 8, min_size(done, all), all);
}

/* Near and past the end the work is spread over a twentieth, up to a tenth past the goal; from there on over
 * RUNWAY_LEAST, so that what is still unmarked falls by 1/e with each of these. */
static uint64_t runway(uint64_t heap_now, uint64_t end, uint64_t hard_end) {
  uint64_t soft = minus(end, heap_now), hard = min_size(minus(hard_end, heap_now), end / 20);
  return max_size(max_size(soft, hard), RUNWAY_LEAST);
}

void pacer_cycle_started(struct pacer *p, uint64_t heap_now) { p->start = min_size(heap_now, MOST); }

/* The work is what the last cycle marked, until more turns out to be marked or the heap is at its end: then it is all
 * of the heap. A cycle that starts at its goal or later ends a tenth further. */
uint64_t pacer_assist_debt(const struct pacer *p, uint64_t heap_now, uint64_t marked) {
  if (p->goal == UINT64_MAX) return 0;
  uint64_t hard_end = max_size(p->goal, p->start), work = work_expected(p);
  hard_end = plus(hard_end, hard_end / 10);
  uint64_t end = p->goal > p->start ? p->goal : hard_end;
  if (marked >= work || heap_now >= end) work = max_size(work, plus(heap_now, p->roots));
  if (heap_now < schedule(p->start, end, marked, work)) return 0;
  uint64_t left = max_size(minus(work, marked), WORK_LEAST);
  return mul_div(left, 1024, runway(heap_now, end, hard_end)) + 1;
}

/* Where there is little to mark, no debt slows a thread that makes pages faster than they can be cleaned: the heap of a program with
 * a few live objects grew to 4 GiB in one cycle. Until a cycle has started, `start` is the last one's. */
uint64_t pacer_most(const struct pacer *p) { return plus(times(max_size(p->goal, p->start), 2), FAR_BEYOND); }

/* A quarter of the processors, to the nearest (Go's background utilization). */
unsigned pacer_markers(const struct pacer *p, unsigned cpus) {
  if (plus(p->live, p->roots) < CONCURRENT_LEAST) return 1;
  return (unsigned)min_size(max_size((cpus + 2) / 4, 1), MARKERS_MAX);
}

/* ---- settings ---- */

void pacer_init(struct pacer *p, int percent) {
  *p = (struct pacer){.percent = percent, .cpus = 1, .limit = UINT64_MAX, .threads = 1};
  update(p);
}

void pacer_set_percent(struct pacer *p, int percent) {
  p->percent = percent;
  update(p);
}

void pacer_set_floor(struct pacer *p, uint64_t bytes) {
  p->floor = min_size(bytes, MOST);
  update(p);
}

void pacer_set_divisor(struct pacer *p, uint64_t divisor) {
  p->divisor = divisor;
  update(p);
}

void pacer_set_limit(struct pacer *p, uint64_t bytes) {
  p->limit = bytes;
  update(p);
}

void pacer_set_overhead(struct pacer *p, uint64_t bytes) {
  p->overhead = bytes;
  update(p);
}
