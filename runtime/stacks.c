/* stacks.c - see stacks.h.
 * Owns:    the table of coroutine stacks, which thread runs on which of them, where the others were left.
 * Never:   switches stacks; reads one.
 *
 * A thread says gc_stack_switch(to) and then switches, by swapcontext or code of its own. A stop may find it at any
 * instruction: before the call, inside it, between it and the switch, in the middle of the switch, or behind it.
 * What holds at each of them:
 *
 *  - The call does its work with stops deferred, so a stop sees the thread either as it was before or as it is after.
 *    Of the work only this is seen: `from` was left at the caller's stack pointer, with the registers as they were;
 *    t->stack is `to`; t->last is `from`.
 *  - After the call and before the switch t->stack is not the stack that the stack pointer lies on. The stack pointer
 *    decides: whatever the thread has said, the stack that it stands on is in use from there up, and is searched so. When
 *    it stands on t->last it has not switched yet (or is back unannounced, which is not allowed): then nobody has been
 *    on `to` since that was left, and `to` is in use from where it was left, as if it were asleep.
 *  - In the middle of the switch, code like swapcontext saves registers in its own place (a ucontext_t in memory from
 *    malloc, say) and loads those of the other side. What it saves was in a register at the call or came from memory
 *    later; the former is in the copy of the registers that the call made, and for the latter the header forbids it:
 *    no object may become known only between the call and the switch. What it loads had been copied when that side
 *    called. As soon as the stack pointer is exchanged, `to` is in use from there up, and `from` from where it was
 *    left.
 *  - A stack that was left may be entered by another thread at once, since all that is known of it is in its record.
 *    The record is written by who runs on it, and handed over with `runs` (release, acquire). A thread may leave
 *    it, be slow to switch, and meanwhile be seen on it: only t->last tells; the stack is then searched twice. That another
 *    thread runs on a stack before this one has left it is a fault of the program's, which no order here could mend.
 *  - On a signal stack the stack pointer tells nothing of what the handler interrupted: then the stack that the thread said
 *    it runs on is searched whole.
 * A program may instead only say where the stack begins that it runs on (thread.h, said_at; GC_stackbottom of api/bdw), just
 * before it goes there, and have its own ways to list the others: visit_said.
 * A stopped cycle has all this in one stop. A cycle beside the program reads roots for good only in its last stop, too; what
 * it reads of stacks before are hints (stacks_hint).                                    INV-STACK-1 */
#include "runtime/stacks.h"

#include <string.h>

#include "runtime/lock.h"
#include "runtime/meta.h"
#include "runtime/os.h"
#include "runtime/thread.h"
#include "runtime/world.h"

#define STACKS_MOST ((size_t)1 << 18)
#define STACKS_STEP (64 * KIB) /* bytes of the table committed at a time */
#define FRESH_BYTES (64 * KIB) /* of a stack that nobody has been on, from its top: where makecontext puts arguments */
#define HINT_BYTES (64 * KIB)  /* of each that was left */

struct gc_stack {
  char *lo, *hi;                /* [L:STACKS; STW] NULL: not in use; who switches reads lo, to find a mistake */
  struct left_at left;          /* [own by the thread that runs on it; STW; hints read sp, and believe nothing] */
  atomic_word runs;             /* [A] the struct thread that says it runs on it, or 0; released by who leaves */
  struct gc_stack *next_unused; /* [L:STACKS] */
};

static struct {
  struct lock lock;
  struct gc_stack *table;  /* [const] once set: STACKS_MOST of them, reserved */
  atomic_word count;       /* [A; written L:STACKS] of these, ever used */
  size_t ready;            /* [L:STACKS] bytes of the table committed */
  struct gc_stack *unused; /* [L:STACKS] */
} stacks GC_OWN_DATA = {.lock = LOCK_INIT(STACKS)};

/* ---- the table ---- */

static struct gc_stack *new_record(void) {
  struct gc_stack *s = stacks.unused;
  size_t count = atomic_load_relaxed(&stacks.count);
  GC_CHECK_HELD(&stacks.lock);
  if (s != NULL) {
    stacks.unused = s->next_unused;
    return s;
  }
  if (stacks.table == NULL) stacks.table = os_reserve(round_up(STACKS_MOST * sizeof *s, STACKS_STEP));
  if (stacks.table == NULL || count == STACKS_MOST) return NULL;
  if ((count + 1) * sizeof *s > stacks.ready) {
    if (!os_commit((char *)stacks.table + stacks.ready, STACKS_STEP)) return NULL;
    stacks.ready += STACKS_STEP;
  }
  atomic_store_release(&stacks.count, count + 1); /* pairs with is_registered: the table is there */
  return &stacks.table[count];
}

