// SPDX-License-Identifier: MIT
/*
 * Keeps experts.h. Experts are read in whole blocks, so one lies in its place at the same
 * distance from a block border as in the file. The engine wants it at the same distance in
 * all places: so it is where an expert's bytes are whole blocks, as they are in nearly all
 * models; elsewhere the bytes are moved when they have arrived.
 */
#include "experts.h"

#include "runtime/util/error.h"
#include "runtime/util/overflow.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define BLOCK LINNET_WEIGHTS_BLOCK
#define REQUEST ((size_t)2 << 20)
/* Experts on their way at once. */
#define LOADS 16
/* Tokens after which a choice counts half. */
#define HALF_LIFE 512
/* Of what a layer needs, a round waits for this part: each has a price of its own. */
#define ROUNDS 8

/* Experts that are read by a guess at once: few, as they are in the way of those that are
 * needed for sure. */
#define AHEAD 4
/*
 * Of guesses of one rank - the expert that the router likes best is right more often than the
 * last one that it chooses - the part that has to come true for them to be read: with less,
 * what is read for nothing takes the time that was won. Where none of the ranks is good, one
 * guess in LOOK is made all the same, to see whether that has changed.
 */
#define GOOD 0.5f
#define START 0.6f
#define LEARN (1.0f / 32)
#define LOOK 16

#define NOWHERE (-1)
#define NEVER (-1e30f)

enum state { FREE, LOADING, READY };

struct place {
	int32_t key;			/* layer * n_experts + expert */
	enum state state;
	bool held;			/* the layer needs it and has not computed it */
	bool guessed;			/* it was read for a layer that has not begun */
};

/* A place's reads. */
struct load {
	struct linnet_experts *x;
	struct linnet_read *read;
	uint32_t place;
	size_t pending;
	int error;
	uint64_t pass;			/* that asked for it; 0: a guess */
};

/* An expert that was guessed, and its rank among the router's choice. */
struct guess {
	int32_t expert;
	uint32_t rank;
};

/* An expert that the layer needs. */
struct need {
	int32_t expert;
	enum { MISSING, AWAITED, THERE, IN_ROUND, COMPUTED } state;
};

struct linnet_experts {
	struct linnet_weights *w;
	struct linnet_queue *queue;
	struct linnet_engine *e;
	struct linnet_experts_options opts;
	struct linnet_expert_layer *layer;
	uint32_t n_layers;
	uint64_t place_bytes, at[LINNET_EXPERT_TENSORS];
	struct linnet_region *region;
	struct place *place;
	uint32_t limit, touched;	/* places in use, and that may have memory */
	bool taken;			/* the region's memory, where it comes as one piece */
	int32_t *where;			/* [layer][expert]: the place, or NOWHERE */
	float *worth;			/* [layer][expert]: its logarithm */
	uint64_t *sum;			/* [layer][expert][tensor], with opts.verify */
	bool *summed, *suspect;
	struct load load[LOADS];
	uint32_t n_loads;		/* under way */

	/* the layer that is computed */
	uint32_t current;
	struct need *need;
	uint32_t n_need, n_left;
	uint64_t clock;			/* tokens */
	uint64_t pass;			/* layers that were begun */

	/* The guess about the layer after the current one: experts that were missing when it
	 * was made. It is made before the current one's begin, when the guess about that still
	 * has to be judged: it waits in `coming`. */
	struct guess *guess, *coming;
	uint32_t n_guess, next_guess, guess_layer;
	uint32_t n_coming, coming_layer;
	float *good;			/* [rank]: part of them that came true */
	uint64_t n_looks;
	uint32_t n_ahead;		/* loads under way that a guess began */

	int error;
	int bad_tensor;			/* whose checksum differs, or -1 */
	int32_t bad_key;
	uint64_t bad_offset;
	uint32_t bad_file;
	/* others may look on */
	_Atomic uint64_t hits, misses, ahead, ahead_used, verified_bytes, purged_bytes;
};

static uint64_t expert_bytes(const struct linnet_gguf_tensor *t)
{
	return t->bytes / t->ne[2];
}

/* Room for an expert of t at any distance from a block border. */
static uint64_t room(const struct linnet_gguf_tensor *t)
{
	return ((expert_bytes(t) + BLOCK - 1) & ~(uint64_t)(BLOCK - 1)) + BLOCK;
}

