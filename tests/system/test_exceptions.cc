/* test_exceptions.cc - C++ exceptions thrown through frames that hold the only references, beside cycles; destructors that
 * allocate on the way; an exception that carries an object, and one that moves to another thread. */
#include "gc_alloc.h"
#include "gc_thread.h"
#include "suite.h"

#include <atomic>
#include <exception>
#include <thread>
#include <vector>

namespace {

struct node {
  node *next;
  std::uint64_t tag;
};

node *make_chain(std::uint64_t tag, int length) {
  node *head = nullptr;
  for (int i = 0; i < length; i++) {
    node *n = static_cast<node *>(gc_alloc(sizeof(node) + tag % 64));
    REQUIRE(n != nullptr);
    n->next = head;
    n->tag = tag + static_cast<std::uint64_t>(i);
    head = n;
  }
  return head;
}

void check_chain(const node *n, std::uint64_t tag, int length) {
  for (int i = length; i-- > 0; n = n->next)
    REQUIRE_MSG(n != nullptr && gc_base(n) == n && n->tag == tag + static_cast<std::uint64_t>(i), "a chain was lost");
  REQUIRE(n == nullptr);
}

struct thrown {
  node *volatile chain; /* the exception object is memory of the C++ library's, from malloc: no root */
  std::uint64_t tag;
};

/* Allocates and checks while the exception passes. */
struct guard {
  node *volatile mine;
  std::uint64_t tag;
  explicit guard(std::uint64_t t) : mine(make_chain(t, 20)), tag(t) {}
  guard(const guard &) = delete;
  guard &operator=(const guard &) = delete;
  ~guard() {
    check_chain(mine, tag, 20);
    for (int i = 0; i < 50; i++) gc_use(gc_alloc(40));
  }
};

__attribute__((noinline)) void go_down(int depth, std::uint64_t tag) {
  guard g(tag + static_cast<std::uint64_t>(depth) * 100);
  if (depth == 0) throw thrown{nullptr, tag};
  go_down(depth - 1, tag);
}

void throw_often(std::uint64_t tag, int times) {
  for (int i = 0; i < times; i++) {
    node *volatile outer = make_chain(tag, 30);
    try {
      go_down(10, tag);
      REQUIRE_MSG(false, "nothing was thrown");
    } catch (const thrown &t) {
      REQUIRE(t.tag == tag);
    }
    check_chain(outer, tag, 30);
  }
}

struct beside {
  std::atomic<bool> over{false};
  std::thread thread{[this] {
    while (!over) {
      gc_collect();
      for (int i = 0; i < 500; i++) gc_use(gc_alloc(48));
    }
  }};
  beside() = default;
  beside(const beside &) = delete;
  beside &operator=(const beside &) = delete;
  ~beside() {
    over = true;
    thread.join();
  }
};

START_TEST(through_frames) {
  beside cycles;
  std::vector<std::thread> others;
  for (std::uint64_t i = 1; i <= 2; i++) others.emplace_back(throw_often, i * 100000, 150);
  throw_often(7, 150);
  for (auto &t : others) t.join();
}
END_TEST

/* Rethrown in another thread. What it names is kept by a registered root, as the documentation asks. */
START_TEST(to_another_thread) {
  beside cycles;
  for (std::uint64_t i = 0; i < 50; i++) {
    static node *kept; /* data of the program: a root */
    std::exception_ptr passed;
    std::thread thrower([&] {
      try {
        kept = make_chain(i * 1000, 25);
        throw thrown{kept, i * 1000};
      } catch (...) {
        passed = std::current_exception();
      }
    });
    thrower.join();
    try {
      std::rethrow_exception(passed);
    } catch (const thrown &t) {
      check_chain(t.chain, t.tag, 25);
    }
  }
}
END_TEST

/* Out of a blocking call: the handler ends it. */
__attribute__((noinline)) void throw_blocked() {
  gc_blocking_begin();
  throw thrown{nullptr, 1};
}

START_TEST(out_of_a_blocking_call) {
  beside cycles;
  for (int i = 0; i < 50; i++) {
    node *volatile held = make_chain(9, 25);
    try {
      throw_blocked();
    } catch (const thrown &) {
      gc_blocking_end();
    }
    check_chain(held, 9, 25);
  }
}
END_TEST

}  // namespace

int main() {
  Suite *s = suite_create("exceptions");
  TCase *tc = suite_case(s, "exceptions");
  tcase_add_test(tc, through_frames);
  tcase_add_test(tc, to_another_thread);
  tcase_add_test(tc, out_of_a_blocking_call);
  return suite_main(s);
}
