// SPDX-License-Identifier: MIT
/*
 * runtime/queue/queue.h, with both back ends: the bytes arrive, whatever the kernel
 * does with a read: short, interrupted, failed, at the end of the file; so do those of a
 * write, on a disk that is full, too; and without io_uring, however it is refused.
 */
#include "runtime/queue/queue.h"
#include "tests/test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FILE_BYTES	(1000000u)	/* no multiple of a block */
#define BLOCK		4096u

static char path[4096];
static unsigned char *content;

/* ------------------------------ preadv2 and pwritev2, as the threads call them */

static enum { PLAIN, SHORT, INTERRUPTED, FAILS_TWICE, ONE_BYTE, STUCK, FAILS, MEDIUM, LINK,
	      INVALID, FULL, NOTHING } mode;
static _Atomic int calls;

static ssize_t call(long nr, int fd, const struct iovec *iov, off_t offset)
{
	struct iovec one = *iov;
	const int number = calls++;

	switch (mode) {
	case PLAIN:
		break;
	case SHORT:
		/* as a disk may: whole sectors, until the last */
		if (one.iov_len > 512)
			one.iov_len = 512 * (1 + number % 20);
		if (one.iov_len > iov->iov_len)
			one.iov_len = iov->iov_len;
		break;
	case INTERRUPTED:
		if (number % 3 != 2) {
			errno = number % 3 ? EINTR : EAGAIN;
			return -1;
		}
		break;
	case FAILS_TWICE:
		if (number % 3 == 2)
			break;
		errno = EIO;
		return -1;
	case ONE_BYTE:
		one.iov_len = 1;
		break;
	case STUCK:
		errno = EAGAIN;
		return -1;
	case FAILS:
		errno = EIO;
		return -1;
	case MEDIUM:
		errno = ENODATA;
		return -1;
	case LINK:
		if (number % 3 == 2)
			break;
		errno = number % 3 ? ENOLINK : ETIMEDOUT;
		return -1;
	case INVALID:
		errno = EINVAL;
		return -1;
	case FULL:
		/* a part has room */
		if (!number) {
			one.iov_len = 5 * BLOCK;
			break;
		}
		errno = ENOSPC;
		return -1;
	case NOTHING:
		return 0;
	}
	return syscall(nr, fd, &one, 1, offset, 0L, 0);
}

ssize_t preadv2(int fd, const struct iovec *iov, int n, off_t offset, int flags)
{
	return call(SYS_preadv2, fd, iov, offset);
}

ssize_t pwritev2(int fd, const struct iovec *iov, int n, off_t offset, int flags)
{
	return call(SYS_pwritev2, fd, iov, offset);
}

/* --------------------------------------------------------------------- tools */

struct ended {
	int count;
	int result;
	struct linnet_queue *again;	/* queue this ... */
	struct linnet_read *next;	/* ... when this one ends */
};

static void done(struct linnet_read *r, int result)
{
	struct ended *e = r->ctx;

	e->count++;
	e->result = result;
	if (e->next)
		linnet_queue_read(e->again, e->next);
}

static struct linnet_queue *queue(bool uring, unsigned depth)
{
	struct linnet_queue_options opts = { .depth = depth, .no_io_uring = !uring };
	struct linnet_error err;
	struct linnet_queue *q;

	if (linnet_queue_create(&q, &opts, &err)) {
		test_ok(false, "create: %s", err.message);
		exit(test_end());
	}
	return q;
}

static int open_content(int flags)
{
	int fd = open(path, O_RDONLY | flags);

	if (fd < 0 && !(flags & O_DIRECT)) {
		test_ok(false, "open %s: %s", path, strerror(errno));
		exit(test_end());
	}
	return fd;
}

static void *blocks(size_t n)
{
	void *p;

	if (posix_memalign(&p, BLOCK, n ? n : 1))
		abort();
	memset(p, 0xee, n);
	return p;
}

/* One read from start to end; its result. */
static int read_one(struct linnet_queue *q, struct linnet_read *r)
{
	struct ended e = { 0 };

	r->done = done;
	r->ctx = &e;
	linnet_queue_read(q, r);
	while (!e.count)
		if (linnet_queue_wait(q))
			return -ENOENT;
	return e.result;
}

