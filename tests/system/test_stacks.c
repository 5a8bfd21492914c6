/* test_stacks.c - a stack of 200 MB, full of references, through cycles that meet it at every depth. */
#include "beside.h"
#include "cases.h"

#define MIB ((size_t)1024 * 1024)
enum { FRAME_WORDS = 128, FRAME_BYTES = FRAME_WORDS * 8 };

static struct {
  size_t depth;      /* frames to go down */
  size_t meet_every; /* at each multiple of this depth, wait for a whole cycle; 0: never */
  size_t held, waited;
  void *volatile **word; /* of each frame: where its reference is */
  uint64_t *tag;         /* of the object it refers to */
  struct rng rng;
} dive;

static NOINLINE void *hold_object(uint64_t tag) {
  void *p = gc_alloc(40);
  REQUIRE(p != NULL);
  pattern_fill(p, 40, tag);
  return p;
}

static void check_held(size_t depth) {
  void *p = *dive.word[depth];
  REQUIRE_MSG(gc_base(p) == p && pattern_ok(p, 40, dive.tag[depth]), "lost in frame %zu", depth);
}

/* The references of this frame and of a random one above it change places. */
static void swap_frames(size_t depth) {
  size_t other = rng_below(&dive.rng, depth + 1);
  void *p = *dive.word[other];
  uint64_t tag = dive.tag[other];
  *dive.word[other] = *dive.word[depth];
  dive.tag[other] = dive.tag[depth];
  *dive.word[depth] = p;
  dive.tag[depth] = tag;
}

static void meet_a_cycle(size_t depth) {
  if (dive.meet_every == 0 || depth % dive.meet_every != 0) return;
  beside_await(1);
  dive.waited++;
}

/* One reference in each frame, at a changing place. On the way up each is checked, and forgotten. */
static NOINLINE void go_down(size_t depth) {
  void *volatile frame[FRAME_WORDS - 16];
  for (size_t i = 0; i < FRAME_WORDS - 16; i++) frame[i] = NULL;
  dive.word[depth] = &frame[depth % (FRAME_WORDS - 16)];
  *dive.word[depth] = hold_object(depth);
  dive.tag[depth] = depth;
  dive.held++;
  swap_frames(depth);
  meet_a_cycle(depth);
  if (depth + 1 < dive.depth)
    go_down(depth + 1);
  else
    beside_await(2);
  meet_a_cycle(depth);
  swap_frames(depth);
  check_held(depth);
  *dive.word[depth] = NULL;
  dive.held--;
}

/* Twice, unless it takes long: the second time over what the first has left, which is not cleared. */
static void *dive_in(void *unused) {
  go_down(0);
  if (dive.meet_every == 0) go_down(0);
  REQUIRE(dive.held == 0);
  return unused;
}

/* pause: see beside.h. Marking such a stack takes long, and the diver has to get on in between. */
static void run_dive(size_t bytes, size_t meetings, size_t pause) {
  pthread_t t;
  pthread_attr_t attr;
  dive.depth = bytes / FRAME_BYTES;
  dive.rng.state = suite_seed();
  dive.word = malloc(dive.depth * sizeof(*dive.word));
  dive.tag = malloc(dive.depth * sizeof *dive.tag);
  REQUIRE(dive.word != NULL && dive.tag != NULL);
  dive.meet_every = meetings != 0 ? dive.depth / meetings : 0;
  REQUIRE(pthread_attr_init(&attr) == 0 && pthread_attr_setstacksize(&attr, bytes + bytes / 4 + MIB) == 0);
  beside_begin(pause);
  REQUIRE(pthread_create(&t, &attr, dive_in, NULL) == 0);
  REQUIRE(pthread_join(t, NULL) == 0);
  beside_end();
  printf("%zu MiB, %zu meetings, %lu cycles", bytes / MIB, dive.waited, beside_cycles());
}

static void deep(void) { run_dive(200 * MIB, 0, 300000); }
static void deep_meeting_cycles(void) { run_dive(200 * MIB, 3 * suite_scale(), 200000); }
static void usual_depth(void) { run_dive(6 * MIB, 50 * suite_scale(), 2000); }

static const struct test_case cases[] = {
    {"deep", deep, NULL},
    {"deep_meeting_cycles", deep_meeting_cycles, NULL},
    {"usual_depth", usual_depth, NULL},
};

int main(int argc, char **argv) { return cases_main(argc, argv, "stacks", CASES(cases)); }
