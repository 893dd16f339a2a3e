// SPDX-License-Identifier: MIT
/* The public face of models: opening, loading, and what there is to know of them. */
#include "session.h"

#include "kernels/kernels.h"
#include "runtime/memory/code.h"
#include "runtime/util/error.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Reads in flight that go through the page cache. */
#define BUFFERED_DEPTH 2

/* Copy of a string in the file, or of "" when there is none. */
static char *copy_str(const struct linnet_gguf *g, const char *key)
{
	struct linnet_str s = { "", 0 };

	/* a key of another type is as good as none here */
	if (linnet_gguf_get_str(g, key, &s, NULL))
		s.p = "";
	return strdup(s.p);
}

static void count(struct linnet_model *m)
{
	uint64_t by_type[LINNET_TYPE_COUNT] = { 0 };
	uint32_t best = LINNET_TYPE_F32;

	for (size_t i = 0; i < linnet_gguf_tensor_count(m->gguf); i++) {
		const struct linnet_gguf_tensor *t = linnet_gguf_tensor(m->gguf, i);

		/* the reader bounded these products by the size of the file */
		m->n_params += t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3];
		m->weight_bytes += t->bytes;
		by_type[t->type] += t->bytes;
		if (by_type[t->type] > by_type[best])
			best = t->type;
	}
	for (size_t i = 0; i < linnet_gguf_file_count(m->gguf); i++)
		m->file_bytes += linnet_gguf_file_bytes(m->gguf, i);
	m->type_name = m->weight_bytes ? linnet_type_info(best)->name : "";
}

/* What of a layer's tensor a token uses: of experts, those that are chosen. */
static uint64_t used(const struct linnet_model *m, enum linnet_role role, uint64_t n)
{
	if (role >= LINNET_FFN_GATE_EXPS && role <= LINNET_FFN_DOWN_EXPS)
		return n / m->hp.n_expert * m->hp.n_expert_used;
	return n;
}

/* What a token costs. */
static void count_token(struct linnet_model *m)
{
	const struct linnet_gguf_tensor *out = m->global[LINNET_OUTPUT];

	for (uint32_t i = 0; i < m->hp.n_layer; i++) {
		for (unsigned role = 0; role < LINNET_LAYER_ROLES; role++) {
			const struct linnet_gguf_tensor *t = m->layer[i].tensor[role];

			if (!t)
				continue;
			m->token_bytes += used(m, role, t->bytes);
			if (t->ne[1] > 1)
				m->token_products += used(m, role, t->ne[0] * t->ne[1] * t->ne[2]);
		}
	}
	out = out ? out : m->global[LINNET_TOKEN_EMBD];
	m->token_bytes += out->bytes;
	m->output_products = out->ne[0] * out->ne[1];
}

/* Everything that computing needs: hyperparameters, tensors, engine. */
static int open_weights(struct linnet_model *m, struct linnet_error *err)
{
	const struct linnet_engine_ops *ops = linnet_engine_find(m->opts.engine);
	const bool bounded = m->opts.memory_bytes != LINNET_MEMORY_UNLIMITED;
	struct linnet_queue_options queue = {
		.no_io_uring = m->opts.no_io_uring,
		.bytes_per_second = m->opts.read_bandwidth,
		.leave_cache = bounded,
		/* what is in flight is in the page cache, too */
		.depth = m->opts.no_direct_io && bounded ? BUFFERED_DEPTH : m->opts.read_depth,
	};
	struct linnet_engine_options engine = {
		.n_threads = m->opts.n_threads,
		.no_numa = m->opts.no_numa,
	};
	int ret;

	if (m->opts.read_depth > LINNET_READ_DEPTH_MOST)
		return linnet_err(err, -EINVAL, "too many requests at once (read_depth, %u)",
				  m->opts.read_depth);
	if (!ops)
		return linnet_err(err, -EINVAL, "no such engine (%s)", m->opts.engine);
	ret = linnet_hparams_read(m, err);
	if (!ret)
		ret = linnet_tensors_read(m, err);
	if (ret)
		return ret;
	count_token(m);
	if (m->tokenizer && linnet_tokenizer_n_vocab(m->tokenizer) > m->hp.n_vocab)
		return linnet_err(err, -EINVAL,
				  "%s: more tokens than embeddings "
				  "(tokenizer.ggml.tokens, %u of %u)",
				  linnet_gguf_path(m->gguf), linnet_tokenizer_n_vocab(m->tokenizer),
				  m->hp.n_vocab);
	ret = linnet_queue_create(&m->queue, &queue, err);
	if (ret)
		return ret;
	engine.queue = m->queue;
	linnet_queue_set_tick(m->queue, linnet_model_follow, m);
	return ops->open(&m->engine, &engine, err);
}