/* ----------------------------------------------------------------- both back ends */

static void test_many(bool uring, const char *name)
{
	enum { N = 200 };
	struct linnet_queue *q = queue(uring, 8);
	struct linnet_read r[N];
	struct ended e[N] = { 0 };
	int fd = open_content(0), bad = 0, waits = 0;

	for (int i = 0; i < N; i++) {
		size_t n = 1 + (size_t)(i * 7919) % 20000;
		uint64_t offset = (uint64_t)i * 104729 % (FILE_BYTES - 20000);

		r[i] = (struct linnet_read){
			.fd = fd, .buf = blocks(n), .offset = offset, .bytes = n, .need = n,
			.align = 1, .done = done, .ctx = &e[i],
		};
		linnet_queue_read(q, &r[i]);
	}
	while (!linnet_queue_wait(q))
		waits++;
	for (int i = 0; i < N; i++) {
		bad += e[i].count != 1 || e[i].result ||
		       memcmp(r[i].buf, content + r[i].offset, r[i].bytes);
		free(r[i].buf);
	}
	test_ok(!bad && waits, "%s: %d reads through 8 places in %d waits", name, N, waits);
	test_ok(linnet_queue_wait(q) == -ENOENT, "%s: nothing is left to wait for", name);
	linnet_queue_destroy(q);
	close(fd);
}

/* A read that ends queues the next one, ten times. */
static void test_chain(bool uring, const char *name)
{
	enum { N = 10 };
	struct linnet_queue *q = queue(uring, 2);
	struct linnet_read r[N];
	struct ended e[N] = { 0 };
	int fd = open_content(0), ended = 0;
	char buf[N][100];

	for (int i = 0; i < N; i++) {
		r[i] = (struct linnet_read){
			.fd = fd, .buf = buf[i], .offset = 100u * i, .bytes = 100, .need = 100,
			.align = 1, .done = done, .ctx = &e[i],
		};
		if (i)
			e[i - 1] = (struct ended){ .again = q, .next = &r[i] };
	}
	linnet_queue_read(q, &r[0]);
	while (!linnet_queue_wait(q))
		;
	for (int i = 0; i < N; i++)
		ended += e[i].count == 1 && !e[i].result &&
			 !memcmp(buf[i], content + r[i].offset, 100);
	test_ok(ended == N, "%s: done() may queue the next read", name);

	/* poll never blocks, and delivers in the end */
	e[0] = (struct ended){ 0 };
	linnet_queue_read(q, &r[0]);
	for (int i = 0; i < 10000 && !e[0].count; i++) {
		linnet_queue_poll(q);
		usleep(100);
	}
	test_ok(e[0].count == 1 && !e[0].result, "%s: poll delivers", name);

	/* destroy waits */
	for (int i = 0; i < N; i++) {
		e[i] = (struct ended){ 0 };
		linnet_queue_read(q, &r[i]);
	}
	linnet_queue_poll(q);
	linnet_queue_destroy(q);
	ended = 0;
	for (int i = 0; i < N; i++)
		ended += e[i].count == 1 && !e[i].result;
	test_ok(ended == N, "%s: destroy waits for all reads", name);
	close(fd);
}

static void test_end_of_file(bool uring, const char *name)
{
	static const struct {
		const char *what;
		uint64_t offset;
		size_t bytes, need;
		int result;
	} cases[] = {
		{ "all but what lies behind the end", FILE_BYTES - 1000, 5000, 1000, 0 },
		{ "one byte more than there is", FILE_BYTES - 1000, 5000, 1001, -ENODATA },
		{ "at the end", FILE_BYTES, 100, 1, -ENODATA },
		{ "far behind the end", 1ull << 40, 100, 100, -ENODATA },
		{ "the last byte", FILE_BYTES - 1, 1, 1, 0 },
	};
	struct linnet_queue *q = queue(uring, 4);
	int fd = open_content(0), ret;
	char *buf = blocks(5000);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct linnet_read r = {
			.fd = fd, .buf = buf, .offset = cases[i].offset, .bytes = cases[i].bytes,
			.need = cases[i].need, .align = 1,
		};

		ret = read_one(q, &r);
		test_ok(ret == cases[i].result &&
			(ret || !memcmp(buf, content + r.offset, r.need)),
			"%s: %s: %d", name, cases[i].what, ret);
	}
	free(buf);
	linnet_queue_destroy(q);
	close(fd);
}

