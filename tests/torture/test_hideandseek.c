/* test_hideandseek.c - threads that move the only references to objects as fast as they can, through every kind
 * of place that a program has, while others collect: the classic traps of a marker that runs beside the
 * program. A token is an object with an id; the program knows which ids exist.
 * Promises: a token is checked each time it is taken; at the end every id is found exactly once. Which
 *           moves are made follows from the seed; how they fall together with the cycles does not.
 * Places:   words on the heap (desks of one or two OS pages, a hall of 1 MiB, trays whose contents are moved in
 *           bulk, pockets of other tokens), in data, in a registered range, on stacks, in TLS, in registers.
 * Each case runs until both its moves and its cycles are enough; HOLDFAST_TEST_SCALE multiplies both. Torture builds give
 * up the processor all the time and mark with tiny stacks: a sixteenth of it, and the first two cases. */
#include <sys/mman.h>

#include "beside.h"
#include "cases.h"
#include "gc_stats.h"
#include "gc_typed.h"

#ifndef GC_TORTURE
#define GC_TORTURE 0
#endif

enum {
  TOKENS_EACH = 1500, /* for each player; about half as many as there are words for them */
  PLAYERS_MAX = 4,
  DESK = 1024,       /* words */
  HALL = 128 * 1024, /* words: 1 MiB */
  HALL_PAGE = 512,   /* words of the hall for each OS page, of which HALL_USED are used */
  HALL_USED = 8,
  LOBBY = 512,
  TRAY = 8192, /* words: 64 KiB, of which a window of WINDOW words is used */
  WINDOW = 700,
  POUCH = 16,
  LARGEST = 200000, /* bytes of a token */
  SHARE = GC_TORTURE ? 16 : 1,
};

/* -- tokens -- */
struct coin {
  struct coin *next;
  uint64_t tag;
};

struct token {
  uint64_t sum; /* of the next four */
  uint64_t id, tag, size, coins;
  struct token
      *pocket;        /* a token that only this one holds; unused, like purse, in noscan tokens; named in typed ones */
  struct coin *purse; /* coins that only this token holds */
  uint64_t body[];
};
typedef _Atomic(struct token *) word;

static uint64_t token_sum(const struct token *t) {
  return rng_mix(t->id + 3 * t->tag + 5 * t->size + 7 * t->coins) | UINT64_C(0xff) << 56;
}

static bool is_noscan(uint64_t tag) { return tag % 4 == 0; }

static bool is_typed(uint64_t tag) { return tag % 4 == 1; }

/* No token is so long that the layout repeats. */
static const gc_layout *token_layout(void) {
  static const size_t at[] = {offsetof(struct token, pocket), offsetof(struct token, purse)};
  return gc_layout_offsets(LARGEST + 8 - LARGEST % 8, at, 2);
}

static void *token_memory(size_t size, uint64_t tag) {
  if (is_typed(tag)) return gc_alloc_typed(size, token_layout());
  return is_noscan(tag) ? gc_alloc_noscan(size) : gc_alloc(size);
}

static size_t token_size(struct rng *r) {
  size_t dice = rng_below(r, 128), least = sizeof(struct token);
  if (dice == 0) return 33000 + rng_below(r, LARGEST - 33000);
  if (dice < 4) return 8192 + rng_below(r, 24000);
  if (dice < 20) return 512 + rng_below(r, 7680);
  return least + rng_below(r, 448);
}

static uint64_t coin_tag(const struct token *t, uint64_t i) { return pattern_word(t->tag, 1000000 + i); }

static void purse_fill(struct token *t, uint64_t coins) {
  for (t->coins = 0; t->coins < coins; t->coins++) {
    struct coin *c = gc_alloc(sizeof *c);
    REQUIRE(c != NULL);
    c->tag = coin_tag(t, t->coins);
    c->next = t->purse;
    t->purse = c;
  }
}

static void purse_check(const struct token *t) {
  const struct coin *c = t->purse;
  for (uint64_t i = t->coins; i-- > 0; c = c->next)
    REQUIRE_MSG(gc_base(c) == (const void *)c && c->tag == coin_tag(t, i), "token %" PRIu64 " lost a coin", t->id);
  REQUIRE_MSG(c == NULL, "token %" PRIu64 ": too many coins", t->id);
}

