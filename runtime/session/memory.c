// SPDX-License-Identifier: MIT
/*
 * The model's memory while it runs. A new budget is a number that any thread may store;
 * who holds the model's lock follows it: the thread that decodes, between jobs and within
 * long ones whenever it looks at the queue, or, when nobody decodes, the thread that
 * stored it. Sessions' KV caches and scratch stay; weights give way and come back.
 *
 * An automatic budget follows the machine: who holds the lock looks for word of pressure
 * every few milliseconds, and at the numbers once a second. Less is followed at once, more
 * in steps, and not soon after there was pressure.
 */
#include "session.h"

#include "runtime/memory/budget.h"
#include "runtime/memory/region.h"
#include "runtime/util/error.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What a control group is charged beside pages: stacks, sockets, rings; and page tables,
 * of which a huge page has one in reserve. */
#define KERNEL_BYTES (8u << 20)
#define PAGE_TABLE_PART 512

/* How often an automatic budget looks for pressure, and at the numbers. */
#define LOOK_NS 10000000u
#define MEASURE_NS 1000000000u
/* A group whose limit leaves less than this room is short: others in it take memory. What was
 * given back for that has been when this time is over. */
#define ROOM_BYTES (KERNEL_BYTES / 2)
#define ROOM_NS 30000000u
/* Time without pressure before it grows, part by part. */
#define CALM_NS 5000000000u
#define GROW_PART 4
/* Time for a shrunk budget to bring relief, and the part that pressure takes: twice as much
 * each time that it did not, up to an eighth. A group at its limit is under pressure when
 * somebody reads a file, and little is enough then. */
#define PRESSURE_NS 250000000u
#define PRESSURE_PART 64
#define PRESSURE_MOST 3
/* When memory that a device was refused is asked for again: at first, and at the latest. */
#define ASK_NS 1000000000u
#define ASK_MOST_NS 64000000000u

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static uint64_t pool_taken(const struct linnet_model *m)
{
	struct linnet_weights_stats w = { 0 };

	if (m->weights)
		linnet_weights_stats(m->weights, &w);
	return w.pool_bytes + (m->experts ? linnet_experts_region(m->experts)->pool_bytes : 0);
}

/*
 * Of the machine's free memory a tenth is left for others. A control group's limit is
 * for this process, but the kernel charges more to it than what the process maps.
 */
