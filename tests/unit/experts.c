// SPDX-License-Identifier: MIT
/*
 * runtime/memory/experts.h: every byte of every expert is right in caches of any size, at
 * any distance from a block border, while the limit changes; what is used stays; and what
 * goes wrong is told, and over when the disk recovers.
 */
#include "runtime/memory/experts.h"
#include "tests/gguf_writer.h"
#include "tests/test.h"
#include "tests/unit/touched.h"

#include <errno.h>
#include <limits.h>
#include <linnet/stream.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define LAYERS		3
#define EXPERTS		12
#define TENSORS		(LAYERS * LINNET_EXPERT_TENSORS)

static char path[4096];
static struct linnet_error err;

static enum { PLAIN, READ_FAILS, BAD_BYTE } mode;
static _Atomic int calls;
static int bad_from, bad_to;

ssize_t preadv2(int fd, const struct iovec *iov, int n, off_t offset, int flags)
{
	int call = calls++;
	ssize_t got;

	if (mode == READ_FAILS && call >= bad_from && call < bad_to) {
		errno = EIO;
		return -1;
	}
	got = syscall(SYS_preadv2, fd, iov, n, offset, 0L, flags);
	if (mode == BAD_BYTE && call >= bad_from && call < bad_to && got > 8192)
		((unsigned char *)iov->iov_base)[got / 2] ^= 0x10;
	return got;
}

/* F32 elements of an expert: whole blocks, and not; several requests. */
static const uint32_t elements[LINNET_EXPERT_TENSORS] = { 4096, 3001, 600000 };

static unsigned char byte_of(size_t tensor, uint64_t at)
{
	uint64_t x = (tensor + 1) * 0x9e3779b97f4a7c15u + at * 0xff51afd7ed558ccdu;

	return (unsigned char)(x >> 56 ^ x >> 29);
}

static void write_model(void)
{
	char names[TENSORS][16];
	struct gguf_file f;
	struct bytes b;
	uint64_t offset = 0;
	size_t data;

	gguf_init(&f);
	for (int i = 0; i < TENSORS; i++) {
		const uint32_t n = elements[i % LINNET_EXPERT_TENSORS];

		snprintf(names[i], sizeof(names[i]), "t%d", i);
		f.t[f.nt++] = (struct gguf_tensor_row){
			names[i], 0, 3, { n, 1, EXPERTS }, 0, offset,
		};
		offset += ((uint64_t)n * EXPERTS * 4 + 31) & ~31ull;
	}
	f.data_bytes = 0;
	b = gguf_bytes(&f);
	data = b.n;
	put_zero(&b, offset);
	for (int i = 0; i < TENSORS; i++)
		for (uint64_t at = 0; at < elements[i % LINNET_EXPERT_TENSORS] * 4ull * EXPERTS;
		     at++)
			b.p[data + f.t[i].offset + at] = byte_of((size_t)i, at);
	if (write_file(path, b.p, b.n)) {
		test_ok(false, "write %s: %s", path, strerror(errno));
		exit(test_end());
	}
	free(b.p);
}

struct setup {
	struct linnet_gguf *g;
	struct linnet_queue *q;
	struct linnet_engine *e;
	struct linnet_weights *w;
	struct linnet_experts *x;
};

static bool setup(struct setup *s, uint32_t n_places, bool uring, bool direct, bool verify)
{
	struct linnet_queue_options qo = { .no_io_uring = !uring };
	struct linnet_engine_options eo = { .n_threads = 1 };
	struct linnet_weights_options wo = { .no_direct_io = !direct };
	struct linnet_experts_options xo = {
		.n_experts = EXPERTS, .n_used = 2, .n_places = n_places, .verify = verify,
	};
	struct linnet_expert_layer layer[LAYERS];
	char name[16];
	int ret;

	memset(s, 0, sizeof(*s));
	ret = linnet_gguf_open(&s->g, path, &err);
	if (!ret)
		ret = linnet_queue_create(&s->q, &qo, &err);
	eo.queue = s->q;
	if (!ret)
		ret = linnet_engine_host.open(&s->e, &eo, &err);
	wo.engine = s->e;
	wo.queue = s->q;
	if (!ret)
		ret = linnet_weights_create(&s->w, s->g, NULL, 0, &wo, &err);
	for (int i = 0; i < TENSORS && !ret; i++) {
		snprintf(name, sizeof(name), "t%d", i);
		layer[i / LINNET_EXPERT_TENSORS].tensor[i % LINNET_EXPERT_TENSORS] =
			linnet_gguf_find_tensor(s->g, name);
	}
	if (!ret)
		ret = linnet_experts_create(&s->x, s->w, layer, LAYERS, &xo, &err);
	return !ret || test_ok(false, "set up: %s", err.message);
}

