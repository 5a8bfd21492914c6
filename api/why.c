/* why.c - gc_why_alive: the answer of gc/path.h in words. Names are looked up here, where the program runs again: they take
 * the loader's lock. */
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <string.h>

#include "api/object.h"
#include "api/profile.h"
#include "gc/path.h"
#include "gc_debug.h"
#include "runtime/os.h"

/* ---- code addresses among words of a stack ---- */

struct code {
  uintptr_t pc;
  bool found;
};

static int look_in_object(struct dl_phdr_info *info, size_t size, void *arg) {
  struct code *c = arg;
  (void)size;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *p = &info->dlpi_phdr[i];
    uintptr_t lo = info->dlpi_addr + p->p_vaddr;
    bool readable = p->p_type == PT_LOAD && (p->p_flags & (PF_X | PF_R)) == (PF_X | PF_R);
    c->found |= readable && c->pc >= lo + 8 && c->pc <= lo + p->p_filesz;
  }
  return c->found;
}

/* Whether a call instruction may end there: without the look a pointer to a function would do. */
static bool follows_call(uintptr_t pc) {
#if defined(__x86_64__)
  const unsigned char *b = (const unsigned char *)pc;
  if (b[-5] == 0xe8) return true;
  for (int n = 2; n <= 7; n++)
    if (b[-n] == 0xff && (b[1 - n] & 0x38) == 0x10) return true;
  return false;
#else
  return pc != 0;
#endif
}

/* The return address of the frame that the first of the words lies in is the next one above it. Words that were left there by
 * earlier calls may look the same. 0: none found. */
static uintptr_t return_address(const struct path *p) {
  for (unsigned i = 0; i < p->above_count; i++) {
    struct code c = {p->above[i], false};
    dl_iterate_phdr(look_in_object, &c);
    if (c.found && follows_call(c.pc)) return c.pc;
  }
  return 0;
}

/* ---- the parts of a line ---- */

static void print_data(FILE *to, uintptr_t word) {
  Dl_info info;
  if (dladdr((const void *)word, &info) == 0) {
    fprintf(to, "data of no loaded object");
    return;
  }
  const char *slash = strrchr(info.dli_fname, '/');
  fprintf(to, "data: ");
  if (info.dli_sname != NULL) fprintf(to, "%s+0x%zx ", info.dli_sname, (size_t)(word - (uintptr_t)info.dli_saddr));
  fprintf(to, "(%s+0x%zx)", slash != NULL ? slash + 1 : info.dli_fname, (size_t)(word - (uintptr_t)info.dli_fbase));
}

static void print_stack(FILE *to, const struct path *p, uintptr_t word) {
  char name[512];
  uintptr_t pc = return_address(p);
  if (p->root.tid == 0)
    fprintf(to, "stack or registers of a sleeping coroutine");
  else
    fprintf(to, "stack of thread %d%s", p->root.tid, p->root.own ? " (the caller)" : "");
  fprintf(to, ", 0x%zx bytes above its end", (size_t)(word - (uintptr_t)p->root.range.lo));
  if (pc == 0) return;
  profile_frame_name(name, sizeof name, (const void *)pc);
  fprintf(to, ", in a frame called by %s", name);
}

static void print_root(FILE *to, const struct path *p) {
  uintptr_t word = p->step[0].word;
  const struct root_place *r = &p->root;
  fprintf(to, "  word at 0x%zx, ", (size_t)word);
  switch (r->kind) {
    case ROOT_DATA: print_data(to, word); break;
    case ROOT_STACK: print_stack(to, p, word); break;
    case ROOT_RANGE:
      fprintf(to, "registered range %p-%p+0x%zx", (void *)r->range.lo, (void *)r->range.hi,
              (size_t)(word - (uintptr_t)r->range.lo));
      break;
    case ROOT_TLS: fprintf(to, "thread-local storage of thread %d%s", r->tid, r->own ? " (the caller)" : ""); break;
    case ROOT_THREAD: fprintf(to, "start argument or result of thread %d", r->tid); break;
    case ROOT_KEPT: fprintf(to, "record of an uncollectable object"); break;
    case ROOT_QUEUED: fprintf(to, "queue of finalizers that are to run"); break;
    case ROOT_HELD: fprintf(to, "record of a finalizer's argument or a toggle reference"); break;
    case ROOT_CACHE: fprintf(to, "cache of a thread: the last object it allocated in its class"); break;
  }
  fputc('\n', to);
}

