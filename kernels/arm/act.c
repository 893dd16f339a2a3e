/* SPDX-License-Identifier: MIT */
/* Activations of the AArch64 levels. Layouts in act.h. */
#include "kernels/arm/act.h"
#include "kernels/act_pack.h"
#include "kernels/arm/arm.h"
#include "kernels/arm/neon.h"

#include <stdbool.h>

/* Quantize a block of floats by linnet_ref_quantize()'s rule. */
static float quantize(enum linnet_act act, int8_t *q, const float *x)
{
	const size_t n = act == LINNET_ACT_Q256 ? 256 : 32;
	uint32x4_t top = vdupq_n_u32(0);
	float d, r;

	for (size_t i = 0; i < n; i += 4)
		top = vmaxq_u32(top, vreinterpretq_u32_f32(vabsq_f32(vld1q_f32(x + i))));
	d = step_of(act, vmaxvq_u32(top), &r);
	if (r == 0.0f) {	/* zero times infinity is not zero */
		memset(q, 0, n);
		return d;
	}
	for (size_t i = 0; i < n; i += 16) {
		float32x4_t v[4];

		UNROLL
		for (int k = 0; k < 4; k++)
			v[k] = vmulq_n_f32(vld1q_f32(x + i + 4 * k), r);
		vst1q_s8(q + i, bytes_of_floats(v[0], v[1], v[2], v[3]));
	}
	return d;
}

static inline int8_t *group_q(struct linnet_q32_group *g, size_t b, size_t half)
{
	return g->q + b * 32 + half * 16;
}

static inline void quantize4(enum linnet_act act, struct linnet_q32_group *g, const float *x)
{
	for (size_t b = 0; b < 4; b++) {
		int32_t sum;

		g->d[b] = quantize(act, g->q + b * 32, x + b * 32);
		sum = vaddvq_s16(vpaddlq_s8(vld1q_s8(g->q + b * 32))) +
		      vaddvq_s16(vpaddlq_s8(vld1q_s8(g->q + b * 32 + 16)));
		g->nsum[b] = -sum;
		g->dsum[b] = g->d[b] * (float)sum;
	}
	memset(g->pad, 0, sizeof(g->pad));
}

static inline void quantize256(struct linnet_act256 *dst, const float *x)
{
	dst->d = quantize(LINNET_ACT_Q256, dst->q, x);
	for (int j = 0; j < 16; j++)
		dst->sum[j] = vaddvq_s16(vpaddlq_s8(vld1q_s8(dst->q + 16 * j)));
	memset(dst->pad, 0, sizeof(dst->pad));
}

/* -- levels with products of bytes, where Q256 has panels --------------------------- */

/* Token t of a super-block, into its tile */
static void put_token(struct linnet_arm_tile256 *a, size_t t, const struct linnet_act256 *x)
{
	const size_t p = t % LINNET_ARM_Q256_TILE / 2, at = 8 * (t % 2);

	a += t / LINNET_ARM_Q256_TILE;
	for (size_t k = 0; k < 32; k++)
		memcpy(a->q[k][p] + at, x->q + 8 * k, 8);
	for (size_t j = 0; j < 16; j++) {
		a->sum16[0][j / 8][p][at + j % 8] = (int8_t)(x->sum[j] >> 7);
		a->sum16[1][j / 8][p][at + j % 8] = (int8_t)(x->sum[j] & 127);
	}
	for (size_t j = 0; j < 8; j++) {
		const int s = x->sum[2 * j] + x->sum[2 * j + 1];

		a->sum32[0][p][at + j] = (int8_t)(s >> 7);
		a->sum32[1][p][at + j] = (int8_t)(s & 127);
	}
	a->d[t % LINNET_ARM_Q256_TILE] = x->d;
}

/* Who packs the last token clears what is left of its tile. */
static void pack_q256_tiles(const struct linnet_act_buf *dst, const float *x, size_t ldx,
			    size_t t0, size_t t1)
{
	const size_t tiles = linnet_arm_tiles256(dst->n_tokens);
	const size_t end = t1 < dst->n_tokens ? t1 : tiles * LINNET_ARM_Q256_TILE;
	struct linnet_arm_tile256 *a = dst->buf;
	struct linnet_act256 s;

	for (size_t b = 0; b < dst->n_cols / 256; b++, a += tiles) {
		for (size_t t = t0; t < t1; t++) {
			quantize256(&s, x + t * ldx + b * 256);
			put_token(a, t, &s);
		}
		memset(&s, 0, sizeof(s));
		for (size_t t = t1; t < end; t++)
			put_token(a, t, &s);
	}
}

static bool in_tiles(enum linnet_act act, size_t n_tokens)
{
	return act == LINNET_ACT_Q256 && n_tokens > LINNET_ARM_Q256_FEW;
}

static size_t act_bytes_dot(enum linnet_act act, size_t n_cols, size_t n_tokens)
{
	if (!in_tiles(act, n_tokens))
		return act_bytes(act, n_cols, n_tokens);
	return n_cols / 256 * linnet_arm_tiles256(n_tokens) * sizeof(struct linnet_arm_tile256);
}

static void act_pack_dot(enum linnet_act act, const struct linnet_act_buf *dst,
			 const float *x, size_t ldx, size_t t0, size_t t1)
{
	if (in_tiles(act, dst->n_tokens))
		pack_q256_tiles(dst, x, ldx, t0, t1);
	else
		act_pack(act, dst, x, ldx, t0, t1);
}

static size_t matmul_scratch_dot(uint32_t type, size_t n_cols, size_t n_tokens)
{
	const struct linnet_type_info *t = linnet_type_info(type);

	if (!t || !in_tiles(t->act, n_tokens))
		return matmul_scratch(type, n_cols, n_tokens);
	return LINNET_ARM_Q256_PANELS *
	       (LINNET_ARM_Q256_PANEL + linnet_arm_tiles256(n_tokens) * LINNET_ARM_Q256_CHAINS);
}

void linnet_arm_act(struct linnet_kernels *k)
{
	static const struct linnet_act_ops ops = { act_bytes, act_pack, matmul_scratch };

	linnet_fill_act(k, &ops);
	k->row_granule = LINNET_ARM_PANEL_ROWS;
	k->piece_work = 128 << 20;
}

void linnet_arm_act_dot(struct linnet_kernels *k)
{
	static const struct linnet_act_ops ops = {
		act_bytes_dot, act_pack_dot, matmul_scratch_dot,
	};

	linnet_fill_act(k, &ops);
}
