/* SPDX-License-Identifier: MIT */
/*
 * What the machine leaves to this process: the least of MemAvailable, the memory
 * limits of its control group and all of that one's ancestors (v1 and v2), and the
 * resource limits.
 */
#ifndef LINNET_MEMORY_BUDGET_H
#define LINNET_MEMORY_BUDGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Bytes that the process may take beyond what it has: by the machine's free memory, and
 * by the limits set for it (UINT64_MAX: none). over: bytes that one of its control groups has
 * beyond a limit, as it may when the limit is where the kernel begins to take back, or has just
 * been lowered: so much has to go. root: "" or, for tests, a folder that holds proc/ and the
 * mounted control groups. -ENODATA when neither is known.
 */
int linnet_budget_available(const char *root, uint64_t *machine, uint64_t *limits,
			    uint64_t *over);

/*
 * Folder of the process's own control group that accounts for memory, of version 2
 * (unified) or 1, with root before it. -ENOENT: there is none; -ENAMETOOLONG.
 */
int linnet_budget_group(const char *root, bool unified, char *path, size_t n);

/* Resident memory of the process, in bytes; 0 when it is not known. */
uint64_t linnet_budget_resident(void);
/* The most of it that there ever was: of this program, not of the one that exec() ended, whose
 * peak getrusage() still has. 0 when it is not known. */
uint64_t linnet_budget_peak(void);

#endif
