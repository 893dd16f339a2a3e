// SPDX-License-Identifier: MIT
/*
 * Hyperparameters out of the metadata. Every number is checked against a range here,
 * so that later sums and products of them cannot overflow and later code need not ask.
 */
#include "model.h"

#include "runtime/util/error.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Larger than any model; small enough that products of two fit in 64 bits. */
#define MAX_LAYERS 4096
#define MAX_DIM (1u << 24)
#define MAX_HEADS 4096
#define MAX_HEAD_DIM 4096
#define MAX_EXPERTS 4096
#define MAX_CTX (1u << 30)

/* Reads keys "ARCH.name". The first error sticks. */
struct reader {
	const struct linnet_gguf *g;
	const char *arch;
	struct linnet_error *err;
	int ret;
	char key[128];
};

static const char *key_of(struct reader *r, const char *name)
{
	snprintf(r->key, sizeof(r->key), "%s.%s", r->arch, name);
	return r->key;
}

static void bad_u32(struct reader *r, uint64_t value)
{
	r->ret = linnet_err(r->err, -EINVAL, "%s: value out of range (%s, %llu)",
			    linnet_gguf_path(r->g), r->key, (unsigned long long)value);
}

/* Value in [min, max]; absent: fallback, or an error when it is UINT32_MAX. */
static uint32_t get_u32(struct reader *r, const char *name, uint32_t fallback, uint32_t min,
			uint32_t max)
{
	uint32_t v = fallback;
	int ret;

	if (r->ret)
		return min;
	ret = linnet_gguf_get_u32(r->g, key_of(r, name), &v, r->err);
	if (ret == -ENOENT && fallback != UINT32_MAX)
		return fallback;
	if (ret == -ENOENT)
		ret = linnet_err(r->err, -EINVAL, "%s: metadata key is missing (%s)",
				 linnet_gguf_path(r->g), r->key);
	r->ret = ret;
	if (!ret && (v < min || v > max))
		bad_u32(r, v);
	return r->ret ? min : v;
}

/* Finite value in [min, max]; absent: fallback. */
static float get_f32(struct reader *r, const char *name, float fallback, float min, float max)
{
	float v = fallback;
	int ret;

	if (r->ret)
		return fallback;
	ret = linnet_gguf_get_f32(r->g, key_of(r, name), &v, r->err);
	if (ret == -ENOENT)
		return fallback;
	r->ret = ret;
	if (!ret && !(v >= min && v <= max))
		r->ret = linnet_err(r->err, -EINVAL, "%s: value out of range (%s, %g)",
				    linnet_gguf_path(r->g), r->key, v);
	return r->ret ? fallback : v;
}

static bool get_bool(struct reader *r, const char *name, bool fallback)
{
	bool v = fallback;
	int ret;

	if (r->ret)
		return fallback;
	ret = linnet_gguf_get_bool(r->g, key_of(r, name), &v, r->err);
	if (ret && ret != -ENOENT)
		r->ret = ret;
	return v;
}

/*
 * A number for each layer: one value for all, or an array. absent: from fallback,
 * which is required when NULL.
 */
static void get_layers(struct reader *r, struct linnet_model *m, const char *name, size_t offset,
		       size_t fallback, uint32_t max)
{
	const struct linnet_gguf_kv *kv;
	struct linnet_gguf_array arr = { 0 };
	uint32_t one = 0;

	if (r->ret)
		return;
	kv = linnet_gguf_find(r->g, key_of(r, name));
	if (kv && kv->type == LINNET_GGUF_ARRAY) {
		r->ret = linnet_gguf_get_array(r->g, r->key, LINNET_GGUF_I32, &arr, r->err);
		if (!r->ret && arr.n != m->hp.n_layer)
			bad_u32(r, arr.n);
	} else if (kv || fallback == SIZE_MAX) {
		one = get_u32(r, name, UINT32_MAX, 1, max);
	}
	for (uint32_t i = 0; i < m->hp.n_layer && !r->ret; i++) {
		char *layer = (char *)&m->layer[i];
		uint32_t *v = (uint32_t *)(layer + offset);

		if (arr.data)
			*v = ((const uint32_t *)arr.data)[i];
		else
			*v = one ? one : *(uint32_t *)(layer + fallback);
		if (!*v || *v > max)
			bad_u32(r, *v);
	}
}

