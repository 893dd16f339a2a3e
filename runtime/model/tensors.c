// SPDX-License-Identifier: MIT
/*
 * The model's tensors: found by name, checked in shape and type. A tensor that nobody
 * knows is an error, because a model whose weights are left out computes something else
 * than was trained.
 */
#include "model.h"

#include "kernels/kernels.h"
#include "runtime/util/error.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Dimensions that shapes are made of. */
enum size {
	NONE,
	EMBD,
	Q,		/* query heads */
	K,		/* key heads */
	V,		/* value heads */
	QKV,
	OUT,		/* what attention gives: query heads of value size */
	HEAD_K,
	FF,
	UP,		/* FF, or twice with the gate in it */
	FF_EXP,
	EXPERTS,
	VOCAB,
	ROT_HALF,
};

struct shape {
	const char *name;
	bool vector;		/* one dimension, F32 */
	enum size ne[3];
};

static const struct shape layer_shape[LINNET_LAYER_ROLES] = {
	[LINNET_ATTN_NORM] = { "attn_norm.weight", true, { EMBD } },
	[LINNET_ATTN_Q] = { "attn_q.weight", false, { EMBD, Q } },
	[LINNET_ATTN_Q_BIAS] = { "attn_q.bias", true, { Q } },
	[LINNET_ATTN_K] = { "attn_k.weight", false, { EMBD, K } },
	[LINNET_ATTN_K_BIAS] = { "attn_k.bias", true, { K } },
	[LINNET_ATTN_V] = { "attn_v.weight", false, { EMBD, V } },
	[LINNET_ATTN_V_BIAS] = { "attn_v.bias", true, { V } },
	[LINNET_ATTN_QKV] = { "attn_qkv.weight", false, { EMBD, QKV } },
	[LINNET_ATTN_QKV_BIAS] = { "attn_qkv.bias", true, { QKV } },
	[LINNET_ATTN_Q_NORM] = { "attn_q_norm.weight", true, { HEAD_K } },
	[LINNET_ATTN_K_NORM] = { "attn_k_norm.weight", true, { HEAD_K } },
	[LINNET_ATTN_OUT] = { "attn_output.weight", false, { OUT, EMBD } },
	[LINNET_ATTN_OUT_BIAS] = { "attn_output.bias", true, { EMBD } },
	[LINNET_ATTN_POST_NORM] = { "post_attention_norm.weight", true, { EMBD } },
	[LINNET_FFN_NORM] = { "ffn_norm.weight", true, { EMBD } },
	[LINNET_FFN_GATE] = { "ffn_gate.weight", false, { EMBD, FF } },
	[LINNET_FFN_GATE_BIAS] = { "ffn_gate.bias", true, { FF } },
	[LINNET_FFN_UP] = { "ffn_up.weight", false, { EMBD, UP } },
	[LINNET_FFN_UP_BIAS] = { "ffn_up.bias", true, { UP } },
	[LINNET_FFN_DOWN] = { "ffn_down.weight", false, { FF, EMBD } },
	[LINNET_FFN_DOWN_BIAS] = { "ffn_down.bias", true, { EMBD } },
	[LINNET_FFN_POST_NORM] = { "post_ffw_norm.weight", true, { EMBD } },
	[LINNET_FFN_ROUTER] = { "ffn_gate_inp.weight", false, { EMBD, EXPERTS } },
	[LINNET_FFN_GATE_EXPS] = { "ffn_gate_exps.weight", false, { EMBD, FF_EXP, EXPERTS } },
	[LINNET_FFN_UP_EXPS] = { "ffn_up_exps.weight", false, { EMBD, FF_EXP, EXPERTS } },
	[LINNET_FFN_DOWN_EXPS] = { "ffn_down_exps.weight", false, { FF_EXP, EMBD, EXPERTS } },
};

static const struct shape global_shape[LINNET_GLOBALS] = {
	[LINNET_TOKEN_EMBD] = { "token_embd.weight", false, { EMBD, VOCAB } },
	[LINNET_ROPE_FREQS] = { "rope_freqs.weight", true, { ROT_HALF } },
	[LINNET_ROPE_LONG] = { "rope_factors_long.weight", true, { ROT_HALF } },
	[LINNET_ROPE_SHORT] = { "rope_factors_short.weight", true, { ROT_HALF } },
	[LINNET_OUTPUT_NORM] = { "output_norm.weight", true, { EMBD } },
	[LINNET_OUTPUT] = { "output.weight", false, { EMBD, VOCAB } },
	[LINNET_OUTPUT_BIAS] = { "output.bias", true, { VOCAB } },
};

