/* SPDX-License-Identifier: MIT */
/*
 * Experts of a mixture that do not all fit: a cache of places, each for one expert of one
 * layer. Which experts a pass needs is known only when the router has chosen, and some are
 * chosen far more often than others; so, unlike weights that every pass uses in the same
 * order, they are kept by use. An expert's worth is how often tokens chose it, where a
 * choice counts half as much a few hundred tokens later.
 *
 * What the next layer's router will choose can be guessed, by asking it too early: of the
 * state before this layer's experts have added to it. Experts that are guessed and missing are
 * read when this layer has what it needs, so the disk works while it computes. A guess
 * changes when bytes are read and what is cached, never a result. How many guesses come true
 * is counted, and where too few do, nothing is read by them.
 *
 * A layer's experts are computed in rounds: those that are there at once, while the others
 * are read, then those that have arrived. So the cache may be smaller than what one pass
 * needs of one layer.
 */
#ifndef LINNET_MEMORY_EXPERTS_H
#define LINNET_MEMORY_EXPERTS_H

#include "weights.h"

/* Tensors of a layer with experts. */
enum { LINNET_EXPERT_GATE, LINNET_EXPERT_UP, LINNET_EXPERT_DOWN, LINNET_EXPERT_TENSORS };

/* Of each layer; the tensors' third dimension counts experts. */
struct linnet_expert_layer {
	const struct linnet_gguf_tensor *tensor[LINNET_EXPERT_TENSORS];
};

struct linnet_experts;

struct linnet_experts_options {
	uint32_t n_experts, n_used;	/* of a layer; that a token uses */
	uint32_t n_places;		/* address space for so many */
	bool no_huge_pages, verify;
	bool no_guess;			/* read nothing that may not be needed */
};

struct linnet_experts_stats {
	uint64_t hits, misses;		/* experts that a layer of a pass needed */
	uint64_t ahead, ahead_used;	/* read by a guess; and needed by the layer then */
	uint64_t verified_bytes;
	uint64_t purged_bytes;		/* that the machine took */
};

/* Bytes of a place that any expert of the layers fits in; whole blocks. */
uint64_t linnet_experts_place_bytes(const struct linnet_expert_layer *layer, uint32_t n_layers);
/* Places that the cache cannot do without. */
uint32_t linnet_experts_least(uint32_t n_used);

/* Reads go through w's files and queue; w must outlive the cache. */
int linnet_experts_create(struct linnet_experts **out, struct linnet_weights *w,
			  const struct linnet_expert_layer *layer, uint32_t n_layers,
			  const struct linnet_experts_options *opts, struct linnet_error *err);
/* Waits for the reads in flight. */
void linnet_experts_destroy(struct linnet_experts *x);

/* The places, one after another, and where tensor number t of a layer is in the first. */
const struct linnet_region *linnet_experts_region(const struct linnet_experts *x);
uint64_t linnet_experts_offset(const struct linnet_experts *x, uint32_t layer, uint32_t t);
uint32_t linnet_experts_places(const struct linnet_experts *x);

/*
 * Use n places from now on; memory of the others is given back, at once unless they are
 * needed by the round that runs. Fewer than the least: the least, while a layer runs.
 */
void linnet_experts_limit(struct linnet_experts *x, uint32_t n);

/* As linnet_weights_idle() and linnet_weights_wake(), of the engine that has these. No layer
 * runs. */
int linnet_experts_idle(struct linnet_experts *x);
void linnet_experts_wake(struct linnet_experts *x);

/* Tokens of a pass for which it pays to guess: many tokens need nearly all experts. */
#define LINNET_EXPERTS_GUESS_TOKENS 4
/* Is a guess of the next layer's experts wanted now? */
bool linnet_experts_want_guess(struct linnet_experts *x);
/* ids[n] are what `layer` may choose, n_used for each token, the likeliest first; the layer
 * before it begins next. */
void linnet_experts_guess(struct linnet_experts *x, uint32_t layer, const int32_t *ids, size_t n);

/* A layer begins: ids[n] are the experts that its tokens chose. -ERANGE: no such expert. */
int linnet_experts_begin(struct linnet_experts *x, uint32_t layer, const int32_t *ids, size_t n,
			 uint32_t n_tokens);
/*
 * Start reading what is missing, and put what can be computed now into table[n_experts]:
 * places, LINNET_PLACE_NONE for all others. Returns how many there are; 0: wait on the
 * queue, or, when linnet_experts_left() is 0 too, the layer is done; -errno: a read failed,
 * or -EBADMSG.
 */
int linnet_experts_round(struct linnet_experts *x, int32_t *table, struct linnet_error *err);
/* The round has been computed. */
void linnet_experts_round_done(struct linnet_experts *x);
uint32_t linnet_experts_left(const struct linnet_experts *x);
/* The layer is done, or given up. */
void linnet_experts_end(struct linnet_experts *x);

void linnet_experts_stats(const struct linnet_experts *x, struct linnet_experts_stats *stats);

#endif