/* Everything but the pocket. */
static void token_write(struct token *t, uint64_t id, size_t size, uint64_t tag, uint64_t coins) {
  t->id = id;
  t->tag = tag;
  t->size = size;
  t->purse = NULL;
  purse_fill(t, coins);
  pattern_fill(t->body, size - sizeof *t, tag);
  t->sum = token_sum(t);
}

static NOINLINE struct token *token_new(struct rng *r, uint64_t id) {
  size_t size = token_size(r);
  uint64_t tag = rng_next(r) | UINT64_C(0xff) << 56;
  struct token *t = token_memory(size, tag);
  REQUIRE(t != NULL);
  t->pocket = NULL;
  token_write(t, id, size, tag, is_noscan(tag) ? 0 : rng_below(r, 4));
  return t;
}

/* The head first: it says how far the rest may be looked at. */
static void token_check(const struct token *t) {
  REQUIRE_MSG(gc_base(t) == (const void *)t, "a token was freed: %p", (const void *)t);
  REQUIRE_MSG(t->sum == token_sum(t) && t->id < TOKENS_EACH * PLAYERS_MAX && t->size <= LARGEST,
              "a token was overwritten: %p", (const void *)t);
  REQUIRE_MSG(pattern_ok(t->body, t->size - sizeof *t, t->tag), "token %" PRIu64 " of %" PRIu64 " bytes overwritten",
              t->id, t->size);
  purse_check(t);
}

/* -- the shared places -- */
static struct {
  word *desk[PLAYERS_MAX]; /* on the heap */
  word *hall;              /* on the heap */
  word lobby[LOBBY];       /* in data */
  word *cellar;            /* registered, LOBBY words */
  unsigned players, tokens;
  bool forced; /* a further thread collects without a break */
  uint64_t enough_moves, enough_cycles;
  atomic_ulong cycles;
  atomic_uint playing;
  pthread_barrier_t barrier;
  atomic_uint found[TOKENS_EACH * PLAYERS_MAX];
} game;

static __thread word tls_pouch[POUCH];

struct player {
  struct rng rng;
  uint64_t moves;
  word *tray[2]; /* on the heap; contents in the window of the current one only */
  size_t current, window;
  word pouch[POUCH]; /* the player lies on its thread's stack */
};

static word *hall_word(struct rng *r) {
  size_t page = rng_below(r, HALL / HALL_PAGE), k = rng_below(r, HALL_USED);
  return &game.hall[page * HALL_PAGE + (page * 37 + k * 61) % HALL_PAGE];
}

static word *any_word(struct player *p) {
  struct rng *r = &p->rng;
  switch (rng_below(r, 8)) {
    case 0: return hall_word(r);
    case 1: return &game.lobby[rng_below(r, LOBBY)];
    case 2: return &game.cellar[rng_below(r, LOBBY)];
    case 3: return &p->pouch[rng_below(r, POUCH)];
    case 4: return &tls_pouch[rng_below(r, POUCH)];
    case 5: return &p->tray[p->current][p->window + rng_below(r, WINDOW)];
    default: return &game.desk[rng_below(r, game.players)][rng_below(r, DESK)];
  }
}

/* -- the moves. hand: the token that only this thread's registers or frames hold, or NULL -- */
static struct token *swap(struct player *p, struct token *hand) {
  struct token *got = atomic_exchange(any_word(p), hand);
  if (got != NULL) token_check(got);
  p->moves++;
  return got;
}

/* Puts the hand down. */
static void place(struct player *p, struct token *hand) {
  while (hand != NULL) hand = swap(p, hand);
}

/* Nothing but exchanges, so that references are in registers as often as in memory. */
static NOINLINE struct token *swap_blindly(struct player *p, struct token *hand) {
  for (int i = 0; i < 200; i++) hand = atomic_exchange(any_word(p), hand);
  p->moves += 200;
  if (hand != NULL) token_check(hand);
  return hand;
}

