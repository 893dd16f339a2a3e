// SPDX-License-Identifier: MIT
/*
 * usage: budget MODEL [shake SECONDS]
 *
 * Budgets that change while a model runs on the machine's device. What counts is the machine's
 * shared memory, which buffers are made of, and what the driver says of the file. For root, in a
 * guest of its own. `shake` only runs, with another budget every few milliseconds.
 */
#include "tests/vm/machine.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define PAUSE_US 20000

/* Time until the machine has so much less shared memory than before; -1: too long. */
static double wait_for(uint64_t from, uint64_t less)
{
	const double start = run_now();

	while (run_now() < start + 20) {
		if (shared() + less < from)
			return run_now() - start;
		usleep(500);
	}
	return -1;
}

/* Shrunk while decodes go on in another thread, and grown again. */
static void test_shrink(struct run *r, float *got)
{
	const uint64_t gone = (r->all - r->least) * 3 / 4, all = shared();
	struct run_worker w = { .r = r, .logits = got };
	double took, worst = 0, ms[4] = { 0 };
	bool ok = true;
	pthread_t thread;

	if (pthread_create(&thread, NULL, run_work, &w))
		abort();
	for (unsigned i = 0; i < 4 && ok; i++) {
		usleep(50000 + 20000 * i);
		ok = !linnet_model_set_memory(r->m, r->least, &err);
		took = wait_for(all, gone);
		ms[i] = took * 1e3;
		worst = took < 0 ? 1e9 : took > worst ? took : worst;
		ok = ok && took >= 0 && !linnet_model_set_memory(r->m, r->all, &err);
		for (double start = run_now(); ok && shared() + gone / 4 < all;) {
			ok = run_now() < start + 60 && !w.failed;
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
	const uint64_t taken = read_bytes("/proc/meminfo", "Committed_AS:");
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

/* Back to the least, and to what the machine then had: buffers go when the device has let go. */
static bool least_again(struct run *r, uint64_t left)
{
	if (linnet_model_set_memory(r->m, r->least, &err))
		return false;
	for (double start = run_now(); shared() > left + (64 << 10); usleep(1000))
		if (run_now() > start + 20)
			return false;
	return true;
}

static void test_refused(struct run *r, uint64_t left, const float *want, float *got)
{
	uint64_t part, promised = 0, limit = 0;
	int64_t n = -1;

	if (least_again(r, left) && promise_little()) {
		promised = read_bytes("/proc/meminfo", "Committed_AS:");
		limit = read_bytes("/proc/meminfo", "CommitLimit:");
		if (!linnet_model_set_memory(r->m, r->all, &err))
			n = run_reads(r, want, got);
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
		n = run_reads(r, want, got);
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
		for (double start = run_now(); shared() < before + (1 << 20);) {
			if (run_now() > start + 60 || waitpid(pid, NULL, WNOHANG)) {
				started = false;
				break;
			}
			usleep(1000);
		}
		usleep(300000 + 170000 * i);
		started &= !kill(pid, SIGKILL) && waitpid(pid, NULL, 0) == pid;
	}
	for (double start = run_now(); run_now() < start + 30; usleep(10000)) {
		after = shared();
		if (after <= before + (64 << 10))
			break;
	}
	test_ok(started && after <= before + (64 << 10),
		"killed in the midst of that: nothing is left (%llu KiB before, %llu after)",
		(unsigned long long)before >> 10, (unsigned long long)after >> 10);
}

int main(int argc, char **argv)
{
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
	want = run_logits(&r);
	got = run_logits(&r);
	if (argc > 3)
		return !run_decode(&r, want) ||
		       run_shaken(&r, want, got, atof(argv[3]), PAUSE_US, &budgets) < 0;

	if (!open_run(&host, "host", LINNET_MEMORY_UNLIMITED))
		return test_end();
	test_ok(run_decode(&host, want) && run_gives(&r, want, got),
		"the device gives what the host gives");
	run_close(&host);

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
	test_ok(run_gives(&r, want, got), "the same logits, streamed");
	bytes_read = run_bytes_read(&r);
	test_ok(!linnet_model_set_memory(r.m, r.all, &err) && run_gives(&r, want, got) &&
		shared() + (64 << 10) > all, "and with all of it again");
	test_ok(run_bytes_read(&r) - bytes_read < r.all, "which is read once");
	bytes_read = run_bytes_read(&r);
	run_decode(&r, got);
	test_ok(run_bytes_read(&r) == bytes_read, "then it stays");

	n = run_shaken(&r, want, got, 5, PAUSE_US, &budgets);
	test_ok(n > 0 && budgets > 5, "the same logits in %d runs with %u budgets", n, budgets);
	linnet_model_set_memory(r.m, r.all, &err);
	run_decode(&r, got);
	test_shrink(&r, got);
	test_refused(&r, left, want, got);
	run_close(&r);
	free(want);
	free(got);
	test_killed(begin);
	return test_end();
}
