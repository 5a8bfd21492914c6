/* test_dlopen.c - words in the data and in the TLS of a library loaded at run time are roots, and no
 * longer when it is unloaded. Needs plugin.so beside the program. */
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <sys/mman.h>

#include "beside.h"
#include "cases.h"
#include "park.h"

static void *plugin;

static const char *plugin_name = "plugin.so";

static void plugin_path(char path[PATH_MAX + 32]) {
  memset(path, 0, PATH_MAX + 32);
  REQUIRE(readlink("/proc/self/exe", path, PATH_MAX) > 0);
  char *slash = strrchr(path, '/');
  REQUIRE(slash != NULL);
  strcpy(slash + 1, plugin_name);
}

static void plugin_open(void) {
  char path[PATH_MAX + 32];
  plugin_path(path);
  plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  REQUIRE_MSG(plugin != NULL, "%s", dlerror());
}

static void plugin_close(void) {
  REQUIRE(dlclose(plugin) == 0);
  plugin = NULL;
}

/* Through memcpy: C has no conversion from an object pointer to a function pointer. */
static void plugin_set(const char *name, void *p) {
  void (*set)(void *);
  void *found = dlsym(plugin, name);
  REQUIRE_MSG(found != NULL, "plugin.so has no %s", name);
  memcpy(&set, &found, sizeof set);
  set(p);
}

static NOINLINE hidden put_chain(const char *name, uint64_t tag) {
  root held;
  hidden h = chain_new(tag, &held);
  plugin_set(name, held);
  held = NULL;
  return h;
}

/* -- in the thread that collects -- */
static const char *const places[] = {"plugin_set_data", "plugin_set_bss", "plugin_set_tls"};

START_TEST(own_place) {
  plugin_open();
  hidden h = put_chain(places[_i], 3);
  collect_hard();
  REQUIRE_MSG(chain_ok(h, 3), "not kept by %s", places[_i]);
  plugin_close();
}
END_TEST

START_TEST(loaded_after_collections) {
  gc_collect();
  for (uint64_t round = 1; round <= 5; round++) {
    plugin_open();
    hidden h = put_chain(places[_i], round);
    collect_hard();
    REQUIRE(chain_ok(h, round));
    plugin_close();
    collect_hard();
  }
}
END_TEST

/* -- in another thread -- */
static void hold_plugin_tls(struct park *p) {
  plugin_set("plugin_set_tls", reveal(p->head));
  park_wait(p);
}

START_TEST(tls_of_another_thread) {
  plugin_open();
  check_place(hold_plugin_tls);
}
END_TEST

/* The thread lived, and was registered, before the library was loaded. */
static void hold_after_late_open(struct park *p) {
  park_wait(p);
  plugin_set("plugin_set_tls", reveal(p->head));
  park_wait(p);
}

START_TEST(tls_of_a_library_younger_than_the_thread) {
  static struct park p;
  static root meanwhile;
  pthread_t t;
  park_start(&p, &t, hold_after_late_open);
  park_ready(&p);
  meanwhile = reveal(p.head);
  plugin_open();
  gc_collect();
  sem_post(&p.go);
  park_ready(&p);
  REQUIRE(meanwhile == reveal(p.head));
  meanwhile = NULL;
  collect_hard();
  REQUIRE(chain_ok(p.head, p.tag));
  park_go(&p);
  REQUIRE(pthread_join(t, NULL) == 0);
}
END_TEST

/* -- unloading -- */
static NOINLINE void put_objects(hidden *h, size_t n) {
  void *table = NULL;
  for (size_t i = 0; i < n; i++) {
    void **o = gc_alloc(48);
    REQUIRE(o != NULL);
    *o = table;
    table = o;
    h[i] = hide(o);
  }
  plugin_set("plugin_set_bss", table);
}

START_TEST(unloaded_library_keeps_nothing) {
  enum { N = 2000 };
  hidden *h = hidden_new(N);
  plugin_open();
  put_objects(h, N);
  scrub_stack();
  gc_collect();
  REQUIRE(hidden_gone(h, N) == 0);
  plugin_close();
  scrub_stack();
  gc_collect();
  REQUIRE_MOSTLY_GONE(h, N);
}
END_TEST

/* Loading and unloading beside collections: the collector must not read what is being unmapped. A chain stays
 * for whole cycles now and then, in which only the plugin knows it. */
static void load_beside_collections(void) {
  beside_begin(2000);
  for (uint64_t round = 1; round <= 300; round++) {
    plugin_open();
    hidden h = put_chain(places[round % 3], round);
    scrub_stack();
    if (round % 5 == 0) beside_await(2);
    refill(100, sizeof(struct link));
    REQUIRE_MSG(chain_ok(h, round), "round %" PRIu64 ", %s", round, places[round % 3]);
    plugin_close();
  }
  beside_end();
}

