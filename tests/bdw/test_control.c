/* test_control.c - the drop-in's collections: when they happen, who can keep them off, who is told, what they give back; and
 * the parameters. In cycles of both kinds. */
#include "hidden.h"

#include <gc/gc_mark.h>
#include <signal.h>

#include "misuse.h"

/* Variables of that library, which its header calls deprecated. */
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

enum { KIB = 1024, MIB = 1024 * 1024, EVENTS = 64 };

static size_t cycles(void) { return GC_get_gc_no(); }

static NOINLINE void make_garbage(size_t bytes) {
  for (size_t made = 0; made < bytes; made += KIB) REQUIRE(GC_MALLOC(1000) != NULL);
}

static size_t cycles_in(size_t bytes) {
  size_t before = cycles();
  make_garbage(bytes);
  return cycles() - before;
}

/* Beside the program the collector's thread needs a processor first, and others may have them all. */
static bool cycles_come(size_t n) {
  size_t before = cycles();
  for (int i = 0; i < 4000 && cycles() < before + n; i++) {
    make_garbage(MIB);
    sched_yield();
  }
  return cycles() >= before + n;
}

/* So what is said of pace is said of the other kind. */
static bool is_beside(void) { return strcmp(getenv("GC_CONCURRENT"), "off") != 0; }

/* A list that holds so many bytes. */
static void **held;
static NOINLINE void hold(size_t bytes) {
  for (size_t made = 0; made < bytes; made += KIB) {
    void **p = GC_MALLOC(1000);
    REQUIRE(p != NULL);
    *p = held;
    held = p;
  }
}

/* -- on and off -- */

static void collections_happen(void) {
  size_t before = cycles();
  GC_gcollect();
  REQUIRE(cycles() == before + 1);
  GC_gcollect_and_unmap();
  REQUIRE(cycles() == before + 2);
  REQUIRE(cycles_come(2));
}

static void disabling_nests(void) {
  GC_disable();
  GC_disable();
  REQUIRE(GC_is_disabled() && GC_dont_gc == 2);
  GC_gcollect();
  GC_gcollect_and_unmap();
  REQUIRE(cycles_in(64 * MIB) == 0);
  GC_enable();
  REQUIRE(GC_is_disabled() && GC_try_to_collect(GC_get_stop_func()) == 0);
  REQUIRE(cycles_in(64 * MIB) == 0);
  GC_enable();
  REQUIRE(!GC_is_disabled() && cycles_come(2));
  GC_enable(); /* once too often */
  REQUIRE(!GC_is_disabled());
}

static void the_variable_counts(void) {
  GC_dont_gc = 1;
  REQUIRE(GC_is_disabled() && cycles_in(64 * MIB) == 0);
  GC_dont_gc = 0;
  REQUIRE(cycles_come(1));
}

static void automatic_ones_off(void) {
  GC_set_disable_automatic_collection(1);
  REQUIRE(GC_get_disable_automatic_collection() && cycles_in(64 * MIB) == 0);
  size_t before = cycles();
  GC_gcollect();
  REQUIRE(cycles() == before + 1);
  GC_set_disable_automatic_collection(0);
  REQUIRE(!GC_get_disable_automatic_collection() && cycles_come(2));
}

static int asked;
static int always(void) { return ++asked; }
static int never(void) {
  asked++;
  return 0;
}

static void stop_functions(void) {
  REQUIRE(GC_try_to_collect(always) == 0 && asked == 1);
  size_t before = cycles();
  REQUIRE(before == 0 || GC_try_to_collect(always) == 0);
  REQUIRE(GC_try_to_collect(never) == 1 && cycles() == before + 1);
  GC_set_stop_func(always);
  REQUIRE(GC_get_stop_func() == always && cycles_in(64 * MIB) == 0);
  GC_gcollect();
  REQUIRE(cycles() == before + 1);
  asked = 0;
  GC_gcollect_and_unmap();
  REQUIRE(cycles() == before + 2 && asked == 0); /* it does not ask */
  GC_set_stop_func(never);
  REQUIRE(cycles_come(2) && asked > 0);
}

