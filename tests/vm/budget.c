// SPDX-License-Identifier: MIT
/*
 * usage: budget MODEL [shake SECONDS]
 *
 * Budgets that change while a model runs on the machine's device. What counts is the machine's
 * shared memory, which buffers are made of, and what the driver says of the file. For root, in a
 * guest of its own. `shake` only runs, with another budget every few milliseconds.
 */
#include "tests/test.h"

#include <linnet/linnet.h>

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TOKENS 24
#define CTX 256

static const char *path;
static struct linnet_error err;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Bytes behind a name in a file of /proc. */
static uint64_t read_kb(const char *file, const char *name)
{
	unsigned long long kb = 0;
	char line[256];
	FILE *f = fopen(file, "r");
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f))
		found = !strncmp(line, name, strlen(name)) &&
			sscanf(line + strlen(name), " %llu", &kb) == 1;
	if (f)
		fclose(f);
	return kb << 10;
}

static uint64_t shared(void)
{
	return read_kb("/proc/meminfo", "Shmem:");
}

/* What the driver says of this process's file. */
static uint64_t of_driver(const char *key)
{
	DIR *d = opendir("/proc/self/fdinfo");
	uint64_t bytes = 0;
	struct dirent *e;
	char file[300];

	while (d && (e = readdir(d))) {
		snprintf(file, sizeof(file), "/proc/self/fdinfo/%s", e->d_name);
		bytes += read_kb(file, key);
	}
	if (d)
		closedir(d);
	return bytes;
}

struct run {
	struct linnet_model *m;
	struct linnet_session *s;
	uint32_t n_vocab;
	uint64_t least, all;
};

static bool open_run(struct run *r, const char *engine, uint64_t memory)
{
	struct linnet_model_options mo = LINNET_INIT(mo);
	struct linnet_session_options so = LINNET_INIT(so);
	struct linnet_model_info info = LINNET_INIT(info);
	struct linnet_memory_info mem = LINNET_INIT(mem);
	struct linnet_plan *plan = NULL;
	int ret;

	memset(r, 0, sizeof(*r));
	mo.engine = engine;
	mo.memory_bytes = memory;
	so.n_ctx = CTX;
	so.n_batch = TOKENS;
	ret = linnet_model_open(&r->m, path, &mo, &err);
	if (!ret)
		ret = linnet_plan_create(&plan, r->m, &so, &err);
	if (!ret) {
		linnet_plan_memory(plan, &mem);
		r->least = linnet_plan_least(plan);
		r->all = mem.total;
		linnet_plan_destroy(plan);
		ret = linnet_session_create(&r->s, r->m, &so, &err);
	}
	if (!ret)
		ret = linnet_model_load(r->m, NULL, NULL, &err);
	if (ret)
		return test_ok(false, "%s: %s", path, err.message);
	linnet_model_info(r->m, &info);
	r->n_vocab = info.n_vocab;
	return true;
}

static void close_run(struct run *r)
{
	linnet_session_destroy(r->s);
	linnet_model_close(r->m);
}

/* A text's logits: a prompt of half of it, and then one by one. */
static bool decode(struct run *r, float *logits)
{
	int32_t ids[TOKENS];

	linnet_session_truncate(r->s, 0);
	for (uint32_t i = 0; i < TOKENS; i++)
		ids[i] = (int32_t)((i * 2654435761u >> 7) % r->n_vocab);
	for (uint32_t i = 0, n; i < TOKENS; i += n) {
		n = i ? 1 : TOKENS / 2;
		if (linnet_session_decode(r->s, ids + i, n, LINNET_LOGITS_LAST, &err)) {
			printf("# %s\n", err.message);
			return false;
		}
		memcpy(logits + (size_t)i * r->n_vocab, linnet_session_logits(r->s, 0),
		       r->n_vocab * sizeof(float));
	}
	return true;
}

static float *logits_new(const struct run *r)
{
	float *l = calloc((size_t)TOKENS * r->n_vocab, sizeof(*l));

	if (!l)
		abort();
	return l;
}

static bool same(const struct run *r, const float *a, const float *b)
{
	return !memcmp(a, b, (size_t)TOKENS * r->n_vocab * sizeof(*a));
}

struct shaker {
	struct run *r;
	_Atomic bool stop;
	unsigned n;
	int failed;
};

static void *shake(void *arg)
{
	struct shaker *s = arg;
	uint64_t x = 88172645463325252u;

	while (!s->stop) {
		uint64_t bytes;

		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		bytes = s->r->least + x % (s->r->all - s->r->least + (s->r->all >> 3));
		s->failed |= linnet_model_set_memory(s->r->m, x % 5 ? bytes : s->r->least, NULL);
		s->n++;
		usleep(x % 20000);
	}
	return NULL;
}

