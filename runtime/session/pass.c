// SPDX-License-Identifier: MIT
/*
 * Passes over the model. A pass is a chain of jobs: the embeddings, each layer, the
 * output. A layer whose weights are all resident is one job when the pass has few tokens;
 * another is a job for each of its parts, submitted as soon as that part is in memory, so
 * that computing goes on while weights are read, and what they take can be given back as
 * soon as a part is done with. Which way a layer goes makes no difference to its results.
 *
 * A short pass over weights that are all in memory is one job on an engine where the way to
 * it and back is what costs.
 */
#include "session.h"

#include "runtime/util/error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Jobs that an engine has at once: enough that it never waits for us, and few enough
 * that most of the weights are free to go when memory is wanted back. */
#define MOST_PENDING 4

/* Tokens of a pass whose jobs are short. Longer ones hold weights for so long that no job
 * has more than a layer's part of them, and none waits that the engine need not have. */
#define SHORT_PASS 8

/* Rows of embeddings are read one by one, at a fraction of the disk's rate: it is worth it
 * for so small a part of the table. */
#define ROWS_PART 4

/* Reads ahead that the next pass's first read may find before it in the disk's queue: the
 * disk stays busy, and the wait is short. */
#define SHALLOW 4

/*
 * Threads that compute and a disk that writes to the same memory are in each other's way.
 * Where passes wait for the disk for a good part of their time, gentle jobs read weights at
 * the rate of one thread instead of all, and the disk's rate is higher for it. Short passes
 * only: others have more to compute for each byte.
 */
#define STARVED_PASSES 3
/* A gentle pass that waits for less than this part of its time has little left to spare. */
#define SPARE 8
/* After that all threads compute for so many passes, then twice as many, up to: */
#define HURRY_LEAST 16
#define HURRY_MOST 4096

/* The job that begins with unit number i is number i. */
struct linnet_pass_job {
	struct linnet_job job;
	struct linnet_binding *binding;
	uint32_t n_units;
	int32_t layer;			/* whose attention is in it; -1: none */
	bool uses_embeddings;		/* the output, when it is made of them */
	bool early;			/* before its turn: the pass has not come to it */
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static size_t number(const struct linnet_session *s, const struct linnet_pass_job *j)
{
	return j - s->job;
}

static void job_done(struct linnet_job *job, int result)
{
	struct linnet_pass_job *j = (struct linnet_pass_job *)job;
	struct linnet_weights *w;
	struct linnet_session *s = job->ctx;
	const size_t first = number(s, j);

	w = s->m->weights;
	s->pending--;
	for (size_t i = first; i < first + j->n_units; i++)
		linnet_weights_done(w, i, j->early ? 0 : i + 1);
	/* attention is a layer's first part */
	if (j->layer >= 0)
		linnet_kv_done(s->kv, (uint32_t)j->layer);
	if (j->uses_embeddings)
		linnet_weights_done(w, LINNET_UNIT_EMBEDDINGS, 0);
	/* the table takes their memory */
	if (first == LINNET_UNIT_TABLES && s->gathering &&
	    !linnet_weights_absent(w, LINNET_UNIT_EMBEDDINGS))
		linnet_gather_drop(s->gather);
	if (result && !s->failed) {
		s->failed = result;
		s->failed_job = j;
		s->stop = 1;
	}
}

static void bind(struct linnet_pass_job *j, uint32_t slot, const struct linnet_region *region,
		 uint64_t offset, uint64_t bytes)
{
	j->binding[j->job.n_bindings++] = (struct linnet_binding){ slot, region, offset, bytes };
}

/* Bind the tensors of a unit that is in memory, and hold it there. */
static void use_unit(struct linnet_session *s, struct linnet_pass_job *j, size_t unit)
{
	const struct linnet_units *u = s->m->units;

	for (size_t i = 0; i < u->unit[unit].n; i++) {
		struct linnet_weight w = linnet_weights_find(s->m->weights, unit, i);

		bind(j, u->slot[unit][i], w.region, w.offset, w.bytes);
	}
	linnet_weights_use(s->m->weights, unit);
}

/* The job of units [first, first + n), with what all jobs are bound to. */
static struct linnet_pass_job *start_job(struct linnet_session *s, size_t first, uint32_t n,
					 const struct linnet_engine_stream *stream)
{
	struct linnet_pass_job *j = &s->job[first];

	j->n_units = n;
	j->layer = -1;
	j->uses_embeddings = j->early = false;
	j->job.stream = stream;
	j->job.n_bindings = 0;
	bind(j, LINNET_SLOT_ACT, s->act, 0, s->act->bytes);
	bind(j, LINNET_SLOT_BATCH, s->batch, 0, s->batch->bytes);
	return j;
}

static int submit(struct linnet_session *s, struct linnet_pass_job *j, uint32_t n_outputs,
		  struct linnet_error *err)
{
	int ret;

