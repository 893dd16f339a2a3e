// SPDX-License-Identifier: MIT
/*
 * linnet_model_set_memory(): a budget that shrinks and grows while a model runs. Memory is
 * really given back, soon, between decodes and in the midst of them; results stay the same
 * to the bit; what cannot work is refused.
 */
#include "tests/model/folder.h"
#include "tests/model/pieces.h"
#include "tests/test.h"

#include <linnet/linnet.h>

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define TOKENS 96

static char dir[] = "/tmp/linnet-memory-XXXXXX";
static char path[128];
static struct linnet_error err;
static bool sanitized;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

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

struct run {
	struct linnet_model *m;
	struct linnet_session *s;
	uint32_t n_vocab;
	uint64_t least, all;
};

static const char *share_dir;	/* the models of a test have their weights together */
static bool no_io_uring;	/* of those that are shaken */
static bool in_pieces;		/* their engine gives memory in pieces, as a device does */

static bool open_with(struct run *r, uint64_t memory, uint32_t n_batch, bool threads)
{
	struct linnet_model_options mo = LINNET_INIT(mo);
	struct linnet_session_options so = LINNET_INIT(so);
	struct linnet_model_info info = LINNET_INIT(info);
	struct linnet_memory_info mem = LINNET_INIT(mem);
	struct linnet_plan *plan = NULL;
	int ret;

	memset(r, 0, sizeof(*r));
	mo.n_threads = 2;
	mo.memory_bytes = memory;
	mo.share_dir = share_dir;
	mo.no_io_uring = threads;
	so.n_ctx = TOKENS + 8;
	so.n_batch = n_batch;
	ret = linnet_model_open(&r->m, path, &mo, &err);
	if (!ret && in_pieces)
		pieces_use(r->m);
	if (!ret)
		ret = linnet_plan_create(&plan, r->m, &so, &err);
	if (!ret) {
		linnet_plan_memory(plan, &mem);
		r->least = linnet_plan_least(plan);
		r->all = mem.total;
		linnet_plan_destroy(plan);
		ret = linnet_session_create(&r->s, r->m, &so, &err);
	}
	if (ret)
		return test_ok(false, "%s: %s", path, err.message);
	linnet_model_info(r->m, &info);
	r->n_vocab = info.n_vocab;
	return true;
}

static bool open_run(struct run *r, uint64_t memory, uint32_t n_batch)
{
	return open_with(r, memory, n_batch, false);
}

static void close_run(struct run *r)
{
	linnet_session_destroy(r->s);
	linnet_model_close(r->m);
}

/* Decode TOKENS tokens, chunk at a time, logits of each chunk's last one to `logits`. */
static bool decode(struct run *r, uint32_t chunk, float *logits)
{
	int32_t ids[TOKENS];

	linnet_session_truncate(r->s, 0);
	for (uint32_t i = 0; i < TOKENS; i++)
		ids[i] = (int32_t)((i * 2654435761u >> 7) % r->n_vocab);
	for (uint32_t i = 0; i < TOKENS; i += chunk) {
		if (linnet_session_decode(r->s, ids + i, chunk, LINNET_LOGITS_LAST, &err)) {
			printf("# %s\n", err.message);
			return false;
		}
		memcpy(logits + (size_t)i / chunk * r->n_vocab, linnet_session_logits(r->s, 0),
		       r->n_vocab * sizeof(float));
	}
	return true;
}

/* Change the budget again and again, until told to stop; hardly a pass gets on meanwhile. */
#define SHAKES 3000

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

	while (!s->stop && s->n < SHAKES) {
		uint64_t bytes;

		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		bytes = s->r->least + x % (s->r->all - s->r->least + (s->r->all >> 3));
		s->failed |= linnet_model_set_memory(s->r->m, x % 5 ? bytes : s->r->least, NULL);
		s->n++;
		usleep(x % 3000);
	}
	s->failed |= linnet_model_set_memory(s->r->m, s->r->all, NULL);
	return NULL;
}

