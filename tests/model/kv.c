// SPDX-License-Identifier: MIT
/*
 * Where keys and values come from makes no difference, bit for bit: pages that were
 * saved by another session are as good as computed ones.
 */
#include "tests/test.h"

#include <linnet/linnet.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define N 600		/* tokens: two whole pages and a part */
#define SHOWN 40	/* the last ones, whose logits are compared */

static char dir[] = "/tmp/linnet-kv-XXXXXX";
static char path[300], cache[300];
static struct linnet_error err;
static int32_t ids[N];

struct result {
	float *logits;		/* [SHOWN][n_vocab] */
	size_t n_vocab;
};

static struct linnet_model *open_model(uint64_t memory)
{
	struct linnet_model_options opts = LINNET_INIT(opts);
	struct linnet_model *m = NULL;

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
	opts.n_ctx = N;
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
		  !linnet_session_decode(s, ids + have, N - SHOWN - have, LINNET_LOGITS_NONE, &err) &&
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

static void test_saved(const char *name, enum linnet_kv_type type, uint64_t memory)
{
	struct linnet_session_options plain = { .kv_type = type };
	struct linnet_session_options saved = { .kv_type = type, .kv_cache = cache };
	struct linnet_model_info info = LINNET_INIT(info);
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
	ok = s && linnet_session_restore(s, ids, N, &err) == 512 && linnet_session_length(s) == 512 &&
	     !linnet_session_logits(s, 0);
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
	test_ok(linnet_session_restore(s, text, N, &err) == -ERANGE && linnet_session_length(s) == N,
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

/* The least memory with which the model runs. */
static uint64_t least_memory(void)
{
	struct linnet_session_options opts = { .size = sizeof(opts), .n_ctx = N, .n_batch = 128,
					       .n_outputs = SHOWN };
	struct linnet_model *m = open_model(LINNET_MEMORY_UNLIMITED);
	struct linnet_plan *plan = NULL;
	uint64_t least = 0;

	if (m && !linnet_plan_create(&plan, m, &opts, &err))
		least = linnet_plan_least(plan);
	linnet_plan_destroy(plan);
	linnet_model_close(m);
	return least;
}

int main(void)
{
	const char *python = getenv("PYTHON");
	char command[600];

	if (!mkdtemp(dir))
		return 1;
	python = python ? python : "/usr/bin/python3";
	snprintf(command, sizeof(command), "%s -c 'import numpy' 2>/dev/null", python);
	if (system(command)) {
		printf("1..0 # SKIP python3-numpy, which makes the models, is not installed\n");
		rmdir(dir);
		return 77;
	}
	snprintf(path, sizeof(path), "%s/m.gguf", dir);
	snprintf(cache, sizeof(cache), "%s/cache", dir);
	snprintf(command, sizeof(command), "%s tests/tools/make_model.py -o %s --preset gemma3 --type q8_0 "
		 "--ctx 1024 --layers 3 --vocab 400 --window 100 >/dev/null", python, path);
	if (!test_ok(!system(command), "a model is made"))
		return test_end();
	for (size_t i = 0; i < N; i++)
		ids[i] = (int32_t)((i * 2654435761u >> 7) % 400);
	test_saved("F16", LINNET_KV_F16, LINNET_MEMORY_UNLIMITED);
	test_saved("Q8_0", LINNET_KV_Q8_0, LINNET_MEMORY_UNLIMITED);
	test_saved("F32, weights streamed", LINNET_KV_F32, 3 * least_memory() / 2);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	if (system(command))
		printf("# %s stays\n", dir);
	return test_end();
}
