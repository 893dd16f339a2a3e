// SPDX-License-Identifier: MIT
/*
 * What results do not depend on, bit for bit, on whole models: the number of threads, how
 * tokens are cut into passes, the instruction set, the way weights are read and whether
 * they stay in memory, what the session did before.
 */
#include "tests/model/folder.h"
#include "tests/test.h"

#include <linnet/linnet.h>

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#define MAX_TOKENS 600

static char dir[] = "/tmp/linnet-exact-XXXXXX";
static bool quick;		/* a sanitizer is watching, or the kernels are slow */
static const char *level;	/* LINNET_CPU as it was given, or NULL */

/* How a model is run. Zero: the usual way. */
struct way {
	const char *what;
	const char *level;
	struct linnet_model_options model;
	struct linnet_session_options session;
	uint32_t chunk;		/* tokens of one call; 0: all */
};

struct result {
	float *logits;		/* [n][n_vocab] */
	size_t n, n_vocab;
};

static int32_t token(uint32_t i, uint32_t n_vocab)
{
	return (int32_t)((i * 2654435761u >> 7) % n_vocab);
}

static void set_level(const char *l)
{
	if (l)
		setenv("LINNET_CPU", l, 1);
	else
		unsetenv("LINNET_CPU");
}

/* Decode n tokens from the session's length on, `chunk` at a time; false: an error. */
static bool decode(struct linnet_session *s, struct result *r, uint32_t n, uint32_t chunk,
		   struct linnet_error *err)
{
	uint32_t from = linnet_session_length(s);
	int32_t ids[MAX_TOKENS];

	for (uint32_t i = 0; i < n; i++)
		ids[i] = token(from + i, (uint32_t)r->n_vocab);
	for (uint32_t i = 0, m; i < n; i += m) {
		m = chunk && chunk < n - i ? chunk : n - i;
		if (linnet_session_decode(s, ids + i, m, LINNET_LOGITS_ALL, err))
			return false;
		for (uint32_t j = 0; j < m; j++)
			memcpy(r->logits + (from + i + j) * r->n_vocab, linnet_session_logits(s, j),
			       r->n_vocab * sizeof(float));
	}
	return true;
}

/* Run a model one way. Not enough for the KV type: -EINVAL. */
static int run(const char *path, const struct way *w, uint32_t n, struct result *r,
	       struct linnet_error *err)
{
	struct linnet_session_options opts = w->session;
	struct linnet_model_options model = w->model;
	struct linnet_model_info info = LINNET_INIT(info);
	struct linnet_session *s = NULL;
	struct linnet_model *m = NULL;
	int ret;

	memset(r, 0, sizeof(*r));
	model.size = sizeof(model);
	opts.size = sizeof(opts);
	if (!opts.n_ctx)
		opts.n_ctx = n;
	opts.n_outputs = w->chunk ? w->chunk : n;
	set_level(w->level ? w->level : level);
	ret = linnet_model_open(&m, path, &model, err);
	if (ret)
		return ret;
	linnet_model_info(m, &info);
	ret = linnet_session_create(&s, m, &opts, err);
	if (!ret) {
		*r = (struct result){ calloc((size_t)n * info.n_vocab, 4), n, info.n_vocab };
		if (!decode(s, r, n, w->chunk, err))
			ret = err->code;
	}
	linnet_session_destroy(s);
	linnet_model_close(m);
	return ret;
}

static bool same(const struct result *a, const struct result *b)
{
	for (size_t i = 0; i < a->n; i++)
		if (memcmp(a->logits + i * a->n_vocab, b->logits + i * a->n_vocab,
			   a->n_vocab * sizeof(float))) {
			printf("# position %zu of %zu differs\n", i, a->n);
			return false;
		}
	return true;
}

static const char *path_of(const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s.gguf", dir, name);
	return path;
}

