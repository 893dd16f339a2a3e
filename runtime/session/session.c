// SPDX-License-Identifier: MIT
/*
 * Sessions: a sequence of tokens and its KV cache, and what they take. Passes over the
 * model are made by pass.c.
 */
#include "session.h"

#include "runtime/memory/budget.h"
#include "runtime/util/error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int32_t *linnet_session_pages(const struct linnet_session *s, uint32_t seq)
{
	/* with cold pages, the jobs' tables are made anew for each pass */
	int32_t *pages = s->pages ? s->pages : linnet_batch_i32(s, s->plan.graph.batch.pages);

	return pages + (size_t)seq * s->plan.n_seq_pages;
}

static int create_kv(struct linnet_session *s, const struct linnet_session_options *options,
		     struct linnet_error *err)
{
	struct linnet_session_options opts;
	struct linnet_kv_options kv = {
		.type = s->plan.kv_type,
		.n_layers = s->m->hp.n_layer,
		.layer = s->plan.kv,
		.page_bytes = s->plan.kv_page_bytes,
		.n_pages = s->plan.n_pages,
		.n_frames = s->plan.n_frames,
		.huge = !s->m->opts.no_huge_pages,
		.queue = s->m->queue,
	};

	/* the plan has looked at them already */
	linnet_options_copy(&opts, sizeof(opts), options);
	kv.dir = opts.kv_dir ? opts.kv_dir : opts.kv_cache ? opts.kv_cache : "/var/tmp";
	if (kv.n_frames < kv.n_pages) {
		/* a folder that would be made for saved prefixes a little later; what is wrong
		 * with it shows when it is used */
		if (kv.dir == opts.kv_cache)
			mkdir(kv.dir, 0700);
		s->pages = calloc((size_t)s->plan.n_seqs * s->plan.n_seq_pages, sizeof(*s->pages));
		if (!s->pages)
			return linnet_err(err, -ENOMEM, "%s: out of memory",
					  linnet_gguf_path(s->m->gguf));
	}
	return linnet_kv_create(&s->kv, s->m->engine, &kv, err);
}

int linnet_session_create(struct linnet_session **out, struct linnet_model *m,
			  const struct linnet_session_options *opts, struct linnet_error *err)
{
	struct linnet_session *s;
	struct linnet_engine *e = m->engine;
	const enum linnet_pages pages = m->opts.no_huge_pages ? LINNET_PAGES_SMALL :
								LINNET_PAGES_HUGE;
	int ret;

	if (m->opts.vocab_only)
		return linnet_err(err, -EINVAL, "%s: opened for its vocabulary only",
				  linnet_gguf_path(m->gguf));
	s = calloc(1, sizeof(*s));
	if (!s)
		return linnet_err(err, -ENOMEM, "%s: out of memory", linnet_gguf_path(m->gguf));
	s->m = m;
	linnet_model_lock(m);
	m->n_sessions++;
	ret = linnet_session_plan_make(&s->plan, m, opts, err);
	if (ret)
		goto err_destroy;
	s->seq = calloc(s->plan.n_seqs, sizeof(*s->seq));
	for (uint32_t i = 0; s->seq && i < s->plan.n_seqs; i++) {
		s->seq[i].ids = malloc(s->plan.n_ctx * sizeof(*s->seq[i].ids));
		if (!s->seq[i].ids)
			goto err_memory;
	}
	if (!s->seq)
		goto err_memory;
	s->stream = calloc(s->plan.graph.n_streams, sizeof(*s->stream));
	if (!s->stream)
		goto err_memory;
	for (uint32_t i = 0; i < s->plan.graph.n_streams; i++) {
		ret = e->ops->stream_create(e, &s->stream[i], s->plan.graph.stream[i].data,
					    s->plan.graph.stream[i].bytes, err);
		if (ret)
			goto err_destroy;
	}
	ret = create_kv(s, opts, err);
	if (ret)
		goto err_destroy;
	ret = e->ops->region_create(e, &s->act, s->plan.graph.act_bytes, pages, err);
	if (ret)
		goto err_destroy;
	ret = e->ops->region_create(e, &s->batch, s->plan.graph.batch.bytes, LINNET_PAGES_SMALL,
				    err);
	if (ret)
		goto err_destroy;
	ret = linnet_model_place(m, &s->plan, err);
	if (ret)
		goto err_destroy;
	linnet_model_count_session(m, s, true);
	if (m->units->unit[LINNET_UNIT_EMBEDDINGS].optional ||
	    m->units->unit[LINNET_UNIT_EMBEDDINGS].late) {
		ret = linnet_gather_create(&s->gather, m->weights, m->global[LINNET_TOKEN_EMBD],
					   s->plan.n_batch, err);
		if (ret)
			goto err_destroy;
	}
	ret = linnet_pass_init(s, err);
	if (ret)
		goto err_destroy;
	ret = linnet_session_open_prefix(s, opts, err);
	if (ret)
		goto err_destroy;
	linnet_model_unlock(m);
	*out = s;
	return 0;

err_memory:
	ret = linnet_err(err, -ENOMEM, "%s: out of memory", linnet_gguf_path(m->gguf));
err_destroy:
	linnet_model_unlock(m);
	linnet_session_destroy(s);
	return ret;
}