/* As weights are read: whole blocks, more than is needed, the file's end inside one. */
static void test_direct(bool uring, const char *name)
{
	static const struct {
		uint64_t offset;
		size_t need;
		int result;
	} cases[] = {
		{ 0, 1, 0 }, { 12345, 54321, 0 }, { 4095, 2, 0 }, { FILE_BYTES - 10, 10, 0 },
		{ 0, FILE_BYTES, 0 }, { FILE_BYTES - 10, 11, -ENODATA },
		{ 0, FILE_BYTES + 1, -ENODATA },
	};
	int fd = open_content(O_DIRECT), ret;
	struct linnet_queue *q;
	char *buf;

	if (fd < 0) {
		test_skip("direct reads", "the file system of TMPDIR has no O_DIRECT");
		return;
	}
	buf = blocks(FILE_BYTES + 2 * BLOCK);
	q = queue(uring, 4);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t from = cases[i].offset & ~(uint64_t)(BLOCK - 1);
		uint64_t lead = cases[i].offset - from;
		struct linnet_read r = {
			.fd = fd, .buf = buf, .offset = from, .align = BLOCK,
			.bytes = (lead + cases[i].need + BLOCK - 1) & ~(size_t)(BLOCK - 1),
			.need = lead + cases[i].need,
		};

		memset(buf, 0xee, FILE_BYTES + 2 * BLOCK);
		ret = read_one(q, &r);
		test_ok(ret == cases[i].result &&
			(ret || !memcmp(buf + lead, content + cases[i].offset, cases[i].need)),
			"%s: direct, %zu bytes at %llu: %d", name, cases[i].need,
			(unsigned long long)cases[i].offset, ret);
	}
	free(buf);
	linnet_queue_destroy(q);
	close(fd);
}