	j->job.params[LINNET_PARAM_TOKENS] = s->n_tokens;
	j->job.params[LINNET_PARAM_OUTPUTS] = n_outputs;
	j->job.gentle = s->gentle && s->n_tokens <= SHORT_PASS;
	s->pending++;
	ret = s->m->engine->ops->submit(s->m->engine, &j->job);
	if (!ret)
		return 0;
	/* as if it had ended: what it holds is let go */
	job_done(&j->job, ret);
	return linnet_err(err, ret, "%s: the engine refused job %zu", linnet_gguf_path(s->m->gguf),
			  number(s, j));
}

/* Wait for something to happen; why the pass cannot go on, or 0. */
static int wait(struct linnet_session *s, struct linnet_error *err)
{
	const uint64_t start = s->pending ? 0 : now_ns();
	int ret;

	if (s->interrupt)
		s->stop = 1;
	if (s->failed || s->stop)
		return -EINTR;
	ret = linnet_queue_wait(s->m->queue);
	if (start)
		s->starved_ns += now_ns() - start;
	if (ret)
		return linnet_err(err, -EIO, "%s: weights are missing and nothing is read",
				  linnet_gguf_path(s->m->gguf));
	return 0;
}

/* Jobs that go to the engine together, or 0: one by one. */
static unsigned together(const struct linnet_session *s)
{
	return s->n_tokens <= SHORT_PASS ? s->m->engine->ops->together : 0;
}

/* Room for another job. */
static int make_room(struct linnet_session *s, struct linnet_error *err)
{
	const unsigned most_long = s->m->engine->ops->together ? 2 : 1;
	const unsigned most = s->n_tokens > SHORT_PASS ? most_long :
			      together(s) ? together(s) : MOST_PENDING;
	int ret = 0;

	while (s->pending >= most && !ret)
		ret = wait(s, err);
	return ret;
}

static int await_unit(struct linnet_session *s, size_t unit, struct linnet_error *err)
{
	int ret;

	while (!(ret = linnet_weights_ready(s->m->weights, unit, err))) {
		ret = wait(s, err);
		if (ret)
			return ret;
	}
	return ret < 0 ? ret : 0;
}

/* Keys and values that are not in memory. */
static int await_kv(struct linnet_session *s, uint32_t layer, struct linnet_error *err)
{
	int ret;

	while (!(ret = linnet_kv_ready(s->kv, layer, err))) {
		ret = wait(s, err);
		if (ret)
			return ret;
	}
	return ret < 0 ? ret : 0;
}

static void start_gathering(struct linnet_session *s)
{
	int32_t *ids = linnet_batch_i32(s, s->plan.graph.batch.ids);
	int32_t *rows = linnet_batch_i32(s, s->plan.graph.batch.rows);

	s->gathering = true;
	/* the table has a row for each token */
	memcpy(rows, ids, s->n_tokens * sizeof(*ids));
	for (uint32_t i = 0; i < s->n_tokens; i++)
		ids[i] = i;
	linnet_gather_start(s->gather, rows, s->n_tokens);
}

/* Is the table still to be read, and are the pass's rows soon read instead? */
static bool rows_come_first(const struct linnet_session *s)
{
	const struct linnet_gguf_tensor *t = s->m->global[LINNET_TOKEN_EMBD];

	return s->m->units->unit[LINNET_UNIT_EMBEDDINGS].late &&
	       linnet_weights_away(s->m->weights, LINNET_UNIT_EMBEDDINGS) &&
	       linnet_gather_bytes(t, s->n_tokens) < t->bytes / ROWS_PART;
}

/* 1: the embeddings are there, the table or the rows; 0: wait. */
static int embeddings_ready(struct linnet_session *s, struct linnet_error *err)
{
	int ret = 0;

	/* the table may go at any time, and find no memory when it is asked for */
	if (!s->gathering && !linnet_weights_absent(s->m->weights, LINNET_UNIT_EMBEDDINGS))
		ret = linnet_weights_ready(s->m->weights, LINNET_UNIT_EMBEDDINGS, err);
	if (ret)
		return ret;
	if (!s->gathering && linnet_weights_absent(s->m->weights, LINNET_UNIT_EMBEDDINGS))
		start_gathering(s);
	return s->gathering ? linnet_gather_ready(s->gather, err) : 0;
}

static int submit_embed(struct linnet_session *s, struct linnet_error *err)
{
	struct linnet_pass_job *j;
	int ret;

	if (rows_come_first(s))
		start_gathering(s);
	ret = await_unit(s, LINNET_UNIT_TABLES, err);
	while (!ret && !(ret = embeddings_ready(s, err)))
		ret = wait(s, err);
	if (ret < 0)
		return ret;
	j = start_job(s, LINNET_UNIT_TABLES, s->gathering ? 1 : 2,
		      s->stream[s->gathering ? LINNET_STREAM_EMBED_ROWS : LINNET_STREAM_EMBED]);
	use_unit(s, j, LINNET_UNIT_TABLES);
	if (s->gathering) {
		const struct linnet_region *table = linnet_gather_table(s->gather);

		bind(j, LINNET_SLOT_WEIGHT + LINNET_TOKEN_EMBD, table, 0, table->bytes);
	} else {
		use_unit(s, j, LINNET_UNIT_EMBEDDINGS);
	}
	return submit(s, j, 0, err);
}

static int submit_output(struct linnet_session *s, uint32_t n_outputs, struct linnet_error *err)
{
	const bool tied = !s->m->global[LINNET_OUTPUT];
	const size_t unit = linnet_units_output(s->m->units);
	struct linnet_pass_job *j;
	int ret = make_room(s, err);

	if (!ret)
		ret = await_unit(s, unit, err);
	if (!ret && tied)
		ret = await_unit(s, LINNET_UNIT_EMBEDDINGS, err);
	if (ret)
		return ret;
	j = start_job(s, unit, 1, s->stream[LINNET_STREAM_OUTPUT]);
	use_unit(s, j, unit);
	if (tied)
		use_unit(s, j, LINNET_UNIT_EMBEDDINGS);
	j->uses_embeddings = tied;
	return submit(s, j, n_outputs, err);
}

/* Parts [part, part + n) of a layer in one job; they are in memory. */
static int submit_parts(struct linnet_session *s, uint32_t layer, uint32_t part, uint32_t n,
			uint32_t stream, struct linnet_error *err)
{
	const size_t first = linnet_units_layer(layer, part);
	const struct linnet_batch_layout *at = &s->plan.graph.batch;
	const uint64_t kv = linnet_kv_view(s->kv, layer).offset;
	struct linnet_pass_job *j = start_job(s, first, n, s->stream[stream]);

	j->layer = part ? -1 : (int32_t)layer;
	bind(j, LINNET_SLOT_KV, s->kv->region, kv, s->kv->region->bytes - kv);
	bind(j, LINNET_SLOT_PAGES, s->batch, at->pages + (s->pages ? layer * at->table_bytes : 0),
	     at->table_bytes);
	for (size_t i = first; i < first + n; i++)
		use_unit(s, j, i);
	return submit(s, j, 0, err);
}

/* One round of a layer's experts in a job, from the cache. */
static int submit_experts(struct linnet_session *s, uint32_t layer, struct linnet_error *err)
{
	static const uint8_t roles[LINNET_EXPERT_TENSORS] = {
		[LINNET_EXPERT_GATE] = LINNET_FFN_GATE_EXPS,
		[LINNET_EXPERT_UP] = LINNET_FFN_UP_EXPS,
		[LINNET_EXPERT_DOWN] = LINNET_FFN_DOWN_EXPS,
	};
	const struct linnet_experts *x = s->m->experts;
	const struct linnet_region *region = linnet_experts_region(x);
	struct linnet_pass_job *j = start_job(s, linnet_units_layer(layer, LINNET_PART_EXPERTS), 0,
					      s->stream[s->plan.graph.expert_stream[layer]]);

	for (int t = 0; t < LINNET_EXPERT_TENSORS; t++) {
		const uint64_t at = linnet_experts_offset(x, layer, t);

		bind(j, LINNET_SLOT_WEIGHT + roles[t], region, at, region->bytes - at);
	}
	return submit(s, j, 0, err);
}

/* Wait until all jobs have ended. */
static int finish_jobs(struct linnet_session *s, struct linnet_error *err)
{
	int ret = 0;

	while (s->pending && !ret)
		ret = wait(s, err);
	return s->failed ? -EINTR : ret;
}

/* Experts that are read when the router has chosen them: what is there is computed while
 * the others are on their way. */
static int run_experts(struct linnet_session *s, uint32_t layer, struct linnet_error *err)
{
	int32_t *table = linnet_batch_i32(s, s->plan.graph.batch.places);
	const int32_t *ids = (const int32_t *)(s->act->addr + s->plan.graph.expert_ids);
	struct linnet_experts *x = s->m->experts;
	int ret = finish_jobs(s, err);

	if (!ret)
		ret = linnet_experts_begin(x, layer, ids,
					   (size_t)s->n_tokens * s->m->hp.n_expert_used,
					   s->n_tokens);
	if (ret == -ERANGE)
		return linnet_err(err, ret, "%s: the router of layer %u chose an expert that there "
				  "is not", linnet_gguf_path(s->m->gguf), layer);
	if (ret)
		return ret;
	while (!ret && linnet_experts_left(x)) {
		ret = linnet_experts_round(x, table, err);
		if (ret < 0)
			break;
		if (!ret) {
			ret = wait(s, err);
			continue;
		}
		ret = submit_experts(s, layer, err);
		if (!ret)
			ret = finish_jobs(s, err);
		/* in use by no job, whatever happened: the engine may still have it */
		while (s->pending)
			linnet_queue_wait(s->m->queue);
		linnet_experts_round_done(x);
	}
	linnet_experts_end(x);
	return ret;
}

/*
 * Ask the next layer's router what it would choose of the state as it is now, so that it can
 * be read while this layer's experts are computed. What it writes, this layer's own router
 * writes again.
 */
static int guess_experts(struct linnet_session *s, uint32_t layer, struct linnet_error *err)
{
	const size_t unit = linnet_units_layer(layer + 1, LINNET_PART_ROUTER);
	const int32_t *ids = (const int32_t *)(s->act->addr + s->plan.graph.expert_ids);
	struct linnet_pass_job *j;
	int ret;

	if (layer + 1 == s->m->hp.n_layer || s->n_tokens > LINNET_EXPERTS_GUESS_TOKENS ||
	    !linnet_weights_absent(s->m->weights,
				   linnet_units_layer(layer + 1, LINNET_PART_EXPERTS)) ||
	    !linnet_weights_there(s->m->weights, unit) || !linnet_experts_want_guess(s->m->experts))
		return 0;
	ret = make_room(s, err);
	if (ret)
		return ret;
	/* there is a wait in make_room(), in which it may have gone */
	if (!linnet_weights_there(s->m->weights, unit))
		return 0;
	j = start_job(s, unit, 1, s->stream[s->plan.graph.part_stream[
			(layer + 1) * LINNET_LAYER_PARTS + LINNET_PART_ROUTER]]);
	j->early = true;
	use_unit(s, j, unit);
	ret = submit(s, j, 0, err);
	if (!ret)
		ret = finish_jobs(s, err);
	if (!ret)
		linnet_experts_guess(s->m->experts, layer + 1, ids,
				     (size_t)s->n_tokens * s->m->hp.n_expert_used);
	return ret;
}

static int submit_part(struct linnet_session *s, uint32_t layer, uint32_t part,
		       struct linnet_error *err)
{
	const size_t unit = linnet_units_layer(layer, part);
	int ret = make_room(s, err);

