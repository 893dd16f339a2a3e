// SPDX-License-Identifier: MIT
/*
 * From a model's description to streams, keeps graph.h. Every family goes through
 * the same code; what it lacks or has more shows in its tensors and its flags.
 */
#include "graph.h"

#include "builder.h"
#include "units.h"
#include "kernels/kernels.h"
#include "runtime/util/error.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ALIGN 64

/* Places of the activations. Those of attention and of the feed-forward network are
 * never alive together and share memory. */
struct act {
	uint64_t x, norm, out;			/* [n_embd, T] */
	uint64_t rope, rope_local;		/* [n_rot, T] */
	uint64_t q, k, v, qkv, att;
	uint64_t gate, up;			/* [n_ff, T]; fused: [2 n_ff, T] in gate */
	uint64_t router, ids, weights, down;	/* experts */
	uint64_t rows, rows_norm, logits;	/* output */
	uint64_t bytes;
};

struct build {
	const struct linnet_model *m;
	const struct linnet_hparams *hp;
	const struct linnet_graph_config *c;
	struct linnet_graph *g;
	struct linnet_builder b;
	struct act act;
	bool in_parts;			/* the layer's parts are streams of their own */
	bool cached;			/* its experts are in the cache */
	const struct linnet_graph_places *places;	/* of a whole pass; NULL: not one */
};

#define TOKENS (LINNET_DIM_PARAM | LINNET_PARAM_TOKENS)
#define OUTPUTS (LINNET_DIM_PARAM | LINNET_PARAM_OUTPUTS)

/* ---------------------------------------------------------------------- layout */

