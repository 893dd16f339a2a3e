// SPDX-License-Identifier: MIT
/*
 * Sessions: a sequence of tokens, its KV cache, and the passes over the model. A
 * pass is one job for the embeddings, one for each layer and one for the output,
 * each submitted as soon as its weights are in memory.
 */
#include "session.h"

#include "runtime/util/error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

struct linnet_session {
	struct linnet_model *m;
	struct linnet_session_plan plan;
	struct linnet_kv *kv;
	struct linnet_region *act, *batch;
	struct linnet_engine_stream **stream;	/* as plan.graph.stream */
	struct linnet_job *job;			/* embeddings, layers, output */
	struct linnet_binding *binding;
	uint32_t pending;			/* jobs submitted, not ended */
	int failed;				/* of the first job that failed */
	uint32_t failed_job;
	_Atomic int interrupt;			/* the caller's wish */
	_Atomic int stop;			/* jobs look at this one */
	uint32_t n_past, n_pages;
	uint32_t n_logits;			/* rows of the last decode */
};

static int32_t *batch_i32(const struct linnet_session *s, uint64_t offset)
{
	return (int32_t *)(s->batch->addr + offset);
}

static void job_done(struct linnet_job *job, int result)
{
	struct linnet_session *s = job->ctx;

	s->pending--;
	if (result && !s->failed) {
		s->failed = result;
		s->failed_job = job - s->job;
		s->stop = 1;
	}
}

static void bind(struct linnet_job *job, struct linnet_binding **next, uint32_t slot,
		 const struct linnet_region *region, uint64_t offset, uint64_t bytes)
{
	**next = (struct linnet_binding){ slot, region, offset, bytes };
	(*next)++;
	job->n_bindings++;
}

static void bind_global(struct linnet_session *s, struct linnet_job *job,
			struct linnet_binding **next, enum linnet_global g)
{
	struct linnet_weight w;

	if (!s->m->global[g])
		return;
	w = linnet_model_weight(s->m, g);
	bind(job, next, LINNET_SLOT_WEIGHT + g, w.region, w.offset, w.bytes);
}

/* Fill the jobs' bindings; they stay the same from pass to pass. */
static int make_jobs(struct linnet_session *s, struct linnet_error *err)
{
	const struct linnet_model *m = s->m;
	const uint32_t n_layer = m->hp.n_layer, n_jobs = n_layer + 2;
	struct linnet_binding *next;

	s->job = calloc(n_jobs, sizeof(*s->job));
	s->binding = next = calloc((size_t)n_jobs * LINNET_SLOTS, sizeof(*s->binding));
	if (!s->job || !s->binding)
		return linnet_err(err, -ENOMEM, "%s: out of memory", linnet_gguf_path(m->gguf));
	for (uint32_t i = 0; i < n_jobs; i++) {
		struct linnet_job *job = &s->job[i];

		job->binding = next;
		job->done = job_done;
		job->ctx = s;
		job->interrupt = &s->stop;
		bind(job, &next, LINNET_SLOT_ACT, s->act, 0, s->act->bytes);
		bind(job, &next, LINNET_SLOT_BATCH, s->batch, 0, s->batch->bytes);
		if (i == 0) {
			job->stream = s->stream[LINNET_STREAM_EMBED];
			for (unsigned g = LINNET_TOKEN_EMBD; g <= LINNET_ROPE_SHORT; g++)
				bind_global(s, job, &next, g);
		} else if (i == n_jobs - 1) {
			job->stream = s->stream[LINNET_STREAM_OUTPUT];
			for (unsigned g = LINNET_OUTPUT_NORM; g < LINNET_GLOBALS; g++)
				bind_global(s, job, &next, g);
			if (!m->global[LINNET_OUTPUT])
				bind_global(s, job, &next, LINNET_TOKEN_EMBD);
		} else {
			const struct linnet_layer *l = &m->layer[i - 1];
			const uint64_t at = s->plan.kv[i - 1].offset;

			job->stream = s->stream[s->plan.graph.layer_stream[i - 1]];
			bind(job, &next, LINNET_SLOT_KV, s->kv->region, at,
			     s->kv->region->bytes - at);
			for (unsigned r = 0; r < LINNET_LAYER_ROLES; r++) {
				struct linnet_weight w;

				if (!l->tensor[r])
					continue;
				w = linnet_weights_find(m->weights, linnet_model_group_layer(i - 1),
							l->in_group[r]);
				bind(job, &next, LINNET_SLOT_WEIGHT + r, w.region, w.offset,
				     w.bytes);
			}
		}
	}
	return 0;
}