static NOINLINE void make_garbage(struct rng *r, int n) {
  for (int i = 0; i < n; i++) {
    size_t size = rng_below(r, 200) == 0 ? 40000 : 16 + rng_below(r, 500);
    void *p = gc_alloc(size);
    REQUIRE(p != NULL);
    pattern_fill(p, size < 128 ? size : 128, UINT64_C(0xdead) + size);
  }
}

/* The empty asm makes the compiler forget that the value could be had from elsewhere. */
static NOINLINE struct token *keep_and_allocate(struct player *p, struct token *hand) {
  for (int i = 0; i < 30; i++) {
    make_garbage(&p->rng, 1);
    __asm__ volatile("" : "+r"(hand));
  }
  return hand;
}

/* In a register of a loop without calls, or across a call, through whole cycles. */
static NOINLINE struct token *keep_through_cycles(struct token *hand) {
  const unsigned long until = atomic_load(&game.cycles) + 2;
  if (!game.forced) gc_collect();
  while (game.forced && beside_cycles() < until) __asm__ volatile("" : "+r"(hand));
  return hand;
}

/* Into and out of the pocket of the token in the hand. */
static void use_pocket(struct player *p, struct token *hand) {
  struct token *other = rng_below(&p->rng, 2) == 0 ? swap(p, NULL) : NULL;
  struct token *was = hand->pocket;
  if (is_noscan(hand->tag)) {
    place(p, other);
    return;
  }
  hand->pocket = other;
  place(p, was);
}

/* The contents of the tray, to another place in it or in the other one, which may be new. */
static void move_tray(struct player *p) {
  size_t from = p->window, to = rng_below(&p->rng, TRAY - WINDOW);
  word *tray = p->tray[p->current];
  p->window = to;
  if (rng_below(&p->rng, 2) == 0) {
    size_t kept_lo = to > from ? to : from, kept_hi = (to > from ? from : to) + WINDOW; /* old and new window */
    memmove(&tray[to], &tray[from], WINDOW * sizeof *tray);
    for (size_t i = from; i < from + WINDOW; i++)
      if (i < kept_lo || i >= kept_hi) atomic_store_explicit(&tray[i], NULL, memory_order_relaxed);
    return;
  }
  p->current = 1 - p->current;
  if (rng_below(&p->rng, 8) == 0) p->tray[p->current] = gc_calloc(TRAY, sizeof *tray);
  REQUIRE(p->tray[p->current] != NULL);
  memcpy(&p->tray[p->current][to], &tray[from], WINDOW * sizeof *tray);
  memset(&tray[from], 0, WINDOW * sizeof *tray);
}

/* The same id in a new object, or in the same one at another size. What the old one held is handed over. */
static NOINLINE struct token *renew(struct player *p, struct token *hand) {
  uint64_t id = hand->id, tag = hand->tag, coins = hand->coins;
  struct token *t;
  if (rng_below(&p->rng, 2) == 0) {
    place(p, is_noscan(tag) ? NULL : hand->pocket);
    hand->pocket = NULL;
    t = token_new(&p->rng, id);
  } else {
    size_t size = token_size(&p->rng);
    t = gc_realloc(hand, size);
    REQUIRE(t != NULL);
    token_write(t, id, size, tag, coins);
  }
  token_check(t);
  return t;
}

/* Down the stack, with a token in each frame. */
static NOINLINE struct token *dive(struct player *p, struct token *hand, size_t depth) {
  word here;
  atomic_init(&here, swap(p, NULL));
  hand = depth == 0 ? swap_blindly(p, hand) : dive(p, hand, depth - 1);
  place(p, atomic_exchange(&here, NULL));
  return hand;
}

/* Through a thread's argument and its result. */
static void *carry(void *token) {
  struct rng r = {((struct token *)token)->tag};
  token_check(token);
  make_garbage(&r, 100);
  return token;
}

static NOINLINE struct token *send_along(struct token *hand) {
  pthread_t t;
  void *result;
  REQUIRE(pthread_create(&t, NULL, carry, hand) == 0);
  hand = NULL;
  REQUIRE(pthread_join(t, &result) == 0);
  token_check(result);
  return result;
}