void linnet_session_destroy(struct linnet_session *s)
{
	struct linnet_engine *e;

	if (!s)
		return;
	e = s->m->engine;
	linnet_model_lock(s->m);
	linnet_gather_destroy(s->gather);
	if (s->batch)
		e->ops->region_destroy(e, s->batch);
	if (s->act)
		e->ops->region_destroy(e, s->act);
	linnet_kv_destroy(s->kv);
	for (uint32_t i = 0; s->stream && i < s->plan.graph.n_streams; i++)
		e->ops->stream_destroy(e, s->stream[i]);
	free(s->stream);
	e->ops->stream_destroy(e, s->whole);
	linnet_prefix_close(s->prefix);
	for (uint32_t i = 0; s->seq && i < s->plan.n_seqs; i++)
		free(s->seq[i].ids);
	free(s->seq);
	free(s->pages);
	linnet_pass_free(s);
	linnet_model_count_session(s->m, s, false);
	linnet_session_plan_free(&s->plan);
	s->m->n_sessions--;
	linnet_model_unlock(s->m);
	free(s);
}

int linnet_session_own_page(struct linnet_session *s, uint32_t seq, uint32_t i,
			    struct linnet_error *err)
{
	struct linnet_sequence *q = &s->seq[seq];
	int32_t *table = linnet_session_pages(s, seq), page;
	int ret;

	if (i < q->n_pages && s->kv->users[table[i]] == 1)
		return linnet_kv_hold(s->kv, table[i], LINNET_KV_WRITE, err);
	page = linnet_kv_page_get(s->kv);
	if (page < 0)
		return linnet_err(err, page, "the KV cache is full (pages, %u)", s->plan.n_pages);
	ret = i < q->n_pages ? linnet_kv_copy(s->kv, page, table[i], err) :
			       linnet_kv_hold(s->kv, page, LINNET_KV_NEW, err);
	if (ret) {
		linnet_kv_page_put(s->kv, page);
		return ret;
	}
	if (i < q->n_pages)
		linnet_kv_page_put(s->kv, table[i]);
	else
		q->n_pages++;
	table[i] = page;
	return 0;
}

/* Give back the pages that no token of the sequence is on. */
static void trim(struct linnet_session *s, uint32_t seq)
{
	const int32_t *table = linnet_session_pages(s, seq);
	struct linnet_sequence *q = &s->seq[seq];

	while (q->n_pages && (uint64_t)(q->n_pages - 1) * LINNET_KV_PAGE >= q->n_past)
		linnet_kv_page_put(s->kv, table[--q->n_pages]);
}

/* Pages that n tokens more can be written to. */
static int take_pages(struct linnet_session *s, uint32_t seq, uint32_t n,
		      struct linnet_error *err)
{
	const uint32_t from = s->seq[seq].n_past;
	int ret = 0;

	for (uint32_t i = from / LINNET_KV_PAGE;
	     n && (uint64_t)i * LINNET_KV_PAGE < (uint64_t)from + n && !ret; i++)
		ret = linnet_session_own_page(s, seq, i, err);
	return ret;
}

/* The pages before those, which are read, and the jobs' page tables. */
static int read_pages(struct linnet_session *s, const struct linnet_tokens *in, size_t n_in,
		      struct linnet_error *err)
{
	const struct linnet_batch_layout *at = &s->plan.graph.batch;

	if (!s->pages)
		return 0;
	for (size_t j = 0; j < n_in; j++) {
		const uint32_t n_past = s->seq[in[j].seq].n_past;

		for (uint32_t i = 0; in[j].n && i < n_past / LINNET_KV_PAGE; i++) {
			int ret = linnet_kv_read(s->kv, linnet_session_pages(s, in[j].seq)[i],
						 n_past - (i + 1) * LINNET_KV_PAGE + 1, err);

			if (ret)
				return ret;
		}
	}
	for (uint32_t layer = 0; layer < s->m->hp.n_layer; layer++) {
		for (size_t j = 0; j < n_in; j++) {
			const int32_t *page = linnet_session_pages(s, in[j].seq);
			int32_t *table = linnet_batch_i32(s, at->pages + layer * at->table_bytes) +
					 (size_t)in[j].seq * s->plan.n_seq_pages;

			for (uint32_t i = 0; in[j].n && i < s->seq[in[j].seq].n_pages; i++)
				table[i] = linnet_kv_number(s->kv, page[i], layer);
		}
	}
	return 0;
}

