/* test_links.c - disappearing links, long links and toggle references of the drop-in, in cycles of both kinds; and threads that
 * reveal hidden pointers under the allocation lock while cycles run.
 * Strict: never cleared while the object is held; after a revealed pointer was got, its object is there. Not strict: that an
 * unreachable object is found (hidden.h). */
#include "hidden.h"

#include "../system/misuse.h"

enum { N = 600, WORDS = 8, MANY = 200000, PLAYERS = 3, SLOTS = 64 };

static void *word[N], *second[N];
static void **held; /* in the heap */

static NOINLINE void *object_new(uint64_t i) {
  uint64_t *p = i % 2 == 0 ? GC_MALLOC(WORDS * 8) : GC_MALLOC_ATOMIC(WORDS * 8);
  REQUIRE(p != NULL);
  fill(p, WORDS, i);
  return p;
}

static void start(void) {
  GC_INIT();
  held = GC_MALLOC_UNCOLLECTABLE(N * sizeof *held);
  REQUIRE(held != NULL);
}

static size_t cleared(void **w, size_t from, size_t to) {
  size_t n = 0;
  for (size_t i = from; i < to; i++) n += w[i] == NULL;
  return n;
}

/* The second half is held. */
static NOINLINE void make_all(void) {
  for (size_t i = 0; i < N; i++) {
    void *p = object_new(i);
    word[i] = second[i] = hidden(p);
    REQUIRE(GC_general_register_disappearing_link(&word[i], p) == GC_SUCCESS);
    REQUIRE(GC_register_long_link(&second[i], p) == GC_SUCCESS);
    if (i >= N / 2) held[i] = p;
  }
}

static void links_disappear(void) {
  start();
  make_all();
  collect();
  REQUIRE_MOSTLY(cleared(word, 0, N / 2), (size_t)N / 2);
  REQUIRE_MOSTLY(cleared(second, 0, N / 2), (size_t)N / 2);
  for (size_t i = N / 2; i < N; i++)
    REQUIRE(word[i] == hidden(held[i]) && second[i] == word[i] && is_filled(held[i], WORDS, i));
  memset((void *)held, 0, N * sizeof *held);
  collect();
  REQUIRE_MOSTLY(cleared(word, N / 2, N), (size_t)N / 2);
  REQUIRE_MOSTLY(cleared(second, N / 2, N), (size_t)N / 2);
}

/* -- what the calls return -- */
typedef int register_call(void **link, const void *obj);
typedef int move_call(void **link, void **new_link);
typedef int end_call(void **link);

static NOINLINE void call_all(register_call *set, move_call *move, end_call *end) {
  void *p = object_new(0), *q = object_new(1);
  REQUIRE(end(&word[0]) == 0 && move(&word[0], &word[1]) == GC_NOT_FOUND && move(&word[0], &word[0]) == GC_NOT_FOUND);
  REQUIRE(set(&word[0], p) == GC_SUCCESS && set(&word[0], p) == GC_DUPLICATE && set(&word[0], q) == GC_DUPLICATE);
  REQUIRE(set(&word[1], p) == GC_SUCCESS);
  REQUIRE(move(&word[0], &word[0]) == GC_SUCCESS && move(&word[0], &word[1]) == GC_DUPLICATE);
  REQUIRE(end(&word[1]) == 1 && move(&word[0], &word[1]) == GC_SUCCESS);
  REQUIRE(end(&word[0]) == 0 && end(&word[1]) == 1 && end(&word[1]) == 0);
  GC_reachable_here(p);
  GC_reachable_here(q);
}

static void calls_say_what_they_did(void) {
  start();
  call_all(GC_general_register_disappearing_link, GC_move_disappearing_link, GC_unregister_disappearing_link);
  call_all(GC_register_long_link, GC_move_long_link, GC_unregister_long_link);
  REQUIRE(GC_register_long_link(&word[0], held) == GC_SUCCESS);
  REQUIRE(GC_general_register_disappearing_link(&word[0], held) == GC_SUCCESS); /* both at once */
  REQUIRE(GC_unregister_long_link(&word[0]) == 1 && GC_unregister_disappearing_link(&word[0]) == 1);
}