static uint64_t lay_out(const struct linnet_expert_layer *layer, uint32_t n_layers, uint64_t *at)
{
	uint64_t bytes = 0;

	for (int t = 0; t < LINNET_EXPERT_TENSORS; t++) {
		uint64_t most = 0;

		for (uint32_t l = 0; l < n_layers; l++)
			if (room(layer[l].tensor[t]) > most)
				most = room(layer[l].tensor[t]);
		if (at)
			at[t] = bytes;
		bytes += most;
	}
	return bytes;
}

uint64_t linnet_experts_place_bytes(const struct linnet_expert_layer *layer, uint32_t n_layers)
{
	return lay_out(layer, n_layers, NULL);
}

uint32_t linnet_experts_least(uint32_t n_used)
{
	/* a token's, and as many on their way */
	return 2 * n_used;
}

/* Distance of an expert from a block border, in memory. */
static uint64_t shift(const struct linnet_gguf_tensor *t)
{
	return expert_bytes(t) % BLOCK ? 0 : t->offset % BLOCK;
}

int linnet_experts_create(struct linnet_experts **out, struct linnet_weights *w,
			  const struct linnet_expert_layer *layer, uint32_t n_layers,
			  const struct linnet_experts_options *opts, struct linnet_error *err)
{
	const size_t n = (size_t)n_layers * opts->n_experts;
	struct linnet_experts *x = calloc(1, sizeof(*x));
	uint64_t bytes;
	size_t n_reads = 0;
	int ret;

	if (!x)
		return linnet_err(err, -ENOMEM, "out of memory");
	x->w = w;
	x->e = linnet_weights_engine(w);
	x->queue = linnet_weights_queue(w);
	x->opts = *opts;
	x->n_layers = n_layers;
	x->limit = opts->n_places;
	x->place_bytes = lay_out(layer, n_layers, x->at);
	for (int t = 0; t < LINNET_EXPERT_TENSORS; t++)
		n_reads += (x->place_bytes - x->at[t] + REQUEST - 1) / REQUEST;
	x->layer = malloc((n_layers + 1) * sizeof(*x->layer));
	x->place = calloc(opts->n_places + 1, sizeof(*x->place));
	x->where = malloc((n + 1) * sizeof(*x->where));
	x->worth = malloc((n + 1) * sizeof(*x->worth));
	x->need = malloc((opts->n_experts + 1) * sizeof(*x->need));
	x->guess = malloc((opts->n_experts + 1) * sizeof(*x->guess));
	x->coming = malloc((opts->n_experts + 1) * sizeof(*x->coming));
	x->good = malloc((opts->n_used + 1) * sizeof(*x->good));
	if (opts->verify) {
		x->sum = calloc(n, LINNET_EXPERT_TENSORS * sizeof(*x->sum));
		x->summed = calloc(n, sizeof(*x->summed));
		x->suspect = calloc(n, sizeof(*x->suspect));
	}
	ret = linnet_err(err, -ENOMEM, "out of memory");
	if (!x->layer || !x->place || !x->where || !x->worth || !x->need || !x->guess ||
	    !x->coming || !x->good || (opts->verify && (!x->sum || !x->summed || !x->suspect)))
		goto err_destroy;
	memcpy(x->layer, layer, n_layers * sizeof(*layer));
	for (uint32_t i = 0; i < opts->n_used; i++)
		x->good[i] = START;
	for (size_t i = 0; i < n; i++) {
		x->where[i] = NOWHERE;
		x->worth[i] = NEVER;
	}
	for (uint32_t i = 0; i < LOADS; i++) {
		x->load[i].x = x;
		x->load[i].read = calloc(n_reads, sizeof(*x->load[i].read));
		if (!x->load[i].read)
			goto err_destroy;
	}
	if (linnet_mul_overflow(x->place_bytes, opts->n_places, &bytes) || bytes > SIZE_MAX) {
		ret = linnet_err(err, -EOVERFLOW, "the cache of experts is too large (places, %u)",
				 opts->n_places);
		goto err_destroy;
	}
	ret = x->e->ops->region_reserve(x->e, &x->region, bytes, opts->no_huge_pages ?
					LINNET_PAGES_SMALL : LINNET_PAGES_POOL, err);
	if (ret)
		goto err_destroy;
	*out = x;
	return 0;

err_destroy:
	linnet_experts_destroy(x);
	return ret;
}

