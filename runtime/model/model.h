/* SPDX-License-Identifier: MIT */
/*
 * A model: what its file says, checked, and the weights it needs. The families are
 * data (struct linnet_family, one short file each); what they share is built once,
 * in graph.c.
 */
#ifndef LINNET_MODEL_MODEL_H
#define LINNET_MODEL_MODEL_H

#include "kernels/stream.h"
#include "runtime/engine/engine.h"
#include "runtime/format/gguf.h"
#include "runtime/memory/kv.h"
#include "runtime/memory/weights.h"
#include "runtime/text/tokenizer.h"

#include <pthread.h>

/* Which layers attend to a window instead of everything. */
enum linnet_window_rule {
	LINNET_WINDOW_NEVER,		/* the key is ignored */
	LINNET_WINDOW_ALL,		/* all layers, when the file gives a window */
	LINNET_WINDOW_PERIOD,		/* all but each period's last layer */
};

/* What sets a family apart. */
struct linnet_family {
	const char *arch;		/* general.architecture */
	enum linnet_rope_mode rope;
	enum linnet_glu_kind glu;
	enum linnet_window_rule window;
	uint32_t window_period;
	uint32_t window_default;	/* when the file gives none; 0: none */
	bool embd_scaled;		/* embeddings times sqrt(n_embd) */
	bool post_norms;		/* norms after attention and feed-forward too */
	bool qk_norm;			/* norms of each query and key head */
	bool rope_factors;		/* frequency factors may lie in tensors */
	bool experts;			/* may be a mixture */
	bool softcaps;			/* logits of attention are capped */
	float softcap_attn, softcap_final;	/* when the file gives none; 0: none */
	float rope_base, eps;		/* when the file gives none; 0: Llama's */
	float rope_base_local;		/* base of layers with a window; 0: as the others */
	uint32_t wide_layers;		/* with so many layers, queries are scaled by embd/head */
};

/* The families that are supported; NULL-terminated. */
extern const struct linnet_family *const linnet_families[];

/* Tensors of one layer, by role. */
enum linnet_role {
	LINNET_ATTN_NORM,
	LINNET_ATTN_Q,
	LINNET_ATTN_Q_BIAS,
	LINNET_ATTN_K,
	LINNET_ATTN_K_BIAS,
	LINNET_ATTN_V,
	LINNET_ATTN_V_BIAS,
	LINNET_ATTN_QKV,
	LINNET_ATTN_QKV_BIAS,
	LINNET_ATTN_Q_NORM,
	LINNET_ATTN_K_NORM,
	LINNET_ATTN_OUT,
	LINNET_ATTN_OUT_BIAS,
	LINNET_ATTN_POST_NORM,
	LINNET_FFN_NORM,
	LINNET_FFN_GATE,
	LINNET_FFN_GATE_BIAS,
	LINNET_FFN_UP,
	LINNET_FFN_UP_BIAS,
	LINNET_FFN_DOWN,
	LINNET_FFN_DOWN_BIAS,
	LINNET_FFN_POST_NORM,
	LINNET_FFN_ROUTER,
	LINNET_FFN_GATE_EXPS,
	LINNET_FFN_UP_EXPS,
	LINNET_FFN_DOWN_EXPS,
	LINNET_LAYER_ROLES,
};

/* Tensors of the whole model. */
enum linnet_global {
	LINNET_TOKEN_EMBD,
	LINNET_ROPE_FREQS,
	LINNET_ROPE_LONG,
	LINNET_ROPE_SHORT,
	LINNET_OUTPUT_NORM,
	LINNET_OUTPUT,			/* absent: token_embd is used */
	LINNET_OUTPUT_BIAS,
	LINNET_GLOBALS,
};

/* Rotary position angles, see LINNET_OP_ROPE_TABLE. */
struct linnet_rope {
	float base, scale, ext, corr_low, corr_high, m;
	uint32_t n_rot;
};

struct linnet_layer {
	uint32_t n_head, n_head_kv, n_ff;
	bool windowed;
	const struct linnet_gguf_tensor *tensor[LINNET_LAYER_ROLES];
};

struct linnet_hparams {
	uint32_t n_vocab, n_ctx_train, n_embd, n_layer;
	uint32_t n_ff;			/* the largest of the layers' */
	uint32_t dk, dv;
	float eps, attn_scale, softcap_attn, softcap_final;
	uint32_t window;		/* positions; 0: none */
	struct linnet_rope rope, rope_local;
	bool longrope;			/* angles depend on the size of the context */
	uint32_t rope_ctx_orig;
	uint32_t n_expert, n_expert_used, n_ff_exp;
	bool expert_norm;
	float expert_scale;
};

struct linnet_model {
	struct linnet_gguf *gguf;
	const struct linnet_family *family;
	struct linnet_hparams hp;
	struct linnet_layer *layer;
	const struct linnet_gguf_tensor *global[LINNET_GLOBALS];
	struct linnet_tokenizer *tokenizer;	/* NULL: the file has none */
	const char *type_name;			/* prevailing weight type */
	uint64_t n_params, weight_bytes, file_bytes;
	uint64_t token_bytes, token_products, output_products;	/* see linnet_model_info */
	char *arch, *name;			/* for linnet_model_info() */
	char *share_dir;

	struct linnet_queue *queue;
	struct linnet_engine *engine;
	/* set with the first session, when it is known what there is room for */
	struct linnet_units *units;
	struct linnet_weights *weights;
	struct linnet_experts *experts;	/* NULL: the model has none */
	uint64_t other_bytes;		/* memory of code, tokenizer, metadata */
	uint64_t session_bytes;		/* of all sessions, without weights */
	uint64_t rows_bytes;		/* of theirs, when embeddings are read row by row */
	unsigned n_sessions;
	struct linnet_model_options opts;

	/* Who holds it may decode, or change what is in memory; see memory.c. */
	pthread_mutex_t run;
	_Atomic uint64_t budget;	/* what is to be kept to */
	_Atomic uint64_t least;		/* budget that the sessions there are can do with */
	_Atomic uint64_t kept;		/* what is kept to; changed under `run` */
	bool idle;			/* the machine may take weights; changed under `run` */
	_Atomic bool follows;		/* the budget is what the machine leaves, at any time */
	struct linnet_pressure *pressure;	/* NULL: the kernel tells nothing */
	uint64_t looked_ns, measured_ns, pressed_ns;
	uint64_t placed_ns, ask_ns;	/* when weights were placed; the wait for more memory */
	unsigned stalls;		/* in a row, that giving way did not end */
	const char *root;		/* where the machine's files are: "" but in tests */
};

/* Read family, hyperparameters and tensors from m->gguf into m; reads no weights. */
int linnet_hparams_read(struct linnet_model *m, struct linnet_error *err);
int linnet_tensors_read(struct linnet_model *m, struct linnet_error *err);

#endif
