/* roots.c - see roots.h. */
#include "gc/roots.h"

#include "alloc/cache.h"
#include "gc/kept.h"
#include "gc/traced.h"
#include "gc/watch.h"
#include "runtime/images.h"
#include "runtime/lock.h"
#include "runtime/meta.h"
#include "runtime/os.h"
#include "runtime/stacks.h"
#include "runtime/thread.h"
#include "runtime/world.h"

#define NO_PIECE SIZE_MAX
#define HINT_STACK (64 * KIB) /* of a thread that was never stopped */

/* A table of ranges that grows by doubling. */
struct table {
  struct range *at;
  size_t count, room;
};

static struct {
  struct table pieces; /* [STW; const while marking] */
  struct table words;  /* [STW] single words: slots and tiny blocks that caches hold */
  size_t words_from;   /* [STW] the piece where they begin once sealed; NO_PIECE: not sealed yet */
  size_t sealed;       /* [STW] words of it that were handed out */
  atomic_word next;    /* [A] the next piece to take */
  uint64_t bytes, stack_bytes;
  char *sp;   /* the stopper's stack */
  char *hint; /* [L:CYCLE] HINT_STACK bytes for a part of a stack */
  bool copy;  /* [STW] ranges of the program are read at once: they need not be there later */
  bool brief; /* for world_stop */
  struct lock lock;
  struct table user;     /* [L:ROOTS; STW] registered ranges */
  struct table excluded; /* [L:ROOTS; STW] of these and of data: not to be read */
} roots GC_OWN_DATA = {.lock = LOCK_INIT(ROOTS)};

void (*roots_program_hook)(void) GC_OWN_DATA;
bool (*roots_program_speaks)(void) GC_OWN_DATA;

static bool table_add(struct table *t, struct range r) {
  if (t->count == t->room) {
    size_t room = t->room != 0 ? 2 * t->room : 4096;
    struct range *bigger = meta_map(room * sizeof *bigger);
    if (bigger == NULL) return false;
    for (size_t i = 0; i < t->count; i++) bigger[i] = t->at[i];
    if (t->at != NULL) os_unreserve(t->at, round_up(t->room * sizeof *t->at, os_page_size()));
    t->at = bigger;
    t->room = room;
  }
  t->at[t->count++] = r;
  return true;
}

/* Got at the start: the first cycle may be the one that memory was refused for. */
bool roots_init(void) {
  struct range none = {NULL, NULL};
  roots.hint = meta_map(HINT_STACK);
  return roots.hint != NULL && table_add(&roots.pieces, none) && table_add(&roots.words, none);
}

/* The words that lie wholly in the range. */
static struct range whole_words(struct range r) {
  r.lo = (char *)round_up((uintptr_t)r.lo, sizeof(uintptr_t));
  r.hi = (char *)round_down((uintptr_t)r.hi, sizeof(uintptr_t));
  if (r.lo > r.hi) r.hi = r.lo;
  return r;
}

/* Losing a root would free a live object: without memory for the list there is no safe way on. */
static void add_range(void *arg, struct range r) {
  (void)arg;
  r = whole_words(r);
  roots.bytes += (uint64_t)(r.hi - r.lo);
  for (char *lo = r.lo; lo < r.hi; lo += ROOT_PIECE) {
    struct range piece = {lo, (size_t)(r.hi - lo) > ROOT_PIECE ? lo + ROOT_PIECE : r.hi};
    if (!table_add(&roots.pieces, piece)) fatal("no memory for the list of roots");
  }
}

/* Calls f for the parts of r that are not excluded. Under the lock, or in the stop. */
static void readable_parts(struct range r, void (*f)(void *arg, struct range part)) {
  while (r.lo < r.hi) {
    struct range hole = {r.hi, r.hi}; /* the first one */
    for (size_t i = 0; i < roots.excluded.count; i++) {
      struct range e = roots.excluded.at[i];
      if (e.hi > r.lo && e.lo < hole.lo) hole = e;
    }
    if (hole.lo > r.lo) f(NULL, (struct range){r.lo, hole.lo});
    r.lo = hole.hi;
  }
}

static void add_data(void *unused, struct range r) {
  (void)unused;
  readable_parts(r, add_range);
}

static void add_thread(struct thread *t) {
  uint64_t before = roots.bytes;
  if (t->state == THREAD_DEAD) return;
  add_range(NULL, (struct range){(char *)&t->start_arg, (char *)(&t->start_arg + 1)});
  if (t->state != THREAD_RUNNING) return;
  images_walk_tls(t, add_range, NULL);
  stacks_walk_thread(t, add_range, NULL);
  roots.stack_bytes += roots.bytes - before;
}

void roots_add_word(void *unused, const void *p) {
  (void)unused;
  struct range none = {(char *)(uintptr_t)p, NULL}; /* the table holds ranges; a word is the first half of one */
  if (!table_add(&roots.words, none)) fatal("no memory for the list of roots");
}

