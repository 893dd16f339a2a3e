// SPDX-License-Identifier: MIT
/*
 * Where keys and values come from makes no difference, bit for bit: pages that were
 * saved by another session are as good as computed ones, a sequence that shares pages and
 * passes with others gets what it gets alone, and pages may be on a disk, which may fail.
 */
#include "tests/model/folder.h"
#include "tests/test.h"

#include <linnet/linnet.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define N 600		/* tokens: two whole pages and a part */
#define SHOWN 40	/* the last ones, whose logits are compared */

static char dir[] = "/tmp/linnet-kv-XXXXXX";
static char path[300], cache[300];
static struct linnet_error err;
static int32_t ids[N];

/* ----------------------------------------------------------------- a disk that fails */

static _Atomic int writes_left = -1;	/* until the disk is full; < 0: never */
static _Atomic bool reads_fail;		/* those of files without a name */
static _Atomic bool writes_wait;	/* those of cold pages, as long as it is set */
static _Atomic unsigned writes_begun, writes_ended;

static bool disk_is_full(void)
{
	if (writes_left < 0 || writes_left-- > 0)
		return false;
	writes_left = 0;
	errno = ENOSPC;
	return true;
}

ssize_t pwritev2(int fd, const struct iovec *iov, int n, off_t at, int flags)
{
	ssize_t ret;

	writes_begun++;
	while (writes_wait)
		usleep(1000);
	ret = disk_is_full() ? -1 : syscall(SYS_pwritev2, fd, iov, n, at, 0L, flags);
	writes_ended++;
	return ret;
}

ssize_t pwrite(int fd, const void *buf, size_t n, off_t at)
{
	if (disk_is_full())
		return -1;
	return syscall(SYS_pwrite64, fd, buf, n, at);
}

ssize_t preadv2(int fd, const struct iovec *iov, int n, off_t at, int flags)
{
	struct stat st;

	if (reads_fail && !fstat(fd, &st) && !st.st_nlink) {
		errno = EIO;
		return -1;
	}
	return syscall(SYS_preadv2, fd, iov, n, at, 0L, flags);
}

/* ------------------------------------------------------------------------ sessions */

struct result {
	float *logits;		/* [SHOWN][n_vocab] */
	size_t n_vocab;
};

static bool no_io_uring;

static struct linnet_model *open_model(uint64_t memory)
{
	struct linnet_model_options opts = LINNET_INIT(opts);
	struct linnet_model *m = NULL;

	opts.no_io_uring = no_io_uring;
	opts.n_threads = 2;
	opts.memory_bytes = memory;
	if (linnet_model_open(&m, path, &opts, &err))
		printf("# %s\n", err.message);
	return m;
}

static struct linnet_session *open_session(struct linnet_model *m,
					   struct linnet_session_options opts)
{
	struct linnet_session *s = NULL;

	opts.size = sizeof(opts);
	opts.n_ctx = opts.n_ctx ? opts.n_ctx : N;
	opts.n_batch = 128;
	opts.n_outputs = SHOWN;
	if (linnet_session_create(&s, m, &opts, &err))
		printf("# %s\n", err.message);
	return s;
}

/* Decode what the session lacks of N tokens. */
static bool finish(struct linnet_session *s, struct result *r)
{
	uint32_t have = linnet_session_length(s);
	bool ok = have <= N - SHOWN &&
		  !linnet_session_decode(s, ids + have, N - SHOWN - have, LINNET_LOGITS_NONE,
					 &err) &&
		  !linnet_session_decode(s, ids + N - SHOWN, SHOWN, LINNET_LOGITS_ALL, &err);

	for (size_t i = 0; i < SHOWN && ok; i++)
		memcpy(r->logits + i * r->n_vocab, linnet_session_logits(s, i),
		       r->n_vocab * sizeof(float));
	return ok;
}

static bool same(const struct result *a, const struct result *b)
{
	return !memcmp(a->logits, b->logits, SHOWN * a->n_vocab * sizeof(float));
}

static struct linnet_stats stats_of(const struct linnet_session *s)
{
	struct linnet_stats st = LINNET_INIT(st);

