// SPDX-License-Identifier: MIT
/*
 * The library when memory is short: each scenario runs again and again while its 1st,
 * 2nd, ... allocation fails, and then all from the 1st, 2nd, ... on, until it runs
 * untouched. A run either does its work, with the same result, or ends with an error
 * code and leaves no block behind. It never crashes and never says it worked when it
 * did not. In one process, so that thousands of runs take seconds.
 */
#include "tests/test.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

#ifdef SANITIZED
int main(void)
{
	test_skip("failing allocations", "the address sanitizer has an allocator of its own");
	return test_end();
}
#else

#define FAILMALLOC_INSIDE 1
#include "tests/fault/preload/failmalloc.c"

#include "runtime/format/gguf.h"

#include <inttypes.h>
#include <linnet/linnet.h>
#include <linux/magic.h>
#include <sys/vfs.h>

static bool on_disk;			/* the folder for temporary files is not in memory */
static char dir[64], model[128], split[128];
static struct linnet_error err;
static uint64_t result;			/* what the work came to; the same in every run */

static void mix(const void *p, size_t n)
{
	const unsigned char *b = p;

	for (size_t i = 0; i < n; i++)
		result = (result ^ b[i]) * 1099511628211u;
}

/* ---------------------------------------------------------------- scenarios */

static int read_gguf(const char *path)
{
	struct linnet_gguf *g;
	int ret = linnet_gguf_open(&g, path, &err);

	if (ret)
		return ret;
	for (size_t i = 0; i < linnet_gguf_kv_count(g); i++)
		mix(linnet_gguf_kv(g, i)->key.p, linnet_gguf_kv(g, i)->key.n);
	for (size_t i = 0; i < linnet_gguf_tensor_count(g); i++)
		mix(&linnet_gguf_tensor(g, i)->offset, 8);
	linnet_gguf_close(g);
	return 0;
}

static int do_gguf(void)
{
	return read_gguf(model);
}

static int do_split(void)
{
	return read_gguf(split);
}

static int open_model(struct linnet_model **m, bool vocab_only, bool no_io_uring)
{
	struct linnet_model_options opts = LINNET_INIT(opts);

	opts.vocab_only = vocab_only;
	opts.n_threads = 2;
	opts.no_io_uring = no_io_uring;
	opts.memory_bytes = LINNET_MEMORY_UNLIMITED;
	return linnet_model_open(m, model, &opts, &err);
}

static int tokens(struct linnet_model *m)
{
	static const char text[] = "Once upon a time, <s> there was 42 \303\244 \xff.";
	struct linnet_detok *d = NULL;
	const char *part;
	int32_t ids[256];
	int64_t n;
	int ret;

	n = linnet_tokenize(m, text, sizeof(text) - 1, 3, ids, 256);
	if (n < 0)
		return (int)n;
	mix(ids, (size_t)n * sizeof(*ids));
	ret = linnet_detok_create(&d, m, false, true);
	for (int64_t i = 0; i < n && !ret; i++) {
		ret = linnet_detok_push(d, ids[i], &part);
		if (ret > 0) {
			mix(part, (size_t)ret);
			ret = 0;
		}
	}
	if (!ret) {
		ret = linnet_detok_flush(d, &part);
		ret = ret < 0 ? ret : 0;
	}
	linnet_detok_destroy(d);
	return ret;
}

static int do_vocabulary(void)
{
	struct linnet_model *m;
	int ret = open_model(&m, true, false);

	if (ret)
		return ret;
	ret = tokens(m);
	linnet_model_close(m);
	return ret;
}

static int do_chat(void)
{
	static const char tmpl[] =
		"{% set ns = namespace(n=0) %}{% macro say(w) %}<{{ w | upper }}>{% endmacro %}"
		"{% for m in messages %}{% set ns.n = ns.n + 1 %}{{ say(m.role) }}"
		"{{ m['content'] | trim | tojson }}{% endfor %}{{ {'a': [1, 2.5, none]} }}"
		"{{ 'a,b'.split(',') | join('-') }}{{ ns.n }}";
	static const struct linnet_chat_message messages[] = {
		{ "system", "You help." }, { "user", " Hello \303\244\n" },
	};
	struct linnet_model *m;
	char *text = NULL;
	int ret = open_model(&m, true, false);

	if (ret)
		return ret;
	ret = linnet_chat_format(m, tmpl, messages, 2, true, &text, &err);
	if (!ret) {
		mix(text, strlen(text));
		free(text);
	}
	linnet_model_close(m);
	return ret;
}

static int count_text(void *ctx, const char *text, size_t n)
{
	mix(text, n);
	return 0;
}

