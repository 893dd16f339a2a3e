// SPDX-License-Identifier: MIT
/*
 * runtime/memory/weights.h: every byte of every tensor arrives, pass after pass, from
 * whole and split files with tensors at any offset, resident or streamed, by direct
 * I/O or not, with and without io_uring; and what goes wrong is told.
 */
#include "runtime/engine/engine.h"
#include "runtime/memory/weights.h"
#include "tests/gguf_writer.h"
#include "tests/test.h"
#include "tests/unit/touched.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define N_TENSORS	14
#define N_UNITS		7

static char dir[4096], path[2][4200];
static struct linnet_error err;

/* ---------------------------------------------- a file system that does not want to */

static enum { PLAIN, NO_DIRECT_OPEN, NO_DIRECT_READ, READ_FAILS, BAD_BYTE } mode;
static _Atomic int calls;
static int bad_from, bad_to;		/* calls that READ_FAILS and BAD_BYTE are about */

int open(const char *name, int flags, ...)
{
	if (mode == NO_DIRECT_OPEN && flags & O_DIRECT) {
		errno = EINVAL;
		return -1;
	}
	return (int)syscall(SYS_openat, AT_FDCWD, name, flags, 0600);
}

ssize_t preadv2(int fd, const struct iovec *iov, int n, off_t offset, int flags)
{
	int call = calls++;
	ssize_t got;

	if (mode == NO_DIRECT_READ && fcntl(fd, F_GETFL) & O_DIRECT) {
		errno = EINVAL;
		return -1;
	}
	if (mode == READ_FAILS && call >= bad_from && call < bad_to) {
		errno = EIO;
		return -1;
	}
	got = syscall(SYS_preadv2, fd, iov, n, offset, 0L, flags);
	/* where only tensors' data are */
	if (mode == BAD_BYTE && call >= bad_from && call < bad_to && got > 8192)
		((unsigned char *)iov->iov_base)[got / 2] ^= 0x10;
	return got;
}

/* --------------------------------------------------------------------- models */

/* F32 elements of each tensor: from a few bytes to several requests. */
static const uint32_t sizes[N_TENSORS] = {
	8, 2, 300000, 1000, 1024, 1, 700001, 20, 9, 400000, 123, 4096, 65536, 77777,
};

/* Byte of a tensor's data; any other place or tensor gives others. */
static unsigned char byte_of(size_t tensor, uint64_t at)
{
	uint64_t x = (tensor + 1) * 0x9e3779b97f4a7c15u + at * 0xff51afd7ed558ccdu;

	return (unsigned char)(x >> 56 ^ x >> 29);
}

/* Tensors [from, to) in one file, with gaps between them. */
static void write_part(const char *name, int from, int to, int no, int count)
{
	char names[N_TENSORS][8];
	struct gguf_file f;
	struct bytes b;
	uint64_t offset = 0;
	size_t data;

	gguf_init(&f);
	f.align = 8;
	gguf_kv_u32(&f, "general.alignment", 8);
	if (count > 1) {
		gguf_kv_u32(&f, "split.no", (uint32_t)no);
		gguf_kv_u32(&f, "split.count", (uint32_t)count);
		gguf_kv_u32(&f, "split.tensors.count", N_TENSORS);
	}
	for (int i = from; i < to; i++) {
		snprintf(names[i], sizeof(names[i]), "t%d", i);
		f.t[f.nt++] = (struct gguf_tensor_row) { names[i], 0, 1, { sizes[i] }, 0, offset };
		offset += (sizes[i] * 4 + 7) & ~7u;
		/* holes that are worth a new span, and others that are not */
		offset += i % 4 == 1 ? 200000 : i % 4 == 2 ? 24 : 0;
	}
	f.data_bytes = 0;
	b = gguf_bytes(&f);
	data = b.n;
	put_zero(&b, f.t[f.nt - 1].offset + sizes[to - 1] * 4);
	for (int i = from; i < to; i++)
		for (uint64_t at = 0; at < sizes[i] * 4; at++)
			b.p[data + f.t[i - from].offset + at] = byte_of((size_t)i, at);
	if (write_file(name, b.p, b.n)) {
		test_ok(false, "write %s: %s", name, strerror(errno));
		exit(test_end());
	}
	free(b.p);
}

