// SPDX-License-Identifier: MIT
/* From session options and the memory budget to sizes, residence and streams. */
#include "session.h"

#include "kernels/kernels.h"
#include "runtime/util/error.h"
#include "runtime/util/overflow.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_CTX 4096
#define DEFAULT_BATCH 512
/* Where weights are streamed: computing still takes longer than reading for so many
 * tokens, and what a larger batch needs goes to weights. */
#define SMALL_BATCH 128
#define MAX_CTX (1u << 30)
#define MAX_BATCH (1u << 20)
#define MAX_SEQS (1u << 16)
#define MAX_PAGES (1u << 30)

int linnet_options_copy(void *to, size_t to_size, const void *from)
{
	size_t size;

	memset(to, 0, to_size);
	if (from) {
		memcpy(&size, from, sizeof(size));
		for (size_t i = to_size; i < size; i++)
			if (((const char *)from)[i])
				return -E2BIG;
		memcpy(to, from, size < to_size ? size : to_size);
	}
	memcpy(to, &to_size, sizeof(to_size));
	return 0;
}

static int measure_kv(struct linnet_session_plan *p, const struct linnet_model *m,
		      struct linnet_error *err)
{
	uint32_t bad = 0;
	int ret;

	p->kv = calloc(m->hp.n_layer, sizeof(*p->kv));
	if (!p->kv)
		return linnet_err(err, -ENOMEM, "%s: out of memory", linnet_gguf_path(m->gguf));
	for (uint32_t i = 0; i < m->hp.n_layer; i++)
		p->kv[i] = (struct linnet_kv_layer){
			.n_heads = m->layer[i].n_head_kv, .dk = m->hp.dk, .dv = m->hp.dv,
			.window = m->layer[i].windowed ? m->hp.window : 0,
		};
	ret = linnet_kv_measure(p->kv_type, p->kv, m->hp.n_layer, &p->kv_page_bytes, &bad);
	if (ret == -EINVAL)
		return linnet_err(err, ret,
				  "%s: a %s KV cache needs head sizes that are multiples of 32 "
				  "(attention.key_length, %u)", linnet_gguf_path(m->gguf),
				  linnet_type_info(p->kv_type)->name, m->hp.dk);
	if (ret)
		return linnet_err(err, ret, "%s: the KV cache is too large",
				  linnet_gguf_path(m->gguf));
	return 0;
}

/* Code and libraries of a process that does nothing but this. */
#define PROCESS_BYTES (7u << 20)

static struct linnet_graph_config graph_config(const struct linnet_session_plan *p,
					       const struct linnet_model *m)
{
	const bool cold = p->n_frames < p->n_pages;
	const uint32_t n_layer = m->hp.n_layer;
	return (struct linnet_graph_config){
		.n_batch = p->n_batch,
		.n_outputs = p->n_outputs,
		/* as linnet_kv_view() will have them */
		.n_pages = cold ? p->n_frames * n_layer + 2 * (p->n_pages - p->n_frames) :
				  p->n_pages,
		.kv_stride = cold ? p->kv_page_bytes / n_layer : p->kv_page_bytes,
		.n_tables = cold ? n_layer : 1,
		.n_seq_pages = p->n_seq_pages,
		.n_seqs = p->n_seqs,
		.kv = p->kv,
		.kv_type = p->kv_type,
		.long_factors = p->n_ctx > m->hp.rope_ctx_orig,
		.n_places = p->max_places,
		.place_bytes = (p->units ? p->units : m->units)->place_bytes,
	};
}

static int build_graph(struct linnet_session_plan *p, const struct linnet_model *m,
		       struct linnet_error *err)
{
	const struct linnet_graph_config config = graph_config(p, m);

	linnet_graph_free(&p->graph);
	return linnet_graph_build(&p->graph, m, &config, err);
}