/* Other threads collect all the time: from GC_disable to GC_enable no cycle ends. They make no garbage then, of which there would
 * be gigabytes where the thread that enables waits for a processor. */
static atomic_bool ending;
static void *collect_on(void *arg) {
  while (!atomic_load(&ending)) {
    GC_gcollect();
    if (!GC_is_disabled()) make_garbage(64 * KIB);
  }
  return arg;
}

static void none_ends_while_disabled(void) {
  pthread_t threads[2];
  hold(16 * MIB);
  for (int i = 0; i < 2; i++) REQUIRE(GC_pthread_create(&threads[i], NULL, collect_on, NULL) == 0);
  for (int i = 0; i < 50; i++) {
    size_t seen = cycles();
    GC_disable();
    size_t before = cycles();
    for (int k = 0; k < 100; k++) sched_yield();
    REQUIRE(cycles_in(MIB) == 0 && cycles() == before);
    GC_enable();
    for (size_t spins = 0; cycles() == seen && spins < 1000000; spins++) sched_yield();
  }
  atomic_store(&ending, true);
  for (int i = 0; i < 2; i++) REQUIRE(GC_pthread_join(threads[i], NULL) == 0);
}

/* -- pace -- */

static void little_steps_end(void) {
  hold(8 * MIB);
  while (GC_collect_a_little() != 0) sched_yield();
  size_t before = cycles();
  for (int i = 0; i < 100; i++) GC_collect_a_little(); /* nothing is due */
  REQUIRE(cycles() == before);
  GC_disable();
  REQUIRE(GC_collect_a_little() == 0);
}

static size_t cycles_with_divisor(GC_word divisor) {
  GC_set_free_space_divisor(divisor);
  REQUIRE(GC_get_free_space_divisor() == divisor && GC_free_space_divisor == divisor);
  GC_gcollect();
  return cycles_in(160 * MIB);
}

static void the_divisor_sets_the_pace(void) {
  if (is_beside()) return;
  hold(20 * MIB);
  size_t rare = cycles_with_divisor(1), normal = cycles_with_divisor(3), often = cycles_with_divisor(12);
  REQUIRE_MSG(rare >= 2 && normal > rare && often > 2 * normal, "cycles: %zu, %zu, %zu", rare, normal, often);
  GC_set_free_space_divisor(1000);
  size_t most = cycles_in(MIB);
  REQUIRE_MSG(most < 64, "%zu cycles for a MiB", most);
  GC_free_space_divisor = 1; /* noticed by the next cycle */
  make_garbage(64 * MIB);
  size_t assigned = cycles_in(160 * MIB);
  REQUIRE_MSG(assigned < normal, "cycles: %zu, with 1 assigned %zu", normal, assigned);
}

static void expanding_puts_collections_off(void) {
  REQUIRE(GC_expand_hp(100 * (size_t)MIB) == 1);
  REQUIRE(cycles_in(60 * MIB) == 0);
  REQUIRE(cycles_come(1));
  REQUIRE(GC_expand_hp((size_t)1 << 60) == 0);
}

static size_t last_refused;
static void *note_refused(size_t bytes) {
  last_refused = bytes;
  return NULL;
}

static void the_heap_has_a_limit(void) {
  GC_set_warn_proc(GC_ignore_warn_proc);
  REQUIRE(GC_get_warn_proc() == GC_ignore_warn_proc);
  GC_set_oom_fn(note_refused);
  GC_set_max_heap_size(64 * MIB);
  size_t n = 0;
  for (void **p; (p = GC_MALLOC(100 * KIB)) != NULL; n++) {
    REQUIRE(n < 640);
    *p = held;
    held = p;
  }
  REQUIRE_MSG(n > 400 && last_refused == 100 * KIB, "%zu objects, then %zu bytes refused", n, last_refused);
  REQUIRE(GC_get_heap_size() <= 64 * MIB);
  GC_set_max_heap_size(0);
  REQUIRE(GC_MALLOC(64 * MIB) != NULL);
}