static void compare(const char *name, const char *path, const struct way *w,
		    const struct result *want)
{
	struct linnet_error err = { 0 };
	struct result got;
	int ret = run(path, w, (uint32_t)want->n, &got, &err);

	test_ok(!ret && got.n_vocab == want->n_vocab && same(want, &got), "%s: %s", name, w->what);
	if (ret)
		printf("# %s\n", err.message);
	free(got.logits);
}

/* The least memory with which the model runs, and what is read in every pass then. */
static uint64_t least_memory(const char *path, uint32_t n, uint64_t *streamed)
{
	struct linnet_memory_info info = LINNET_INIT(info);
	struct linnet_model_options model = { .size = sizeof(model),
					      .memory_bytes = LINNET_MEMORY_UNLIMITED };
	struct linnet_session_options opts = { .size = sizeof(opts), .n_ctx = n, .n_outputs = n,
					       .n_batch = n };
	struct linnet_plan *plan = NULL;
	struct linnet_model *m = NULL;
	uint64_t least = 0;

	set_level(level);
	if (!linnet_model_open(&m, path, &model, NULL) &&
	    !linnet_plan_create(&plan, m, &opts, NULL))
		least = linnet_plan_least(plan);
	linnet_plan_destroy(plan);
	linnet_model_close(m);
	model.memory_bytes = least;
	*streamed = 0;
	if (least && !linnet_model_open(&m, path, &model, NULL)) {
		if (!linnet_model_memory(m, &opts, &info, NULL))
			*streamed = info.streamed;
		linnet_model_close(m);
	}
	return least;
}

static void test_ways(const char *name, uint32_t n)
{
	const struct way ways[] = {
		{ "two threads", .model.n_threads = 2 },
		{ "three threads", .model.n_threads = 3 },
		{ "five threads", .model.n_threads = 5 },
		{ "token by token", .model.n_threads = 2, .chunk = 1, .session.n_batch = 1 },
		{ "token by token on one thread, a larger context", .model.n_threads = 1,
		  .chunk = 1, .session.n_ctx = n + 300 },
		{ "seven tokens a pass", .model.n_threads = 3, .chunk = 7, .session.n_batch = 7 },
		{ "passes of 64 in a batch of 100", .model.n_threads = 2, .chunk = 64,
		  .session.n_batch = 100 },
	};
	const struct way levels[] = {
		{ "reference kernels", "ref", .model.n_threads = 2 },
		{ "reference kernels, few tokens a pass", "ref", .model.n_threads = 2, .chunk = 5 },
		{ "AVX2 kernels", "avx2", .model.n_threads = 2 },
		{ "AVX2 kernels, token by token", "avx2", .model.n_threads = 2, .chunk = 1 },
		{ "AVX-512 kernels, nine tokens a pass", "avx512", .model.n_threads = 2,
		  .chunk = 9 },
	};
	static const char *const kv_names[] = { "F16", "Q8_0", "F32", "Q4_0" };
	struct linnet_error err = { 0 };
	const char *path = path_of(name);
	char what[128];

	for (int kv = 0; kv < 4; kv++) {
		struct way plain = { .model.n_threads = 1, .session.kv_type = kv };
		struct result want;
		int ret = run(path, &plain, n, &want, &err);

		if (ret == -EINVAL && (kv == LINNET_KV_Q8_0 || kv == LINNET_KV_Q4_0)) {
			test_ok(strstr(err.message, "multiples of 32"), "%s: %s KV is refused",
				name, kv_names[kv]);
			free(want.logits);
			continue;
		}
		if (!test_ok(!ret, "%s: %s KV", name, kv_names[kv])) {
			printf("# %s\n", err.message);
			free(want.logits);
			return;
		}
		for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
			struct way w = ways[i];

			/* for all KV types: token by token, and odd passes */
			if ((kv || quick) && i != 3 && i != 5)
				continue;
			snprintf(what, sizeof(what), "%s KV, %s", kv_names[kv], w.what);
			w.what = what;
			w.session.kv_type = kv;
			compare(name, path, &w, &want);
		}
		for (size_t i = 0; !level && i < sizeof(levels) / sizeof(levels[0]); i++) {
			struct way w = levels[i];

			if ((kv && i != 1 && i != 3) || (quick && i != 1))
				continue;
			snprintf(what, sizeof(what), "%s KV, %s", kv_names[kv], w.what);
			w.what = what;
			w.session.kv_type = kv;
			set_level(w.level);
			if (strcmp(w.level, "ref")) {
				struct linnet_model *m = NULL;

				if (linnet_model_open(&m, path, NULL, &err) == -ENOTSUP) {
					test_skip(what, "this CPU lacks the instruction set");
					continue;
				}
				linnet_model_close(m);
			}
			compare(name, path, &w, &want);
		}
		free(want.logits);
	}
}