static void print_object(FILE *to, const struct path_step *s) {
  char site[1024];
  fprintf(to, "0x%zx, %zu bytes, %s%s", (size_t)s->object, s->size, s->sc < 2 ? "large, " : "",
          span_class_is_noscan(s->sc)  ? "noscan"
          : span_class_is_typed(s->sc) ? "typed"
                                       : "scanned");
  if (profile_site_name(site, sizeof site, s->site) != 0) fprintf(to, ", allocated by %s", site);
}

static void print_word(FILE *to, const struct path *p, size_t i) {
  const struct path_step *s = path_step(p, i);
  bool jumped = p->length > 2 * PATH_ENDS && i == p->length - PATH_ENDS;
  const char *holder = jumped ? "the last of them" : "it";
  if (jumped) fprintf(to, "  ... %zu objects not told ...\n", p->length - 2 * PATH_ENDS);
  switch (s->edge) {
    case EDGE_WORD:
      if (jumped)
        fprintf(to, "  word at 0x%zx in %s\n", (size_t)s->word, holder);
      else
        fprintf(to, "  word at +0x%zx in %s\n", (size_t)(s->word - path_step(p, i - 1)->object), holder);
      break;
    case EDGE_KEY: fprintf(to, "  value of an ephemeron whose key is %s\n", holder); break;
    case EDGE_EPHEMERON: fprintf(to, "  value of the ephemeron that is %s, whose key is kept, too\n", holder); break;
    case EDGE_ARGUMENT: fprintf(to, "  argument of the finalizer of %s\n", holder); break;
  }
}

static void print_steps(FILE *to, const struct path *p) {
  bool is_long = p->length > 2 * PATH_ENDS;
  for (size_t i = 0; i < p->length; i = is_long && i + 1 == PATH_ENDS ? p->length - PATH_ENDS : i + 1) {
    const struct path_step *s = path_step(p, i);
    if (i > 0) print_word(to, p, i);
    fprintf(to, "   -> ");
    print_object(to, s);
    if (s->value != s->object) fprintf(to, ", pointed to at +0x%zx", (size_t)(s->value - s->object));
    fputc('\n', to);
  }
}

static void print_alive(FILE *to, const struct path *p) {
  fprintf(to, "0x%zx is kept: ", (size_t)p->target.value);
  print_object(to, &p->target);
  fputc('\n', to);
  print_root(to, p);
  print_steps(to, p);
  if (p->only_own_words)
    fprintf(to,
            "  Nothing else keeps it: only by %zu such words on this stack, perhaps just the caller's own or left "
            "behind.\n",
            p->own_words);
  else if (p->only_stacks)
    fprintf(to, "  Only stacks keep it: the word may be a false pointer, such as one that was left behind.\n");
}

static int print_answer(FILE *to, const struct path *p, const void *asked) {
  switch (p->answer) {
    case PATH_NOT_HEAP: fprintf(to, "%p is no object: not an address of this heap\n", asked); return 0;
    case PATH_NO_OBJECT: fprintf(to, "%p is no object: freed before, or never allocated\n", asked); return 0;
    case PATH_UNREACHABLE:
      fprintf(to, "%p is not kept by anything: ", asked);
      print_object(to, &p->target);
      fputc('\n', to);
      return 0;
    case PATH_ALIVE: print_alive(to, p); return 1;
    case PATH_NO_MEMORY: break;
  }
  errno = ENOMEM;
  return -1;
}

/* The address must be nowhere that the search looks: not in this frame, nor in a register that a frame below it saves. */
int gc_why_alive(const void *p, FILE *to) {
  uintptr_t hidden = ~(uintptr_t)p;
  __asm__ volatile("" : "+r"(hidden));
  runtime_ensure_init();
  thread_register_self();
  size_t bytes = round_up(sizeof(struct path), os_page_size());
  struct path *path = os_map(bytes);
  if (path == NULL) {
    errno = ENOMEM;
    return -1;
  }
  if (to == NULL) to = stderr;
  path_find(hidden, path);
  __asm__ volatile("" : "+r"(hidden)); /* or the compiler shows it again before the call */
  int result = print_answer(to, path, (const void *)~hidden);
  os_unreserve(path, bytes);
  return ferror(to) ? -1 : result;
}
