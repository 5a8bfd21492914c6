/* test_header.c - our declarations against the other library's own headers, which come first: what conflicts does not
 * compile. The program then asks whether the names lead to the drop-in and not to that library. */
#undef GC_DEBUG /* of debug builds of ours; there it chooses other macros */
#define GC_THREADS
#define GC_NO_THREAD_REDIRECTS
#include <gc/gc.h>
#include <gc/gc_backptr.h>
#include <gc/gc_disclaim.h>
#include <gc/gc_gcj.h>
#include <gc/gc_inline.h>
#include <gc/gc_mark.h>
#include <gc/gc_pthread_redirects.h>
#include <gc/gc_typed.h>
#include <gc/javaxfc.h>

#undef GC_ASSERT /* gc_inline.h's; ours is runtime/check.h's */
#ifndef GC_IMPL
#define GC_IMPL
#endif
#include "api/bdw/alloc.h"
#include "api/bdw/bdw.h"
#include "api/bdw/debug.h"
#include "api/bdw/control.h"
#include "api/bdw/dump.h"
#include "api/bdw/env.h"
#include "api/bdw/finalize.h"
#include "api/bdw/links.h"
#include "api/bdw/kinds.h"
#include "api/bdw/misc.h"
#include "api/bdw/params.h"
#include "api/bdw/roots.h"
#include "api/bdw/stats.h"
#include "api/bdw/threads.h"
#include "api/bdw/typed.h"

#include <dlfcn.h>

#include "suite.h"

/* A function of each header, and data. */
static const char *const names[] = {"GC_malloc",          "GC_finalized_malloc", "GC_gcj_malloc",
                                    "GC_malloc_kind",     "GC_new_kind",         "GC_pthread_create",
                                    "GC_make_descriptor", "GC_finalize_all",     "GC_gcj_kind"};

/* All are where the program finds GC_init, in a library that interposes what that library leaves alone. */
START_TEST(names_are_ours) {
  void *init = dlsym(RTLD_DEFAULT, "GC_init");
  Dl_info expected, found;
  REQUIRE(init != NULL && dladdr(init, &expected) != 0);
  void *library = dlopen(expected.dli_fname, RTLD_NOW | RTLD_NOLOAD);
  REQUIRE(library != NULL && dlsym(library, "sigsuspend") != NULL && dlsym(library, "gc_init") == NULL);
  REQUIRE(dladdr(dlsym(library, "sigsuspend"), &found) != 0);
  REQUIRE_MSG(found.dli_fbase == expected.dli_fbase, "GC_init is in %s, which does not interpose sigsuspend",
              expected.dli_fname);
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    void *at = dlsym(library, names[i]);
    REQUIRE_MSG(at != NULL && dladdr(at, &found) != 0, "%s is missing", names[i]);
    REQUIRE_MSG(found.dli_fbase == expected.dli_fbase, "%s is in %s", names[i], found.dli_fname);
  }
}
END_TEST

START_TEST(version_is_the_headers) {
  REQUIRE(GC_get_version() == ((GC_VERSION_MAJOR << 16) | (GC_VERSION_MINOR << 8) | GC_VERSION_MICRO));
}
END_TEST

int main(void) {
  Suite *suite = suite_create("header");
  TCase *tc = suite_case(suite, "header");
  tcase_add_test(tc, names_are_ours);
  tcase_add_test(tc, version_is_the_headers);
  return suite_main(suite);
}
