// SPDX-License-Identifier: MIT
/* linnet_numa_read() on made-up machines; memory that is spread and threads that are kept
 * where there are nodes is tested in a guest (tests/vm/memory.sh). */
#include "runtime/memory/numa.h"
#include "runtime/memory/region.h"
#include "tests/test.h"

#include <string.h>
#include <unistd.h>

static char root[] = "/tmp/linnet-numa-XXXXXX";

static void put(const char *name, const char *text)
{
	char path[4096], cmd[8192];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", root, name);
	snprintf(cmd, sizeof(cmd), "mkdir -p \"$(dirname '%s')\"", path);
	if (system(cmd) || !(f = fopen(path, "w"))) {
		perror(path);
		exit(1);
	}
	fputs(text, f);
	fclose(f);
}

#define NODE "sys/devices/system/node/"

/* "0:0,1 2:4": nodes in use and their processors. */
static void expect(const char *what, const cpu_set_t *allowed, const char *want)
{
	struct linnet_numa *n;
	char is[512] = "";
	int ret = linnet_numa_read(&n, root, allowed);

	for (unsigned i = 0; !ret && n && i < n->n; i++) {
		bool first = true;

		sprintf(is + strlen(is), "%s%u", i ? " " : "", n->node[i]);
		for (int c = 0; c < CPU_SETSIZE; c++)
			if (CPU_ISSET(c, &n->cpus[i])) {
				sprintf(is + strlen(is), "%c%d", first ? ':' : ',', c);
				first = false;
			}
	}
	linnet_numa_close(n);
	test_ok(!ret && !strcmp(is, want), "%s: \"%s\"", what, is);
}

int main(void)
{
	char cmd[4096];
	cpu_set_t all, some;

	if (!mkdtemp(root)) {
		perror(root);
		return 1;
	}
	CPU_ZERO(&all);
	CPU_ZERO(&some);
	for (int i = 0; i < 8; i++)
		CPU_SET(i, &all);
	CPU_SET(1, &some);
	CPU_SET(6, &some);

	expect("a kernel without nodes", &all, "");
	put(NODE "has_memory", "0\n");
	put(NODE "node0/cpulist", "0-7\n");
	expect("one node", &all, "");
	put(NODE "has_memory", "0-1\n");
	put(NODE "node0/cpulist", "0-1,4\n");
	put(NODE "node1/cpulist", "2-3,5-7\n");
	expect("two nodes", &all, "0:0,1,4 1:2,3,5,6,7");
	expect("two nodes, few processors", &some, "0:1 1:6");
	CPU_CLR(6, &some);
	expect("processors of one node", &some, "");
	put(NODE "has_memory", "0,2-3\n");
	put(NODE "node1/cpulist", "2-3\n");
	put(NODE "node2/cpulist", "5-7\n");
	put(NODE "node3/cpulist", "\n");
	expect("a node without memory, and one without processors", &all, "0:0,1,4 2:5,6,7");
	put(NODE "has_memory", "0-4000000000\n");
	expect("numbers out of range", &all, "0:0,1,4 1:2,3 2:5,6,7");
	put(NODE "has_memory", "words\n");
	expect("no numbers", &all, "");

	test_ok(!linnet_region_pool_free(root), "a system without a pool of huge pages");
	put("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "12\n");
	put("sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages", "5\n");
	test_ok(linnet_region_pool_free(root) == 7 << 21,
		"pages of the pool that are not spoken for");
	put("sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages", "13\n");
	test_ok(!linnet_region_pool_free(root), "more are spoken for than there are");

	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", root);
	return system(cmd) ? 1 : test_end();
}
