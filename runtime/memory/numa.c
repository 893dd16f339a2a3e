// SPDX-License-Identifier: MIT
/* Keeps numa.h. Which nodes there are is read from sysfs (the kernel's
 * Documentation/ABI/stable/sysfs-devices-node); policies are set through libnuma. */
#include "numa.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#ifdef LINNET_HAVE_LIBNUMA
#include <numaif.h>
#endif

#define WORD_BITS (sizeof(unsigned long) * CHAR_BIT)

/* A list of numbers, "0-3,8": those below n are set in `set`. */
static bool read_list(const char *root, const char *name, bool *set, unsigned n)
{
	char path[PATH_MAX];
	unsigned from, to;
	FILE *f;
	int c = ',';

	if (snprintf(path, sizeof(path), "%s/sys/devices/system/node/%s", root, name) >=
	    (int)sizeof(path))
		return false;
	f = fopen(path, "re");
	if (!f)
		return false;
	while (c == ',' && fscanf(f, "%u", &from) == 1) {
		to = from;
		c = fgetc(f);
		if (c == '-') {
			if (fscanf(f, "%u", &to) != 1)
				break;
			c = fgetc(f);
		}
		for (unsigned i = from; i <= to && i < n; i++)
			set[i] = true;
	}
	fclose(f);
	return true;
}

/* Processors of a node that the process may use; false: none. */
static bool read_cpus(const char *root, unsigned node, const cpu_set_t *allowed, cpu_set_t *cpus)
{
	bool has[CPU_SETSIZE] = { false };
	char name[32];

	CPU_ZERO(cpus);
	snprintf(name, sizeof(name), "node%u/cpulist", node);
	if (!read_list(root, name, has, CPU_SETSIZE))
		return false;
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (has[i] && CPU_ISSET(i, allowed))
			CPU_SET(i, cpus);
	return CPU_COUNT(cpus) > 0;
}

int linnet_numa_read(struct linnet_numa **out, const char *root, const cpu_set_t *allowed)
{
	bool memory[LINNET_NUMA_NODES] = { false };
	unsigned n = 0;
	struct linnet_numa *numa;

	*out = NULL;
	/* kernels without nodes have no such file */
	if (!read_list(root, "has_memory", memory, LINNET_NUMA_NODES))
		return 0;
	for (unsigned i = 0; i < LINNET_NUMA_NODES; i++)
		n += memory[i];
	if (n < 2)
		return 0;
	numa = calloc(1, sizeof(*numa));
	if (!numa)
		return -ENOMEM;
	for (unsigned i = 0; i < LINNET_NUMA_NODES; i++)
		if (memory[i] && read_cpus(root, i, allowed, &numa->cpus[numa->n]))
			numa->node[numa->n++] = i;
	if (numa->n < 2) {
		free(numa);
		return 0;
	}
	*out = numa;
	return 0;
}

void linnet_numa_close(struct linnet_numa *n)
{
	free(n);
}

#ifdef LINNET_HAVE_LIBNUMA

int linnet_numa_open(struct linnet_numa **out)
{
	/* the kernel wants room for as many nodes as it was configured for */
	unsigned long mems[1024 / WORD_BITS] = { 0 };
	cpu_set_t allowed;
	int ret, policy;

	*out = NULL;
	CPU_ZERO(&allowed);
	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		return 0;
	ret = linnet_numa_read(out, "", &allowed);
	if (ret || !*out)
		return ret;
	if (get_mempolicy(&policy, NULL, 0, NULL, 0) || policy != MPOL_DEFAULT ||
	    get_mempolicy(NULL, mems, sizeof(mems) * CHAR_BIT, NULL, MPOL_F_MEMS_ALLOWED))
		goto out_none;
	for (unsigned i = 0; i < (*out)->n; i++)
		if (!(mems[(*out)->node[i] / WORD_BITS] >> (*out)->node[i] % WORD_BITS & 1))
			goto out_none;
	return 0;

out_none:
	linnet_numa_close(*out);
	*out = NULL;
	return 0;
}

void linnet_numa_spread(const struct linnet_numa *n, void *addr, size_t bytes)
{
	unsigned long mask[(LINNET_NUMA_NODES + WORD_BITS) / WORD_BITS] = { 0 };

	if (!n)
		return;
	for (unsigned i = 0; i < n->n; i++)
		mask[n->node[i] / WORD_BITS] |= 1ul << n->node[i] % WORD_BITS;
	/* the kernel takes one bit less than it is told of */
	mbind(addr, bytes, MPOL_INTERLEAVE, mask, LINNET_NUMA_NODES + 1, 0);
}

#else

int linnet_numa_open(struct linnet_numa **out)
{
	*out = NULL;
	return 0;
}

void linnet_numa_spread(const struct linnet_numa *n, void *addr, size_t bytes)
{
}

#endif

void linnet_numa_pin(const struct linnet_numa *n, unsigned i)
{
	if (n)
		sched_setaffinity(0, sizeof(n->cpus[0]), &n->cpus[i % n->n]);
}