int linnet_session_create(struct linnet_session **out, struct linnet_model *m,
			  const struct linnet_session_options *opts, struct linnet_error *err)
{
	struct linnet_session *s;
	struct linnet_engine *e = m->engine;
	const bool huge = !m->opts.no_huge_pages;
	int ret;

	if (m->opts.vocab_only)
		return linnet_err(err, -EINVAL, "%s: opened for its vocabulary only",
				  linnet_gguf_path(m->gguf));
	s = calloc(1, sizeof(*s));
	if (!s)
		return linnet_err(err, -ENOMEM, "%s: out of memory", linnet_gguf_path(m->gguf));
	s->m = m;
	m->n_sessions++;
	ret = linnet_session_plan_make(&s->plan, m, opts, err);
	if (ret)
		goto err_destroy;
	s->stream = calloc(s->plan.graph.n_streams, sizeof(*s->stream));
	if (!s->stream) {
		ret = linnet_err(err, -ENOMEM, "%s: out of memory", linnet_gguf_path(m->gguf));
		goto err_destroy;
	}
	for (uint32_t i = 0; i < s->plan.graph.n_streams; i++) {
		ret = e->ops->stream_create(e, &s->stream[i], s->plan.graph.stream[i].data,
					    s->plan.graph.stream[i].bytes, err);
		if (ret)
			goto err_destroy;
	}
	ret = linnet_kv_create(&s->kv, e, s->plan.kv_type, s->plan.kv, m->hp.n_layer,
			       s->plan.kv_page_bytes, s->plan.n_pages, huge, err);
	if (ret)
		goto err_destroy;
	ret = e->ops->region_create(e, &s->act, s->plan.graph.act_bytes, huge, err);
	if (ret)
		goto err_destroy;
	ret = e->ops->region_create(e, &s->batch, s->plan.graph.batch.bytes, false, err);
	if (ret)
		goto err_destroy;
	ret = linnet_weights_start(m->weights, err);
	if (ret)
		goto err_destroy;
	ret = make_jobs(s, err);
	if (ret)
		goto err_destroy;
	*out = s;
	return 0;

err_destroy:
	linnet_session_destroy(s);
	return ret;
}

void linnet_session_destroy(struct linnet_session *s)
{
	struct linnet_engine *e;

	if (!s)
		return;
	e = s->m->engine;
	free(s->binding);
	free(s->job);
	if (s->batch)
		e->ops->region_destroy(e, s->batch);
	if (s->act)
		e->ops->region_destroy(e, s->act);
	linnet_kv_destroy(s->kv);
	for (uint32_t i = 0; s->stream && i < s->plan.graph.n_streams; i++)
		e->ops->stream_destroy(e, s->stream[i]);
	free(s->stream);
	linnet_session_plan_free(&s->plan);
	s->m->n_sessions--;
	free(s);
}

/* Submit job i when its weights are there. */
static int submit(struct linnet_session *s, uint32_t i, uint32_t n_tokens, uint32_t n_outputs,
		  struct linnet_error *err)
{
	struct linnet_job *job = &s->job[i];
	struct linnet_model *m = s->m;
	int ret;

	/* job number and group number are the same */
	while (!(ret = linnet_weights_ready(m->weights, i, err))) {
		if (s->failed)
			return 0;
		if (s->interrupt)
			return -EINTR;
		ret = linnet_queue_wait(m->queue);
		if (ret)
			return linnet_err(err, -EIO, "%s: weights are missing and nothing is read",
					  linnet_gguf_path(m->gguf));
	}
	if (ret < 0)
		return ret;
	job->params[LINNET_PARAM_TOKENS] = n_tokens;
	job->params[LINNET_PARAM_OUTPUTS] = n_outputs;
	ret = m->engine->ops->submit(m->engine, job);
	if (ret)
		return linnet_err(err, ret, "%s: the engine refused job %u",
				  linnet_gguf_path(m->gguf), i);
	s->pending++;
	return 0;
}

static int job_error(const struct linnet_session *s, struct linnet_error *err)
{
	const char *path = linnet_gguf_path(s->m->gguf);

	if (s->failed == -EINTR)
		return linnet_err(err, -EINTR, "%s: interrupted", path);
	return linnet_err(err, s->failed, "%s: operation %u of job %u failed: %s", path,
			  s->job[s->failed_job].failed_op, s->failed_job, strerror(-s->failed));
}

/* One pass over n tokens; the batch region says which. */
static int run_pass(struct linnet_session *s, uint32_t n, uint32_t n_outputs,
		    struct linnet_error *err)
{
	const uint32_t n_jobs = s->m->hp.n_layer + 1 + (n_outputs > 0);
	int ret = 0;

	s->failed = 0;
	s->stop = 0;
	for (uint32_t i = 0; i < n_jobs && !ret && !s->failed; i++) {
		ret = submit(s, i, n, n_outputs, err);
		/* the first read must not wait for the last job */
		linnet_queue_poll(s->m->queue);
		if (s->interrupt)
			s->stop = 1;
	}
	if (ret)
		s->stop = 1;
	while (s->pending) {
		if (s->interrupt)
			s->stop = 1;
		linnet_queue_wait(s->m->queue);
	}
	if (ret == -EINTR)
		return linnet_err(err, ret, "%s: interrupted", linnet_gguf_path(s->m->gguf));
	if (ret)
		return ret;
	return s->failed ? job_error(s, err) : 0;
}