static int do_info(void)
{
	struct linnet_session_options opts = LINNET_INIT(opts);
	struct linnet_memory_info memory = LINNET_INIT(memory);
	struct linnet_plan_unit unit = LINNET_INIT(unit);
	struct linnet_plan *plan;
	struct linnet_model *m;
	int ret = open_model(&m, false, true);

	if (ret)
		return ret;
	ret = linnet_model_memory(m, &opts, &memory, &err);
	if (!ret)
		ret = linnet_plan_create(&plan, m, &opts, &err);
	if (!ret) {
		for (size_t i = 0; !linnet_plan_unit(plan, i, &unit); i++)
			mix(&i, sizeof(i));
		linnet_plan_destroy(plan);
		ret = linnet_model_dump_streams(m, count_text, NULL);
	}
	linnet_model_close(m);
	return ret;
}

static int decode(struct linnet_model *m, enum linnet_kv_type kv)
{
	static const int32_t prompt[] = { 1, 5, 9, 200, 17 };
	struct linnet_session_options opts = LINNET_INIT(opts);
	struct linnet_sampler_options samp = LINNET_INIT(samp);
	struct linnet_model_info info = LINNET_INIT(info);
	struct linnet_sampler *sampler = NULL;
	struct linnet_session *s;
	int32_t id;
	int ret;

	opts.n_ctx = 300;
	opts.n_batch = 4;
	opts.kv_type = kv;
	samp.temperature = 0.8f;
	samp.top_k = 40;
	samp.top_p = 0.9f;
	samp.repeat_penalty = 1.1f;
	samp.seed = 7;
	linnet_model_info(m, &info);
	ret = linnet_session_create(&s, m, &opts, &err);
	if (ret)
		return ret;
	ret = linnet_sampler_create(&sampler, m, &samp, &err);
	if (!ret)
		ret = linnet_session_decode(s, prompt, 5, LINNET_LOGITS_LAST, &err);
	for (int i = 0; i < 3 && !ret; i++) {
		mix(linnet_session_logits(s, 0), info.n_vocab * sizeof(float));
		id = linnet_sampler_sample(sampler, linnet_session_logits(s, 0));
		ret = id < 0 ? id : linnet_session_decode(s, &id, 1, LINNET_LOGITS_LAST, &err);
	}
	linnet_sampler_destroy(sampler);
	linnet_session_destroy(s);
	return ret;
}

static int do_decode(void)
{
	struct linnet_model *m;
	int ret = open_model(&m, false, false);

	if (ret)
		return ret;
	ret = linnet_model_load(m, NULL, NULL, &err);
	if (!ret)
		ret = decode(m, LINNET_KV_F16);
	linnet_model_close(m);
	return ret;
}

static int do_decode_threads(void)
{
	struct linnet_model *m;
	int ret = open_model(&m, false, true);

	if (ret)
		return ret;
	ret = decode(m, LINNET_KV_Q8_0);
	linnet_model_close(m);
	return ret;
}

/*
 * Everything about keys and values: sequences, a part of them on a disk, saved prefixes; and
 * a model that drafts for itself. Whether saving works is no part of the result.
 */
static int do_kv(void)
{
	enum { N = 800 };
	struct linnet_session_options opts = LINNET_INIT(opts), small = LINNET_INIT(small);
	struct linnet_memory_info mem = LINNET_INIT(mem);
	struct linnet_model_info info = LINNET_INIT(info);
	struct linnet_session *s = NULL, *own = NULL;
	struct linnet_draft *draft = NULL;
	struct linnet_tokens in[2];
	struct linnet_model *m;
	char cache[80];
	int32_t ids[N], drafted[4];
	int64_t have = 0, n = 0;
	int ret = open_model(&m, false, true);

	if (ret)
		return ret;
	linnet_model_info(m, &info);
	snprintf(cache, sizeof(cache), "%s/cache", dir);
	for (int i = 0; i < N; i++)
		ids[i] = i * 7 % (int)info.n_vocab;
	opts.n_ctx = N + 100;
	opts.n_batch = 128;
	opts.n_outputs = opts.n_seqs = 2;
	opts.kv_cache = cache;
	ret = linnet_model_memory(m, &opts, &mem, &err);
	/* eight pages of four layers: four in memory, twice a layer's share of the others */
	if (on_disk)
		opts.kv_memory = mem.kv * (4 * 4 + 2 * 4) / 32;
	if (!ret)
		ret = linnet_session_create(&s, m, &opts, &err);
	if (!ret) {
		have = linnet_session_restore(s, ids, N, &err);
		ret = have < 0 ? (int)have : 0;
	}
	if (!ret)
		ret = linnet_session_decode(s, ids + have, (size_t)(N - have), LINNET_LOGITS_LAST,
					    &err);
	if (!ret) {
		linnet_session_save(s, NULL);
		ret = linnet_session_fork(s, 1);
	}
	in[0] = (struct linnet_tokens){ 1, ids, 3, LINNET_LOGITS_LAST };
	in[1] = (struct linnet_tokens){ 0, ids + 5, 1, LINNET_LOGITS_LAST };
	if (!ret)
		ret = linnet_session_step(s, in, 2, &err);
	for (size_t i = 0; i < 2 && !ret; i++)
		mix(linnet_session_logits(s, i), info.n_vocab * sizeof(float));
	small.n_ctx = 64;
	if (!ret)
		ret = linnet_session_create(&own, m, &small, &err);
	if (!ret)
		ret = linnet_draft_create(&draft, m, own, &err);
	for (int i = 0; i < 5 && !ret; i++)
		ret = linnet_draft_push(draft, ids[i]);
	if (!ret) {
		n = linnet_draft_next(draft, drafted, 4, &err);
		ret = n < 0 ? (int)n : 0;
	}
	mix(drafted, ret ? 0 : (size_t)n * sizeof(*drafted));
	linnet_draft_destroy(draft);
	linnet_session_destroy(own);
	linnet_session_destroy(s);
	linnet_model_close(m);
	return ret;
}