static void dropped_memory_goes_back(void) {
  hold(100 * MIB);
  GC_gcollect();
  size_t full = GC_get_heap_size();
  held = NULL;
  scrub_stack();
  GC_gcollect();
  size_t now = GC_get_heap_size();
  REQUIRE_MSG(full >= 100 * MIB && now * 10 < full * 3, "%zu KiB of %zu KiB stay", now / KIB, full / KIB);
}

/* -- callbacks -- */

static GC_EventType events[EVENTS];
static size_t event_count;
static void note_event(GC_EventType event) {
  if (event_count < EVENTS) events[event_count++] = event;
}

/* A cycle of one stop, or several: the regular expression that the events must match, a letter for each. */
static const char letters[] =
    "SMmRrEpPwW"; /* START MARK_START MARK_END RECLAIM.. END PRE_STOP POST_STOP PRE_START POST_START */

static void events_come_in_order(void) {
  char told[EVENTS + 1] = "";
  hold(MIB);
  GC_gcollect(); /* none that began by itself is under way */
  GC_set_on_collection_event(note_event);
  REQUIRE(GC_get_on_collection_event() == note_event);
  GC_gcollect();
  GC_set_on_collection_event(NULL);
  for (size_t i = 0; i < event_count; i++) told[i] = letters[events[i]];
  const char *rest = told;
  REQUIRE_MSG(*rest++ == 'S', "%s", told);
  while (strncmp(rest, "pPMwW", 5) == 0) rest += 5; /* stops that took too long */
  REQUIRE_MSG(strcmp(rest, "pPMmwWRrE") == 0, "%s", told);
}

static size_t started;
static pthread_t starter;
static void note_start(void) {
  started++;
  starter = pthread_self();
}

static void the_start_is_told(void) {
  GC_set_start_callback(note_start);
  REQUIRE(GC_get_start_callback() == note_start);
  size_t before = cycles();
  GC_gcollect();
  REQUIRE(started == 1 && pthread_equal(starter, pthread_self()));
  make_garbage(64 * MIB);
  GC_gcollect();
  REQUIRE_MSG(started == cycles() - before, "told of %zu starts of %zu cycles", started, cycles() - before);
}

static GC_word told_size;
static size_t resizes;
static void note_resize(GC_word size) {
  told_size = size;
  resizes++;
}

static void growth_is_told(void) {
  GC_set_on_heap_resize(note_resize);
  REQUIRE(GC_get_on_heap_resize() == note_resize && GC_on_heap_resize == note_resize);
  hold(32 * MIB);
  GC_gcollect();
  REQUIRE_MSG(resizes >= 1 && told_size >= 32 * MIB, "told %zu times, %lu bytes", resizes, told_size);
}

static void say_so(const char *message) { fprintf(stderr, "holdfast: GC_free(was told: %s)\n", message); }
static void free_wrong(void *p) {
  GC_set_abort_func(say_so);
  GC_free(p);
}
static void the_end_is_told(void) {
  misuse(free_wrong, &events, "GC_free");
  GC_set_abort_func(say_so);
  REQUIRE(GC_get_abort_func() == say_so);
}

/* In the middle of a collection there is no starting one: a line, and on. */
static int inner = -1;
static void collect_inside(GC_EventType event) {
  if (event == GC_EVENT_START) inner = GC_try_to_collect(never);
}
static void collecting_inside_is_refused(void) {
  GC_set_on_collection_event(collect_inside);
  GC_gcollect();
  GC_set_on_collection_event(NULL);
  REQUIRE(inner == 0 && cycles() >= 1);
}