static void test_errors(bool uring, const char *name)
{
	struct linnet_queue *q = queue(uring, 4);
	struct linnet_read r = { .buf = NULL, .bytes = 100, .need = 100, .align = 1 };
	char buf[100];
	int fd = open_content(0), dir = open("/", O_RDONLY | O_DIRECTORY), ret;

	r.buf = buf;
	r.fd = -1;
	ret = read_one(q, &r);
	test_ok(ret == -EBADF, "%s: no file: %d", name, ret);
	r.fd = dir;
	ret = read_one(q, &r);
	test_ok(ret == -EISDIR || ret == -EINVAL, "%s: a folder: %d", name, ret);
	r.fd = fd;
	r.buf = mmap(NULL, BLOCK, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ret = read_one(q, &r);
	test_ok(ret == -EFAULT, "%s: memory that cannot be written: %d", name, ret);
	munmap(r.buf, BLOCK);
	r.buf = buf;
	ret = read_one(q, &r);
	test_ok(!ret && !memcmp(buf, content, 100), "%s: and it still reads", name);
	linnet_queue_destroy(q);
	close(fd);
	close(dir);
}

/* An empty file without a name. */
static int open_empty(void)
{
	char name[sizeof(path) + 8];
	int fd;

	snprintf(name, sizeof(name), "%s.XXXXXX", path);
	fd = mkstemp(name);
	if (fd < 0)
		abort();
	unlink(name);
	return fd;
}

/* Does the file have the first n bytes of the content at `offset`? */
static bool has(int fd, uint64_t offset, size_t n)
{
	char *buf = blocks(n);
	bool same = syscall(SYS_pread64, fd, buf, n, offset) == (ssize_t)n &&
		    !memcmp(buf, content, n);

	free(buf);
	return same;
}

static struct linnet_read write_of(int fd, uint64_t offset, size_t n)
{
	return (struct linnet_read){ .fd = fd, .buf = (char *)content, .offset = offset,
				     .bytes = n, .need = n, .align = 1, .write = true };
}

static void test_writes(bool uring, const char *name)
{
	enum { N = 60, BYTES = 7777 };
	const rlim_t small = 100000;
	struct linnet_queue *q = queue(uring, 4);
	struct linnet_read r[N];
	struct ended e[N] = { 0 };
	int fd = open_empty(), other, good = 0, ret;
	struct rlimit before;
	uint64_t retries;

	/* backwards; reads of the same queue between them */
	for (int i = 0; i < N; i++) {
		r[i] = write_of(fd, (uint64_t)(N - 1 - i) * BYTES, BYTES);
		r[i].buf += (N - 1 - i) * BYTES;
		r[i].done = done;
		r[i].ctx = &e[i];
		linnet_queue_read(q, &r[i]);
	}
	while (!linnet_queue_wait(q))
		;
	for (int i = 0; i < N; i++)
		good += e[i].count == 1 && !e[i].result;
	test_ok(good == N && has(fd, 0, N * BYTES), "%s: %d of %d writes", name, good, N);
	close(fd);

	/* those in flight, and those that wait, are waited for: nobody takes them back */
	fd = open_empty();
	for (int i = 0; i < N; i++) {
		r[i].fd = fd;
		e[i] = (struct ended){ 0 };
		linnet_queue_read(q, &r[i]);
	}
	linnet_queue_poll(q);
	linnet_queue_destroy(q);
	good = 0;
	for (int i = 0; i < N; i++)
		good += e[i].count == 1 && !e[i].result;
	test_ok(good == N && has(fd, 0, N * BYTES), "%s: destroy waits for %d of %d writes", name,
		good, N);
	close(fd);
	q = queue(uring, 4);

	other = open_content(0);
	r[0] = write_of(other, 0, 100);
	ret = read_one(q, &r[0]);
	test_ok(ret == -EBADF, "%s: a write to a file that is open for reading: %d", name, ret);
	close(other);

	other = open("/dev/full", O_RDWR);
	if (other < 0) {
		test_skip("writes to a full device", "there is no /dev/full");
	} else {
		retries = linnet_queue_retries(q);
		r[0] = write_of(other, 0, 100);
		ret = read_one(q, &r[0]);
		test_ok(ret == -ENOSPC && linnet_queue_retries(q) == retries,
			"%s: a write to a full device: %d", name, ret);
		close(other);
	}

	/* where nothing is mapped, a process's memory fails like a disk */
	other = open("/proc/self/mem", O_RDWR);
	if (other < 0) {
		test_skip("writes that fail", "there is no /proc/self/mem");
	} else {
		retries = linnet_queue_retries(q);
		r[0] = write_of(other, BLOCK, 100);
		ret = read_one(q, &r[0]);
		test_ok(ret == -EIO && linnet_queue_retries(q) == retries + 3,
			"%s: a write that fails: %d after %d retries", name, ret,
			(int)(linnet_queue_retries(q) - retries));
		close(other);
	}

	/* a file that may not grow takes what it may, and then refuses */
	fd = open_empty();
	if (getrlimit(RLIMIT_FSIZE, &before) || signal(SIGXFSZ, SIG_IGN) == SIG_ERR ||
	    setrlimit(RLIMIT_FSIZE, &(struct rlimit){ small, before.rlim_max }))
		abort();
	r[0] = write_of(fd, 0, FILE_BYTES);
	retries = linnet_queue_retries(q);
	ret = read_one(q, &r[0]);
	test_ok(ret == -EFBIG && linnet_queue_retries(q) == retries + 1 &&
		has(fd, 0, small) && lseek(fd, 0, SEEK_END) == (off_t)small,
		"%s: a write that comes to a limit: %d", name, ret);
	if (setrlimit(RLIMIT_FSIZE, &before))
		abort();
	ret = read_one(q, &r[0]);
	test_ok(!ret && has(fd, 0, FILE_BYTES), "%s: and the same write without it: %d", name, ret);
	close(fd);
	linnet_queue_destroy(q);
}

static bool work(void *ctx)
{
	int *left = ctx;

	return *left > 0 && (*left)--;
}

static void test_worker(bool uring, const char *name)
{
	struct linnet_queue *q = queue(uring, 4);
	struct ended e = { 0 };
	int left = 5, waits = 0, fd = open_content(0);
	char buf[100];
	struct linnet_read r = { .fd = fd, .buf = buf, .bytes = 100, .need = 100, .align = 1,
				 .done = done, .ctx = &e };

	linnet_queue_set_worker(q, work, &left);
	linnet_queue_read(q, &r);
	while (!linnet_queue_wait(q))
		waits++;
	test_ok(!left && e.count == 1 && waits >= 5, "%s: waits do the worker's work and deliver",
		name);
	left = 1;
	linnet_queue_destroy(q);
	test_ok(left == 1, "%s: destroy does no work", name);
	close(fd);
}

static void test_backend(bool uring)
{
	const char *name = uring ? "io_uring" : "threads";
	struct linnet_queue *q = queue(uring, 0);

	if (linnet_queue_is_io_uring(q) != uring) {
		test_skip("io_uring", strerror(-linnet_queue_refused(q)));
		linnet_queue_destroy(q);
		return;
	}
	test_ok(!linnet_queue_refused(q), "%s: not refused", name);
	linnet_queue_destroy(q);
	test_many(uring, name);
	test_chain(uring, name);
	test_end_of_file(uring, name);
	test_direct(uring, name);
	test_errors(uring, name);
	test_writes(uring, name);
	test_worker(uring, name);
}

/* --------------------------------------------------- what a kernel rarely does */

/* How requests of the threads go wrong, and what comes of it. */
struct wrong {
	const char *name;
	int result;
	int least, most;	/* calls */
};

static void go_wrong(int m, const struct wrong *w, struct linnet_read r)
{
	const char *kind = r.write ? "writes" : "reads";
	/* bytes that come one by one do come; blocks do not */
	const bool slow = m == ONE_BYTE && r.align == 1;
	const size_t bytes = slow ? 300 : r.bytes;
	const int want = slow ? 0 : w->result;
	const uint64_t offset = r.offset;
	const char *buf = r.buf;
	struct linnet_queue *q = queue(false, 4);
	uint64_t retries;
	bool good;
	int ret;

	r.bytes = r.need = bytes;
	calls = 0;
	mode = m;
	ret = read_one(q, &r);
	mode = PLAIN;
	retries = linnet_queue_retries(q);
	good = r.write ? has(r.fd, offset, bytes) : !memcmp(buf, content + offset, bytes);
	test_ok(ret == want && (ret || good) && calls >= w->least && calls <= w->most,
		"threads: %s %s, alignment %zu: %d after %d calls", w->name, kind, r.align, ret,
		calls);
	test_ok(retries == (uint64_t)calls - 1, "threads: %s %s: %d retries counted", w->name,
		kind, (int)retries);
	linnet_queue_destroy(q);
}

static void test_bad_reads(void)
{
	static const struct wrong modes[] = {
		[PLAIN] = { "plain", 0, 1, 1 },
		[SHORT] = { "short", 0, 3, 2000 },
		[INTERRUPTED] = { "interrupted", 0, 3, 3 },
		[FAILS_TWICE] = { "twice failed", 0, 3, 3 },
		[ONE_BYTE] = { "one-byte", -EIO, 2, 1000 },
		[STUCK] = { "for ever refused", -EAGAIN, 2, 1000 },
		[FAILS] = { "failed", -EIO, 2, 10 },
		[MEDIUM] = { "unreadable", -EIO, 4, 4 },
		[LINK] = { "broken off", 0, 3, 3 },
		[INVALID] = { "invalid", -EINVAL, 1, 1 },
	};
	const size_t n = 300000;
	int fd = open_content(0);
	char *buf = blocks(n);

	for (int m = PLAIN; m <= INVALID; m++)
		for (size_t align = 1; align <= BLOCK; align *= BLOCK) {
			memset(buf, 0, n);
			go_wrong(m, &modes[m], (struct linnet_read){
				.fd = fd, .buf = buf, .offset = 8192, .bytes = n, .align = align,
			});
		}
	free(buf);
	close(fd);
}

static void test_bad_writes(void)
{
	static const struct wrong modes[] = {
		[PLAIN] = { "plain", 0, 1, 1 },
		[SHORT] = { "short", 0, 3, 2000 },
		[INTERRUPTED] = { "interrupted", 0, 3, 3 },
		[FAILS_TWICE] = { "twice failed", 0, 3, 3 },
		[ONE_BYTE] = { "one-byte", -EIO, 2, 1000 },
		[STUCK] = { "for ever refused", -EAGAIN, 2, 1000 },
		[FAILS] = { "failed", -EIO, 4, 4 },
		[MEDIUM] = { "unwritable", -EIO, 4, 4 },
		[LINK] = { "broken off", 0, 3, 3 },
		[INVALID] = { "invalid", -EINVAL, 1, 1 },
		[FULL] = { "no longer possible", -ENOSPC, 2, 2 },
		[NOTHING] = { "empty", -EIO, 2, 1000 },
	};

	for (int m = PLAIN; m <= NOTHING; m++)
		for (size_t align = 1; align <= BLOCK; align *= BLOCK) {
			int fd = open_empty();
			struct linnet_read r = write_of(fd, 2 * BLOCK, 75 * BLOCK);

			r.align = align;
			go_wrong(m, &modes[m], r);
			if (m == FULL)
				test_ok(has(fd, 2 * BLOCK, 5 * BLOCK),
					"threads: what had room is there");
			close(fd);
		}
}

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* A bound on the rate: as slow as it says, evenly, and not much slower. */
static void test_rate(bool uring, const char *name)
{
	enum { N = 50, BYTES = 8192, RATE = 2 << 20 };	/* 195 ms */
	const struct linnet_queue_options opts = { .no_io_uring = !uring,
						   .bytes_per_second = RATE };
	const double want = (double)N * BYTES / RATE;
	struct linnet_read r[N];
	struct ended e[N] = { 0 };
	struct linnet_queue *q;
	int fd = open_content(0), bad = 0, half = 0;
	double start, took, at_half = 0;

	if (linnet_queue_create(&q, &opts, NULL))
		abort();
	start = seconds();
	for (int i = 0; i < N; i++) {
		r[i] = (struct linnet_read){
			.fd = fd, .buf = blocks(BYTES), .offset = (uint64_t)i * BYTES,
			.bytes = BYTES, .need = BYTES, .align = 1, .done = done, .ctx = &e[i],
		};
		linnet_queue_read(q, &r[i]);
	}
	while (!linnet_queue_wait(q)) {
		half = 0;
		for (int i = 0; i < N; i++)
			half += e[i].count;
		if (half >= N / 2 && at_half == 0)
			at_half = seconds() - start;
	}
	took = seconds() - start;
	for (int i = 0; i < N; i++) {
		bad += e[i].count != 1 || e[i].result ||
		       memcmp(r[i].buf, content + i * BYTES, BYTES);
		free(r[i].buf);
	}
	test_ok(!bad && took > want * 0.9, "%s: %d KiB at %d KiB/s in %.3f s", name,
		N * BYTES >> 10, RATE >> 10, took);
	/* a machine that is busy with other things may take longer */
	test_ok(at_half > want * 0.4 && took < want * 5, "%s: evenly: half of it in %.3f s", name,
		at_half);
	/* without a bound, what waits goes at once */
	r[0].buf = blocks(BYTES);
	r[0].done = done;
	e[0].count = 0;
	linnet_queue_set_rate(q, 1);
	linnet_queue_read(q, &r[0]);
	linnet_queue_poll(q);
	r[1].buf = blocks(BYTES);
	linnet_queue_read(q, &r[1]);
	linnet_queue_poll(q);
	linnet_queue_set_rate(q, 0);
	start = seconds();
	while (!linnet_queue_wait(q))
		;
	test_ok(e[0].count == 1 && e[1].count == 2 && seconds() - start < 5,
		"%s: a bound that is lifted", name);
	free(r[0].buf);
	free(r[1].buf);
	linnet_queue_destroy(q);
	close(fd);
}

static void *write_slowly(void *arg)
{
	int fd = *(int *)arg;

	for (size_t at = 0; at < 50000; at += 1000) {
		if (write(fd, content + at, 1000) != 1000)
			break;
		usleep(200);
	}
	close(fd);
	return NULL;
}

/* A pipe gives io_uring what it holds: short reads that are continued. */
static void test_uring_short(void)
{
	struct linnet_queue *q = queue(true, 4);
	char *buf = blocks(60000);
	pthread_t thread;
	int fd[2], ret;

	if (!linnet_queue_is_io_uring(q) || pipe(fd)) {
		test_skip("short reads of io_uring", "no io_uring or no pipe");
		linnet_queue_destroy(q);
		free(buf);
		return;
	}
	if (pthread_create(&thread, NULL, write_slowly, &fd[1]))
		abort();
	{
		struct linnet_read r = { .fd = fd[0], .buf = buf, .bytes = 60000, .need = 50000,
					 .align = 1 };

		ret = read_one(q, &r);
		test_ok(!ret && !memcmp(buf, content, 50000), "io_uring: a slow pipe: %d", ret);
	}
	pthread_join(thread, NULL);
	{
		struct linnet_read r = { .fd = fd[0], .buf = buf, .bytes = 10, .need = 10,
					 .align = 1 };

		ret = read_one(q, &r);
		test_ok(ret == -ENODATA, "io_uring: a pipe that was closed: %d", ret);
	}
	close(fd[0]);
	linnet_queue_destroy(q);
	free(buf);
}

static void *read_slowly(void *arg)
{
	char *buf = blocks(FILE_BYTES);
	int fd = *(int *)arg;
	size_t at = 0;
	ssize_t n;

	while ((n = read(fd, buf + at, FILE_BYTES - at < 30000 ? FILE_BYTES - at : 30000)) > 0) {
		at += n;
		usleep(200);
	}
	if (at != FILE_BYTES || memcmp(buf, content, FILE_BYTES)) {
		free(buf);
		return NULL;
	}
	free(buf);
	return arg;
}

/* A pipe takes what it has room for: short writes that are continued. */
static void test_uring_short_writes(void)
{
	struct linnet_queue *q = queue(true, 4);
	struct linnet_read r;
	pthread_t thread;
	void *same;
	int fd[2], ret;

	if (!linnet_queue_is_io_uring(q) || pipe(fd)) {
		test_skip("short writes of io_uring", "no io_uring or no pipe");
		linnet_queue_destroy(q);
		return;
	}
	if (pthread_create(&thread, NULL, read_slowly, &fd[0]))
		abort();
	r = write_of(fd[1], 0, FILE_BYTES);
	ret = read_one(q, &r);
	close(fd[1]);
	pthread_join(thread, &same);
	test_ok(!ret && same && linnet_queue_retries(q) > 0,
		"io_uring: a pipe that is read slowly: %d after %d short writes", ret,
		(int)linnet_queue_retries(q));
	close(fd[0]);
	if (pipe(fd))
		abort();
	close(fd[0]);
	/* or the signal ends the test */
	signal(SIGPIPE, SIG_IGN);
	r = write_of(fd[1], 0, 10);
	ret = read_one(q, &r);
	test_ok(ret == -EPIPE, "io_uring: a pipe that nobody reads: %d", ret);
	close(fd[1]);
	linnet_queue_destroy(q);
}

static _Atomic int signals;

static void count_signal(int sig)
{
	signals++;
}

/* A signal ends a wait early, and nothing is lost. */
static void test_signal(bool uring)
{
	struct sigaction sa = { .sa_handler = count_signal }, old;
	struct linnet_queue *q = queue(uring, 4);
	struct ended e = { 0 };
	struct linnet_read r = { .bytes = 4, .need = 4, .align = 1, .done = done, .ctx = &e };
	char buf[4] = "", all[BLOCK];
	int fd[2], waits = 0;

	if (pipe(fd) || sigaction(SIGALRM, &sa, &old))
		abort();
	r.fd = fd[0];
	r.buf = buf;
	linnet_queue_read(q, &r);
	signals = 0;
	ualarm(50000, 0);
	while (!signals && !linnet_queue_wait(q))
		waits++;
	test_ok(signals == 1 && !e.count, "io_uring: a signal ends a wait (%d waits)", waits);
	test_ok(write(fd[1], "text", 4) == 4, "something to read");
	while (!e.count && !linnet_queue_wait(q))
		;
	test_ok(e.count == 1 && !e.result && !memcmp(buf, "text", 4), "it is read after that");
	close(fd[0]);
	close(fd[1]);

	/* a write to a pipe that is full */
	if (pipe(fd) || write(fd[1], content, fcntl(fd[1], F_GETPIPE_SZ)) <= 0)
		abort();
	r = write_of(fd[1], 0, 4);
	r.done = done;
	r.ctx = &e;
	e.count = 0;
	linnet_queue_read(q, &r);
	signals = 0;
	waits = 0;
	ualarm(50000, 0);
	while (!signals && !linnet_queue_wait(q))
		waits++;
	test_ok(signals == 1 && !e.count, "io_uring: a signal while it writes (%d waits)", waits);
	for (size_t left = fcntl(fd[1], F_GETPIPE_SZ); left;) {
		ssize_t n = read(fd[0], all, left < sizeof(all) ? left : sizeof(all));

		if (n <= 0)
			abort();
		left -= n;
	}
	while (!e.count && !linnet_queue_wait(q))
		;
	test_ok(e.count == 1 && !e.result && read(fd[0], all, sizeof(all)) == 4 &&
		!memcmp(all, content, 4), "it is written after that: %d", e.result);
	linnet_queue_destroy(q);
	sigaction(SIGALRM, &old, NULL);
	close(fd[0]);
	close(fd[1]);
}

/* ------------------------------------------------------------ io_uring refused */

/* From now on a system call fails with this error, for the whole process. */
static int refuse(long nr, int error)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { sizeof(filter) / sizeof(filter[0]), filter };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) ? -errno : 0;
}

