/* profile.c - see profile.h: turning sampling on, call stacks, and the report in words.
 *
 * Call stacks come from backtrace(3). Its first call loads the compiler's unwinder, with malloc and the loader's lock, so
 * it is made when sampling is turned on; later ones may take the loader's lock too. Both are done where the thread may be
 * stopped and holds no lock of ours: a cycle takes the loader's lock before it stops the world (docs/collection.md), so
 * a thread that waited for it and could not be stopped would wait for ever. Where there is no unwinder, or no way
 * through code without unwind tables, stacks are short or empty.
 *
 * Our own frames are those of GC_ENTRY code (runtime/base.h), up to the public function. */
#include "api/profile.h"

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <string.h>

#include "alloc/cache.h"
#include "api/object.h"
#include "gc_frag.h"
#include "runtime/options.h"
#include "runtime/os.h"
#include "runtime/print.h"

#define OWN_FRAMES 8     /* of the library, at most, below the program's */
#define FOREIGN_FRAMES 2 /* below ours, where somebody stands in front of backtrace: the address sanitizer does */
#define START_FRAMES 3   /* at the end of a thread's stack: our start routine, below the C library's two */
#define TOP 20           /* sites told one by one */
#define LINE_FRAMES 4    /* of a site that is told on one line */

/* ---- turning on and off ---- */

static void set_rate(uint64_t bytes) {
  library_enter();
  bool ok = sample_set_rate(bytes);
  if (tl_cache != &empty_cache) cache_flush(tl_cache); /* what this thread has claimed already was not counted */
  library_leave();
  if (!ok) print_line("holdfast: allocation sites are not sampled: the system refuses memory for the tables");
}

/* See above: the first call. */
static void prime_backtrace(void) {
  void *pc[2];
  backtrace(pc, 2);
}

uint64_t gc_profile_set_rate(uint64_t bytes) {
  uint64_t before = sample_rate();
  if (bytes != 0) prime_backtrace();
  set_rate(bytes);
  return before;
}

void profile_init(void) {
  if (options.profile == 0) return;
  prime_backtrace();
  set_rate((uint64_t)options.profile);
}

/* ---- noting ---- */

/* The unwinder may allocate, and a program's malloc may be built on gc_alloc. */
static GC_TLS bool noting;

/* Made by the linker for GC_ENTRY. */
extern const char __start_holdfast_entry[] __attribute__((visibility("hidden")));
extern const char __stop_holdfast_entry[] __attribute__((visibility("hidden")));

/* A return address may lie just behind the last instruction. */
static bool is_own(const void *pc) {
  return (const char *)pc > __start_holdfast_entry && (const char *)pc <= __stop_holdfast_entry;
}

/* How many frames lie below the program's. */
static int own_frames(void *const *pc, int n) {
  int i = 0;
  while (i < n && i < FOREIGN_FRAMES && !is_own(pc[i])) i++;
  if (i == n || !is_own(pc[i])) return 0;
  while (i < n && is_own(pc[i])) i++;
  return i;
}

/* How many of the frames are the program's: without how a thread was started. */
static int without_start(void *const *pc, int n) {
  for (int i = n - 1; i >= 0 && i >= n - START_FRAMES; i--)
    if (is_own(pc[i])) return i;
  return n;
}

static GC_ENTRY GC_NOINLINE void note(const void *p, uint64_t mean) {
  void *pc[SAMPLE_DEPTH + OWN_FRAMES];
  int n = backtrace(pc, SAMPLE_DEPTH + OWN_FRAMES), own = own_frames(pc, n);
  n = own + without_start(pc + own, n - own);
  library_enter();
  sample_add(p, mean, pc + own, (unsigned)min_size((size_t)(n - own), SAMPLE_DEPTH));
  library_leave();
}

GC_ENTRY void profile_note(const void *p, uint64_t mean) {
  int saved = errno;
  if (noting) return;
  noting = true;
  note(p, mean);
  noting = false;
  errno = saved;
}

/* ---- reading ---- */

static size_t figures_bytes(const struct profile *p) {
  return round_up((p->totals.sites + 1) * sizeof(struct sample_figures), os_page_size());
}

struct profile profile_read(unsigned percent) {
  struct profile p;
  runtime_ensure_init();
  library_enter();
  p.totals = sample_totals();
  library_leave();
  p.figures = os_map(figures_bytes(&p));
  struct sample_reader reader = {p.figures, p.totals.sites, 0, 0, percent};
  for (bool more = p.figures != NULL; more;) {
    library_enter();
    more = samples_read(&reader);
    library_leave();
  }
  return p;
}

void profile_discard(struct profile *p) {
  if (p->figures != NULL) os_unreserve(p->figures, figures_bytes(p));
  p->figures = NULL;
}

bool profile_has_samples(void) {
  library_enter();
  struct sample_totals t = sample_totals();
  library_leave();
  return t.taken != 0;
}

/* ---- in words ---- */

static const char *base_name(const char *path) {
  const char *slash = path != NULL ? strrchr(path, '/') : NULL;
  return slash != NULL ? slash + 1 : path != NULL ? path : "?";
}