/* The last object counts; a link that was taken back, or moved, is not written; nor is one to what is not in the heap. */
static NOINLINE void make_odd(void) {
  static int not_of_the_heap;
  for (size_t i = 0; i < N; i++) {
    void *p = object_new(i), *q = object_new(i);
    word[i] = hidden(p);
    held[i] = q;
    GC_general_register_disappearing_link(&word[i], i % 4 == 0 ? q : p);
    if (i % 4 == 0) REQUIRE(GC_general_register_disappearing_link(&word[i], p) == GC_DUPLICATE);
    if (i % 4 == 1) REQUIRE(GC_unregister_disappearing_link(&word[i]) == 1);
    if (i % 4 == 2) REQUIRE(GC_move_disappearing_link(&word[i], &second[i]) == GC_SUCCESS);
    if (i % 4 == 3) REQUIRE(GC_general_register_disappearing_link(&word[i], &not_of_the_heap) == GC_DUPLICATE);
    second[i] = word[i];
  }
}

static void odd_ones(void) {
  start();
  make_odd();
  collect();
  size_t last = 0, moved = 0;
  for (size_t i = 0; i < N; i++) {
    if (i % 4 != 0) REQUIRE(word[i] != NULL);
    if (i % 4 != 2) REQUIRE(second[i] != NULL);
    last += i % 4 == 0 && word[i] == NULL;
    moved += i % 4 == 2 && second[i] == NULL;
  }
  REQUIRE_MOSTLY(last, (size_t)N / 4);
  REQUIRE_MOSTLY(moved, (size_t)N / 4);
}

/* -- calls that cannot be meant -- */
static void *volatile odd_address;

static void null_link(void) { GC_general_register_disappearing_link((void **)odd_address, held); }
static void crooked_link(void) { GC_register_long_link((void **)((char *)word + 1), held); }
static void crooked_goal(void) { GC_move_disappearing_link(&word[0], (void **)((char *)word + 4)); }
static void link_outside(void) { GC_register_disappearing_link(&word[0]); }

static void misuses(void) {
  start();
  require_misuse(null_link, "GC_general_register_disappearing_link");
  require_misuse(crooked_link, "GC_register_long_link");
  require_misuse(crooked_goal, "GC_move_disappearing_link");
  require_misuse(link_outside, "GC_register_disappearing_link");
  REQUIRE(GC_unregister_disappearing_link((void **)((char *)word + 1)) == 0);
}

/* -- links in objects -- */

/* Holders die first; what lies in their places later is not written when their objects die. */
static NOINLINE void make_holders(void) {
  for (size_t i = 0; i < N; i++) {
    void **holder = GC_MALLOC_ATOMIC(WORDS * 8);
    held[i] = object_new(i);
    holder[i % WORDS] = hidden(held[i]);
    GC_general_register_disappearing_link(&holder[i % WORDS], held[i]);
    GC_register_long_link(&holder[i % WORDS], held[i]);
  }
}

static void **lodger[4 * N];

static NOINLINE void make_lodgers(void) {
  for (size_t i = 0; i < 4 * N; i++) fill(lodger[i] = GC_MALLOC_ATOMIC_UNCOLLECTABLE(WORDS * 8), WORDS, i);
}

static void links_die_with_their_holders(void) {
  start();
  make_holders();
  collect();
  make_lodgers();
  memset((void *)held, 0, N * sizeof *held);
  collect();
  for (size_t i = 0; i < 4 * N; i++) REQUIRE_MSG(is_filled(lodger[i], WORDS, i), "a dead link was written");
}