/* Everything about pages that comes before a pass. */
static int prepare_pages(struct linnet_session *s, const struct linnet_tokens *in, size_t n_in,
			 struct linnet_error *err)
{
	int ret = 0;

	for (size_t j = 0; j < n_in; j++)
		for (uint32_t i = 0; in[j].n && i < s->seq[in[j].seq].n_pages; i++)
			linnet_kv_want(s->kv, linnet_session_pages(s, in[j].seq)[i]);
	for (size_t j = 0; j < n_in && !ret; j++)
		ret = take_pages(s, in[j].seq, in[j].n, err);
	return ret ? ret : read_pages(s, in, n_in, err);
}

/* What the pass is about, for the jobs; n and n_outputs get its sizes. */
static void fill_batch(struct linnet_session *s, const struct linnet_tokens *in, size_t n_in,
		       uint32_t *n, uint32_t *n_outputs)
{
	const struct linnet_batch_layout *at = &s->plan.graph.batch;
	int32_t *out = linnet_batch_i32(s, at->out);

	*n = *n_outputs = 0;
	for (size_t j = 0; j < n_in; j++) {
		for (uint32_t i = 0; i < in[j].n; i++, ++*n) {
			linnet_batch_i32(s, at->ids)[*n] = in[j].ids[i];
			linnet_batch_i32(s, at->pos)[*n] = s->seq[in[j].seq].n_past + i;
			linnet_batch_i32(s, at->seq)[*n] = in[j].seq;
			if (in[j].logits == LINNET_LOGITS_ALL ||
			    (in[j].logits == LINNET_LOGITS_LAST && i == in[j].n - 1))
				out[(*n_outputs)++] = *n;
		}
	}
}

/* One pass: the tokens of `in` fit a batch, their sequences differ. */
static int decode_pass(struct linnet_session *s, const struct linnet_tokens *in, size_t n_in,
		       struct linnet_error *err)
{
	uint32_t n, n_outputs;
	int ret = prepare_pages(s, in, n_in, err);

	if (!ret) {
		fill_batch(s, in, n_in, &n, &n_outputs);
		ret = linnet_pass_run(s, n, n_outputs, err);
	}
	linnet_kv_end(s->kv);
	if (ret)
		goto err_trim;
	for (size_t i = 0; i < n_in; i++) {
		struct linnet_sequence *q = &s->seq[in[i].seq];

		memcpy(q->ids + q->n_past, in[i].ids, in[i].n * sizeof(*q->ids));
		q->n_past += in[i].n;
	}
	s->n_logits = n_outputs;
	return 0;

err_trim:
	for (size_t i = 0; i < n_in; i++)
		trim(s, in[i].seq);
	return ret;
}

static int check_tokens(const struct linnet_session *s, const struct linnet_tokens *in,
			struct linnet_error *err)
{
	const uint32_t n_past = s->seq[in->seq].n_past;

	if (in->n > s->plan.n_ctx - n_past)
		return linnet_err(err, -ENOSPC, "the context is full (tokens, %zu after %u of %u)",
				  in->n, n_past, s->plan.n_ctx);
	for (size_t i = 0; i < in->n; i++)
		if (in->ids[i] < 0 || (uint32_t)in->ids[i] >= s->m->hp.n_vocab)
			return linnet_err(err, -ERANGE, "no such token (id, %d)", in->ids[i]);
	return 0;
}

int linnet_session_decode(struct linnet_session *s, const int32_t *ids, size_t n,
			  enum linnet_logits logits, struct linnet_error *err)
{
	struct linnet_tokens in = { s->current, ids, n, LINNET_LOGITS_NONE };
	struct linnet_model *m = s->m;
	int ret;

	s->n_logits = 0;
	ret = check_tokens(s, &in, err);
	if (ret)
		return ret;
	if (logits == LINNET_LOGITS_ALL && n > s->plan.n_outputs)
		return linnet_err(err, -EINVAL, "more rows of logits than the session has "
				  "(n_outputs, %u for %zu)", s->plan.n_outputs, n);
	linnet_model_lock(m);
	while (n && !ret) {
		in.n = n < s->plan.n_batch ? n : s->plan.n_batch;
		if (in.n == n)
			in.logits = logits;
		ret = decode_pass(s, &in, 1, err);
		in.ids += in.n;
		n -= in.n;
		if (!ret && n && s->interrupt)
			ret = linnet_err(err, -EINTR, "%s: interrupted", linnet_gguf_path(m->gguf));
	}
	linnet_model_unlock(m);
	if (ret == -EINTR)
		s->interrupt = 0;
	return ret;
}

