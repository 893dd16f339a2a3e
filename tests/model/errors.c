// SPDX-License-Identifier: MIT
/*
 * What is wrong with a model, with options or with calls is said as linnet.h has it: the
 * right code, one line that names the file, the field and the value; what failed changed
 * nothing and leaks nothing.
 */
#include "tests/model/folder.h"
#include "tests/test.h"

#include <linnet/linnet.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

static char dir[] = "/tmp/linnet-errors-XXXXXX";

static const char *path_of(const char *name)
{
	static char path[4][256];
	static unsigned next;

	next = (next + 1) % 4;
	snprintf(path[next], sizeof(path[next]), "%s/%s", dir, name);
	return path[next];
}

/* One printable line. */
static bool clean(const char *message)
{
	for (const char *p = message; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			return false;
	return *message;
}

/* ret must be `code`, and the message hold all texts up to NULL. */
static bool says(const char *what, int ret, int code, const struct linnet_error *err,
		 const char *const *texts)
{
	bool ok = ret == code && (!code || (err->code == code && clean(err->message)));

	for (; ok && *texts; texts++)
		ok = strstr(err->message, *texts);
	test_ok(ok, "%s", what);
	if (!ok)
		printf("# result %d instead of %d, code %d: %s\n", ret, code, err->code,
		       err->message);
	return ok;
}

#define SAYS(what, ret, code, ...) \
	says(what, ret, code, &err, (const char *const[]){ __VA_ARGS__, NULL })

static int errno_of(const char *name)
{
	return !strcmp(name, "ENOTSUP") ? -ENOTSUP : !strcmp(name, "EINVAL") ? -EINVAL :
	       !strcmp(name, "OK") ? 0 : 1;
}

static void test_models(void)
{
	char line[8192], *texts[8], what[160];
	FILE *f = fopen(path_of("cases"), "r");
	unsigned n_cases = 0;

	if (!test_ok(f, "list of cases"))
		return;
	while (fgets(line, sizeof(line), f)) {
		struct linnet_error err = { 0 };
		struct linnet_model *m = NULL;
		unsigned n = 0;
		int ret, code;

		line[strcspn(line, "\n")] = 0;
		for (char *p = strtok(line, "\t"); p && n < 7; p = strtok(NULL, "\t"))
			texts[n++] = p;
		texts[n] = NULL;
		snprintf(what, sizeof(what), "%s%s%s", texts[1], n > 2 ? ": " : "",
			 n > 2 ? texts[n - 1] : "");
		code = errno_of(texts[1]);
		ret = linnet_model_open(&m, texts[0], NULL, &err);
		/* the message names the file, and what else the case says */
		texts[1] = texts[0];
		says(what, ret, code, &err, (const char *const *)texts + (code ? 1 : n));
		linnet_model_close(m);
		n_cases++;
	}
	fclose(f);
	test_ok(n_cases > 120, "%u wrong models", n_cases);
}

static void test_model_options(void)
{
	struct {
		struct linnet_model_options o;
		char newer[16];
	} large = { { .size = sizeof(large) }, "" };
	struct linnet_model_options opts = LINNET_INIT(opts);
	struct linnet_model_info info = LINNET_INIT(info);
	struct linnet_error err = { 0 };
	struct linnet_model *m = NULL;
	const char *level = getenv("LINNET_CPU");
	char *saved = level ? strdup(level) : NULL;

	SAYS("no file", linnet_model_open(&m, path_of("nothing.gguf"), NULL, &err), -ENOENT,
	     "nothing.gguf");
	SAYS("a folder", linnet_model_open(&m, dir, NULL, &err), -EISDIR, dir);
	opts.engine = "magic";
	SAYS("an engine that is not there",
	     linnet_model_open(&m, path_of("good.gguf"), &opts, &err), -EINVAL, "engine", "magic");
	opts.engine = NULL;
	opts.n_threads = 100000;
	SAYS("too many threads", linnet_model_open(&m, path_of("good.gguf"), &opts, &err), -EINVAL,
	     "100000");
	opts.n_threads = 0;
	opts.read_depth = LINNET_READ_DEPTH_MOST + 1;
	SAYS("too many requests at once",
	     linnet_model_open(&m, path_of("good.gguf"), &opts, &err), -EINVAL, "read_depth", "33");
	opts.read_depth = 0;
	setenv("LINNET_CPU", "magic", 1);
	SAYS("kernels that are not there", linnet_model_open(&m, path_of("good.gguf"), &opts, &err),
	     -EINVAL, "LINNET_CPU", "magic");
	if (saved)
		setenv("LINNET_CPU", saved, 1);
	else
		unsetenv("LINNET_CPU");
	free(saved);

	large.newer[15] = 1;
	SAYS("options of a newer version",
	     linnet_model_open(&m, path_of("good.gguf"), &large.o, &err), -E2BIG, "newer version");
	large.newer[15] = 0;
	SAYS("options of a newer version that are not set",
	     linnet_model_open(&m, path_of("good.gguf"), &large.o, &err), 0, "");
	linnet_model_close(m);
	opts.size = sizeof(opts.size) + sizeof(opts.engine);
	opts.n_threads = 100000;
	SAYS("options of an older version",
	     linnet_model_open(&m, path_of("good.gguf"), &opts, &err), 0, "");
	info.size = sizeof(info.size) + sizeof(info.architecture);
	info.n_vocab = 77;
	test_ok(!linnet_model_info(m, &info) && !strcmp(info.architecture, "llama") &&
		info.n_vocab == 77, "info of an older version");
	info.size = 1;
	test_ok(linnet_model_info(m, &info) == -EINVAL, "info without its size");
	linnet_model_close(m);
	test_ok(linnet_model_open(&m, path_of("nothing.gguf"), NULL, NULL) == -ENOENT,
		"an error that nobody wants to read");
	linnet_model_close(NULL);
}

static void test_session_options(void)
{
	struct linnet_session_options opts = LINNET_INIT(opts);
	struct linnet_model_options model = LINNET_INIT(model);
	struct {
		struct linnet_session_options o;
		char newer[16];
	} large = { { .size = sizeof(large) }, "" };
	struct linnet_memory_info mem = LINNET_INIT(mem);
	struct linnet_error err = { 0 };
	struct linnet_session *s = NULL;
	struct linnet_model *m = NULL;
	uint64_t total;

#define CREATE linnet_session_create(&s, m, &opts, &err)
	if (!SAYS("a model", linnet_model_open(&m, path_of("good.gguf"), NULL, &err), 0, ""))
		return;
	opts.kv_type = 7;
	SAYS("a KV type that is not there", CREATE, -EINVAL, "kv_type, 7");
	opts.kv_type = LINNET_KV_Q8_0;
	SAYS("a KV type that the heads do not fit", CREATE, -EINVAL, "good.gguf", "multiples of 32",
	     "key_length, 16");
	opts.kv_type = LINNET_KV_F16;
	opts.n_ctx = (1u << 30) + 1;
	SAYS("an enormous context", CREATE, -EINVAL, "n_ctx, 1073741825");
	opts.n_ctx = 64;
	opts.n_batch = (1u << 20) + 1;
	SAYS("an enormous batch", CREATE, -EINVAL, "n_batch, 1048577");
	opts.n_batch = 0;
	opts.n_outputs = UINT32_MAX;
	SAYS("enormous outputs", CREATE, -EINVAL, "n_outputs, 4294967295");
	opts.n_outputs = 0;
	large.newer[0] = 1;
	SAYS("options of a newer version", linnet_session_create(&s, m, &large.o, &err), -E2BIG,
	     "newer version");
	SAYS("memory of a model", linnet_model_memory(m, &opts, &mem, &err), 0, "");
	total = mem.total;
	test_ok(mem.total >= mem.weights + mem.kv + mem.scratch && mem.kv && mem.weights,
		"memory adds up");
	mem.size = 1;
	SAYS("memory info without its size", linnet_model_memory(m, &opts, &mem, &err), -EINVAL,
	     "size");
	linnet_model_close(m);

	model.memory_bytes = total / 4;
	mem.size = sizeof(mem);
	if (SAYS("a quarter of the memory",
		 linnet_model_open(&m, path_of("good.gguf"), &model, &err), 0, "")) {
		opts.n_ctx = 1u << 20;
		SAYS("a context that does not fit", CREATE, -ENOMEM, "good.gguf");
		SAYS("as its memory info says", linnet_model_memory(m, &opts, &mem, &err), -ENOMEM,
		     "good.gguf");
	}
	linnet_model_close(m);

	model = (struct linnet_model_options)LINNET_INIT(model);
	model.vocab_only = true;
	opts.n_ctx = 0;
	if (SAYS("vocabulary only", linnet_model_open(&m, path_of("good.gguf"), &model, &err), 0,
		 "")) {
		SAYS("a session without weights", CREATE, -EINVAL, "good.gguf", "vocabulary only");
		SAYS("loading what is not wanted", linnet_model_load(m, NULL, NULL, &err), -EINVAL,
		     "vocabulary only");
	}
	linnet_model_close(m);
#undef CREATE
}

static void test_calls(void)
{
	static const int32_t bad[] = { -1, 360, INT_MIN, INT_MAX };
	struct linnet_session_options opts = { .size = sizeof(opts), .n_ctx = 40, .n_outputs = 3 };
	struct linnet_error err = { 0 };
	struct linnet_session *s = NULL;
	struct linnet_model *m = NULL;
	int32_t ids[64] = { 1, 2, 3 };
	float before[360];

	if (!SAYS("a model", linnet_model_open(&m, path_of("good.gguf"), NULL, &err), 0, "") ||
	    !SAYS("a session", linnet_session_create(&s, m, &opts, &err), 0, ""))
		return;
	test_ok(linnet_session_capacity(s) == 40 && !linnet_session_length(s),
		"empty, 40 positions");
	test_ok(!linnet_session_logits(s, 0), "no logits before a decode");
	test_ok(!linnet_session_decode(s, NULL, 0, LINNET_LOGITS_LAST, &err) &&
		!linnet_session_logits(s, 0), "nothing to decode");
	for (int i = 0; i < 4; i++) {
		ids[2] = bad[i];
		SAYS("a token out of range",
		     linnet_session_decode(s, ids, 3, LINNET_LOGITS_LAST, &err), -ERANGE, "id, ");
		ids[2] = 3;
		test_ok(!linnet_session_length(s), "nothing was done");
	}
	SAYS("too many rows", linnet_session_decode(s, ids, 4, LINNET_LOGITS_ALL, &err), -EINVAL,
	     "n_outputs, 3 for 4");
	SAYS("more than the context", linnet_session_decode(s, ids, 41, LINNET_LOGITS_LAST, &err),
	     -ENOSPC, "41 after 0 of 40");
	test_ok(!linnet_session_length(s), "nothing was done");
	SAYS("all of the context", linnet_session_decode(s, ids, 40, LINNET_LOGITS_LAST, &err), 0,
	     "");
	test_ok(linnet_session_logits(s, 0) && !linnet_session_logits(s, 1), "one row");
	memcpy(before, linnet_session_logits(s, 0), sizeof(before));
	SAYS("one more", linnet_session_decode(s, ids, 1, LINNET_LOGITS_LAST, &err), -ENOSPC,
	     "1 after 40 of 40");
	SAYS("as many as can be counted",
	     linnet_session_decode(s, ids, SIZE_MAX, LINNET_LOGITS_LAST, &err), -ENOSPC, "40");
	test_ok(linnet_session_truncate(s, 41) == -EINVAL && !linnet_session_truncate(s, 39),
		"truncating");
	SAYS("the last again", linnet_session_decode(s, ids + 39, 1, LINNET_LOGITS_LAST, &err), 0,
	     "");
	test_ok(!memcmp(before, linnet_session_logits(s, 0), sizeof(before)), "same logits");
	linnet_session_destroy(s);
	linnet_session_destroy(NULL);
	linnet_model_close(m);
}

/* The least memory with which a session of n positions works. */
static uint64_t least_memory(const char *path, uint32_t n)
{
	struct linnet_session_options opts = { .size = sizeof(opts), .n_ctx = n };
	struct linnet_plan *plan = NULL;
	struct linnet_model *m = NULL;
	uint64_t least = 0;

	if (!linnet_model_open(&m, path, NULL, NULL) && !linnet_plan_create(&plan, m, &opts, NULL))
		least = linnet_plan_least(plan);
	linnet_plan_destroy(plan);
	linnet_model_close(m);
	return least;
}

/* A file that is cut before its weights are read, and one that is cut while they are read
 * again and again: by io_uring and by threads, from the disk and from the page cache. */
static void test_cut(void)
{
	for (int i = 0; i < 8; i++) {
		const bool later = i & 4;
		struct linnet_model_options opts = { .size = sizeof(opts), .no_io_uring = i & 1,
						     .no_direct_io = i >> 1 & 1 };
		const char *good = path_of("large.gguf"), *cut = path_of("cut.gguf");
		struct linnet_session_options session = { .size = sizeof(session), .n_ctx = 32 };
		struct linnet_error err = { 0 };
		struct linnet_session *s = NULL;
		struct linnet_model *m = NULL;
		int32_t id = 1;
		char command[600];
		int ret;

		snprintf(command, sizeof(command), "cp %s %s", good, cut);
		/* too little memory for the weights: every pass reads some */
		opts.memory_bytes = later ? least_memory(good, 32) : 0;
		if (system(command) || linnet_model_open(&m, cut, &opts, &err)) {
			test_ok(false, "a copy: %s", err.message);
			continue;
		}
		if (later && (linnet_session_create(&s, m, &session, &err) ||
			      linnet_session_decode(s, &id, 1, LINNET_LOGITS_LAST, &err)))
			test_ok(false, "a pass over a whole file: %s", err.message);
		if (truncate(cut, 8192 + 100))
			test_ok(false, "truncate");
		if (later) {
			ret = linnet_session_decode(s, &id, 1, LINNET_LOGITS_LAST, &err);
			SAYS("a file that was cut", ret, -EIO, "cut.gguf", "offset", "ends early");
			test_ok(linnet_session_length(s) == 1, "the pass before stays");
			ret = linnet_session_decode(s, &id, 1, LINNET_LOGITS_LAST, &err);
			SAYS("and again", ret, -EIO, "cut.gguf");
		} else {
			ret = i & 2 ? linnet_model_load(m, NULL, NULL, &err) :
				      linnet_session_create(&s, m, &session, &err);
			SAYS("a file that was cut before", ret, -ESTALE, "cut.gguf", "changed",
			     "8292");
		}
		linnet_session_destroy(s);
		linnet_model_close(m);
	}
}

/* Weights that are no numbers: results that are none, and no other harm. */
static void test_nan(void)
{
	static const char *const names[] = { "nan.gguf", "inf.gguf" };

	for (int i = 0; i < 2; i++) {
		struct linnet_session_options opts = { .size = sizeof(opts), .n_outputs = 30 };
		struct linnet_sampler_options greedy = LINNET_INIT(greedy);
		struct linnet_sampler *sampler = NULL;
		struct linnet_error err = { 0 };
		struct linnet_session *s = NULL;
		struct linnet_model *m = NULL;
		int32_t ids[30] = { 5, 6, 7, 8, 300 };
		bool ok;

		ok = !linnet_model_open(&m, path_of(names[i]), NULL, &err) &&
		     !linnet_session_create(&s, m, &opts, &err) &&
		     !linnet_session_decode(s, ids, 30, LINNET_LOGITS_ALL, &err);
		test_ok(ok && isnan(linnet_session_logits(s, 29)[7]), "%s: %s", names[i],
			err.message);
		if (ok && !linnet_sampler_create(&sampler, m, &greedy, &err))
			test_ok(linnet_sampler_sample(sampler, linnet_session_logits(s, 0)) ==
				-EINVAL,
				"%s: there is nothing to sample", names[i]);
		linnet_sampler_destroy(sampler);
		linnet_session_destroy(s);
		linnet_model_close(m);
	}
}

static bool count_to_two(void *ctx, uint64_t done, uint64_t total)
{
	unsigned *n = ctx;

	return done <= total && ++*n < 2;
}

static bool always(void *ctx, uint64_t done, uint64_t total)
{
	uint64_t *last = ctx;

	if (done < *last || done > total)
		return false;
	*last = done;
	return true;
}

static void test_load(void)
{
	struct linnet_model_options opts = { .size = sizeof(opts), .no_io_uring = true };
	struct linnet_error err = { 0 };
	struct linnet_model *m = NULL;
	uint64_t done = 0;
	unsigned n = 0;
	int ret;

	if (!SAYS("a model", linnet_model_open(&m, path_of("large.gguf"), &opts, &err), 0, ""))
		return;
	ret = linnet_model_load(m, count_to_two, &n, &err);
	/* it may be done before it is asked twice */
	if (ret)
		SAYS("loading, interrupted", ret, -EINTR, "large.gguf");
	SAYS("loading, again", linnet_model_load(m, always, &done, &err), 0, "");
	SAYS("loading what is there", linnet_model_load(m, NULL, NULL, &err), 0, "");
	linnet_model_close(m);

	/* closed while it is read */
	for (int i = 0; i < 4; i++) {
		opts.no_io_uring = i & 1;
		n = 1;
		if (!linnet_model_open(&m, path_of("large.gguf"), &opts, &err))
			linnet_model_load(m, count_to_two, &n, &err);
		linnet_model_close(m);
	}
	test_ok(true, "closed while it is read");
}

int main(void)
{
	const char *python = folder_python();
	char command[512];
	int status;

	status = folder_begin(dir);
	if (status)
		return status;
	snprintf(command, sizeof(command), "%s tests/model/bad_models.py %s", python, dir);
	if (!test_ok(!system(command), "models are made"))
		return test_end();
	test_models();
	test_model_options();
	test_session_options();
	test_calls();
	test_cut();
	test_nan();
	test_load();
	return folder_end(dir);
}
