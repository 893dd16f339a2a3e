// SPDX-License-Identifier: MIT
/*
 * linnet_model_set_memory(): a budget that shrinks and grows while a model runs. Memory is
 * really given back, soon, between decodes and in the midst of them; results stay the same
 * to the bit; what cannot work is refused.
 */
#include "tests/model/folder.h"
#include "tests/model/pieces.h"
#include "tests/model/run.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define TOKENS 96

static char dir[] = "/tmp/linnet-memory-XXXXXX";
static char path[128];
static bool sanitized;

/* Resident memory of this process. */
static uint64_t resident(void)
{
	unsigned long long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (!f || fscanf(f, "%*s %llu", &pages) != 1)
		abort();
	fclose(f);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static const char *share_dir;	/* the models of a test have their weights together */
static bool no_io_uring;	/* of those that are shaken */
static bool in_pieces;		/* their engine gives memory in pieces, as a device does */

static bool open_with(struct run *r, uint64_t memory, uint32_t n_batch, bool threads)
{
	struct linnet_model_options mo = LINNET_INIT(mo);
	struct linnet_session_options so = LINNET_INIT(so);

	*r = (struct run){ .n_tokens = TOKENS, .n_first = n_batch, .n_each = n_batch };
	mo.n_threads = 2;
	mo.memory_bytes = memory;
	mo.share_dir = share_dir;
	mo.no_io_uring = threads;
	so.n_ctx = TOKENS + 8;
	so.n_batch = n_batch;
	return run_open(r, path, &mo, &so, in_pieces ? pieces_use : NULL);
}

static bool open_run(struct run *r, uint64_t memory, uint32_t n_batch)
{
	return open_with(r, memory, n_batch, false);
}

static void test_same(uint32_t chunk)
{
	struct run plain, shaken;
	float *want, *got;
	unsigned budgets;
	int runs;

	if (!open_run(&plain, LINNET_MEMORY_UNLIMITED, chunk) ||
	    !open_with(&shaken, LINNET_MEMORY_UNLIMITED, chunk, no_io_uring))
		return;
	want = run_logits(&plain);
	got = run_logits(&plain);
	if (!run_decode(&plain, want))
		abort();
	runs = run_shaken(&shaken, want, got, sanitized ? 3 : 2, 3000, &budgets);
	test_ok(runs > 0 && budgets > 10,
		"%s, %u tokens a pass%s%s%s: the same logits in %d runs with %u budgets",
		strrchr(path, '/') + 1, chunk, share_dir ? ", shared" : "",
		no_io_uring ? ", read by threads" : "", in_pieces ? ", in pieces" : "", runs,
		budgets);
	free(want);
	free(got);
	run_close(&plain);
	run_close(&shaken);
}

/* Time until the process has so much less memory than `from`; -1: it took too long. */
static double wait_for(uint64_t from, uint64_t less)
{
	double start = run_now();

	while (run_now() < start + 5) {
		if (resident() + less < from)
			return run_now() - start;
		usleep(200);
	}
	return -1;
}

/* A model that has given memory back, and has more than `most` when it has got it again. */
static void test_come_back(struct run *r, float *logits, uint64_t most)
{
	uint64_t bytes_read = run_bytes_read(r);
	int ret = linnet_model_set_memory(r->m, r->all, &err);

	test_ok(!ret && run_decode(r, logits) && resident() > most, "and they come back");
	test_ok(run_bytes_read(r) - bytes_read < r->all, "by reading them once");
	bytes_read = run_bytes_read(r);
	run_decode(r, logits);
	test_ok(run_bytes_read(r) == bytes_read, "then they stay");

	ret = linnet_model_set_memory(r->m, r->least - 1, &err);
	test_ok(ret == -ENOMEM && strstr(err.message, "at least"),
		"less than the least: %s", strrchr(err.message, '/'));
	test_ok(linnet_model_set_memory(r->m, LINNET_MEMORY_UNLIMITED, &err) == 0 &&
		linnet_model_set_memory(r->m, 0, &err) == 0, "no budget, and an automatic one");
}

/*
 * level: of the kernels, NULL: the best. Plain C computes a layer for half a second, as others
 * do those of large models for long prompts: then it shows what jobs keep for themselves.
 */
static void test_give_back(const char *level)
{
	struct run_worker w = { 0 };
	uint64_t all, before, after, shrink;
	pthread_t thread;
	struct run r;
	double took, worst = 0;
	unsigned n_soon = 0, n_all = 0;
	char *was = getenv("LINNET_CPU");
	int ret;

	was = was ? strdup(was) : NULL;
	if (level)
		setenv("LINNET_CPU", level, 1);
	ret = open_run(&r, LINNET_MEMORY_UNLIMITED, TOKENS);
	if (was)
		setenv("LINNET_CPU", was, 1);
	else
		unsetenv("LINNET_CPU");
	free(was);
	if (!ret)
		return;
	w.r = &r;
	w.logits = run_logits(&r);
	if (!run_decode(&r, w.logits))
		abort();
	/* the rest is what the ring takes, a larger part of the small models of sanitizers */
	shrink = sanitized ? (r.all - r.least) * 2 / 3 : (r.all - r.least) * 3 / 4;

	all = before = resident();
	ret = linnet_model_set_memory(r.m, r.least, &err);
	after = resident();
	test_ok(!ret && after + shrink < before, "no decode runs: %llu of %llu MiB are left",
		(unsigned long long)after >> 20, (unsigned long long)before >> 20);
	if (!level)
		test_come_back(&r, w.logits, after + shrink);
	linnet_model_set_memory(r.m, r.all, NULL);

	if (pthread_create(&thread, NULL, run_work, &w))
		abort();
	for (int i = 0; i < (sanitized ? 2 : 8); i++) {
		/* grown again, with all weights in memory: a sanitizer has memory of its own */
		while ((sanitized ? w.runs <= (unsigned)i : resident() + shrink / 16 < all) &&
		       !w.failed)
			usleep(1000);
		usleep(30000u + 17000u * (unsigned)i);
		before = resident();
		if (linnet_model_set_memory(r.m, r.least, NULL))
			break;
		took = wait_for(before, shrink);
		worst = took < 0 ? 1e9 : took > worst ? took : worst;
		n_soon += took >= 0 && took < 0.1;
		n_all++;
		linnet_model_set_memory(r.m, r.all, NULL);
	}
	w.stop = true;
	pthread_join(thread, NULL);
	/* within 100 ms; a machine that does something else may take longer now and then */
	test_ok(!w.failed && (sanitized || (worst < 0.5 && n_soon > n_all / 2)),
		"decodes run%s%s: given back within 100 ms %u times of %u, at most %.1f ms",
		level ? ", kernels of " : "", level ? level : "", n_soon, n_all, worst * 1e3);
	free(w.logits);
	run_close(&r);
}

/* A second session takes from the weights, and gives back. */
static void test_two_sessions(void)
{
	struct linnet_session_options so = LINNET_INIT(so);
	struct linnet_session *second;
	struct run probe, r;
	uint64_t budget;
	float *want, *got;
	int ret;

	if (!open_run(&probe, LINNET_MEMORY_UNLIMITED, TOKENS))
		return;
	budget = (probe.least + probe.all) / 2;
	want = run_logits(&probe);
	got = run_logits(&probe);
	if (!run_decode(&probe, want) ||
	    !open_run(&r, budget, TOKENS) || !run_decode(&r, got))
		abort();
	so.n_ctx = TOKENS;
	so.n_batch = 8;
	test_ok(!linnet_session_create(&second, r.m, &so, &err),
		"a second session in a small budget");
	test_ok(run_gives(&r, want, got),
		"the first one goes on");
	linnet_session_destroy(second);
	test_ok(run_gives(&r, want, got),
		"also when the second is gone");
	/* a session that leaves nothing for the weights */
	so.n_ctx = 1 << 20;
	ret = linnet_session_create(&second, r.m, &so, &err);
	test_ok(ret == -ENOMEM, "one that is too large: %s",
		strrchr(err.message, '/'));
	test_ok(run_gives(&r, want, got),
		"and nothing has changed");
	free(want);
	free(got);
	run_close(&probe);
	run_close(&r);
}

/*
 * An engine that gives memory in pieces: budgets change in the midst of decodes; there may be
 * less memory than the budget says, and then what grows stays streamed.
 */
static void test_pieces(uint32_t chunk)
{
	const size_t n = TOKENS / chunk;
	struct run plain, r;
	float *want, *got;
	unsigned jobs;
	uint64_t least, full;
	bool ok;

	if (!open_run(&plain, LINNET_MEMORY_UNLIMITED, chunk))
		return;
	want = run_logits(&plain);
	got = run_logits(&plain);
	if (!run_decode(&plain, want))
		abort();
	in_pieces = true;
	test_same(chunk);
	test_ok(!pieces.n_wrong && !pieces.taken,
		"%u pieces were taken; jobs were bound to what was there, and none is left",
		pieces.n_taken);
	if (!open_run(&r, LINNET_MEMORY_UNLIMITED, chunk))
		return;
	ok = !linnet_model_load(r.m, NULL, NULL, &err) && run_decode(&r, got);
	jobs = pieces.n_jobs;
	ok = ok && run_decode(&r, got);
	jobs = pieces.n_jobs - jobs;
	full = pieces.taken;
	test_ok(ok && !memcmp(want, got, run_logits_bytes(&r)) &&
		(chunk > 1 || jobs == n),
		"%u jobs for %zu passes when all are in memory", jobs, n);
	ok = !linnet_model_set_memory(r.m, r.least, &err);
	least = pieces.taken;
	for (unsigned i = 0; i < 8 && ok; i += chunk > 1 ? 1 : 3) {
		/* more of it each time, but never all */
		pieces.most = least + (r.all - r.least) * i / 12 + (1 << 20);
		ok = !linnet_model_set_memory(r.m, i % 4 ? r.all : r.least, &err) &&
		     run_gives(&r, want, got);
	}
	test_ok(ok && pieces.n_refused, "there is no memory to grow, %u times: %s",
		pieces.n_refused, ok ? "what there is not is streamed" : err.message);
	/* nobody says so when there is */
	pieces.most = 0;
	for (double start = run_now(); ok && pieces.taken != full && run_now() < start + 30;)
		ok = run_gives(&r, want, got);
	for (int i = 0; i < 2; i++) {
		jobs = pieces.n_jobs;
		ok = ok && run_decode(&r, got);
		jobs = pieces.n_jobs - jobs;
	}
	test_ok(ok && !memcmp(want, got, run_logits_bytes(&r)) &&
		(chunk > 1 || jobs == n) && !pieces.n_wrong,
		"when there is, it is noticed: %u jobs for %zu passes", jobs, n);
	run_close(&r);
	in_pieces = false;
	pieces.n_refused = pieces.n_taken = 0;
	free(want);
	free(got);
	run_close(&plain);
}

/*
 * Two that have their weights together, in pieces: what one gives up and the other has comes back,
 * there may be no memory for it, and what both have read is exchanged for one copy.
 */
static void test_shared_pieces(const char *folder)
{
	struct run plain, r[2];
	float *want, *got;
	bool ok = true;

	if (!open_run(&plain, LINNET_MEMORY_UNLIMITED, TOKENS))
		return;
	want = run_logits(&plain);
	got = run_logits(&plain);
	if (!run_decode(&plain, want))
		abort();
	in_pieces = true;
	share_dir = folder;
	ok = open_run(&r[0], LINNET_MEMORY_UNLIMITED, TOKENS) &&
	     open_run(&r[1], LINNET_MEMORY_UNLIMITED, TOKENS);
	for (unsigned i = 0; i < 12 && ok; i++) {
		struct run *one = &r[i % 2];

		/* the second that grows finds less than it wants, at times */
		pieces.most = i % 5 == 4 ? pieces.taken + (one->all - one->least) / 3 : 0;
		ok = !linnet_model_set_memory(one->m, i % 3 == 1 ? one->least : one->all, &err);
		for (int j = 0; j < 2 && ok; j++) {
			ok = run_gives(&r[j], want, got);
		}
	}
	pieces.most = 0;
	run_close(&r[0]);
	run_close(&r[1]);
	test_ok(ok && !pieces.n_wrong && !pieces.taken,
		"two share pieces and give them up: the same logits, and none is left");
	in_pieces = false;
	share_dir = NULL;
	free(want);
	free(got);
	run_close(&plain);
}

/* A limit on address space: what cannot be reserved is not used, and nothing breaks. */
static void test_no_space(void)
{
	struct rlimit old, now = { 0 };
	uint32_t chunk = TOKENS / 3;
	struct run plain, r;
	float *want, *got;
	bool ok = true;

	if (sanitized) {
		test_skip("limited address space", "sanitizers take terabytes of it");
		return;
	}
	if (getrlimit(RLIMIT_AS, &old) || !open_run(&plain, LINNET_MEMORY_UNLIMITED, chunk))
		return;
	want = run_logits(&plain);
	got = run_logits(&plain);
	if (!run_decode(&plain, want))
		abort();
	now.rlim_cur = 16ull << 30;
	now.rlim_max = old.rlim_max;
	if (setrlimit(RLIMIT_AS, &now))
		abort();
	for (int i = 0; i < 3 && ok; i++) {
		/* all of it, half of it, the least */
		ok = open_run(&r, plain.least + (plain.all - plain.least) * (uint64_t)(2 - i) / 2,
			      chunk) && run_gives(&r, want, got);
		for (int j = 0; j < 4 && ok; j++) {
			uint64_t budget = j % 2 ? plain.all : r.least;

			ok = !linnet_model_set_memory(r.m, budget, &err) &&
			     run_gives(&r, want, got);
		}
		run_close(&r);
	}
	setrlimit(RLIMIT_AS, &old);
	test_ok(ok, "%s: a limit on address space: %s", strrchr(path, '/') + 1,
		ok ? "the same" : err.message);
	free(want);
	free(got);
	run_close(&plain);
}

static bool make_model(const char *python, const char *name, const char *options)
{
	char command[512];

	snprintf(path, sizeof(path), "%s/%s.gguf", dir, name);
	snprintf(command, sizeof(command), "%s tests/tools/make_model.py %s -o %s >/dev/null",
		 python, options, path);
	return test_ok(!system(command), "a model is made: %s", name);
}

int main(void)
{
	const char *python = folder_python();
	int status;

	sanitized = getenv("LINNET_SANITIZER");
	status = folder_begin(dir);
	if (status)
		return status;
	/* a pager that hangs must not hang the suite */
	alarm(800);
	if (make_model(python, "moe", "--preset qwen3moe --layers 4 --experts 24 --type q4_k")) {
		test_same(1);
		test_same(TOKENS / 3);
		no_io_uring = true;
		test_same(1);
		no_io_uring = false;
		test_pieces(1);
		test_no_space();
	}
	/* what lies in memory for good, as embeddings do that are the output, too, must not
	 * keep the rest */
	if (make_model(python, "tied", sanitized ? "--layers 4 --embd 256 --ff 1024 --heads 8 "
		       "--kv-heads 2 --vocab 2048 --tied --type q8_0" :
		       "--layers 12 --embd 512 --ff 2048 --heads 8 --kv-heads 2 "
		       "--vocab 4096 --tied --type q8_0"))
		test_give_back(NULL);
	if (make_model(python, "dense", sanitized ? "--layers 4 --embd 256 --ff 1024 --heads 8 "
		       "--kv-heads 2 --vocab 2048 --no-tied --type q8_0" :
		       "--layers 12 --embd 512 --ff 2048 --heads 8 --kv-heads 2 "
		       "--vocab 4096 --no-tied --type q8_0")) {
		test_give_back(NULL);
		if (!sanitized)
			test_give_back("ref");
		share_dir = dir;
		test_same(1);
		share_dir = NULL;
		test_shared_pieces(dir);
		test_same(1);
		test_same(TOKENS / 3);
		no_io_uring = true;
		test_same(1);
		no_io_uring = false;
		test_pieces(1);
		test_pieces(TOKENS / 3);
		test_two_sessions();
		test_no_space();
	}
	return folder_end(dir);
}
