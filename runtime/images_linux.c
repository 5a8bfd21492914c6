/* images_linux.c - see images.h; glibc's loader. */
#include "runtime/images.h"

#include <link.h>
#include <string.h>

#include "runtime/atomic.h"
#include "runtime/interpose.h"
#include "runtime/lock.h"
#include "runtime/os.h"
#include "runtime/thread.h"

#define TLS_MODULES_MAX 1024 /* objects with thread-local storage; more are reported, once, by fatal() */

struct tls_module {
  size_t id, size;
};

static struct {
  struct tls_module module[TLS_MODULES_MAX]; /* [STW] */
  size_t modules;                            /* [STW] */
  bool unloaded;                             /* [STW] some object was unloaded before: module ids are given anew */
  size_t control_block;                      /* [const] bytes of glibc's struct pthread; 0: unknown */
  size_t static_size;                        /* [const] bytes of static TLS, see places_of; 0: unknown */
  size_t keys;                  /* [const] where in it the table of blocks of key values begins; 0: unknown */
  size_t key_blocks, key_block; /* [const] how many there are; bytes of one */
} tls GC_OWN_DATA;

/* Made by the linker for GC_OWN_DATA. */
extern char __start_holdfast_data[] __attribute__((visibility("hidden")));
extern char __stop_holdfast_data[] __attribute__((visibility("hidden")));

struct walk {
  void (*stop)(void *arg);
  void (*range)(void *arg, struct range r);
  void *arg;
  bool stopped;
};

/* Reports r without the part that lies in hole. */
static void range_without(struct walk *w, struct range r, struct range hole) {
  if (hole.lo >= r.hi || hole.hi <= r.lo) {
    if (r.lo < r.hi) w->range(w->arg, r);
    return;
  }
  if (r.lo < hole.lo) w->range(w->arg, (struct range){r.lo, hole.lo});
  if (hole.hi < r.hi) w->range(w->arg, (struct range){hole.hi, r.hi});
}

static void add_segment(struct walk *w, struct range segment, struct range relro) {
  struct range own = {__start_holdfast_data, __stop_holdfast_data};
  /* What is read-only after relocation was written before any object existed. */
  if (relro.lo <= segment.lo && relro.hi > segment.lo) segment.lo = relro.hi < segment.hi ? relro.hi : segment.hi;
  segment.lo = (char *)round_up((uintptr_t)segment.lo, sizeof(uintptr_t));
  segment.hi = (char *)round_down((uintptr_t)segment.hi, sizeof(uintptr_t));
  range_without(w, segment, own);
}

static void add_tls_module(const struct dl_phdr_info *info, size_t size) {
  if (info->dlpi_tls_modid == 0 || size == 0) return;
  if (tls.modules == TLS_MODULES_MAX) fatal("more than %d loaded objects have thread-local storage", TLS_MODULES_MAX);
  tls.module[tls.modules++] = (struct tls_module){info->dlpi_tls_modid, size};
}

static struct range phdr_range(const struct dl_phdr_info *info, const ElfW(Phdr) * p) {
  char *lo = (char *)info->dlpi_addr + p->p_vaddr;
  return (struct range){lo, lo + p->p_memsz};
}

static int visit(struct dl_phdr_info *info, size_t size, void *arg) {
  struct walk *w = arg;
  struct range relro = {NULL, NULL};
  if (!w->stopped && w->stop != NULL) {
    w->stop(w->arg);
    tls.modules = 0;
    w->stopped = true;
  }
  if (w->stopped) tls.unloaded = size < sizeof *info || info->dlpi_subs != 0;
  for (int i = 0; i < info->dlpi_phnum; i++)
    if (info->dlpi_phdr[i].p_type == PT_GNU_RELRO) relro = phdr_range(info, &info->dlpi_phdr[i]);
  relro.hi = (char *)round_down((uintptr_t)relro.hi, os_page_size()); /* only whole OS pages are protected */
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *p = &info->dlpi_phdr[i];
    if (p->p_type == PT_LOAD && (p->p_flags & PF_W)) add_segment(w, phdr_range(info, p), relro);
    if (p->p_type == PT_TLS && w->stopped) add_tls_module(info, p->p_memsz);
  }
  return 0;
}

/* Values of pthread keys lie in blocks of 32: the first in the control block itself, the others in memory from malloc,
 * which the table of blocks knows. For debuggers: { bits, fields, offset } of the table, and the size of a block. */