void linnet_experts_destroy(struct linnet_experts *x)
{
	if (!x)
		return;
	while (x->n_loads && !linnet_queue_wait(x->queue))
		;
	for (uint32_t i = 0; i < LOADS; i++)
		free(x->load[i].read);
	if (x->region)
		x->e->ops->region_destroy(x->e, x->region);
	free(x->layer);
	free(x->place);
	free(x->where);
	free(x->worth);
	free(x->need);
	free(x->guess);
	free(x->coming);
	free(x->good);
	free(x->sum);
	free(x->summed);
	free(x->suspect);
	free(x);
}

const struct linnet_region *linnet_experts_region(const struct linnet_experts *x)
{
	return x->region;
}

uint64_t linnet_experts_offset(const struct linnet_experts *x, uint32_t layer, uint32_t t)
{
	return x->at[t] + shift(x->layer[layer].tensor[t]);
}

uint32_t linnet_experts_places(const struct linnet_experts *x)
{
	return x->opts.n_places;
}

/* ---------------------------------------------------------------------- places */

/* Places that may be taken now. */
static uint32_t usable(const struct linnet_experts *x)
{
	const uint32_t least = linnet_experts_least(x->opts.n_used);
	const uint32_t n = x->limit > least ? x->limit : least;

	return n < x->opts.n_places ? n : x->opts.n_places;
}

static void make_free(struct linnet_experts *x, uint32_t i)
{
	x->where[x->place[i].key] = NOWHERE;
	x->place[i].state = FREE;
	x->place[i].held = x->place[i].guessed = false;
}

/* Leave the places beyond the limit that nobody needs, and give their memory back. */
static void trim(struct linnet_experts *x)
{
	uint32_t end = x->touched;

	for (uint32_t i = x->limit; i < x->touched; i++)
		if (x->place[i].state == READY && !x->place[i].held)
			make_free(x, i);
	while (end > x->limit && x->place[end - 1].state == FREE)
		end--;
	if (end == x->touched)
		return;
	x->e->ops->region_discard(x->e, x->region, end * x->place_bytes,
				  x->region->mapped_bytes - end * x->place_bytes);
	x->touched = end;
	x->taken = x->taken && end;
}

void linnet_experts_limit(struct linnet_experts *x, uint32_t n)
{
	x->limit = n < x->opts.n_places ? n : x->opts.n_places;
	trim(x);
	if (x->e->ops->region_border)
		x->e->ops->region_border(x->e, x->region, x->limit * x->place_bytes);
}

int linnet_experts_idle(struct linnet_experts *x)
{
	while (x->n_loads && !linnet_queue_wait(x->queue))
		;
	return x->taken ? x->e->ops->region_idle(x->e, x->region, 0, x->region->mapped_bytes) : 0;
}

void linnet_experts_wake(struct linnet_experts *x)
{
	if (!x->taken || x->e->ops->region_wake(x->e, x->region, 0, x->region->mapped_bytes))
		return;
	for (uint32_t i = 0; i < x->touched; i++) {
		if (x->place[i].state != READY)
			continue;
		make_free(x, i);
		x->purged_bytes += x->place_bytes;
	}
	x->touched = 0;
	x->taken = false;
}

/*
 * A free place, or the one of least worth that the layer does not need; or NOWHERE. What was
 * guessed is left alone: it would be the first to go, as it was not chosen lately.
 */
static int32_t take_place(const struct linnet_experts *x)
{
	const uint32_t n = usable(x);
	int32_t best = NOWHERE, guessed = NOWHERE;
	float least = INFINITY;

	for (uint32_t i = 0; i < n; i++) {
		const struct place *p = &x->place[i];

		if (p->state == FREE)
			return i;
		if (p->state != READY || p->held)
			continue;
		if (p->guessed) {
			guessed = i;
		} else if (x->worth[p->key] < least) {
			least = x->worth[p->key];
			best = i;
		}
	}
	return best != NOWHERE ? best : guessed;
}

/* ---------------------------------------------------------------------- reading */

static char *memory(const struct linnet_experts *x, uint32_t place, uint32_t t)
{
	return x->region->addr + place * x->place_bytes + x->at[t];
}

/* Compare checksums, or keep them the first time: false when one differs. */
static bool verify(struct linnet_experts *x, uint32_t place)
{
	const int32_t key = x->place[place].key;
	const struct linnet_expert_layer *l = &x->layer[key / x->opts.n_experts];
	uint64_t *sum = x->sum + (size_t)key * LINNET_EXPERT_TENSORS;

	for (uint32_t t = 0; t < LINNET_EXPERT_TENSORS; t++) {
		const uint64_t bytes = expert_bytes(l->tensor[t]);
		const uint64_t is = XXH3_64bits(memory(x, place, t) + shift(l->tensor[t]), bytes);

		if (!x->summed[key])
			sum[t] = is;
		else if (sum[t] != is) {
			x->bad_tensor = t;
			x->bad_key = key;
			return false;
		}
		x->verified_bytes += x->summed[key] ? bytes : 0;
	}
	x->summed[key] = true;
	return true;
}

