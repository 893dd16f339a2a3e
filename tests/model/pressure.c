// SPDX-License-Identifier: MIT
/*
 * An automatic budget follows the machine: numbers of a made-up one, a trigger that is
 * pulled, and stalls for want of memory that are made on this one; the code for that stays in
 * memory. And passes that wait for a slow disk compute with one thread until they do not wait
 * any more. The logits stay the same.
 */
#include "runtime/memory/budget.h"
#include "runtime/memory/code.h"
#include "runtime/session/session.h"
#include "tests/model/folder.h"
#include "tests/test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TOKENS 24
#define BIG 20		/* MiB */

static char dir[] = "/tmp/linnet-pressure-XXXXXX";
static char path[128];
static struct linnet_error err;

static void put(const char *name, const char *text)
{
	char file[4096], cmd[8192];
	FILE *f;

	snprintf(file, sizeof(file), "%s/%s", dir, name);
	snprintf(cmd, sizeof(cmd), "mkdir -p \"$(dirname '%s')\"", file);
	if (system(cmd) || !(f = fopen(file, "w")) || fputs(text, f) < 0 || fclose(f)) {
		perror(file);
		exit(1);
	}
}

/* A machine with so much free memory, and a control group of version 1 with no limit. */
static void machine(uint64_t available)
{
	char text[128];

	snprintf(text, sizeof(text), "MemTotal: 99999999 kB\nMemAvailable: %llu kB\n",
		 (unsigned long long)available >> 10);
	put("proc/meminfo", text);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static bool decode(struct linnet_session *s, float *logits, uint32_t n_vocab)
{
	int32_t ids[TOKENS];

	for (uint32_t i = 0; i < TOKENS; i++)
		ids[i] = (int32_t)((i * 2654435761u >> 7) % n_vocab);
	linnet_session_truncate(s, 0);
	for (uint32_t i = 0; i < TOKENS; i += 4)
		if (linnet_session_decode(s, ids + i, 4, LINNET_LOGITS_LAST, &err)) {
			printf("# %s\n", err.message);
			return false;
		}
	memcpy(logits, linnet_session_logits(s, 0), n_vocab * sizeof(*logits));
	return true;
}

/* Bytes of weights that are to stay. */
static uint64_t resident(const struct linnet_model *m)
{
	struct linnet_weights_stats st;

	linnet_weights_stats(m->weights, &st);
	return st.resident_bytes;
}

/* Others of the group take what its limit leaves, between two looks at the numbers. */
static void test_limit(struct linnet_model *m, struct linnet_session *s, const float *want,
		       float *got, uint32_t n_vocab, uint64_t all)
{
	static const struct {
		const char *cgroup, *mounts, *dir, *limit, *has;
	} version[] = {
		{ "5:memory:/few\n",
		  "36 20 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
		  "sys/fs/cgroup/memory/few", "memory.limit_in_bytes", "memory.usage_in_bytes" },
		{ "0::/few\n", "30 20 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
		  "sys/fs/cgroup/few", "memory.max", "memory.current" },
	};
	struct linnet_pressure *before = m->pressure;
	char file[128];
	bool ok;

	machine(1ull << 34);
	for (int v = 0; v < 2; v++) {
		put("proc/self/cgroup", version[v].cgroup);
		put("proc/self/mountinfo", version[v].mounts);
		snprintf(file, sizeof(file), "%s/memory.pressure_level", version[v].dir);
		put(file, "");
		snprintf(file, sizeof(file), "%s/cgroup.event_control", version[v].dir);
		put(file, "");
		snprintf(file, sizeof(file), "%s/memory.high", version[v].dir);
		put(file, "max\n");
		snprintf(file, sizeof(file), "%s/memory.events", version[v].dir);
		put(file, "");
		snprintf(file, sizeof(file), "%s/memory.stat", version[v].dir);
		put(file, "cache 0\ninactive_file 0\nactive_file 1048576\n"
			  "total_inactive_file 0\ntotal_active_file 1048576\n");
		snprintf(file, sizeof(file), "%s/%s", version[v].dir, version[v].limit);
		put(file, "4294967296\n");
		snprintf(file, sizeof(file), "%s/%s", version[v].dir, version[v].has);
		put(file, "1073741824\n");
		m->pressure = NULL;
		/* of files that are no kernel's, none of version 2 tells of anything */
		ok = !linnet_pressure_open(&m->pressure, dir) &&
		     (linnet_model_pressure_fd(m) >= 0) == !v;
		linnet_model_set_memory(m, 1ull << 34, NULL);
		ok = ok && decode(s, got, n_vocab) && decode(s, got, n_vocab) && resident(m) == all;
		m->follows = true;
		for (int near = 0; near < 2 && ok; near++) {
			/* with the page cache, all of it; what gives way by itself leaves room */
			put(file, near ? "4293918720\n" : "4290772992\n");
			m->budget = m->kept = 1ull << 34;
			m->looked_ns = m->pressed_ns = 0;
			m->measured_ns = now_ns();
			ok = decode(s, got, n_vocab) &&
			     !memcmp(want, got, n_vocab * sizeof(*got)) &&
			     (near ? resident(m) < all && m->budget == m->least :
				     resident(m) == all || now_ns() - m->measured_ns > 900000000u);
		}
		test_ok(ok, "%s that others meet: %llu of %llu bytes of weights stay",
			version[v].limit, (unsigned long long)resident(m),
			(unsigned long long)all);
		linnet_pressure_close(m->pressure);
	}
	m->pressure = before;
	m->follows = false;
	m->pressed_ns = 0;
	put("proc/self/cgroup", "5:memory:/job\n");
	put("proc/self/mountinfo", version[0].mounts);
}

#define SMALL_DEVICE (100ull << 20)

static void small_device(const struct linnet_engine *e, struct linnet_engine_info *info)
{
	*info = (struct linnet_engine_info){ .name = "small", .isa = "",
					     .max_memory_bytes = SMALL_DEVICE };
}

static void test_follow(void)
{
	const struct linnet_engine_ops *was_ops;
	struct linnet_engine_ops limited;
	struct linnet_model_options mo = LINNET_INIT(mo);
	struct linnet_session_options so = LINNET_INIT(so);
	struct linnet_model_info info = LINNET_INIT(info);
	struct linnet_model *m;
	struct linnet_session *s;
	float *want, *got;
	uint64_t all, before, has, count = 1;
	size_t bytes;
	int event = -1, level = -1;
	unsigned steps = 0;
	char file[256];
	bool ok, slow = false;
	FILE *f;

	mo.n_threads = 1;
	so.n_ctx = TOKENS;
	so.n_batch = TOKENS;
	if (linnet_model_open(&m, path, &mo, &err) || linnet_session_create(&s, m, &so, &err)) {
		test_ok(false, "%s", err.message);
		return;
	}
	linnet_model_info(m, &info);
	bytes = info.n_vocab * sizeof(float);
	want = calloc(1, bytes);
	got = calloc(1, bytes);
	if (!want || !got)
		abort();
	/* the machine is exchanged for one of ours */
	machine(1ull << 34);
	put("proc/self/cgroup", "5:memory:/job\n");
	put("proc/self/mountinfo",
	    "36 20 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
	put("sys/fs/cgroup/memory/job/memory.pressure_level", "");
	put("sys/fs/cgroup/memory/job/cgroup.event_control", "");
	linnet_pressure_close(m->pressure);
	m->pressure = NULL;
	test_ok(!linnet_pressure_open(&m->pressure, dir) &&
		!strcmp(linnet_pressure_sources(m->pressure), "group's level"),
		"a group of version 1 tells its level");
	snprintf(file, sizeof(file), "%s/sys/fs/cgroup/memory/job/cgroup.event_control", dir);
	f = fopen(file, "r");
	test_ok(f && fscanf(f, "%d %d medium", &event, &level) == 2, "the group was asked to");
	fclose(f);
	m->root = dir;
	m->budget = 1ull << 34;
	test_ok(decode(s, want, info.n_vocab) && decode(s, got, info.n_vocab) &&
		!memcmp(want, got, bytes), "much memory");
	all = resident(m);

	/* so little free memory that what the process has is too much */
	machine(1 << 20);
	m->budget = m->kept = all + (64 << 20);
	m->measured_ns = m->looked_ns = 0;
	test_ok(decode(s, got, info.n_vocab) && !memcmp(want, got, bytes) &&
		m->budget < all + (64 << 20) && m->budget >= m->least,
		"no free memory: less is used");

	/* a device that takes less than the memory there is */
	machine(1ull << 34);
	limited = *m->engine->ops;
	limited.info = small_device;
	was_ops = m->engine->ops;
	before = linnet_model_automatic_budget(m);
	m->engine->ops = &limited;
	test_ok(before > SMALL_DEVICE && linnet_model_automatic_budget(m) == SMALL_DEVICE,
		"an automatic budget is at most what the device takes");
	m->engine->ops = was_ops;

	/* beyond where the kernel begins to take back: at once, by as much as that */
	machine(1ull << 34);
	put("proc/self/cgroup", "0::/job\n");
	put("proc/self/mountinfo", "30 20 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
	put("sys/fs/cgroup/job/memory.max", "max\n");
	put("sys/fs/cgroup/job/memory.stat", "");
	put("sys/fs/cgroup/job/memory.current", "4294967296\n");
	linnet_model_set_memory(m, 1ull << 34, NULL);
	ok = decode(s, got, info.n_vocab) && decode(s, got, info.n_vocab) && resident(m) == all;
	has = linnet_budget_resident();
	snprintf(file, sizeof(file), "%llu\n", (1ull << 32) - (unsigned long long)has / 4);
	put("sys/fs/cgroup/job/memory.high", file);
	m->follows = true;
	m->measured_ns = m->looked_ns = 0;
	ok = ok && decode(s, got, info.n_vocab) && !memcmp(want, got, bytes);
	test_ok(ok && (resident(m) < all || getenv("LINNET_SANITIZER")) && m->budget < has &&
		(m->budget <= has - has / 4 || m->budget == m->least),
		"beyond memory.high: %llu of %llu bytes of weights stay",
		(unsigned long long)resident(m), (unsigned long long)all);
	put("proc/self/cgroup", "5:memory:/job\n");
	put("proc/self/mountinfo",
	    "36 20 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");

	test_limit(m, s, want, got, info.n_vocab, all);

	/* another program ends: in steps, not at once */
	linnet_model_set_memory(m, m->least, NULL);
	machine(1ull << 34);
	before = resident(m);
	m->follows = true;
	ok = before < all;
	while (ok && resident(m) < all && steps++ < 40) {
		const uint64_t was = m->budget, start = now_ns();

		m->measured_ns = 0;
		m->looked_ns = 0;
		ok = decode(s, got, info.n_vocab) && !memcmp(want, got, bytes);
		/* a machine that takes so long for it looks at the numbers more than once */
		if (now_ns() - start < 900000000u)
			ok = ok && m->budget <= was + was / 4;
		else
			slow = true;
	}
	test_ok(ok && resident(m) == all && (steps > 1 || slow), "free memory: all is back after %u steps",
		steps);

	/* pressure; first with so much free memory that it is not for us, then with none */
	before = m->budget;
	m->looked_ns = 0;
	ok = write(event, &count, sizeof(count)) == sizeof(count) && decode(s, got, info.n_vocab);
	test_ok(ok && resident(m) == all, "pressure that is not for us");
	machine(0);
	/* the numbers alone would leave everything */
	m->budget = m->kept = linnet_model_automatic_budget(m);
	machine(m->least >> 4);
	before = resident(m);
	m->looked_ns = 0;
	m->measured_ns = UINT64_MAX / 2;
	steps = 0;
	while (resident(m) >= all && steps++ < 50) {
		struct pollfd fd = { linnet_model_pressure_fd(m), POLLIN, 0 };

		ok = ok && write(event, &count, sizeof(count)) == sizeof(count) &&
		     poll(&fd, 1, 1000) == 1;
		m->looked_ns = 0;
		m->pressed_ns = 0;
		ok = ok && decode(s, got, info.n_vocab) && !memcmp(want, got, bytes);
	}
	if (getenv("LINNET_SANITIZER"))
		test_skip("pressure", "a sanitizer's own memory is no small part of the process's");
	else
		test_ok(ok && resident(m) < all, "pressure: %llu of %llu bytes of weights stay",
			(unsigned long long)resident(m), (unsigned long long)all);
	ok = decode(s, got, info.n_vocab) && !memcmp(want, got, bytes);
	test_ok(ok, "the same logits");

	/* while nothing runs: who polls the descriptor gives way with a call */
	before = resident(m);
	m->budget = m->kept;
	m->looked_ns = m->pressed_ns = 0;
	if (write(event, &count, sizeof(count)) != sizeof(count))
		abort();
	test_ok(!linnet_model_set_memory(m, 0, &err) && m->budget >= m->least &&
		decode(s, got, info.n_vocab) && !memcmp(want, got, bytes),
		"no decode runs: %llu bytes stay", (unsigned long long)resident(m));
	test_ok(!linnet_model_set_memory(m, LINNET_MEMORY_UNLIMITED, NULL) && !m->follows,
		"a budget of its own");
	linnet_session_destroy(s);
	linnet_model_close(m);
	free(want);
	free(got);
}

/* Somebody who waits for memory all the time: in a group of 16 MiB, a little more of a file,
 * so that what is missed has been there a moment before. */
static pid_t thrash(const char *group)
{
	char file[256], text[32];
	pid_t pid = fork();
	int fd;

	if (pid)
		return pid;
	alarm(30);
	snprintf(file, sizeof(file), "%s/cgroup.procs", group);
	fd = open(file, O_WRONLY);
	snprintf(text, sizeof(text), "%d", getpid());
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		_exit(1);
	snprintf(file, sizeof(file), "%s/big", dir);
	fd = open(file, O_RDWR);
	for (;;) {
		unsigned sum = 0;
		char *p = mmap(NULL, BIG << 20, PROT_READ, MAP_SHARED, fd, 0);

		if (p == MAP_FAILED)
			_exit(1);
		for (size_t i = 0; i < BIG << 20; i += 4096)
			sum += (unsigned char)p[i];
		munmap(p, BIG << 20);
		if (sum == 1)
			_exit(2);
	}
}

/* Microseconds that somebody has waited for memory, ever. */
static unsigned long long stalled(void)
{
	unsigned long long us = 0;
	FILE *f = fopen("/proc/pressure/memory", "r");

	if (f && fscanf(f, "some avg10=%*f avg60=%*f avg300=%*f total=%llu", &us) != 1)
		us = 0;
	if (f)
		fclose(f);
	return us;
}

/* Enter the group, and wait to be told of stalls. Exit status: 0 told; 1 not; 2 nobody tells;
 * 3 the group takes nobody. */
static void watch(const char *group)
{
	struct linnet_pressure *p;
	char file[256], text[32];
	unsigned long long before = stalled();
	int fd;

	alarm(60);
	snprintf(file, sizeof(file), "%s/cgroup.procs", group);
	fd = open(file, O_WRONLY);
	snprintf(text, sizeof(text), "%d", getpid());
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		_exit(3);
	if (linnet_pressure_open(&p, "") || !strstr(linnet_pressure_sources(p), "stalls"))
		_exit(2);
	for (int i = 0; i < 100; i++) {
		struct pollfd wait = { linnet_pressure_fd(p), POLLIN, 0 };

		poll(&wait, 1, 100);
		if (linnet_pressure_taken(p) == LINNET_PRESSURE_STALL)
			_exit(0);
		/* not every kernel counts them */
		if (i > 30 && stalled() == before)
			break;
	}
	_exit(1);
}

static void test_stalls(void)
{
	static const char *const roots[] = { "/sys/fs/cgroup/memory", "/sys/fs/cgroup" };
	static const char *const limits[] = { "memory.limit_in_bytes", "memory.max" };
	struct linnet_pressure *p = NULL;
	char group[128], file[256];
	unsigned long long before;
	int fd = -1, status;
	pid_t pid, watcher;

	if (linnet_pressure_open(&p, "") || linnet_pressure_fd(p) < 0) {
		linnet_pressure_close(p);
		test_skip("stalls", "the kernel does not tell of pressure, or not to us");
		return;
	}
	test_ok(linnet_pressure_fd(p) >= 0 && *linnet_pressure_sources(p),
		"what tells of pressure: %s", linnet_pressure_sources(p));
	linnet_pressure_close(p);
	for (int i = 0; i < 2 && fd < 0; i++) {
		snprintf(group, sizeof(group), "%s/linnet-pressure.%d", roots[i], getpid());
		if (mkdir(group, 0755))
			continue;
		snprintf(file, sizeof(file), "%s/%s", group, limits[i]);
		fd = open(file, O_WRONLY);
		if (fd < 0 || write(fd, "16777216", 8) != 8) {
			rmdir(group);
			fd = -1;
		}
	}
	if (fd < 0) {
		test_skip("stalls that are made", "no right to make control groups");
		return;
	}
	close(fd);
	before = stalled();
	snprintf(file, sizeof(file), "%s/big", dir);
	fd = open(file, O_RDWR | O_CREAT, 0600);
	for (int i = 0; i < BIG; i++) {
		static char block[1 << 20];

		block[0] = 1;
		if (write(fd, block, sizeof(block)) != sizeof(block))
			abort();
	}
	fsync(fd);
	/* what is in the page cache already, others are charged with */
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	close(fd);
	fflush(stdout);
	/* a group of version 2 tells of its own stalls, /proc/pressure of all */
	watcher = fork();
	if (!watcher)
		watch(group);
	pid = thrash(group);
	waitpid(watcher, &status, 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	usleep(100000);
	rmdir(group);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 3)
		test_skip("stalls that are made", "the group does not take a process");
	else if (WIFEXITED(status) && WEXITSTATUS(status) == 2)
		test_skip("stalls that are made", "no stalls are told of");
	else if (status && stalled() - before < 200000)
		test_skip("stalls that are made", "the kernel did not count them as such");
	else
		test_ok(!status, "stalls of the group are told of");
}

/* Short passes, enough of them to settle. */
static bool decode_short(struct linnet_session *s, float *logits, uint32_t n_vocab)
{
	linnet_session_truncate(s, 0);
	for (int32_t i = 0; i < 4; i++)
		if (linnet_session_decode(s, &i, 1, LINNET_LOGITS_LAST, &err)) {
			printf("# %s\n", err.message);
			return false;
		}
	memcpy(logits, linnet_session_logits(s, 0), n_vocab * sizeof(*logits));
	return true;
}

/* A disk that gives so little that passes wait for it, then none. */
static void test_gentle(void)
{
	struct linnet_model_options mo = LINNET_INIT(mo);
	struct linnet_session_options so = LINNET_INIT(so);
	struct linnet_model_info info = LINNET_INIT(info);
	struct linnet_model *m;
	struct linnet_session *s;
	float *want, *got;
	size_t bytes;

	mo.n_threads = 2;
	so.n_ctx = TOKENS;
	so.n_batch = TOKENS;
	if (linnet_model_open(&m, path, &mo, &err) || linnet_session_create(&s, m, &so, &err)) {
		test_ok(false, "%s", err.message);
		return;
	}
	linnet_model_info(m, &info);
	bytes = info.n_vocab * sizeof(float);
	want = calloc(1, bytes);
	got = calloc(1, bytes);
	if (!want || !got)
		abort();
	test_ok(decode_short(s, want, info.n_vocab) && decode_short(s, got, info.n_vocab) &&
		!memcmp(want, got, bytes) && !s->gentle, "in memory: all threads");
	/* a busy machine may have made the first passes wait for what they read */
	while (s->hurry && decode_short(s, got, info.n_vocab))
		;
	linnet_model_set_memory(m, m->least, NULL);
	linnet_queue_set_rate(m->queue, 20000000);
	test_ok(decode_short(s, got, info.n_vocab) && !memcmp(want, got, bytes) && s->gentle,
		"a slow disk: one thread, the same logits");
	linnet_queue_set_rate(m->queue, 0);
	linnet_model_set_memory(m, 1ull << 34, NULL);
	/* the first passes read what is to stay */
	test_ok(decode_short(s, got, info.n_vocab) && decode_short(s, got, info.n_vocab) &&
		!memcmp(want, got, bytes) && !s->gentle && s->hurry,
		"in memory again: all threads, for a while");
	linnet_session_destroy(s);
	linnet_model_close(m);
	free(want);
	free(got);
}

/* Bytes of the mapping at an address that the kernel may not take. */
static uint64_t kept(uintptr_t at)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	unsigned long begin, end;
	unsigned long long kb = 0;
	bool there = false;
	char line[512];

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &begin, &end) == 2)
			there = at >= begin && at < end;
		else if (there && sscanf(line, "Locked: %llu", &kb) == 1)
			break;
	}
	if (f)
		fclose(f);
	return kb << 10;
}