/* Decodes, while budgets come and go; how many were the same, or -1. */
static int shaken(struct run *r, const float *want, float *got, double seconds, unsigned *budgets)
{
	struct shaker s = { .r = r };
	const double until = now() + seconds;
	pthread_t thread;
	bool ok = true;
	int n = 0;

	if (pthread_create(&thread, NULL, shake, &s))
		abort();
	for (; ok && (now() < until || n < 2); n++)
		ok = decode(r, got) && same(r, want, got);
	s.stop = true;
	pthread_join(thread, NULL);
	*budgets = s.n;
	return ok && !s.failed ? n : -1;
}

/* Time until the machine has so much less shared memory than before; -1: too long. */
static double wait_for(uint64_t from, uint64_t less)
{
	const double start = now();

	while (now() < start + 20) {
		if (shared() + less < from)
			return now() - start;
		usleep(500);
	}
	return -1;
}

struct worker {
	struct run *r;
	float *logits;
	_Atomic bool stop, failed;
};

static void *work(void *arg)
{
	struct worker *w = arg;

	while (!w->stop && !w->failed)
		w->failed = !decode(w->r, w->logits);
	return NULL;
}

/* Shrunk while decodes go on in another thread, and grown again. */
static void test_shrink(struct run *r, float *got)
{
	const uint64_t gone = (r->all - r->least) * 3 / 4, all = shared();
	struct worker w = { .r = r, .logits = got };
	double took, worst = 0, ms[4] = { 0 };
	bool ok = true;
	pthread_t thread;

	if (pthread_create(&thread, NULL, work, &w))
		abort();
	for (unsigned i = 0; i < 4 && ok; i++) {
		usleep(50000 + 20000 * i);
		ok = !linnet_model_set_memory(r->m, r->least, &err);
		took = wait_for(all, gone);
		ms[i] = took * 1e3;
		worst = took < 0 ? 1e9 : took > worst ? took : worst;
		ok = ok && took >= 0 && !linnet_model_set_memory(r->m, r->all, &err);
		for (double start = now(); ok && shared() + gone / 4 < all;) {
			ok = now() < start + 60 && !w.failed;
			usleep(1000);
		}
	}
	w.stop = true;
	pthread_join(thread, NULL);
	/* a kernel that checks itself is several times slower */
	test_ok(ok && !w.failed && worst < 2,
		"decodes run: %llu KiB are given back within %.0f, %.0f, %.0f, %.0f ms, and come "
		"back", (unsigned long long)gone >> 10, ms[0], ms[1], ms[2], ms[3]);
}

static bool write_number(const char *file, uint64_t n)
{
	FILE *f = fopen(file, "w");

	return f && fprintf(f, "%llu\n", (unsigned long long)n) > 0 && !fclose(f);
}

/* Memory that is promised to this process, and that it does not use. */
static struct {
	void *p;
	size_t bytes;
} ballast;

static bool hold(size_t bytes)
{
	ballast.p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ballast.bytes = bytes;
	return ballast.p != MAP_FAILED;
}

#define MIB ((size_t)1 << 20)
#define LITTLE (6 * MIB)

/*
 * Let the machine promise no more memory than it has, and this process hold all of that but a
 * little. What the kernel keeps for others is not known, so what there is is tried. No fork from
 * here on: it would take a promise, too.
 */
static bool promise_little(void)
{
	const uint64_t taken = read_kb("/proc/meminfo", "Committed_AS:");
	/* with each process's size grows what is kept from it: not much then */
	size_t bytes = 64 * MIB;

	if (!write_number("/proc/sys/vm/overcommit_kbytes", (taken + bytes) >> 10) ||
	    !write_number("/proc/sys/vm/overcommit_memory", 2))
		return false;
	while (bytes > LITTLE && !hold(bytes))
		bytes -= MIB;
	if (bytes <= LITTLE)
		return false;
	munmap(ballast.p, bytes);
	return hold(bytes - LITTLE);
}

static void promise_all(void)
{
	write_number("/proc/sys/vm/overcommit_memory", 0);
	if (ballast.p && ballast.p != MAP_FAILED)
		munmap(ballast.p, ballast.bytes);
}

/* Bytes that a decode reads when all is as it was; or -1. */
static int64_t reads(struct run *r, const float *want, float *got)
{
	struct linnet_stats st = LINNET_INIT(st);
	uint64_t before;

	if (!decode(r, got) || !same(r, want, got))
		return -1;
	linnet_session_stats(r->s, &st);
	before = st.bytes_read;
	if (!decode(r, got) || !same(r, want, got))
		return -1;
	linnet_session_stats(r->s, &st);
	return (int64_t)(st.bytes_read - before);
}

/* Back to the least, and to what the machine then had: buffers go when the device has let go. */
static bool least_again(struct run *r, uint64_t left)
{
	if (linnet_model_set_memory(r->m, r->least, &err))
		return false;
	for (double start = now(); shared() > left + (64 << 10); usleep(1000))
		if (now() > start + 20)
			return false;
	return true;
}