int linnet_session_step(struct linnet_session *s, const struct linnet_tokens *in, size_t n,
			struct linnet_error *err)
{
	size_t tokens = 0, rows = 0;
	int ret;

	s->n_logits = 0;
	for (size_t i = 0; i < n; i++) {
		if (in[i].seq >= s->plan.n_seqs)
			return linnet_err(err, -EINVAL, "no such sequence (seq, %u of %u)",
					  in[i].seq, s->plan.n_seqs);
		for (size_t j = 0; j < i; j++)
			if (in[i].seq == in[j].seq)
				return linnet_err(err, -EINVAL,
						  "a sequence is named twice (seq, %u)", in[i].seq);
		ret = check_tokens(s, &in[i], err);
		if (ret)
			return ret;
		tokens += in[i].n;
		rows += in[i].logits == LINNET_LOGITS_ALL ? in[i].n :
			in[i].logits == LINNET_LOGITS_LAST && in[i].n;
	}
	if (tokens > s->plan.n_batch)
		return linnet_err(err, -E2BIG,
				  "more tokens than a pass takes (n_batch, %u for %zu)",
				  s->plan.n_batch, tokens);
	if (rows > s->plan.n_outputs)
		return linnet_err(err, -EINVAL, "more rows of logits than the session has "
				  "(n_outputs, %u for %zu)", s->plan.n_outputs, rows);
	linnet_model_lock(s->m);
	ret = tokens ? decode_pass(s, in, n, err) : 0;
	linnet_model_unlock(s->m);
	if (ret == -EINTR)
		s->interrupt = 0;
	return ret;
}

int linnet_session_select(struct linnet_session *s, uint32_t seq)
{
	if (seq >= s->plan.n_seqs)
		return -EINVAL;
	s->current = seq;
	return 0;
}

int linnet_session_fork(struct linnet_session *s, uint32_t to)
{
	const struct linnet_sequence *from = &s->seq[s->current];
	struct linnet_sequence *q;

	if (to >= s->plan.n_seqs)
		return -EINVAL;
	if (to == s->current)
		return 0;
	q = &s->seq[to];
	q->n_past = 0;
	trim(s, to);
	for (; q->n_pages < from->n_pages; q->n_pages++) {
		const int32_t page = linnet_session_pages(s, s->current)[q->n_pages];

		linnet_session_pages(s, to)[q->n_pages] = page;
		linnet_kv_page_share(s->kv, page);
	}
	memcpy(q->ids, from->ids, from->n_past * sizeof(*q->ids));
	q->n_past = from->n_past;
	q->n_saved = from->n_saved;
	return 0;
}

const float *linnet_session_logits(const struct linnet_session *s, size_t i)
{
	if (i >= s->n_logits)
		return NULL;
	return (const float *)(s->act->addr + s->plan.graph.logits) + i * s->m->hp.n_vocab;
}

uint32_t linnet_session_length(const struct linnet_session *s)
{
	return s->seq[s->current].n_past;
}

uint32_t linnet_session_capacity(const struct linnet_session *s)
{
	return s->plan.n_ctx;
}

int linnet_session_truncate(struct linnet_session *s, uint32_t n)
{
	struct linnet_sequence *q = &s->seq[s->current];

	if (n > q->n_past)
		return -EINVAL;
	q->n_past = n;
	if (q->n_saved > n / LINNET_KV_PAGE)
		q->n_saved = n / LINNET_KV_PAGE;
	trim(s, s->current);
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
	int refused;

	if (stats->size < sizeof(stats->size))
		return -EINVAL;
	linnet_weights_stats(s->m->weights, &w);
	full.bytes_read = w.bytes_read;
	full.read_ns = w.read_ns;
	full.read_retries = linnet_queue_retries(s->m->queue);
	full.verified_bytes = w.verified_bytes;
	if (s->m->experts) {
		struct linnet_experts_stats x;

		linnet_experts_stats(s->m->experts, &x);
		full.verified_bytes += x.verified_bytes;
		full.purged_bytes = x.purged_bytes;
		full.expert_hits = x.hits;
		full.expert_misses = x.misses;
		full.expert_ahead = x.ahead;
		full.expert_ahead_used = x.ahead_used;
	}
	full.peak_bytes = linnet_budget_peak();
	full.direct_io = w.direct_io;
	full.huge_pages = w.huge_pages;
	full.io_uring = linnet_queue_is_io_uring(s->m->queue);
	full.purged_bytes += w.purged_bytes;
	full.shared_bytes = w.shared_bytes;
	full.pool_bytes = w.pool_bytes +
			  (s->m->experts ? linnet_experts_region(s->m->experts)->pool_bytes : 0);
	linnet_kv_traffic(s->kv, &full.kv_written, &full.kv_read);
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
