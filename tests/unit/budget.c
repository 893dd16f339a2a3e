// SPDX-License-Identifier: MIT
/* linnet_budget_available() on made-up machines: control groups v1 and v2, nested,
 * mounted whole and in part. */
#include "runtime/memory/budget.h"
#include "tests/test.h"

#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define MEMINFO_MUCH "MemTotal:  9999999 kB\nMemAvailable:    8388608 kB\n"
#define MEMINFO "MemTotal:  8000 kB\nMemFree: 10 kB\nMemAvailable:    4000 kB\n"
#define MOUNT2 "30 20 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
#define MOUNT1 "36 20 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"

static char root[] = "/tmp/linnet-budget-XXXXXX";

static void put(const char *name, const char *text)
{
	char path[4096], dir[4096], cmd[8192];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", root, name);
	snprintf(dir, sizeof(dir), "%s", path);
	*strrchr(dir, '/') = 0;
	snprintf(cmd, sizeof(cmd), "mkdir -p '%s'", dir);
	if (system(cmd) || !(f = fopen(path, "w"))) {
		perror(path);
		exit(1);
	}
	fputs(text, f);
	fclose(f);
}

static void clear(void)
{
	char cmd[4096];

	snprintf(cmd, sizeof(cmd), "rm -rf '%s'/proc '%s'/sys", root, root);
	if (system(cmd))
		exit(1);
}

static void group(const char *dir, const char *prefix, const char *limit, const char *usage,
		  const char *stat)
{
	const char *v1 = strcmp(prefix, "v1") ? NULL : prefix;
	char name[4096];

	snprintf(name, sizeof(name), "%s/%s", dir, v1 ? "memory.limit_in_bytes" : "memory.max");
	put(name, limit);
	snprintf(name, sizeof(name), "%s/%s", dir, v1 ? "memory.usage_in_bytes" : "memory.current");
	put(name, usage);
	snprintf(name, sizeof(name), "%s/memory.stat", dir);
	put(name, stat);
}

static uint64_t over;

static void expect(const char *what, uint64_t bytes)
{
	uint64_t machine = 0, limits = 0, got;
	int ret = linnet_budget_available(root, &machine, &limits, &over);

	got = limits < machine ? limits : machine;
	test_ok(!ret && got == bytes, "%s: %llu", what, (unsigned long long)got);
	clear();
}

/* Address space and data that may be had beyond what there is. */
static void test_rlimit(int resource, const char *name)
{
	const uint64_t more = 1ull << 30;
	uint64_t machine, limits;
	struct rlimit old, now;
	unsigned long long used[6];
	int ret;
	FILE *f = fopen("/proc/self/statm", "r");

	if (!f || fscanf(f, "%llu %llu %llu %llu %llu %llu", &used[0], &used[1], &used[2],
			 &used[3], &used[4], &used[5]) != 6 || getrlimit(resource, &old))
		abort();
	fclose(f);
	now = old;
	now.rlim_cur = used[resource == RLIMIT_AS ? 0 : 5] * (uint64_t)sysconf(_SC_PAGESIZE) + more;
	put("proc/meminfo", MEMINFO_MUCH);
	if (setrlimit(resource, &now))
		abort();
	ret = linnet_budget_available(root, &machine, &limits, &over);
	setrlimit(resource, &old);
	test_ok(!ret && machine == 8ull << 30 && limits <= more &&
		limits > more - (16 << 20) && !over, "a limit on %s: %llu of %llu", name,
		(unsigned long long)limits, (unsigned long long)more);
	ret = linnet_budget_available(root, &machine, &limits, &over);
	test_ok(!ret && limits > more, "and none on %s", name);
	clear();
}

#define MUCH (64u << 20)

