// SPDX-License-Identifier: MIT
/*
 * linnet_model_idle() on an engine that gives memory in pieces, any of which may be gone when
 * the model is used again: results stay the same to the bit, what is there is not read, and what
 * is gone comes back.
 */
#include "tests/model/folder.h"
#include "tests/model/pieces.h"
#include "tests/model/run.h"

#include <errno.h>

#define TOKENS 24

static char dir[] = "/tmp/linnet-idle-XXXXXX";
static char path[128];
static bool sanitized;

static bool open_with(struct run *r, uint64_t memory, uint32_t n_batch, bool verify,
		      void (*opened)(struct linnet_model *m))
{
	struct linnet_model_options mo = LINNET_INIT(mo);
	struct linnet_session_options so = LINNET_INIT(so);

	*r = (struct run){ .n_tokens = TOKENS, .n_first = n_batch, .n_each = n_batch };
	mo.engine = "host";
	mo.n_threads = 2;
	mo.memory_bytes = memory;
	mo.verify = verify;
	so.n_ctx = TOKENS + 8;
	so.n_batch = n_batch;
	return run_open(r, path, &mo, &so, opened);
}

static bool open_run(struct run *r, uint64_t memory, uint32_t n_batch)
{
	return open_with(r, memory, n_batch, false, pieces_use);
}

static uint64_t purged(const struct run *r)
{
	struct linnet_stats st = LINNET_INIT(st);

	linnet_session_stats(r->s, &st);
	return st.purged_bytes;
}

/* Idle, and pieces are lost as the bits say when the text comes. */
static bool nap(struct run *r, uint64_t lost, const float *want, float *got)
{
	pieces.n_woken = pieces.n_lost = 0;
	pieces.lost = lost;
	return !linnet_model_idle(r->m, &err) && pieces.n_idle && run_gives(r, want, got) &&
	       !pieces.n_idle && !pieces.n_wrong;
}

/* memory: as a part of what is between the least and all, in quarters. */
static void test_naps(unsigned memory, uint32_t chunk, const float *want, float *got)
{
	static const uint64_t lost[] = { ~0ull, 1, 2, 1ull << 5, 0x5555555555555555, 0xf0f0f0f0 };
	uint64_t was, read;
	int64_t pass;
	struct run r;
	unsigned jobs, n_lost = 0;
	bool ok;

	if (!open_run(&r, LINNET_MEMORY_UNLIMITED, chunk))
		return;
	if (memory < 4) {
		const uint64_t bytes = r.least + (r.all - r.least) * memory / 4;

		run_close(&r);
		if (!open_run(&r, bytes, chunk))
			return;
	}
	pass = run_reads(&r, want, got);
	jobs = pieces.n_jobs;
	was = run_bytes_read(&r);
	ok = pass >= 0 && nap(&r, 0, want, got);
	read = run_bytes_read(&r) - was;
	jobs = pieces.n_jobs - jobs;
	/* one that streams may have read less or more ahead */
	test_ok(ok && !purged(&r) && (memory < 4 || (!read && !pass)) &&
		(chunk > 1 || memory < 4 || jobs == TOKENS),
		"%s, %u quarters of memory, %u tokens a pass: nothing was lost, %llu KiB are read "
		"by %u jobs, %lld KiB usually", strrchr(path, '/') + 1, memory, chunk,
		(unsigned long long)read >> 10, jobs, (long long)pass / 1024);
	for (unsigned i = 0; i < sizeof(lost) / sizeof(*lost) && ok; i++) {
		was = purged(&r);
		ok = nap(&r, lost[i], want, got);
		n_lost += pieces.n_lost;
		ok = ok && (pieces.n_lost || purged(&r) == was);
	}
	test_ok(ok && n_lost && purged(&r) && (memory < 4 || !run_reads(&r, want, got)),
		"and %u pieces were: %llu KiB%s%s", n_lost, (unsigned long long)purged(&r) >> 10,
		ok ? "" : ": ", ok ? "" : err.message);
	run_close(&r);
}

/* What else may happen to a model that is idle. */
static void test_meanwhile(const float *want, float *got)
{
	struct linnet_session_options so = LINNET_INIT(so);
	struct linnet_session *second;
	struct run r;
	uint64_t least;
	int ret;
	bool ok;

	/* reads are under way */
	if (!open_with(&r, LINNET_MEMORY_UNLIMITED, TOKENS / 3, true, pieces_use))
		return;
	ok = nap(&r, ~0ull, want, got) && nap(&r, 0x3333333333333333, want, got);
	test_ok(ok && purged(&r), "at once; and checksums are those of the first time%s%s",
		ok ? "" : ": ", ok ? "" : err.message);

	so.n_ctx = so.n_batch = 8;
	pieces.lost = 0xaaaaaaaaaaaaaaaa;
	ok = !linnet_model_idle(r.m, &err) && !linnet_session_create(&second, r.m, &so, &err);
	if (ok)
		linnet_session_destroy(second);
	test_ok(ok && pieces.n_idle && run_gives(&r, want, got),
		"another session came and went meanwhile");

	/* the one that fails comes later each time */
	for (pieces.idle_fails = 1; ok && pieces.idle_fails < PIECES_MOST; pieces.idle_fails++) {
		ret = linnet_model_idle(r.m, &err);
		if (!ret)
			break;
		ok = ret == -EBUSY && !pieces.n_idle && run_gives(&r, want, got);
	}
	test_ok(ok && pieces.idle_fails > 2, "%u times it failed, and nothing was idle",
		pieces.idle_fails - 1);
	pieces.idle_fails = 0;

	/* others have the memory when it is wanted again */
	ok = ok && !linnet_model_set_memory(r.m, r.least, &err) && run_gives(&r, want, got);
	least = pieces.taken;
	pieces.n_refused = 0;
	for (unsigned i = 0; i < 4 && ok; i++) {
		pieces.most = 0;
		ok = !linnet_model_set_memory(r.m, r.all, &err) && run_gives(&r, want, got);
		pieces.most = least + (pieces.taken - least) * i / 4;
		ok = ok && nap(&r, ~0ull, want, got) && run_gives(&r, want, got);
	}
	test_ok(ok && pieces.n_refused, "there is no memory for %u pieces: the same logits%s%s",
		pieces.n_refused, ok ? "" : ": ", ok ? "" : err.message);
	pieces.most = 0;
	ok = nap(&r, 0, want, got) && !run_reads(&r, want, got);
	test_ok(ok, "after another time there is");
	linnet_model_idle(r.m, &err);
	run_close(&r);
	test_ok(!pieces.taken && !pieces.n_wrong, "closed while it is idle");
}

