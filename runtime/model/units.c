// SPDX-License-Identifier: MIT
/* Keeps units.h. */
#include "units.h"

#include "runtime/memory/experts.h"
#include "runtime/util/error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Parts of less than a third of the largest would be many small reads. */
#define EARLY_LEAST 3
#define EARLY_MOST 5

/* A piece more costs each job a binding, and so little memory is not worth that. */
#define SMALL_PIECE (1u << 20)

/* Part of a layer that uses a tensor, of LINNET_LAYER_PARTS. */
static uint32_t part_of(enum linnet_role role)
{
	switch (role) {
	case LINNET_FFN_NORM:
	case LINNET_FFN_GATE:
	case LINNET_FFN_GATE_BIAS:
	case LINNET_FFN_ROUTER:
		return 1;
	case LINNET_FFN_UP:
	case LINNET_FFN_UP_BIAS:
	case LINNET_FFN_GATE_EXPS:
	case LINNET_FFN_UP_EXPS:
	case LINNET_FFN_DOWN_EXPS:
		return 2;
	case LINNET_FFN_DOWN:
	case LINNET_FFN_DOWN_BIAS:
	case LINNET_FFN_POST_NORM:
		return 3;
	default:
		return 0;
	}
}

/* Tensors that are not there are left out. */
static void add(struct linnet_units *u, size_t unit, const struct linnet_gguf_tensor *t,
		uint32_t number)
{
	struct linnet_weight_unit *w = &u->unit[unit];

	if (!t)
		return;
	u->slots[(w->tensor - u->tensors) + w->n] = LINNET_SLOT_WEIGHT + number;
	w->tensor[w->n++] = t;
}

/*
 * Parts that are streamed first: where they are a good deal smaller than the largest, a
 * ring of their size is, too, and what that saves is resident.
 */
static bool goes_early(const struct linnet_units *u, uint32_t i, uint64_t largest)
{
	const uint64_t bytes = u->unit[LINNET_UNIT_LAYERS + i].bytes;

	return bytes >= largest / EARLY_LEAST && bytes <= largest - largest / EARLY_MOST;
}

/* The units that are streamed first come last. Multiples of the golden ratio are spread
 * evenly, however many of them are taken. They begin at the pass's end: the last layer
 * stays longest, as the output behind it takes long and reads nothing, and the first goes
 * early, as its slot is what the reader waits for by then. */
static int give_ranks(struct linnet_units *u)
{
	const uint32_t n = u->n_units - 1 - LINNET_UNIT_LAYERS;
	uint64_t *key = malloc((n + 1) * sizeof(*key));
	uint64_t largest = 0;

	if (!key)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		const struct linnet_weight_unit *w = &u->unit[LINNET_UNIT_LAYERS + i];

		if (!w->fixed && w->bytes > largest)
			largest = w->bytes;
	}
	for (uint32_t i = n, early = 0, late = 0; i-- > 0;) {
		struct linnet_weight_unit *w = &u->unit[LINNET_UNIT_LAYERS + i];

		/* by number among their like, or they would not be spread */
		if (goes_early(u, i, largest))
			key[i] = (uint64_t)1 << 32 | early++ * 2654435769u;
		else
			key[i] = late++ * 2654435769u;
		w->rank = 1;
	}
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t j = 0; j < n; j++)
			u->unit[LINNET_UNIT_LAYERS + i].rank += key[j] < key[i];
	free(key);
	/* experts go all together, and the embeddings before them */
	for (uint32_t i = LINNET_PART_EXPERTS; u->place_bytes && i < n; i += LINNET_LAYER_PARTS)
		u->unit[LINNET_UNIT_LAYERS + i].rank = n + 1;
	u->unit[LINNET_UNIT_EMBEDDINGS].rank = n + 2;
	return 0;
}

/*
 * A short pass over weights that are all in memory can be one job, as far as a job can be bound
 * to their pieces. So units that would be streamed one after the other go together, as few as
 * that takes. Larger models have jobs of layers, and pieces of single units.
 */
