// SPDX-License-Identifier: MIT
/*
 * The model's memory while it runs. A new budget is a number that any thread may store;
 * who holds the model's lock follows it: the thread that decodes, between jobs and within
 * long ones whenever it looks at the queue, or, when nobody decodes, the thread that
 * stored it. Sessions' KV caches and scratch stay; weights give way and come back.
 */
#include "session.h"

#include "runtime/memory/budget.h"
#include "runtime/util/error.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Page tables, sockets, rings: what a control group is charged beside pages. */
#define KERNEL_BYTES (8u << 20)

/*
 * Of the machine's free memory a tenth is left for others. A control group's limit is
 * for this process, but the kernel charges more to it than what the process maps.
 */
uint64_t linnet_model_automatic_budget(void)
{
	uint64_t machine, limits, bytes;

	if (linnet_budget_available("", &machine, &limits))
		return LINNET_MEMORY_UNLIMITED;
	bytes = machine - machine / 10;
	limits -= limits / 64;
	limits -= limits > KERNEL_BYTES ? KERNEL_BYTES : limits;
	return (limits < bytes ? limits : bytes) + linnet_budget_resident();
}

/* All but weights. */
static uint64_t fixed_bytes(const struct linnet_model *m)
{
	return m->other_bytes + m->session_bytes;
}

/* Let the pagers know what the units say. */
static void place(struct linnet_model *m)
{
	if (m->experts)
		linnet_experts_limit(m->experts, m->units->n_places);
	linnet_weights_place(m->weights, m->units->unit);
}

/* Choose for the budget, and let the pager know. Whatever the budget is, something is
 * done: at the worst everything is streamed that may be. */
static void apply(struct linnet_model *m, uint64_t budget)
{
	const uint64_t fixed = fixed_bytes(m);
	uint64_t least;

	linnet_units_choose(m->units, budget > fixed ? budget - fixed : 0, LINNET_RING_SLOTS,
			    m->rows_bytes, &least);
	place(m);
}

void linnet_model_follow(void *ctx)
{
	struct linnet_model *m = ctx;
	const uint64_t budget = m->budget;

	if (budget == m->kept)
		return;
	if (m->weights)
		apply(m, budget);
	m->kept = budget;
}

void linnet_model_lock(struct linnet_model *m)
{
	pthread_mutex_lock(&m->run);
}

void linnet_model_unlock(struct linnet_model *m)
{
	/* a budget that was stored after the last look must not wait for the next decode */
	do {
		linnet_model_follow(m);
		pthread_mutex_unlock(&m->run);
	} while (m->budget != m->kept && !pthread_mutex_trylock(&m->run));
}

int linnet_model_set_memory(struct linnet_model *m, uint64_t bytes, struct linnet_error *err)
{
	const uint64_t least = m->least;

	if (!m->engine)
		return linnet_err(err, -EINVAL, "%s: opened for its vocabulary only",
				  linnet_gguf_path(m->gguf));
	if (!m->engine->ops->region_discard)
		return linnet_err(err, -ENOTSUP, "%s: the engine cannot give memory back (engine, %s)",
				  linnet_gguf_path(m->gguf), m->engine->ops->name);
	if (!bytes)
		bytes = linnet_model_automatic_budget();
	if (bytes < least)
		return linnet_err(err, -ENOMEM,
				  "%s: the memory budget is too small (memory, %" PRIu64
				  " bytes; at least %" PRIu64 " are needed)",
				  linnet_gguf_path(m->gguf), bytes, least);
	m->budget = bytes;
	if (!pthread_mutex_trylock(&m->run))
		linnet_model_unlock(m);
	return 0;
}

void linnet_model_count_session(struct linnet_model *m, struct linnet_session *s, bool add)
{
	const uint64_t bytes = s->plan.session_bytes, rows = s->plan.rows_bytes;

	if (s->counted == add)
		return;
	s->counted = add;
	m->session_bytes += add ? bytes : -bytes;
	m->rows_bytes += add ? rows : -rows;
	m->least = fixed_bytes(m) + linnet_units_least(m->units, LINNET_RING_SLOTS, m->rows_bytes);
	/* the others may have more now */
	if (!add && m->n_sessions > 1)
		m->kept = 0;
}

static int make_experts(struct linnet_model *m, const struct linnet_session_plan *p,
			struct linnet_error *err)
{
	const struct linnet_experts_options opts = {
		.n_experts = m->hp.n_expert,
		.n_used = m->hp.n_expert_used,
		.n_places = p->max_places,
		.no_huge_pages = m->opts.no_huge_pages,
		.verify = m->opts.verify,
	};
	struct linnet_expert_layer *layer = linnet_units_experts(m);
	int ret;

	if (!layer)
		return linnet_err(err, -ENOMEM, "%s: out of memory", linnet_gguf_path(m->gguf));
	ret = linnet_experts_create(&m->experts, m->weights, layer, m->hp.n_layer, &opts, err);
	free(layer);
	if (!ret)
		linnet_experts_limit(m->experts, p->units->n_places);
	return ret;
}

int linnet_model_place(struct linnet_model *m, struct linnet_session_plan *p,
		       struct linnet_error *err)
{
	const struct linnet_weights_options opts = {
		.engine = m->engine,
		.queue = m->queue,
		.no_direct_io = m->opts.no_direct_io,
		.no_huge_pages = m->opts.no_huge_pages,
		.verify = m->opts.verify,
		.changes = true,
		.n_slots = LINNET_RING_SLOTS,
	};
	int ret;

	m->other_bytes = p->memory.other;
	if (m->weights) {
		for (size_t i = 0; i < m->units->n_units; i++) {
			m->units->unit[i].streamed = p->units->unit[i].streamed;
			m->units->unit[i].absent = p->units->unit[i].absent;
		}
		m->units->n_places = p->units->n_places;
		place(m);
		return 0;
	}
	ret = linnet_weights_create(&m->weights, m->gguf, p->units->unit, p->units->n_units, &opts,
				    err);
	if (ret)
		return ret;
	if (p->units->place_bytes) {
		ret = make_experts(m, p, err);
		if (ret) {
			linnet_weights_destroy(m->weights);
			m->weights = NULL;
			return ret;
		}
	}
	m->units = p->units;
	p->units = NULL;
	linnet_weights_begin(m->weights);
	return 0;
}