static void read_windows(struct reader *r, struct linnet_model *m)
{
	const struct linnet_family *f = m->family;
	const struct linnet_gguf_kv *kv;
	struct linnet_gguf_array arr = { 0 };
	uint32_t period = f->window_period;

	if (f->window == LINNET_WINDOW_NEVER)
		return;
	m->hp.window = get_u32(r, "attention.sliding_window", f->window_default, 0, MAX_CTX);
	if (!m->hp.window || r->ret)
		return;
	kv = linnet_gguf_find(r->g, key_of(r, "attention.sliding_window_pattern"));
	if (kv && kv->type == LINNET_GGUF_ARRAY) {
		r->ret = linnet_gguf_get_array(r->g, r->key, LINNET_GGUF_BOOL, &arr, r->err);
		if (!r->ret && arr.n != m->hp.n_layer)
			bad_u32(r, arr.n);
	} else {
		period = get_u32(r, "attention.sliding_window_pattern",
				 f->window == LINNET_WINDOW_ALL ? 1 : period, 0, MAX_LAYERS);
		/* a pattern of 0 or 1 in a family without one means every layer */
		if (f->window == LINNET_WINDOW_ALL && period == 1)
			period = 0;
	}
	for (uint32_t i = 0; i < m->hp.n_layer && !r->ret; i++) {
		if (arr.data)
			m->layer[i].windowed = ((const uint8_t *)arr.data)[i];
		else
			m->layer[i].windowed = !period || i % period < period - 1;
	}
}

/*
 * YaRN (arXiv 2309.00071): dimension that turns `beta` times over the original
 * context.
 */
static float corr_dim(const struct linnet_rope *rope, uint32_t ctx, float beta)
{
	return (float)(rope->n_rot * log(ctx / (beta * 2 * M_PI)) / (2 * log(rope->base)));
}