static void find_keys(void) {
  const uint32_t *table = interpose_find("_thread_db_pthread_specific");
  const uint32_t *block = interpose_find("_thread_db_sizeof_pthread_key_data_level2");
  if (table == NULL || block == NULL || table[2] + table[0] / 8 > tls.control_block) return;
  tls.keys = table[2];
  tls.key_blocks = table[0] / 64;
  tls.key_block = *block;
}

/* glibc publishes the size of the control block for debuggers, and that of static TLS for sanitizers. Without
 * the first, values of pthread keys are not roots; without the second, neither is initial-exec TLS of libraries loaded
 * later. */
void images_init(void) {
  union {
    const void *object;
    void (*function)(size_t *size, size_t *alignment);
  } info = {interpose_find("_dl_get_tls_static_info")};
  const unsigned *size = interpose_find("_thread_db_sizeof_pthread");
  size_t alignment = 0;
  if (size != NULL) tls.control_block = *size;
  if (info.object != NULL) info.function(&tls.static_size, &alignment);
  find_keys();
#if defined(__x86_64__) /* there glibc counts struct pthread, too */
  tls.static_size = tls.static_size > tls.control_block ? tls.static_size - tls.control_block : 0;
#endif
}

void images_stop_and_walk(void (*stop)(void *arg), void (*range)(void *arg, struct range r), void *arg) {
  struct walk w = {stop, range, arg, false};
  dl_iterate_phdr(visit, &w);
}

/* Where glibc keeps a thread's things, seen from tp, the address of its struct pthread. Variant II of the ELF TLS document:
 * that is where the thread pointer points, its second word is the thread vector, and static TLS lies below. Variant I: it
 * lies below the thread pointer, the vector is the first word there, and static TLS follows; the size that glibc tells
 * begins at the thread pointer and does not count struct pthread. */
struct places {
  const char *vector;
  struct range static_tls;
};

static struct places places_of(char *tp) {
#if defined(__x86_64__)
  return (struct places){tp + sizeof(void *), {tp - round_down(tls.static_size, 8), tp}};
#elif defined(__aarch64__)
  char *pointer = tp + tls.control_block;
  if (tls.control_block == 0) return (struct places){NULL, {NULL, NULL}};
  return (struct places){pointer, {pointer, pointer + round_down(tls.static_size, 8)}};
#else
#error "where does the C library of this machine keep thread-local storage? see places_of"
#endif
}

/* glibc's dynamic thread vector: dtv[-1] holds the number of entries, dtv[id].val the block of module id or -1 when it
 * has not been used by this thread. */
struct dtv_entry {
  uintptr_t value, to_free;
};

/* A block is there from the thread's first use of one of its keys to the thread's end. */
static GC_NO_SANITIZE void walk_keys(const char *tp, void (*range)(void *arg, struct range r), void *arg) {
  for (size_t i = 1; i < tls.key_blocks; i++) {
    char *block = (char *)racy_load_word(tp + tls.keys + i * sizeof(void *));
    if (block != NULL) range(arg, (struct range){block, block + tls.key_block});
  }
}

/* A thread that has not used its TLS since may still have the block of an unloaded library under an id that belongs to
 * another by now, with a larger block: beyond its end the next page may be missing. */
static char *end_of_block(char *lo, char *hi) {
  struct range mapping;
  uintptr_t last;
  if (!tls.unloaded || os_read_memory(&last, hi - sizeof last, sizeof last)) return hi;
  return os_mapping_of(lo, &mapping) && mapping.hi < hi ? mapping.hi : hi;
}

GC_NO_SANITIZE void images_walk_tls(const struct thread *t, void (*range)(void *arg, struct range r), void *arg) {
  struct places at = places_of(t->tp);
  const struct dtv_entry *dtv = NULL;
  if (at.vector != NULL) dtv = (const struct dtv_entry *)racy_load_word(at.vector);
  range(arg, (struct range){t->tp, t->tp + round_down(tls.control_block, 8)});
  walk_keys(t->tp, range, arg);
  range(arg, at.static_tls);
  if (dtv == NULL) return;
  size_t entries = racy_load_word(&dtv[-1].value);
  for (size_t i = 0; i < tls.modules; i++) {
    if (tls.module[i].id > entries) continue;
    uintptr_t block = racy_load_word(&dtv[tls.module[i].id].value);
    if (block == 0 || block == UINTPTR_MAX) continue;
    uintptr_t lo = round_up(block, sizeof(uintptr_t)), hi = round_down(block + tls.module[i].size, sizeof(uintptr_t));
    if (lo < hi) range(arg, (struct range){(char *)lo, end_of_block((char *)lo, (char *)hi)});
  }
}