static void test_same(uint32_t chunk)
{
	const size_t n = TOKENS / chunk;
	struct shaker shaker = { 0 };
	struct run plain, shaken;
	float *want, *got;
	pthread_t thread;
	double until;
	unsigned runs = 0;
	bool ok = true;

	if (!open_run(&plain, LINNET_MEMORY_UNLIMITED, chunk) ||
	    !open_with(&shaken, LINNET_MEMORY_UNLIMITED, chunk, no_io_uring))
		return;
	want = calloc(n * plain.n_vocab, sizeof(float));
	got = calloc(n * plain.n_vocab, sizeof(float));
	if (!want || !got || !decode(&plain, chunk, want))
		abort();
	shaker.r = &shaken;
	if (pthread_create(&thread, NULL, shake, &shaker))
		abort();
	for (until = now() + (sanitized ? 3 : 2); ok && (now() < until || runs < 2); runs++) {
		memset(got, 0, n * plain.n_vocab * sizeof(float));
		ok = decode(&shaken, chunk, got) &&
		     !memcmp(want, got, n * plain.n_vocab * sizeof(float));
	}
	shaker.stop = true;
	pthread_join(thread, NULL);
	test_ok(ok && !shaker.failed && shaker.n > 10,
		"%s, %u tokens a pass%s%s%s: the same logits in %u runs with %u budgets",
		strrchr(path, '/') + 1, chunk, share_dir ? ", shared" : "",
		no_io_uring ? ", read by threads" : "", in_pieces ? ", in pieces" : "", runs,
		shaker.n);
	free(want);
	free(got);
	close_run(&plain);
	close_run(&shaken);
}

/* Decodes go on in a thread of their own. */
struct worker {
	struct run *r;
	float *logits;
	_Atomic bool stop, failed;
	_Atomic unsigned runs;
};

static void *work(void *arg)
{
	struct worker *w = arg;

	while (!w->stop && !w->failed) {
		w->failed = !decode(w->r, TOKENS, w->logits);
		w->runs++;
	}
	return NULL;
}

/* Time until the process has so much less memory than `from`; -1: it took too long. */
static double wait_for(uint64_t from, uint64_t less)
{
	double start = now();

	while (now() < start + 5) {
		if (resident() + less < from)
			return now() - start;
		usleep(200);
	}
	return -1;
}

