// SPDX-License-Identifier: MIT
/* Keeps model.h. The progress line of a prefill is drawn by a thread of its own:
 * the decode does not return before its tokens are done. */
#include "model.h"
#include "term.h"
#include "tool.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

const char *const engine_names[] = { "auto", "host", "accel", NULL };

const char *const numa_names[] = { "auto", "off", NULL };

const char *const kv_type_names[] = {
	[LINNET_KV_F16] = "f16",
	[LINNET_KV_Q8_0] = "q8_0",
	[LINNET_KV_F32] = "f32",
	[LINNET_KV_Q4_0] = "q4_0",
	NULL
};

const char *model_demo_path(void)
{
	/* installed (PREFIX/bin), in the source tree (build/, build/DIR/) */
	static const char *const places[] = {
		"/../share/linnet/linnet-demo.gguf",
		"/../tools/demo/linnet-demo.gguf",
		"/../../tools/demo/linnet-demo.gguf",
	};
	static char found[PATH_MAX];
	char exe[PATH_MAX], path[PATH_MAX + 64];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	char *slash;

	if (n < 0)
		return NULL;
	exe[n] = '\0';
	slash = strrchr(exe, '/');
	if (!slash)
		return NULL;
	*slash = '\0';
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		snprintf(path, sizeof(path), "%s%s", exe, places[i]);
		if (!access(path, R_OK))
			return realpath(path, found);
	}
	return NULL;
}

int model_open(struct linnet_model **out, struct model_args *args, bool vocab_only)
{
	struct linnet_model_options opts = LINNET_INIT(opts);
	struct linnet_error err = { 0 };

	if (!args->path) {
		args->path = model_demo_path();
		if (!args->path) {
			tool_error("no model: give one with -m FILE (the demo model is not beside "
				   "the program)");
			return TOOL_USAGE;
		}
		tool_note("no model given, using the demo model %s", args->path);
	}
	opts.engine = engine_names[args->engine];
	opts.n_threads = (unsigned)args->threads;
	opts.no_direct_io = args->no_direct_io;
	opts.no_io_uring = args->no_io_uring;
	opts.memory_bytes = args->memory;
	opts.no_numa = args->numa;
	if (args->share) {
		opts.share_dir = getenv("XDG_RUNTIME_DIR");
		if (!opts.share_dir || !*opts.share_dir) {
			tool_error("sharing weights needs a folder for sockets "
				   "(XDG_RUNTIME_DIR, not set)");
			return TOOL_FAILED;
		}
	}
	/* "none" */
	opts.read_bandwidth = args->read_bandwidth == UINT64_MAX ? 0 : args->read_bandwidth;
	opts.read_depth = (unsigned)args->read_depth;
	opts.verify = args->verify;
	opts.vocab_only = vocab_only;
	if (linnet_model_open(out, args->path, &opts, &err)) {
		tool_error("%s", err.message);
		return TOOL_FAILED;
	}
	return TOOL_OK;
}

struct linnet_model_info model_info(const struct linnet_model *m)
{
	struct linnet_model_info info = LINNET_INIT(info);

	linnet_model_info(m, &info);
	return info;
}

static struct linnet_session_options session_options(const struct linnet_model *m,
						     const struct session_args *args,
						     uint64_t n_tokens, uint32_t n_outputs)
{
	struct linnet_session_options opts = LINNET_INIT(opts);
	struct linnet_model_info info = model_info(m);
	const char *dir = getenv("TMPDIR");

	opts.n_ctx = (uint32_t)args->ctx;
	if (!opts.n_ctx && n_tokens > 4096)
		opts.n_ctx = n_tokens < info.n_ctx_train ? (uint32_t)n_tokens : info.n_ctx_train;
	opts.n_batch = (uint32_t)args->batch;
	opts.n_outputs = n_outputs;
	opts.kv_type = (enum linnet_kv_type)args->kv_type;
	opts.n_seqs = args->n_seqs;
	opts.n_kv = args->n_kv < UINT32_MAX ? (uint32_t)args->n_kv : UINT32_MAX;
	opts.kv_memory = args->kv_memory;
	if (!args->kv_cache && dir && *dir)
		opts.kv_dir = dir;
	opts.kv_cache = args->kv_cache;
	opts.kv_cache_bytes = args->kv_cache_size;
	return opts;
}

uint32_t model_context(const struct linnet_model *m, const struct session_args *args,
		       uint64_t n_tokens)
{
	const uint32_t n_ctx = session_options(m, args, n_tokens, 1).n_ctx;
	const uint32_t trained = model_info(m).n_ctx_train;

	return n_ctx ? n_ctx : trained < 4096 ? trained : 4096;
}

int model_memory(const struct linnet_model *m, const struct session_args *args,
		 uint64_t n_tokens, uint32_t n_outputs, struct linnet_memory_info *mem,
		 struct linnet_error *err)
{
	struct linnet_session_options opts = session_options(m, args, n_tokens, n_outputs);

	return linnet_model_memory(m, &opts, mem, err);
}

