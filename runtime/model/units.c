// SPDX-License-Identifier: MIT
/* Keeps units.h. */
#include "units.h"

#include "graph.h"
#include "runtime/util/error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Part of a layer that uses a tensor, of LINNET_LAYER_PARTS. */
static uint32_t part_of(enum linnet_role role)
{
	switch (role) {
	case LINNET_FFN_NORM:
	case LINNET_FFN_GATE:
	case LINNET_FFN_GATE_BIAS:
	case LINNET_FFN_ROUTER:
	case LINNET_FFN_GATE_EXPS:
		return 1;
	case LINNET_FFN_UP:
	case LINNET_FFN_UP_BIAS:
	case LINNET_FFN_UP_EXPS:
		return 2;
	case LINNET_FFN_DOWN:
	case LINNET_FFN_DOWN_BIAS:
	case LINNET_FFN_POST_NORM:
	case LINNET_FFN_DOWN_EXPS:
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

int linnet_units_make(struct linnet_units **out, const struct linnet_model *m, bool small,
		      struct linnet_error *err)
{
	const uint32_t parts = small ? LINNET_LAYER_PARTS : 1;
	const size_t n_tensors = linnet_gguf_tensor_count(m->gguf);
	struct linnet_units *u = calloc(1, sizeof(*u));
	size_t used = 0;
	int ret = -ENOMEM;

	if (!u)
		goto err_free;
	u->parts = parts;
	u->gather = small && m->global[LINNET_OUTPUT];
	u->n_units = 2 + (size_t)m->hp.n_layer * parts;
	u->unit = calloc(u->n_units, sizeof(*u->unit));
	u->slot = calloc(u->n_units, sizeof(*u->slot));
	u->tensors = malloc((n_tensors + 1) * sizeof(*u->tensors));
	u->slots = malloc(n_tensors + 1);
	if (!u->unit || !u->slot || !u->tensors || !u->slots)
		goto err_free;
	for (size_t i = 0; i < u->n_units; i++) {
		u->unit[i].tensor = u->tensors + used;
		u->slot[i] = u->slots + used;
		if (i == 0) {
			for (unsigned g = LINNET_TOKEN_EMBD + u->gather; g < LINNET_OUTPUT_NORM; g++)
				add(u, i, m->global[g], g);
		} else if (i == u->n_units - 1) {
			for (unsigned g = LINNET_OUTPUT_NORM; g < LINNET_GLOBALS; g++)
				add(u, i, m->global[g], g);
		} else {
			const struct linnet_layer *l = &m->layer[(i - 1) / parts];

			for (unsigned r = 0; r < LINNET_LAYER_ROLES; r++)
				if (parts == 1 || part_of(r) == (i - 1) % parts)
					add(u, i, l->tensor[r], r);
		}
		used += u->unit[i].n;
	}
	ret = linnet_weights_measure(u->unit, u->n_units);
	if (ret)
		goto err_free;
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

uint64_t linnet_units_bytes(const struct linnet_units *u)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < u->n_units; i++)
		bytes += u->unit[i].bytes;
	return bytes;
}

uint64_t linnet_units_memory(const struct linnet_units *u, unsigned n_slots)
{
	uint64_t resident = 0, slot = 0;

	for (size_t i = 0; i < u->n_units; i++) {
		const struct linnet_weight_unit *w = &u->unit[i];

		if (!w->streamed)
			resident += w->bytes;
		else if (w->bytes > slot)
			slot = w->bytes;
	}
	return resident + slot * n_slots;
}

/* Stream about `bytes` of the layers' units, evenly spread. */
static void spread(struct linnet_units *u, uint64_t bytes, uint64_t of)
{
	double debt = 0;

	for (size_t i = 1; i < u->n_units - 1; i++) {
		struct linnet_weight_unit *w = &u->unit[i];

		debt += (double)w->bytes / of * bytes;
		w->streamed = w->bytes && debt >= w->bytes / 2.0;
		if (w->streamed)
			debt -= w->bytes;
	}
}

int linnet_units_choose(struct linnet_units *u, uint64_t bytes, unsigned n_slots, uint64_t *least)
{
	const uint64_t all = linnet_units_bytes(u);
	uint64_t layers = 0, wanted, memory;

	for (size_t i = 1; i < u->n_units - 1; i++)
		layers += u->unit[i].bytes;
	if (all <= bytes)
		return 0;
	wanted = all - bytes;
	for (;;) {
		if (wanted > layers)
			wanted = layers;
		if (wanted == layers)
			for (size_t i = 1; i < u->n_units - 1; i++)
				u->unit[i].streamed = u->unit[i].bytes > 0;
		else
			spread(u, wanted, layers);
		memory = linnet_units_memory(u, n_slots);
		if (memory <= bytes)
			return 0;
		if (wanted == layers)
			break;
		wanted += memory - bytes;
	}
	*least = memory;
	return -ENOSPC;
}