	linnet_session_stats(s, &st);
	return st;
}

/* Enough for such a session, and not for all weights. */
static uint64_t scarce(struct linnet_session_options opts)
{
	struct linnet_model *m = open_model(LINNET_MEMORY_UNLIMITED);
	struct linnet_plan *plan = NULL;
	uint64_t least = 0;

	if (m && !linnet_plan_create(&plan, m, &opts, &err))
		least = linnet_plan_least(plan);
	linnet_plan_destroy(plan);
	linnet_model_close(m);
	return least + least / 50;
}

static void test_saved(const char *name, enum linnet_kv_type type, bool streamed)
{
	struct linnet_session_options plain = { .kv_type = type };
	struct linnet_session_options saved = { .kv_type = type, .kv_cache = cache };
	struct linnet_model_info info = LINNET_INIT(info);
	const struct linnet_session_options size = { .size = sizeof(size), .n_ctx = N,
						     .n_batch = 128, .n_outputs = SHOWN,
						     .kv_type = type };
	const uint64_t memory = streamed ? scarce(size) : LINNET_MEMORY_UNLIMITED;
	struct linnet_model *m = open_model(memory);
	struct linnet_session *s = m ? open_session(m, plain) : NULL;
	struct result want, got;
	char command[400];
	int32_t text[N];
	bool ok;

	if (!s) {
		test_ok(false, "%s", name);
		linnet_model_close(m);
		return;
	}
	linnet_model_info(m, &info);
	want.n_vocab = got.n_vocab = info.n_vocab;
	want.logits = calloc(SHOWN * want.n_vocab, sizeof(float));
	got.logits = calloc(SHOWN * want.n_vocab, sizeof(float));
	test_ok(finish(s, &want), "%s: plain", name);
	test_ok(linnet_session_restore(s, ids, N, &err) == N && !linnet_session_save(s, &err),
		"%s: without a folder the session's own tokens stay", name);
	linnet_session_destroy(s);

	s = open_session(m, saved);
	ok = s && !linnet_session_restore(s, ids, N, &err) && finish(s, &got) && same(&want, &got);
	test_ok(ok && !linnet_session_save(s, &err) && stats_of(s).kv_saved == 512,
		"%s: nothing is there, two pages are saved", name);
	linnet_session_destroy(s);
	linnet_model_close(m);

	m = open_model(memory);
	s = open_session(m, saved);
	memset(got.logits, 0, SHOWN * want.n_vocab * sizeof(float));
	ok = s && linnet_session_restore(s, ids, N, &err) == 512 &&
	     linnet_session_length(s) == 512 && !linnet_session_logits(s, 0);
	test_ok(ok && finish(s, &got) && same(&want, &got), "%s: restored, the same logits", name);
	/* a text that parts from it within the second page, and back */
	memcpy(text, ids, sizeof(text));
	text[300] = (text[300] + 1) % (int32_t)info.n_vocab;
	ok = linnet_session_restore(s, text, N, &err) == 300 &&
	     !linnet_session_decode(s, text + 300, 100, LINNET_LOGITS_NONE, &err) &&
	     linnet_session_restore(s, ids, N, &err) == 512;
	memset(got.logits, 0, SHOWN * want.n_vocab * sizeof(float));
	test_ok(ok && finish(s, &got) && same(&want, &got), "%s: another text, and back", name);
	text[0] = (int32_t)info.n_vocab;
	test_ok(linnet_session_restore(s, text, N, &err) == -ERANGE &&
		linnet_session_length(s) == N,
		"%s: a token that is not one changes nothing", name);
	linnet_session_destroy(s);

	/* damage a file: what it held is computed */
	snprintf(command, sizeof(command), "for f in %s/*-000001.kv; do printf x | "
		 "dd of=$f bs=1 seek=20000 conv=notrunc 2>/dev/null; done", cache);
	s = open_session(m, saved);
	memset(got.logits, 0, SHOWN * want.n_vocab * sizeof(float));
	ok = !system(command) && s && linnet_session_restore(s, ids, N, &err) == 256;
	test_ok(ok && stats_of(s).kv_rejected == 1 && stats_of(s).kv_note[0],
		"%s: a damaged page is ignored: %s", name, s ? stats_of(s).kv_note : "");
	test_ok(ok && finish(s, &got) && same(&want, &got), "%s: and computed", name);
	linnet_session_destroy(s);
	linnet_model_close(m);

	/* the file was touched: as far as anyone can tell it is another model */
	snprintf(command, sizeof(command), "touch %s", path);
	ok = !system(command);
	m = open_model(memory);
	s = m ? open_session(m, saved) : NULL;
	test_ok(ok && s && linnet_session_restore(s, ids, N, &err) == 0,
		"%s: a changed model finds nothing", name);
	linnet_session_destroy(s);
	linnet_model_close(m);
	snprintf(command, sizeof(command), "rm -rf %s", cache);
	if (system(command))
		exit(1);
	free(want.logits);
	free(got.logits);
}