struct napper {
	struct run *r;
	_Atomic bool stop;
	unsigned n;
	int failed;
};

static void *naps(void *arg)
{
	struct napper *n = arg;

	while (!n->stop) {
		const int ret = linnet_model_idle(n->r->m, NULL);

		n->n += !ret;
		if (ret && ret != -EBUSY)
			n->failed = ret;
		usleep(500);
	}
	return NULL;
}

/* Idle whenever nobody decodes, while texts and budgets come and go. */
static void test_threads(const float *want, float *got)
{
	struct run_shaker shaker = { .pause_us = 3000, .most = 3000 };
	struct napper napper = { 0 };
	pthread_t thread[2];
	double until;
	struct run r;
	unsigned n;
	bool ok = true;

	if (!open_run(&r, LINNET_MEMORY_UNLIMITED, TOKENS / 3))
		return;
	pieces.lost = 0x123456789abcdef;
	napper.r = shaker.r = &r;
	if (pthread_create(&thread[0], NULL, naps, &napper) ||
	    pthread_create(&thread[1], NULL, run_shake, &shaker))
		abort();
	until = run_now() + (sanitized ? 3 : 2);
	for (n = 0; ok && (run_now() < until || n < 2); n++) {
		ok = run_gives(&r, want, got);
		usleep(5000);
	}
	napper.stop = shaker.stop = true;
	pthread_join(thread[0], NULL);
	pthread_join(thread[1], NULL);
	test_ok(ok && !napper.failed && !shaker.failed && napper.n > 2 && !pieces.n_wrong,
		"%u texts, idle %u times and with %u budgets: the same logits", n, napper.n,
		shaker.n);
	run_close(&r);
}

static void test_refused(void)
{
	struct linnet_model_options mo = LINNET_INIT(mo);
	struct linnet_model *m;
	struct run r;
	int ret;

	if (!open_with(&r, LINNET_MEMORY_UNLIMITED, TOKENS, false, NULL))
		return;
	ret = linnet_model_idle(r.m, &err);
	test_ok(ret == -EOPNOTSUPP && strstr(err.message, "host"), "the host: %s", err.message);
	run_close(&r);
	mo.vocab_only = true;
	ret = linnet_model_open(&m, path, &mo, &err);
	if (!ret) {
		ret = linnet_model_idle(m, &err);
		linnet_model_close(m);
	}
	test_ok(ret == -EINVAL, "a vocabulary alone: %s", err.message);
	mo = (struct linnet_model_options)LINNET_INIT(mo);
	mo.engine = "host";
	mo.share_dir = dir;
	ret = linnet_model_open(&m, path, &mo, &err);
	if (!ret) {
		pieces_use(m);
		ret = linnet_model_idle(m, &err);
		linnet_model_close(m);
	}
	test_ok(ret == -EOPNOTSUPP, "what is shared: %s", err.message);
}

static void test_model(const char *python, const char *name, const char *options)
{
	char command[512];
	struct run plain;
	float *want, *got;

	snprintf(path, sizeof(path), "%s/%s.gguf", dir, name);
	snprintf(command, sizeof(command), "%s tests/tools/make_model.py %s -o %s >/dev/null",
		 python, options, path);
	if (!test_ok(!system(command), "a model is made: %s", name))
		return;
	for (uint32_t chunk = 1; chunk <= TOKENS / 3; chunk += TOKENS / 3 - 1) {
		if (!open_with(&plain, LINNET_MEMORY_UNLIMITED, chunk, false, NULL))
			return;
		want = run_logits(&plain);
		got = run_logits(&plain);
		if (!run_decode(&plain, want))
			abort();
		run_close(&plain);
		for (unsigned memory = 0; memory <= 4; memory += 2)
			test_naps(memory, chunk, want, got);
		if (chunk > 1) {
			test_meanwhile(want, got);
			test_threads(want, got);
		}
		free(want);
		free(got);
	}
}

int main(void)
{
	const char *python = folder_python();
	int status = folder_begin(dir);

	if (status)
		return status;
	sanitized = getenv("LINNET_SANITIZER");
	/* a pager that hangs must not hang the suite */
	alarm(600);
	test_model(python, "dense", "--preset llama --layers 6 --embd 256 --heads 8 --kv-heads 2 "
		   "--ff 512 --vocab 2048 --no-tied --type q8_0");
	test_model(python, "moe", "--preset qwen3moe --layers 4 --experts 16 --type q4_k");
	test_refused();
	return folder_end(dir);
}