	if (!ret && part == LINNET_PART_ROUTER && s->m->experts)
		ret = guess_experts(s, layer, err);
	/* experts may go, and come, at any time */
	while (!ret && !linnet_weights_absent(s->m->weights, unit) &&
	       !(ret = linnet_weights_ready(s->m->weights, unit, err)) &&
	       !linnet_weights_absent(s->m->weights, unit))
		ret = wait(s, err);
	if (ret < 0)
		return ret;
	if (!ret)
		return run_experts(s, layer, err);
	return submit_parts(s, layer, part, 1,
			    s->plan.graph.part_stream[layer * LINNET_LAYER_PARTS + part], err);
}

static int submit_layer(struct linnet_session *s, uint32_t layer, struct linnet_error *err)
{
	const struct linnet_graph *g = &s->plan.graph;
	uint32_t n_ready = 0;
	bool in_slot = false;
	int ret = make_room(s, err);

	if (!ret)
		ret = await_kv(s, layer, err);
	while (!ret && s->n_tokens <= SHORT_PASS && n_ready < LINNET_LAYER_PARTS &&
	       linnet_weights_ready(s->m->weights, linnet_units_layer(layer, n_ready), NULL) == 1)
		in_slot |= linnet_weights_in_slot(s->m->weights,
						  linnet_units_layer(layer, n_ready++));
	if (ret)
		return ret;
	/* a slot is free for the next read when its part is done with, not the whole layer */
	if (n_ready == LINNET_LAYER_PARTS && !in_slot)
		return submit_parts(s, layer, 0, LINNET_LAYER_PARTS, g->layer_stream[layer], err);
	for (uint32_t part = 0; part < LINNET_LAYER_PARTS && !ret; part++) {
		ret = submit_part(s, layer, part, err);
		/* the first read must not wait for the last job */
		linnet_queue_poll(s->m->queue);
	}
	return ret;
}

/* ------------------------------------------------------------- passes in one job */

static uint32_t find_home(void *ctx, const struct linnet_gguf_tensor *t, uint64_t *offset)
{
	const struct linnet_session *s = ctx;
	const struct linnet_units *u = s->m->units;

	for (size_t i = 0; i < u->n_units; i++)
		for (size_t j = 0; j < u->unit[i].n; j++)
			if (u->unit[i].tensor[j] == t)
				return linnet_weights_home(s->m->weights, i, j, offset);
	/* beyond any slot: the stream is refused */
	*offset = UINT64_MAX;
	return 0;
}

static uint64_t weight_bytes(const struct linnet_session *s)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < s->m->units->n_units; i++)
		bytes += s->m->units->unit[i].bytes;
	return bytes;
}

