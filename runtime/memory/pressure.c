// SPDX-License-Identifier: MIT
/* Keeps pressure.h. */
#include "pressure.h"

#include "budget.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define SOURCES 4
/* Groups above each other whose limits are looked at, the process's own first. */
#define LEVELS 8
#define STAT_BYTES 8192

/* Stalls of 50 ms within a second; who may not have that: 100 ms within two seconds. */
static const char *const triggers[] = { "some 50000 1000000", "some 100000 2000000" };

/* Files of one version of control groups, and lines of memory.stat that are page cache. */
struct version {
	const char *high, *limit, *current, *cache[2];
};

static const struct version v2 = { "memory.high", "memory.max", "memory.current",
				   { "\ninactive_file ", "\nactive_file " } };
static const struct version v1 = { NULL, "memory.limit_in_bytes", "memory.usage_in_bytes",
				   { "\ntotal_inactive_file ", "\ntotal_active_file " } };

/* Of one group: where the kernel begins to take back (-1: nowhere), where it kills, what the
 * group has, and what of that is cache. */
struct level {
	const struct version *v;
	int high, limit, current, stat;
};

struct linnet_pressure {
	int epoll;
	struct level above[LEVELS];
	unsigned n_above;
	int fd[SOURCES];
	bool events[SOURCES];	/* it is memory.events */
	unsigned n;
	int level;		/* memory.pressure_level of version 1, held open; or -1 */
	char sources[64];
};

static void add(struct linnet_pressure *p, int fd, uint32_t events, const char *name)
{
	struct epoll_event e = { .events = events, .data.u32 = p->n };

	if (fd < 0)
		return;
	if (p->n == SOURCES || epoll_ctl(p->epoll, EPOLL_CTL_ADD, fd, &e)) {
		close(fd);
		return;
	}
	p->events[p->n] = !strcmp(name, "group's events");
	p->fd[p->n++] = fd;
	if (*p->sources)
		strncat(p->sources, ",", sizeof(p->sources) - strlen(p->sources) - 1);
	strncat(p->sources, name, sizeof(p->sources) - strlen(p->sources) - 1);
}

static int open_in(const char *dir, const char *name, int flags)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path))
		return -1;
	return open(path, flags | O_CLOEXEC | O_NONBLOCK);
}

/* A descriptor that has a trigger, or -1. */
static int open_stalls(const char *dir, const char *name)
{
	for (size_t i = 0; i < sizeof(triggers) / sizeof(triggers[0]); i++) {
		int fd = open_in(dir, name, O_RDWR);

		if (fd < 0)
			return -1;
		/* with its NUL, as the kernel's own example has it */
		if (write(fd, triggers[i], strlen(triggers[i]) + 1) > 0)
			return fd;
		close(fd);
	}
	return -1;
}

/* The first line of a file that is open, as a number; UINT64_MAX: it is none, or "max". */
static uint64_t number_in(int fd)
{
	char text[32];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return UINT64_MAX;
	text[n] = '\0';
	return *text >= '0' && *text <= '9' ? strtoull(text, NULL, 10) : UINT64_MAX;
}

/* The numbers of some lines of memory.stat, added up. */
static uint64_t cache_in(int fd, const struct version *v)
{
	char text[STAT_BYTES + 1];
	ssize_t n = pread(fd, text, STAT_BYTES, 0);
	uint64_t sum = 0;

	if (n <= 0)
		return 0;
	text[n] = '\0';
	for (size_t i = 0; i < 2; i++) {
		const char *at = strstr(text, v->cache[i]);

		if (at)
			sum += strtoull(at + strlen(v->cache[i]), NULL, 10);
	}
	return sum;
}

static void close_level(struct level *l)
{
	if (l->high >= 0)
		close(l->high);
	if (l->limit >= 0)
		close(l->limit);
	if (l->current >= 0)
		close(l->current);
	if (l->stat >= 0)
		close(l->stat);
}

/* The group's files and those of all above it, as long as there are some. Each is read once, so
 * that the kernel has what it needs for reading. */
static void open_above(struct linnet_pressure *p, char *dir, const struct version *v)
{
	char *slash;

	while (p->n_above < LEVELS) {
		struct level l = { v, v->high ? open_in(dir, v->high, O_RDONLY) : -1,
				   open_in(dir, v->limit, O_RDONLY),
				   open_in(dir, v->current, O_RDONLY),
				   open_in(dir, "memory.stat", O_RDONLY) };

		if ((v->high && l.high < 0) || l.limit < 0 || l.current < 0 || l.stat < 0) {
			close_level(&l);
			return;
		}
		if (v->high)
			number_in(l.high);
		number_in(l.limit);
		number_in(l.current);
		cache_in(l.stat, v);
		p->above[p->n_above++] = l;
		slash = strrchr(dir, '/');
		if (!slash)
			return;
		*slash = '\0';
	}
}

