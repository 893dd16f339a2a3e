// SPDX-License-Identifier: MIT
/*
 * usage: idle MODEL [naps SECONDS]
 *
 * linnet_model_idle() on the machine's device: the kernel takes weights, and the next decode has
 * them again. For root, in a guest of its own, whose kernel is made to shrink its caches. `naps`
 * only runs, and is idle every few milliseconds.
 */
#include "tests/vm/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define SLACK (64 << 10)

static float *want, *got;

static bool tell(const char *file, const char *text)
{
	const ssize_t n = (ssize_t)strlen(text);
	int fd = open(file, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, (size_t)n) == n;

	if (fd >= 0)
		close(fd);
	return ok;
}

/* Make the kernel shrink its caches, as it does when memory is short. */
static void squeeze(void)
{
	if (!tell("/proc/sys/vm/drop_caches", "2"))
		abort();
}

static uint64_t purged(const struct run *r)
{
	struct linnet_stats st = LINNET_INIT(st);

	linnet_session_stats(r->s, &st);
	return st.purged_bytes;
}

static uint64_t offered(void)
{
	return of_driver("drm-purgeable-memory:");
}

/* Nothing is taken: the decode that comes reads nothing. */
static void test_kept(struct run *r)
{
	const uint64_t read = run_bytes_read(r);
	const double start = run_now();
	uint64_t bytes;
	double to, back;
	bool ok = !linnet_model_idle(r->m, &err);

	to = run_now() - start;
	bytes = offered();
	ok = ok && !linnet_model_idle(r->m, &err) && offered() == bytes;
	back = run_now();
	ok = ok && !linnet_model_load(r->m, NULL, NULL, &err) && !offered();
	back = run_now() - back;
	ok = ok && run_gives(r, want, got) && run_bytes_read(r) == read && !purged(r);
	test_ok(ok && bytes > (r->all - r->least) / 2,
		"idle: %llu KiB are the kernel's to take (%.1f ms); what it leaves is there again "
		"(%.1f ms), and nothing is read", (unsigned long long)bytes >> 10, to * 1e3,
		back * 1e3);
}

/* All is taken, and comes back. */
static void test_taken(struct run *r, const char *what)
{
	const uint64_t read = run_bytes_read(r), all = shared(), before = purged(r);
	const uint64_t of_file = of_driver("drm-resident-memory:");
	uint64_t bytes, left, file_left;
	bool ok = !linnet_model_idle(r->m, &err);

	bytes = offered();
	squeeze();
	left = shared();
	file_left = of_driver("drm-resident-memory:");
	ok = ok && bytes && !offered() && file_left + bytes == of_file &&
	     left + bytes < all + SLACK;
	test_ok(ok, "%s: %llu KiB of %llu KiB are taken when the kernel is short of memory", what,
		(unsigned long long)(all - left) >> 10, (unsigned long long)of_file >> 10);
	ok = run_gives(r, want, got);
	test_ok(ok && purged(r) > before && purged(r) - before <= bytes &&
		run_bytes_read(r) - read >= purged(r) - before,
		"%s: the same logits; %llu KiB were missed, and are read again", what,
		(unsigned long long)(purged(r) - before) >> 10);
	ok = run_gives(r, want, got);
	test_ok(ok && of_driver("drm-resident-memory:") == of_file && shared() + SLACK > all,
		"%s: all is back", what);
}

/* The budget changes while the model is idle, before and after memory is taken. */
static void test_budgets(struct run *r)
{
	bool ok = true;

	for (unsigned i = 0; i < 8 && ok; i++) {
		ok = !linnet_model_set_memory(r->m, i & 1 ? r->least : r->all, &err) &&
		     run_gives(r, want, got) && !linnet_model_idle(r->m, &err);
		if (i & 2)
			squeeze();
		ok = ok && !linnet_model_set_memory(r->m, i & 1 ? r->all : r->least, &err);
		if (i & 4)
			squeeze();
		ok = ok && run_gives(r, want, got);
	}
	ok = ok && !linnet_model_set_memory(r->m, r->all, &err);
	test_ok(ok && !run_reads(r, want, got), "the budget changes while it is idle%s%s",
		ok ? "" : ": ", ok ? "" : err.message);
}