#define SEQS 5
#define COMMON 300	/* tokens before the sequences part */
#define OWN 40		/* tokens of each */

/* Token i of sequence q. */
static int32_t own(uint32_t q, uint32_t i)
{
	return i < COMMON ? ids[i] : (int32_t)(((i + 31 * q) * 2654435761u >> 9) % 400);
}

/* Tokens that step number `step` gives sequence q: some get none, some many. */
static uint32_t share(uint32_t q, uint32_t step)
{
	return (q * 7 + step * 3) % 5 == 0 ? 0 : 1 + (q + step) % 4;
}

/* Logits of the OWN tokens of each sequence, alone in its session. */
static bool alone(struct linnet_model *m, enum linnet_kv_type type, uint32_t q, float *out,
		  size_t n_vocab)
{
	struct linnet_session_options opts = { .size = sizeof(opts), .n_ctx = N, .n_outputs = OWN,
					       .kv_type = type };
	struct linnet_session *s;
	int32_t text[COMMON + OWN];
	bool ok;

	for (uint32_t i = 0; i < COMMON + OWN; i++)
		text[i] = own(q, i);
	if (linnet_session_create(&s, m, &opts, &err))
		return false;
	ok = !linnet_session_decode(s, text, COMMON, LINNET_LOGITS_NONE, &err) &&
	     !linnet_session_decode(s, text + COMMON, OWN, LINNET_LOGITS_ALL, &err);
	for (uint32_t i = 0; i < OWN && ok; i++)
		memcpy(out + i * n_vocab, linnet_session_logits(s, i), n_vocab * sizeof(float));
	linnet_session_destroy(s);
	return ok;
}

