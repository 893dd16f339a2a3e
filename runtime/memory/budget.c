// SPDX-License-Identifier: MIT
/* Keeps budget.h. Control groups: Documentation/admin-guide/cgroup-v2.rst and
 * cgroup-v1/memory.rst of the kernel. */
#include "budget.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* Files of one version of control groups, in a group's folder. */
struct version {
	/* soft: where the kernel begins to take back */
	const char *limit, *soft, *usage, *stat;
	/* page cache in memory.stat, which gives way */
	const char *cache[2];
};

static const struct version v2 = { "memory.max", "memory.high", "memory.current", "memory.stat",
				   { "inactive_file", "active_file" } };
static const struct version v1 = { "memory.limit_in_bytes", NULL, "memory.usage_in_bytes",
				   "memory.stat",
				   { "total_inactive_file", "total_active_file" } };

static FILE *open_in(const char *root, const char *dir, const char *name)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s%s/%s", root, dir, name) >= (int)sizeof(path))
		return NULL;
	return fopen(path, "re");
}

/* A file with one number; "max" is no number. */
static bool read_number(const char *root, const char *dir, const char *name, uint64_t *out)
{
	FILE *f = open_in(root, dir, name);
	unsigned long long v;
	bool ok;

	if (!f)
		return false;
	ok = fscanf(f, "%llu", &v) == 1;
	fclose(f);
	*out = v;
	return ok;
}

/* Number behind a word at the start of a line; 0 when there is none. */
static uint64_t read_field(const char *root, const char *dir, const char *name, const char *word)
{
	FILE *f = open_in(root, dir, name);
	char line[256];
	unsigned long long v = 0;
	const size_t n = strlen(word);

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, word, n) && (line[n] == ' ' || line[n] == ':') &&
		    sscanf(line + n + 1, "%llu", &v) == 1)
			break;
	fclose(f);
	return v;
}

static void at_most(uint64_t *bytes, uint64_t v)
{
	if (v < *bytes)
		*bytes = v;
}

/* What is left to a process, and what has to go. */
struct room {
	uint64_t bytes, over;
};

/* Bound the room by one group's limit. */
static void look_at_group(const char *root, const char *dir, const struct version *v,
			  struct room *room)
{
	uint64_t limit = UINT64_MAX, soft = UINT64_MAX, usage, cache = 0;

	/* one of both may be "max" */
	if (!read_number(root, dir, v->limit, &limit))
		limit = UINT64_MAX;
	if (v->soft && read_number(root, dir, v->soft, &soft))
		at_most(&limit, soft);
	if (limit == UINT64_MAX || !read_number(root, dir, v->usage, &usage))
		return;
	for (int i = 0; i < 2; i++)
		cache += read_field(root, dir, v->stat, v->cache[i]);
	usage -= cache < usage ? cache : usage;
	at_most(&room->bytes, limit > usage ? limit - usage : 0);
	if (usage > limit && usage - limit > room->over)
		room->over = usage - limit;
}

/* The group's folder and all above it, up to the mount point. */
static void look_at_groups(const char *root, const char *mount, const char *group,
			   const struct version *v, struct room *room)
{
	char dir[PATH_MAX];
	const size_t top = strlen(mount);

	if (snprintf(dir, sizeof(dir), "%s%s", mount, strcmp(group, "/") ? group : "") >=
	    (int)sizeof(dir))
		return;
	for (;;) {
		char *slash;

		look_at_group(root, dir, v, room);
		slash = strrchr(dir, '/');
		if (strlen(dir) <= top || !slash)
			return;
		*slash = 0;
		if (strlen(dir) < top)
			return;
	}
}

/* True when a comma-separated list has the word. */
static bool has_word(const char *list, const char *word)
{
	const size_t n = strlen(word);

	while (*list) {
		size_t len = strcspn(list, ",\n");

		if (len == n && !strncmp(list, word, n))
			return true;
		list += len + (list[len] != 0);
	}
	return false;
}

/*
 * Where the memory controller (v1) or the unified hierarchy (v2) is mounted, and which
 * of its groups is mounted there: in a container that need not be the root.
 */
