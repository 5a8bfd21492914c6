/* pprof.c - gc_profile_write: the samples as a profile.proto message (github.com/google/pprof), gzipped (api/gzip.h).
 * The message is written in one pass, each record when it is known. That the format allows: strings are numbered in the
 * order in which they come, and records of all kinds may alternate.
 * Locations are the different frames, sorted; functions and mappings are told when the loader knows them. Addresses
 * are return addresses less 1, so that they lie in the call.
 * No malloc: one mapping holds everything, and is given back. Nothing is written inside the loader's lock. */
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <string.h>
#include <unistd.h>

#include "api/gzip.h"
#include "api/object.h"
#include "api/profile.h"
#include "gc_frag.h"
#include "runtime/os.h"
#include "runtime/print.h"

#define PINNED_PERCENT 50
#define IMAGES_MAX 512         /* executable segments; more are left out */
#define NAMES_BYTES (64 * KIB) /* of their file names */
#define BUILD_ID_MAX 32

struct image {
  uintptr_t lo, hi, offset;
  const char *name;
  unsigned char build_id[BUILD_ID_MAX];
  unsigned build_id_size;
};

struct writer {
  struct gzip out;
  uint64_t strings; /* written so far */
  uint32_t images;
  size_t names_used, frames;
  struct image image[IMAGES_MAX];
  char names[NAMES_BYTES];
  uintptr_t frame[]; /* addresses, sorted, each once; location i + 1 */
};

/* ---- protocol buffers: a field is its number and kind, then a number or a length and bytes ---- */

struct message {
  size_t used;
  unsigned char bytes[1024]; /* the largest: a sample with SAMPLE_DEPTH locations and its values, 10 bytes each */
};

enum { VARINT = 0, BYTES = 2 };

static void put_varint(struct message *m, uint64_t v) {
  GC_ASSERT(m->used + 10 <= sizeof m->bytes);
  for (; v >= 128; v >>= 7) m->bytes[m->used++] = (unsigned char)(v | 128);
  m->bytes[m->used++] = (unsigned char)v;
}

static void put_number(struct message *m, unsigned field, uint64_t v) {
  put_varint(m, field << 3 | VARINT);
  put_varint(m, v);
}

static void put_message(struct message *m, unsigned field, const struct message *inner) {
  put_varint(m, field << 3 | BYTES);
  put_varint(m, inner->used);
  GC_ASSERT(m->used + inner->used <= sizeof m->bytes);
  memcpy(m->bytes + m->used, inner->bytes, inner->used);
  m->used += inner->used;
}

/* A field of the profile itself. */
static void emit(struct writer *w, unsigned field, const void *bytes, size_t n) {
  struct message head = {0};
  put_varint(&head, field << 3 | BYTES);
  put_varint(&head, n);
  gzip_put(&w->out, head.bytes, head.used);
  gzip_put(&w->out, bytes, n);
}

static void emit_message(struct writer *w, unsigned field, const struct message *m) {
  emit(w, field, m->bytes, m->used);
}

static void emit_number(struct writer *w, unsigned field, uint64_t v) {
  struct message m = {0};
  put_number(&m, field, v);
  gzip_put(&w->out, m.bytes, m.used);
}

/* ---- the records; numbers of fields as in profile.proto ---- */

enum profile_field {
  SAMPLE_TYPE = 1,
  SAMPLE = 2,
  MAPPING = 3,
  LOCATION = 4,
  FUNCTION = 5,
  STRING = 6,
  TIME_NANOS = 9,
  DURATION_NANOS = 10,
  PERIOD_TYPE = 11,
  PERIOD = 12,
  COMMENT = 13,
  DEFAULT_SAMPLE_TYPE = 14
};

/* Returns its number. */
static uint64_t emit_string(struct writer *w, const char *text) {
  emit(w, STRING, text, strlen(text));
  return w->strings++;
}

/* Returns the number of the string that names the type. */
static uint64_t emit_value_type(struct writer *w, unsigned field, const char *type, const char *unit) {
  struct message m = {0};
  uint64_t name = emit_string(w, type);
  put_number(&m, 1, name);
  put_number(&m, 2, emit_string(w, unit));
  emit_message(w, field, &m);
  return name;
}

static void emit_types(struct writer *w) {
  static const char *const kinds[] = {"alloc", "inuse", "pinned"};
  emit_string(w, ""); /* the format wants it to be the first */
  for (unsigned i = 0; i < 3; i++) {
    char objects[24], space[24];
    format_text(objects, sizeof objects, "%s_objects", kinds[i]);
    format_text(space, sizeof space, "%s_space", kinds[i]);
    emit_value_type(w, SAMPLE_TYPE, objects, "count");
    uint64_t name = emit_value_type(w, SAMPLE_TYPE, space, "bytes");
    if (i == 1) emit_number(w, DEFAULT_SAMPLE_TYPE, name); /* as in Go */
  }
  emit_value_type(w, PERIOD_TYPE, "space", "bytes");
}