static void test_refused(struct run *r, uint64_t left, const float *want, float *got)
{
	uint64_t part, promised = 0, limit = 0;
	int64_t n = -1;

	if (least_again(r, left) && promise_little()) {
		promised = read_kb("/proc/meminfo", "Committed_AS:");
		limit = read_kb("/proc/meminfo", "CommitLimit:");
		if (!linnet_model_set_memory(r->m, r->all, &err))
			n = reads(r, want, got);
	}
	part = of_driver("drm-resident-memory:");
	promise_all();
	test_ok(n > 0, "no memory to grow (%llu of %llu KiB are promised): %llu KiB of buffers, "
		"and %lld KiB are read again%s%s", (unsigned long long)promised >> 10,
		(unsigned long long)limit >> 10, (unsigned long long)part >> 10,
		(long long)n / 1024, n < 0 ? ": " : "", n < 0 ? err.message : "");
	n = -1;
	if (!linnet_model_set_memory(r->m, r->least, &err) &&
	    !linnet_model_set_memory(r->m, r->all, &err))
		n = reads(r, want, got);
	test_ok(!n && of_driver("drm-resident-memory:") > part, "when there is, it grows");
}

/* A process that is killed while its budgets change. */
static void test_killed(uint64_t before)
{
	uint64_t after = 0;
	bool started = true;

	for (unsigned i = 0; i < 3 && started; i++) {
		char *args[] = { "budget", (char *)path, "shake", "60", NULL };
		pid_t pid = fork();

		if (!pid) {
			execv("/proc/self/exe", args);
			_exit(1);
		}
		for (double start = now(); shared() < before + (1 << 20);) {
			if (now() > start + 60 || waitpid(pid, NULL, WNOHANG)) {
				started = false;
				break;
			}
			usleep(1000);
		}
		usleep(300000 + 170000 * i);
		started &= !kill(pid, SIGKILL) && waitpid(pid, NULL, 0) == pid;
	}
	for (double start = now(); (after = shared()) > before + (64 << 10) && now() < start + 30;)
		usleep(10000);
	test_ok(started && after <= before + (64 << 10),
		"killed in the midst of that: nothing is left (%llu KiB before, %llu after)",
		(unsigned long long)before >> 10, (unsigned long long)after >> 10);
}

int main(int argc, char **argv)
{
	struct linnet_stats st = LINNET_INIT(st);
	const uint64_t begin = shared();
	uint64_t all, driver_all, left, bytes_read;
	float *want, *got;
	unsigned budgets = 0;
	struct run host, r;
	int n;

	if (argc < 2) {
		fprintf(stderr, "usage: %s MODEL [shake SECONDS]\n", argv[0]);
		return 2;
	}
	path = argv[1];
	if (!open_run(&r, "accel", LINNET_MEMORY_UNLIMITED))
		return test_end();
	want = logits_new(&r);
	got = logits_new(&r);
	if (argc > 3)
		return !decode(&r, want) || shaken(&r, want, got, atof(argv[3]), &budgets) < 0;

	if (!open_run(&host, "host", LINNET_MEMORY_UNLIMITED))
		return test_end();
	test_ok(decode(&host, want) && decode(&r, got) && same(&r, want, got),
		"the device gives what the host gives");
	close_run(&host);

	all = shared();
	driver_all = of_driver("drm-resident-memory:");
	test_ok(!linnet_model_set_memory(r.m, r.least, &err), "less memory");
	left = shared();
	test_ok(left + (r.all - r.least) * 3 / 4 < all &&
		of_driver("drm-resident-memory:") + (r.all - r.least) * 3 / 4 < driver_all,
		"no decode runs: %llu KiB of %llu are left, of the driver's buffers %llu of %llu",
		(unsigned long long)(left - begin) >> 10, (unsigned long long)(all - begin) >> 10,
		(unsigned long long)of_driver("drm-resident-memory:") >> 10,
		(unsigned long long)driver_all >> 10);
	test_ok(decode(&r, got) && same(&r, want, got), "the same logits, streamed");
	linnet_session_stats(r.s, &st);
	bytes_read = st.bytes_read;
	test_ok(!linnet_model_set_memory(r.m, r.all, &err) && decode(&r, got) &&
		same(&r, want, got) && shared() + (64 << 10) > all, "and with all of it again");
	linnet_session_stats(r.s, &st);
	test_ok(st.bytes_read - bytes_read < r.all, "which is read once");
	bytes_read = st.bytes_read;
	decode(&r, got);
	linnet_session_stats(r.s, &st);
	test_ok(st.bytes_read == bytes_read, "then it stays");

	n = shaken(&r, want, got, 5, &budgets);
	test_ok(n > 0 && budgets > 5, "the same logits in %d runs with %u budgets", n, budgets);
	linnet_model_set_memory(r.m, r.all, &err);
	decode(&r, got);
	test_shrink(&r, got);
	test_refused(&r, left, want, got);
	close_run(&r);
	free(want);
	free(got);
	test_killed(begin);
	return test_end();
}