/* Holders live, in the heap, and move. */
static NOINLINE void make_moving(void) {
  for (size_t i = 0; i < N; i++) {
    void *p = object_new(i), **holder = GC_MALLOC_ATOMIC(WORDS * 8);
    holder[i % WORDS] = hidden(p);
    GC_general_register_disappearing_link(&holder[i % WORDS], p);
    held[i] = GC_REALLOC(holder, 1000 + WORDS * 8);
  }
}

static void links_move_with_their_holders(void) {
  start();
  make_moving();
  refill(4 * N, WORDS * 8);
  collect();
  size_t n = 0;
  for (size_t i = 0; i < N; i++) n += ((void **)held[i])[i % WORDS] == NULL;
  REQUIRE_MOSTLY(n, (size_t)N);
}

/* Freed by hand: the object, then the holder. */
static NOINLINE void free_them(void) {
  for (size_t i = 0; i < N; i++) {
    void *p = object_new(i), **holder = GC_MALLOC_ATOMIC(WORDS * 8);
    word[i] = hidden(p);
    GC_general_register_disappearing_link(&word[i], p);
    GC_general_register_disappearing_link(&holder[1], held[i] = object_new(i));
    GC_FREE(p);
    GC_FREE(holder);
  }
}

static void freed_by_hand(void) {
  start();
  free_them();
  make_lodgers();
  memset((void *)held, 0, N * sizeof *held);
  collect();
  REQUIRE(cleared(word, 0, N) == N);
  for (size_t i = 0; i < 4 * N; i++) REQUIRE_MSG(is_filled(lodger[i], WORDS, i), "a dead link was written");
}

/* -- before and after finalizers -- */
struct node {
  struct node *to;
  uint64_t i;
};
static atomic_uint runs[2 * N];
static struct node *saved[N];

static void save(void *obj, void *unused) {
  struct node *n = obj;
  (void)unused;
  REQUIRE_MSG(word[n->i] == NULL, "a link is there when the finalizer runs");
  REQUIRE_MSG(second[n->i] == hidden(n), "a long link is not");
  atomic_fetch_add(&runs[n->i], 1);
  if (n->i % 2 == 0) saved[n->i] = n;
}

static NOINLINE void make_finalized(void) {
  for (size_t i = 0; i < N; i++) {
    struct node *n = GC_MALLOC(sizeof *n);
    n->i = i;
    word[i] = second[i] = hidden(n);
    GC_general_register_disappearing_link(&word[i], n);
    GC_register_long_link(&second[i], n);
    GC_register_finalizer_no_order(n, save, NULL, NULL, NULL);
  }
}

static size_t runs_in(size_t n) {
  size_t k = 0;
  for (size_t i = 0; i < n; i++) {
    REQUIRE(atomic_load(&runs[i]) <= 1);
    k += atomic_load(&runs[i]);
  }
  return k;
}

static void long_links_wait(void) {
  start();
  make_finalized();
  collect();
  REQUIRE_MOSTLY(runs_in(N), (size_t)N);
  collect();
  size_t gone = 0;
  for (size_t i = 0; i < N; i++) {
    if (saved[i] != NULL) REQUIRE(word[i] == NULL && second[i] == hidden(saved[i]));
    gone += saved[i] == NULL && second[i] == NULL;
  }
  REQUIRE_MOSTLY(gone, (size_t)N / 2);
  memset(saved, 0, sizeof saved);
  collect();
  REQUIRE_MOSTLY(cleared(second, 0, N), (size_t)N);
}

/* A pointer that is a link does not count for the order, neither to another object nor back. */
static void count_run(void *obj, void *unused) {
  (void)unused;
  atomic_fetch_add(&runs[((struct node *)obj)->i], 1);
}