static void teardown(struct setup *s)
{
	linnet_experts_destroy(s->x);
	linnet_weights_destroy(s->w);
	if (s->e)
		s->e->ops->close(s->e);
	linnet_queue_destroy(s->q);
	linnet_gguf_close(s->g);
}

/* One layer for the tokens' choices: how many bytes are wrong, or -errno. */
static long layer(struct setup *s, uint32_t l, const int32_t *ids, size_t n)
{
	const struct linnet_region *region = linnet_experts_region(s->x);
	const uint64_t stride = region->bytes / linnet_experts_places(s->x);
	int32_t table[EXPERTS];
	bool seen[EXPERTS] = { false };
	long bad = 0;
	int ret = linnet_experts_begin(s->x, l, ids, n, 1);

	while (!ret && linnet_experts_left(s->x)) {
		ret = linnet_experts_round(s->x, table, &err);
		if (ret < 0)
			break;
		if (!ret) {
			ret = linnet_queue_wait(s->q) ? -ENOENT : 0;
			continue;
		}
		for (int e = 0; e < EXPERTS; e++) {
			if (table[e] == LINNET_PLACE_NONE)
				continue;
			ret--;
			bad += seen[e];
			seen[e] = true;
			for (uint32_t t = 0; t < LINNET_EXPERT_TENSORS; t++) {
				const uint64_t bytes = elements[t] * 4ull;
				const unsigned char *p = (unsigned char *)region->addr +
							 linnet_experts_offset(s->x, l, t) +
							 (uint64_t)table[e] * stride;

				for (uint64_t at = 0; at < bytes; at++)
					bad += p[at] != byte_of(l * LINNET_EXPERT_TENSORS + t,
								(uint64_t)e * bytes + at);
			}
		}
		bad += ret != 0;
		ret = 0;
		linnet_experts_round_done(s->x);
	}
	linnet_experts_end(s->x);
	if (ret)
		return ret;
	for (size_t i = 0; i < n; i++)
		bad += !seen[ids[i]];
	return bad;
}

static uint64_t next(uint64_t *x)
{
	*x ^= *x << 13, *x ^= *x >> 7, *x ^= *x << 17;
	return *x;
}

static void test_sizes(bool uring, bool direct)
{
	static const uint32_t sizes[] = { 4, 5, 11, LAYERS * EXPERTS };
	const char *name = uring ? "io_uring" : "threads", *io = direct ? "direct" : "buffered";
	uint64_t x = 88172645463325252u;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct setup s;
		long bad = 0;

		if (!setup(&s, sizes[i], uring, direct, i == 2))
			return;
		for (int round = 0; round < 12 && !bad; round++) {
			int32_t ids[40];
			/* a token, or many that need all experts */
			size_t n = round % 3 ? 2 : 40;

			for (size_t j = 0; j < n; j++)
				ids[j] = (int32_t)(next(&x) % EXPERTS);
			for (uint32_t l = 0; l < LAYERS && !bad; l++) {
				/* right in most cases */
				if (round % 2 && l + 1 < LAYERS && linnet_experts_want_guess(s.x)) {
					const int32_t guess[] = { ids[0],
								  next(&x) % 2 ? ids[1] : 5 };

					linnet_experts_guess(s.x, l + 1, guess, 2);
				}
				bad = layer(&s, l, ids, n);
			}
			if (round % 4 == 3)
				linnet_experts_limit(s.x, (uint32_t)(next(&x) % (sizes[i] + 1)));
		}
		test_ok(!bad, "%s, %s, %u places: all bytes are right: %ld", name, io, sizes[i],
			bad);
		teardown(&s);
	}
}