static bool find_mount(const char *root, const char *type, const char *option, char *mount,
		       char *mounted)
{
	FILE *f = open_in(root, "/proc/self", "mountinfo");
	char line[2 * PATH_MAX], fs[64], super[1024];
	bool found = false;

	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f)) {
		const char *dash = strstr(line, " - ");

		if (!dash || sscanf(dash, " - %63s %*s %1023s", fs, super) != 2)
			continue;
		if (strcmp(fs, type) || (option && !has_word(super, option)))
			continue;
		found = sscanf(line, "%*s %*s %*s %4095s %4095s", mounted, mount) == 2;
	}
	fclose(f);
	return found;
}

/*
 * The process's own group: where its hierarchy is mounted, and its path from there on.
 * Both have room for PATH_MAX bytes.
 */
static bool find_group(const char *root, bool unified, char *mount, char *group)
{
	FILE *f = open_in(root, "/proc/self", "cgroup");
	char line[PATH_MAX + 256], mounted[PATH_MAX];
	bool found = false;

	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f)) {
		char *controllers = strchr(line, ':'), *path;
		size_t n;

		if (!controllers)
			continue;
		path = strchr(++controllers, ':');
		if (!path)
			continue;
		*path++ = 0;
		path[strcspn(path, "\n")] = 0;
		if (unified != !*controllers || (!unified && !has_word(controllers, "memory")))
			continue;
		if (!find_mount(root, unified ? "cgroup2" : "cgroup", unified ? NULL : "memory",
				mount, mounted))
			continue;
		n = strcmp(mounted, "/") ? strlen(mounted) : 0;
		if (!strncmp(path, mounted, n) && (!path[n] || path[n] == '/'))
			path += n;
		found = snprintf(group, PATH_MAX, "%s", *path ? path : "/") < PATH_MAX;
	}
	fclose(f);
	return found;
}

static void look_at_cgroups(const char *root, struct room *room)
{
	char mount[PATH_MAX], group[PATH_MAX];

	for (int unified = 0; unified < 2; unified++)
		if (find_group(root, unified, mount, group))
			look_at_groups(root, mount, group, unified ? &v2 : &v1, room);
}

int linnet_budget_group(const char *root, bool unified, char *path, size_t n)
{
	char mount[PATH_MAX], group[PATH_MAX];

	if (!find_group(root, unified, mount, group))
		return -ENOENT;
	if (snprintf(path, n, "%s%s%s", root, mount, strcmp(group, "/") ? group : "") >= (int)n)
		return -ENAMETOOLONG;
	return 0;
}

static void look_at_rlimit(int resource, uint64_t used, uint64_t *bytes)
{
	struct rlimit lim;

	if (!getrlimit(resource, &lim) && lim.rlim_cur != RLIM_INFINITY)
		at_most(bytes, lim.rlim_cur > used ? lim.rlim_cur - used : 0);
}

/* Number i of /proc/self/statm, in bytes. */
static uint64_t statm(unsigned i)
{
	unsigned long long v[6] = { 0 };
	FILE *f = fopen("/proc/self/statm", "re");

	if (!f)
		return 0;
	if (fscanf(f, "%llu %llu %llu %llu %llu %llu", &v[0], &v[1], &v[2], &v[3], &v[4],
		   &v[5]) != 6)
		memset(v, 0, sizeof(v));
	fclose(f);
	return v[i] * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t linnet_budget_resident(void)
{
	return statm(1);
}

uint64_t linnet_budget_peak(void)
{
	return read_field("", "/proc/self", "status", "VmHWM") * 1024;
}

int linnet_budget_available(const char *root, uint64_t *machine, uint64_t *limits, uint64_t *over)
{
	struct room room = { .bytes = UINT64_MAX };
	uint64_t available = read_field(root, "/proc", "meminfo", "MemAvailable");

	*machine = available ? available * 1024 : UINT64_MAX;
	look_at_cgroups(root, &room);
	look_at_rlimit(RLIMIT_AS, statm(0), &room.bytes);
	look_at_rlimit(RLIMIT_DATA, statm(5), &room.bytes);
	*limits = room.bytes;
	*over = room.over;
	return available || *limits != UINT64_MAX ? 0 : -ENODATA;
}