static void test_sequences(const char *name, enum linnet_kv_type type, bool streamed)
{
	struct linnet_session_options opts = { .size = sizeof(opts), .n_ctx = N, .n_batch = 128,
					       .n_outputs = 32, .kv_type = type, .n_seqs = SEQS,
					       /* a page that all share, and one for each */
					       .n_kv = (1 + SEQS) * 256 };
	struct linnet_model_info info = LINNET_INIT(info);
	struct linnet_model *m = open_model(streamed ? scarce(opts) : LINNET_MEMORY_UNLIMITED);
	struct linnet_model *other = open_model(LINNET_MEMORY_UNLIMITED);
	struct linnet_session *s = NULL;
	uint32_t done[SEQS] = { 0 }, wrong = 0, steps = 0;
	struct linnet_tokens in[SEQS];
	int32_t text[SEQS][COMMON + OWN];
	float *want, *got;
	bool ok = m;

	linnet_model_info(m, &info);
	want = calloc((size_t)OWN * info.n_vocab, sizeof(float));
	got = calloc((size_t)SEQS * OWN * info.n_vocab, sizeof(float));
	for (uint32_t q = 0; q < SEQS; q++)
		for (uint32_t i = 0; i < COMMON + OWN; i++)
			text[q][i] = own(q, i);
	ok = ok && !linnet_session_create(&s, m, &opts, &err) &&
	     !linnet_session_decode(s, ids, COMMON, LINNET_LOGITS_NONE, &err);
	for (uint32_t q = 1; q < SEQS && ok; q++)
		ok = !linnet_session_fork(s, q) && !linnet_session_select(s, q) &&
		     linnet_session_length(s) == COMMON && !linnet_session_select(s, q / 2);
	for (bool more = true; more && ok; steps++) {
		size_t n = 0, row = 0;

		more = false;
		for (uint32_t q = 0; q < SEQS; q++) {
			uint32_t give = share(q, steps);

			give = give < OWN - done[q] ? give : OWN - done[q];
			/* in an order that changes */
			in[n++] = (struct linnet_tokens){
				(q + steps) % SEQS, NULL, 0, LINNET_LOGITS_ALL };
			more |= done[q] + give < OWN;
		}
		for (size_t i = 0; i < n; i++) {
			uint32_t q = in[i].seq, give = share(q, steps);

			in[i].n = give < OWN - done[q] ? give : OWN - done[q];
			in[i].ids = text[q] + COMMON + done[q];
		}
		ok = !linnet_session_step(s, in, n, &err);
		for (size_t i = 0; i < n && ok; i++)
			for (size_t j = 0; j < in[i].n; j++, row++)
				memcpy(got + (in[i].seq * OWN + done[in[i].seq]++) * info.n_vocab,
				       linnet_session_logits(s, row), info.n_vocab * sizeof(float));
		ok = ok && !linnet_session_logits(s, row);
	}
	if (!test_ok(ok, "%s: %d sequences in %u steps", name, SEQS, steps))
		printf("# %s\n", err.message);
	for (uint32_t q = 0; q < SEQS && ok; q++) {
		ok = alone(other, type, q, want, info.n_vocab);
		wrong += !ok || memcmp(want, got + q * OWN * info.n_vocab,
				       OWN * info.n_vocab * sizeof(float));
	}
	test_ok(ok && !wrong, "%s: each gets what it gets alone", name);

	/* the KV cache is full now: no sequence can begin another page */
	in[0] = (struct linnet_tokens){ 0, ids, 1, LINNET_LOGITS_NONE };
	in[1] = (struct linnet_tokens){ 1, ids, 80, LINNET_LOGITS_LAST };
	in[2] = (struct linnet_tokens){ 2, ids, 1, LINNET_LOGITS_NONE };
	linnet_session_select(s, 1);
	ok = ok && !linnet_session_decode(s, ids, 512 - COMMON - OWN, LINNET_LOGITS_NONE, &err) &&
	     linnet_session_step(s, in, 3, &err) == -ENOSPC;
	for (uint32_t q = 0; q < SEQS && ok; q++)
		ok = !linnet_session_select(s, q) &&
		     linnet_session_length(s) == (q == 1 ? 512 : COMMON + OWN);
	test_ok(ok, "%s: no room: %s", name, err.message);
	linnet_session_select(s, 4);
	ok = ok && !linnet_session_truncate(s, 0) && !linnet_session_step(s, in, 3, &err) &&
	     linnet_session_logits(s, 0) && !linnet_session_logits(s, 1);
	test_ok(ok, "%s: one is forgotten, and there is", name);
	in[1].seq = 2;
	ok = linnet_session_step(s, in, 3, &err) == -EINVAL;
	in[1].seq = SEQS;
	ok = ok && linnet_session_step(s, in, 3, &err) == -EINVAL;
	in[1].seq = 1;
	in[1].n = 127;
	ok = ok && linnet_session_step(s, in, 3, &err) == -ENOSPC;
	in[1].seq = 4;
	in[1].n = 40;
	in[1].logits = LINNET_LOGITS_ALL;
	ok = ok && linnet_session_step(s, in, 3, &err) == -EINVAL;
	in[1].n = 127;
	ok = ok && linnet_session_step(s, in, 3, &err) == -E2BIG;
	test_ok(ok && linnet_session_select(s, SEQS) == -EINVAL &&
		linnet_session_fork(s, SEQS) == -EINVAL, "%s: what cannot be is refused", name);
	linnet_session_destroy(s);
	linnet_model_close(m);
	linnet_model_close(other);
	free(want);
	free(got);
}

#define LONG 2048	/* positions of the sequences whose pages are on a disk */
#define THREE 3		/* sequences */