/* Everything but weights. */
static int measure_fixed(struct linnet_session_plan *p, const struct linnet_model *m,
			 struct linnet_error *err)
{
	struct linnet_memory_info *mem = &p->memory;
	uint64_t scratch = 0, one;

	for (uint32_t i = 0; i < p->graph.n_streams; i++) {
		int ret = m->engine->ops->stream_scratch(m->engine, p->graph.stream[i].data,
							 p->graph.stream[i].bytes, &one, err);

		if (ret)
			return ret;
		scratch = one > scratch ? one : scratch;
	}
	if (linnet_mul_overflow(p->kv_page_bytes, p->n_pages, &mem->kv))
		return linnet_err(err, -EOVERFLOW, "the KV cache is too large (pages, %u)",
				  p->n_pages);
	mem->kv_disk = mem->kv;
	mem->kv = linnet_kv_bytes(p->kv_page_bytes, m->hp.n_layer, p->n_pages, p->n_frames);
	mem->kv_disk = p->n_frames < p->n_pages ? mem->kv_disk : 0;
	/* the text's tokens, and what loading a saved prefix takes */
	mem->scratch = p->graph.act_bytes + p->graph.batch.bytes + scratch +
		       (uint64_t)p->n_seqs * p->n_ctx * sizeof(int32_t) +
		       2 * linnet_prefix_bytes(p->n_ctx);
	/* what other sessions take is not this one's to give */
	p->rows_bytes = linnet_gather_bytes(m->global[LINNET_TOKEN_EMBD], p->n_batch);
	mem->other = PROCESS_BYTES + linnet_gguf_memory(m->gguf);
	if (m->tokenizer)
		mem->other += linnet_tokenizer_memory(m->tokenizer);
	return 0;
}

static int too_small(const struct linnet_model *m, uint64_t budget, uint64_t least,
		     struct linnet_error *err)
{
	return linnet_err(err, -ENOMEM,
			  "%s: the memory budget is too small (memory, %" PRIu64
			  " bytes; at least %" PRIu64 " are needed)",
			  linnet_gguf_path(m->gguf), budget, least);
}

/* Decide what is resident. */
static int choose(struct linnet_session_plan *p, const struct linnet_model *m, uint64_t budget,
		  struct linnet_error *err)
{
	const struct linnet_memory_info *mem = &p->memory;
	const uint64_t fixed = mem->kv + mem->scratch + mem->other + m->session_bytes;
	int ret;

	ret = linnet_units_choose(p->units, fixed > budget ? 0 : budget - fixed,
				  LINNET_RING_SLOTS, p->rows_bytes + m->rows_bytes, &p->least);
	p->least += fixed;
	return !ret && fixed <= budget ? 0 : too_small(m, budget, p->least, err);
}

static bool is_short(const struct linnet_units *u)
{
	for (size_t i = 0; i < u->n_units; i++)
		if (u->unit[i].streamed || u->unit[i].absent)
			return true;
	return false;
}

/* Address space for all experts can be had without taking memory for it; a cache that is a
 * piece is there as a whole or not at all. */
static bool may_grow(const struct linnet_model *m, const struct linnet_units *u)
{
	return !m->engine->ops->in_pieces &&
	       linnet_region_reservable(u->place_bytes * u->all_places);
}

