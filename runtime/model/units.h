/* SPDX-License-Identifier: MIT */
/*
 * The model's tensors as units of weights, one for each job of a pass: embeddings,
 * then each layer as one unit or in LINNET_LAYER_PARTS, then the output. Parts are
 * for models that do not fit: smaller units can be chosen more finely and need a
 * smaller ring.
 */
#ifndef LINNET_MODEL_UNITS_H
#define LINNET_MODEL_UNITS_H

#include "model.h"

#define LINNET_LAYER_PARTS 4	/* attention; gate; up; down */

struct linnet_units {
	struct linnet_weight_unit *unit;
	size_t n_units;
	uint32_t parts;			/* of a layer */
	bool gather;			/* embeddings are read row by row, in no unit */
	/* slot of each tensor of each unit, in the unit's order */
	const uint8_t **slot;
	/* what the above points into */
	const struct linnet_gguf_tensor **tensors;
	uint8_t *slots;
};

/*
 * small: for a model that does not fit: layers in parts, embeddings row by row unless
 * the output needs them too. The units' sizes are measured, nothing is streamed.
 */
int linnet_units_make(struct linnet_units **out, const struct linnet_model *m, bool small,
		      struct linnet_error *err);
void linnet_units_free(struct linnet_units *u);

static inline size_t linnet_units_layer(const struct linnet_units *u, uint32_t layer, uint32_t part)
{
	return 1 + (size_t)layer * u->parts + part;
}

static inline size_t linnet_units_output(const struct linnet_units *u)
{
	return u->n_units - 1;
}

uint64_t linnet_units_bytes(const struct linnet_units *u);

/*
 * Choose units to stream so that what stays resident and a ring of n_slots fit in
 * `bytes`: layers' parts only, spread evenly over the pass, so that the disk works all
 * the time. -ENOSPC: not even with all of them streamed; *least gets what it would take.
 */
int linnet_units_choose(struct linnet_units *u, uint64_t bytes, unsigned n_slots,
			uint64_t *least);
/* Memory of the resident units and the ring. */
uint64_t linnet_units_memory(const struct linnet_units *u, unsigned n_slots);

#endif