static void emit_header(struct writer *w, const struct sample_totals *t) {
  char text[160];
  uint64_t now = os_wall_ns();
  emit_types(w);
  emit_number(w, TIME_NANOS, now);
  emit_number(w, DURATION_NANOS, t->started != 0 && now > t->started ? now - t->started : 0);
  emit_number(w, PERIOD, sample_rate());
  format_text(text, sizeof text, "Holdfast: %lu samples, %lu not kept; pinned: in spans less than %d %% full",
              (unsigned long)t->taken, (unsigned long)(t->lost_samples + t->lost_stacks), PINNED_PERCENT);
  emit_number(w, COMMENT, emit_string(w, text));
}

/* ---- mappings ---- */

/* The note of the linker's that identifies the file. */
static void read_build_id(struct image *image, const struct dl_phdr_info *info) {
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *p = &info->dlpi_phdr[i];
    if (p->p_type != PT_NOTE) continue;
    const char *at = (const char *)info->dlpi_addr + p->p_vaddr, *end = at + p->p_memsz;
    while (at + sizeof(ElfW(Nhdr)) <= end) {
      const ElfW(Nhdr) *note = (const ElfW(Nhdr) *)(const void *)at;
      const char *name = at + sizeof *note, *id = name + round_up(note->n_namesz, 4);
      at = id + round_up(note->n_descsz, 4);
      if (at > end || note->n_type != NT_GNU_BUILD_ID || note->n_namesz != 4 || memcmp(name, "GNU", 4) != 0) continue;
      image->build_id_size = (unsigned)min_size(note->n_descsz, BUILD_ID_MAX);
      memcpy(image->build_id, id, image->build_id_size);
      return;
    }
  }
}

/* The loader's names go away with their objects, so they are copied; the program itself has none there. */
static const char *copy_name(struct writer *w, const char *name) {
  char *to = w->names + w->names_used;
  size_t room = NAMES_BYTES - w->names_used;
  ssize_t n = name[0] != '\0' ? (ssize_t)strlen(name) : readlink("/proc/self/exe", to, room);
  if (n < 0 || (size_t)n >= room) return "";
  if (name[0] != '\0') memcpy(to, name, (size_t)n);
  to[n] = '\0';
  w->names_used += (size_t)n + 1;
  return to;
}

static int list_image(struct dl_phdr_info *info, size_t size, void *arg) {
  struct writer *w = arg;
  (void)size;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *p = &info->dlpi_phdr[i];
    if (p->p_type != PT_LOAD || !(p->p_flags & PF_X) || w->images == IMAGES_MAX) continue;
    struct image *image = &w->image[w->images++];
    image->lo = round_down(info->dlpi_addr + p->p_vaddr, os_page_size());
    image->hi = round_up(info->dlpi_addr + p->p_vaddr + p->p_memsz, os_page_size());
    image->offset = round_down(p->p_offset, os_page_size());
    image->name = copy_name(w, info->dlpi_name);
    read_build_id(image, info);
  }
  return 0;
}

/* 0: none. */
static uint32_t mapping_of(const struct writer *w, uintptr_t address) {
  for (uint32_t i = 0; i < w->images; i++)
    if (address >= w->image[i].lo && address < w->image[i].hi) return i + 1;
  return 0;
}

static void emit_mappings(struct writer *w) {
  for (uint32_t i = 0; i < w->images; i++) {
    const struct image *image = &w->image[i];
    char id[2 * BUILD_ID_MAX + 1] = "";
    struct message m = {0};
    for (unsigned k = 0; k < image->build_id_size; k++) format_text(id + 2 * k, 3, "%02x", image->build_id[k]);
    put_number(&m, 1, i + 1);
    put_number(&m, 2, image->lo);
    put_number(&m, 3, image->hi);
    put_number(&m, 4, image->offset);
    put_number(&m, 5, emit_string(w, image->name));
    put_number(&m, 6, emit_string(w, id));
    emit_message(w, MAPPING, &m);
  }
}

/* ---- locations ---- */

/* In place and without memory: heap sort. */
static void sift_down(uintptr_t *v, size_t at, size_t n) {
  for (size_t child; (child = 2 * at + 1) < n; at = child) {
    if (child + 1 < n && v[child + 1] > v[child]) child++;
    if (v[at] >= v[child]) return;
    uintptr_t t = v[at];
    v[at] = v[child];
    v[child] = t;
  }
}