static uint64_t take(uint64_t *at, uint64_t elems, uint64_t rows)
{
	uint64_t here = *at;

	/* no factor exceeds 2^30, see hparams.c */
	*at += (elems * rows * 4 + ALIGN - 1) & ~(uint64_t)(ALIGN - 1);
	return here;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static void layout(struct build *bd)
{
	const struct linnet_hparams *hp = bd->hp;
	const struct linnet_graph_config *c = bd->c;
	const uint64_t t = c->n_batch;
	struct linnet_batch_layout *batch = &bd->g->batch;
	struct act *a = &bd->act;
	uint64_t at = 0, shared, q = 0, k = 0, v = 0, o = 0, ends[3];

	batch->ids = take(&at, 1, t);
	batch->pos = take(&at, 1, t);
	batch->seq = take(&at, 1, t);
	batch->rows = take(&at, 1, t);
	batch->out = take(&at, 1, c->n_outputs);
	batch->pages = at;
	for (uint32_t i = 0; i < c->n_tables; i++)
		take(&at, c->n_seq_pages, c->n_seqs);
	batch->table_bytes = (at - batch->pages) / c->n_tables;
	batch->places = take(&at, 1, hp->n_expert);
	batch->bytes = at;

	for (uint32_t i = 0; i < hp->n_layer; i++) {
		const struct linnet_layer *l = &bd->m->layer[i];

		q = max_u64(q, (uint64_t)l->n_head * hp->dk);
		k = max_u64(k, (uint64_t)l->n_head_kv * hp->dk);
		v = max_u64(v, (uint64_t)l->n_head_kv * hp->dv);
		o = max_u64(o, (uint64_t)l->n_head * hp->dv);
	}
	at = 0;
	a->x = take(&at, hp->n_embd, t);
	a->norm = take(&at, hp->n_embd, t);
	a->out = take(&at, hp->n_embd, t);
	a->rope = take(&at, hp->rope.n_rot, t);
	a->rope_local = hp->rope_local.base != hp->rope.base ||
			hp->rope_local.scale != hp->rope.scale ?
			take(&at, hp->rope.n_rot, t) : a->rope;
	shared = at;

	/* a layer has its projections apart or fused: the same bytes serve both */
	a->q = a->qkv = take(&at, q, t);
	a->k = take(&at, k, t);
	a->v = take(&at, v, t);
	a->att = take(&at, o, t);
	ends[0] = at;

	at = shared;
	if (hp->n_expert) {
		const uint64_t rows = t * hp->n_expert_used;

		a->router = take(&at, hp->n_expert, t);
		a->ids = bd->g->expert_ids = take(&at, 1, rows);
		a->weights = take(&at, 1, rows);
		a->gate = take(&at, hp->n_ff_exp, rows);
		a->up = take(&at, hp->n_ff_exp, rows);
		a->down = take(&at, hp->n_embd, rows);
	} else {
		a->gate = take(&at, hp->n_ff, t);
		a->up = take(&at, hp->n_ff, t);
	}
	ends[1] = at;

	at = shared;
	a->rows = take(&at, hp->n_embd, c->n_outputs);
	a->rows_norm = take(&at, hp->n_embd, c->n_outputs);
	a->logits = take(&at, hp->n_vocab, c->n_outputs);
	ends[2] = at;

	a->bytes = max_u64(ends[0], max_u64(ends[1], ends[2]));
	bd->g->act_bytes = a->bytes;
	bd->g->logits = a->logits;
}

/* -------------------------------------------------------------------- operands */

static void put(struct build *bd, uint32_t slot, uint64_t at, uint32_t type, uint32_t n_dims,
		uint32_t n0, uint32_t n1, uint32_t n2)
{
	const uint32_t ne[3] = { n0, n1, n2 };
	struct linnet_operand o = linnet_operand_dense(slot, at, type, n_dims, ne);

	linnet_builder_operand(&bd->b, &o);
}

static void put_f32(struct build *bd, uint64_t at, uint32_t n0, uint32_t n1)
{
	put(bd, LINNET_SLOT_ACT, at, LINNET_TYPE_F32, 2, n0, n1, 1);
}

static void put_f32_3(struct build *bd, uint64_t at, uint32_t n0, uint32_t n1, uint32_t n2)
{
	put(bd, LINNET_SLOT_ACT, at, LINNET_TYPE_F32, 3, n0, n1, n2);
}

/* Rows that lie `stride` floats apart. */
static void put_rows(struct build *bd, uint64_t at, uint32_t n0, uint32_t stride)
{
	const uint32_t ne[2] = { n0, TOKENS };
	struct linnet_operand o = linnet_operand_dense(LINNET_SLOT_ACT, at, LINNET_TYPE_F32, 2, ne);

	o.nb[0] = (uint64_t)stride * 4;
	linnet_builder_operand(&bd->b, &o);
}

/* Heads of size d, tokens `stride` floats apart. */
static void put_heads(struct build *bd, uint64_t at, uint32_t d, uint32_t heads, uint32_t stride)
{
	const uint32_t ne[3] = { d, heads, TOKENS };
	struct linnet_operand o = linnet_operand_dense(LINNET_SLOT_ACT, at, LINNET_TYPE_F32, 3, ne);

	o.nb[1] = (uint64_t)stride * 4;
	linnet_builder_operand(&bd->b, &o);
}

static void put_batch(struct build *bd, uint64_t at, uint32_t n)
{
	put(bd, LINNET_SLOT_BATCH, at, LINNET_TYPE_I32, 1, n, 1, 1);
}

/* pos, seq and pages, as the KV operations take them. */
static void put_paging(struct build *bd)
{
	const struct linnet_batch_layout *batch = &bd->g->batch;

	put_batch(bd, batch->pos, TOKENS);
	put_batch(bd, batch->seq, TOKENS);
	put(bd, LINNET_SLOT_PAGES, 0, LINNET_TYPE_I32, 2, bd->c->n_seq_pages, bd->c->n_seqs, 1);
}

/* A tensor in the slot of its number, or among all weights; absent when t is NULL. */
static void put_tensor(struct build *bd, uint32_t number, const struct linnet_gguf_tensor *t)
{
	const struct linnet_graph_places *all = bd->places;
	uint64_t offset = 0;

	if (!t) {
		linnet_builder_none(&bd->b);
		return;
	}
	if (all)
		number = all->find(all->ctx, t, &offset);
	put(bd, LINNET_SLOT_WEIGHT + number, offset, t->type, t->n_dims, t->ne[0], t->ne[1],
	    t->ne[2]);
}

static void put_role(struct build *bd, const struct linnet_layer *l, enum linnet_role role)
{
	put_tensor(bd, role, l->tensor[role]);
}

/* Keys (role K) or values of a layer in the KV pages. */
static void put_cache(struct build *bd, uint32_t layer, enum linnet_kv_role role)
{
	const struct linnet_kv_layer *kv = &bd->c->kv[layer];
	const uint32_t ne[4] = { role == LINNET_KV_K ? kv->dk : kv->dv, LINNET_KV_PAGE,
				 kv->n_heads, bd->c->n_pages };
	struct linnet_operand o = linnet_operand_dense(LINNET_SLOT_KV,
						       role == LINNET_KV_K ? 0 : kv->k_bytes,
						       bd->c->kv_type, 4, ne);

	/* the slot begins with page 0 then, not at the layer's place in it */
	if (bd->places)
		o.offset += kv->offset;
	o.nb[2] = bd->c->kv_stride;
	linnet_builder_operand(&bd->b, &o);
}

/* ------------------------------------------------------------------ operations */

static void norm(struct build *bd, uint64_t dst, uint64_t src, uint32_t n, uint32_t rows,
		 uint32_t number, const struct linnet_gguf_tensor *weight)
{
	linnet_builder_op(&bd->b, LINNET_OP_RMS_NORM);
	linnet_builder_f32(&bd->b, bd->hp->eps);
	put_f32(bd, dst, n, rows);
	put_f32(bd, src, n, rows);
	put_tensor(bd, number, weight);
}

/* Norm of each head, in place. */
static void norm_heads(struct build *bd, uint64_t at, uint32_t heads, uint32_t stride,
		       const struct linnet_layer *l, enum linnet_role role)
{
	linnet_builder_op(&bd->b, LINNET_OP_RMS_NORM);
	linnet_builder_f32(&bd->b, bd->hp->eps);
	put_heads(bd, at, bd->hp->dk, heads, stride);
	put_heads(bd, at, bd->hp->dk, heads, stride);
	put_role(bd, l, role);
}

static void rotate(struct build *bd, uint64_t at, uint32_t heads, uint32_t stride, bool local)
{
	linnet_builder_op(&bd->b, LINNET_OP_ROPE);
	linnet_builder_u32(&bd->b, bd->m->family->rope);
	put_heads(bd, at, bd->hp->dk, heads, stride);
	put_heads(bd, at, bd->hp->dk, heads, stride);
	put_f32(bd, local ? bd->act.rope_local : bd->act.rope, bd->hp->rope.n_rot, TOKENS);
}

static void product(struct build *bd, const struct linnet_layer *l, uint64_t dst,
		    enum linnet_role weight, enum linnet_role bias)
{
	put_f32(bd, dst, l->tensor[weight]->ne[1], TOKENS);
	put_role(bd, l, weight);
	put_role(bd, l, bias);
}

static void start_products(struct build *bd, uint64_t src, uint32_t n_cols, uint32_t n)
{
	linnet_builder_op(&bd->b, LINNET_OP_MATMUL);
	linnet_builder_u32(&bd->b, n);
	put_f32(bd, src, n_cols, TOKENS);
}

/* x = x + out, after out's own norm where the family has one. */
static void residual(struct build *bd, const struct linnet_layer *l, enum linnet_role post_norm)
{
	const struct act *a = &bd->act;

	if (l->tensor[post_norm])
		norm(bd, a->out, a->out, bd->hp->n_embd, TOKENS, post_norm, l->tensor[post_norm]);
	linnet_builder_op(&bd->b, LINNET_OP_ADD);
	put_f32(bd, a->x, bd->hp->n_embd, TOKENS);
	put_f32(bd, a->x, bd->hp->n_embd, TOKENS);
	put_f32(bd, a->out, bd->hp->n_embd, TOKENS);
}

static void attention(struct build *bd, uint32_t layer)
{
	const struct linnet_layer *l = &bd->m->layer[layer];
	const struct linnet_hparams *hp = bd->hp;
	const struct act *a = &bd->act;
	const uint32_t nq = l->n_head * hp->dk, nk = l->n_head_kv * hp->dk;
	const uint32_t nv = l->n_head_kv * hp->dv;
	const bool local = l->windowed && bd->m->family->rope_base_local != 0;
	uint64_t q = a->q, k = a->k, v = a->v;
	uint32_t sq = nq, sk = nk, sv = nv;

	norm(bd, a->norm, a->x, hp->n_embd, TOKENS, LINNET_ATTN_NORM, l->tensor[LINNET_ATTN_NORM]);
	if (l->tensor[LINNET_ATTN_QKV]) {
		start_products(bd, a->norm, hp->n_embd, 1);
		product(bd, l, a->qkv, LINNET_ATTN_QKV, LINNET_ATTN_QKV_BIAS);
		q = a->qkv;
		k = q + (uint64_t)nq * 4;
		v = k + (uint64_t)nk * 4;
		sq = sk = sv = nq + nk + nv;
	} else {
		start_products(bd, a->norm, hp->n_embd, 3);
		product(bd, l, q, LINNET_ATTN_Q, LINNET_ATTN_Q_BIAS);
		product(bd, l, k, LINNET_ATTN_K, LINNET_ATTN_K_BIAS);
		product(bd, l, v, LINNET_ATTN_V, LINNET_ATTN_V_BIAS);
	}
	if (l->tensor[LINNET_ATTN_Q_NORM]) {
		norm_heads(bd, q, l->n_head, sq, l, LINNET_ATTN_Q_NORM);
		norm_heads(bd, k, l->n_head_kv, sk, l, LINNET_ATTN_K_NORM);
	}
	rotate(bd, q, l->n_head, sq, local);
	rotate(bd, k, l->n_head_kv, sk, local);

	linnet_builder_op(&bd->b, LINNET_OP_KV_WRITE);
	linnet_builder_u32(&bd->b, LINNET_KV_K);
	put_cache(bd, layer, LINNET_KV_K);
	put_heads(bd, k, hp->dk, l->n_head_kv, sk);
	put_paging(bd);
	linnet_builder_op(&bd->b, LINNET_OP_KV_WRITE);
	linnet_builder_u32(&bd->b, LINNET_KV_V);
	put_cache(bd, layer, LINNET_KV_V);
	put_heads(bd, v, hp->dv, l->n_head_kv, sv);
	put_paging(bd);

	linnet_builder_op(&bd->b, LINNET_OP_ATTENTION);
	linnet_builder_f32(&bd->b, hp->attn_scale);
	linnet_builder_f32(&bd->b, hp->softcap_attn);
	linnet_builder_u32(&bd->b, l->windowed ? hp->window : 0);
	put_heads(bd, a->att, hp->dv, l->n_head, l->n_head * hp->dv);
	put_heads(bd, q, hp->dk, l->n_head, sq);
	put_cache(bd, layer, LINNET_KV_K);
	put_cache(bd, layer, LINNET_KV_V);
	put_paging(bd);

	start_products(bd, a->att, l->n_head * hp->dv, 1);
	product(bd, l, a->out, LINNET_ATTN_OUT, LINNET_ATTN_OUT_BIAS);
	residual(bd, l, LINNET_ATTN_POST_NORM);
}

static void gate(struct build *bd)
{
	linnet_builder_op(&bd->b, LINNET_OP_GLU);
	linnet_builder_u32(&bd->b, bd->m->family->glu);
}

/* Products with the gate; those with the other matrix too, unless that is a part of its
 * own: then src is quantized twice. */
static void feed_forward_gate(struct build *bd, const struct linnet_layer *l)
{
	const struct act *a = &bd->act;

	if (!l->tensor[LINNET_FFN_GATE])
		return;
	start_products(bd, a->norm, bd->hp->n_embd, bd->in_parts ? 1 : 2);
	product(bd, l, a->gate, LINNET_FFN_GATE, LINNET_FFN_GATE_BIAS);
	if (!bd->in_parts)
		product(bd, l, a->up, LINNET_FFN_UP, LINNET_FFN_UP_BIAS);
}

static void feed_forward_up(struct build *bd, const struct linnet_layer *l)
{
	const struct act *a = &bd->act;
	const uint32_t n = l->n_ff;

	if (l->tensor[LINNET_FFN_GATE]) {
		if (bd->in_parts) {
			start_products(bd, a->norm, bd->hp->n_embd, 1);
			product(bd, l, a->up, LINNET_FFN_UP, LINNET_FFN_UP_BIAS);
		}
		gate(bd);
		put_f32(bd, a->gate, n, TOKENS);
		put_f32(bd, a->gate, n, TOKENS);
		put_f32(bd, a->up, n, TOKENS);
	} else {
		/* gate and up in one matrix: rows of both, one after the other */
		start_products(bd, a->norm, bd->hp->n_embd, 1);
		product(bd, l, a->gate, LINNET_FFN_UP, LINNET_FFN_UP_BIAS);
		gate(bd);
		put_rows(bd, a->gate, n, 2 * n);
		put_rows(bd, a->gate, n, 2 * n);
		put_rows(bd, a->gate + (uint64_t)n * 4, n, 2 * n);
	}
}

static void feed_forward_down(struct build *bd, const struct linnet_layer *l)
{
	const uint32_t n = l->n_ff;

	linnet_builder_op(&bd->b, LINNET_OP_MATMUL);
	linnet_builder_u32(&bd->b, 1);
	put_rows(bd, bd->act.gate, n, l->tensor[LINNET_FFN_GATE] ? n : 2 * n);
	product(bd, l, bd->act.out, LINNET_FFN_DOWN, LINNET_FFN_DOWN_BIAS);
}

static void expert_product(struct build *bd, const struct linnet_layer *l, uint64_t dst,
			   uint64_t src, uint32_t src_rows, enum linnet_role role)
{
	const struct linnet_gguf_tensor *t = l->tensor[role];
	const uint32_t used = bd->hp->n_expert_used;

	linnet_builder_op(&bd->b, LINNET_OP_MATMUL_EXPERTS);
	put_f32_3(bd, dst, t->ne[1], used, TOKENS);
	put_f32_3(bd, src, t->ne[0], src_rows, TOKENS);
	if (bd->cached) {
		const uint32_t ne[3] = { t->ne[0], t->ne[1], bd->c->n_places };
		struct linnet_operand o = linnet_operand_dense(LINNET_SLOT_WEIGHT + role, 0,
							       t->type, 3, ne);

		o.nb[1] = bd->c->place_bytes;
		linnet_builder_operand(&bd->b, &o);
	} else {
		put_role(bd, l, role);
	}
	put(bd, LINNET_SLOT_ACT, bd->act.ids, LINNET_TYPE_I32, 2, used, TOKENS, 1);
	if (bd->cached)
		put_batch(bd, bd->g->batch.places, bd->hp->n_expert);
	else
		linnet_builder_none(&bd->b);
}

static void experts_route(struct build *bd, const struct linnet_layer *l)
{
	const struct linnet_hparams *hp = bd->hp;
	const struct act *a = &bd->act;
	const uint32_t used = hp->n_expert_used;

	start_products(bd, a->norm, hp->n_embd, 1);
	put_f32(bd, a->router, hp->n_expert, TOKENS);
	put_role(bd, l, LINNET_FFN_ROUTER);
	linnet_builder_none(&bd->b);

	linnet_builder_op(&bd->b, LINNET_OP_ROUTE);
	linnet_builder_u32(&bd->b, hp->expert_norm);
	linnet_builder_f32(&bd->b, hp->expert_scale);
	put(bd, LINNET_SLOT_ACT, a->ids, LINNET_TYPE_I32, 2, used, TOKENS, 1);
	put_f32(bd, a->weights, used, TOKENS);
	put_f32(bd, a->router, hp->n_expert, TOKENS);
}

static void experts_products(struct build *bd, const struct linnet_layer *l)
{
	const uint32_t used = bd->hp->n_expert_used, n = bd->hp->n_ff_exp;
	const struct act *a = &bd->act;

	expert_product(bd, l, a->gate, a->norm, 1, LINNET_FFN_GATE_EXPS);
	expert_product(bd, l, a->up, a->norm, 1, LINNET_FFN_UP_EXPS);
	gate(bd);
	put_f32_3(bd, a->gate, n, used, TOKENS);
	put_f32_3(bd, a->gate, n, used, TOKENS);
	put_f32_3(bd, a->up, n, used, TOKENS);
	expert_product(bd, l, a->down, a->gate, used, LINNET_FFN_DOWN_EXPS);
}

static void experts_combine(struct build *bd)
{
	const uint32_t n_embd = bd->hp->n_embd, used = bd->hp->n_expert_used;
	const struct act *a = &bd->act;

	linnet_builder_op(&bd->b, LINNET_OP_COMBINE);
	put_f32(bd, a->out, n_embd, TOKENS);
	put_f32_3(bd, a->down, n_embd, used, TOKENS);
	put_f32(bd, a->weights, used, TOKENS);
}

/* One of LINNET_LAYER_PARTS. */
static void layer_part(struct build *bd, uint32_t i, uint32_t part)
{
	const struct linnet_layer *l = &bd->m->layer[i];
	const struct act *a = &bd->act;
	const bool experts = bd->hp->n_expert;

	switch (part) {
	case 0:
		attention(bd, i);
		break;
	case 1:
		norm(bd, a->norm, a->x, bd->hp->n_embd, TOKENS, LINNET_FFN_NORM,
		     l->tensor[LINNET_FFN_NORM]);
		(experts ? experts_route : feed_forward_gate)(bd, l);
		break;
	case LINNET_PART_EXPERTS:
		(experts ? experts_products : feed_forward_up)(bd, l);
		break;
	default:
		if (experts)
			experts_combine(bd);
		else
			feed_forward_down(bd, l);
		residual(bd, l, LINNET_FFN_POST_NORM);
	}
}

static void rope_table(struct build *bd, uint64_t at, const struct linnet_rope *rope,
		       enum linnet_global factors)
{
	linnet_builder_op(&bd->b, LINNET_OP_ROPE_TABLE);
	linnet_builder_f32(&bd->b, rope->base);
	linnet_builder_f32(&bd->b, rope->scale);
	linnet_builder_f32(&bd->b, rope->ext);
	linnet_builder_f32(&bd->b, rope->corr_low);
	linnet_builder_f32(&bd->b, rope->corr_high);
	linnet_builder_f32(&bd->b, rope->m);
	put_f32(bd, at, rope->n_rot, TOKENS);
	put_batch(bd, bd->g->batch.pos, TOKENS);
	put_tensor(bd, factors, factors < LINNET_GLOBALS ? bd->m->global[factors] : NULL);
}

static void embed(struct build *bd, bool rows)
{
	const struct linnet_hparams *hp = bd->hp;
	const struct act *a = &bd->act;
	enum linnet_global factors = LINNET_ROPE_FREQS;

	linnet_builder_op(&bd->b, LINNET_OP_GET_ROWS);
	linnet_builder_f32(&bd->b, bd->m->family->embd_scaled ? sqrtf(hp->n_embd) : 1);
	put_f32(bd, a->x, hp->n_embd, TOKENS);
	if (rows)
		put(bd, LINNET_SLOT_WEIGHT + LINNET_TOKEN_EMBD, 0,
		    bd->m->global[LINNET_TOKEN_EMBD]->type, 2, hp->n_embd, bd->c->n_batch, 1);
	else
		put_tensor(bd, LINNET_TOKEN_EMBD, bd->m->global[LINNET_TOKEN_EMBD]);
	put_batch(bd, bd->g->batch.ids, TOKENS);

	if (!bd->m->global[LINNET_ROPE_FREQS])
		factors = bd->c->long_factors ? LINNET_ROPE_LONG : LINNET_ROPE_SHORT;
	rope_table(bd, a->rope, &hp->rope, factors);
	if (a->rope_local != a->rope)
		rope_table(bd, a->rope_local, &hp->rope_local, LINNET_GLOBALS);
}

static void output(struct build *bd)
{
	const struct linnet_hparams *hp = bd->hp;
	const struct act *a = &bd->act;
	const enum linnet_global w = bd->m->global[LINNET_OUTPUT] ? LINNET_OUTPUT :
								    LINNET_TOKEN_EMBD;

	linnet_builder_op(&bd->b, LINNET_OP_GET_ROWS);
	linnet_builder_f32(&bd->b, 1);
	put_f32(bd, a->rows, hp->n_embd, OUTPUTS);
	put_f32(bd, a->x, hp->n_embd, TOKENS);
	put_batch(bd, bd->g->batch.out, OUTPUTS);

	norm(bd, a->rows_norm, a->rows, hp->n_embd, OUTPUTS, LINNET_OUTPUT_NORM,
	     bd->m->global[LINNET_OUTPUT_NORM]);

	linnet_builder_op(&bd->b, LINNET_OP_MATMUL);
	linnet_builder_u32(&bd->b, 1);
	put_f32(bd, a->rows_norm, hp->n_embd, OUTPUTS);
	put_f32(bd, a->logits, hp->n_vocab, OUTPUTS);
	put_tensor(bd, w, bd->m->global[w]);
	put_tensor(bd, LINNET_OUTPUT_BIAS, bd->m->global[LINNET_OUTPUT_BIAS]);

	if (hp->softcap_final != 0) {
		linnet_builder_op(&bd->b, LINNET_OP_SOFTCAP);
		linnet_builder_f32(&bd->b, hp->softcap_final);
		put_f32(bd, a->logits, hp->n_vocab, OUTPUTS);
		put_f32(bd, a->logits, hp->n_vocab, OUTPUTS);
	}
}

/* ---------------------------------------------------------------------- streams */

static void start(struct build *bd)
{
	const uint32_t max[LINNET_PARAMS] = {
		[LINNET_PARAM_TOKENS] = bd->c->n_batch,
		[LINNET_PARAM_OUTPUTS] = bd->c->n_outputs,
	};

	linnet_builder_start(&bd->b, max, LINNET_PARAMS, bd->places ?
			     LINNET_SLOT_WEIGHT + bd->places->n_slots : LINNET_SLOTS);
}

/* Keep the finished stream, or find it among those of other layers; -ENOMEM. */
static int64_t finish(struct build *bd)
{
	struct linnet_graph *g = bd->g;
	size_t bytes;
	void *data = linnet_builder_finish(&bd->b, &bytes);

	if (!data)
		return -ENOMEM;
	for (uint32_t i = LINNET_STREAM_LAYERS; i < g->n_streams; i++) {
		if (g->stream[i].bytes == bytes && !memcmp(g->stream[i].data, data, bytes)) {
			free(data);
			return i;
		}
	}
	g->stream[g->n_streams].data = data;
	g->stream[g->n_streams].bytes = bytes;
	return g->n_streams++;
}

int linnet_graph_build(struct linnet_graph *g, const struct linnet_model *m,
		       const struct linnet_graph_config *c, struct linnet_error *err)
{
	struct build bd = { .m = m, .hp = &m->hp, .c = c, .g = g };
	int64_t ret = 0;

	memset(g, 0, sizeof(*g));
	g->stream = calloc(LINNET_STREAM_LAYERS + (size_t)m->hp.n_layer * (2 + LINNET_LAYER_PARTS),
			   sizeof(*g->stream));
	g->layer_stream = calloc(m->hp.n_layer, sizeof(*g->layer_stream));
	g->part_stream = calloc((size_t)m->hp.n_layer * LINNET_LAYER_PARTS,
				sizeof(*g->part_stream));
	g->expert_stream = calloc(m->hp.n_layer, sizeof(*g->expert_stream));
	if (!g->stream || !g->layer_stream || !g->part_stream || !g->expert_stream)
		goto err_memory;
	layout(&bd);

	for (int i = 0; i < LINNET_STREAM_LAYERS && ret >= 0; i++) {
		start(&bd);
		if (i == LINNET_STREAM_OUTPUT)
			output(&bd);
		else
			embed(&bd, i == LINNET_STREAM_EMBED_ROWS);
		ret = finish(&bd);
	}
	for (uint32_t i = 0; i < m->hp.n_layer && ret >= 0; i++) {
		start(&bd);
		bd.in_parts = false;
		for (uint32_t part = 0; part < LINNET_LAYER_PARTS; part++)
			layer_part(&bd, i, part);
		ret = finish(&bd);
		g->layer_stream[i] = ret;
		bd.in_parts = true;
		for (uint32_t part = 0; part < LINNET_LAYER_PARTS && ret >= 0; part++) {
			start(&bd);
			layer_part(&bd, i, part);
			ret = finish(&bd);
			g->part_stream[i * LINNET_LAYER_PARTS + part] = ret;
		}
		if (m->hp.n_expert && c->n_places && ret >= 0) {
			start(&bd);
			bd.cached = true;
			layer_part(&bd, i, LINNET_PART_EXPERTS);
			bd.cached = false;
			ret = finish(&bd);
			g->expert_stream[i] = ret;
		}
	}
	if (ret < 0)
		goto err_memory;
	return 0;

err_memory:
	linnet_graph_free(g);
	return linnet_err(err, -ENOMEM, "%s: out of memory", linnet_gguf_path(m->gguf));
}

int linnet_graph_whole(const struct linnet_model *m, const struct linnet_graph_config *c,
		       const struct linnet_graph_places *places, void **data, size_t *bytes)
{
	struct linnet_graph same = { 0 };
	struct build bd = { .m = m, .hp = &m->hp, .c = c, .g = &same, .places = places };

	layout(&bd);
	start(&bd);
	embed(&bd, false);
	for (uint32_t i = 0; i < m->hp.n_layer; i++)
		for (uint32_t part = 0; part < LINNET_LAYER_PARTS; part++)
			layer_part(&bd, i, part);
	output(&bd);
	*data = linnet_builder_finish(&bd.b, bytes);
	if (!*data)
		return -ENOMEM;
	if (((const struct linnet_stream_header *)*data)->n_ops <= LINNET_MAX_OPS)
		return 0;
	free(*data);
	*data = NULL;
	return -E2BIG;
}

void linnet_graph_free(struct linnet_graph *g)
{
	for (uint32_t i = 0; i < g->n_streams; i++)
		free(g->stream[i].data);
	free(g->stream);
	free(g->layer_stream);
	free(g->part_stream);
	free(g->expert_stream);
	memset(g, 0, sizeof(*g));
}
