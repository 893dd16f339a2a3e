/* SPDX-License-Identifier: MIT */
/*
 * Machines whose memory is in several nodes, each near to some processors. Weights are
 * used by all threads in equal parts, so their pages go round over the nodes in use and
 * each thread has the bandwidth of all; a thread stays on the processors of one node, so
 * what it touches first - scratch, keys and values - is near to it. On a machine of one
 * node there is nothing to do, and nothing is done.
 */
#ifndef LINNET_MEMORY_NUMA_H
#define LINNET_MEMORY_NUMA_H

#include <sched.h>
#include <stddef.h>

/* Numbers of nodes are below. */
#define LINNET_NUMA_NODES 64

struct linnet_numa {
	unsigned n;			/* nodes in use, at least two */
	unsigned node[LINNET_NUMA_NODES];
	cpu_set_t cpus[LINNET_NUMA_NODES];	/* of node[i], that the process may use */
};

/*
 * Nodes that have both memory and processors of `allowed`. root: "" or, for tests, a
 * folder that holds sys/. *out is NULL, and the result 0, where there are not two of them.
 * -ENOMEM.
 */
int linnet_numa_read(struct linnet_numa **out, const char *root, const cpu_set_t *allowed);

/*
 * The same for this process. *out is NULL as well when it was started with a policy of its
 * own (numactl), which is the user's choice, or when the library was built without libnuma.
 */
int linnet_numa_open(struct linnet_numa **out);
void linnet_numa_close(struct linnet_numa *n);

/* Let the pages of a range, when they are touched, go round over the nodes. NULL: leave it.
 * What the kernel refuses is a matter of speed alone. */
void linnet_numa_spread(const struct linnet_numa *n, void *addr, size_t bytes);

/* Keep the calling thread, number i of a team, on one node: i modulo n. NULL: leave it. */
void linnet_numa_pin(const struct linnet_numa *n, unsigned i);

#endif