static void sort(uintptr_t *v, size_t n) {
  for (size_t i = n / 2; i-- > 0;) sift_down(v, i, n);
  for (size_t i = n; i-- > 1;) {
    uintptr_t t = v[0];
    v[0] = v[i];
    v[i] = t;
    sift_down(v, 0, i);
  }
}

static uintptr_t call_address(const void *pc) { return (uintptr_t)pc - 1; }

static void list_frames(struct writer *w, uint32_t sites) {
  void *const *pc;
  size_t n = 0, kept = 0;
  for (uint32_t site = 0; site < sites; site++)
    for (unsigned depth = sample_stack(site, &pc), i = 0; i < depth; i++) w->frame[n++] = call_address(pc[i]);
  sort(w->frame, n);
  for (size_t i = 0; i < n; i++)
    if (kept == 0 || w->frame[kept - 1] != w->frame[i]) w->frame[kept++] = w->frame[i];
  w->frames = kept;
}

static uint64_t location_of(const struct writer *w, uintptr_t address) {
  size_t lo = 0, hi = w->frames;
  while (hi - lo > 1) {
    size_t middle = lo + (hi - lo) / 2;
    if (w->frame[middle] <= address)
      lo = middle;
    else
      hi = middle;
  }
  return lo + 1;
}

static void emit_function(struct writer *w, uint64_t id, const Dl_info *info) {
  struct message m = {0};
  uint64_t name = emit_string(w, info->dli_sname);
  put_number(&m, 1, id);
  put_number(&m, 2, name);
  put_number(&m, 3, name);
  emit_message(w, FUNCTION, &m);
}

static void emit_location(struct writer *w, size_t i, uint64_t function) {
  struct message m = {0}, line = {0};
  uint32_t mapping = mapping_of(w, w->frame[i]);
  put_number(&m, 1, i + 1);
  if (mapping != 0) put_number(&m, 2, mapping);
  put_number(&m, 3, w->frame[i]);
  put_number(&line, 1, function);
  if (function != 0) put_message(&m, 4, &line);
  emit_message(w, LOCATION, &m);
}

/* Frames of one function are neighbours. */
static void emit_locations(struct writer *w) {
  const void *last = NULL;
  uint64_t functions = 0;
  for (size_t i = 0; i < w->frames; i++) {
    Dl_info info;
    bool known = dladdr((void *)w->frame[i], &info) != 0 && info.dli_sname != NULL;
    if (known && info.dli_saddr != last) emit_function(w, ++functions, &info);
    if (known) last = info.dli_saddr;
    emit_location(w, i, known ? functions : 0);
  }
}

/* ---- samples ---- */

static uint64_t whole(double x) { return (uint64_t)(x + 0.5); }

static void emit_sample(struct writer *w, uint32_t site, const struct sample_figures *f) {
  struct message m = {0}, locations = {0}, values = {0};
  void *const *pc;
  for (unsigned depth = sample_stack(site, &pc), i = 0; i < depth; i++)
    put_varint(&locations, location_of(w, call_address(pc[i])));
  put_varint(&values, whole(f->alloc_objects));
  put_varint(&values, whole(f->alloc_bytes));
  put_varint(&values, whole(f->inuse_objects));
  put_varint(&values, whole(f->inuse_bytes));
  put_varint(&values, whole(f->pinned_objects));
  put_varint(&values, whole(f->pinned_bytes));
  put_message(&m, 1, &locations);
  put_message(&m, 2, &values);
  emit_message(w, SAMPLE, &m);
}

static int write_profile(struct writer *w, int fd, const struct profile *p) {
  gzip_begin(&w->out, fd);
  list_frames(w, p->totals.sites);
  dl_iterate_phdr(list_image, w);
  emit_header(w, &p->totals);
  emit_mappings(w);
  emit_locations(w);
  for (uint32_t site = 0; site < p->totals.sites; site++) emit_sample(w, site, &p->figures[site]);
  return gzip_end(&w->out) ? 0 : w->out.error;
}

int gc_profile_write(int fd) {
  struct profile p = profile_read(PINNED_PERCENT);
  size_t frames = (size_t)p.totals.sites * SAMPLE_DEPTH;
  size_t bytes = round_up(sizeof(struct writer) + frames * sizeof(uintptr_t), os_page_size());
  struct writer *w = p.figures != NULL ? os_map(bytes) : NULL;
  int error = w != NULL ? write_profile(w, fd, &p) : ENOMEM;
  if (w != NULL) os_unreserve(w, bytes);
  profile_discard(&p);
  if (error == 0) return 0;
  errno = error;
  return -1;
}