static void start_load(struct linnet_experts *x, struct load *l, uint32_t place);

/* All reads of a place have ended. */
static void load_end(struct linnet_experts *x, struct load *l)
{
	struct place *p = &x->place[l->place];
	const uint32_t expert = p->key % x->opts.n_experts;
	const struct linnet_expert_layer *layer = &x->layer[p->key / x->opts.n_experts];
	int error = l->error;

	for (uint32_t t = 0; t < LINNET_EXPERT_TENSORS && !error; t++) {
		const struct linnet_gguf_tensor *tensor = layer->tensor[t];
		const uint64_t bytes = expert_bytes(tensor);
		const uint64_t is = (tensor->offset + expert * bytes) % BLOCK;
		char *to = memory(x, l->place, t);

		if (is != shift(tensor))
			memmove(to + shift(tensor), to + is, bytes);
	}
	if (!error && x->sum && !verify(x, l->place)) {
		if (!x->suspect[p->key]) {
			/* memory or the path to the disk may be at fault: once more */
			x->suspect[p->key] = true;
			start_load(x, l, l->place);
			return;
		}
		error = -EBADMSG;
	}
	if (x->suspect)
		x->suspect[p->key] = false;
	x->n_loads--;
	x->n_ahead -= !l->pass;
	if (error) {
		/* one that was given up has failed already; who needs it now asks again */
		if (l->pass == x->pass && !x->error)
			x->error = error;
		make_free(x, l->place);
		return;
	}
	p->state = READY;
	if (l->place >= x->limit && !p->held)
		trim(x);
}

static void read_done(struct linnet_read *r, int result)
{
	struct load *l = r->ctx;
	struct linnet_experts *x = l->x;

	if (result == -EINVAL && linnet_weights_go_buffered(x->w, r))
		return;
	l->pending--;
	if (result && !l->error) {
		const struct place *p = &x->place[l->place];

		l->error = result;
		x->bad_offset = r->offset + r->got;
		x->bad_file =
			x->layer[p->key / x->opts.n_experts].tensor[(uintptr_t)r->owner]->file;
	}
	if (!result)
		linnet_weights_count(x->w, r->need);
	if (!l->pending)
		load_end(x, l);
}

/* Queue the reads of the expert that a place is for. */
static void start_load(struct linnet_experts *x, struct load *l, uint32_t place)
{
	const uint32_t expert = x->place[place].key % x->opts.n_experts;
	const struct linnet_expert_layer *layer =
		&x->layer[x->place[place].key / x->opts.n_experts];
	struct linnet_read *r = l->read;

	l->place = place;
	l->error = 0;
	if (place >= x->touched)
		x->touched = place + 1;
	for (uint32_t t = 0; t < LINNET_EXPERT_TENSORS; t++) {
		const struct linnet_gguf_tensor *tensor = layer->tensor[t];
		const uint64_t from = tensor->offset + expert * expert_bytes(tensor);
		const uint64_t start = from & ~(uint64_t)(BLOCK - 1);
		const uint64_t end = (from + expert_bytes(tensor) + BLOCK - 1) &
				     ~(uint64_t)(BLOCK - 1);

		for (uint64_t at = start; at < end; at += REQUEST, r++) {
			const uint64_t n = end - at < REQUEST ? end - at : REQUEST;
			const uint64_t want = from + expert_bytes(tensor) - at;

			*r = (struct linnet_read){
				.buf = memory(x, place, t) + (at - start),
				.offset = at,
				.bytes = n,
				/* the last block of a file may be cut short */
				.need = want < n ? want : n,
				/* what is only guessed waits for all else */
				.urgent = l->pass,
				.done = read_done,
				.ctx = l,
				.owner = (void *)(uintptr_t)t,
			};
			linnet_weights_file(x->w, tensor->file, &r->fd, &r->align);
			linnet_queue_read(x->queue, r);
			l->pending++;
		}
	}
}

/* Begin to read an expert of the current layer, or one that is guessed (pass 0); false: there
 * is no place, or no hand free. */
