/* SPDX-License-Identifier: MIT */
/*
 * The model's tensors as units of weights, in the order of a pass: tables of rotary
 * angles, embeddings, each layer in LINNET_LAYER_PARTS, the output. Which of them are
 * resident follows from the memory there is: units go in a fixed order, smaller kinds
 * before the largest, and each that goes far from the ones before, so that for any amount
 * of memory those that are streamed are spread evenly over the pass, the disk works all
 * the time, and the ring is no larger than they need.
 *
 * Experts of a mixture are in memory all together, or the cache of experts has what memory
 * is left (runtime/memory/experts.h), and their units are absent.
 */
#ifndef LINNET_MODEL_UNITS_H
#define LINNET_MODEL_UNITS_H

#include "graph.h"

#define LINNET_LAYER_PARTS 4	/* attention; gate; up; down. Or: attention; router; experts; - */
#define LINNET_PART_ROUTER 1
#define LINNET_PART_EXPERTS 2

/* Tokens of a pass, times bytes of weights, up to which it is one job where the way to the
 * engine is what costs: longer ones would gain nothing, and keep the engine from others and from
 * its limit of time for a job. Its weights are in at most so many pieces. */
#define LINNET_WHOLE_WORK (1ull << 30)
#define LINNET_UNITS_PIECES (LINNET_MAX_SLOTS - LINNET_SLOT_WEIGHT)

/* Units by number. */
enum {
	LINNET_UNIT_TABLES,
	LINNET_UNIT_EMBEDDINGS,
	LINNET_UNIT_LAYERS,
};

struct linnet_units {
	struct linnet_weight_unit *unit;
	size_t n_units;
	/* Of the cache of experts: 0 where there are none or all are in memory. */
	uint32_t n_places;
	/* Bytes of a place (0: there are no experts), places for all experts, places that it
	 * cannot do without, places that it may have. */
	uint64_t place_bytes;
	uint32_t all_places, least_places, most_places;
	/* slot of each tensor of each unit, in the unit's order */
	const uint8_t **slot;
	/* what the above points into */
	const struct linnet_gguf_tensor **tensors;
	uint8_t *slots;
};

/* The units' sizes are measured, nothing is streamed. */
int linnet_units_make(struct linnet_units **out, const struct linnet_model *m,
		      struct linnet_error *err);
/* The tensors of each layer's experts, malloc()ed; NULL when there are none, or no memory. */
struct linnet_expert_layer *linnet_units_experts(const struct linnet_model *m);
void linnet_units_free(struct linnet_units *u);

static inline size_t linnet_units_layer(uint32_t layer, uint32_t part)
{
	return LINNET_UNIT_LAYERS + (size_t)layer * LINNET_LAYER_PARTS + part;
}

static inline size_t linnet_units_output(const struct linnet_units *u)
{
	return u->n_units - 1;
}

/*
 * Choose what to keep so that it and, when units are streamed, a ring of n_slots fit in
 * `bytes`. First to go is the table of embeddings, unless the output is made of it: its
 * rows can be read one by one, with `rows_bytes` of memory (then the unit is absent). Then
 * experts, for a cache of them. Then layers' parts. -ENOSPC: not even with all of them
 * streamed; *least always gets what that takes.
 */
int linnet_units_choose(struct linnet_units *u, uint64_t bytes, unsigned n_slots,
			uint64_t rows_bytes, uint64_t *least);
/* What the least that works takes: everything is streamed that may be. */
uint64_t linnet_units_least(const struct linnet_units *u, unsigned n_slots, uint64_t rows_bytes);
/* Memory of the resident units, and of the ring; not that of the cache of experts. */
void linnet_units_memory(const struct linnet_units *u, unsigned n_slots, uint64_t *resident,
			 uint64_t *ring);

#endif