/* Child: 0 right, 1 wrong, 77 no filters here. */
static int refused_child(int error, bool after_setup)
{
	struct linnet_queue *q = NULL;
	int fd = open_content(0), ret;
	char buf[1000];
	struct linnet_read r = { .fd = fd, .buf = buf, .offset = 5, .bytes = 1000, .need = 1000,
				 .align = 1 };

	if (after_setup) {
		q = queue(true, 4);
		if (!linnet_queue_is_io_uring(q) || refuse(SYS_io_uring_enter, error))
			return 77;
		/* the queue can do nothing now, and must say so */
		ret = read_one(q, &r);
		linnet_queue_destroy(q);
		return ret != -error;
	}
	if (refuse(SYS_io_uring_setup, error))
		return 77;
	q = queue(true, 4);
	if (linnet_queue_is_io_uring(q) || linnet_queue_refused(q) != -error)
		return 1;
	ret = read_one(q, &r);
	linnet_queue_destroy(q);
	return ret || memcmp(buf, content + 5, 1000);
}

static void test_refused(void)
{
	static const struct {
		int error;
		bool after_setup;
		const char *what;
	} cases[] = {
		{ EPERM, false, "io_uring_setup: EPERM" },
		{ ENOSYS, false, "io_uring_setup: ENOSYS" },
		{ EPERM, true, "io_uring_enter: EPERM" },
	};
	int status;
	pid_t pid;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		fflush(stdout);
		pid = fork();
		if (!pid)
			_exit(refused_child(cases[i].error, cases[i].after_setup));
		if (pid < 0 || waitpid(pid, &status, 0) != pid)
			abort();
		if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
			test_skip(cases[i].what, "no io_uring or no seccomp filters here");
		else
			test_ok(WIFEXITED(status) && !WEXITSTATUS(status), "refused, %s",
				cases[i].what);
	}
}

int main(void)
{
	const char *tmp = getenv("TMPDIR");
	int fd;

	/* a queue that hangs must not hang the suite */
	alarm(120);
	snprintf(path, sizeof(path), "%.3000s/linnet-queue-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	fd = mkstemp(path);
	content = malloc(FILE_BYTES);
	if (fd < 0 || !content)
		abort();
	for (size_t i = 0; i < FILE_BYTES; i++)
		content[i] = (unsigned char)(i * 2654435761u >> 13);
	if (write(fd, content, FILE_BYTES) != FILE_BYTES)
		abort();
	close(fd);

	test_backend(true);
	test_backend(false);
	test_bad_reads();
	test_bad_writes();
	test_rate(true, "io_uring, or what there is");
	test_rate(false, "threads");
	test_uring_short();
	test_uring_short_writes();
	{
		struct linnet_queue *q = queue(true, 0);
		bool uring = linnet_queue_is_io_uring(q);

		linnet_queue_destroy(q);
		if (uring)
			test_signal(uring);
		else
			test_skip("signals", "no io_uring here");
	}
	alarm(120);
	test_refused();
	unlink(path);
	free(content);
	return test_end();
}