static uint64_t size_of(const struct linnet_model *m, const struct linnet_layer *l, enum size s)
{
	const struct linnet_hparams *hp = &m->hp;

	switch (s) {
	case NONE:
		return 1;
	case EMBD:
		return hp->n_embd;
	case Q:
		return (uint64_t)l->n_head * hp->dk;
	case K:
		return (uint64_t)l->n_head_kv * hp->dk;
	case V:
		return (uint64_t)l->n_head_kv * hp->dv;
	case QKV:
		return size_of(m, l, Q) + size_of(m, l, K) + size_of(m, l, V);
	case OUT:
		return (uint64_t)l->n_head * hp->dv;
	case HEAD_K:
		return hp->dk;
	case FF:
		return l->n_ff;
	case UP:
		return l->tensor[LINNET_FFN_GATE] ? l->n_ff : 2ull * l->n_ff;
	case FF_EXP:
		return hp->n_ff_exp;
	case EXPERTS:
		return hp->n_expert;
	case VOCAB:
		return hp->n_vocab;
	case ROT_HALF:
		return hp->rope.n_rot / 2;
	}
	return 0;
}

static int check_shape(const struct linnet_model *m, const struct linnet_layer *l,
		       const struct linnet_gguf_tensor *t, const struct shape *s,
		       struct linnet_error *err)
{
	if (s->vector && t->type != LINNET_TYPE_F32)
		return linnet_err(err, -ENOTSUP,
				  "%s: this tensor is supported as F32 only (%s, type %s)",
				  linnet_gguf_path(m->gguf), t->name.p,
				  linnet_type_info(t->type)->name);
	if (t->type == LINNET_TYPE_I32)
		return linnet_err(err, -EINVAL, "%s: weights cannot be integers (%s, type I32)",
				  linnet_gguf_path(m->gguf), t->name.p);
	for (unsigned i = 0; i < 4; i++) {
		uint64_t want = i < 3 ? size_of(m, l, s->ne[i]) : 1;

		if (t->ne[i] != want)
			return linnet_err(err, -EINVAL,
					  "%s: tensor has the wrong shape (%s, dimension %u is "
					  "%" PRIu64 " instead of %" PRIu64 ")",
					  linnet_gguf_path(m->gguf), t->name.p, i, t->ne[i], want);
	}
	return 0;
}

static bool wanted(const struct linnet_model *m, enum linnet_role role)
{
	switch (role) {
	case LINNET_ATTN_Q_NORM:
	case LINNET_ATTN_K_NORM:
		return m->family->qk_norm;
	case LINNET_ATTN_POST_NORM:
	case LINNET_FFN_POST_NORM:
		return m->family->post_norms;
	case LINNET_FFN_ROUTER:
	case LINNET_FFN_GATE_EXPS:
	case LINNET_FFN_UP_EXPS:
	case LINNET_FFN_DOWN_EXPS:
		return m->hp.n_expert;
	case LINNET_FFN_GATE:
	case LINNET_FFN_GATE_BIAS:
	case LINNET_FFN_UP:
	case LINNET_FFN_UP_BIAS:
	case LINNET_FFN_DOWN:
	case LINNET_FFN_DOWN_BIAS:
		return !m->hp.n_expert;
	default:
		return true;
	}
}

/* The number in "blk.NUMBER.rest", and rest; NULL: not such a name. There is one way to
 * write a number, or a file could hold a tensor twice. */
static const char *layer_of(const char *name, uint32_t n_layer, uint32_t *layer)
{
	uint64_t i = 0;
	const char *p;

	if (strncmp(name, "blk.", 4))
		return NULL;
	for (p = name + 4; *p >= '0' && *p <= '9' && i < n_layer; p++)
		i = 10 * i + (uint64_t)(*p - '0');
	if (p == name + 4 || *p != '.' || i >= n_layer || (name[4] == '0' && p > name + 5))
		return NULL;
	*layer = i;
	return p + 1;
}

/* Put one tensor of the file in its place. */
static int place(struct linnet_model *m, const struct linnet_gguf_tensor *t,
		 struct linnet_error *err)
{
	const char *name;
	uint32_t layer;

	for (unsigned g = 0; g < LINNET_GLOBALS; g++) {
		bool factors = g >= LINNET_ROPE_FREQS && g <= LINNET_ROPE_SHORT;

		if (!strcmp(t->name.p, global_shape[g].name) &&
		    (!factors || m->family->rope_factors)) {
			m->global[g] = t;
			return 0;
		}
	}
	name = layer_of(t->name.p, m->hp.n_layer, &layer);
	for (unsigned r = 0; name && r < LINNET_LAYER_ROLES; r++) {
		if (strcmp(name, layer_shape[r].name) || !wanted(m, r))
			continue;
		m->layer[layer].tensor[r] = t;
		return 0;
	}
	return linnet_err(err, -ENOTSUP,
			  "%s: this tensor is not known in architecture %s (%.200s)",
			  linnet_gguf_path(m->gguf), m->family->arch, t->name.p);
}

