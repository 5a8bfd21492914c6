/* fault.c - see fault.h. */
#include "api/fault.h"

#include "alloc/sample.h"
#include "api/object.h"
#include "api/profile.h"
#include "runtime/print.h"

/* The part about the object: "object of 24 bytes at 0x1234". */
static void describe(char *to, size_t size, const struct guard_fault *f) {
  if (f->size != SIZE_MAX)
    format_text(to, size, "object of %zu bytes at %p", f->size, (const void *)f->object);
  else
    format_text(to, size, "object of unknown size, in a slot of %zu bytes, at %p", f->slot, (const void *)f->object);
}

void fault_tell(const struct guard_fault *f, const char *found_by) {
  char object[128], site[320], neighbour[64] = "";
  describe(object, sizeof object, f);
  if (f->kind == GUARD_OVERRUN && f->first + sizeof(uintptr_t) >= f->slot)
    format_text(neighbour, sizeof neighbour, ", or the one at %p before its start",
                (const void *)(f->object + f->slot));
  if (profile_site_name(site, sizeof site, f->site) == 0)
    format_text(site, sizeof site, "%s", "a call that GC_PROFILE=1 would have noted");
  if (f->kind == GUARD_OVERRUN)
    fatal("%s found the %s overwritten behind its end, from +%zu on%s; allocated by %s", found_by, object, f->first,
          neighbour, site);
  fatal("%s found the freed %s overwritten after gc_free, from +%zu on; allocated by %s", found_by, object, f->first,
        site);
}

void fault_tell_pending(void) {
  struct guard_fault fault;
  if (guards_take_fault(&fault)) fault_tell(&fault, "a cycle");
}

/* What no cycle looked at so far. */
__attribute__((destructor)) static void at_exit(void) {
  if (guards_on) collect_fully();
}