/* Memory for keys and values that is just enough. */
static uint64_t least_kv(struct linnet_model *m, struct linnet_session_options opts, uint64_t *all)
{
	struct linnet_memory_info mem = LINNET_INIT(mem);
	unsigned long long least = 0;
	const char *at;

	opts.size = sizeof(opts);
	opts.kv_memory = 0;
	linnet_model_memory(m, &opts, &mem, &err);
	*all = mem.kv;
	opts.kv_memory = 1;
	if (linnet_model_memory(m, &opts, &mem, &err) == -ENOMEM) {
		at = strstr(err.message, "at least ");
		if (at)
			sscanf(at, "at least %llu", &least);
	}
	return least;
}

struct pair {
	struct linnet_session *s[2];	/* all in memory; part of it on a disk */
	size_t n_vocab;
};

static bool both_decode(struct pair *p, const int32_t *text, size_t n)
{
	return !linnet_session_decode(p->s[0], text, n, LINNET_LOGITS_LAST, &err) &&
	       !linnet_session_decode(p->s[1], text, n, LINNET_LOGITS_LAST, &err) &&
	       !memcmp(linnet_session_logits(p->s[0], 0), linnet_session_logits(p->s[1], 0),
		       p->n_vocab * sizeof(float));
}

static bool both_step(struct pair *p, const struct linnet_tokens *in, size_t n)
{
	if (linnet_session_step(p->s[0], in, n, &err) || linnet_session_step(p->s[1], in, n, &err))
		return false;
	for (size_t i = 0; i < n; i++)
		if (memcmp(linnet_session_logits(p->s[0], i), linnet_session_logits(p->s[1], i),
			   p->n_vocab * sizeof(float)))
			return false;
	return true;
}

/* The same random work in both. */
static bool work(struct pair *p, unsigned rounds, uint32_t rng)
{
	static int32_t text[LONG];
	bool ok = true;

	for (unsigned r = 0; r < rounds && ok; r++) {
		uint32_t length, seq, what;

		rng = rng * 1664525 + 1013904223;
		seq = (rng >> 8) % THREE;
		what = (rng >> 16) % 10;
		for (int k = 0; k < 2; k++)
			linnet_session_select(p->s[k], seq);
		length = linnet_session_length(p->s[0]);
		for (int i = 0; i < LONG; i++)
			text[i] = (int32_t)((i + rng) * 2654435761u >> 8) % 400;
		if (what < 5) {
			uint32_t n = 1 + (rng >> 10) % 500;

			ok = length == LONG ||
			     both_decode(p, text, n < LONG - length ? n : LONG - length);
		} else if (what < 7 && length < LONG) {
			struct linnet_tokens in[THREE];
			size_t n = 0;

			for (uint32_t i = 0; i < THREE; i++) {
				linnet_session_select(p->s[0], i);
				if (linnet_session_length(p->s[0]) + 20 <= LONG)
					in[n++] = (struct linnet_tokens){ i, text + i,
									  1 + (rng >> 12) % 20,
									  LINNET_LOGITS_LAST };
			}
			ok = both_step(p, in, n);
		} else if (what < 9) {
			/* seldom by much */
			uint32_t to = length ? length - 1 - (rng >> 9) % (r % 4 ? length < 200 ?
					       length : 200 : length) : 0;

			ok = !linnet_session_truncate(p->s[0], to) &&
			     !linnet_session_truncate(p->s[1], to);
		} else {
			ok = !linnet_session_fork(p->s[0], (rng >> 20) % THREE) &&
			     !linnet_session_fork(p->s[1], (rng >> 20) % THREE);
		}
		if (!ok)
			printf("# round %u, work %u on %u: %s\n", r, what, seq, err.message);
	}
	return ok;
}

