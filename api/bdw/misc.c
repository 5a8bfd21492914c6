/* misc.c - what belongs to no other group: printing, checks of pointer arithmetic, the stack, and names that exist
 * because programs were linked with them.
 * Promises: printing takes no lock and allocates nothing for the usual conversions, so callbacks may print in a stop. */
#include "api/bdw/misc.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "api/object.h"
#include "runtime/os.h"

int bdw_log_fd GC_OWN_DATA = 2;
bool bdw_quiet GC_OWN_DATA;

/* ---- printing ---- */

/* One write, so that lines of threads do not mix. */
static void print_to(int fd, const char *format, va_list args) {
  char text[1024];
  int n = vsnprintf(text, sizeof text, format, args);
  if (n > 0) (void)os_write(fd, text, min_size((size_t)n, sizeof text - 1)); /* an error: nobody to tell */
}

void GC_printf(const char *format, ...) {
  va_list args;
  va_start(args, format);
  if (!bdw_quiet) print_to(1, format, args);
  va_end(args);
}

void GC_err_printf(const char *format, ...) {
  va_list args;
  va_start(args, format);
  print_to(2, format, args);
  va_end(args);
}

void GC_log_printf(const char *format, ...) {
  va_list args;
  va_start(args, format);
  if (!bdw_quiet) print_to(bdw_log_fd, format, args);
  va_end(args);
}

void GC_set_log_fd(int fd) { bdw_log_fd = fd; }

/* ---- checks of pointer arithmetic ---- */

static void not_the_same_object(void *p, void *q) { fatal("GC_same_obj: %p and %p are not in one object", p, q); }
static void not_in_an_object(void *p) { fatal("GC_is_valid_displacement: %p is in the heap and in no object", p); }
static void not_visible(void *p) { fatal("GC_is_visible: the collector does not look at %p", p); }

void (*GC_same_obj_print_proc)(void *p, void *q) = not_the_same_object;
void (*GC_is_valid_displacement_print_proc)(void *p) = not_in_an_object;
void (*GC_is_visible_print_proc)(void *p) = not_visible;

/* The object that p is in, or NULL. Objects have a byte more than was asked for, so one past the end is inside. */
static void *object_around(const void *p) {
  bdw_look();
  struct slot s = object_find(p);
  bdw_looked();
  return s.object;
}

static bool is_lost(const void *p) { return heap_contains((uintptr_t)p) && object_around(p) == NULL; }

void *GC_same_obj(void *p, void *q) {
  if (object_around(p) != object_around(q)) GC_same_obj_print_proc(p, q);
  return p;
}

/* Every address inside of an object is as good as its first: displacements need not be registered. */
void *GC_is_valid_displacement(void *p) {
  if (is_lost(p)) GC_is_valid_displacement_print_proc(p);
  return p;
}

/* With threads that library too tells only of places in the heap. */
void *GC_is_visible(void *p) {
  if (is_lost(p)) GC_is_visible_print_proc(p);
  return p;
}

void *GC_pre_incr(void **p, ptrdiff_t bytes) {
  void *before = *p;
  return *p = GC_same_obj((char *)before + bytes, before);
}

void *GC_post_incr(void **p, ptrdiff_t bytes) {
  void *before = *p;
  *p = GC_same_obj((char *)before + bytes, before);
  return before;
}

/* ---- the stack ---- */

#define CLEARED 2048 /* bytes: what a few calls leave */

/* Below the stack pointer nothing is scanned; but a later call's frame may cover what an earlier one left there without
 * overwriting it, and then it is. */
GC_NOINLINE void *GC_clear_stack(void *result) {
  char dead[CLEARED];
  memset(dead, 0, sizeof dead);
  __asm__ volatile("" : : "r"(dead) : "memory"); /* the compiler must not leave it out */
  return result;
}

/* ---- names ---- */

/* The value is in use up to here, so that it is in a register or on the stack until it is stored. */
void GC_ptr_store_and_dirty(void *to, const void *value) { *(const void *volatile *)to = value; }

void GC_end_stubborn_change(const void *p) { (void)p; }
void GC_change_stubborn(const void *p) { (void)p; }
void GC_register_displacement(size_t displacement) { (void)displacement; }

const unsigned char GC_arrays[182768];

void GC_register_describe_type_fn(int kind, GC_describe_type_fn describe) {
  (void)kind;
  (void)describe;
}

/* Its argument is in use up to here. */
void GC_noop1(GC_word used) { __asm__ volatile("" : : "r"(used) : "memory"); }