/* Make the stream of a whole pass, where there can be one. */
static int make_whole(struct linnet_session *s, struct linnet_error *err)
{
	const size_t n_pieces = linnet_weights_pieces(s->m->weights);
	const struct linnet_graph_places places = { (uint32_t)n_pieces, find_home, s };
	struct linnet_engine *e = s->m->engine;
	void *data;
	size_t bytes;
	int ret;

	/* cold pages are awaited layer by layer */
	if (!e->ops->together || s->pages || !n_pieces || n_pieces > LINNET_UNITS_PIECES ||
	    weight_bytes(s) > LINNET_WHOLE_WORK)
		return 0;
	ret = linnet_session_plan_whole(&s->plan, s->m, &places, &data, &bytes);
	if (ret == -ENOMEM)
		return linnet_err(err, ret, "%s: out of memory", linnet_gguf_path(s->m->gguf));
	if (ret)
		return 0;
	ret = e->ops->stream_create(e, &s->whole, data, bytes, err);
	free(data);
	/* longer than the engine takes */
	return ret == -E2BIG ? 0 : ret;
}

static bool may_be_whole(const struct linnet_session *s, uint32_t n_outputs)
{
	return s->whole && n_outputs && together(s) &&
	       s->n_tokens * weight_bytes(s) <= LINNET_WHOLE_WORK &&
	       linnet_weights_at_home(s->m->weights);
}