uint64_t linnet_pressure_over(const struct linnet_pressure *p, uint64_t room)
{
	uint64_t over = 0;

	for (unsigned i = 0; i < p->n_above; i++) {
		const struct level *l = &p->above[i];
		const uint64_t high = l->high < 0 ? UINT64_MAX : number_in(l->high);
		uint64_t bound = number_in(l->limit), has, cache;

		if (bound != UINT64_MAX)
			bound -= room < bound ? room : bound;
		if (high < bound)
			bound = high;
		if (bound == UINT64_MAX)
			continue;
		has = number_in(l->current);
		if (has == UINT64_MAX || has <= bound)
			continue;
		cache = cache_in(l->stat, l->v);
		has -= cache < has ? cache : has;
		if (has > bound && has - bound > over)
			over = has - bound;
	}
	return over;
}

/* An event descriptor that is told of the group's medium pressure (version 1). */
static int open_level(struct linnet_pressure *p, const char *dir)
{
	int control = open_in(dir, "cgroup.event_control", O_WRONLY);
	int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	char text[64];
	int n;

	p->level = open_in(dir, "memory.pressure_level", O_RDONLY);
	n = snprintf(text, sizeof(text), "%d %d medium", event, p->level);
	if (control < 0 || event < 0 || p->level < 0 || write(control, text, (size_t)n) != n) {
		if (event >= 0)
			close(event);
		event = -1;
	}
	if (control >= 0)
		close(control);
	return event;
}

int linnet_pressure_open(struct linnet_pressure **out, const char *root)
{
	struct linnet_pressure *p = calloc(1, sizeof(*p));
	char dir[PATH_MAX];
	bool stalls = false;

	if (!p)
		return -ENOMEM;
	p->level = -1;
	p->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (p->epoll < 0)
		goto err_close;
	if (!linnet_budget_group(root, true, dir, sizeof(dir))) {
		/* the first group of all has neither: it is the machine */
		add(p, open_stalls(dir, "memory.pressure"), EPOLLPRI, "group's stalls");
		stalls = p->n;
		add(p, open_in(dir, "memory.events", O_RDONLY), EPOLLPRI, "group's events");
		open_above(p, dir, &v2);
	}
	if (!linnet_budget_group(root, false, dir, sizeof(dir))) {
		add(p, open_level(p, dir), EPOLLIN, "group's level");
		open_above(p, dir, &v1);
	}
	if (!stalls && snprintf(dir, sizeof(dir), "%s/proc/pressure", root) < (int)sizeof(dir))
		add(p, open_stalls(dir, "memory"), EPOLLPRI, "stalls");
	if (!p->n && !p->n_above)
		goto err_close;
	*out = p;
	return 0;

err_close:
	linnet_pressure_close(p);
	return -ENOENT;
}

void linnet_pressure_close(struct linnet_pressure *p)
{
	if (!p)
		return;
	for (unsigned i = 0; i < p->n; i++)
		close(p->fd[i]);
	for (unsigned i = 0; i < p->n_above; i++)
		close_level(&p->above[i]);
	if (p->level >= 0)
		close(p->level);
	if (p->epoll >= 0)
		close(p->epoll);
	free(p);
}

int linnet_pressure_fd(const struct linnet_pressure *p)
{
	return p->n ? p->epoll : -ENOENT;
}

enum linnet_pressure_level linnet_pressure_taken(struct linnet_pressure *p)
{
	enum linnet_pressure_level level = LINNET_PRESSURE_NONE, is;
	struct epoll_event event[SOURCES];
	int n = epoll_wait(p->epoll, event, SOURCES, 0);

	for (int i = 0; i < n; i++) {
		const unsigned source = event[i].data.u32;
		char text[512];
		bool taken;

		/* Event descriptors and memory.events have to be read; a trigger's event is
		 * taken by being looked at. */
		taken = event[i].events & EPOLLIN ? read(p->fd[source], text, 8) == 8 :
						    pread(p->fd[source], text, sizeof(text), 0) > 0;
		is = p->events[source] ? LINNET_PRESSURE_EVENT : LINNET_PRESSURE_STALL;
		if (taken && is > level)
			level = is;
	}
	return level;
}

const char *linnet_pressure_sources(const struct linnet_pressure *p)
{
	return p->sources;
}