static void read_rope(struct reader *r, struct linnet_model *m)
{
	struct linnet_hparams *hp = &m->hp;
	struct linnet_rope *rope = &hp->rope;
	struct linnet_str type = { "linear", 6 };
	float factor, old;
	int ret;

	rope->n_rot = get_u32(r, "rope.dimension_count", hp->dk, 2, hp->dk);
	if (!r->ret && rope->n_rot % 2)
		bad_u32(r, rope->n_rot);
	rope->base = m->family->rope_base != 0 ? m->family->rope_base : 10000;
	/* Ollama's converter has names of its own for Gemma's two bases. */
	rope->base = get_f32(r, "rope.global.freq_base", rope->base, 1, 1e12f);
	rope->base = get_f32(r, "rope.freq_base", rope->base, 1, 1e12f);
	old = get_f32(r, "rope.scale_linear", 1, 0, 1e6f);
	factor = get_f32(r, "rope.scaling.factor", old, 0, 1e6f);
	if (factor == 0)
		factor = 1;
	if (!r->ret && factor < 1e-6f)
		r->ret = linnet_err(r->err, -EINVAL, "%s: value out of range (%s, %g)",
				    linnet_gguf_path(r->g), r->key, (double)factor);
	rope->scale = 1;
	rope->m = get_f32(r, "rope.scaling.attn_factor", 1, 1e-3f, 1e3f);
	hp->rope_ctx_orig = get_u32(r, "rope.scaling.original_context_length", hp->n_ctx_train, 1,
				    MAX_CTX);
	if (r->ret)
		return;
	ret = linnet_gguf_get_str(r->g, key_of(r, "rope.scaling.type"), &type, r->err);
	if (ret && ret != -ENOENT) {
		r->ret = ret;
		return;
	}
	if (!strcmp(type.p, "linear")) {
		rope->scale = 1 / factor;
	} else if (!strcmp(type.p, "longrope")) {
		hp->longrope = true;
		rope->scale = 1 / factor;
	} else if (!strcmp(type.p, "yarn")) {
		float fast = get_f32(r, "rope.scaling.yarn_beta_fast", 32, 1e-3f, 1e6f);
		float slow = get_f32(r, "rope.scaling.yarn_beta_slow", 1, 1e-3f, 1e6f);

		rope->scale = 1 / factor;
		rope->ext = 1;
		rope->corr_low = floorf(corr_dim(rope, hp->rope_ctx_orig, fast));
		rope->corr_high = ceilf(corr_dim(rope, hp->rope_ctx_orig, slow));
		/* of a base near 1 they are anything, or no number */
		rope->corr_low = fminf(fmaxf(rope->corr_low, 0), rope->n_rot - 1);
		rope->corr_high = fmaxf(fminf(rope->corr_high, rope->n_rot - 1), 0);
		if (factor > 1)
			rope->m *= 1 + 0.1f * logf(factor);
	} else if (strcmp(type.p, "none")) {
		r->ret = linnet_err(r->err, -ENOTSUP,
				    "%s: this kind of rope scaling is not supported (%s, %s)",
				    linnet_gguf_path(r->g), r->key, type.p);
		return;
	}
	hp->rope_local = hp->rope;
	if (m->family->rope_base_local != 0) {
		hp->rope_local = (struct linnet_rope){
			.base = get_f32(r, "rope.local.freq_base", m->family->rope_base_local, 1,
					1e12f),
			.scale = 1,
			.m = 1,
			.n_rot = rope->n_rot,
		};
		hp->rope_local.base = get_f32(r, "rope.freq_base_swa", hp->rope_local.base, 1,
					      1e12f);
	}
}

static void read_experts(struct reader *r, struct linnet_model *m)
{
	struct linnet_hparams *hp = &m->hp;
	uint32_t gating;

	hp->n_expert = get_u32(r, "expert_count", 0, 0, MAX_EXPERTS);
	if (!hp->n_expert || r->ret)
		return;
	if (!m->family->experts) {
		r->ret = linnet_err(r->err, -ENOTSUP,
				    "%s: experts are not supported in this architecture (%s, %u)",
				    linnet_gguf_path(r->g), r->key, hp->n_expert);
		return;
	}
	hp->n_expert_used = get_u32(r, "expert_used_count", UINT32_MAX, 1, hp->n_expert);
	hp->n_ff_exp = get_u32(r, "expert_feed_forward_length", hp->n_ff, 1, MAX_DIM);
	hp->expert_norm = get_bool(r, "expert_weights_norm", true);
	hp->expert_scale = get_f32(r, "expert_weights_scale", 0, 0, 1e6f);
	if (hp->expert_scale == 0)
		hp->expert_scale = 1;
	gating = get_u32(r, "expert_gating_func", 1, 0, UINT32_MAX - 1);
	if (!r->ret && gating > 1)
		r->ret = linnet_err(r->err, -ENOTSUP,
				    "%s: this gating of experts is not supported (%s, %u)",
				    linnet_gguf_path(r->g), r->key, gating);
}

static int read_family(struct linnet_model *m, struct linnet_error *err)
{
	struct linnet_str arch;
	int ret = linnet_gguf_get_str(m->gguf, "general.architecture", &arch, err);

	if (ret == -ENOENT)
		return linnet_err(err, -EINVAL,
				  "%s: metadata key is missing (general.architecture)",
				  linnet_gguf_path(m->gguf));
	if (ret)
		return ret;
	for (size_t i = 0; linnet_families[i]; i++)
		if (strlen(linnet_families[i]->arch) == arch.n &&
		    !memcmp(linnet_families[i]->arch, arch.p, arch.n))
			m->family = linnet_families[i];
	if (!m->family)
		return linnet_err(err, -ENOTSUP,
				  "%s: this architecture is not supported "
				  "(general.architecture, %.64s)",
				  linnet_gguf_path(m->gguf), arch.p);
	return 0;
}

