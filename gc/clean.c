/* clean.c - see clean.h. Listing is gc/remark's, marking gc/markers'; here is how much at a time, and when to stop. */
#include "gc/clean.h"

#include "gc/markers.h"
#include "gc/remark.h"
#include "gc/settings.h"
#include "gc/workers.h"
#include "runtime/dirty.h"
#include "runtime/options.h"
#include "runtime/os.h"
#include "runtime/world.h"

#define CLEAN_ROUNDS 8
#define SLOW_PASSES 20         /* over all that is armed, with the program stopped half of the time */
#define SLICE_LEAST 256        /* OS pages cleaned between looks at the clock, then */
#define TURN_MOST CLEAN_NEARLY /* times GC_MAX_PAUSE_US that it may be stopped at a time, when less does not gain */
#define STEP_PAGES 4096        /* OS pages listed and cleaned at a time, otherwise */
#define NS_PER_DIRTY_PAGE 1000 /* to look at its objects again, in a stop, by two markers */

static bool fits_stops(uint64_t pages, unsigned stops) {
  return pages < UINT32_MAX && pages * NS_PER_DIRTY_PAGE < (uint64_t)options.max_pause_us * 1000 * stops;
}

static void record_round(struct cycle_record *record, uint64_t pages) {
  if (record->rounds < TRACE_ROUNDS) record->pages[record->rounds] = pages;
  record->rounds++;
}

/* What a pass leaves is what was written behind it, about half of what it found: it goes through memory in small
 * steps, each listed and scanned. Passes stop gaining at what is written while one finds nothing: protecting a 2 MiB block
 * again costs 17 us while threads run. False: what is left is too much for a stop. */
bool clean_beside(struct cycle_record *record) {
  trace_phase(PHASE_CLEAN);
  uint64_t before = UINT64_MAX;
  bool nearly = true;
  for (unsigned round = 0; round < CLEAN_ROUNDS && dirty_works(); round++) {
    remark_begin(false);
    while (remark_list(STEP_PAGES, UINT64_MAX)) markers_run_beside();
    uint64_t pages = remark_pages();
    record_round(record, pages);
    nearly = fits_stops(pages / 2, CLEAN_NEARLY);
    if (fits_stops(pages / 2, 1) || pages > before / 10 * 8) break;
    before = pages;
  }
  return nearly;
}

/* OS pages cleaned between looks at the clock, in a turn of so many ns. */
static size_t slice_of(uint64_t ns) { return max_size(ns / NS_PER_DIRTY_PAGE, SLICE_LEAST); }

/* A part of a pass with the world stopped; false when the pass is over. What is listed is scanned before anything is
 * listed again: a page that is armed and not scanned would be lost. */
static bool turn_stopped(struct cycle_record *record, uint64_t ns, uint64_t *took) {
  unsigned markers = workers_available(cycle_live_bytes());
  uint64_t start = os_now_ns();
  char here;
  world_stop(&here, false);
  uint64_t deadline = max_size(start + ns, os_now_ns() + ns / 4);
  bool more = true;
  while (more && os_now_ns() < deadline) {
    more = remark_list(slice_of(ns), deadline);
    markers_run(markers, (struct deadline){deadline, deadline});
    if (!mark_phase_done()) break;
  }
  world_start();
  settings_note_stop(record, *took = os_now_ns() - start);
  record->turns++;
  markers_run_beside();
  return more;
}

/* The next part while the program runs. */
static bool turn_beside(uint64_t ns) {
  uint64_t until = os_now_ns() + ns;
  bool more = true;
  while (more && os_now_ns() < until) {
    more = remark_list(slice_of(ns), until);
    markers_run_beside();
  }
  return more;
}

/* Cleaning alone does not gain on the program: it is stopped for as long as it runs, in short turns, while cleaning goes
 * on. A page costs its writer a fault of 0.7 us and two markers half as much, so with one writer this converges: to
 * the pages written during a pass of few milliseconds. Starting a turn costs some 0.1 ms, so turns grow when there is no gain.
 * False when it does not converge, or not to what fits a stop. */
bool clean_slowing_writers(struct cycle_record *record) {
  trace_phase(PHASE_SLOW);
  uint64_t before = UINT64_MAX, budget = (uint64_t)options.max_pause_us * 1000, ns = budget * 3 / 4, took = 0;
  for (unsigned pass = 0; pass < SLOW_PASSES && dirty_works(); pass++) {
    remark_begin(false);
    while (turn_beside(took) && turn_stopped(record, ns, &took)) continue;
    uint64_t pages = remark_pages();
    if (fits_stops(pages / 2, 1)) return true;
    bool gained = pages < before / 10 * 9;
    if (!gained && ns >= TURN_MOST * budget) return false;
    if (!gained) ns = min_size(2 * ns, TURN_MOST * budget);
    before = pages;
  }
  return false;
}