/* What is chosen often stays, whatever else comes by. */
static void test_use(void)
{
	const int32_t often[] = { 3, 7 };
	struct linnet_experts_stats st, before;
	struct setup s;
	long bad = 0;

	if (!setup(&s, 8, true, true, false))
		return;
	for (int i = 0; i < 6; i++)
		bad += layer(&s, 1, often, 2);
	for (int32_t e = 0; e < EXPERTS; e++)
		bad += layer(&s, 2, (int32_t[]) { e, (e + 1) % EXPERTS }, 2);
	linnet_experts_stats(s.x, &before);
	bad += layer(&s, 1, often, 2);
	linnet_experts_stats(s.x, &st);
	test_ok(!bad && st.hits == before.hits + 2 && st.misses == before.misses,
		"experts that are chosen often stay");
	test_ok(linnet_experts_begin(s.x, 0, (int32_t[]){ 0, EXPERTS }, 2, 1) == -ERANGE &&
		linnet_experts_begin(s.x, 0, (int32_t[]){ -1 }, 1, 1) == -ERANGE,
		"no such expert");
	teardown(&s);
}

/* Tokens through all layers; each layer's guess is its experts plus `off`. */
static long guessed(struct setup *s, int tokens, int32_t off)
{
	long bad = 0;

	for (int t = 0; t < tokens && !bad; t++) {
		for (uint32_t l = 0; l < LAYERS && !bad; l++) {
			const int32_t a = (t * 3 + (int32_t)l) % EXPERTS, n = (a + off) % EXPERTS;

			if (l + 1 < LAYERS && linnet_experts_want_guess(s->x))
				linnet_experts_guess(s->x, l + 1, (int32_t[]) {
					(n + 1) % EXPERTS, (n + 2) % EXPERTS, -1, EXPERTS }, 4);
			bad = layer(s, l, (int32_t[]) { a, (a + 1) % EXPERTS }, 2);
		}
	}
	return bad;
}

/* Guesses that come true are read ahead; where they do not, nothing is read by them. */
static void test_guess(void)
{
	struct linnet_experts_stats right, wrong, more;
	struct setup s;
	long bad;

	if (!setup(&s, 10, true, true, false))
		return;
	bad = guessed(&s, 60, 0);
	linnet_experts_stats(s.x, &right);
	teardown(&s);
	test_ok(!bad && right.ahead > 100 && right.ahead_used >= right.ahead * 9 / 10,
		"right guesses: %llu read ahead, %llu needed", (unsigned long long)right.ahead,
		(unsigned long long)right.ahead_used);
	if (!setup(&s, 10, true, true, false))
		return;
	bad = guessed(&s, 60, 5);
	linnet_experts_stats(s.x, &wrong);
	test_ok(!bad && wrong.ahead < 20 && !wrong.ahead_used, "wrong guesses: %llu read ahead",
		(unsigned long long)wrong.ahead);
	test_ok(wrong.hits + wrong.misses == right.hits + right.misses,
		"what is needed is counted alike");
	bad = guessed(&s, 400, 0);
	linnet_experts_stats(s.x, &more);
	test_ok(!bad && more.ahead > wrong.ahead + 100, "they become right: %llu read ahead",
		(unsigned long long)(more.ahead - wrong.ahead));
	teardown(&s);

	/* the disk fails while a guess is read: the layer that needs it asks again */
	if (!setup(&s, 10, false, true, false))
		return;
	bad = layer(&s, 0, (int32_t[]) { 0, 1 }, 2) + layer(&s, 0, (int32_t[]) { 0, 1 }, 2);
	linnet_experts_want_guess(s.x);
	linnet_experts_guess(s.x, 1, (int32_t[]) { 4, 6 }, 2);
	mode = READ_FAILS;
	bad_from = 0;
	bad_to = INT_MAX;
	/* what the layer itself needs is there */
	bad += layer(&s, 0, (int32_t[]) { 0, 1 }, 2);
	while (!linnet_queue_wait(s.q))
		;
	mode = PLAIN;
	linnet_experts_stats(s.x, &more);
	bad += layer(&s, 1, (int32_t[]) { 4, 6 }, 2);
	test_ok(!bad && more.ahead == 2, "a guess that cannot be read is of no consequence: %ld",
		bad);
	teardown(&s);
}