/*
 * Unmap the pages of all buffers, which stay. User-Mode Linux walks a process's mappings without
 * their lock when mapped pages go while another thread maps something (flush_tlb_mm(), and lockdep
 * tells); what the kernel takes of a process with several threads is not mapped, then.
 */
static bool unmap_pages(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	unsigned long from, to;
	char line[512];
	bool found = false;

	while (f && fgets(line, sizeof(line), f))
		if (strstr(line, "drm mm object") && sscanf(line, "%lx-%lx", &from, &to) == 2)
			found |= !madvise((void *)from, to - from, MADV_DONTNEED);
	if (f)
		fclose(f);
	return found;
}

/* Idle again and again, and squeezed, whenever no decode runs. */
struct napper {
	struct run *r;
	_Atomic bool stop;
	unsigned n, n_busy;
	int failed;
};

static void *nap(void *arg)
{
	struct napper *n = arg;

	while (!n->stop) {
		int ret = linnet_model_idle(n->r->m, NULL);

		n->n += !ret;
		n->n_busy += ret == -EBUSY;
		if (ret && ret != -EBUSY)
			n->failed = ret;
		if (!ret && n->n % 3) {
			if (!unmap_pages())
				n->failed = -ENOENT;
			squeeze();
		}
		usleep(1000);
	}
	return NULL;
}

/* Texts with naps between tokens, in two threads, or with budgets that change in a third. */
static bool doze(struct run *r, double seconds, bool shaken, struct napper *n)
{
	struct run_shaker s = { .r = r, .pause_us = 20000, .most = UINT_MAX };
	const double until = run_now() + seconds;
	pthread_t thread[2];
	bool ok = true;

	*n = (struct napper){ .r = r };
	if (pthread_create(&thread[0], NULL, nap, n) ||
	    (shaken && pthread_create(&thread[1], NULL, run_shake, &s)))
		abort();
	for (unsigned i = 0; ok && (run_now() < until || i < 6); i++) {
		ok = run_gives(r, want, got);
		/* it is idle for a moment, at least */
		usleep(20000);
	}
	n->stop = s.stop = true;
	pthread_join(thread[0], NULL);
	if (shaken)
		pthread_join(thread[1], NULL);
	return ok && !n->failed && !s.failed;
}

static void test_threads(struct run *r)
{
	struct napper n;
	bool ok;

	ok = doze(r, 3, false, &n);
	test_ok(ok && n.n > 3, "idle while another thread decodes: %u times, refused %u times", n.n,
		n.n_busy);
	ok = doze(r, 3, true, &n);
	test_ok(ok && n.n, "and while the budget changes: %u times, refused %u times", n.n,
		n.n_busy);
	test_ok(!run_reads(r, want, got), "then all stays");
}

/* The n-th allocation of this thread fails from now on; 0: none. True: the last one was reached. */
static bool fail_nth(int fd, unsigned n)
{
	char text[16] = "";
	bool reached = pread(fd, text, sizeof(text) - 1, 0) > 0 && !atoi(text);

	/* copies from user space fail, too */
	snprintf(text, sizeof(text), "%u", n);
	while (write(fd, text, strlen(text)) < 0 && errno == EFAULT)
		;
	return reached;
}

