/* leaks.c - gc_print_leaks, and the report at the end of a program in leak mode: what alloc/leaks.h counted, in words. */
#include <string.h>

#include "alloc/leaks.h"
#include "api/object.h"
#include "api/profile.h"
#include "gc/cycle.h"
#include "gc_debug.h"
#include "runtime/options.h"
#include "runtime/os.h"

/* A copy, so that nothing is held while it is told; rows are taken off it as they are. NULL: memory is refused. */
static struct leaks *copy_leaks(void) {
  struct leaks *copy = os_map(round_up(sizeof *copy, os_page_size()));
  if (copy == NULL) return NULL;
  cycle_keep_out();
  memcpy(copy, leaks_so_far(), sizeof *copy);
  cycle_let_in();
  return copy;
}

static void print_row(FILE *to, const struct leak_tally *t) {
  fprintf(to, "%12llu %14llu  ", (unsigned long long)t->objects, (unsigned long long)t->bytes);
}

/* The row with most bytes of those not told yet; n: none is left. */
static uint32_t take_most(struct leak_tally *rows, uint32_t n, struct leak_tally *row) {
  uint32_t most = n;
  for (uint32_t i = 0; i < n; i++)
    if (rows[i].objects != 0 && (most == n || rows[i].bytes > rows[most].bytes)) most = i;
  if (most == n) return n;
  *row = rows[most];
  rows[most].objects = 0;
  return most;
}

static void print_sites(FILE *to, struct leaks *l) {
  char name[2048];
  struct leak_tally row;
  for (uint32_t site; (site = take_most(l->by_site, SAMPLE_SITES_MAX, &row)) != SAMPLE_SITES_MAX;) {
    print_row(to, &row);
    fprintf(to, "allocated by %s\n", profile_site_name(name, sizeof name, site) != 0 ? name : "an unknown call stack");
  }
}

static void print_classes(FILE *to, struct leaks *l) {
  struct leak_tally row;
  for (uint32_t sc; (sc = take_most(l->by_class, SPAN_CLASSES, &row)) != SPAN_CLASSES;) {
    print_row(to, &row);
    if (sc < 2)
      fprintf(to, "large, ");
    else
      fprintf(to, "of %zu bytes each, ", span_class_size(sc));
    fprintf(to, "%s, call stack not noted%s\n", span_class_is_noscan(sc) ? "noscan" : "scanned",
            sample_rate() == 0 ? ": GC_PROFILE=1 does" : "");
  }
}

static void print_leaks(FILE *to, struct leaks *l) {
  if (l->total.objects == 0) {
    fprintf(to, "holdfast: no leaks: nothing became unreachable that was not freed\n");
    return;
  }
  fprintf(to, "holdfast: leaks: %llu objects, %llu bytes became unreachable and were not freed\n%12s %14s\n",
          (unsigned long long)l->total.objects, (unsigned long long)l->total.bytes, "objects", "bytes");
  print_sites(to, l);
  print_classes(to, l);
}

int gc_print_leaks(FILE *to) {
  runtime_ensure_init();
  if (leaks_so_far() == NULL) {
    fprintf(to, "holdfast: leaks are not looked for: GC_LEAKS=1 in the environment turns it on\n");
    return ferror(to) ? -1 : 0;
  }
  collect_fully();
  struct leaks *l = copy_leaks();
  if (l == NULL) {
    fprintf(to, "holdfast: leaks cannot be told: the system refuses memory\n");
    return -1;
  }
  print_leaks(to, l);
  os_unreserve(l, round_up(sizeof *l, os_page_size()));
  return ferror(to) ? -1 : 0;
}

/* After the program's own exit handlers, or most of them; what main's variables held is gone by now. */
__attribute__((destructor)) static void at_exit(void) {
  if (leaks_wanted) gc_print_leaks(stderr);
}
