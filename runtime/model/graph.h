/* SPDX-License-Identifier: MIT */
/*
 * The streams of a model for given maxima: for the embeddings (from the whole table, or
 * from one with the pass's rows), for each kind of layer as a whole and for each of its
 * parts (those that differ in weights' places alone share one), for the output. Built once
 * for a session; what is in memory decides, pass by pass, which of them run. When all weights
 * are, each in a place of its own, one stream can be the whole pass. All ways give the same
 * bits.
 */
#ifndef LINNET_MODEL_GRAPH_H
#define LINNET_MODEL_GRAPH_H

#include "model.h"

/* Parameters of every stream. */
enum {
	LINNET_PARAM_TOKENS,
	LINNET_PARAM_OUTPUTS,
	LINNET_PARAMS,
};

/* Slots of every stream. Layer weights follow by role, others by enum linnet_global. */
enum {
	LINNET_SLOT_ACT,		/* activations, from pass to pass */
	LINNET_SLOT_BATCH,		/* what the pass is about: ids, positions, pages */
	LINNET_SLOT_KV,			/* from the layer's place in page 0 on */
	LINNET_SLOT_PAGES,		/* the layer's page tables, i32 [n_seqs][n_seq_pages] */
	LINNET_SLOT_WEIGHT,		/* of a whole pass: all weights, piece by piece */
	LINNET_SLOTS = LINNET_SLOT_WEIGHT + LINNET_LAYER_ROLES,
};

/* Streams by number: these, then the kinds of layers. */
enum {
	LINNET_STREAM_EMBED,
	LINNET_STREAM_EMBED_ROWS,	/* embeddings come as a table of the batch's rows */
	LINNET_STREAM_OUTPUT,
	LINNET_STREAM_LAYERS,
};

struct linnet_graph_config {
	uint32_t n_batch, n_outputs;	/* most tokens and rows of logits of a pass */
	uint32_t n_pages, n_seq_pages;	/* of the KV cache, of one sequence */
	uint32_t n_tables;		/* page tables: one, or one for each layer */
	uint32_t n_seqs;
	const struct linnet_kv_layer *kv;
	uint32_t kv_type;
	uint64_t kv_stride;		/* bytes between pages */
	bool long_factors;		/* of longrope */
	/* of the cache of experts; 0: there is none */
	uint32_t n_places;
	uint64_t place_bytes;
};

/* Places in the slot of the batch, in bytes. */
struct linnet_batch_layout {
	uint64_t ids, pos, seq;		/* i32 [n_batch] */
	uint64_t rows;			/* i32 [n_batch]: ids whose rows are gathered */
	uint64_t places;		/* i32 [n_expert]: of a layer's experts, in the cache */
	uint64_t out;			/* i32 [n_outputs]: tokens whose logits are wanted */
	uint64_t pages, table_bytes;	/* i32 [n_tables][n_seqs][n_seq_pages] */
	uint64_t bytes;
};

struct linnet_graph {
	struct {
		void *data;
		size_t bytes;
	} *stream;
	uint32_t n_streams;
	uint32_t *layer_stream;		/* number of each layer's stream */
	uint32_t *part_stream;		/* and of its parts', LINNET_LAYER_PARTS for each */
	/* of its experts from the cache, when there is one */
	uint32_t *expert_stream;
	struct linnet_batch_layout batch;
	uint64_t expert_ids;		/* i32 [tokens][n_expert_used] in the slot of activations */
	uint64_t act_bytes;
	uint64_t logits;		/* f32 [n_outputs][n_vocab] in the slot of activations */
};

int linnet_graph_build(struct linnet_graph *g, const struct linnet_model *m,
		       const struct linnet_graph_config *c, struct linnet_error *err);
void linnet_graph_free(struct linnet_graph *g);

/* In which of the slots from LINNET_SLOT_WEIGHT on a tensor is, and where. */
struct linnet_graph_places {
	uint32_t n_slots;
	uint32_t (*find)(void *ctx, const struct linnet_gguf_tensor *t, uint64_t *offset);
	void *ctx;
};

/*
 * A pass in one stream, from the embeddings to the output, for a session whose graph was
 * built with this configuration and whose keys and values are all in memory; the caller
 * frees it. -E2BIG: it would have more operations than a stream may; -ENOMEM.
 */
int linnet_graph_whole(const struct linnet_model *m, const struct linnet_graph_config *c,
		       const struct linnet_graph_places *places, void **data, size_t *bytes);

/* One stream in words, through write; see linnet_model_dump_streams(). */
int linnet_graph_dump(const void *data, size_t bytes, const char *title,
		      int (*write)(void *ctx, const char *text, size_t n), void *ctx);

#endif