struct gc_stack *stacks_add(char *lo, char *hi) {
  lock_acquire(&stacks.lock);
  struct gc_stack *s = new_record();
  if (s != NULL) {
    memset(s, 0, sizeof *s);
    s->lo = lo;
    s->hi = hi;
  }
  lock_release(&stacks.lock);
  return s;
}

/* Any value may come from the program. */
static bool is_registered(const struct gc_stack *s) {
  size_t count = atomic_load_acquire(&stacks.count);
  uintptr_t at = (uintptr_t)s - (uintptr_t)stacks.table;
  return count != 0 && at < count * sizeof *s && at % sizeof *s == 0 && s->lo != NULL;
}

void stacks_remove(struct gc_stack *s) {
  lock_acquire(&stacks.lock);
  if (!is_registered(s)) fatal("gc_stack_unregister: %p is not a registered stack", (void *)s);
  if (atomic_load_acquire(&s->runs) != 0) fatal("gc_stack_unregister: a thread runs on the stack %p", (void *)s);
  s->lo = s->hi = NULL; /* a thread may remember it as its last one */
  s->next_unused = stacks.unused;
  stacks.unused = s;
  lock_release(&stacks.lock);
}

/* ---- switching ---- */

void stacks_switch(struct gc_stack *to, char *top) {
  struct thread *t = tl_thread;
  struct gc_stack *from = t->stack;
  if (to == from) return;
  if (to != NULL && !is_registered(to)) fatal("gc_stack_switch: %p is not a registered stack", (void *)to);
  if (to != NULL && !atomic_cas(&to->runs, 0, (uintptr_t)t))
    fatal("gc_stack_switch: another thread runs on the stack %p", (void *)to);
  world_note_left(from != NULL ? &from->left : &t->own_at, top);
  t->last = from;
  t->stack = to;
  if (from != NULL) atomic_store_release(&from->runs, 0); /* pairs with the exchange above: left is whole */
}

void stacks_forget_thread(struct thread *t) {
  struct gc_stack *s = t->stack;
  t->stack = t->last = NULL;
  if (s == NULL) return;
  s->left.sp = s->hi;
  s->left.words = 0;
  atomic_store_release(&s->runs, 0);
}

/* ---- what is in use ---- */

static bool is_on(const char *sp, const struct gc_stack *s) { return s != NULL && sp >= s->lo && sp < s->hi; }

static void visit_left(const struct left_at *at, char *hi, stacks_visitor *visit, void *arg) {
  visit(arg, (struct range){at->sp, hi});
  visit(arg, (struct range){(char *)(uintptr_t)at->spilled, (char *)(uintptr_t)(at->spilled + at->words)});
}

static void visit_asleep(const struct gc_stack *s, stacks_visitor *visit, void *arg) {
  struct left_at fresh = {.sp = s->hi - min_size((size_t)(s->hi - s->lo), FRESH_BYTES)};
  visit_left(s->left.sp != NULL ? &s->left : &fresh, s->hi, visit, arg);
}

static struct range mapping_of(const char *p) {
  struct range mapping;
  if (!os_mapping_of(p, &mapping)) fatal("the stack of a thread is not mapped");
  return mapping;
}

/* What a stop knows of a thread. */
struct position {
  char *sp;
  struct range signal_stack; /* lo NULL: not on one */
};

static struct position position_of(const struct thread *t) {
  if (atomic32_load_relaxed(&t->blocked) == THREAD_HELD)
    return (struct position){t->blocked_at.sp, t->blocked_other_stack};
  return (struct position){t->sp, t->other_stack};
}

/* The used part of its own stack is not known when it is on a signal stack, or somewhere we were not told of. */
static void visit_whole_own(const struct thread *t, stacks_visitor *visit, void *arg) {
  if (t->stack_base == NULL) return;
  visit(arg, (struct range){mapping_of(t->stack_base - 1).lo, t->stack_base});
}

/* A registered stack that it is on without having said so, or else the mapping around its stack pointer. */
static void visit_unknown(char *sp, stacks_visitor *visit, void *arg) {
  size_t count = atomic_load_relaxed(&stacks.count);
  for (size_t i = 0; i < count; i++) {
    const struct gc_stack *s = &stacks.table[i];
    if (s->lo == NULL || !is_on(sp, s)) continue;
    visit(arg, (struct range){sp, s->hi});
    return;
  }
  visit(arg, (struct range){sp, mapping_of(sp).hi});
}