/* Decide what is resident, and fill in p->memory. */
static int place_weights(struct linnet_session_plan *p, const struct linnet_model *m,
			 uint64_t budget, struct linnet_error *err)
{
	struct linnet_memory_info *mem = &p->memory;
	const struct linnet_units *u = p->units;
	int ret = choose(p, m, budget, NULL);
	if ((ret || is_short(p->units)) && p->n_batch_auto && p->n_batch > SMALL_BATCH &&
	    p->n_outputs <= SMALL_BATCH) {
		p->n_batch = SMALL_BATCH;
		ret = build_graph(p, m, err);
		if (!ret)
			ret = measure_fixed(p, m, err);
		if (ret)
			return ret;
		ret = -ENOMEM;
	}
	if (ret)
		ret = choose(p, m, budget, err);
	if (ret)
		return ret;
	if (!m->weights && u->place_bytes && !may_grow(m, u)) {
		/* those that it may shrink to take no memory before it does */
		p->max_places = u->n_places ? u->n_places : u->least_places;
		p->units->most_places = p->max_places;
		if (m->engine->ops->in_pieces)
			p->units->least_places = p->max_places;
		ret = build_graph(p, m, err);
		if (ret)
			return ret;
	}
	for (size_t i = 0; i < p->units->n_units; i++)
		if (p->units->unit[i].streamed)
			mem->streamed += p->units->unit[i].bytes;
	linnet_units_memory(p->units, LINNET_RING_SLOTS, &mem->resident, &mem->ring);
	p->session_bytes = mem->kv + mem->scratch;
	if (p->units->unit[LINNET_UNIT_EMBEDDINGS].absent)
		mem->scratch += p->rows_bytes;
	mem->experts = u->n_places * u->place_bytes;
	for (size_t i = 0; i < u->n_units; i++)
		if (u->unit[i].absent && i != LINNET_UNIT_EMBEDDINGS)
			mem->experts_bytes += u->unit[i].bytes;
	/* evenly used, a place serves as often as any other */
	if (u->n_places)
		mem->experts_read = (double)m->hp.n_layer * m->hp.n_expert_used * u->place_bytes *
				    (u->all_places - u->n_places) / u->all_places;
	mem->weights = mem->resident + mem->ring + mem->experts;
	mem->total = mem->weights + mem->kv + mem->scratch + mem->other;
	mem->budget = budget;
	return 0;
}

/*
 * How many pages have room in memory, when keys and values may take so many bytes. A pass
 * has those in memory that it writes to; of the others it reads a layer at a time.
 */
static int place_kv(struct linnet_session_plan *p, const struct linnet_model *m, uint64_t bytes,
		    struct linnet_error *err)
{
	const uint64_t slice = p->kv_page_bytes / m->hp.n_layer;
	const uint32_t seqs = p->n_seqs < p->n_batch ? p->n_seqs : p->n_batch;
	uint64_t least = (uint64_t)p->n_batch / LINNET_KV_PAGE + 2 * (uint64_t)seqs, all;

	p->n_frames = p->n_pages;
	if (!bytes || linnet_mul_overflow(p->kv_page_bytes, p->n_pages, &all) || all <= bytes)
		return 0;
	for (uint32_t i = 1; i < m->hp.n_layer; i++)
		if (p->kv[i].n_heads != p->kv[0].n_heads)
			return linnet_err(err, -ENOTSUP,
					  "%s: layers differ in their keys' and values' heads, so "
					  "these have to stay in memory "
					  "(attention.head_count_kv, layer %u)",
					  linnet_gguf_path(m->gguf), i);
	if (least > p->n_pages)
		least = p->n_pages;
	all = linnet_kv_bytes(p->kv_page_bytes, m->hp.n_layer, p->n_pages, (uint32_t)least);
	if (all > bytes || p->kv_page_bytes <= 2 * slice)
		return linnet_err(err, -ENOMEM,
				  "%s: the memory for keys and values is too small "
				  "(kv_memory, %" PRIu64 " bytes; at least %" PRIu64 " are needed)",
				  linnet_gguf_path(m->gguf), bytes,
				  p->kv_page_bytes > 2 * slice ? all :
								 p->n_pages * p->kv_page_bytes);
	p->n_frames = (uint32_t)(least + (bytes - all) / (p->kv_page_bytes - 2 * slice));
	return 0;
}

