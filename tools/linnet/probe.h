/* SPDX-License-Identifier: MIT */
/* What this machine can do, measured in a fraction of a second. */
#ifndef LINNET_TOOL_PROBE_H
#define LINNET_TOOL_PROBE_H

#include <stdint.h>

/* As the library reads: bytes of a request, and how many at once unless told otherwise. */
#define PROBE_REQUEST ((size_t)2 << 20)
#define PROBE_USUAL 12
/* That many other depths are tried beside the one that is used. */
#define PROBE_OTHERS 2

struct probe_disk {
	unsigned depth;			/* requests at once */
	double rate;			/* bytes per second; 0: the file cannot be read */
	struct {
		unsigned depth;
		double rate;
	} other[PROBE_OTHERS];
	unsigned better;		/* another depth that is faster beyond doubt, or 0 */
};

/* The rates that a file is read at with `depth` requests at once (0: PROBE_USUAL), and with
 * others, past the page cache where that works, into `bytes` of memory, in turn: a disk may be
 * faster into what a cache holds. Takes about half a second. */
struct probe_disk probe_disk(const char *path, uint64_t bytes, unsigned depth);
/* Bytes per second that n_threads threads read memory at, using about `bytes` of it. */
double probe_memory(unsigned n_threads, uint64_t bytes);

#endif