/* Before `own`: a coroutine's stack may be an array on the thread's own. */
static void visit_stacks(const struct thread *t, struct position at, stacks_visitor *visit, void *arg) {
  struct gc_stack *s = t->stack;
  char *sp = at.sp;
  bool on_signal_stack = at.signal_stack.lo != NULL;
  bool on_stack = !on_signal_stack && is_on(sp, s), on_last = !on_signal_stack && !on_stack && is_on(sp, t->last);
  bool on_own = !on_signal_stack && !on_stack && !on_last && sp >= t->stack_lo && sp < t->stack_base;

  if (on_signal_stack) visit(arg, at.signal_stack);
  if (on_stack) visit(arg, (struct range){sp, s->hi});
  if (on_last) visit(arg, (struct range){sp, t->last->hi});
  if (on_own) visit(arg, (struct range){sp, t->stack_base});
  if (!on_signal_stack && !on_stack && !on_last && !on_own) visit_unknown(sp, visit, arg);

  bool not_there_yet = on_last || (on_own && t->last == NULL);
  if (s != NULL && !on_stack && not_there_yet) visit_asleep(s, visit, arg);
  if (s != NULL && !on_stack && !not_there_yet) visit(arg, (struct range){s->lo, s->hi});
  if (on_own || t->stack_base == NULL) return;
  if (s != NULL || on_last)
    visit_left(&t->own_at, t->stack_base, visit, arg);
  else
    visit_whole_own(t, visit, arg);
}

/* The highest address of the stack that the program says the thread runs on, unless that is the thread's own. */
static char *said_base(const struct thread *t) {
  char *base = t->said_at != NULL ? *t->said_at : NULL;
  return base > t->stack_lo && base <= t->stack_base ? NULL : base;
}

bool stacks_says_elsewhere(const struct thread *t) { return said_base(t) != NULL; }

/* The thread runs on the stack that ends at base, or is about to go there, or is on its way from there and has said nothing
 * yet. True: it is there, and where else it has been is the program's to say (GC_push_other_roots), as with the library that
 * programs know this from. Before or after that, base's whole mapping counts, and what is found by the stack pointer. A
 * signal stack tells nothing of what was interrupted, either. */
static bool visit_said(char *base, struct position at, stacks_visitor *visit, void *arg) {
  bool known = at.signal_stack.lo == NULL;
  if (known && at.sp < base && mapping_of(at.sp).hi >= base) {
    visit(arg, (struct range){at.sp, base});
    return true;
  }
  visit(arg, (struct range){mapping_of(base - 1).lo, base});
  return false;
}

void stacks_walk_thread(const struct thread *t, stacks_visitor *visit, void *arg) {
  char *said = said_base(t);
  const struct left_at *b = &t->blocked_at;
  if (atomic32_load_relaxed(&t->blocked) == THREAD_HELD)
    visit(arg, (struct range){(char *)(uintptr_t)b->spilled, (char *)(uintptr_t)(b->spilled + b->words)});
  if (said == NULL || !visit_said(said, position_of(t), visit, arg)) visit_stacks(t, position_of(t), visit, arg);
}

void stacks_walk_left(stacks_visitor *visit, void *arg) {
  size_t count = atomic_load_relaxed(&stacks.count);
  for (size_t i = 0; i < count; i++) {
    const struct gc_stack *s = &stacks.table[i];
    if (s->lo != NULL && atomic_load_relaxed(&s->runs) == 0) visit_asleep(s, visit, arg);
  }
}

/* The lock keeps the program from giving the stack back; what is read may change meanwhile. */
void stacks_hint(stacks_visitor *visit, void *arg) {
  lock_acquire(&stacks.lock);
  size_t count = atomic_load_relaxed(&stacks.count);
  for (size_t i = 0; i < count; i++) {
    const struct gc_stack *s = &stacks.table[i];
    char *sp = s->left.sp;
    if (s->lo == NULL || sp == NULL || sp < s->lo || sp >= s->hi || atomic_load_relaxed(&s->runs) != 0) continue;
    visit(arg, (struct range){sp, sp + min_size((size_t)(s->hi - sp), HINT_BYTES)});
  }
  lock_release(&stacks.lock);
}