/* What is noted are return addresses: the call itself is just before. */
size_t profile_frame_name(char *to, size_t size, const void *pc) {
  const char *call = (const char *)pc - 1;
  Dl_info info;
  if (dladdr(call, &info) == 0) return format_text(to, size, "0x%zx", (size_t)call);
  const char *file = base_name(info.dli_fname);
  size_t at = (size_t)(call - (const char *)info.dli_fbase);
  if (info.dli_sname == NULL) return format_text(to, size, "? (%s+0x%zx)", file, at);
  return format_text(to, size, "%s+0x%zx (%s+0x%zx)", info.dli_sname, (size_t)(call - (const char *)info.dli_saddr),
                     file, at);
}

size_t profile_site_name(char *to, size_t size, uint32_t site) {
  void *const *pc;
  unsigned depth = site != SAMPLE_NO_SITE ? sample_stack(site, &pc) : 0;
  size_t n = 0;
  if (size > 0) to[0] = '\0';
  for (unsigned i = 0; i < depth && i < LINE_FRAMES; i++) {
    n += format_text(to + n, size - n, "%s", i == 0 ? "" : " < ");
    n += profile_frame_name(to + n, size - n, pc[i]);
  }
  return n;
}

static void print_frame(FILE *to, const void *pc) {
  char name[1024];
  profile_frame_name(name, sizeof name, pc);
  fprintf(to, "                    %s\n", name);
}

static void print_row(FILE *to, const struct sample_figures *f, const char *what) {
  fprintf(to, "%12.0f %14.0f %10llu  %s\n", f->pinned_bytes, f->pinned_objects, (unsigned long long)f->pinned_samples,
          what);
}

static void add(struct sample_figures *sum, const struct sample_figures *f) {
  sum->pinned_bytes += f->pinned_bytes;
  sum->pinned_objects += f->pinned_objects;
  sum->pinned_samples += f->pinned_samples;
  sum->samples += f->samples;
}

/* The site with the most pinned bytes of those not told yet; it is taken off the list. sites: none is left. */
static uint32_t take_worst(struct profile *p, struct sample_figures *figures) {
  uint32_t worst = p->totals.sites;
  for (uint32_t i = 0; i < p->totals.sites; i++)
    if (p->figures[i].pinned_samples != 0 &&
        (worst == p->totals.sites || p->figures[i].pinned_bytes > p->figures[worst].pinned_bytes))
      worst = i;
  if (worst != p->totals.sites) {
    *figures = p->figures[worst];
    p->figures[worst].pinned_samples = 0;
  }
  return worst;
}

static void print_site(FILE *to, uint32_t site, const struct sample_figures *f) {
  void *const *pc;
  unsigned depth = sample_stack(site, &pc);
  print_row(to, f, "from");
  if (depth == 0) fprintf(to, "                    unknown: no way through the stack was found\n");
  for (unsigned i = 0; i < depth; i++) print_frame(to, pc[i]);
}

static void print_sites(FILE *to, struct profile *p, const struct sample_figures *sum) {
  struct sample_figures f, others = {0};
  char text[40];
  uint32_t site, more = 0;
  fprintf(to, "%12s %14s %10s\n", "pinned bytes", "objects", "samples");
  print_row(to, sum, "together");
  for (unsigned i = 0; i < TOP && (site = take_worst(p, &f)) != p->totals.sites; i++) print_site(to, site, &f);
  for (; take_worst(p, &f) != p->totals.sites; more++) add(&others, &f);
  format_text(text, sizeof text, "others: %u call stacks", more);
  if (more != 0) print_row(to, &others, text);
}

static void print_heading(FILE *to, unsigned percent, const struct sample_totals *t) {
  uint64_t rate = sample_rate();
  fprintf(to,
          "Call stacks that own objects in spans less than %u %% full, and the bytes these keep from being released;\n",
          percent);
  if (rate == 1)
    fprintf(to, "every allocation is noted");
  else if (rate != 0)
    fprintf(to, "estimates from one noted allocation per %llu bytes", (unsigned long long)rate);
  else
    fprintf(to, "sampling is off, so nothing newer is in it");
  fprintf(to, ".\n");
  if (t->lost_samples + t->lost_stacks != 0)
    fprintf(to, "Too low: of %llu samples %llu were not kept, the tables were full.\n", (unsigned long long)t->taken,
            (unsigned long long)(t->lost_samples + t->lost_stacks));
}

static void print_profile(FILE *to, unsigned percent, struct profile *p) {
  struct sample_figures sum = {0};
  for (uint32_t i = 0; i < p->totals.sites; i++) add(&sum, &p->figures[i]);
  print_heading(to, percent, &p->totals);
  if (sum.pinned_samples == 0)
    fprintf(to, "None: of %llu sampled objects in use none lies in such a span.\n", (unsigned long long)sum.samples);
  else
    print_sites(to, p, &sum);
}

int gc_profile_print(FILE *to, unsigned percent) {
  struct profile p = profile_read(percent);
  if (p.figures == NULL)
    fprintf(to, "Call stacks cannot be told: the system refuses memory.\n");
  else if (p.totals.taken == 0)
    fprintf(to, "No call stacks: %s.\n",
            sample_rate() == 0
                ? "sampling is off. GC_PROFILE=524288 in the environment or gc_profile_set_rate turns it on"
                : "nothing was sampled yet");
  else
    print_profile(to, percent, &p);
  profile_discard(&p);
  return ferror(to) ? -1 : 0;
}
