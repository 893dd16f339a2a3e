/* SPDX-License-Identifier: MIT */
/* What this machine can do, measured in a fraction of a second. */
#ifndef LINNET_TOOL_PROBE_H
#define LINNET_TOOL_PROBE_H

#include <stdint.h>

/* Bytes per second that a file is read at, past the page cache where that works, into `bytes`
 * of memory, in turn: a disk may be faster into what a cache holds. 0: it cannot be read.
 * Takes about a quarter of a second. */
double probe_disk(const char *path, uint64_t bytes);
/* Bytes per second that n_threads threads read memory at, using about `bytes` of it. */
double probe_memory(unsigned n_threads, uint64_t bytes);

#endif
