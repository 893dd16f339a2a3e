/* SPDX-License-Identifier: MIT */
/*
 * What the machine leaves to this process: the least of MemAvailable, the memory
 * limits of its control group and all of that one's ancestors (v1 and v2), and the
 * resource limits.
 */
#ifndef LINNET_MEMORY_BUDGET_H
#define LINNET_MEMORY_BUDGET_H

#include <stdint.h>

/*
 * Bytes that the process may take beyond what it has. root: "" or, for tests, a folder
 * that holds proc/ and the mounted control groups. -errno when nothing can be read.
 */
int linnet_budget_available(const char *root, uint64_t *bytes);

/* Resident memory of the process, in bytes; 0 when it is not known. */
uint64_t linnet_budget_resident(void);

#endif