/* A model that has given memory back, and has more than `most` when it has got it again. */
static void test_come_back(struct run *r, float *logits, uint64_t most)
{
	struct linnet_stats st = LINNET_INIT(st);
	uint64_t bytes_read;
	int ret;

	ret = linnet_model_set_memory(r->m, r->all, &err);
	linnet_session_stats(r->s, &st);
	bytes_read = st.bytes_read;
	test_ok(!ret && decode(r, TOKENS, logits) && resident() > most,
		"and they come back");
	linnet_session_stats(r->s, &st);
	test_ok(st.bytes_read - bytes_read < r->all, "by reading them once");
	bytes_read = st.bytes_read;
	decode(r, TOKENS, logits);
	linnet_session_stats(r->s, &st);
	test_ok(st.bytes_read == bytes_read, "then they stay");

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
	struct worker w = { 0 };
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
	w.logits = calloc(r.n_vocab, sizeof(float));
	if (!w.logits || !decode(&r, TOKENS, w.logits))
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

	if (pthread_create(&thread, NULL, work, &w))
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
	close_run(&r);
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
	want = calloc(probe.n_vocab, sizeof(float));
	got = calloc(probe.n_vocab, sizeof(float));
	if (!want || !got || !decode(&probe, TOKENS, want) ||
	    !open_run(&r, budget, TOKENS) || !decode(&r, TOKENS, got))
		abort();
	so.n_ctx = TOKENS;
	so.n_batch = 8;
	test_ok(!linnet_session_create(&second, r.m, &so, &err),
		"a second session in a small budget");
	test_ok(decode(&r, TOKENS, got) && !memcmp(want, got, probe.n_vocab * sizeof(float)),
		"the first one goes on");
	linnet_session_destroy(second);
	test_ok(decode(&r, TOKENS, got) && !memcmp(want, got, probe.n_vocab * sizeof(float)),
		"also when the second is gone");
	/* a session that leaves nothing for the weights */
	so.n_ctx = 1 << 20;
	ret = linnet_session_create(&second, r.m, &so, &err);
	test_ok(ret == -ENOMEM, "one that is too large: %s",
		strrchr(err.message, '/'));
	test_ok(decode(&r, TOKENS, got) && !memcmp(want, got, probe.n_vocab * sizeof(float)),
		"and nothing has changed");
	free(want);
	free(got);
	close_run(&probe);
	close_run(&r);
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
	uint64_t least;
	bool ok;

	if (!open_run(&plain, LINNET_MEMORY_UNLIMITED, chunk))
		return;
	want = calloc(n * plain.n_vocab, sizeof(float));
	got = calloc(n * plain.n_vocab, sizeof(float));
	if (!want || !got || !decode(&plain, chunk, want))
		abort();
	in_pieces = true;
	test_same(chunk);
	test_ok(!pieces.n_wrong && !pieces.taken,
		"%u pieces were taken; jobs were bound to what was there, and none is left",
		pieces.n_taken);
	if (!open_run(&r, LINNET_MEMORY_UNLIMITED, chunk))
		return;
	ok = !linnet_model_load(r.m, NULL, NULL, &err) && decode(&r, chunk, got);
	jobs = pieces.n_jobs;
	ok = ok && decode(&r, chunk, got);
	jobs = pieces.n_jobs - jobs;
	test_ok(ok && !memcmp(want, got, n * r.n_vocab * sizeof(float)) &&
		(chunk > 1 || jobs == n),
		"%u jobs for %zu passes when all are in memory", jobs, n);
	ok = !linnet_model_set_memory(r.m, r.least, &err);
	least = pieces.taken;
	for (unsigned i = 0; i < 8 && ok; i += chunk > 1 ? 1 : 3) {
		/* more of it each time, but never all */
		pieces.most = least + (r.all - r.least) * i / 12 + (1 << 20);
		memset(got, 0, n * r.n_vocab * sizeof(float));
		ok = !linnet_model_set_memory(r.m, i % 4 ? r.all : r.least, &err) &&
		     decode(&r, chunk, got) &&
		     !memcmp(want, got, n * r.n_vocab * sizeof(float));
	}
	test_ok(ok && pieces.n_refused, "there is no memory to grow, %u times: %s",
		pieces.n_refused, ok ? "what there is not is streamed" : err.message);
	pieces.most = 0;
	ok = !linnet_model_set_memory(r.m, r.least, &err) &&
	     !linnet_model_set_memory(r.m, r.all, &err);
	for (int i = 0; i < 2; i++) {
		jobs = pieces.n_jobs;
		ok = ok && decode(&r, chunk, got);
		jobs = pieces.n_jobs - jobs;
	}
	test_ok(ok && !memcmp(want, got, n * r.n_vocab * sizeof(float)) &&
		(chunk > 1 || jobs == n) && !pieces.n_wrong,
		"then there is: %u jobs for %zu passes", jobs, n);
	close_run(&r);
	in_pieces = false;
	pieces.n_refused = pieces.n_taken = 0;
	free(want);
	free(got);
	close_run(&plain);
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
	want = calloc(plain.n_vocab, sizeof(float));
	got = calloc(plain.n_vocab, sizeof(float));
	if (!want || !got || !decode(&plain, TOKENS, want))
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
			memset(got, 0, plain.n_vocab * sizeof(float));
			ok = decode(&r[j], TOKENS, got) &&
			     !memcmp(want, got, plain.n_vocab * sizeof(float));
		}
	}
	pieces.most = 0;
	close_run(&r[0]);
	close_run(&r[1]);
	test_ok(ok && !pieces.n_wrong && !pieces.taken,
		"two share pieces and give them up: the same logits, and none is left");
	in_pieces = false;
	share_dir = NULL;
	free(want);
	free(got);
	close_run(&plain);
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
	want = calloc((size_t)3 * plain.n_vocab, sizeof(float));
	got = calloc((size_t)3 * plain.n_vocab, sizeof(float));
	if (!want || !got || !decode(&plain, chunk, want))
		abort();
	now.rlim_cur = 16ull << 30;
	now.rlim_max = old.rlim_max;
	if (setrlimit(RLIMIT_AS, &now))
		abort();
	for (int i = 0; i < 3 && ok; i++) {
		/* all of it, half of it, the least */
		ok = open_run(&r, plain.least + (plain.all - plain.least) * (uint64_t)(2 - i) / 2,
			      chunk) && decode(&r, chunk, got) &&
		     !memcmp(want, got, (size_t)3 * plain.n_vocab * sizeof(float));
		for (int j = 0; j < 4 && ok; j++) {
			uint64_t budget = j % 2 ? plain.all : r.least;

			memset(got, 0, (size_t)3 * plain.n_vocab * sizeof(float));
			ok = !linnet_model_set_memory(r.m, budget, &err) &&
			     decode(&r, chunk, got) &&
			     !memcmp(want, got, (size_t)3 * plain.n_vocab * sizeof(float));
		}
		close_run(&r);
	}
	setrlimit(RLIMIT_AS, &old);
	test_ok(ok, "%s: a limit on address space: %s", strrchr(path, '/') + 1,
		ok ? "the same" : err.message);
	free(want);
	free(got);
	close_run(&plain);
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