START_TEST(loading_beside_collections) { load_beside_collections(); }
END_TEST

/* The word in the plugin changes all the time, in every place, while it stays loaded. */
static void change_the_only_root(void) {
  hidden h[3];
  for (int visit = 0; visit < 10; visit++) {
    plugin_open();
    for (uint64_t k = 0; k < 3; k++) h[k] = put_chain(places[k], k);
    for (uint64_t round = 3; round < 300; round++) {
      REQUIRE_MSG(chain_ok(h[round % 3], round - 3), "round %" PRIu64 ", %s", round, places[round % 3]);
      h[round % 3] = put_chain(places[round % 3], round);
    }
    plugin_close();
  }
}

static void only_root_beside_collections(void) {
  beside_begin(2000);
  change_the_only_root();
  beside_end();
}

/* Another thread loads and unloads another library meanwhile: a copy, since the loader gives a file only once. */
static void copy_plugin(char *copy) {
  char path[PATH_MAX + 32], block[4096];
  ssize_t n;
  plugin_path(path);
  int from = open(path, O_RDONLY), to = mkstemp(copy);
  REQUIRE(from >= 0 && to >= 0);
  while ((n = read(from, block, sizeof block)) > 0) REQUIRE(write(to, block, (size_t)n) == n);
  REQUIRE(n == 0 && close(from) == 0 && close(to) == 0);
}

static void *load_a_copy(void *unused) {
  char copy[] = "/var/tmp/holdfast-test-XXXXXX";
  copy_plugin(copy);
  for (int i = 0; i < 300; i++) {
    void *library = dlopen(copy, RTLD_NOW | RTLD_LOCAL);
    REQUIRE_MSG(library != NULL, "%s", dlerror());
    refill(20, 64);
    REQUIRE(dlclose(library) == 0);
  }
  REQUIRE(unlink(copy) == 0);
  return unused;
}

static void others_load_beside_collections(void) {
  pthread_t t;
  beside_begin(2000);
  REQUIRE(pthread_create(&t, NULL, load_a_copy, NULL) == 0);
  change_the_only_root();
  REQUIRE(pthread_join(t, NULL) == 0);
  beside_end();
}

/* A thread that never uses its TLS again keeps the block of an unloaded library, and the module's id goes to one with a larger
 * block. The first block ends where a mapping ends, in a hole between pages that cannot be read. */
#define HOLES 64
static void make_holes(void) {
  const size_t page = (size_t)getpagesize();
  char *at = mmap(NULL, (2 * HOLES + 1) * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(at != MAP_FAILED);
  for (size_t i = 0; i < HOLES; i++) REQUIRE(munmap(at + (2 * i + 1) * page, page) == 0);
}

static void use_and_wait(struct park *p) {
  REQUIRE(mallopt(M_MMAP_THRESHOLD, 512) == 1); /* each block is a mapping of its own */
  make_holes();
  plugin_set("plugin_set_tls", NULL);
  park_wait(p);
}

START_TEST(block_of_an_unloaded_library) {
  static struct park p;
  pthread_t t;
  plugin_name = "plugin-small.so";
  plugin_open();
  park_start(&p, &t, use_and_wait);
  park_ready(&p);
  plugin_close();
  plugin_name = "plugin-large.so";
  plugin_open();
  gc_collect();
  park_go(&p);
  REQUIRE(pthread_join(t, NULL) == 0);
  plugin_close();
}
END_TEST

static const struct test_case cases[] = {
    {"load_beside_collections", load_beside_collections, NULL},
    {"only_root_beside_collections", only_root_beside_collections, NULL},
    {"others_load_beside_collections", others_load_beside_collections, NULL},
};

int main(int argc, char **argv) {
  int status = cases_run(argc, argv, CASES(cases));
  if (status >= 0) return status;
  Suite *s = suite_create("dlopen");
  TCase *tc = suite_case(s, "dlopen");
  tcase_add_loop_test(tc, own_place, 0, 3);
  tcase_add_loop_test(tc, loaded_after_collections, 0, 3);
  tcase_add_test(tc, tls_of_another_thread);
  tcase_add_test(tc, tls_of_a_library_younger_than_the_thread);
  tcase_add_test(tc, unloaded_library_keeps_nothing);
  tcase_add_test(tc, loading_beside_collections);
  tcase_add_test(tc, block_of_an_unloaded_library);
  cases_add(s);
  return suite_main(s);
}