static struct token *special_move(struct player *p, struct token *hand, size_t dice) {
  if (dice < 2000) return swap_blindly(p, hand);
  if (dice < 3000) return dive(p, hand, rng_below(&p->rng, 30));
  if (dice < 5000) move_tray(p);
  if (dice < 7000) make_garbage(&p->rng, 10);
  if (dice < 8000) return keep_and_allocate(p, hand);
  if (hand == NULL) return NULL;
  if (dice < 20000) use_pocket(p, hand);
  if (dice < 22000) return renew(p, hand);
  if (dice < 22010) return keep_through_cycles(hand);
  if (dice < 22015) return send_along(hand);
  return hand;
}

static struct token *move(struct player *p, struct token *hand) {
  size_t dice = rng_below(&p->rng, 100000);
  hand = swap(p, hand);
  return dice < 22015 ? special_move(p, hand, dice) : hand;
}

/* -- the count -- */
static void count_token(const struct token *t) {
  while (t != NULL) {
    token_check(t);
    REQUIRE_MSG(atomic_fetch_add(&game.found[t->id], 1) == 0, "token %" PRIu64 " is in two places", t->id);
    t = is_noscan(t->tag) ? NULL : t->pocket;
  }
}

static void count_words(word *w, size_t n) {
  for (size_t i = 0; i < n; i++) count_token(atomic_load(&w[i]));
}

static void count_own(struct player *p) {
  count_words(p->pouch, POUCH);
  count_words(tls_pouch, POUCH);
  count_words(p->tray[0], TRAY);
  count_words(p->tray[1], TRAY);
}

static void count_shared(void) {
  for (unsigned i = 0; i < game.players; i++) count_words(game.desk[i], DESK);
  count_words(game.hall, HALL);
  count_words(game.lobby, LOBBY);
  count_words(game.cellar, LOBBY);
}

/* Who gave time to a cycle was kept for that long. */
static uint64_t check_assists(void) {
  static struct gc_stats stats;
  uint64_t n = 0;
  gc_read_stats(&stats);
  for (size_t i = 0; i < GC_STATS_BUCKETS; i++) n += stats.assist_hist[i];
  REQUIRE_MSG(n > 0 || stats.gc_assist_ns == 0, "%" PRIu64 " ns of assists, none in the histogram", stats.gc_assist_ns);
  return n;
}

/* -- playing -- */
static void player_init(struct player *p, uint64_t seed) {
  p->rng.state = seed;
  for (int i = 0; i < 2; i++) p->tray[i] = gc_calloc(TRAY, sizeof(word));
  REQUIRE(p->tray[0] != NULL && p->tray[1] != NULL);
}

static void *play(void *number) {
  struct player player = {.moves = 0}, *p = &player;
  struct token *hand = NULL;
  uintptr_t me = (uintptr_t)number;
  player_init(p, suite_seed() * 100 + me);
  for (uint64_t id = me; id < game.tokens; id += game.players) place(p, token_new(&p->rng, id));
  (void)pthread_barrier_wait(&game.barrier);
  while (p->moves < game.enough_moves || atomic_load(&game.cycles) < game.enough_cycles) hand = move(p, hand);
  place(p, hand);
  atomic_fetch_sub(&game.playing, 1);
  (void)pthread_barrier_wait(&game.barrier); /* all moves are made */
  (void)pthread_barrier_wait(&game.barrier); /* the last collection is over */
  count_own(p);
  return NULL;
}

/* Looks from time to time how many cycles there were, until the players have had enough. */
static void watch(void) {
  static struct gc_stats stats;
  const struct timespec while_ = {0, 1000000};
  gc_read_stats(&stats);
  const uint64_t before = stats.num_gc;
  while (atomic_load(&game.playing) != 0) {
    gc_read_stats(&stats);
    atomic_store(&game.cycles, stats.num_gc - before);
    (void)nanosleep(&while_, NULL);
  }
}