/* With each allocation of the way there and back failing: an error or the same logits. */
static void test_failing(struct run *r)
{
	const int fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	bool ok = true, reached[2] = { true, true };
	unsigned n, n_failed = 0;

	if (fd < 0 || !tell("/sys/kernel/debug/failslab/ignore-gfp-wait", "N")) {
		test_skip("allocations that fail", "this kernel lets none fail");
		return;
	}
	tell("/sys/kernel/debug/fail_page_alloc/ignore-gfp-wait", "N");
	tell("/sys/kernel/debug/fail_page_alloc/min-order", "0");
	tell("/sys/kernel/debug/fail_page_alloc/verbose", "0");
	tell("/sys/kernel/debug/failslab/verbose", "0");
	tell("/sys/kernel/debug/fail_usercopy/verbose", "0");
	for (n = 1; ok && (reached[0] || reached[1]) && n < 4000; n += 1 + n / 16) {
		int ret;

		fail_nth(fd, n);
		ret = linnet_model_idle(r->m, NULL);
		reached[0] = fail_nth(fd, 0);
		n_failed += !!ret;
		if (n & 1)
			squeeze();
		fail_nth(fd, n);
		ret = linnet_model_load(r->m, NULL, NULL, NULL);
		reached[1] = fail_nth(fd, 0);
		n_failed += !!ret;
		ok = run_gives(r, want, got);
	}
	close(fd);
	ok = ok && !linnet_model_idle(r->m, &err);
	test_ok(ok && !reached[0] && !reached[1] && !run_reads(r, want, got),
		"allocations fail, the first to number %u: %u calls did, and no logits differ%s%s",
		n, n_failed, ok ? "" : ": ", ok ? "" : err.message);
}

/* Processes that are killed while they are idle, or about to be. */
static void test_killed(uint64_t before)
{
	uint64_t after = 0;
	bool started = true;

	for (unsigned i = 0; i < 3 && started; i++) {
		char *args[] = { "idle", (char *)path, "naps", "60", NULL };
		pid_t pid = fork();

		if (!pid) {
			execv("/proc/self/exe", args);
			_exit(1);
		}
		for (double start = run_now(); started && shared() < before + (1 << 20);) {
			started = run_now() < start + 60 && !waitpid(pid, NULL, WNOHANG);
			usleep(1000);
		}
		usleep(500000 + 170000 * i);
		started &= !kill(pid, SIGKILL) && waitpid(pid, NULL, 0) == pid;
	}
	for (double start = run_now(); run_now() < start + 30; usleep(10000)) {
		after = shared();
		if (after <= before + SLACK)
			break;
	}
	test_ok(started && after <= before + SLACK,
		"killed in the midst of that: nothing is left (%llu KiB before, %llu after)",
		(unsigned long long)before >> 10, (unsigned long long)after >> 10);
}

int main(int argc, char **argv)
{
	const uint64_t begin = shared();
	struct napper n;
	struct run host, r;
	int refused;

	if (argc < 2) {
		fprintf(stderr, "usage: %s MODEL [naps SECONDS]\n", argv[0]);
		return 2;
	}
	path = argv[1];
	/* it has no words for it each time */
	tell("/proc/sys/vm/drop_caches", "4");
	if (!open_run(&r, "accel", LINNET_MEMORY_UNLIMITED))
		return test_end();
	want = run_logits(&r);
	got = run_logits(&r);
	if (argc > 3)
		return !run_decode(&r, want) || !doze(&r, atof(argv[3]), false, &n);

	if (!open_run(&host, "host", LINNET_MEMORY_UNLIMITED))
		return test_end();
	refused = run_decode(&host, want) ? linnet_model_idle(host.m, &err) : 0;
	test_ok(refused == -EOPNOTSUPP, "the host's weights are not for the kernel to take: %s",
		err.message);
	run_close(&host);
	run_decode(&r, got);
	run_gives(&r, want, got);

	test_kept(&r);
	test_taken(&r, "all in memory");
	if (!linnet_model_set_memory(r.m, (r.least + r.all) / 2, &err) && run_gives(&r, want, got))
		test_taken(&r, "a part of it streamed");
	test_budgets(&r);
	test_threads(&r);
	test_failing(&r);
	run_close(&r);
	free(want);
	free(got);
	test_killed(begin);
	return test_end();
}
