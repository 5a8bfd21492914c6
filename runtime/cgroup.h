/* cgroup.h - how much memory the control group of this process may use.
 * Promises: no malloc, no stdio; what cannot be read counts as no limit. */
#ifndef HOLDFAST_CGROUP_H
#define HOLDFAST_CGROUP_H

#include "runtime/base.h"

/* Bytes: the least limit of the process's group and of those around it, cgroup v2 (memory.max) and v1
 * (memory.limit_in_bytes); what the machine has, when there is none or it is higher. */
uint64_t cgroup_memory(void);

/* The same from other places, for tests: `list` is like /proc/self/cgroup, v2 and v1 are the folders on which the two
 * hierarchies are mounted. UINT64_MAX when there is no limit. */
uint64_t cgroup_limit(const char *list, const char *v2, const char *v1);

#endif