/* Ways to get at the weights. */
static void test_reading(const char *name, uint32_t n)
{
	const char *path = path_of(name);
	struct way plain = { .model.n_threads = 2 };
	uint64_t streamed, least = least_memory(path, n, &streamed);
	struct way ways[] = {
		{ "read with threads", .model.no_io_uring = true },
		{ "read through the page cache", .model.no_direct_io = true },
		{ "threads and page cache",
		  .model = { .no_io_uring = true, .no_direct_io = true } },
		{ "small pages", .model.no_huge_pages = true },
		{ "weights that do not stay in memory", .model.memory_bytes = least },
		{ "token by token", .chunk = 1, .session.n_batch = n, .model.memory_bytes = least },
		{ "the same, read with threads", .chunk = 1, .session.n_batch = n,
		  .model = { .no_io_uring = true, .memory_bytes = least } },
		{ "the same, through the page cache", .chunk = 1, .session.n_batch = n,
		  .model = { .no_direct_io = true, .memory_bytes = least } },
	};
	struct linnet_error err = { 0 };
	struct result want;

	test_ok(least, "%s: in %llu bytes of memory, each pass reads %llu", name,
		(unsigned long long)least, (unsigned long long)streamed);
	if (!test_ok(!run(path, &plain, n, &want, &err), "%s: to compare with", name)) {
		printf("# %s\n", err.message);
		return;
	}
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		compare(name, path, &ways[i], &want);
	free(want.logits);
}

/* Experts that are cached, in caches of several sizes. */
static void test_experts(const char *name, uint32_t n)
{
	const char *path = path_of(name);
	struct way plain = { .model.n_threads = 2 };
	struct linnet_memory_info info = LINNET_INIT(info);
	struct linnet_session_options opts = { .size = sizeof(opts), .n_ctx = n, .n_outputs = n,
					       .n_batch = n };
	struct linnet_model_options unlimited = { .size = sizeof(unlimited),
						  .memory_bytes = LINNET_MEMORY_UNLIMITED };
	uint64_t streamed, least = least_memory(path, n, &streamed), all = 0;
	struct linnet_error err = { 0 };
	struct linnet_model *m = NULL;
	struct result want;
	char what[128];

	if (!linnet_model_open(&m, path, &unlimited, &err) &&
	    !linnet_model_memory(m, &opts, &info, &err))
		all = info.total;
	linnet_model_close(m);
	if (!test_ok(least && least < all && !run(path, &plain, n, &want, &err),
		     "%s: from %llu to %llu bytes of memory", name, (unsigned long long)least,
		     (unsigned long long)all)) {
		printf("# %s\n", err.message);
		return;
	}
	for (int size = 0; size < 4; size++) {
		const uint64_t memory = least + (all - least) * (uint64_t)size / 4;
		struct linnet_model_options model = { .size = sizeof(model),
						      .memory_bytes = memory };
		const struct way ways[] = {
			{ "all at once" },
			{ "token by token", .chunk = 1, .session.n_batch = n },
			{ "seven tokens a pass, one thread", .chunk = 7, .session.n_batch = n,
			  .model.n_threads = 1 },
			{ "token by token, threads and page cache", .chunk = 1,
			  .session.n_batch = n,
			  .model = { .no_io_uring = true, .no_direct_io = true } },
			{ "checksums", .chunk = 3, .session.n_batch = n, .model.verify = true },
		};

		m = NULL;
		if (!linnet_model_open(&m, path, &model, &err))
			linnet_model_memory(m, &opts, &info, &err);
		linnet_model_close(m);
		test_ok(info.experts && info.experts < info.experts_bytes && info.total <= memory,
			"%s: %llu of %llu bytes of experts are cached", name,
			(unsigned long long)info.experts, (unsigned long long)info.experts_bytes);
		for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
			struct way w = ways[i];

			snprintf(what, sizeof(what), "%llu bytes of memory, %s",
				 (unsigned long long)memory, w.what);
			w.what = what;
			w.model.memory_bytes = memory;
			compare(name, path, &w, &want);
		}
	}
	free(want.logits);
}

