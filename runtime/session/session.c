// SPDX-License-Identifier: MIT
/*
 * Sessions: a sequence of tokens, its KV cache, and the passes over the model. A
 * pass is one job for each unit of weights - the embeddings, each layer or part of
 * one, the output - submitted as soon as the unit is in memory. Job and unit have the
 * same number.
 */
#include "session.h"

#include "runtime/memory/gather.h"
#include "runtime/util/error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static int32_t *batch_i32(const struct linnet_session *s, uint64_t offset)
{
	return (int32_t *)(s->batch->addr + offset);
}

int32_t *linnet_session_pages(const struct linnet_session *s)
{
	return batch_i32(s, s->plan.graph.batch.pages);
}

static void job_done(struct linnet_job *job, int result)
{
	struct linnet_session *s = job->ctx;

	s->pending--;
	linnet_weights_done(s->m->weights, job - s->job, job - s->job + 1);
	if (result && !s->failed) {
		s->failed = result;
		s->failed_job = job - s->job;
		s->stop = 1;
	}
}

static void bind(struct linnet_job *job, struct linnet_binding *b, uint32_t slot,
		 const struct linnet_region *region, uint64_t offset, uint64_t bytes)
{
	b[job->n_bindings++] = (struct linnet_binding){ slot, region, offset, bytes };
}

/* Bind the tensors of unit i, which is in memory. */
static void bind_unit(struct linnet_session *s, struct linnet_job *job, struct linnet_binding *b,
		      size_t unit)
{
	const struct linnet_units *u = s->m->units;

	for (size_t i = 0; i < u->unit[unit].n; i++) {
		struct linnet_weight w = linnet_weights_find(s->m->weights, unit, i);

		bind(job, b, u->slot[unit][i], w.region, w.offset, w.bytes);
	}
}

/* The bindings of job i: where things are in this pass. */
static void bind_job(struct linnet_session *s, uint32_t i)
{
	struct linnet_binding *b = s->binding + (size_t)i * LINNET_SLOTS;
	const struct linnet_units *u = s->m->units;
	struct linnet_job *job = &s->job[i];

	job->binding = b;
	job->n_bindings = 0;
	bind(job, b, LINNET_SLOT_ACT, s->act, 0, s->act->bytes);
	bind(job, b, LINNET_SLOT_BATCH, s->batch, 0, s->batch->bytes);
	if (i > 0 && i < s->n_jobs - 1) {
		const uint64_t at = s->plan.kv[(i - 1) / u->parts].offset;

		bind(job, b, LINNET_SLOT_KV, s->kv->region, at, s->kv->region->bytes - at);
	}
	bind_unit(s, job, b, i);
	if (!i && s->gather) {
		const struct linnet_region *table = linnet_gather_table(s->gather);

		bind(job, b, LINNET_SLOT_WEIGHT + LINNET_TOKEN_EMBD, table, 0, table->bytes);
	}
	/* tied: the output uses the embeddings */
	if (i == s->n_jobs - 1 && !s->m->global[LINNET_OUTPUT]) {
		struct linnet_weight w = linnet_weights_find(s->m->weights, 0, 0);

		bind(job, b, LINNET_SLOT_WEIGHT + LINNET_TOKEN_EMBD, w.region, w.offset, w.bytes);
	}
}