static NOINLINE void make_linked_pairs(void) {
  for (size_t i = 0; i < N; i++) {
    struct node *a = GC_MALLOC(sizeof *a), *b = GC_MALLOC(sizeof *b);
    *a = (struct node){b, 2 * i};
    *b = (struct node){i % 2 == 0 ? a : b, 2 * i + 1};
    REQUIRE(GC_register_disappearing_link((void **)&a->to) == GC_SUCCESS);
    if (i % 2 != 0) REQUIRE(GC_register_disappearing_link((void **)&b->to) == GC_SUCCESS);
    GC_register_finalizer(a, count_run, NULL, NULL, NULL);
    GC_register_finalizer(b, count_run, NULL, NULL, NULL);
  }
}

static void links_break_the_order(void) {
  start();
  GC_disable(); /* no collection but those that are counted */
  make_linked_pairs();
  GC_enable();
  collect();
  size_t first = 0, other = 0;
  for (size_t i = 0; i < N; i++) {
    if (i % 2 == 0) REQUIRE_MSG(atomic_load(&runs[2 * i]) == 0, "out of order");
    if (i % 2 != 0) first += atomic_load(&runs[2 * i]);
    other += atomic_load(&runs[2 * i + 1]);
  }
  REQUIRE_MOSTLY(first, (size_t)N / 2);
  REQUIRE_MOSTLY(other, (size_t)N);
  collect();
  REQUIRE_MOSTLY(runs_in(2 * N), (size_t)2 * N);
}

/* -- toggle references -- */
static GC_ToggleRefStatus toggle[N];
static atomic_uint asked[N];

static GC_ToggleRefStatus say(void *obj) {
  struct node *n = obj;
  REQUIRE(n->i < N && (void *)n == hidden(second[n->i]));
  atomic_fetch_add(&asked[n->i], 1);
  return toggle[n->i];
}

static NOINLINE void make_toggled(void) {
  for (size_t i = 0; i < N; i++) {
    struct node *n = GC_MALLOC(sizeof *n);
    *n = (struct node){NULL, i};
    word[i] = second[i] = hidden(n);
    GC_general_register_disappearing_link(&word[i], n);
    REQUIRE(GC_toggleref_add(n, i % 2 == 0) == GC_SUCCESS);
    toggle[i] = i % 3 == 0 ? GC_TOGGLE_REF_WEAK : GC_TOGGLE_REF_STRONG;
  }
}

static void toggles(void) {
  start();
  REQUIRE(GC_toggleref_add(held, 1) == GC_SUCCESS && GC_get_toggleref_func() == NULL);
  GC_set_toggleref_func(say);
  REQUIRE(GC_get_toggleref_func() == say);
  make_toggled();
  collect();
  size_t weak = 0, dropped = 0;
  for (size_t i = 0; i < N; i++) {
    REQUIRE(atomic_load(&asked[i]) > 0 && (i % 3 == 0 || word[i] != NULL));
    weak += i % 3 == 0 && word[i] == NULL;
    atomic_store(&asked[i], 0);
    if (i % 3 == 1) toggle[i] = GC_TOGGLE_REF_DROP;
  }
  REQUIRE_MOSTLY(weak, (size_t)N / 3);
  collect();
  for (size_t i = 0; i < N; i++) {
    if (i % 3 == 0 && word[i] == NULL) REQUIRE_MSG(atomic_load(&asked[i]) == 0, "asked about what is gone");
    REQUIRE(i % 3 != 2 || word[i] != NULL);
    dropped += i % 3 == 1 && word[i] == NULL;
  }
  REQUIRE_MOSTLY(dropped, (size_t)N / 3);
}

/* -- many, registered, moved and taken back beside cycles -- */
static void **many;
static atomic_bool done;