static void write_model(bool split)
{
	if (split) {
		snprintf(path[0], sizeof(path[0]), "%s/m-00001-of-00002.gguf", dir);
		snprintf(path[1], sizeof(path[1]), "%s/m-00002-of-00002.gguf", dir);
		write_part(path[0], 0, 8, 0, 2);
		write_part(path[1], 8, N_TENSORS, 1, 2);
	} else {
		snprintf(path[0], sizeof(path[0]), "%s/m.gguf", dir);
		*path[1] = 0;
		write_part(path[0], 0, N_TENSORS, 0, 1);
	}
}

/* ----------------------------------------------------------------------- setup */

struct setup {
	struct linnet_gguf *g;
	struct linnet_queue *q;
	struct linnet_engine *e;
	struct linnet_weights *w;
	struct linnet_weight_unit unit[N_UNITS];
	const struct linnet_gguf_tensor *tensor[N_UNITS][4];
	int number[N_UNITS][4];		/* of each tensor */
};

struct how {
	bool uring, direct;
	unsigned streamed;		/* a bit for each unit */
	unsigned n_slots;
	bool verify, changes;
};

/* Tensors go to units crosswise, so that a unit has spans in several places. */
static int setup(struct setup *s, const struct how *how)
{
	struct linnet_queue_options qo = { .no_io_uring = !how->uring };
	struct linnet_engine_options eo = { .n_threads = 1 };
	struct linnet_weights_options wo = { .no_direct_io = !how->direct, .n_slots = how->n_slots,
					     .verify = how->verify, .changes = how->changes };
	char name[8];
	int ret;

	memset(s, 0, sizeof(*s));
	ret = linnet_gguf_open(&s->g, path[0], &err);
	if (!ret)
		ret = linnet_queue_create(&s->q, &qo, &err);
	eo.queue = s->q;
	if (!ret)
		ret = linnet_engine_host.open(&s->e, &eo, &err);
	if (ret)
		return ret;
	for (int i = 0; i < N_TENSORS; i++) {
		/* the last unit has none */
		int u = i % (N_UNITS - 1);
		struct linnet_weight_unit *unit = &s->unit[u];

		snprintf(name, sizeof(name), "t%d", i);
		unit->tensor = s->tensor[u];
		s->number[u][unit->n] = i;
		s->tensor[u][unit->n++] = linnet_gguf_find_tensor(s->g, name);
	}
	for (int u = 0; u < N_UNITS; u++) {
		s->unit[u].tensor = s->tensor[u];
		s->unit[u].streamed = how->streamed >> u & 1;
		/* the last to be streamed */
		s->unit[u].rank = u != 2;
	}
	ret = linnet_weights_measure(s->unit, N_UNITS);
	if (ret)
		return ret;
	wo.engine = s->e;
	wo.queue = s->q;
	return linnet_weights_create(&s->w, s->g, s->unit, N_UNITS, &wo, &err);
}

static void teardown(struct setup *s)
{
	linnet_weights_destroy(s->w);
	if (s->e)
		s->e->ops->close(s->e);
	linnet_queue_destroy(s->q);
	linnet_gguf_close(s->g);
}

/* Wait for a unit: 1, or -errno. */
static int await(struct setup *s, size_t unit)
{
	int ret;

	while (!(ret = linnet_weights_ready(s->w, unit, &err)))
		if (linnet_queue_wait(s->q))
			return -ENOENT;
	return ret;
}

/* Bytes of a unit that are wrong. */
static long wrong(struct setup *s, size_t u)
{
	long bad = 0;

	for (size_t i = 0; i < s->unit[u].n; i++) {
		struct linnet_weight w = linnet_weights_find(s->w, u, i);
		const unsigned char *p = (unsigned char *)w.region->addr + w.offset;
		size_t number = (size_t)s->number[u][i];

		bad += w.bytes != sizes[number] * 4ull || w.offset + w.bytes > w.region->bytes;
		for (uint64_t at = 0; at < w.bytes; at++)
			bad += p[at] != byte_of(number, at);
	}
	return bad;
}

