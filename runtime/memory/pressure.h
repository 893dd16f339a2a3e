/* SPDX-License-Identifier: MIT */
/*
 * Word from the kernel that memory is short, as one descriptor to poll: stalls for want of
 * memory of the process's control group or of the machine (Documentation/accounting/psi.rst
 * of the kernel), what memory.events of the group counts (memory.high exceeded, limits met),
 * and for groups of version 1 their pressure level. Whatever there is of these is used.
 */
#ifndef LINNET_MEMORY_PRESSURE_H
#define LINNET_MEMORY_PRESSURE_H

#include <stdint.h>

struct linnet_pressure;

/* root: "" or, for tests, a folder that holds proc/ and the mounted control groups. -ENOENT:
 * the kernel has none of these, or none for this process. */
int linnet_pressure_open(struct linnet_pressure **out, const char *root);
void linnet_pressure_close(struct linnet_pressure *p);

/* Readable when there was pressure; -ENOENT: nobody tells of any, there are numbers alone. */
int linnet_pressure_fd(const struct linnet_pressure *p);
enum linnet_pressure_level {
	LINNET_PRESSURE_NONE,
	LINNET_PRESSURE_EVENT,	/* a limit was met; what is charged may be cache that gives way */
	LINNET_PRESSURE_STALL,	/* somebody had to wait for memory */
};
/* What there was since the last call; never blocks. */
enum linnet_pressure_level linnet_pressure_taken(struct linnet_pressure *p);

/*
 * Bytes that the group, or one above it, has beyond its memory.high, or beyond where its limit
 * leaves less than room, page cache not counted. Who is beyond memory.high is held back whenever
 * the kernel allocates something for it: this makes it allocate nothing, as it reads from files
 * that are open. Of a limit that is met the kernel says nothing before it kills, when it finds
 * nothing to take back.
 */
uint64_t linnet_pressure_over(const struct linnet_pressure *p, uint64_t room);

/* Names of what is watched, separated by commas. */
const char *linnet_pressure_sources(const struct linnet_pressure *p);

#endif