static bool fetch(struct linnet_experts *x, int32_t key, uint64_t pass)
{
	struct load *l = x->load;
	int32_t place;

	while (l < x->load + LOADS && l->pending)
		l++;
	if (l == x->load + LOADS)
		return false;
	place = take_place(x);
	if (place == NOWHERE)
		return false;
	if (x->place[place].state == READY)
		make_free(x, place);
	x->place[place] = (struct place){ key, LOADING, .held = pass, .guessed = !pass };
	x->where[key] = place;
	x->n_loads++;
	l->pass = pass;
	start_load(x, l, place);
	return true;
}

/* ---------------------------------------------------------------------- guesses */

bool linnet_experts_want_guess(struct linnet_experts *x)
{
	/* a small cache has no place for what may be wrong */
	if (x->opts.no_guess || usable(x) < 4 * x->opts.n_used ||
	    usable(x) == x->opts.n_experts * x->n_layers)
		return false;
	for (uint32_t i = 0; i < x->opts.n_used; i++)
		if (x->good[i] >= GOOD)
			return true;
	return !(x->n_looks++ % LOOK);
}

void linnet_experts_guess(struct linnet_experts *x, uint32_t layer, const int32_t *ids, size_t n)
{
	x->n_coming = 0;
	x->coming_layer = layer;
	for (size_t i = 0; i < n; i++) {
		uint32_t j = 0;

		/* an engine's word for it is no reason to write anywhere */
		if (ids[i] < 0 || (uint32_t)ids[i] >= x->opts.n_experts ||
		    x->where[layer * x->opts.n_experts + ids[i]] != NOWHERE)
			continue;
		while (j < x->n_coming && x->coming[j].expert != ids[i])
			j++;
		if (j == x->n_coming)
			x->coming[x->n_coming++] = (struct guess){ ids[i], i % x->opts.n_used };
	}
}

/* Read what was guessed, when all is under way that is needed for sure. */
static void read_guess(struct linnet_experts *x)
{
	while (x->next_guess < x->n_guess && x->n_ahead < AHEAD) {
		const struct guess *g = &x->guess[x->next_guess];
		const int32_t key = x->guess_layer * x->opts.n_experts + g->expert;

		if (x->where[key] == NOWHERE && x->good[g->rank] >= GOOD) {
			if (!fetch(x, key, 0))
				return;
			x->n_ahead++;
			x->ahead++;
		}
		x->next_guess++;
	}
}

/* A layer begins, and what it needs is known: what the guess about it was worth. Then there
 * is another one. */
static void judge_guess(struct linnet_experts *x)
{
	for (uint32_t i = 0; i < x->n_guess && x->guess_layer == x->current; i++) {
		const struct guess *g = &x->guess[i];
		const int32_t place = x->where[x->current * x->opts.n_experts + g->expert];
		uint32_t j = 0;

		while (j < x->n_need && x->need[j].expert != g->expert)
			j++;
		x->good[g->rank] += LEARN * ((j < x->n_need) - x->good[g->rank]);
		x->ahead_used += j < x->n_need && place != NOWHERE && x->place[place].guessed;
	}
	for (uint32_t i = 0; i < x->n_guess; i++) {
		const int32_t place = x->where[x->guess_layer * x->opts.n_experts +
					       x->guess[i].expert];

		if (place != NOWHERE)
			x->place[place].guessed = false;
	}
	x->n_guess = x->next_guess = 0;
	if (x->coming_layer == x->current + 1) {
		struct guess *last = x->guess;

		x->guess = x->coming;
		x->coming = last;
		x->n_guess = x->n_coming;
		x->guess_layer = x->coming_layer;
	}
	x->n_coming = 0;
}

/* ---------------------------------------------------------------------- a layer */

int linnet_experts_begin(struct linnet_experts *x, uint32_t layer, const int32_t *ids, size_t n,
			 uint32_t n_tokens)
{
	const uint32_t n_experts = x->opts.n_experts;

	for (size_t i = 0; i < n; i++)
		if (ids[i] < 0 || (uint32_t)ids[i] >= n_experts)
			return -ERANGE;
	x->current = layer;
	x->pass++;
	x->n_need = 0;
	x->error = 0;
	x->bad_tensor = -1;
	if (!layer)
		x->clock += n_tokens;
	for (size_t i = 0; i < n; i++) {
		const int32_t key = layer * n_experts + ids[i];
		const float now = (float)x->clock / HALF_LIFE;
		uint32_t j = 0;

		while (j < x->n_need && x->need[j].expert != ids[i])
			j++;
		if (j == x->n_need)
			x->need[x->n_need++] = (struct need){ ids[i], MISSING };
		x->worth[key] = x->worth[key] > now ?
			x->worth[key] + log2f(1 + exp2f(now - x->worth[key])) :
			now + log2f(1 + exp2f(x->worth[key] - now));
	}
	x->n_left = x->n_need;
	for (uint32_t j = 0; j < x->n_need; j++) {
		const int32_t place = x->where[layer * n_experts + x->need[j].expert];

		/* what was read by a guess was read */
		x->hits += place != NOWHERE && !x->place[place].guessed;
		x->misses += place == NOWHERE || x->place[place].guessed;
		if (place == NOWHERE)
			continue;
		x->place[place].held = true;
		x->need[j].state = AWAITED;
	}
	judge_guess(x);
	return 0;
}

