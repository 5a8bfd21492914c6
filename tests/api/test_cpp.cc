/* test_cpp.cc - the public headers are C++ as well, and their functions have C names. */
#include "gc_alloc.h"
#include "gc_stats.h"
#include "gc_weak.h"
#include "suite.h"

#include <cstring>
#include <stdexcept>
#include <thread>

namespace {

struct node {
  node *next;
  int value;
};

node *head;

void build(int n) {
  for (int i = 0; i < n; i++) {
    node *fresh = static_cast<node *>(gc_alloc(sizeof(node)));
    REQUIRE(fresh != nullptr);
    fresh->next = head;
    fresh->value = i;
    head = fresh;
  }
}

void check(int n) {
  int left = n;
  for (const node *p = head; p != nullptr; p = p->next) REQUIRE(p->value == --left);
  REQUIRE(left == 0);
}

/* An exception object lives in malloc's memory; what it points to must be held elsewhere too. */
START_TEST(list_survives_exceptions) {
  build(1000);
  for (int i = 0; i < 100; i++) {
    try {
      throw std::runtime_error("unwound");
    } catch (const std::exception &) {
      gc_collect();
    }
  }
  check(1000);
}
END_TEST

START_TEST(std_thread_allocates) {
  std::thread t([] { build(50000); });
  t.join();
  gc_collect();
  check(50000);
}
END_TEST

START_TEST(every_call_links) {
  gc_init();
  void *p = gc_calloc(2, 8);
  p = gc_realloc(p, 100);
  REQUIRE(gc_usable_size(p) >= 100 && gc_base(p) == p);
  gc_use(p);
  gc_free(p);
  char *s = gc_strdup("text");
  char *t = gc_strndup(s, 2);
  REQUIRE(std::strcmp(t, "te") == 0);
  REQUIRE(gc_alloc_noscan(10) != nullptr && gc_alloc_aligned(256, 10) != nullptr);
  static void *range[2];
  REQUIRE(gc_add_roots(range, range + 2) == 0);
  gc_remove_roots(range, range + 2);
  gc_disable();
  gc_enable();
  REQUIRE(gc_set_percent(gc_set_percent(100)) == 100);
  gc_release_memory();
  void *weakly = gc_alloc_uncollectable(10);
  REQUIRE(gc_set_finalizer(
              weakly, [](void *, void *) {}, nullptr) == 0 &&
          gc_run_finalizers() == 0);
  REQUIRE(gc_set_finalizer_unordered(weakly, nullptr, nullptr) == 0);
  gc_weak *w = gc_weak_create(weakly), *l = gc_weak_create_long(weakly);
  gc_ephemeron *e = gc_ephemeron_create(weakly, w);
  REQUIRE(gc_weak_get(w) == weakly && gc_weak_get(l) == weakly && gc_ephemeron_get_key(e) == weakly);
  static gc_weak_stats watched;
  gc_read_weak_stats(&watched);
  REQUIRE(watched.weak == 2 && watched.uncollectable == 1 && gc_ephemeron_get_value(e) == w);
  gc_weak_destroy(w);
  gc_weak_destroy(l);
  gc_ephemeron_destroy(e);
  gc_free(weakly);
  static gc_stats stats;
  gc_read_stats(&stats);
  REQUIRE(stats.struct_size == sizeof stats);
}
END_TEST

}  // namespace

int main() {
  Suite *s = suite_create("cpp");
  TCase *tc = suite_case(s, "cpp");
  tcase_add_test(tc, list_survives_exceptions);
  tcase_add_test(tc, std_thread_allocates);
  tcase_add_test(tc, every_call_links);
  return suite_main(s);
}