static int submit_whole(struct linnet_session *s, uint32_t n_outputs, struct linnet_error *err)
{
	const size_t n_pieces = linnet_weights_pieces(s->m->weights);
	const struct linnet_batch_layout *at = &s->plan.graph.batch;
	struct linnet_pass_job *j = start_job(s, 0, s->m->units->n_units, s->whole);

	bind(j, LINNET_SLOT_KV, s->kv->region, 0, s->kv->region->bytes);
	bind(j, LINNET_SLOT_PAGES, s->batch, at->pages, at->table_bytes);
	/* on into the bindings of other jobs, of which there are none */
	for (size_t i = 0; i < n_pieces; i++) {
		const struct linnet_weight w = linnet_weights_piece(s->m->weights, i);

		bind(j, LINNET_SLOT_WEIGHT + i, w.region, w.offset, w.bytes);
	}
	for (size_t i = 0; i < j->n_units; i++)
		linnet_weights_use(s->m->weights, i);
	return submit(s, j, n_outputs, err);
}

static int job_error(const struct linnet_session *s, struct linnet_error *err)
{
	const char *path = linnet_gguf_path(s->m->gguf);

	if (s->failed == -EINTR)
		return linnet_err(err, -EINTR, "%s: interrupted", path);
	if (s->failed_job->job.failed_op == LINNET_OP_UNKNOWN)
		return linnet_err(err, s->failed, "%s: job %zu failed: %s", path,
				  number(s, s->failed_job), strerror(-s->failed));
	return linnet_err(err, s->failed, "%s: operation %u of job %zu failed: %s", path,
			  s->failed_job->job.failed_op, number(s, s->failed_job),
			  strerror(-s->failed));
}

