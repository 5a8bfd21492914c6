/* test_why_alive.c - gc_why_alive: for each kind of root the path that was laid is the one that is told, and nothing is told of
 * what nothing keeps. Linked with -rdynamic, so that the loader knows the names of data. */
#include <sys/syscall.h>

#include "beside.h"
#include "cases.h"
#include "gc_debug.h"
#include "gc_frag.h"
#include "gc_weak.h"

struct node {
  void *word[8]; /* 64 bytes */
};

struct table {
  root before, slot[4];
} table;
root decoy, short_cut;
__thread struct node *in_tls;

enum { MANY = 200 };

static char text[1 << 16];

/* A function of its own, or the address may stay in a register that its caller keeps. */
static NOINLINE int ask_hidden(hidden h, FILE *to) { return gc_why_alive(reveal(h), to); }

/* Asks about a hidden object; the answer is in text. */
static NOINLINE int ask(hidden h) {
  memset(text, 0, sizeof text);
  FILE *to = fmemopen(text, sizeof text, "w");
  REQUIRE(to != NULL);
  int result = ask_hidden(h, to);
  fclose(to);
  fputs(text, stdout);
  return result;
}

#define REQUIRE_TOLD(what) \
  REQUIRE_MSG(strstr(text, what) != NULL, "line %d: \"%s\" is not in: %s", __LINE__, what, text)
#define REQUIRE_NOT_TOLD(what) \
  REQUIRE_MSG(strstr(text, what) == NULL, "line %d: \"%s\" is in: %s", __LINE__, what, text)

/* The addresses stand in this order, each in a line that says what is given. */
static const char *require_object(const char *from, const char *before, hidden h, const char *after) {
  char line[200];
  snprintf(line, sizeof line, "%s0x%zx%s", before, (size_t)reveal(h), after);
  const char *at = strstr(from, line);
  REQUIRE_MSG(at != NULL, "\"%s\" is not told in its place: %s", line, text);
  return at + strlen(line);
}

static NOINLINE hidden new_object(size_t size) {
  void *p = gc_alloc(size);
  REQUIRE(p != NULL);
  return hide(p);
}

/* object `to` at word i of object `from` */
static NOINLINE void point(hidden from, size_t i, hidden to) { ((struct node *)reveal(from))->word[i] = reveal(to); }

/* n objects, each of which keeps the next; none is kept itself. */
static NOINLINE void chain(hidden *h, size_t n) {
  gc_disable();
  for (size_t i = 0; i < n; i++) h[i] = new_object(sizeof(struct node));
  for (size_t i = 0; i + 1 < n; i++) point(h[i], i % 8, h[i + 1]);
}

static NOINLINE void set(volatile root *at, hidden h) { *at = reveal(h); }

static NOINLINE void scrubbed(void) { scrub_stack(); }

static void by_hand(const char *name) {
  (void)name;
  REQUIRE(setenv("GC_FINALIZERS", "manual", 1) == 0);
}

/* ---- roots ---- */

static void path_from_data(void) {
  hidden h[4];
  chain(h, 4);
  set(&table.slot[2], h[0]);
  scrubbed();
  REQUIRE(ask(h[3]) == 1);
  char line[100];
  snprintf(line, sizeof line, "word at 0x%zx, data: table+0x18 (", (size_t)&table.slot[2]);
  REQUIRE_TOLD(line);
  const char *at = strstr(text, line);
  at = require_object(at, "-> ", h[0], ", 64 bytes, scanned\n  word at +0x0 in it\n");
  at = require_object(at, "-> ", h[1], ", 64 bytes, scanned\n  word at +0x8 in it\n");
  at = require_object(at, "-> ", h[2], ", 64 bytes, scanned\n  word at +0x10 in it\n");
  at = require_object(at, "-> ", h[3], ", 64 bytes, scanned\n");
  REQUIRE_NOT_TOLD("Only stacks");
}