/* Units [0, n) of a pass; how many bytes are wrong, or -errno. */
static long pass(struct setup *s, size_t n)
{
	long bad = 0;
	int ret;

	linnet_weights_begin(s->w);
	for (size_t u = 0; u < n; u++) {
		ret = await(s, u);
		if (ret < 0)
			return ret;
		linnet_weights_use(s->w, u);
		bad += wrong(s, u);
		linnet_weights_done(s->w, u, u + 1);
	}
	ret = linnet_weights_check(s->w, &err);
	return ret ? ret : bad;
}

/* ----------------------------------------------------------------------- tests */

static bool passes(const struct how *how, const char *what, bool want_direct)
{
	struct linnet_weights_stats st;
	struct setup s;
	long bad = 0, given_up = 0;
	uint64_t first = 0, second = 0;
	int ret = setup(&s, how);
	bool ok;

	if (ret) {
		test_ok(false, "%s: %d %s", what, ret, err.message);
		teardown(&s);
		return false;
	}
	for (int i = 0; i < 2 && !bad; i++) {
		bad = pass(&s, N_UNITS);
		while (linnet_weights_reading(s.w) && !linnet_queue_wait(s.q))
			;
		linnet_weights_stats(s.w, &st);
		if (i)
			second = st.bytes_read;
		else
			first = st.bytes_read;
	}
	/* a pass that ends early, and whole ones after it */
	if (!bad)
		given_up = pass(&s, 3);
	if (!bad && !given_up)
		bad = pass(&s, N_UNITS) + pass(&s, N_UNITS);
	ok = test_ok(!bad && !given_up, "%s: all bytes of all passes are right", what);
	if (!ok)
		printf("# %ld wrong bytes, %ld after a pass that was given up; %s\n", bad, given_up,
		       err.message);
	linnet_weights_stats(s.w, &st);
	test_ok(st.direct_io == want_direct, "%s: direct I/O is %sused", what,
		want_direct ? "" : "not ");
	if (!how->streamed)
		test_ok(first && second == first, "%s: a second pass reads nothing", what);
	else if (how->n_slots < 6)
		test_ok(second > first, "%s: a second pass reads what is streamed", what);
	else
		test_ok(second == first, "%s: a second pass finds everything in the ring", what);
	teardown(&s);
	return ok;
}