/* A program's peak is its own: what called exec() may have had much more. */
static void test_peak(void)
{
	char *much = malloc(MUCH);
	int status = -1;
	pid_t pid;

	if (!much)
		abort();
	memset(much, 1, MUCH);
	test_ok(linnet_budget_peak() > MUCH, "the peak has what was touched");
	pid = fork();
	if (!pid) {
		execl("/proc/self/exe", "budget", "peak", (char *)NULL);
		_exit(2);
	}
	test_ok(pid > 0 && waitpid(pid, &status, 0) == pid && !status,
		"and nothing of it after exec()");
	free(much);
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "peak"))
		return linnet_budget_peak() > MUCH / 2 || !linnet_budget_peak();
	if (!getenv("LINNET_SANITIZER"))
		test_peak();
	if (!mkdtemp(root)) {
		perror(root);
		return 1;
	}
	put("proc/meminfo", MEMINFO);
	expect("no control groups", 4000 * 1024);

	put("proc/meminfo", MEMINFO);
	put("proc/self/mountinfo", MOUNT2);
	put("proc/self/cgroup", "0::/a/b\n");
	group("sys/fs/cgroup/a/b", "v2", "max\n", "1000\n", "");
	group("sys/fs/cgroup/a", "v2", "3000000\n", "1000000\n",
	      "anon 5\ninactive_file 200000\nactive_file 100000\n");
	expect("version 2, the parent's limit, cache given back", 2300000);

	put("proc/meminfo", MEMINFO);
	put("proc/self/mountinfo", MOUNT2);
	put("proc/self/cgroup", "0::/a\n");
	group("sys/fs/cgroup/a", "v2", "1000\n", "5000\n", "inactive_file 9000\n");
	expect("more cache than usage", 1000);

	put("proc/meminfo", MEMINFO);
	put("proc/self/mountinfo", MOUNT2);
	put("proc/self/cgroup", "0::/a\n");
	group("sys/fs/cgroup/a", "v2", "1000\n", "5000\n", "");
	expect("over the limit", 0);
	test_ok(over == 4000, "over the limit: what has to go: %llu", (unsigned long long)over);

	put("proc/meminfo", MEMINFO);
	put("proc/self/mountinfo", MOUNT2);
	put("proc/self/cgroup", "0::/a\n");
	group("sys/fs/cgroup/a", "v2", "max\n", "500000\n", "");
	put("sys/fs/cgroup/a/memory.high", "2000000\n");
	expect("where the kernel begins to take back", 1500000);
	test_ok(!over, "nothing has to go");

	put("proc/meminfo", MEMINFO);
	put("proc/self/mountinfo", MOUNT2);
	put("proc/self/cgroup", "0::/a/b\n");
	group("sys/fs/cgroup/a/b", "v2", "max\n", "700000\n", "inactive_file 100000\n");
	put("sys/fs/cgroup/a/b/memory.high", "500000\n");
	group("sys/fs/cgroup/a", "v2", "max\n", "900000\n", "inactive_file 100000\n");
	put("sys/fs/cgroup/a/memory.high", "600000\n");
	expect("beyond where it begins to take back", 0);
	test_ok(over == 200000, "the most that has to go: %llu", (unsigned long long)over);

	put("proc/meminfo", MEMINFO);
	put("proc/self/mountinfo", MOUNT1);
	put("proc/self/cgroup", "9:cpu,cpuacct:/x\n5:memory:/job/one\n0::/\n");
	group("sys/fs/cgroup/memory/job/one", "v1", "2000000\n", "500000\n",
	      "inactive_file 7\ntotal_inactive_file 100000\n");
	group("sys/fs/cgroup/memory", "v1", "9223372036854771712\n", "900000\n", "");
	expect("version 1", 1600000);

	put("proc/meminfo", MEMINFO);
	put("proc/self/mountinfo",
	    "36 20 0:31 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
	put("proc/self/cgroup", "5:memory:/docker/abc\n");
	group("sys/fs/cgroup/memory", "v1", "1500000\n", "500000\n", "");
	expect("a container sees its group as the root", 1000000);

	if (getenv("LINNET_SANITIZER")) {
		test_skip("resource limits", "sanitizers take terabytes of address space");
	} else {
		test_rlimit(RLIMIT_AS, "address space");
		test_rlimit(RLIMIT_DATA, "data");
	}
	test_ok(linnet_budget_available(root, &(uint64_t){ 0 }, &(uint64_t){ 0 }, &over) < 0,
		"nothing to read");
	test_ok(linnet_budget_resident() > 100000, "resident memory of this process");
	rmdir(root);
	return test_end();
}