/* ---------------------------------------------------------------------- loop */

static const struct scenario {
	const char *name;
	int (*run)(void);
	bool says;			/* every error comes with a message */
} scenarios[] = {
	{ "read GGUF metadata", do_gguf, true },
	{ "read a split model", do_split, true },
	{ "tokenize and back", do_vocabulary, false },
	{ "chat template", do_chat, true },
	{ "plan and list", do_info, false },
	{ "decode", do_decode, false },
	{ "decode without io_uring", do_decode_threads, false },
	{ "sequences, pages on a disk, saved ones, drafts", do_kv, false },
};

static void print_live(size_t bytes, const Dl_info *info, uintptr_t caller)
{
	printf("# block of %zu, taken at %s+%#zx\n", bytes, info->dli_fname ? info->dli_fname : "?",
	       (size_t)(caller - (uintptr_t)info->dli_fbase));
}

/* One run with the at-th allocation failing. Returns what was wrong, or NULL. */
static const char *attempt(const struct scenario *sc, long at, bool from, uint64_t right, int *ret,
			   long *failed)
{
	long live;

	memset(&err, 0, sizeof(err));
	result = 14695981039346656037u;
	fail.calls = 0;
	fail.failed = 0;
	fail.at = at;
	fail.from = from;
	fail.armed = true;
	*ret = sc->run();
	fail.at = 0;
	*failed = fail.failed;
	live = live_blocks(NULL);
	if (live) {
		live_blocks(print_live);
		/* report each leak once */
		memset(table, 0, sizeof(table));
		used = 0;
	}
	fail.armed = false;
	if (live)
		return "blocks are left behind";
	if (*ret > 0)
		return "a positive result";
	if (!*ret && at && result != right)
		return "it says it worked, with another result";
	if (*ret && !*failed)
		return "it failed untouched";
	if (*ret && sc->says && !*err.message)
		return "no message";
	return NULL;
}

static void test_scenario(const struct scenario *sc)
{
	uint64_t right;
	const char *bad;
	long failed, runs = 0, ended = 0;
	int ret, problems = 0;

	/* the first run also makes what the C library keeps */
	bad = attempt(sc, 0, false, 0, &ret, &failed);
	if (!test_ok(!bad, "%s: untouched", sc->name)) {
		printf("# %s: %d %s\n", bad, ret, err.message);
		return;
	}
	right = result;
	for (int from = 0; from < 2; from++) {
		for (long at = 1;; at++) {
			bad = attempt(sc, at, from, right, &ret, &failed);
			if (bad && problems++ < 10)
				printf("# allocation %ld%s: %s (%d, \"%s\")\n", at,
				       from ? " and all after it" : "", bad, ret, err.message);
			if (!failed)
				break;
			runs++;
			ended += ret < 0;
		}
	}
	test_ok(!problems, "%s: %ld runs, of which %ld ended with an error", sc->name, runs, ended);
	test_ok(ended > 0, "%s: allocations do fail", sc->name);
}

static bool make_models(void)
{
	const char *python = getenv("PYTHON"), *tmp = getenv("TMPDIR");
	char command[1024];
	struct statfs st;

	snprintf(dir, sizeof(dir), "%.40s/linnet-alloc-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	if (!mkdtemp(dir))
		return false;
	on_disk = !statfs(dir, &st) && st.f_type != TMPFS_MAGIC && st.f_type != RAMFS_MAGIC;
	snprintf(model, sizeof(model), "%s/m.gguf", dir);
	snprintf(split, sizeof(split), "%s/s-00002-of-00003.gguf", dir);
	for (int i = 0; i < 2; i++) {
		snprintf(command, sizeof(command),
			 "%.300s tests/tools/make_model.py -o %s/%c.gguf "
			 "--preset llama --layers 4 --embd 64 --heads 2 --kv-heads 1 --ff 96 "
			 "--type q8_0%s >/dev/null 2>&1",
			 python && *python ? python : "/usr/bin/python3", dir, i ? 's' : 'm',
			 i ? " --splits 3" : "");
		if (system(command))
			return false;
	}
	return true;
}

int main(void)
{
	char command[128];

	alarm(800);
	if (!make_models()) {
		test_skip("failing allocations", "tests/tools/make_model.py makes no model here");
		return test_end();
	}
	for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++)
		test_scenario(&scenarios[i]);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	if (system(command))
		printf("# %s is left behind\n", dir);
	return test_end();
}
#endif