static void test_limit(void)
{
	int32_t all[EXPERTS];
	uint64_t full, less, none;
	struct setup s;
	long bad = 0;

	if (!setup(&s, LAYERS * EXPERTS, true, true, false))
		return;
	for (int32_t e = 0; e < EXPERTS; e++)
		all[e] = e;
	for (uint32_t l = 0; l < LAYERS; l++)
		bad += layer(&s, l, all, EXPERTS);
	full = touched(linnet_experts_region(s.x));
	linnet_experts_limit(s.x, 10);
	less = touched(linnet_experts_region(s.x));
	for (uint32_t l = 0; l < LAYERS; l++)
		bad += layer(&s, l, all, EXPERTS);
	linnet_experts_limit(s.x, 0);
	none = touched(linnet_experts_region(s.x));
	for (uint32_t l = 0; l < LAYERS; l++)
		bad += layer(&s, l, all, EXPERTS);
	test_ok(!bad && less < full / 3 && !none && touched(linnet_experts_region(s.x)) <= 4096,
		"memory goes with the limit: %llu, %llu, %llu", (unsigned long long)full,
		(unsigned long long)less, (unsigned long long)none);
	teardown(&s);
}

static void test_faults(void)
{
	int32_t all[EXPERTS];
	struct setup s;
	long ret, again;

	for (int32_t e = 0; e < EXPERTS; e++)
		all[e] = e;
	for (bad_from = 0; bad_from < 30; bad_from += 7) {
		if (!setup(&s, 6, false, true, false))
			return;
		calls = 0;
		bad_to = INT_MAX;
		mode = READ_FAILS;
		ret = layer(&s, 1, all, EXPERTS);
		again = layer(&s, 1, all, EXPERTS);
		mode = PLAIN;
		test_ok(ret == -EIO && again == -EIO && strstr(err.message, path) &&
			strstr(err.message, "offset, ") && !layer(&s, 1, all, EXPERTS) &&
			!layer(&s, 2, all, EXPERTS),
			"a disk that fails from read %d on, and recovers", bad_from);
		teardown(&s);
	}
	if (!setup(&s, 4, false, true, true))
		return;
	ret = layer(&s, 1, all, EXPERTS) + layer(&s, 1, all, EXPERTS);
	test_ok(!ret, "checksums: the same bytes again");
	bad_from = calls;
	bad_to = calls + 1;
	mode = BAD_BYTE;
	ret = layer(&s, 1, all, EXPERTS);
	mode = PLAIN;
	test_ok(!ret, "checksums: a byte that is wrong once");
	bad_to = INT_MAX;
	mode = BAD_BYTE;
	ret = layer(&s, 1, all, EXPERTS);
	mode = PLAIN;
	test_ok(ret == -EBADMSG && strstr(err.message, path) && strstr(err.message, "tensor t"),
		"checksums: bytes that stay wrong: %s", strrchr(err.message, '/'));
	test_ok(!layer(&s, 1, all, EXPERTS), "and right ones after that");
	teardown(&s);
}

int main(void)
{
	const char *tmp = getenv("TMPDIR");
	int fd;

	/* a pager that hangs must not hang the suite */
	alarm(300);
	snprintf(path, sizeof(path), "%.3000s/linnet-experts-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	fd = mkstemp(path);
	if (fd < 0 || close(fd)) {
		test_ok(false, "%s: %s", path, strerror(errno));
		return test_end();
	}
	write_model();
	for (int i = 0; i < 4; i++)
		test_sizes(i & 1, i & 2);
	test_use();
	test_guess();
	test_limit();
	test_faults();
	unlink(path);
	return test_end();
}
