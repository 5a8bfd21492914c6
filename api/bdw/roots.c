/* roots.c - roots that programs register, and those they push themselves.
 * Owns:     GC_push_other_roots, the plausible bounds of the heap.
 * Promises: what GC_push_other_roots pushes is a root of every cycle. It is called in each stop that may be the cycle's last, and
 *           in a stop in the middle of a cycle beside the program, for hints; never while the program runs.
 * Scans more than was asked for, which is always safe: GC_no_dls and GC_clear_roots leave out no object's data, and a filter
 *           for such objects is not asked. What else is registered is data that the loader does not know of. */
#include "api/bdw/roots.h"

#include <link.h>

#include "api/object.h"
#include "gc/roots.h"
#include "gc/traced.h"

/* There is nothing that this one must push: stacks and registers of all threads are roots anyway. Never NULL, since programs
 * call what was there before from theirs. */
static void push_nothing(void) {}

GC_push_other_roots_proc GC_push_other_roots = push_nothing;
void *GC_least_plausible_heap_addr GC_OWN_DATA, *GC_greatest_plausible_heap_addr GC_OWN_DATA;

static bool gathering GC_OWN_DATA; /* [STW] GC_push_other_roots is being called */

static bool speaks(void) { return GC_push_other_roots != NULL && GC_push_other_roots != push_nothing; }

/* The reservation does not move or grow. One byte below, so that the bound itself, which may lie in a program's data, is no pointer
 * to the first object. */
__attribute__((constructor(102))) static void at_load(void) {
  runtime_ensure_init();
  GC_least_plausible_heap_addr = heap.base - 1;
  GC_greatest_plausible_heap_addr = heap.base + heap.pages * PAGE_SIZE;
  roots_program_speaks = speaks;
}

/* ---- ranges ---- */

void GC_add_roots(void *lo, void *hi) {
  library_enter();
  bool ok = (char *)hi <= (char *)lo || roots_add_once(lo, hi);
  library_leave();
  if (!ok) fatal("GC_add_roots: no memory to note a range of roots");
}

void GC_remove_roots(void *lo, void *hi) {
  library_enter();
  roots_remove(lo, hi);
  library_leave();
}

void GC_clear_roots(void) { GC_remove_roots(NULL, (void *)UINTPTR_MAX); }

void GC_exclude_static_roots(void *lo, void *hi) {
  library_enter();
  bool ok = (char *)hi <= (char *)lo || roots_exclude(lo, hi);
  library_leave();
  if (!ok) fatal("GC_exclude_static_roots: no memory to note a range");
}

void GC_clear_exclusion_table(void) {
  library_enter();
  roots_exclude_nothing();
  library_leave();
}

void GC_register_has_static_roots_callback(GC_has_static_roots_func wanted) { (void)wanted; }

struct look_up {
  uintptr_t p;
  bool found;
};

/* The program itself has no name there. */
static int look_in(struct dl_phdr_info *info, size_t size, void *arg) {
  struct look_up *l = arg;
  (void)size;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *h = &info->dlpi_phdr[i];
    if (h->p_type == PT_LOAD && (h->p_flags & PF_W) && l->p - (info->dlpi_addr + h->p_vaddr) < h->p_memsz)
      l->found = info->dlpi_name[0] != '\0';
  }
  return 0;
}

/* Data that is scanned because its object is loaded, and will not be when it is unloaded. */
int GC_is_tmp_root(void *p) {
  struct look_up l = {(uintptr_t)p, false};
  dl_iterate_phdr(look_in, &l);
  return l.found;
}

/* ---- what the program pushes ---- */

void GC_set_push_other_roots(GC_push_other_roots_proc f) { GC_push_other_roots = f; }
GC_push_other_roots_proc GC_get_push_other_roots(void) { return GC_push_other_roots; }

void bdw_roots_gather(void) {
  if (!speaks()) return;
  gathering = true;
  GC_push_other_roots();
  gathering = false;
}

/* In a mark procedure: it has the list of roots only word by word. */
static GC_NO_SANITIZE void name_words(const char *lo, const char *hi) {
  lo = (const char *)round_up((uintptr_t)lo, sizeof(uintptr_t));
  for (; lo + sizeof(uintptr_t) <= hi; lo += sizeof(uintptr_t)) traced_name(racy_load_word(lo));
}

static const char where[] = "call it from GC_push_other_roots or a mark procedure";

/* False: nobody is asking. */
static bool push(void *lo, void *hi) {
  if (gathering)
    roots_add_range((struct range){lo, hi});
  else if (traced_is_asking())
    name_words(lo, hi);
  else
    return false;
  return true;
}

void GC_push_all(void *lo, void *hi) {
  if (!push(lo, hi)) bdw_unsupported("GC_push_all", where);
}

void GC_push_all_eager(void *lo, void *hi) {
  if (!push(lo, hi)) bdw_unsupported("GC_push_all_eager", where);
}

/* What was not written since may be left out there; all of it is read here. */
void GC_push_conditional(void *lo, void *hi, int all) {
  (void)all;
  if (!push(lo, hi)) bdw_unsupported("GC_push_conditional", where);
}

/* There the object stays and is not read. Here it is: marking beside the program may have come to it before. */
void GC_set_mark_bit(const void *p) {
  if (gathering)
    roots_add_word(NULL, p);
  else if (traced_is_asking())
    traced_name((uintptr_t)p);
  else
    bdw_unsupported("GC_set_mark_bit", where);
}

/* What is marked stays until the next cycle: to take a mark back is a permission, not used. */
void GC_clear_mark_bit(const void *p) { (void)p; }

int GC_is_marked(const void *p) {
  bdw_look();
  struct slot s = slot_find(p);
  int marked = s.object != NULL && is_marked(s.state);
  bdw_looked();
  return marked;
}