static void test_cold(const char *name, enum linnet_kv_type type, unsigned rounds)
{
	struct linnet_session_options opts = { .size = sizeof(opts), .n_ctx = LONG, .n_batch = 128,
					       .n_outputs = THREE, .kv_type = type, .n_seqs = THREE,
					       .kv_dir = dir, .kv_cache = cache };
	struct linnet_model_info info = LINNET_INIT(info);
	struct linnet_memory_info mem = LINNET_INIT(mem);
	struct linnet_model *m = open_model(LINNET_MEMORY_UNLIMITED);
	struct pair p = { 0 };
	uint64_t least, all;
	char command[400];
	bool ok;

	if (!m) {
		test_ok(false, "%s", name);
		return;
	}
	linnet_model_info(m, &info);
	p.n_vocab = info.n_vocab;
	least = least_kv(m, opts, &all);
	test_ok(least && least < all * 2 / 3, "%s: %llu of %llu bytes at least", name,
		(unsigned long long)least, (unsigned long long)all);
	for (int part = 0; part < 2; part++) {
		opts.kv_memory = 0;
		ok = !linnet_session_create(&p.s[0], m, &opts, &err);
		opts.kv_memory = least + part * (all - least) / 6;
		if (ok && linnet_session_create(&p.s[1], m, &opts, &err) == -ENOTSUP) {
			test_skip(name, "the folder for temporary files is in memory (tmpfs)");
			linnet_session_destroy(p.s[0]);
			linnet_model_close(m);
			return;
		}
		ok = ok && p.s[1] && !linnet_model_memory(m, &opts, &mem, &err) &&
		     mem.kv <= opts.kv_memory && mem.kv_disk;
		ok = ok && work(&p, rounds, part ? 12 : 7);
		test_ok(ok && stats_of(p.s[1]).kv_read && stats_of(p.s[1]).kv_written &&
			!stats_of(p.s[0]).kv_read,
			"%s: the same with %llu bytes in memory (%llu written, %llu read)", name,
			(unsigned long long)mem.kv, (unsigned long long)stats_of(p.s[1]).kv_written,
			(unsigned long long)stats_of(p.s[1]).kv_read);
		/* pages come from the disk to be saved, and go there when they are restored */
		ok = ok && !linnet_session_select(p.s[0], 0) && !linnet_session_select(p.s[1], 0);
		for (int k = 0; k < 2 && ok; k++)
			ok = linnet_session_restore(p.s[k], ids, 0, &err) == 0 &&
			     !linnet_session_decode(p.s[k], ids, N, LINNET_LOGITS_NONE, &err);
		ok = ok && !linnet_session_save(p.s[1], &err) &&
		     !linnet_session_truncate(p.s[1], 0) &&
		     linnet_session_restore(p.s[1], ids, N, &err) == 512 &&
		     !linnet_session_decode(p.s[1], ids + 512, N - 512, LINNET_LOGITS_NONE, &err) &&
		     both_decode(&p, ids, 5);
		test_ok(ok, "%s: saved and restored", name);
		for (int k = 0; k < 2; k++)
			linnet_session_destroy(p.s[k]);
		memset(p.s, 0, sizeof(p.s));
		snprintf(command, sizeof(command), "rm -rf %s", cache);
		ok = !system(command);
	}
	opts.kv_memory = least - 1;
	test_ok(linnet_session_create(&p.s[0], m, &opts, &err) == -ENOMEM, "%s: a byte less: %s",
		name, err.message);
	opts.kv_memory = least;
	opts.kv_dir = "/proc/none";
	test_ok(linnet_session_create(&p.s[0], m, &opts, &err) == -ENOENT &&
		strstr(err.message, "/proc/none"), "%s: no such folder: %s", name, err.message);
	linnet_model_close(m);
}