static void path_is_the_shortest(void) {
  hidden h[6], middle;
  chain(h, 6);
  set(&table.slot[0], h[0]);
  set(&decoy, h[2]);
  middle = new_object(100);
  point(middle, 3, h[5]);
  set(&short_cut, middle);
  scrubbed();
  REQUIRE(ask(h[5]) == 1);
  REQUIRE_TOLD("data: short_cut+0x0");
  require_object(require_object(text, "-> ", middle, ", 112 bytes"), "-> ", h[5], "");
  set(&short_cut, hide(NULL));
  scrubbed();
  REQUIRE(ask(h[5]) == 1);
  REQUIRE_TOLD("data: decoy+0x0");
}

static void path_through_a_large_object(void) {
  hidden large = new_object(1000000), h = new_object(24);
  point(large, 100000, h);
  set(&decoy, large);
  scrubbed();
  REQUIRE(ask(h) == 1);
  require_object(text, "-> ", large, ", 1007616 bytes, large, scanned\n  word at +0xc3500 in it\n");
}

static void noscan_leads_nowhere(void) {
  hidden h = new_object(48), text_object = hide(gc_alloc_noscan(64));
  point(text_object, 1, h);
  set(&decoy, text_object);
  scrubbed();
  REQUIRE(ask(text_object) == 1);
  REQUIRE_TOLD("noscan");
  int kept = ask(h);
  REQUIRE(kept == 0 || strstr(text, "Only stacks") != NULL || strstr(text, "Nothing else") != NULL);
}

static void false_pointer_in_data(void) {
  static uintptr_t number;
  hidden h = new_object(64);
  number = (uintptr_t)reveal(h) + 13;
  scrubbed();
  REQUIRE(ask(h) == 1);
  REQUIRE_TOLD("data: (");
  require_object(text, "-> ", h, ", 64 bytes, scanned, pointed to at +0xd\n");
  __asm__ volatile("" : : "r"(number));
}

static void path_from_tls(void) {
  hidden h[2];
  chain(h, 2);
  in_tls = reveal(h[0]);
  scrubbed();
  REQUIRE(ask(h[1]) == 1);
  char line[100];
  snprintf(line, sizeof line, "word at 0x%zx, thread-local storage of thread %ld (the caller)", (size_t)&in_tls,
           syscall(SYS_gettid));
  REQUIRE_TOLD(line);
}

static void path_from_a_range(void) {
  hidden h = new_object(64);
  char line[100];
  void **range = malloc(10 * sizeof *range);
  REQUIRE(range != NULL && gc_add_roots(range, range + 10) == 0);
  range[7] = reveal(h);
  scrubbed();
  REQUIRE(ask(h) == 1);
  snprintf(line, sizeof line, "registered range %p-%p+0x38", (void *)range, (void *)(range + 10));
  REQUIRE_TOLD(line);
  gc_remove_roots(range, range + 10);
  free(range);
}

static NOINLINE hidden new_uncollectable(void) { return hide(gc_alloc_uncollectable(sizeof(struct node))); }

static void path_from_an_uncollectable(void) {
  hidden h = new_uncollectable(), last = new_object(64);
  point(h, 2, last);
  scrubbed();
  for (int i = 0; i < 2; i++) { /* also when a cycle has marked it before */
    REQUIRE(ask(last) == 1);
    REQUIRE_TOLD("record of an uncollectable object");
    require_object(require_object(text, "-> ", h, ""), "-> ", last, "");
    beside_begin(0);
    beside_await(2);
    beside_end();
  }
}

/* ---- what records keep ---- */

static gc_ephemeron *volatile pair;

static NOINLINE void make_pair(hidden key, hidden value) {
  pair = gc_ephemeron_create(reveal(key), reveal(value));
  REQUIRE(pair != NULL);
}