static NOINLINE void register_some(size_t from, size_t to) {
  for (size_t i = from; i < to; i++) {
    void *p = GC_MALLOC_ATOMIC(16);
    many[i] = hidden(p);
    REQUIRE(GC_general_register_disappearing_link(&many[i], p) == GC_SUCCESS);
    if (i % 8 == 1) REQUIRE(GC_unregister_disappearing_link(&many[i]) == 1);
    if (i % 8 == 2) {
      many[i + 1] = many[i];
      REQUIRE(GC_move_disappearing_link(&many[i], &many[i + 1]) == GC_SUCCESS);
      i++;
    }
    GC_reachable_here(p);
  }
}

static void *collect_meanwhile(void *cycles) {
  for (; !atomic_load(&done); ++*(unsigned *)cycles) GC_gcollect();
  return NULL;
}

static void many_links(void) {
  pthread_t collector;
  unsigned cycles = 0;
  start();
  many = malloc((MANY + 1) * sizeof *many);
  REQUIRE(many != NULL && pthread_create(&collector, NULL, collect_meanwhile, &cycles) == 0);
  for (size_t i = 0; i < MANY; i += 1000) register_some(i, i + 1000);
  atomic_store(&done, true);
  REQUIRE(pthread_join(collector, NULL) == 0);
  collect();
  size_t n = 0;
  for (size_t i = 0; i < MANY; i++) {
    bool ended = i % 8 == 1 || i % 8 == 2;
    REQUIRE(!ended || many[i] != NULL);
    n += !ended && many[i] == NULL;
  }
  printf("%u cycles", cycles);
  REQUIRE_MOSTLY(n, (size_t)MANY / 8 * 6);
}

/* -- revealing under the lock -- */

/* Each slot is one player's; only a cycle may change it besides, and only when nothing holds its object. */
struct shelf {
  void *volatile slot[SLOTS];
};
static struct {
  atomic_uint cycles, playing;
  atomic_ulong got, lost;
} game;

/* Between reading the hidden word and making a pointer of it, nothing holds the object: a stop must not come here. Now and then
 * others get all the time they need for one. */
static void *reveal_slot(void *slot) {
  uintptr_t bits = *(volatile uintptr_t *)slot;
  static atomic_uint calls;
  for (int i = atomic_fetch_add(&calls, 1) % 8 == 0 ? 50 : 0; i > 0; i--) sched_yield();
  __asm__ volatile("" : "+r"(bits));
  return bits == 0 ? NULL : (void *)~bits;
}

static NOINLINE void put(void *volatile *slot, uint64_t tag) {
  void *p = object_new(tag);
  REQUIRE(GC_unregister_disappearing_link((void **)(uintptr_t)slot) >= 0);
  *slot = hidden(p);
  REQUIRE(GC_general_register_disappearing_link((void **)(uintptr_t)slot, p) == GC_SUCCESS);
  GC_reachable_here(p);
}

/* While the object is held, by nothing but this frame, its link cannot be cleared: a dangling pointer shows at once. */
static NOINLINE void get(struct rng *r, struct shelf *s, size_t i) {
  uint64_t *p = GC_call_with_alloc_lock(reveal_slot, (void *)(uintptr_t)&s->slot[i]);
  if (p == NULL) {
    atomic_fetch_add(&game.lost, 1);
    put(&s->slot[i], (uintptr_t)s + i);
    return;
  }
  for (int look = 0; look < 2; look++) {
    REQUIRE_MSG(s->slot[i] == hidden(p),
                "a link was cleared while its object was held: a dangling pointer was revealed");
    REQUIRE_MSG(is_filled(p, WORDS, (uintptr_t)s + i), "a revealed pointer's object was overwritten");
    if (rng_below(r, 16) == 0) refill(50, WORDS * 8);
    if (rng_below(r, 64) == 0) GC_gcollect();
  }
  atomic_fetch_add(&game.got, 1);
  GC_reachable_here(p);
}

/* Shelves: static memory, malloc's, and an object that is not scanned. */
static struct shelf shelf_of_data;
static struct shelf *shelf_for(uintptr_t player) {
  if (player == 0) return &shelf_of_data;
  struct shelf *s = player == 1 ? calloc(1, sizeof *s) : GC_MALLOC_ATOMIC_UNCOLLECTABLE(sizeof *s);
  REQUIRE(s != NULL);
  return s;
}

