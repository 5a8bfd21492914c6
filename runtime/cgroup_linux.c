/* cgroup_linux.c - see cgroup.h. In a container the path in /proc/self/cgroup is often the host's and does not exist
 * under the mount; going up it then ends at the mount itself, which is the container's group. */
#include "runtime/cgroup.h"

#include <string.h>

#include "runtime/os.h"
#include "runtime/print.h"

/* A number and a newline; anything else ("max") is no limit. */
static uint64_t limit_in(const char *path) {
  char text[64];
  uint64_t v = 0;
  if (!os_read_file(path, text, sizeof text) || text[0] < '0' || text[0] > '9') return UINT64_MAX;
  for (const char *p = text; *p >= '0' && *p <= '9'; p++) {
    if (v > UINT64_MAX / 10 - 1) return UINT64_MAX;
    v = v * 10 + (uint64_t)(*p - '0');
  }
  return v;
}

/* The least of a group and all that are around it. group begins with a slash, and is cut on the way up. */
static uint64_t least_upwards(const char *mount, char *group, const char *file) {
  uint64_t least = UINT64_MAX;
  char path[512];
  for (;;) {
    format_text(path, sizeof path, "%s%s/%s", mount, group, file);
    least = min_size(least, limit_in(path));
    char *slash = strrchr(group, '/');
    if (slash == NULL) return least;
    *slash = '\0';
  }
}

/* Whether the comma-separated list of controllers, which ends at `end`, has "memory". */
static bool has_memory(const char *list, const char *end) {
  for (const char *p = list; p < end; p++) {
    size_t n = strcspn(p, ",:");
    if (n == 6 && memcmp(p, "memory", n) == 0) return true;
    p += n;
  }
  return false;
}

/* A line is "number:controllers:/group"; 0 and no controllers in v2. */
static uint64_t limit_of_line(char *line, const char *v2, const char *v1) {
  char *controllers = strchr(line, ':'), *group = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
  if (group == NULL || group[1] != '/') return UINT64_MAX;
  if (group == controllers + 1) return least_upwards(v2, group + 1, "memory.max");
  if (has_memory(controllers + 1, group)) return least_upwards(v1, group + 1, "memory.limit_in_bytes");
  return UINT64_MAX;
}

uint64_t cgroup_limit(const char *list, const char *v2, const char *v1) {
  char text[4096], *line = text;
  uint64_t least = UINT64_MAX;
  if (!os_read_file(list, text, sizeof text)) return UINT64_MAX;
  while (line != NULL && *line != '\0') {
    char *end = strchr(line, '\n');
    if (end != NULL) *end = '\0';
    least = min_size(least, limit_of_line(line, v2, v1));
    line = end != NULL ? end + 1 : NULL;
  }
  return least;
}

uint64_t cgroup_memory(void) {
  return min_size(cgroup_limit("/proc/self/cgroup", "/sys/fs/cgroup", "/sys/fs/cgroup/memory"), os_physical_memory());
}
