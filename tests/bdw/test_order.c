/* test_order.c - a program that is linked with the C library first, as one is that needs the drop-in only through another library:
 * pthread_create and its kin are the C library's then. Threads become known when they register, or at their first call.
 * bdw.mk links it so. */
#include "client.h"

#include <dlfcn.h>
#include <semaphore.h>
#include <signal.h>

#include "../system/cases.h"

static sem_t ready, go;

static void await(sem_t *s) {
  while (sem_wait(s) != 0) REQUIRE(errno == EINTR);
}

static const char *library_of(const char *name) {
  Dl_info found;
  REQUIRE(dladdr(dlsym(RTLD_DEFAULT, name), &found) != 0);
  return found.dli_fname;
}

/* Otherwise this tests nothing. */
static void the_c_library_is_first(void) {
  REQUIRE_MSG(strcmp(library_of("pthread_create"), library_of("GC_init")) != 0, "pthread_create is in %s",
              library_of("pthread_create"));
  REQUIRE(strcmp(library_of("GC_pthread_create"), library_of("GC_init")) == 0);
}

static void *hold_chain(void *register_it) {
  struct GC_stack_base base;
  root held;
  REQUIRE(!GC_thread_is_registered());
  if (register_it != NULL) {
    REQUIRE(GC_get_stack_base(&base) == GC_SUCCESS && GC_register_my_thread(&base) == GC_SUCCESS);
    REQUIRE(GC_register_my_thread(&base) == GC_DUPLICATE);
  }
  hidden head = chain_hidden(suite_seed(), &held);
  REQUIRE(GC_thread_is_registered());
  scrub_stack();
  sem_post(&ready);
  await(&go);
  REQUIRE_MSG(chain_ok(head, suite_seed()), "what a thread of the C library's held was freed");
  held = NULL;
  if (register_it != NULL) REQUIRE(GC_unregister_my_thread() == GC_SUCCESS);
  return NULL;
}

static void hold_in(int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *), void *(*f)(void *),
                    void *arg) {
  pthread_t t;
  REQUIRE(sem_init(&ready, 0, 0) == 0 && sem_init(&go, 0, 0) == 0);
  REQUIRE(create(&t, NULL, f, arg) == 0);
  await(&ready);
  collect_hard();
  sem_post(&go);
  REQUIRE(pthread_join(t, NULL) == 0);
}

static void known_by_registering(void) { hold_in(pthread_create, hold_chain, &ready); }
static void known_by_the_first_call(void) { hold_in(pthread_create, hold_chain, NULL); }

/* By its own name ours is found: the thread is known before it runs, and what it is given is kept. */
static void *be_given(void *chain) {
  const hidden head = hide(chain);
  REQUIRE(GC_thread_is_registered());
  sem_post(&ready);
  await(&go);
  REQUIRE_MSG(chain_ok(head, suite_seed()), "what a thread was given was freed");
  return NULL;
}
static void known_by_birth(void) { hold_in(GC_pthread_create, be_given, chain_new(suite_seed())); }

/* A mask that was set before the thread is known does not keep stops out, nor one that is set by the name of that library. */
static void *mask_and_hold(void *unused) {
  sigset_t all;
  root held;
  sigfillset(&all);
  REQUIRE(pthread_sigmask(SIG_SETMASK, &all, NULL) == 0);
  hidden head = chain_hidden(suite_seed(), &held);
  REQUIRE(GC_pthread_sigmask(SIG_SETMASK, &all, NULL) == 0);
  sem_post(&ready);
  await(&go);
  REQUIRE(chain_ok(head, suite_seed()));
  held = NULL;
  return unused;
}
static void masked(void) { hold_in(pthread_create, mask_and_hold, NULL); }

/* They come and go beside collections; the C library tells of their ends. */
enum { BIRTHS = 300, AT_ONCE = 6 };
static void *hold_nothing(void *unused) { return unused; }
static void *live_shortly(void *unused) {
  root held;
  hidden head = chain_hidden(suite_seed(), &held);
  GC_call_with_alloc_lock(hold_nothing, NULL);
  REQUIRE(chain_ok(head, suite_seed()));
  held = NULL;
  return unused;
}
static void many_births(void) {
  beside_begin();
  for (int i = 0; i < BIRTHS; i++) {
    pthread_t t[AT_ONCE];
    for (int k = 0; k < AT_ONCE; k++) REQUIRE(pthread_create(&t[k], NULL, live_shortly, NULL) == 0);
    for (int k = 0; k < AT_ONCE; k++) REQUIRE(pthread_join(t[k], NULL) == 0);
  }
  beside_end();
}

static const struct test_case table[] = {
    {"the_c_library_is_first", the_c_library_is_first, NULL},
    {"known_by_registering", known_by_registering, NULL},
    {"known_by_the_first_call", known_by_the_first_call, NULL},
    {"known_by_birth", known_by_birth, NULL},
    {"masked", masked, NULL},
    {"many_births", many_births, NULL},
};

int main(int argc, char **argv) {
  GC_INIT();
  return cases_main(argc, argv, "order", CASES(table));
}