static void *play(void *number) {
  struct shelf *s = shelf_for((uintptr_t)number);
  struct rng r = {suite_seed() * 100 + (uintptr_t)number};
  unsigned until = 150 * (unsigned)suite_scale();
  for (size_t i = 0; i < SLOTS; i++) put(&s->slot[i], (uintptr_t)s + i);
  for (unsigned long moves = 0; moves < 20000 * suite_scale() || atomic_load(&game.cycles) < until; moves++) {
    get(&r, s, rng_below(&r, SLOTS));
    scrub_stack();
  }
  atomic_fetch_sub(&game.playing, 1);
  return NULL;
}

static void reveal_race(void) {
  pthread_t t[PLAYERS];
  start();
  atomic_store(&game.playing, PLAYERS);
  for (uintptr_t i = 0; i < PLAYERS; i++) REQUIRE(pthread_create(&t[i], NULL, play, (void *)i) == 0);
  for (; atomic_load(&game.playing) != 0; atomic_fetch_add(&game.cycles, 1)) GC_gcollect();
  for (int i = 0; i < PLAYERS; i++) REQUIRE(pthread_join(t[i], NULL) == 0);
  printf("%u cycles, %lu got, %lu lost", atomic_load(&game.cycles), atomic_load(&game.got), atomic_load(&game.lost));
  REQUIRE(atomic_load(&game.got) > 0 && atomic_load(&game.lost) > 0);
}

/* Many stops of one cycle, of which only the last counts. */
static void with_short_stops(const char *name) {
  (void)name;
  setenv("GC_MAX_PAUSE_US", "100", 1);
}

/* -- while a thread holds the lock no cycle ends -- */
static atomic_bool may_collect;

static void *collect_once(void *unused) {
  while (!atomic_load(&may_collect)) sched_yield();
  GC_gcollect();
  return unused;
}

static void *hold(void *slot) {
  uintptr_t bits = *(volatile uintptr_t *)slot;
  GC_word before = GC_get_gc_no();
  atomic_store(&may_collect, true);
  for (int i = 0; i < 100000; i++) {
    sched_yield();
    REQUIRE_MSG(GC_get_gc_no() == before, "a cycle ended while the lock was held");
  }
  return (void *)~bits;
}

static void the_lock_keeps_cycles_open(void) {
  pthread_t t;
  start();
  put(&word[0], 7);
  scrub_stack();
  REQUIRE(pthread_create(&t, NULL, collect_once, NULL) == 0);
  void *p = GC_call_with_alloc_lock(hold, &word[0]);
  REQUIRE(pthread_join(t, NULL) == 0);
  REQUIRE_MSG(word[0] == hidden(p) && is_filled(p, WORDS, 7), "a revealed pointer dangles");
}

static const struct test_case cases[] = {
    {"links_disappear", links_disappear, NULL},
    {"calls_say_what_they_did", calls_say_what_they_did, NULL},
    {"odd_ones", odd_ones, NULL},
    {"misuses", misuses, NULL},
    {"links_die_with_their_holders", links_die_with_their_holders, NULL},
    {"links_move_with_their_holders", links_move_with_their_holders, NULL},
    {"freed_by_hand", freed_by_hand, NULL},
    {"long_links_wait", long_links_wait, NULL},
    {"links_break_the_order", links_break_the_order, NULL},
    {"toggles", toggles, NULL},
    {"many_links", many_links, NULL},
    {"reveal_race", reveal_race, NULL},
    {"short_stops", reveal_race, with_short_stops},
    {"the_lock_keeps_cycles_open", the_lock_keeps_cycles_open, NULL},
};

int main(int argc, char **argv) { return cases_main(argc, argv, "bdw_links", CASES(cases)); }
