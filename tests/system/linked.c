/* linked.c - a library that test_tls is linked with, so that the loader maps it at start: words in its thread-local storage, of
 * each kind that compilers make code for, and in its data.
 * Never: knows the collector. */
#include "linked.h"

#define KIND(model) __attribute__((tls_model(model)))

static __thread void *volatile initial_exec KIND("initial-exec");
static __thread void *volatile local_dynamic KIND("local-dynamic");
__thread void *volatile linked_global KIND("global-dynamic");
static __thread struct {
  char gap[100000];
  void *volatile word;
} far;
static struct { void *volatile *before, *volatile word; } data = {&data.word, 0};

void *volatile *linked_place(int which) {
  switch (which) {
    case 0: return &initial_exec;
    case 1: return &local_dynamic;
    case 2: return &linked_global;
    case 3: return &far.word;
    default: return &data.word;
  }
}