/* The disk is full, and then it is not; reads fail, and then they do not. */
static void test_failing_disk(void)
{
	struct linnet_session_options opts = { .size = sizeof(opts), .n_ctx = LONG, .n_batch = 128,
					       .kv_dir = dir };
	struct linnet_model_info info = LINNET_INIT(info);
	struct linnet_model *m;
	struct pair p = { 0 };
	static int32_t text[LONG];
	unsigned full = 0, broken = 0, wrong = 0;
	uint64_t all;
	int ret;

	no_io_uring = true;
	m = open_model(LINNET_MEMORY_UNLIMITED);
	no_io_uring = false;
	linnet_model_info(m, &info);
	p.n_vocab = info.n_vocab;
	for (int i = 0; i < LONG; i++)
		text[i] = (int32_t)((i + 5) * 2654435761u >> 8) % 400;
	if (linnet_session_create(&p.s[0], m, &opts, &err))
		wrong++;
	opts.kv_memory = least_kv(m, opts, &all);
	if (wrong || linnet_session_create(&p.s[1], m, &opts, &err)) {
		if (err.code == -ENOTSUP)
			test_skip("failing disk",
				  "the folder for temporary files is in memory (tmpfs)");
		else
			test_ok(false, "failing disk: %s", err.message);
		linnet_session_destroy(p.s[0]);
		linnet_model_close(m);
		return;
	}
	for (uint32_t at = 0; at < LONG - 100; at += 100) {
		/* also for what is written ahead; there is room when the call is made again */
		writes_left = 0;
		ret = linnet_session_decode(p.s[1], text + at, 100, LINNET_LOGITS_LAST, &err);
		writes_left = -1;
		if (ret) {
			full++;
			/* what was done stays done, and no more */
			wrong += ret != -ENOSPC || !strstr(err.message, dir) ||
				 linnet_session_length(p.s[1]) != at ||
				 linnet_session_logits(p.s[1], 0);
			ret = linnet_session_decode(p.s[1], text + at, 100, LINNET_LOGITS_LAST,
						    &err);
			wrong += ret != 0;
		}
		ret = linnet_session_decode(p.s[0], text + at, 100, LINNET_LOGITS_LAST, &err);
		wrong += ret || memcmp(linnet_session_logits(p.s[0], 0),
				       linnet_session_logits(p.s[1], 0), p.n_vocab * sizeof(float));
		if (at < 1200 || at % 300)
			continue;
		/* the last token once more, from a disk that cannot be read */
		linnet_session_truncate(p.s[1], at + 99);
		reads_fail = true;
		ret = linnet_session_decode(p.s[1], text + at + 99, 1, LINNET_LOGITS_LAST, &err);
		reads_fail = false;
		broken += ret == -EIO && strstr(err.message, "cannot read the cold part");
		wrong += !ret;
		ret = linnet_session_decode(p.s[1], text + at + 99, 1, LINNET_LOGITS_LAST, &err);
		wrong += ret || memcmp(linnet_session_logits(p.s[0], 0),
				       linnet_session_logits(p.s[1], 0), p.n_vocab * sizeof(float));
	}
	test_ok(full > 2 && !wrong, "a full disk %u times: an error, and the same afterwards",
		full);
	test_ok(broken > 1 && !wrong, "a broken disk %u times: an error, and the same afterwards",
		broken);
	linnet_session_destroy(p.s[0]);
	linnet_session_destroy(p.s[1]);
	linnet_model_close(m);
}

/* A disk that is slow to write: passes go on as long as there is a frame. */
static void test_slow_disk(void)
{
	struct linnet_session_options opts = { .size = sizeof(opts), .n_ctx = LONG, .n_batch = 128,
					       .kv_dir = dir };
	struct linnet_model_info info = LINNET_INIT(info);
	struct pair p = { 0 };
	static int32_t text[LONG];
	struct linnet_model *m;
	unsigned wrong = 0, begun = 0, before = 0;
	uint64_t all;
	bool ok;

	no_io_uring = true;
	m = open_model(LINNET_MEMORY_UNLIMITED);
	no_io_uring = false;
	linnet_model_info(m, &info);
	for (int i = 0; i < LONG; i++)
		text[i] = (int32_t)((i + 3) * 2654435761u >> 8) % 400;
	ok = !linnet_session_create(&p.s[0], m, &opts, &err);
	/* two frames: one for the page that grows */
	opts.kv_memory = least_kv(m, opts, &all);
	if (ok && linnet_session_create(&p.s[1], m, &opts, &err) == -ENOTSUP) {
		test_skip("slow disk", "the folder for temporary files is in memory (tmpfs)");
		linnet_session_destroy(p.s[0]);
		linnet_model_close(m);
		return;
	}
	ok = ok && p.s[1];
	for (uint32_t at = 0; at < LONG - 64 && ok; at += 64) {
		/* no write ends in the passes that a page is filled in */
		if (at % 256 == 0) {
			before = writes_begun;
			writes_wait = true;
		}
		for (int k = 0; k < 2 && ok; k++)
			ok = !linnet_session_decode(p.s[k], text + at, 64, LINNET_LOGITS_LAST,
						    &err);
		wrong += !ok ||
			 memcmp(linnet_session_logits(p.s[0], 0), linnet_session_logits(p.s[1], 0),
				info.n_vocab * sizeof(float));
		if (at % 256 == 192) {
			begun += writes_begun > before;
			writes_wait = false;
			while (writes_ended < writes_begun)
				usleep(1000);
		}
	}
	/* a page that is written when it is forgotten, and a session */
	writes_wait = false;
	test_ok(ok && !wrong && begun > 2,
		"a slow disk: pages are written while passes go on, %u times", begun);
	linnet_session_destroy(p.s[0]);
	linnet_session_destroy(p.s[1]);
	linnet_model_close(m);
}