static void on_locked_images(void *unused) {
  (void)unused;
  world_stop(roots.sp, roots.brief);
}

static void begin_list(void) {
  roots.pieces.count = roots.words.count = roots.sealed = 0;
  roots.words_from = NO_PIECE;
  roots.bytes = roots.stack_bytes = 0;
}

void roots_stop_and_gather(char *sp, bool brief) {
  roots.sp = sp;
  roots.brief = brief;
  begin_list();
  images_stop_and_walk(on_locked_images, add_data, NULL);
  for (struct thread *t = threads_first(); t != NULL; t = threads_next(t)) add_thread(t);
  uint64_t before = roots.bytes;
  stacks_walk_left(add_range, NULL);
  roots.stack_bytes += roots.bytes - before;
  for (size_t i = 0; i < roots.user.count; i++) add_data(NULL, roots.user.at[i]);
  kept_roots(false, add_range, NULL);
  if (roots_program_hook != NULL) roots_program_hook();
}

/* ---- what a word is ---- */

static bool lies_in(const char *at, struct range r) { return at >= r.lo && at < r.hi; }

struct look_up {
  const char *at;
  struct range found;
};

static void look_in(void *arg, struct range r) {
  struct look_up *l = arg;
  if (lies_in(l->at, r)) l->found = r;
}

/* The stack around a word. */
static struct range stack_around(const struct thread *t, const char *at) {
  struct look_up l = {at, {NULL, NULL}};
  if (t->state == THREAD_RUNNING) stacks_walk_thread(t, look_in, &l);
  return l.found;
}

/* Of a coroutine that no thread runs. */
static struct range sleeping_stack_around(const char *at) {
  struct look_up l = {at, {NULL, NULL}};
  stacks_walk_left(look_in, &l);
  return l.found;
}

bool roots_is_stack(const char *at) {
  for (struct thread *t = threads_first(); t != NULL; t = threads_next(t))
    if (stack_around(t, at).lo != NULL) return true;
  return sleeping_stack_around(at).lo != NULL;
}

static bool place_in_thread(struct root_place *p, const struct thread *t, const char *at) {
  struct look_up tls = {at, {NULL, NULL}};
  p->tid = t->tid;
  p->own = t == tl_thread;
  p->range = stack_around(t, at);
  p->kind = ROOT_STACK;
  if (p->range.lo != NULL) return true;
  p->kind = ROOT_THREAD;
  if (at == (const char *)&t->start_arg) return true;
  if (t->state == THREAD_RUNNING) images_walk_tls(t, look_in, &tls);
  p->range = tls.found;
  p->kind = ROOT_TLS;
  return tls.found.lo != NULL;
}

static bool is_kept_word(const char *at) {
  struct look_up l = {at, {NULL, NULL}};
  kept_all(look_in, &l);
  return l.found.lo != NULL;
}

struct root_place roots_place(const char *at) {
  struct root_place p = {ROOT_CACHE, 0, false, {NULL, NULL}};
  struct range words = {(char *)roots.words.at, (char *)(roots.words.at + roots.words.count)};
  if (lies_in(at, words)) return p;
  for (struct thread *t = threads_first(); t != NULL; t = threads_next(t))
    if (place_in_thread(&p, t, at)) return p;
  p = (struct root_place){ROOT_STACK, 0, false, sleeping_stack_around(at)};
  if (p.range.lo != NULL) return p;
  p = (struct root_place){ROOT_RANGE, 0, false, {NULL, NULL}};
  for (size_t i = 0; i < roots.user.count; i++)
    if (lies_in(at, p.range = roots.user.at[i])) return p;
  p = (struct root_place){ROOT_DATA, 0, false, {NULL, NULL}};
  if (is_kept_word(at)) p.kind = ROOT_KEPT;
  uint32_t record = watch_around(at);
  if (record != 0) p.kind = watch_at(record)->kind == WATCH_QUEUED ? ROOT_QUEUED : ROOT_HELD;
  return p;
}

/* ---- hints ---- */

#define HINT_BYTES (64 * MIB)  /* read at most: the loader's lock is held meanwhile */
#define HINT_STOPPED (4 * MIB) /* the same while the program waits: 1 ms */

static GC_NO_SANITIZE void hint_words(const char *lo, const char *hi) {
  for (; lo < hi; lo += sizeof(uintptr_t)) {
    uintptr_t w = racy_load_word(lo);
    struct range word = {(char *)w, NULL};
    if (heap_contains(w) && !table_add(&roots.words, word)) return; /* without memory: fewer hints */
  }
}

static void hint_range(void *unused, struct range r) {
  (void)unused;
  r = whole_words(r);
  size_t room = HINT_BYTES - min_size(HINT_BYTES, roots.bytes), n = min_size((size_t)(r.hi - r.lo), room);
  roots.bytes += n;
  hint_words(r.lo, r.lo + round_down(n, sizeof(uintptr_t)));
}