static int make(struct linnet_session_plan *p, const struct linnet_model *m,
		const struct linnet_session_options *options, uint64_t budget,
		struct linnet_error *err)
{
	static const uint32_t kv_types[] = {
		[LINNET_KV_F16] = LINNET_TYPE_F16,
		[LINNET_KV_Q8_0] = LINNET_TYPE_Q8_0,
		[LINNET_KV_F32] = LINNET_TYPE_F32,
		[LINNET_KV_Q4_0] = LINNET_TYPE_Q4_0,
	};
	struct linnet_session_options opts;
	uint64_t n_pages;
	int ret;

	memset(p, 0, sizeof(*p));
	ret = linnet_options_copy(&opts, sizeof(opts), options);
	if (ret)
		return linnet_err(err, ret, "session options of a newer version are set");
	if ((unsigned)opts.kv_type >= sizeof(kv_types) / sizeof(kv_types[0]))
		return linnet_err(err, -EINVAL, "unknown type of KV cache (kv_type, %d)",
				  opts.kv_type);
	if (opts.n_ctx > MAX_CTX)
		return linnet_err(err, -EINVAL, "context is too large (n_ctx, %u)", opts.n_ctx);
	if (opts.n_batch > MAX_BATCH)
		return linnet_err(err, -EINVAL, "batch is too large (n_batch, %u)", opts.n_batch);
	if (opts.n_seqs > MAX_SEQS)
		return linnet_err(err, -EINVAL, "too many sequences (n_seqs, %u)", opts.n_seqs);
	if (opts.n_outputs > MAX_BATCH)
		return linnet_err(err, -EINVAL, "too many outputs (n_outputs, %u)", opts.n_outputs);

	p->n_ctx = opts.n_ctx;
	if (!p->n_ctx)
		p->n_ctx = m->hp.n_ctx_train < DEFAULT_CTX ? m->hp.n_ctx_train : DEFAULT_CTX;
	p->n_batch_auto = !opts.n_batch;
	p->n_batch = opts.n_batch ? opts.n_batch : DEFAULT_BATCH;
	if (p->n_batch > p->n_ctx)
		p->n_batch = p->n_ctx;
	p->n_outputs = opts.n_outputs ? opts.n_outputs : 1;
	if (p->n_batch < p->n_outputs)
		p->n_batch = p->n_outputs;
	p->n_seqs = opts.n_seqs ? opts.n_seqs : 1;
	p->n_seq_pages = (p->n_ctx - 1) / LINNET_KV_PAGE + 1;
	n_pages = (uint64_t)p->n_seqs * p->n_seq_pages;
	if (opts.n_kv && ((uint64_t)opts.n_kv - 1) / LINNET_KV_PAGE + 1 < n_pages)
		n_pages = (opts.n_kv - 1) / LINNET_KV_PAGE + 1;
	if (n_pages > MAX_PAGES)
		return linnet_err(err, -EINVAL, "too many positions (n_seqs, %u of %u)", p->n_seqs,
				  p->n_ctx);
	p->n_pages = (uint32_t)n_pages;
	p->kv_type = kv_types[opts.kv_type];
	ret = measure_kv(p, m, err);
	if (!ret)
		ret = place_kv(p, m, opts.kv_memory, err);
	if (ret)
		goto err_free;

	ret = linnet_units_make(&p->units, m, err);
	if (ret)
		goto err_free;
	p->max_places = m->experts ? linnet_experts_places(m->experts) :
			m->weights ? 0 : p->units->all_places;
	if (m->experts) {
		p->units->least_places = m->units->least_places;
		p->units->most_places = m->units->most_places;
	}
	ret = build_graph(p, m, err);
	if (!ret)
		ret = measure_fixed(p, m, err);
	if (!ret)
		ret = place_weights(p, m, budget, err);
	if (ret)
		goto err_free;
	return 0;

err_free:
	linnet_session_plan_free(p);
	return ret;
}

int linnet_session_plan_make(struct linnet_session_plan *p, const struct linnet_model *m,
			     const struct linnet_session_options *options,
			     struct linnet_error *err)
{
	return make(p, m, options, m->budget, err);
}