/* Pages for positions up to n; the page table follows. */
static int take_pages(struct linnet_session *s, uint32_t n)
{
	int32_t *table = batch_i32(s, s->plan.graph.batch.pages);

	while ((uint64_t)s->n_pages * LINNET_KV_PAGE < n) {
		int32_t page = linnet_kv_page_get(s->kv);

		if (page < 0)
			return page;
		table[s->n_pages++] = page;
	}
	return 0;
}

static int decode_pass(struct linnet_session *s, const int32_t *ids, uint32_t n,
		       enum linnet_logits logits, struct linnet_error *err)
{
	const struct linnet_batch_layout *at = &s->plan.graph.batch;
	int32_t *out = batch_i32(s, at->out);
	uint32_t n_outputs = 0;
	int ret;

	ret = take_pages(s, s->n_past + n);
	if (ret)
		return linnet_err(err, ret, "the KV cache is full (pages, %u)", s->n_pages);
	for (uint32_t i = 0; i < n; i++) {
		batch_i32(s, at->ids)[i] = ids[i];
		batch_i32(s, at->pos)[i] = s->n_past + i;
		batch_i32(s, at->seq)[i] = 0;
	}
	if (logits == LINNET_LOGITS_LAST)
		out[n_outputs++] = n - 1;
	for (uint32_t i = 0; logits == LINNET_LOGITS_ALL && i < n; i++)
		out[n_outputs++] = i;
	ret = run_pass(s, n, n_outputs, err);
	if (ret)
		return ret;
	s->n_past += n;
	s->n_logits = n_outputs;
	return 0;
}

int linnet_session_decode(struct linnet_session *s, const int32_t *ids, size_t n,
			  enum linnet_logits logits, struct linnet_error *err)
{
	int ret = 0;

	s->n_logits = 0;
	if (n > s->plan.n_ctx - s->n_past)
		return linnet_err(err, -ENOSPC, "the context is full (tokens, %zu after %u of %u)",
				  n, s->n_past, s->plan.n_ctx);
	if (logits == LINNET_LOGITS_ALL && n > s->plan.n_outputs)
		return linnet_err(err, -EINVAL, "more rows of logits than the session has "
				  "(n_outputs, %u for %zu)", s->plan.n_outputs, n);
	for (size_t i = 0; i < n; i++)
		if (ids[i] < 0 || (uint32_t)ids[i] >= s->m->hp.n_vocab)
			return linnet_err(err, -ERANGE, "no such token (id, %d)", ids[i]);
	while (n && !ret) {
		uint32_t pass = n < s->plan.n_batch ? n : s->plan.n_batch;

		ret = decode_pass(s, ids, pass, pass == n ? logits : LINNET_LOGITS_NONE, err);
		ids += pass;
		n -= pass;
		if (!ret && n && s->interrupt)
			ret = linnet_err(err, -EINTR, "%s: interrupted",
					 linnet_gguf_path(s->m->gguf));
	}
	if (ret == -EINTR)
		s->interrupt = 0;
	return ret;
}

const float *linnet_session_logits(const struct linnet_session *s, size_t i)
{
	if (i >= s->n_logits)
		return NULL;
	return (const float *)(s->act->addr + s->plan.graph.logits) + i * s->m->hp.n_vocab;
}

uint32_t linnet_session_length(const struct linnet_session *s)
{
	return s->n_past;
}

uint32_t linnet_session_capacity(const struct linnet_session *s)
{
	return s->plan.n_ctx;
}

int linnet_session_truncate(struct linnet_session *s, uint32_t n)
{
	const int32_t *table = batch_i32(s, s->plan.graph.batch.pages);

	if (n > s->n_past)
		return -EINVAL;
	s->n_past = n;
	while (s->n_pages && (uint64_t)(s->n_pages - 1) * LINNET_KV_PAGE >= n)
		linnet_kv_page_put(s->kv, table[--s->n_pages]);
	return 0;
}

void linnet_session_interrupt(struct linnet_session *s)
{
	s->interrupt = 1;
}

int linnet_session_stats(const struct linnet_session *s, struct linnet_stats *stats)
{
	struct linnet_weights_stats w;
	struct linnet_stats full = { .size = stats->size };
	struct rusage usage;
	int refused;

	if (stats->size < sizeof(stats->size))
		return -EINVAL;
	linnet_weights_stats(s->m->weights, &w);
	full.bytes_read = w.bytes_read;
	full.read_ns = w.read_ns;
	if (!getrusage(RUSAGE_SELF, &usage))
		full.peak_bytes = (uint64_t)usage.ru_maxrss * 1024;
	full.direct_io = w.direct_io;
	full.huge_pages = w.huge_pages;
	full.io_uring = linnet_queue_is_io_uring(s->m->queue);
	refused = linnet_queue_refused(s->m->queue);
	if (refused)
		snprintf(full.note, sizeof(full.note), "io_uring: %s", strerror(-refused));
	else if (!w.direct_io && !s->m->opts.no_direct_io)
		snprintf(full.note, sizeof(full.note), "direct I/O: not on this file system");
	memcpy(stats, &full, stats->size < sizeof(full) ? stats->size : sizeof(full));
	return 0;
}