int linnet_model_open(struct linnet_model **out, const char *path,
		      const struct linnet_model_options *opts, struct linnet_error *err)
{
	struct linnet_model *m = calloc(1, sizeof(*m));
	int ret;

	if (!m)
		return linnet_err(err, -ENOMEM, "%s: out of memory", path);
	pthread_mutex_init(&m->run, NULL);
	ret = linnet_options_copy(&m->opts, sizeof(m->opts), opts);
	if (ret) {
		linnet_err(err, ret, "model options of a newer version are set");
		goto err_close;
	}
	ret = linnet_gguf_open(&m->gguf, path, err);
	if (ret)
		goto err_close;
	m->arch = copy_str(m->gguf, "general.architecture");
	m->name = copy_str(m->gguf, "general.name");
	if (!m->arch || !m->name) {
		ret = linnet_err(err, -ENOMEM, "%s: out of memory", path);
		goto err_close;
	}
	count(m);
	ret = linnet_tokenizer_create(&m->tokenizer, m->gguf, err);
	if (ret && ret != -ENOENT)
		goto err_close;
	m->root = "";
	m->follows = !m->opts.memory_bytes;
	/* where there is none, the numbers alone are followed; and code that may not be kept is
	 * as slow to come back as it is for others */
	if (m->follows && !m->opts.vocab_only) {
		linnet_pressure_open(&m->pressure, m->root);
		linnet_code_keep();
	}
	if (!m->opts.vocab_only) {
		ret = open_weights(m, err);
		if (ret)
			goto err_close;
	}
	/* the caller's strings need not live on */
	m->opts.engine = NULL;
	if (m->opts.share_dir) {
		m->share_dir = strdup(m->opts.share_dir);
		m->opts.share_dir = NULL;
		if (!m->share_dir) {
			ret = linnet_err(err, -ENOMEM, "%s: out of memory", path);
			goto err_close;
		}
	}
	m->budget = m->opts.memory_bytes ? m->opts.memory_bytes : linnet_model_automatic_budget(m);
	m->kept = m->budget;
	*out = m;
	return 0;

err_close:
	linnet_model_close(m);
	return ret;
}

void linnet_model_close(struct linnet_model *m)
{
	if (!m)
		return;
	linnet_experts_destroy(m->experts);
	linnet_weights_destroy(m->weights);
	if (m->engine)
		m->engine->ops->close(m->engine);
	linnet_queue_destroy(m->queue);
	linnet_tokenizer_destroy(m->tokenizer);
	linnet_units_free(m->units);
	free(m->layer);
	free(m->arch);
	free(m->name);
	free(m->share_dir);
	linnet_gguf_close(m->gguf);
	linnet_pressure_close(m->pressure);
	pthread_mutex_destroy(&m->run);
	free(m);
}

int linnet_model_load(struct linnet_model *m,
		      bool (*progress)(void *ctx, uint64_t done, uint64_t total), void *ctx,
		      struct linnet_error *err)
{
	struct linnet_session_plan plan;
	struct linnet_weights_stats stats;
	int ret;

	if (m->opts.vocab_only)
		return linnet_err(err, -EINVAL, "%s: opened for its vocabulary only",
				  linnet_gguf_path(m->gguf));
	linnet_model_lock(m);
	if (!m->weights) {
		ret = linnet_session_plan_make(&plan, m, NULL, err);
		if (ret)
			goto out_unlock;
		ret = linnet_model_place(m, &plan, err);
		linnet_session_plan_free(&plan);
		if (ret)
			goto out_unlock;
	}
	linnet_model_wake(m);
	/* what failed before is tried again */
	linnet_weights_begin(m->weights);
	/* what passes begin without has its turn now */
	if (!linnet_weights_absent(m->weights, LINNET_UNIT_EMBEDDINGS))
		linnet_weights_ready(m->weights, LINNET_UNIT_EMBEDDINGS, NULL);
	while (linnet_weights_reading(m->weights)) {
		linnet_queue_wait(m->queue);
		linnet_weights_stats(m->weights, &stats);
		if (progress && !progress(ctx, stats.bytes_read, stats.first_bytes)) {
			ret = linnet_err(err, -EINTR, "%s: interrupted", linnet_gguf_path(m->gguf));
			goto out_unlock;
		}
	}
	ret = linnet_weights_error(m->weights, err);
	if (!ret)
		ret = linnet_weights_check(m->weights, err);
out_unlock:
	linnet_model_unlock(m);
	return ret;
}