static void join_pieces(struct linnet_units *u)
{
	/* what always stays; experts; embeddings */
	const uint32_t others = 3, most = LINNET_UNITS_PIECES - others;
	const uint32_t n = u->n_units - 1 - LINNET_UNIT_LAYERS;
	uint32_t each = (n + most - 1) / most;
	uint64_t bytes = 0;

	for (size_t i = 0; i < u->n_units; i++)
		bytes += u->unit[i].bytes;
	if (bytes > LINNET_WHOLE_WORK)
		return;
	if (n * (uint64_t)SMALL_PIECE / (bytes + 1) >= each)
		each = (uint32_t)(n * (uint64_t)SMALL_PIECE / (bytes + 1)) + 1;
	for (size_t i = 0; i < u->n_units; i++) {
		struct linnet_weight_unit *w = &u->unit[i];

		if (w->rank && w->rank <= n)
			w->rank = (w->rank - 1) / each + 1;
		w->piece = w->fixed && !w->optional ? 1 : 1 + w->rank;
	}
}

static int measure_experts(struct linnet_units *u, const struct linnet_model *m)
{
	struct linnet_expert_layer *layer = linnet_units_experts(m);

	if (!m->hp.n_expert)
		return 0;
	if (!layer)
		return -ENOMEM;
	u->place_bytes = linnet_experts_place_bytes(layer, m->hp.n_layer);
	/* no factor exceeds 2^16, see hparams.c */
	u->all_places = u->most_places = m->hp.n_layer * m->hp.n_expert;
	u->least_places = linnet_experts_least(m->hp.n_expert_used);
	if (u->least_places > u->all_places)
		u->least_places = u->all_places;
	free(layer);
	return 0;
}

struct linnet_expert_layer *linnet_units_experts(const struct linnet_model *m)
{
	struct linnet_expert_layer *layer;

	if (!m->hp.n_expert)
		return NULL;
	layer = malloc(m->hp.n_layer * sizeof(*layer));
	for (uint32_t i = 0; layer && i < m->hp.n_layer; i++)
		layer[i] = (struct linnet_expert_layer){ {
			[LINNET_EXPERT_GATE] = m->layer[i].tensor[LINNET_FFN_GATE_EXPS],
			[LINNET_EXPERT_UP] = m->layer[i].tensor[LINNET_FFN_UP_EXPS],
			[LINNET_EXPERT_DOWN] = m->layer[i].tensor[LINNET_FFN_DOWN_EXPS],
		} };
	return layer;
}

int linnet_units_make(struct linnet_units **out, const struct linnet_model *m,
		      struct linnet_error *err)
{
	const size_t n_tensors = linnet_gguf_tensor_count(m->gguf);
	struct linnet_units *u = calloc(1, sizeof(*u));
	size_t used = 0;
	int ret = -ENOMEM;

	if (!u)
		goto err_free;
	u->n_units = LINNET_UNIT_LAYERS + (size_t)m->hp.n_layer * LINNET_LAYER_PARTS + 1;
	u->unit = calloc(u->n_units, sizeof(*u->unit));
	u->slot = calloc(u->n_units, sizeof(*u->slot));
	u->tensors = malloc((n_tensors + 1) * sizeof(*u->tensors));
	u->slots = malloc(n_tensors + 1);
	if (!u->unit || !u->slot || !u->tensors || !u->slots)
		goto err_free;
	for (size_t i = 0; i < u->n_units; i++) {
		struct linnet_weight_unit *w = &u->unit[i];

		w->tensor = u->tensors + used;
		u->slot[i] = u->slots + used;
		w->fixed = true;
		if (i == LINNET_UNIT_TABLES) {
			for (unsigned g = LINNET_ROPE_FREQS; g < LINNET_OUTPUT_NORM; g++)
				add(u, i, m->global[g], g);
		} else if (i == LINNET_UNIT_EMBEDDINGS) {
			add(u, i, m->global[LINNET_TOKEN_EMBD], LINNET_TOKEN_EMBD);
			w->optional = m->global[LINNET_OUTPUT];
			w->late = true;
		} else if (i == linnet_units_output(u)) {
			for (unsigned g = LINNET_OUTPUT_NORM; g < LINNET_GLOBALS; g++)
				add(u, i, m->global[g], g);
		} else {
			const size_t n = i - LINNET_UNIT_LAYERS;
			const struct linnet_layer *l = &m->layer[n / LINNET_LAYER_PARTS];

			for (unsigned r = 0; r < LINNET_LAYER_ROLES; r++)
				if (part_of(r) == n % LINNET_LAYER_PARTS)
					add(u, i, l->tensor[r], r);
			w->fixed = w->optional = m->hp.n_expert &&
						 n % LINNET_LAYER_PARTS == LINNET_PART_EXPERTS;
		}
		used += w->n;
	}
	ret = measure_experts(u, m);
	if (ret)
		goto err_free;
	ret = linnet_weights_measure(u->unit, u->n_units);
	if (!ret)
		ret = give_ranks(u);
	if (ret)
		goto err_free;
	if (m->engine && m->engine->ops->in_pieces)
		join_pieces(u);
	*out = u;
	return 0;

err_free:
	linnet_units_free(u);
	return linnet_err(err, ret, "%s: out of memory", linnet_gguf_path(m->gguf));
}