/* 0: a process whose model has such a budget keeps its code, or does not. */
static int with_budget(uint64_t bytes, bool keeps)
{
	struct linnet_model_options mo = LINNET_INIT(mo);
	struct linnet_model *m;

	mo.memory_bytes = bytes;
	if (kept((uintptr_t)linnet_code_keep) || linnet_model_open(&m, path, &mo, &err))
		return 1;
	return !!kept((uintptr_t)linnet_code_keep) != keeps || !!kept((uintptr_t)pread) != keeps;
}

/* 0: who may keep less than all of it is told. */
static int with_limit(void)
{
	const struct rlimit little = { 1 << 16, 1 << 16 };

	if (setrlimit(RLIMIT_MEMLOCK, &little) || (!getuid() && setuid(65534)))
		return 1;
	return linnet_code_keep() != -ENOMEM;
}

/* Under a budget of its own making a process must get as far as giving memory back. */
static void test_code(void)
{
	static const char *const what[] = {
		"an automatic budget: code stays in memory, ours and the C library's",
		"a budget that was set: nothing is kept",
		"a limit on memory that is kept: said"
	};

	for (unsigned i = 0; i < 3; i++) {
		const pid_t pid = fork();
		int status = -1;

		if (!pid)
			_exit(i == 2 ? with_limit() :
				       with_budget(i ? LINNET_MEMORY_UNLIMITED : 0, !i));
		test_ok(pid > 0 && waitpid(pid, &status, 0) == pid && !status, "%s", what[i]);
	}
}

int main(void)
{
	const char *python = folder_python();
	char command[512];
	int status;

	status = folder_begin(dir);
	if (status)
		return status;
	snprintf(path, sizeof(path), "%s/model.gguf", dir);
	snprintf(command, sizeof(command),
		 "%s tests/tools/make_model.py --layers 8 --embd 256 --ff 1024 --heads 8 "
		 "--kv-heads 2 --vocab 2048 --no-tied --type q8_0 -o %s >/dev/null",
		 python, path);
	if (!test_ok(!system(command), "a model is made"))
		return test_end();
	alarm(300);
	test_code();
	test_follow();
	test_stalls();
	test_gentle();
	return folder_end(dir);
}