/* -- parameters -- */

#define ROUND_TRIP(name, initial, other)                                               \
  do {                                                                                 \
    REQUIRE_MSG(GC_get_##name() == (initial), #name ": %ld", (long)GC_get_##name());   \
    GC_set_##name(other);                                                              \
    REQUIRE_MSG(GC_get_##name() == (other), #name ": %ld set", (long)GC_get_##name()); \
    GC_set_##name(initial);                                                            \
  } while (0)

/* What Debian's library of that version has at the start. */
static void parameters(void) {
  REQUIRE(GC_get_version() == (8 << 16 | 2 << 8 | 2));
  ROUND_TRIP(all_interior_pointers, 1, 0);
  ROUND_TRIP(dont_expand, 0, 1);
  ROUND_TRIP(full_freq, 19, 5);
  ROUND_TRIP(non_gc_bytes, 0, 77);
  ROUND_TRIP(no_dls, 0, 1);
  ROUND_TRIP(max_retries, 0, 3);
  ROUND_TRIP(dont_precollect, 0, 1);
  ROUND_TRIP(java_finalization, 1, 0);
  ROUND_TRIP(time_limit, GC_TIME_UNLIMITED, 50);
  ROUND_TRIP(free_space_divisor, 3, 4);
  ROUND_TRIP(allocd_bytes_per_finalizer, 10000, 5);
  ROUND_TRIP(min_bytes_allocd, 1, 100);
  ROUND_TRIP(rate, 10, 20);
  ROUND_TRIP(max_prior_attempts, 1, 2);
  ROUND_TRIP(manual_vdb_allowed, 0, 1);
  ROUND_TRIP(force_unmap_on_gcollect, 0, 1);
  ROUND_TRIP(find_leak, 0, 0);
  ROUND_TRIP(pages_executable, 0, 0);
  struct GC_timeval_s t = {7, 300};
  GC_set_time_limit_tv(t);
  REQUIRE(GC_get_time_limit() == 7 && GC_get_time_limit_tv().tv_nsec == 300);
}

static void incremental(void) {
  REQUIRE(!GC_is_init_called() && !GC_is_incremental_mode());
  GC_enable_incremental();
  REQUIRE(GC_is_init_called() && GC_is_incremental_mode() && GC_incremental_protection_needs() == GC_PROTECTS_NONE);
  size_t before = cycles();
  GC_start_incremental_collection();
  REQUIRE(cycles() == before + 1);
  GC_deinit();
  REQUIRE(GC_MALLOC(10) != NULL);
}

static const struct test_case cases[] = {{"collections_happen", collections_happen, NULL},
                                         {"disabling_nests", disabling_nests, NULL},
                                         {"the_variable_counts", the_variable_counts, NULL},
                                         {"automatic_ones_off", automatic_ones_off, NULL},
                                         {"stop_functions", stop_functions, NULL},
                                         {"none_ends_while_disabled", none_ends_while_disabled, NULL},
                                         {"little_steps_end", little_steps_end, NULL},
                                         {"the_divisor_sets_the_pace", the_divisor_sets_the_pace, NULL},
                                         {"expanding_puts_collections_off", expanding_puts_collections_off, NULL},
                                         {"the_heap_has_a_limit", the_heap_has_a_limit, NULL},
                                         {"dropped_memory_goes_back", dropped_memory_goes_back, NULL},
                                         {"events_come_in_order", events_come_in_order, NULL},
                                         {"the_start_is_told", the_start_is_told, NULL},
                                         {"growth_is_told", growth_is_told, NULL},
                                         {"the_end_is_told", the_end_is_told, NULL},
                                         {"collecting_inside_is_refused", collecting_inside_is_refused, NULL},
                                         {"parameters", parameters, NULL},
                                         {"incremental", incremental, NULL}};

int main(int argc, char **argv) { return cases_main(argc, argv, "control", CASES(cases)); }