uint64_t linnet_model_automatic_budget(const struct linnet_model *m)
{
	struct linnet_engine_info info = { 0 };
	uint64_t machine, limits, over, bytes;

	if (m->engine)
		m->engine->ops->info(m->engine, &info);
	if (linnet_budget_available(m->root, &machine, &limits, &over))
		return LINNET_MEMORY_UNLIMITED;
	if (over) {
		/* and what the kernel charges beside pages stays free, as in all others */
		over += KERNEL_BYTES;
		bytes = linnet_budget_resident();
		return bytes > over ? bytes - over : 0;
	}
	bytes = machine - machine / 10;
	/* Huge pages that were set aside are no free memory to the kernel, but weights take
	 * them first. What we have of them is no part of our resident memory either. */
	if (m->engine && m->engine->ops->regions_are_private && !m->opts.no_huge_pages &&
	    !m->share_dir)
		bytes += linnet_region_pool_free(m->root) + pool_taken(m);
	limits -= limits / PAGE_TABLE_PART;
	limits -= limits > KERNEL_BYTES ? KERNEL_BYTES : limits;
	bytes = (limits < bytes ? limits : bytes) + linnet_budget_resident();
	return info.max_memory_bytes && info.max_memory_bytes < bytes ? info.max_memory_bytes :
									bytes;
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
	m->placed_ns = now_ns();
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

/* What the budget's weights and sessions take of it. */
static uint64_t taken(const struct linnet_model *m)
{
	uint64_t resident, ring;

	if (!m->units)
		return 0;
	linnet_units_memory(m->units, LINNET_RING_SLOTS, &resident, &ring);
	return fixed_bytes(m) + resident + ring + m->units->n_places * m->units->place_bytes;
}

/* The automatic budget, anew. */
static void measure(struct linnet_model *m, uint64_t now, bool stalled)
{
	const uint64_t used = taken(m), least = m->least;
	uint64_t is = m->budget, wanted = linnet_model_automatic_budget(m);

	m->measured_ns = now;
	/* Somebody waits for memory: a part of what is used has to go, unless there is so much
	 * left for us that it cannot be ours that is wanted. */
	if (stalled && wanted < used + (used / PRESSURE_PART << PRESSURE_MOST) &&
	    now - m->pressed_ns > PRESSURE_NS) {
		m->stalls = now - m->pressed_ns > CALM_NS ? 0 : m->stalls + 1;
		if (m->stalls > PRESSURE_MOST)
			m->stalls = PRESSURE_MOST;
		m->pressed_ns = now;
		/* unless the numbers say that more is to go */
		if (wanted > used - (used / PRESSURE_PART << m->stalls))
			wanted = used - (used / PRESSURE_PART << m->stalls);
	} else if (wanted > is) {
		if (wanted - is < is / 32 || (m->pressed_ns && now - m->pressed_ns < CALM_NS))
			return;
		if (wanted - is > is / GROW_PART)
			wanted = is + is / GROW_PART;
	} else if (is - wanted < is / 64) {
		return;
	}
	/* unless somebody set another meanwhile */
	atomic_compare_exchange_strong(&m->budget, &is, wanted > least ? wanted : least);
}

static uint64_t over_limit(const struct linnet_model *m)
{
	return m->pressure ? linnet_pressure_over(m->pressure, ROOM_BYTES) : 0;
}

/*
 * When the group is beyond its memory.high the kernel lets this thread sleep for up to two
 * seconds each time that it allocates something for it, and at its limit it kills. So what is
 * over goes before the numbers are looked at, which takes files to be opened.
 */
static bool go_below(struct linnet_model *m, uint64_t now)
{
	const uint64_t over = over_limit(m);
	const uint64_t used = taken(m), least = m->least;
	uint64_t is = m->budget, wanted;

	if (!over)
		return false;
	wanted = used > over + KERNEL_BYTES ? used - over - KERNEL_BYTES : 0;
	m->pressed_ns = m->measured_ns = now;
	if (wanted < is)
		atomic_compare_exchange_strong(&m->budget, &is, wanted > least ? wanted : least);
	return true;
}

static void look_around(struct linnet_model *m)
{
	const uint64_t now = now_ns();
	enum linnet_pressure_level level = LINNET_PRESSURE_NONE;

	if (now - m->looked_ns < LOOK_NS)
		return;
	m->looked_ns = now;
	if (m->pressure)
		level = linnet_pressure_taken(m->pressure);
	if (!level && now - m->measured_ns < MEASURE_NS &&
	    (now - m->pressed_ns < ROOM_NS || !over_limit(m)))
		return;
	if (!go_below(m, now))
		measure(m, now, level == LINNET_PRESSURE_STALL);
}

/* There was less memory than the budget says: is it time to see whether there is now? */
static bool asks_again(struct linnet_model *m)
{
	uint64_t waited;

	if (!m->weights || !linnet_weights_lack(m->weights))
		return false;
	waited = now_ns() - m->placed_ns;
	if (waited < m->ask_ns)
		return false;
	m->ask_ns = waited > 2 * m->ask_ns ? ASK_NS :
		    m->ask_ns < ASK_MOST_NS ? 2 * m->ask_ns : ASK_MOST_NS;
	return true;
}

void linnet_model_follow(void *ctx)
{
	struct linnet_model *m = ctx;
	uint64_t budget;

	if (m->follows && m->weights)
		look_around(m);
	budget = m->budget;
	if (budget != m->kept)
		m->ask_ns = ASK_NS;
	else if (!asks_again(m))
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
	if (!bytes) {
		/* what is short is not refused, but followed as far as it goes */
		bytes = linnet_model_automatic_budget(m);
		bytes = bytes < least ? least : bytes;
		m->follows = true;
	} else if (bytes < least) {
		return linnet_err(err, -ENOMEM,
				  "%s: the memory budget is too small (memory, %" PRIu64
				  " bytes; at least %" PRIu64 " are needed)",
				  linnet_gguf_path(m->gguf), bytes, least);
	} else {
		m->follows = false;
	}
	m->budget = bytes;
	if (!pthread_mutex_trylock(&m->run))
		linnet_model_unlock(m);
	return 0;
}

void linnet_model_wake(struct linnet_model *m)
{
	if (!m->idle)
		return;
	m->idle = false;
	/* others may have the memory by now, and what there was none for may have some */
	m->kept = 0;
	linnet_model_follow(m);
	linnet_weights_wake(m->weights);
	if (m->experts)
		linnet_experts_wake(m->experts);
}

int linnet_model_idle(struct linnet_model *m, struct linnet_error *err)
{
	const char *path = linnet_gguf_path(m->gguf);
	int ret = 0;

	if (!m->engine)
		return linnet_err(err, -EINVAL, "%s: opened for its vocabulary only", path);
	if (m->share_dir)
		return linnet_err(err, -EOPNOTSUPP, "%s: weights are shared with other processes, "
				  "and cannot be taken", path);
	if (!m->engine->ops->region_idle)
		return linnet_err(err, -EOPNOTSUPP, "%s: weights are memory of the process, and "
				  "cannot be taken (engine, %s)", path, m->engine->ops->name);
	if (pthread_mutex_trylock(&m->run))
		return linnet_err(err, -EBUSY, "%s: the model is in use", path);
	if (m->weights) {
		m->idle = true;
		ret = linnet_weights_idle(m->weights);
		if (!ret && m->experts)
			ret = linnet_experts_idle(m->experts);
		if (ret)
			linnet_model_wake(m);
	}
	linnet_model_unlock(m);
	return ret ? linnet_err(err, ret, "%s: the device keeps weights: %s", path,
				strerror(-ret)) : 0;
}

int linnet_model_pressure_fd(const struct linnet_model *m)
{
	return m->pressure ? linnet_pressure_fd(m->pressure) : -ENOENT;
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
		/* who bounds reading wants no byte read for nothing */
		.no_guess = m->opts.read_bandwidth,
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
		.share_dir = m->share_dir,
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
	if (p->max_places) {
		ret = make_experts(m, p, err);
		if (ret) {
			linnet_weights_destroy(m->weights);
			m->weights = NULL;
			return ret;
		}
	}
	m->units = p->units;
	p->units = NULL;
	/* the budget has just been made */
	m->measured_ns = m->placed_ns = now_ns();
	m->ask_ns = ASK_NS;
	linnet_weights_begin(m->weights);
	return 0;
}