int linnet_hparams_read(struct linnet_model *m, struct linnet_error *err)
{
	struct linnet_hparams *hp = &m->hp;
	struct reader r = { .g = m->gguf, .err = err };
	uint32_t head_dim;
	float scale;
	int ret;

	ret = read_family(m, err);
	if (ret)
		return ret;
	r.arch = m->family->arch;
	hp->n_layer = get_u32(&r, "block_count", UINT32_MAX, 1, MAX_LAYERS);
	hp->n_embd = get_u32(&r, "embedding_length", UINT32_MAX, 1, MAX_DIM);
	hp->n_ctx_train = get_u32(&r, "context_length", UINT32_MAX, 1, MAX_CTX);
	hp->eps = get_f32(&r, "attention.layer_norm_rms_epsilon",
			  m->family->eps != 0 ? m->family->eps : 1e-5f, 0, 1);
	if (r.ret)
		return r.ret;
	m->layer = calloc(hp->n_layer, sizeof(*m->layer));
	if (!m->layer)
		return linnet_err(err, -ENOMEM, "%s: out of memory", linnet_gguf_path(m->gguf));

	get_layers(&r, m, "attention.head_count", offsetof(struct linnet_layer, n_head), SIZE_MAX,
		   MAX_HEADS);
	get_layers(&r, m, "attention.head_count_kv", offsetof(struct linnet_layer, n_head_kv),
		   offsetof(struct linnet_layer, n_head), MAX_HEADS);
	get_layers(&r, m, "feed_forward_length", offsetof(struct linnet_layer, n_ff), SIZE_MAX,
		   MAX_DIM);
	if (r.ret)
		return r.ret;
	for (uint32_t i = 0; i < hp->n_layer; i++) {
		const struct linnet_layer *l = &m->layer[i];

		if (l->n_head % l->n_head_kv)
			return linnet_err(err, -EINVAL,
					  "%s: heads are not a multiple of KV heads "
					  "(%s.attention.head_count_kv, %u of %u)",
					  linnet_gguf_path(m->gguf), r.arch, l->n_head_kv,
					  l->n_head);
		if (l->n_ff > hp->n_ff)
			hp->n_ff = l->n_ff;
	}
	head_dim = hp->n_embd / m->layer[0].n_head;
	hp->dk = get_u32(&r, "attention.key_length", head_dim, 1, MAX_HEAD_DIM);
	hp->dv = get_u32(&r, "attention.value_length", head_dim, 1, MAX_HEAD_DIM);
	if (!r.ret && (!hp->dk || hp->dk > MAX_HEAD_DIM || !hp->dv || hp->dv > MAX_HEAD_DIM))
		bad_u32(&r, hp->dk);

	scale = get_f32(&r, "attention.scale", 0, 0, 1e6f);
	if (m->family->wide_layers && hp->n_layer == m->family->wide_layers)
		scale = 1 / sqrtf(hp->n_embd / m->layer[0].n_head);
	hp->attn_scale = scale != 0 ? scale : 1 / sqrtf(hp->dk);
	if (m->family->softcaps) {
		hp->softcap_attn = get_f32(&r, "attn_logit_softcapping", m->family->softcap_attn, 0,
					   1e6f);
	}
	if (m->family->embd_scaled)
		hp->softcap_final = get_f32(&r, "final_logit_softcapping",
					    m->family->softcap_final, 0, 1e6f);
	read_rope(&r, m);
	read_windows(&r, m);
	read_experts(&r, m);
	return r.ret;
}