static int missing(const struct linnet_model *m, const char *name, struct linnet_error *err)
{
	return linnet_err(err, -EINVAL, "%s: tensor is missing (%s)", linnet_gguf_path(m->gguf),
			  name);
}

/* A tensor that nothing would read: one of two forms of the same weights is there. */
static bool superfluous(const struct linnet_layer *l, enum linnet_role role)
{
	switch (role) {
	case LINNET_ATTN_Q:
	case LINNET_ATTN_Q_BIAS:
	case LINNET_ATTN_K:
	case LINNET_ATTN_K_BIAS:
	case LINNET_ATTN_V:
	case LINNET_ATTN_V_BIAS:
		return l->tensor[LINNET_ATTN_QKV];
	case LINNET_ATTN_QKV_BIAS:
		return !l->tensor[LINNET_ATTN_QKV];
	case LINNET_FFN_GATE_BIAS:
		return !l->tensor[LINNET_FFN_GATE];
	default:
		return false;
	}
}

static int check_layer(const struct linnet_model *m, uint32_t layer, struct linnet_error *err)
{
	const struct linnet_layer *l = &m->layer[layer];
	const struct linnet_gguf_tensor *up = l->tensor[LINNET_FFN_UP];
	const bool fused = l->tensor[LINNET_ATTN_QKV];

	for (unsigned r = 0; r < LINNET_LAYER_ROLES; r++) {
		bool optional;
		char name[64];
		int ret;

		switch (r) {
		case LINNET_ATTN_Q:
		case LINNET_ATTN_K:
		case LINNET_ATTN_V:
			optional = fused;
			break;
		case LINNET_ATTN_QKV:
			optional = true;
			break;
		case LINNET_FFN_GATE:
			/* it may lie in `up`, which then has twice the rows */
			optional = !wanted(m, r) || (up && up->ne[1] != l->n_ff);
			break;
		default:
			optional = strstr(layer_shape[r].name, ".bias") || !wanted(m, r);
		}
		if (l->tensor[r]) {
			if (superfluous(l, r))
				return linnet_err(err, -ENOTSUP,
						  "%s: nothing uses this tensor beside the others "
						  "of its layer (%s)",
						  linnet_gguf_path(m->gguf), l->tensor[r]->name.p);
			ret = check_shape(m, l, l->tensor[r], &layer_shape[r], err);
			if (ret)
				return ret;
		} else if (!optional) {
			snprintf(name, sizeof(name), "blk.%u.%s", layer, layer_shape[r].name);
			return missing(m, name, err);
		}
	}
	return 0;
}

int linnet_tensors_read(struct linnet_model *m, struct linnet_error *err)
{
	static const enum linnet_global required[] = { LINNET_TOKEN_EMBD, LINNET_OUTPUT_NORM };
	int ret;

	for (size_t i = 0; i < linnet_gguf_tensor_count(m->gguf); i++) {
		ret = place(m, linnet_gguf_tensor(m->gguf, i), err);
		if (ret)
			return ret;
	}
	for (unsigned i = 0; i < 2; i++)
		if (!m->global[required[i]])
			return missing(m, global_shape[required[i]].name, err);
	/* Files of Phi-3 bring the factors, and seldom say what kind of scaling they are for. */
	if (m->global[LINNET_ROPE_LONG] || m->global[LINNET_ROPE_SHORT])
		m->hp.longrope = true;
	for (unsigned g = LINNET_ROPE_LONG; m->hp.longrope && g <= LINNET_ROPE_SHORT; g++)
		if (!m->global[g])
			return missing(m, global_shape[g].name, err);
	if (m->global[LINNET_TOKEN_EMBD]->ne[1] > INT32_MAX)
		return linnet_err(err, -EINVAL, "%s: the vocabulary is too large (%s, %" PRIu64 ")",
				  linnet_gguf_path(m->gguf), "token_embd.weight",
				  m->global[LINNET_TOKEN_EMBD]->ne[1]);
	m->hp.n_vocab = m->global[LINNET_TOKEN_EMBD]->ne[1];
	for (unsigned g = 0; g < LINNET_GLOBALS; g++) {
		if (!m->global[g])
			continue;
		ret = check_shape(m, m->layer, m->global[g], &global_shape[g], err);
		if (ret)
			return ret;
	}
	for (uint32_t i = 0; i < m->hp.n_layer; i++) {
		ret = check_layer(m, i, err);
		if (ret)
			return ret;
	}
	return 0;
}
