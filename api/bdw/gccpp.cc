// gccpp.cc - libgccpp.so.1: operators new and delete of programs that were linked with that library. Objects are
// uncollectable, as there: C++ frees them itself, and what they point to stays.
#include <cstddef>
#include <new>

extern "C" {
void *GC_malloc_uncollectable(std::size_t bytes);
void GC_free(void *p);
}

// That library's programs call it when memory is refused.
void GC_throw_bad_alloc();
void GC_throw_bad_alloc() { throw std::bad_alloc(); }

void *operator new(std::size_t bytes) {
  void *p = GC_malloc_uncollectable(bytes);
  if (p == nullptr) GC_throw_bad_alloc();
  return p;
}
void *operator new[](std::size_t bytes) { return operator new(bytes); }
void operator delete(void *p) noexcept { GC_free(p); }
void operator delete[](void *p) noexcept { GC_free(p); }
void operator delete(void *p, std::size_t) noexcept { GC_free(p); }
void operator delete[](void *p, std::size_t) noexcept { GC_free(p); }