/* Is there a file system with O_DIRECT below dir? */
static bool has_direct(void)
{
	int fd = open(path[0], O_RDONLY | O_DIRECT);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static void test_passes(const char *where)
{
	static const struct {
		const char *name;
		unsigned streamed, n_slots;
	} kinds[] = {
		{ "resident", 0, 0 }, { "streamed", 0x3f, 2 }, { "one slot", 0x3f, 1 },
		{ "mixed", 0x2a, 2 }, { "slots for all", 0x2a, 8 },
	};
	char what[256];

	for (int split = 0; split < 2; split++) {
		write_model(split);
		for (unsigned i = 0; i < 4 * sizeof(kinds) / sizeof(kinds[0]); i++) {
			struct how how = {
				.uring = i & 1, .direct = i & 2, .streamed = kinds[i / 4].streamed,
				.n_slots = kinds[i / 4].n_slots,
			};

			snprintf(what, sizeof(what), "%s, %s, %s, %s, %s", where,
				 split ? "two files" : "one file", kinds[i / 4].name,
				 how.uring ? "io_uring" : "threads",
				 how.direct ? "direct" : "buffered");
			passes(&how, what, how.direct && has_direct());
		}
	}
}

static void test_refusals(void)
{
	const struct how how = { .direct = true, .streamed = 0x2a, .n_slots = 2 };
	struct setup s;
	long ret, again;

	write_model(true);
	mode = NO_DIRECT_OPEN;
	passes(&how, "O_DIRECT refused on opening", false);
	mode = NO_DIRECT_READ;
	passes(&how, "O_DIRECT refused on reading", !has_direct());

	/* from every read on: nothing is ever wrong, and a disk that recovers is used again */
	for (bad_from = 0; bad_from < 20; bad_from += bad_from < 4 ? 1 : 5) {
		mode = PLAIN;
		calls = 0;
		ret = setup(&s, &how);
		mode = READ_FAILS;
		bad_to = INT_MAX;
		for (int i = 0; i < 3 && !ret; i++)
			ret = pass(&s, N_UNITS);
		if (ret != -EIO ||
		    !(strstr(err.message, path[0]) || strstr(err.message, path[1])) ||
		    !strstr(err.message, "offset, ") || !strstr(err.message, strerror(EIO)))
			test_ok(false, "a disk that fails from read %d on: %ld %s", bad_from, ret,
				err.message);
		again = pass(&s, N_UNITS);
		mode = PLAIN;
		test_ok(ret == -EIO && again == -EIO && !pass(&s, 3) && !pass(&s, N_UNITS) &&
			!pass(&s, N_UNITS), "a disk that fails from read %d on, and recovers",
			bad_from);
		teardown(&s);
	}
	/* a disk that fails for a moment is not noticed, but counted */
	calls = 0;
	ret = setup(&s, &how);
	bad_from = 2;
	bad_to = 4;
	mode = READ_FAILS;
	test_ok(!ret && !pass(&s, N_UNITS) && !pass(&s, N_UNITS) &&
		linnet_queue_retries(s.q) == 2, "a disk that fails twice");
	mode = PLAIN;
	teardown(&s);
}

/* Bytes that change on their way, once or for good. */
static void test_verify(bool uring)
{
	const struct how how = { .uring = uring, .streamed = 0x2a, .n_slots = 2, .verify = true };
	struct linnet_weights_stats st;
	struct timespec times[2];
	struct stat was;
	struct setup s;
	unsigned char x;
	char name[8];
	long ret, again;
	int fd;

	write_model(false);
	if (setup(&s, &how))
		abort();
	ret = pass(&s, N_UNITS) + pass(&s, N_UNITS);
	linnet_weights_stats(s.w, &st);
	test_ok(!ret && st.verified_bytes, "%s: %llu bytes are what they were",
		uring ? "io_uring" : "threads", (unsigned long long)st.verified_bytes);
	if (!uring) {
		/* the next large read, of a unit that has been read before */
		bad_from = calls;
		bad_to = calls + 2;
		mode = BAD_BYTE;
		ret = pass(&s, N_UNITS);
		mode = PLAIN;
		test_ok(!ret, "a byte that is wrong once is read again: %ld", ret);
		bad_to = INT_MAX;
		mode = BAD_BYTE;
		ret = pass(&s, N_UNITS);
		mode = PLAIN;
		test_ok(ret == -EBADMSG && strstr(err.message, path[0]) &&
			strstr(err.message, "tensor t"),
			"bytes that stay wrong: %s", strrchr(err.message, '/'));
		test_ok(!pass(&s, N_UNITS), "and right ones after that");
	}
	/* the file changes, and its time does not say so */
	snprintf(name, sizeof(name), "t%d", s.number[3][0]);
	fd = open(path[0], O_RDWR);
	if (fd < 0 || fstat(fd, &was) ||
	    pread(fd, &x, 1, (off_t)linnet_gguf_find_tensor(s.g, name)->offset + 2) != 1)
		abort();
	x ^= 1;
	if (pwrite(fd, &x, 1, (off_t)linnet_gguf_find_tensor(s.g, name)->offset + 2) != 1)
		abort();
	times[0] = was.st_atim;
	times[1] = was.st_mtim;
	if (futimens(fd, times))
		abort();
	ret = pass(&s, N_UNITS);
	if (!ret)
		ret = pass(&s, N_UNITS);
	again = pass(&s, N_UNITS);
	test_ok(ret == -EBADMSG && again == -EBADMSG && strstr(err.message, name),
		"a bit that was changed in secret: %s", strrchr(err.message, '/'));
	close(fd);
	teardown(&s);
}

/* The file changes between passes, in several ways; read again, it must be an error. */
static void test_written_to(void)
{
	const struct how streamed = { .direct = true, .streamed = 0x2a, .n_slots = 2 };
	const struct how resident = { .direct = true };
	char other[4300];
	struct setup s;
	long ret;
	int fd;

	write_model(false);
	if (setup(&s, &streamed) || pass(&s, N_UNITS))
		abort();
	fd = open(path[0], O_WRONLY);
	usleep(20000);
	if (fd < 0 || pwrite(fd, "GGUF", 4, 0) != 4 || close(fd))
		abort();
	ret = pass(&s, N_UNITS);
	if (!ret)
		ret = pass(&s, N_UNITS);
	test_ok(ret == -ESTALE && pass(&s, N_UNITS) == -ESTALE &&
		strstr(err.message, "the file changed"), "a file that was written to: %s",
		strrchr(err.message, '/'));
	teardown(&s);

	/* another file with the same name is not ours: the one that is open stays as it is */
	write_model(false);
	if (setup(&s, &streamed) || pass(&s, N_UNITS))
		abort();
	snprintf(other, sizeof(other), "%.4200s.old", path[0]);
	if (rename(path[0], other))
		abort();
	write_model(false);
	test_ok(!pass(&s, N_UNITS) && !pass(&s, N_UNITS), "a file that was replaced is read on");
	teardown(&s);
	unlink(other);

	/* what is in memory needs no file */
	if (setup(&s, &resident) || pass(&s, N_UNITS) || truncate(path[0], 100))
		abort();
	test_ok(!pass(&s, N_UNITS), "a file that was cut when all was read");
	teardown(&s);
}

/* What is resident changes at any time: between units, between passes, in mid-read. */
static void test_place(bool uring, bool direct)
{
	const struct how how = { .uring = uring, .direct = direct, .n_slots = 2, .changes = true };
	const char *name = uring ? "io_uring" : "threads", *io = direct ? "direct" : "buffered";
	struct linnet_weights_stats st, before;
	uint64_t x = 88172645463325252u + uring + 2 * direct, full, held, left;
	const struct linnet_region *region = NULL;
	struct setup s;
	long bad = 0;

	write_model(true);
	if (setup(&s, &how))
		abort();
	for (int round = 0; round < 30 && !bad; round++) {
		linnet_weights_begin(s.w);
		for (size_t u = 0; u < N_UNITS && !bad; u++) {
			size_t first = u ? u - 1 : 0;
			int ret = await(&s, u);

			if (ret < 0) {
				bad = ret;
				break;
			}
			/* two units at once are in use */
			linnet_weights_use(s.w, u);
			x ^= x << 13, x ^= x >> 7, x ^= x << 17;
			if (x % 3 == 0) {
				for (int i = 0; i < N_UNITS; i++)
					s.unit[i].streamed = x >> (8 + i) & 1;
				linnet_weights_place(s.w, s.unit);
			}
			bad += wrong(&s, u) + wrong(&s, first);
			if (u)
				linnet_weights_done(s.w, first, u);
			/* a pass that is given up */
			if (x % 17 == 0)
				break;
		}
		for (size_t u = 0; u < N_UNITS; u++)
			bad += linnet_weights_in_use(s.w, u) > 1;
		for (size_t u = 0; u < N_UNITS; u++)
			if (linnet_weights_in_use(s.w, u))
				linnet_weights_done(s.w, u, u + 1);
	}
	test_ok(!bad, "%s, %s: all bytes are right while places change: %ld", name, io, bad);

	for (int i = 0; i < N_UNITS; i++)
		s.unit[i].streamed = false;
	linnet_weights_place(s.w, s.unit);
	bad = pass(&s, N_UNITS) + pass(&s, N_UNITS);
	linnet_weights_stats(s.w, &before);
	bad += pass(&s, N_UNITS);
	linnet_weights_stats(s.w, &st);
	test_ok(!bad && st.bytes_read == before.bytes_read && !st.pass_bytes,
		"%s, %s: in the end all is resident", name, io);
	region = linnet_weights_find(s.w, 0, 0).region;
	full = touched(region);
	/* the last one in memory is in use, and does not keep those before it */
	linnet_weights_use(s.w, N_UNITS - 2);
	for (int i = 0; i < N_UNITS; i++)
		s.unit[i].streamed = i != 2;
	linnet_weights_place(s.w, s.unit);
	held = touched(region);
	bad = wrong(&s, N_UNITS - 2);
	linnet_weights_done(s.w, N_UNITS - 2, 0);
	left = touched(region);
	test_ok(!bad && held + (2 << 20) <= full && left < held,
		"%s, %s: memory is given back around what is in use: %llu of %llu left", name, io,
		(unsigned long long)held, (unsigned long long)full);
	test_ok(full >= before.resident_bytes && left < full - s.unit[0].bytes,
		"%s, %s: memory is given back: %llu of %llu left", name, io,
		(unsigned long long)left, (unsigned long long)full);
	bad = pass(&s, N_UNITS) + pass(&s, N_UNITS);
	linnet_weights_stats(s.w, &st);
	test_ok(!bad && st.bytes_read > before.bytes_read && touched(region) == left,
		"%s, %s: then it is streamed", name, io);
	teardown(&s);
}

/* The file gets shorter: before it is opened for reading, or after. */
static void test_cut(bool uring, bool direct)
{
	const struct how how = { .uring = uring, .direct = direct, .streamed = 0x15, .n_slots = 2 };
	const char *name = uring ? "io_uring" : "threads", *io = direct ? "direct" : "buffered";
	struct setup s;
	off_t cut = 1000001;
	long ret;

	write_model(false);
	ret = setup(&s, &how);
	test_ok(!ret && !truncate(path[0], cut), "%s, %s: the file is cut", name, io);
	ret = pass(&s, N_UNITS);
	test_ok(ret == -EIO && strstr(err.message, path[0]) == err.message &&
		strstr(err.message, "the file ends early"), "%s, %s: %s", name, io,
		strrchr(err.message, '/'));
	teardown(&s);
}

static void test_changed(void)
{
	struct linnet_queue_options qo = { .no_io_uring = true };
	struct linnet_engine_options eo = { .n_threads = 1 };
	struct linnet_weights_options wo = { 0 };
	struct linnet_weights *w = NULL;
	struct setup s = { 0 };
	int ret;

	write_model(false);
	if (linnet_gguf_open(&s.g, path[0], &err) || linnet_queue_create(&s.q, &qo, &err))
		abort();
	eo.queue = s.q;
	if (linnet_engine_host.open(&s.e, &eo, &err))
		abort();
	wo.engine = s.e;
	wo.queue = s.q;
	if (truncate(path[0], 5000))
		abort();
	ret = linnet_weights_create(&w, s.g, s.unit, 0, &wo, &err);
	test_ok(ret == -ESTALE && strstr(err.message, "size, 5000"), "another size: %s",
		strrchr(err.message, '/'));
	unlink(path[0]);
	ret = linnet_weights_create(&w, s.g, s.unit, 0, &wo, &err);
	test_ok(ret == -ENOENT && strstr(err.message, path[0]), "no file any more: %s",
		strrchr(err.message, '/'));
	teardown(&s);
}

static bool make_dir(const char *in)
{
	snprintf(dir, sizeof(dir), "%.2000s/linnet-weights-XXXXXX", in);
	return mkdtemp(dir);
}

static void remove_dir(void)
{
	char command[4200];

	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	if (system(command))
		printf("# %s is left behind\n", dir);
}

int main(void)
{
	const char *tmp = getenv("TMPDIR");

	/* a pager that hangs must not hang the suite */
	alarm(600);
	if (!make_dir(tmp && *tmp ? tmp : "/tmp")) {
		test_ok(false, "mkdtemp %s: %s", dir, strerror(errno));
		return test_end();
	}
	test_passes("TMPDIR");
	test_refusals();
	for (int i = 0; i < 4; i++)
		test_cut(i & 1, i & 2);
	for (int i = 0; i < 4; i++)
		test_place(i & 1, i & 2);
	test_verify(false);
	test_verify(true);
	test_written_to();
	test_changed();
	remove_dir();
	if (make_dir("/dev/shm")) {
		test_passes("tmpfs");
		remove_dir();
	} else {
		test_skip("tmpfs", "/dev/shm is not there");
	}
	return test_end();
}