static void game_init(unsigned players, bool forced, uint64_t moves, uint64_t cycles) {
  size_t cellar = LOBBY * sizeof(word);
  game.players = players;
  game.tokens = TOKENS_EACH * players;
  game.forced = forced;
  game.enough_moves = moves * suite_scale() / SHARE;
  game.enough_cycles = cycles * suite_scale() / SHARE;
  atomic_store(&game.playing, players);
  for (unsigned i = 0; i < players; i++) REQUIRE((game.desk[i] = gc_calloc(DESK, sizeof(word))) != NULL);
  REQUIRE((game.hall = gc_calloc(HALL, sizeof(word))) != NULL);
  game.cellar = mmap(NULL, cellar, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(game.cellar != MAP_FAILED && gc_add_roots(game.cellar, (char *)game.cellar + cellar) == 0);
  REQUIRE(pthread_barrier_init(&game.barrier, NULL, players + 1) == 0);
}

static void count_all(void) {
  count_shared();
  for (size_t id = 0; id < game.tokens; id++)
    REQUIRE_MSG(atomic_load(&game.found[id]) == 1, "token %zu was found %u times", id, atomic_load(&game.found[id]));
}

static void run_game(unsigned players, bool forced, uint64_t moves, uint64_t cycles) {
  pthread_t t[PLAYERS_MAX];
  game_init(players, forced, moves, cycles);
  for (uintptr_t i = 0; i < players; i++) REQUIRE(pthread_create(&t[i], NULL, play, (void *)i) == 0);
  (void)pthread_barrier_wait(&game.barrier);
  if (forced) beside_begin(0);
  watch();
  if (forced) beside_end();
  (void)pthread_barrier_wait(&game.barrier);
  gc_collect();
  (void)pthread_barrier_wait(&game.barrier);
  for (unsigned i = 0; i < players; i++) REQUIRE(pthread_join(t[i], NULL) == 0);
  count_all();
  printf("%u players, %u tokens, %lu cycles, %" PRIu64 " assists", players, game.tokens, atomic_load(&game.cycles),
         check_assists());
}

/* -- the cases -- */
static void four_beside_a_collector(void) { run_game(4, true, 600000, 200); }
static void one_beside_a_collector(void) { run_game(1, true, 100000, 200); }

/* Marking takes long enough for the players to move everything many times over. */
static void beside_a_large_heap(void) {
  enum { BALLAST = 300000 };
  static root *volatile ballast;
  ballast = gc_calloc(BALLAST, sizeof *ballast);
  REQUIRE(ballast != NULL);
  for (size_t i = 0; i < BALLAST; i++) {
    REQUIRE((ballast[i] = gc_alloc(16 + i % 300)) != NULL);
    pattern_fill(ballast[i], 16, i);
  }
  run_game(3, true, 300000, 30);
  for (size_t i = 0; i < BALLAST; i++) REQUIRE_MSG(pattern_ok(ballast[i], 16, i), "ballast %zu was lost", i);
}

static void usual_pacing(void) { run_game(4, false, 600000, 10); }

static void many_cycles(void) {
  (void)gc_set_percent(10);
  run_game(4, false, 600000, 50);
}

/* The child of a program that has had cycles with threads. */
static void in_a_forked_child(void) {
  int status;
  beside_begin(0);
  beside_await(5);
  pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    run_game(3, true, 100000, 30);
    fflush(stdout);
    _exit(0);
  }
  REQUIRE(waitpid(pid, &status, 0) == pid);
  REQUIRE_MSG(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with status %x", (unsigned)status);
  beside_end();
}

static const struct test_case cases[] = {
    {"four_beside_a_collector", four_beside_a_collector, NULL},
    {"one_beside_a_collector", one_beside_a_collector, NULL},
    {"beside_a_large_heap", beside_a_large_heap, NULL},
    {"usual_pacing", usual_pacing, NULL},
    {"many_cycles", many_cycles, NULL},
    {"in_a_forked_child", in_a_forked_child, NULL},
};

int main(int argc, char **argv) {
  size_t count = sizeof cases / sizeof *cases;
  return cases_main(argc, argv, "hideandseek", cases, GC_TORTURE && argc == 1 ? 2 : count);
}