static void test_split(uint32_t n)
{
	struct way plain = { .model.n_threads = 2 };
	struct linnet_error err = { 0 };
	struct result want;
	char path[256];

	if (!test_ok(!run(path_of("llama-mixed"), &plain, n, &want, &err), "a whole file"))
		return;
	for (int i = 1; i <= 4; i++) {
		char what[64];
		struct way w = { what, .model.n_threads = 2 };

		snprintf(path, sizeof(path), "%s/split-%05d-of-00004.gguf", dir, i);
		snprintf(what, sizeof(what), "opened by part %d of 4", i);
		compare("split", path, &w, &want);
	}
	free(want.logits);
}

struct stopper {
	struct linnet_session *s;
	_Atomic bool stop;
};

static void *interrupt_soon(void *arg)
{
	struct stopper *st = arg;

	while (!st->stop) {
		usleep(3000);
		linnet_session_interrupt(st->s);
	}
	return NULL;
}

#define PASS 16		/* tokens */

/* What a session did before leaves no trace. */
static void test_history(const char *name, uint32_t n)
{
	struct linnet_model_options model = { .size = sizeof(model), .n_threads = 2 };
	struct linnet_session_options opts = { .size = sizeof(opts), .n_ctx = n + 8,
					       .n_batch = PASS, .n_outputs = PASS };
	struct linnet_model_info info = LINNET_INIT(info);
	struct linnet_session *s = NULL;
	struct linnet_model *m = NULL;
	struct linnet_error err = { 0 };
	struct stopper st = { 0 };
	struct result want, got;
	pthread_t thread;
	int32_t other[MAX_TOKENS];
	unsigned stopped = 0;
	bool ok = true;

	set_level(level);
	if (linnet_model_open(&m, path_of(name), &model, &err) ||
	    linnet_session_create(&s, m, &opts, &err)) {
		test_ok(false, "%s: %s", name, err.message);
		linnet_model_close(m);
		return;
	}
	linnet_model_info(m, &info);
	want = got = (struct result){ NULL, n, info.n_vocab };
	want.logits = calloc((size_t)n * info.n_vocab, 4);
	got.logits = calloc((size_t)n * info.n_vocab, 4);
	for (uint32_t i = 0; i < n; i++)
		other[i] = token(i + 7777, info.n_vocab);
	test_ok(decode(s, &want, n, PASS, &err) && linnet_session_length(s) == n, "%s: %u tokens",
		name, n);

	for (uint32_t at = 0; at <= n && ok; at += n / 5) {
		ok = !linnet_session_truncate(s, n - at) && linnet_session_length(s) == n - at &&
		     !linnet_session_decode(s, other, at, LINNET_LOGITS_NONE, &err) &&
		     !linnet_session_logits(s, 0) && !linnet_session_truncate(s, n - at);
		memset(got.logits + (n - at) * got.n_vocab, 0, at * got.n_vocab * sizeof(float));
		memcpy(got.logits, want.logits, (n - at) * got.n_vocab * sizeof(float));
		ok = ok && decode(s, &got, at, PASS, &err) && same(&want, &got);
	}
	test_ok(ok, "%s: cut back, other tokens, cut back, the same again", name);
	test_ok(linnet_session_truncate(s, n + 1) == -EINVAL && linnet_session_length(s) == n,
		"%s: nothing is cut forward", name);

	/* interrupted before it begins: nothing happens, and the wish is used up */
	linnet_session_truncate(s, 0);
	linnet_session_interrupt(s);
	ok = linnet_session_decode(s, other, n, LINNET_LOGITS_LAST, &err) == -EINTR &&
	     err.code == -EINTR && linnet_session_length(s) == 0 && !linnet_session_logits(s, 0);
	memset(got.logits, 0, n * got.n_vocab * sizeof(float));
	test_ok(ok && decode(s, &got, n, PASS, &err) && same(&want, &got),
		"%s: interrupted at once, then decoded", name);

	/* interrupted anywhere: whole passes stay */
	st.s = s;
	if (!pthread_create(&thread, NULL, interrupt_soon, &st)) {
		ok = true;
		for (int i = 0; i < 20 && ok; i++) {
			uint32_t length;
			int ret;

			linnet_session_truncate(s, 0);
			ret = linnet_session_decode(s, other, n, LINNET_LOGITS_LAST, &err);
			length = linnet_session_length(s);
			stopped += ret == -EINTR;
			ok = ret == -EINTR ? length < n && length % PASS == 0 :
					     !ret && length == n;
			if (!ok)
				printf("# result %d, %u tokens\n", ret, length);
		}
		st.stop = true;
		pthread_join(thread, NULL);
	}
	/* the last wish may still be there */
	linnet_session_truncate(s, 0);
	while (linnet_session_decode(s, other, 1, LINNET_LOGITS_NONE, &err) == -EINTR)
		;
	linnet_session_truncate(s, 0);
	memset(got.logits, 0, n * got.n_vocab * sizeof(float));
	test_ok(ok && stopped && decode(s, &got, n, PASS, &err) && same(&want, &got),
		"%s: interrupted %u times, then decoded", name, stopped);

	/* a second session of the model */
	linnet_session_destroy(s);
	memset(got.logits, 0, n * got.n_vocab * sizeof(float));
	ok = !linnet_session_create(&s, m, &opts, &err);
	test_ok(ok && decode(s, &got, n, PASS, &err) && same(&want, &got), "%s: a second session",
		name);
	linnet_session_destroy(s);
	linnet_model_close(m);
	free(want.logits);
	free(got.logits);
}

int main(void)
{
	const char *python = folder_python();
	char command[512], name[64];
	int status;
	FILE *names;

	level = getenv("LINNET_CPU");
	level = level ? strdup(level) : NULL;
	quick = getenv("LINNET_SANITIZER") || (level && !strcmp(level, "ref"));
	status = folder_begin(dir);
	if (status)
		return status;
	snprintf(command, sizeof(command), "%s tests/model/exact_models.py %s", python, dir);
	if (!test_ok(!system(command), "models are made"))
		return test_end();
	snprintf(command, sizeof(command), "%s/names", dir);
	names = fopen(command, "r");
	while (names && fscanf(names, "%63s", name) == 1)
		test_ways(name, quick ? 30 : 80);
	if (names)
		fclose(names);
	/* several pages of the KV cache */
	test_ways("gemma3-iq4_xs", quick ? 264 : 530);
	test_ways("mistral-f16", 270);
	test_reading("llama-mixed", 20);
	test_reading("qwen3moe-q4_k", 20);
	test_experts("qwen3moe-many", quick ? 21 : 42);
	test_split(20);
	test_history("llama-q4_0", quick ? 60 : 300);
	test_history("mixtral-q8_0", 60);
	return folder_end(dir);
}