/* The ephemeron is a root's, the key two steps behind another, so it is the key that is reached last. */
static void path_through_an_ephemeron(void) {
  hidden h[3], value = new_object(64), last = new_object(40);
  chain(h, 3);
  point(value, 1, last);
  make_pair(h[2], value);
  scrubbed();
  REQUIRE(ask(last) == 0 || strstr(text, "Only stacks") != NULL || strstr(text, "Nothing else") != NULL);
  set(&decoy, h[0]);
  scrubbed();
  REQUIRE(ask(last) == 1);
  const char *at = require_object(text, "-> ", h[2], ", 64 bytes, scanned\n  value of an ephemeron whose key is it\n");
  require_object(require_object(at, "-> ", value, ""), "-> ", last, "");
}

static NOINLINE void hide_pair(hidden holder) {
  ((struct node *)reveal(holder))->word[0] = (void *)(uintptr_t)pair;
  pair = NULL;
}

/* The other way round, and the key lies with others in one small block. */
static void path_through_the_key_s_ephemeron(void) {
  hidden h[2], value = new_object(64), key;
  void *volatile first = gc_alloc_noscan(2);
  key = hide(gc_alloc_noscan(2));
  chain(h, 2);
  make_pair(key, value);
  hide_pair(h[1]);
  set(&short_cut, key);
  set(&decoy, h[0]);
  scrubbed();
  REQUIRE(ask(value) == 1);
  REQUIRE_TOLD("  value of the ephemeron that is it, whose key is kept, too\n");
  require_object(require_object(text, "-> ", h[1], ""), "-> ", value, "");
  gc_use(first);
}

static void do_nothing(void *object, void *arg) {
  (void)object;
  (void)arg;
}

static NOINLINE void finalize_with(hidden object, hidden arg) {
  REQUIRE(gc_set_finalizer(reveal(object), do_nothing, reveal(arg)) == 0);
}

static void path_through_a_finalizer(void) {
  hidden h = new_object(64), arg = new_object(64);
  finalize_with(h, arg);
  set(&decoy, h);
  scrubbed();
  REQUIRE(ask(arg) == 1);
  const char *at = require_object(text, "-> ", h, ", 64 bytes, scanned\n  argument of the finalizer of it\n");
  require_object(at, "-> ", arg, "");
}

/* Many, since a word that was left behind may keep one from being queued. */
static void path_from_the_queue(void) {
  static hidden h[MANY], arg[MANY];
  size_t told = 0;
  for (size_t i = 0; i < MANY; i++) h[i] = arg[i] = hide(NULL);
  gc_disable();
  for (size_t i = 0; i < MANY; i++) {
    h[i] = new_object(64);
    arg[i] = new_object(64);
    finalize_with(h[i], arg[i]);
  }
  scrubbed();
  gc_collect();
  for (size_t i = 0; i < MANY; i++) {
    told += ask(h[i]) == 1 && strstr(text, "queue of finalizers") != NULL;
    REQUIRE_NOT_TOLD("argument of the finalizer");
    told += ask(arg[i]) == 1 && strstr(text, "queue of finalizers") != NULL;
  }
  REQUIRE_MSG(told * 100 >= 2 * MANY * 95, "%zu of %d are told to be queued", told, 2 * MANY);
  gc_run_finalizers();
}

/* ---- stacks ---- */

static NOINLINE void hold_on_stack(hidden h) {
  struct node *volatile held = reveal(h);
  REQUIRE(ask(hide(held->word[0])) == 1);
  gc_use(held);
}

void path_from_own_stack(void);
void path_from_own_stack(void) {
  hidden h[2];
  chain(h, 2);
  hold_on_stack(h[0]);
  REQUIRE_TOLD("(the caller), 0x");
#ifndef __SANITIZE_ADDRESS__ /* whose frames hold addresses of code of their own */
  REQUIRE_TOLD("in a frame called by path_from_own_stack+0x");
#endif
  REQUIRE_TOLD("Only stacks keep it");
  require_object(require_object(text, "-> ", h[0], ""), "-> ", h[1], "");
}