static int make_jobs(struct linnet_session *s, struct linnet_error *err)
{
	const struct linnet_units *u = s->m->units;

	s->n_jobs = u->n_units;
	s->job = calloc(s->n_jobs, sizeof(*s->job));
	s->binding = calloc((size_t)s->n_jobs * LINNET_SLOTS, sizeof(*s->binding));
	if (!s->job || !s->binding)
		return linnet_err(err, -ENOMEM, "%s: out of memory", linnet_gguf_path(s->m->gguf));
	for (uint32_t i = 0; i < s->n_jobs; i++) {
		uint32_t stream = LINNET_STREAM_EMBED;

		if (i == s->n_jobs - 1)
			stream = LINNET_STREAM_OUTPUT;
		else if (i)
			stream = s->plan.graph.layer_stream[i - 1];
		s->job[i] = (struct linnet_job){
			.stream = s->stream[stream],
			.done = job_done,
			.ctx = s,
			.interrupt = &s->stop,
		};
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
	s->seq.ids = malloc(s->plan.n_ctx * sizeof(*s->seq.ids));
	if (!s->seq.ids) {
		ret = linnet_err(err, -ENOMEM, "%s: out of memory", linnet_gguf_path(m->gguf));
		goto err_destroy;
	}
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
	ret = linnet_model_place(m, &s->plan, err);
	if (ret)
		goto err_destroy;
	if (m->units->gather) {
		ret = linnet_gather_create(&s->gather, m->weights, m->global[LINNET_TOKEN_EMBD],
					   s->plan.n_batch, err);
		if (ret)
			goto err_destroy;
	}
	m->planned_bytes += s->plan.memory.kv + s->plan.memory.scratch;
	ret = make_jobs(s, err);
	if (ret)
		goto err_destroy;
	ret = linnet_session_open_prefix(s, opts, err);
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
	linnet_gather_destroy(s->gather);
	if (s->batch)
		e->ops->region_destroy(e, s->batch);
	if (s->act)
		e->ops->region_destroy(e, s->act);
	linnet_kv_destroy(s->kv);
	for (uint32_t i = 0; s->stream && i < s->plan.graph.n_streams; i++)
		e->ops->stream_destroy(e, s->stream[i]);
	free(s->stream);
	if (s->job)
		s->m->planned_bytes -= s->plan.memory.kv + s->plan.memory.scratch;
	linnet_prefix_close(s->prefix);
	linnet_session_plan_free(&s->plan);
	free(s->seq.ids);
	free(s->binding);
	free(s->job);
	s->m->n_sessions--;
	free(s);
}

/* As linnet_weights_ready(), for all that job i needs. */
static int job_ready(struct linnet_session *s, uint32_t i, struct linnet_error *err)
{
	int ret = linnet_weights_ready(s->m->weights, i, err);

	return ret == 1 && !i && s->gather ? linnet_gather_ready(s->gather, err) : ret;
}

/* Submit job i when its weights are there. */
static int submit(struct linnet_session *s, uint32_t i, uint32_t n_tokens, uint32_t n_outputs,
		  struct linnet_error *err)
{
	struct linnet_job *job = &s->job[i];
	struct linnet_model *m = s->m;
	int ret;

	while (!(ret = job_ready(s, i, err))) {
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
	bind_job(s, i);
	job->params[LINNET_PARAM_TOKENS] = n_tokens;
	job->params[LINNET_PARAM_OUTPUTS] = n_outputs;
	ret = m->engine->ops->submit(m->engine, job);
	if (ret)
		return linnet_err(err, ret, "%s: the engine refused job %u",
				  linnet_gguf_path(m->gguf), i);
	linnet_weights_use(m->weights, i);
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
	const uint32_t n_jobs = n_outputs ? s->n_jobs : s->n_jobs - 1;
	int ret = 0;

	s->failed = 0;
	s->stop = 0;
	linnet_weights_begin(s->m->weights);
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
	if (s->failed)
		return job_error(s, err);
	/* nobody may have written to what was computed with */
	return linnet_weights_check(s->m->weights, err);
}

/* Pages for positions up to n; the page table follows. */
static int take_pages(struct linnet_session *s, uint32_t n)
{
	int32_t *table = linnet_session_pages(s);

	while ((uint64_t)s->seq.n_pages * LINNET_KV_PAGE < n) {
		int32_t page = linnet_kv_page_get(s->kv);

		if (page < 0)
			return page;
		table[s->seq.n_pages++] = page;
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

	ret = take_pages(s, s->seq.n_past + n);
	if (ret)
		return linnet_err(err, ret, "the KV cache is full (pages, %u)", s->seq.n_pages);
	for (uint32_t i = 0; i < n; i++) {
		/* a gathered table has a row for each token */
		batch_i32(s, at->ids)[i] = s->gather ? (int32_t)i : ids[i];
		batch_i32(s, at->pos)[i] = s->seq.n_past + i;
		batch_i32(s, at->seq)[i] = 0;
	}
	if (logits == LINNET_LOGITS_LAST)
		out[n_outputs++] = n - 1;
	for (uint32_t i = 0; logits == LINNET_LOGITS_ALL && i < n; i++)
		out[n_outputs++] = i;
	if (s->gather)
		linnet_gather_start(s->gather, ids, n);
	ret = run_pass(s, n, n_outputs, err);
	while (s->gather && !linnet_gather_ready(s->gather, NULL))
		linnet_queue_wait(s->m->queue);
	if (ret)
		return ret;
	memcpy(s->seq.ids + s->seq.n_past, ids, n * sizeof(*ids));
	s->seq.n_past += n;
	s->n_logits = n_outputs;
	return 0;
}

int linnet_session_decode(struct linnet_session *s, const int32_t *ids, size_t n,
			  enum linnet_logits logits, struct linnet_error *err)
{
	int ret = 0;

	s->n_logits = 0;
	if (n > s->plan.n_ctx - s->seq.n_past)
		return linnet_err(err, -ENOSPC, "the context is full (tokens, %zu after %u of %u)",
				  n, s->seq.n_past, s->plan.n_ctx);
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
	return s->seq.n_past;
}

uint32_t linnet_session_capacity(const struct linnet_session *s)
{
	return s->plan.n_ctx;
}

int linnet_session_truncate(struct linnet_session *s, uint32_t n)
{
	const int32_t *table = linnet_session_pages(s);

	if (n > s->seq.n_past)
		return -EINVAL;
	s->seq.n_past = n;
	if (s->seq.n_saved > n / LINNET_KV_PAGE)
		s->seq.n_saved = n / LINNET_KV_PAGE;
	while (s->seq.n_pages && (uint64_t)(s->seq.n_pages - 1) * LINNET_KV_PAGE >= n)
		linnet_kv_page_put(s->kv, table[--s->seq.n_pages]);
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
	full.read_retries = linnet_queue_retries(s->m->queue);
	full.verified_bytes = w.verified_bytes;
	if (!getrusage(RUSAGE_SELF, &usage))
		full.peak_bytes = (uint64_t)usage.ru_maxrss * 1024;
	full.direct_io = w.direct_io;
	full.huge_pages = w.huge_pages;
	full.io_uring = linnet_queue_is_io_uring(s->m->queue);
	full.kv_restored = s->n_restored;
	full.kv_saved = s->n_saved;
	if (s->prefix) {
		struct linnet_prefix_stats p;

		linnet_prefix_stats(s->prefix, &p);
		full.kv_rejected = p.rejected;
		memcpy(full.kv_note, p.note, sizeof(full.kv_note));
	}
	refused = linnet_queue_refused(s->m->queue);
	if (refused)
		snprintf(full.note, sizeof(full.note), "io_uring: %s", strerror(-refused));
	else if (!w.direct_io && !s->m->opts.no_direct_io)
		snprintf(full.note, sizeof(full.note), "direct I/O: not on this file system");
	memcpy(stats, &full, stats->size < sizeof(full) ? stats->size : sizeof(full));
	return 0;
}