/*
 * longrope turns positions by other angles in a long context than in a short one, and
 * published files have its factors and no rope.scaling.type.
 */
static void test_longrope(const char *python)
{
	struct linnet_session_options opts = { .kv_cache = cache };
	struct linnet_model *m;
	char command[600];
	int64_t found[3];

	snprintf(command, sizeof(command), "%s tests/tools/make_model.py -o %s --preset phi3-long "
		 "--ctx 1024 --rope-orig-ctx 512 --layers 2 --vocab 400 >/dev/null", python, path);
	m = system(command) ? NULL : open_model(LINNET_MEMORY_UNLIMITED);
	for (size_t i = 0; i < 3; i++) {
		struct linnet_session *s;

		opts.n_ctx = i == 1 ? 513 : 512;
		s = m ? open_session(m, opts) : NULL;
		found[i] = s ? linnet_session_restore(s, ids, 300, &err) : -1;
		if (s && !found[i] &&
		    (linnet_session_decode(s, ids, 300, LINNET_LOGITS_NONE, &err) ||
		     linnet_session_save(s, &err)))
			found[i] = -1;
		linnet_session_destroy(s);
	}
	test_ok(found[0] == 0 && found[1] == 0 && found[2] == 256,
		"longrope: pages of a short context are not those of a long one (%lld, %lld, %lld)",
		(long long)found[0], (long long)found[1], (long long)found[2]);
	linnet_model_close(m);
}

int main(void)
{
	/* slow programs, and what other kernels do again */
	const bool again = getenv("LINNET_SANITIZER") || getenv("LINNET_CPU");
	const unsigned rounds = again ? 15 : getenv("LINNET_TEST_QUICK") ? 40 : 60;
	const char *python = folder_python();
	char command[600];
	int status;

	status = folder_begin(dir);
	if (status)
		return status;
	snprintf(path, sizeof(path), "%s/m.gguf", dir);
	snprintf(cache, sizeof(cache), "%s/cache", dir);
	snprintf(command, sizeof(command),
		 "%s tests/tools/make_model.py -o %s --preset gemma3 --type q8_0 --ctx 4096 "
		 "--layers 7 --vocab 400 --window 100 >/dev/null",
		 python, path);
	if (!test_ok(!system(command), "a model is made"))
		return test_end();
	for (size_t i = 0; i < N; i++)
		ids[i] = (int32_t)((i * 2654435761u >> 7) % 400);
	test_saved("F16", LINNET_KV_F16, false);
	test_saved("Q8_0", LINNET_KV_Q8_0, false);
	test_saved("F32, weights streamed", LINNET_KV_F32, true);
	test_sequences("F16", LINNET_KV_F16, false);
	test_sequences("Q8_0", LINNET_KV_Q8_0, false);
	test_sequences("F32, weights streamed", LINNET_KV_F32, true);
	test_cold("F16 on a disk", LINNET_KV_F16, rounds);
	test_cold("Q4_0 on a disk", LINNET_KV_Q4_0, rounds);
	test_failing_disk();
	test_slow_disk();
	test_longrope(python);
	return folder_end(dir);
}