static void hint_data(void *unused, struct range r) {
  (void)unused;
  lock_acquire(&roots.lock);
  readable_parts(r, hint_range);
  lock_release(&roots.lock);
}

/* Through the kernel: a thread that ended without telling us may have no stack any more. */
static void hint_copied(void *unused, struct range r) {
  size_t used = round_down(min_size((size_t)(r.hi - r.lo), HINT_STACK), sizeof(uintptr_t));
  (void)unused;
  if (os_read_memory(roots.hint, r.lo, used)) hint_words(roots.hint, roots.hint + used);
}

static void hint_stack(const struct thread *t) {
  bool known = t->sp >= t->stack_lo && t->sp < t->stack_base;
  size_t used = known ? (size_t)(t->stack_base - t->sp) : HINT_STACK;
  used = round_down(min_size(min_size(used, HINT_STACK), (size_t)(t->stack_base - t->stack_lo)), sizeof(uintptr_t));
  hint_copied(NULL, (struct range){t->stack_base - used, t->stack_base});
}

void roots_hint(bool stacks) {
  begin_list();
  images_stop_and_walk(NULL, hint_data, NULL);
  threads_lock(); /* no thread on the list has given its stack back */
  for (struct thread *t = threads_first(); stacks && t != NULL; t = threads_next(t))
    if (t->state == THREAD_RUNNING && !stacks_says_elsewhere(t)) hint_stack(t);
  threads_unlock();
  if (stacks) stacks_hint(hint_copied, NULL);
  lock_acquire(&roots.lock); /* nor the program its range */
  for (size_t i = 0; i < roots.user.count; i++) readable_parts(roots.user.at[i], hint_range);
  lock_release(&roots.lock);
  kept_roots(true, add_range, NULL);
  roots_seal();
}

void roots_add_range(struct range r) {
  if (roots.copy)
    hint_range(NULL, r);
  else
    add_range(NULL, r);
}

bool roots_wants_hint_stop(void) { return traced_any() || (roots_program_speaks != NULL && roots_program_speaks()); }

void roots_hint_stopped(void) {
  begin_list();
  roots.bytes = HINT_BYTES - HINT_STOPPED;
  roots.copy = true;
  if (roots_program_hook != NULL) roots_program_hook();
  roots.copy = false;
  traced_hint();
}

void roots_discard(void) { atomic_store_relaxed(&roots.next, roots.pieces.count); }

/* Again: the words may have moved, so all their pieces are listed anew; those that were handed out are not once more. */
void roots_seal(void) {
  size_t first = roots.sealed * sizeof(struct range) / ROOT_PIECE;
  bool again = roots.words_from != NO_PIECE;
  if (!again) roots.words_from = roots.pieces.count;
  if (again) roots.bytes -= roots.sealed * sizeof(struct range);
  roots.pieces.count = roots.words_from;
  add_range(NULL, (struct range){(char *)roots.words.at, (char *)(roots.words.at + roots.words.count)});
  roots.sealed = roots.words.count;
  atomic_store_relaxed(&roots.next, again ? roots.words_from + first : 0);
}

void roots_words_again(void) { atomic_store_relaxed(&roots.next, roots.words_from); }

void roots_rewind(void) { atomic_store_relaxed(&roots.next, 0); }

bool roots_take(struct range *piece) {
  if (atomic_load_relaxed(&roots.next) >= roots.pieces.count) return false;
  size_t i = atomic_add(&roots.next, 1);
  if (i >= roots.pieces.count) return false;
  *piece = roots.pieces.at[i];
  return true;
}

uint64_t roots_bytes(void) { return roots.bytes; }
uint64_t roots_stack_bytes(void) { return roots.stack_bytes; }

static bool has(const struct table *t, struct range r) {
  size_t i = 0;
  while (i < t->count && (t->at[i].lo != r.lo || t->at[i].hi != r.hi)) i++;
  return i < t->count;
}

static bool add_to(struct table *t, struct range r, bool once) {
  lock_acquire(&roots.lock);
  bool ok = (once && has(t, r)) || table_add(t, r);
  lock_release(&roots.lock);
  return ok;
}

bool roots_add(char *lo, char *hi) { return add_to(&roots.user, (struct range){lo, hi}, false); }
bool roots_add_once(char *lo, char *hi) { return add_to(&roots.user, (struct range){lo, hi}, true); }
bool roots_exclude(char *lo, char *hi) { return add_to(&roots.excluded, (struct range){lo, hi}, true); }

void roots_exclude_nothing(void) {
  lock_acquire(&roots.lock);
  roots.excluded.count = 0;
  lock_release(&roots.lock);
}

void roots_remove(char *lo, char *hi) {
  struct table *t = &roots.user;
  lock_acquire(&roots.lock);
  for (size_t i = 0; i < t->count;) {
    if (t->at[i].lo >= lo && t->at[i].hi <= hi)
      t->at[i] = t->at[--t->count];
    else
      i++;
  }
  lock_release(&roots.lock);
}