void linnet_units_free(struct linnet_units *u)
{
	if (!u)
		return;
	free(u->unit);
	free(u->slot);
	free(u->tensors);
	free(u->slots);
	free(u);
}

void linnet_units_memory(const struct linnet_units *u, unsigned n_slots, uint64_t *resident,
			 uint64_t *ring)
{
	uint64_t largest = 0, most = 0;

	*resident = 0;
	for (size_t i = 0; i < u->n_units; i++) {
		const struct linnet_weight_unit *w = &u->unit[i];

		if (!w->fixed)
			most = w->bytes > most ? w->bytes : most;
		if (w->streamed)
			largest = w->bytes > largest ? w->bytes : largest;
		else if (!w->absent)
			*resident += w->bytes;
	}
	*ring = linnet_weights_slot_bytes(largest, most) * n_slots;
}

uint64_t linnet_units_least(const struct linnet_units *u, unsigned n_slots, uint64_t rows_bytes)
{
	uint64_t bytes = u->least_places * u->place_bytes, largest = 0;

	for (size_t i = 0; i < u->n_units; i++) {
		const struct linnet_weight_unit *w = &u->unit[i];

		if (!w->fixed)
			largest = w->bytes > largest ? w->bytes : largest;
		else if (!w->optional)
			bytes += w->bytes;
	}
	bytes += linnet_weights_slot_bytes(largest, largest) * n_slots;
	return bytes + (u->unit[LINNET_UNIT_EMBEDDINGS].optional ? rows_bytes : 0);
}

/* Keep the units of ranks up to `rank`; what that takes, with the fewest places. */
static uint64_t try_rank(struct linnet_units *u, uint32_t rank, unsigned n_slots,
			 uint64_t rows_bytes)
{
	uint64_t resident, ring;

	u->n_places = 0;
	for (size_t i = 0; i < u->n_units; i++) {
		struct linnet_weight_unit *w = &u->unit[i];
		const bool go = w->rank > rank && w->bytes;

		w->streamed = go && !w->fixed;
		w->absent = go && w->optional;
		if (w->absent && i != LINNET_UNIT_EMBEDDINGS)
			u->n_places = u->least_places;
	}
	linnet_units_memory(u, n_slots, &resident, &ring);
	return resident + ring + u->n_places * u->place_bytes +
	       (u->unit[LINNET_UNIT_EMBEDDINGS].absent ? rows_bytes : 0);
}

int linnet_units_choose(struct linnet_units *u, uint64_t bytes, unsigned n_slots,
			uint64_t rows_bytes, uint64_t *least)
{
	const uint32_t all = u->unit[LINNET_UNIT_EMBEDDINGS].rank;
	uint32_t high = all;
	uint64_t took;

	*least = linnet_units_least(u, n_slots, rows_bytes);
	/* Everything; everything but embeddings; and experts: none of these needs a ring. */
	for (; high + 2 >= all; high--) {
		took = try_rank(u, high, n_slots, rows_bytes);
		if (took <= bytes)
			goto out_places;
	}
	/* one by one: with the first of the large units the ring grows, and may take more than
	 * the unit gives */
	while ((took = try_rank(u, high, n_slots, rows_bytes)) > bytes)
		if (!high--)
			return -ENOSPC;
out_places:
	if (u->n_places) {
		const uint64_t more = (bytes - took) / u->place_bytes;

		u->n_places = more < u->most_places - u->n_places ? u->n_places + more :
								   u->most_places;
	}
	return 0;
}