int linnet_session_plan_whole(const struct linnet_session_plan *p, const struct linnet_model *m,
			      const struct linnet_graph_places *places, void **data, size_t *bytes)
{
	const struct linnet_graph_config config = graph_config(p, m);

	return linnet_graph_whole(m, &config, places, data, bytes);
}

void linnet_session_plan_free(struct linnet_session_plan *p)
{
	linnet_graph_free(&p->graph);
	linnet_units_free(p->units);
	free(p->kv);
	p->units = NULL;
	p->kv = NULL;
}

/* ------------------------------------------------------------- the public plan */

struct linnet_plan {
	struct linnet_session_plan p;
	uint64_t least;
};

int linnet_plan_create(struct linnet_plan **out, const struct linnet_model *m,
		       const struct linnet_session_options *opts, struct linnet_error *err)
{
	struct linnet_session_plan none;
	struct linnet_plan *plan;
	int ret;

	if (m->opts.vocab_only)
		return linnet_err(err, -EINVAL, "%s: opened for its vocabulary only",
				  linnet_gguf_path(m->gguf));
	plan = calloc(1, sizeof(*plan));
	if (!plan)
		return linnet_err(err, -ENOMEM, "%s: out of memory", linnet_gguf_path(m->gguf));
	ret = make(&plan->p, m, opts, m->budget, err);
	if (ret) {
		free(plan);
		return ret;
	}
	/* what is refused says what would not be */
	ret = make(&none, m, opts, 0, NULL);
	if (!ret)
		linnet_session_plan_free(&none);
	plan->least = none.least;
	/* streaming does not always pay: the ring takes memory, too */
	if (!plan->least || plan->p.memory.total < plan->least)
		plan->least = plan->p.memory.total;
	*out = plan;
	return 0;
}

void linnet_plan_destroy(struct linnet_plan *p)
{
	if (!p)
		return;
	linnet_session_plan_free(&p->p);
	free(p);
}

int linnet_plan_memory(const struct linnet_plan *p, struct linnet_memory_info *info)
{
	const size_t size = info->size;

	if (size < sizeof(info->size))
		return -EINVAL;
	memcpy(info, &p->p.memory, size < sizeof(p->p.memory) ? size : sizeof(p->p.memory));
	info->size = size;
	return 0;
}

uint64_t linnet_plan_least(const struct linnet_plan *p)
{
	return p->least;
}

int linnet_plan_unit(const struct linnet_plan *p, size_t i, struct linnet_plan_unit *unit)
{
	static const char *const parts[2][LINNET_LAYER_PARTS] = {
		{ "attention", "gate", "up", "down" },
		{ "attention", "router", "experts", "sum" },
	};
	const struct linnet_units *u = p->p.units;
	struct linnet_plan_unit full = { .size = unit->size, .layer = -1 };

	if (unit->size < sizeof(unit->size))
		return -EINVAL;
	if (i >= u->n_units)
		return -ENOENT;
	if (i == LINNET_UNIT_TABLES) {
		full.name = "tables";
	} else if (i == LINNET_UNIT_EMBEDDINGS) {
		full.name = "embeddings";
	} else if (i == linnet_units_output(u)) {
		full.name = "output";
	} else {
		full.layer = (i - LINNET_UNIT_LAYERS) / LINNET_LAYER_PARTS;
		full.name =
			parts[u->place_bytes > 0][(i - LINNET_UNIT_LAYERS) % LINNET_LAYER_PARTS];
	}
	full.cached = u->unit[i].absent && i != LINNET_UNIT_EMBEDDINGS;
	full.bytes = u->unit[i].absent && !full.cached ? 0 : u->unit[i].bytes;
	full.streamed = u->unit[i].streamed;
	memcpy(unit, &full, unit->size < sizeof(full) ? unit->size : sizeof(full));
	return 0;
}