static NOINLINE void ask_about_own(hidden h) {
  void *volatile held = reveal(h);
  REQUIRE(ask(hide(held)) == 1);
  gc_use(held);
}

static void only_own_words(void) {
  hidden h = new_object(64);
  ask_about_own(h);
  REQUIRE_TOLD("Nothing else keeps it");
  set(&decoy, h);
  ask_about_own(h);
  REQUIRE_TOLD("data: decoy+0x0");
  REQUIRE_NOT_TOLD("Nothing else");
}

/* A thread that waits with what it was given, in one of three places. */
static struct {
  pthread_t thread;
  atomic_int ready, over;
  long tid;
  hidden object;
} other;

static void other_waits(void) {
  other.tid = syscall(SYS_gettid);
  atomic_store(&other.ready, 1);
  while (!atomic_load(&other.over)) sched_yield();
}

static void *holds_on_stack(void *unused) {
  struct node *volatile held = reveal(other.object);
  other_waits();
  gc_use(held);
  return unused;
}
static void *holds_argument(void *argument) {
  (void)argument;
  other_waits();
  return NULL;
}
static NOINLINE void allocate_last(void) { other.object = new_object(sizeof(struct node)); }
static void *holds_in_cache(void *unused) {
  allocate_last();
  scrubbed();
  other_waits();
  return unused;
}

static NOINLINE void other_begin(void *(*body)(void *), hidden argument) {
  REQUIRE(pthread_create(&other.thread, NULL, body, reveal(argument)) == 0);
  while (!atomic_load(&other.ready)) sched_yield();
  scrubbed();
}

static void other_end(void) {
  atomic_store(&other.over, 1);
  REQUIRE(pthread_join(other.thread, NULL) == 0);
}

static void require_thread(const char *format) {
  char line[100];
  snprintf(line, sizeof line, format, other.tid);
  REQUIRE_TOLD(line);
}

static void path_from_another_stack(void) {
  hidden h[2];
  chain(h, 2);
  other.object = h[0];
  other_begin(holds_on_stack, hide(NULL));
  REQUIRE(ask(h[1]) == 1);
  require_thread("stack of thread %ld, 0x");
  REQUIRE_TOLD("Only stacks keep it");
  other_end();
}

static void path_from_an_argument(void) {
  hidden h[2];
  chain(h, 2);
  other_begin(holds_argument, h[0]);
  REQUIRE(ask(h[1]) == 1);
  require_thread("start argument or result of thread %ld\n");
  other_end();
}

static void path_from_a_cache(void) {
  other_begin(holds_in_cache, hide(NULL));
  REQUIRE(ask(other.object) == 1);
  REQUIRE_TOLD("cache of a thread");
  other_end();
}

/* ---- what is not kept, and what is no object ---- */

static void nothing_keeps_it(void) {
  static hidden h[MANY];
  size_t unkept = 0;
  for (size_t i = 0; i < MANY; i++) h[i] = hide(NULL);
  gc_disable();
  for (size_t i = 0; i < MANY; i++) h[i] = new_object(64);
  scrubbed();
  for (size_t i = 0; i < MANY; i++) {
    if (ask(h[i]) != 0) continue;
    unkept++;
    REQUIRE_TOLD("is not kept by anything");
  }
  REQUIRE_MSG(unkept * 100 >= MANY * 95, "%zu of %d are told not to be kept", unkept, MANY);
}

static void not_an_object(void) {
  int local = 0;
  REQUIRE(ask(hide(NULL)) == 0);
  REQUIRE_TOLD("not an address of this heap");
  REQUIRE(ask(hide(&local)) == 0);
  REQUIRE_TOLD("not an address of this heap");
  REQUIRE(ask(hide((void *)1)) == 0);
  REQUIRE(ask(hide(gc_alloc(0))) == 0);
  root first = gc_alloc(64); /* keeps the span */
  void *p = gc_alloc(64);
  hidden h = hide(p);
  gc_free(p);
  REQUIRE(ask(h) == 0);
  REQUIRE_TOLD("freed before, or never allocated");
  gc_use(first);
}