/* A job for each layer, or for each of its parts. */
static int submit_chain(struct linnet_session *s, uint32_t n_outputs, struct linnet_error *err)
{
	struct linnet_model *m = s->m;
	int ret = submit_embed(s, err);

	linnet_queue_set_depth(m->queue, 0);
	for (uint32_t i = 0; i < m->hp.n_layer && !ret; i++) {
		ret = submit_layer(s, i, err);
		if (!together(s))
			linnet_queue_poll(m->queue);
	}
	/* rows of the next token's embeddings are asked for when it is known, and waited for */
	if (linnet_weights_absent(m->weights, LINNET_UNIT_EMBEDDINGS))
		linnet_queue_set_depth(m->queue, SHALLOW);
	if (!ret && n_outputs)
		ret = submit_output(s, n_outputs, err);
	return ret;
}

/* After a short pass that began at `start`: whether the next ones are gentle. The clock is
 * asked where it matters alone: some guests pay for it what a system call costs them. */
static void set_pace(struct linnet_session *s, uint64_t start)
{
	const uint64_t ns = s->starved_ns ? now_ns() - start : 0;
	struct linnet_engine_info info = { 0 };
	uint64_t least;

	if (s->gentle) {
		if (s->starved_ns && s->starved_ns >= ns / SPARE)
			return;
		s->gentle = false;
		s->n_starved = 0;
		s->hurry = s->next_hurry ? s->next_hurry : HURRY_LEAST;
		s->next_hurry = s->hurry < HURRY_MOST ? 2 * s->hurry : HURRY_MOST;
		return;
	}
	if (s->hurry) {
		s->hurry--;
		return;
	}
	if (!s->starved_ns) {
		s->n_starved = 0;
		return;
	}
	/* one thread of two reads memory at two thirds of the rate of both, of three it may take
	 * three times as long, and of many it is the memory that does */
	s->m->engine->ops->info(s->m->engine, &info);
	if (info.n_threads < 2)
		return;
	least = info.n_threads == 2 ? ns / 3 : info.n_threads == 3 ? ns - ns / 3 : ns - ns / 4;
	s->n_starved = s->starved_ns >= least ? s->n_starved + 1 : 0;
	s->gentle = s->n_starved >= STARVED_PASSES;
}