static int read_error(const struct linnet_experts *x, struct linnet_error *err)
{
	const struct linnet_gguf_tensor *t;

	if (x->error != -EBADMSG)
		return linnet_weights_read_error(x->w, x->bad_file, x->bad_offset, x->error, err);
	t = x->layer[x->bad_key / x->opts.n_experts].tensor[x->bad_tensor];
	return linnet_err(err, -EBADMSG,
			  "%s: tensor %.*s is not what was read at first (expert, %u)",
			  linnet_weights_path(x->w, t->file), (int)t->name.n, t->name.p,
			  x->bad_key % x->opts.n_experts);
}

/* It may have gone since the last round. */
static int have_memory(struct linnet_experts *x, struct linnet_error *err)
{
	int ret = 0;

	while (!x->taken &&
	       (ret = x->e->ops->region_take(x->e, x->region, 0, x->region->mapped_bytes, err)) &&
	       linnet_weights_give_way(x->w))
		;
	x->taken = !ret;
	return ret;
}

int linnet_experts_round(struct linnet_experts *x, int32_t *table, struct linnet_error *err)
{
	const uint32_t n_experts = x->opts.n_experts;
	const uint32_t wanted = x->n_need / ROUNDS ? x->n_need / ROUNDS : 1;
	uint32_t n_there = 0, n_awaited = 0, n_missing = 0;
	int ret = x->error ? read_error(x, err) : have_memory(x, err);

	if (ret)
		return ret;
	for (uint32_t j = 0; j < x->n_need; j++) {
		struct need *d = &x->need[j];
		const int32_t place = x->where[x->current * n_experts + d->expert];

		if (d->state == AWAITED && place == NOWHERE)
			d->state = MISSING;
		if (d->state == MISSING &&
		    fetch(x, x->current * n_experts + d->expert, x->pass))
			d->state = AWAITED;
		else if (d->state == AWAITED && x->place[place].state == READY)
			d->state = THERE;
		n_there += d->state == THERE;
		n_awaited += d->state == AWAITED;
		n_missing += d->state == MISSING;
	}
	if (!n_missing)
		read_guess(x);
	/* more together, unless nothing more can come */
	if (!n_there || (n_there < wanted && n_awaited))
		return 0;
	for (uint32_t i = 0; i < n_experts; i++)
		table[i] = LINNET_PLACE_NONE;
	for (uint32_t j = 0; j < x->n_need; j++) {
		struct need *d = &x->need[j];

		if (d->state != THERE)
			continue;
		d->state = IN_ROUND;
		table[d->expert] = x->where[x->current * n_experts + d->expert];
	}
	return n_there;
}

void linnet_experts_round_done(struct linnet_experts *x)
{
	for (uint32_t j = 0; j < x->n_need; j++) {
		struct need *d = &x->need[j];

		if (d->state != IN_ROUND)
			continue;
		d->state = COMPUTED;
		x->place[x->where[x->current * x->opts.n_experts + d->expert]].held = false;
		x->n_left--;
	}
	if (x->touched > x->limit)
		trim(x);
}

uint32_t linnet_experts_left(const struct linnet_experts *x)
{
	return x->n_left;
}

void linnet_experts_end(struct linnet_experts *x)
{
	for (uint32_t j = 0; j < x->n_need; j++) {
		const int32_t place = x->where[x->current * x->opts.n_experts + x->need[j].expert];

		if (place != NOWHERE)
			x->place[place].held = false;
	}
	x->n_need = x->n_left = 0;
	if (x->touched > x->limit)
		trim(x);
}

void linnet_experts_stats(const struct linnet_experts *x, struct linnet_experts_stats *stats)
{
	*stats = (struct linnet_experts_stats){
		x->hits, x->misses, x->ahead, x->ahead_used, x->verified_bytes, x->purged_bytes
	};
}