/* ---- long paths, other threads, errors ---- */

enum { LONG = 100000 };
static void long_paths_are_shortened(void) {
  static hidden h[LONG];
  char line[100];
  chain(h, LONG);
  set(&decoy, h[0]);
  scrubbed();
  REQUIRE(ask(h[LONG - 1]) == 1);
  const char *at = require_object(text, "-> ", h[11], ", 64 bytes, scanned\n  ... 99976 objects not told ...\n");
  snprintf(line, sizeof line, "  word at 0x%zx in the last of them\n   -> 0x%zx",
           (size_t)((struct node *)reveal(h[LONG - 13]) + 0) + 8 * ((LONG - 13) % 8), (size_t)reveal(h[LONG - 12]));
  REQUIRE_MSG(strncmp(at, line, strlen(line)) == 0, "\"%s\" does not follow: %s", line, text);
}

static void beside_cycles_and_sweeping(void) {
  hidden h[20];
  chain(h, 20);
  set(&decoy, h[0]);
  gc_enable();
  beside_begin(2000);
  for (int i = 0; i < 30; i++) {
    REQUIRE(ask(h[19]) == 1);
    REQUIRE_TOLD("data: decoy+0x0");
    REQUIRE(ask(hide(&table)) == 0);
  }
  beside_end();
}

static void no_memory_and_full_disks(void) {
  FILE *full = fopen("/dev/full", "w");
  REQUIRE(full != NULL);
  setvbuf(full, NULL, _IONBF, 0);
  set(&decoy, new_object(64));
  REQUIRE(gc_why_alive(decoy, full) == -1);
  fclose(full);
#if !defined(__SANITIZE_ADDRESS__)
  struct rlimit none = {1 << 20, RLIM_INFINITY}, before;
  REQUIRE(getrlimit(RLIMIT_AS, &before) == 0);
  FILE *to = fmemopen(text, sizeof text, "w");
  REQUIRE(setrlimit(RLIMIT_AS, &none) == 0);
  errno = 0;
  int result = gc_why_alive(decoy, to);
  REQUIRE(setrlimit(RLIMIT_AS, &before) == 0);
  REQUIRE(result == -1 && errno == ENOMEM);
#endif
}

static const struct test_case cases[] = {
    {"data", path_from_data, NULL},
    {"shortest", path_is_the_shortest, NULL},
    {"large", path_through_a_large_object, NULL},
    {"noscan", noscan_leads_nowhere, NULL},
    {"false-pointer", false_pointer_in_data, NULL},
    {"tls", path_from_tls, NULL},
    {"range", path_from_a_range, NULL},
    {"uncollectable", path_from_an_uncollectable, NULL},
    {"ephemeron", path_through_an_ephemeron, NULL},
    {"ephemeron-last", path_through_the_key_s_ephemeron, NULL},
    {"finalizer", path_through_a_finalizer, NULL},
    {"queue", path_from_the_queue, by_hand},
    {"own-stack", path_from_own_stack, NULL},
    {"own-words", only_own_words, NULL},
    {"other-stack", path_from_another_stack, NULL},
    {"argument", path_from_an_argument, NULL},
    {"cache", path_from_a_cache, NULL},
    {"nothing", nothing_keeps_it, NULL},
    {"no-object", not_an_object, NULL},
    {"long", long_paths_are_shortened, NULL},
    {"beside", beside_cycles_and_sweeping, NULL},
    {"errors", no_memory_and_full_disks, NULL},
};

int main(int argc, char **argv) { return cases_main(argc, argv, "why_alive", cases, sizeof cases / sizeof *cases); }