int linnet_pass_run(struct linnet_session *s, uint32_t n, uint32_t n_outputs,
		    struct linnet_error *err)
{
	struct linnet_model *m = s->m;
	uint64_t start = 0;
	int ret;

	s->starved_ns = 0;
	s->failed = 0;
	s->stop = 0;
	s->n_tokens = n;
	s->gathering = false;
	linnet_kv_start(s->kv);
	linnet_model_wake(m);
	linnet_weights_begin(m->weights);
	if (may_be_whole(s, n_outputs)) {
		/* it waits for no weights, so its pace is none of set_pace()'s business */
		ret = submit_whole(s, n_outputs, err);
	} else {
		start = now_ns();
		ret = submit_chain(s, n_outputs, err);
	}
	if (ret)
		s->stop = 1;
	while (s->pending) {
		if (s->interrupt)
			s->stop = 1;
		linnet_queue_wait_many(m->queue, together(s) ? s->pending : 1);
	}
	/* rows that nobody waits for any more */
	while (s->gathering && !linnet_gather_ready(s->gather, NULL))
		linnet_queue_wait(m->queue);
	if (ret && ret != -EINTR)
		return ret;
	if (s->failed)
		return job_error(s, err);
	if (ret)
		return linnet_err(err, ret, "%s: interrupted", linnet_gguf_path(m->gguf));
	if (n <= SHORT_PASS)
		set_pace(s, start);
	/* nobody may have written to what was computed with */
	return linnet_weights_check(m->weights, err);
}

int linnet_pass_init(struct linnet_session *s, struct linnet_error *err)
{
	const size_t n = s->m->units->n_units;

	s->job = calloc(n, sizeof(*s->job));
	s->binding = calloc(n * LINNET_SLOTS, sizeof(*s->binding));
	if (!s->job || !s->binding)
		return linnet_err(err, -ENOMEM, "%s: out of memory", linnet_gguf_path(s->m->gguf));
	for (size_t i = 0; i < n; i++) {
		s->job[i].binding = s->binding + i * LINNET_SLOTS;
		s->job[i].job = (struct linnet_job){
			.binding = s->job[i].binding,
			.done = job_done,
			.ctx = s,
			.interrupt = &s->stop,
		};
	}
	return make_whole(s, err);
}

void linnet_pass_free(struct linnet_session *s)
{
	free(s->job);
	free(s->binding);
}