int linnet_model_info(const struct linnet_model *m, struct linnet_model_info *info)
{
	struct linnet_engine_info engine = { .name = "", .isa = "" };
	struct linnet_model_info full;

	if (info->size < sizeof(info->size))
		return -EINVAL;
	if (m->engine)
		m->engine->ops->info(m->engine, &engine);
	full = (struct linnet_model_info){
		.size = info->size,
		.architecture = m->arch,
		.name = m->name,
		.type_name = m->type_name,
		.engine = engine.name,
		.isa = engine.isa,
		.n_params = m->n_params,
		.weight_bytes = m->weight_bytes,
		.file_bytes = m->file_bytes,
		.n_files = linnet_gguf_file_count(m->gguf),
		.n_vocab = m->hp.n_vocab,
		.n_ctx_train = m->hp.n_ctx_train,
		.n_embd = m->hp.n_embd,
		.n_layer = m->hp.n_layer,
		.n_head = m->layer ? m->layer[0].n_head : 0,
		.n_head_kv = m->layer ? m->layer[0].n_head_kv : 0,
		.n_expert = m->hp.n_expert,
		.n_expert_used = m->hp.n_expert_used,
		.n_threads = engine.n_threads,
		.n_nodes = engine.n_nodes,
		.token_bytes = m->token_bytes,
		.token_products = m->token_products,
		.output_products = m->output_products,
	};
	if (!full.n_vocab && m->tokenizer)
		full.n_vocab = linnet_tokenizer_n_vocab(m->tokenizer);
	memcpy(info, &full, info->size < sizeof(full) ? info->size : sizeof(full));
	return 0;
}

int linnet_model_memory(const struct linnet_model *m, const struct linnet_session_options *opts,
			struct linnet_memory_info *info, struct linnet_error *err)
{
	struct linnet_session_plan plan;
	int ret;

	if (info->size < sizeof(info->size))
		return linnet_err(err, -EINVAL, "memory info without its size");
	if (m->opts.vocab_only)
		return linnet_err(err, -EINVAL, "%s: opened for its vocabulary only",
				  linnet_gguf_path(m->gguf));
	ret = linnet_session_plan_make(&plan, m, opts, err);
	if (ret)
		return ret;
	plan.memory.size = info->size;
	memcpy(info, &plan.memory,
	       info->size < sizeof(plan.memory) ? info->size : sizeof(plan.memory));
	linnet_session_plan_free(&plan);
	return 0;
}

int linnet_model_tensor(const struct linnet_model *m, size_t i, struct linnet_tensor_info *info)
{
	const struct linnet_gguf_tensor *t = linnet_gguf_tensor(m->gguf, i);
	struct linnet_tensor_info full = { .size = info->size };

	if (info->size < sizeof(info->size))
		return -EINVAL;
	if (!t)
		return -ENOENT;
	full.name = t->name.p;
	full.type_name = linnet_type_info(t->type)->name;
	full.n_dims = t->n_dims;
	memcpy(full.ne, t->ne, sizeof(full.ne));
	full.bytes = t->bytes;
	full.offset = t->offset;
	full.file = t->file;
	memcpy(info, &full, info->size < sizeof(full) ? info->size : sizeof(full));
	return 0;
}

int linnet_model_dump_streams(const struct linnet_model *m,
			      int (*write)(void *ctx, const char *text, size_t n), void *ctx)
{
	struct linnet_session_plan plan;
	int ret;

	if (m->opts.vocab_only)
		return -EINVAL;
	ret = linnet_session_plan_make(&plan, m, NULL, NULL);
	if (ret)
		return ret;
	for (uint32_t i = 0; i < plan.graph.n_streams && !ret; i++) {
		char title[96] = "embeddings";

		if (i == LINNET_STREAM_EMBED_ROWS)
			continue;

		if (i == LINNET_STREAM_OUTPUT) {
			strcpy(title, "output");
		} else if (i >= LINNET_STREAM_LAYERS) {
			uint32_t first = UINT32_MAX, n = 0;

			for (uint32_t l = 0; l < m->hp.n_layer; l++) {
				if (plan.graph.layer_stream[l] != i)
					continue;
				first = l < first ? l : first;
				n++;
			}
			/* of a part of layers that do not stay in memory */
			if (!n)
				continue;
			snprintf(title, sizeof(title), "layer %u (one of %u alike)", first, n);
		}
		ret = linnet_graph_dump(plan.graph.stream[i].data, plan.graph.stream[i].bytes,
					title, write, ctx);
	}
	linnet_session_plan_free(&plan);
	return ret;
}