int model_session(struct linnet_session **out, struct linnet_model *m,
		  const struct model_args *margs, const struct session_args *args,
		  uint64_t n_tokens, uint32_t n_outputs)
{
	struct linnet_session_options opts = session_options(m, args, n_tokens, n_outputs);
	struct linnet_model_info info = model_info(m);
	struct linnet_memory_info mem = LINNET_INIT(mem);
	struct linnet_error err = { 0 };
	char a[32], b[32], c[32];

	if (opts.n_ctx > info.n_ctx_train && info.n_ctx_train)
		tool_note("%s: the context is longer than the model was trained for "
			  "(--ctx, %u, trained for %u)", margs->path, opts.n_ctx, info.n_ctx_train);
	if (!linnet_model_memory(m, &opts, &mem, NULL)) {
		if (mem.experts)
			tool_note("%s: of %s of experts the %s used most stay in memory "
				  "(--memory, %s)", margs->path, format_bytes(a, mem.experts_bytes),
				  format_bytes(b, mem.experts), format_bytes(c, mem.budget));
		if (mem.streamed)
			tool_note("%s: %s of the weights stay in memory, %s are read again in "
				  "every pass (--memory, %s)",
				  margs->path, format_bytes(a, mem.resident),
				  format_bytes(b, mem.streamed), format_bytes(c, mem.budget));
	}
	if (linnet_session_create(out, m, &opts, &err)) {
		tool_error("%s", err.message);
		return TOOL_FAILED;
	}
	return TOOL_OK;
}

uint32_t model_restore(struct linnet_session *s, const int32_t *ids, size_t n)
{
	const int64_t have = linnet_session_restore(s, ids, n, NULL);

	if (have > 0 && (size_t)have == n)
		linnet_session_truncate(s, (uint32_t)n - 1);
	return linnet_session_length(s);
}

void model_save(struct linnet_session *s)
{
	struct linnet_error err = { 0 };

	if (linnet_session_save(s, &err))
		tool_note("%s", err.message);
}

struct watch {
	const struct linnet_session *session;
	uint64_t weight_bytes;
	uint64_t n_tokens;
	atomic_uint_least64_t n_done;
	pthread_mutex_t lock;
	pthread_cond_t stop_cond;
	bool stop;
};

static void watch_draw(struct watch *w, uint64_t start_ns)
{
	struct linnet_stats st = LINNET_INIT(st);
	char done[32], total[32], rate[32], text[128];
	double seconds = (double)(now_ns() - start_ns) / 1e9;
	uint64_t n = atomic_load(&w->n_done);

	if (!linnet_session_stats(w->session, &st) && st.bytes_read < w->weight_bytes) {
		snprintf(text, sizeof(text), "%s of %s, %s/s", format_bytes(done, st.bytes_read),
			 format_bytes(total, w->weight_bytes),
			 format_bytes(rate, (uint64_t)((double)st.bytes_read / seconds)));
		term_progress("reading", st.bytes_read, w->weight_bytes, text);
	} else {
		snprintf(text, sizeof(text), "%llu of %llu tokens", (unsigned long long)n,
			 (unsigned long long)w->n_tokens);
		term_progress("prompt ", n, w->n_tokens, text);
	}
}

static void *watch_thread(void *arg)
{
	struct watch *w = arg;
	uint64_t start = now_ns();
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	pthread_mutex_lock(&w->lock);
	while (!w->stop) {
		/* Short work shows no bar: the first one is drawn after 0.2 s. */
		until.tv_nsec += 200000000;
		if (until.tv_nsec >= 1000000000) {
			until.tv_nsec -= 1000000000;
			until.tv_sec++;
		}
		pthread_cond_timedwait(&w->stop_cond, &w->lock, &until);
		if (!w->stop)
			watch_draw(w, start);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

int model_prefill(struct linnet_session *s, const struct linnet_model *m, const int32_t *ids,
		  size_t n, bool logits, struct linnet_error *err)
{
	struct watch w = { .session = s, .weight_bytes = model_info(m).weight_bytes,
		.n_tokens = n };
	bool watching = term_is(2) && !tool_quiet;
	pthread_condattr_t attr;
	pthread_t thread;
	int ret = 0;

	if (watching) {
		pthread_mutex_init(&w.lock, NULL);
		pthread_condattr_init(&attr);
		pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
		pthread_cond_init(&w.stop_cond, &attr);
		pthread_condattr_destroy(&attr);
		watching = !pthread_create(&thread, NULL, watch_thread, &w);
	}
	for (size_t i = 0, step; i < n && !ret; i += step) {
		step = n - i < 512 ? n - i : 512;
		ret = linnet_session_decode(s, ids + i, step, logits && i + step == n ?
					    LINNET_LOGITS_LAST : LINNET_LOGITS_NONE, err);
		atomic_fetch_add(&w.n_done, step);
	}
	if (watching) {
		pthread_mutex_lock(&w.lock);
		w.stop = true;
		pthread_cond_signal(&w.stop_cond);
		pthread_mutex_unlock(&w.lock);
		pthread_join(thread, NULL);
	}
	term_clear_line();
	return ret;
}
