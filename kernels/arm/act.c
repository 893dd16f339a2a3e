/* SPDX-License-Identifier: MIT */
/* Activations of the AArch64 levels: act_bytes() and act_pack() of kernels.h. */
#include "kernels/arm/act.h"
#include "kernels/arm/arm.h"
#include "kernels/arm/neon.h"
#include "kernels/half.h"

#include <math.h>
#include <string.h>

#define F32_INF_BITS	0x7f800000u

/* Quantize n (a multiple of 32) floats by linnet_ref_quantize()'s rule. */
static float quantize(int8_t *q, const float *x, size_t n, bool pow2)
{
	uint32x4_t top = vdupq_n_u32(0);
	uint32_t bits;
	float a, d, r;

	for (size_t i = 0; i < n; i += 4)
		top = vmaxq_u32(top, vreinterpretq_u32_f32(vabsq_f32(vld1q_f32(x + i))));
	bits = vmaxvq_u32(top);
	memcpy(&a, &bits, sizeof(a));
	if (a < 1e-30f || bits >= F32_INF_BITS) {
		memset(q, 0, n);
		return bits >= F32_INF_BITS ? NAN : 0.0f;
	}
	d = pow2 ? linnet_q32_step(bits) : a / 127.0f;
	r = pow2 ? 1.0f / d : 127.0f / a;
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

static inline void quantize4(struct linnet_q32_group *g, const float *x, bool pow2)
{
	for (size_t b = 0; b < 4; b++) {
		int32_t sum;

		g->d[b] = quantize(g->q + b * 32, x + b * 32, 32, pow2);
		sum = vaddvq_s16(vpaddlq_s8(vld1q_s8(g->q + b * 32))) +
		      vaddvq_s16(vpaddlq_s8(vld1q_s8(g->q + b * 32 + 16)));
		g->nsum[b] = -sum;
		g->dsum[b] = g->d[b] * (float)sum;
	}
	memset(g->pad, 0, sizeof(g->pad));
}

#include "kernels/act_pack.h"

static void pack_q256(const struct linnet_act_buf *dst, const float *x, size_t ldx,
		      size_t t0, size_t t1)
{
	for (size_t t = t0; t < t1; t++)
		for (size_t b = 0; b < dst->n_cols / 256; b++) {
			struct linnet_arm_act256 *a =
				(struct linnet_arm_act256 *)dst->buf + b * dst->n_tokens + t;

			a->d = quantize(a->q, x + t * ldx + b * 256, 256, false);
			for (int j = 0; j < 16; j++)
				a->sum[j] = vaddvq_s16(vpaddlq_s8(vld1q_s8(a->q + 16 * j)));
			memset(a->pad, 0, sizeof(a->pad));
		}
}

static size_t act_bytes(enum linnet_act act, size_t n_cols, size_t n_tokens)
{
	switch (act) {
	case LINNET_ACT_F32:
		return f32_bytes(n_cols, n_tokens);
	case LINNET_ACT_Q32:
	case LINNET_ACT_Q32_POW2:
		return q32_bytes(n_cols, n_tokens, LINNET_Q32_FEW);
	case LINNET_ACT_Q256:
		return n_cols / 256 * n_tokens * sizeof(struct linnet_arm_act256);
	case LINNET_ACT_COUNT:
		break;
	}
	return 0;
}

static void act_pack(enum linnet_act act, const struct linnet_act_buf *dst,
		     const float *x, size_t ldx, size_t t0, size_t t1)
{
	switch (act) {
	case LINNET_ACT_F32:
		pack_f32(dst, x, ldx, t0, t1);
		break;
	case LINNET_ACT_Q32:
	case LINNET_ACT_Q32_POW2:
		pack_q32(dst, x, ldx, t0, t1, LINNET_Q32_FEW, act == LINNET_ACT_Q32_POW2);
		break;
	case LINNET_ACT_Q256:
		pack_q256(dst, x, ldx, t0, t1);
		break;
	case LINNET_ACT_COUNT:
		break;
	}
}

static size_t matmul_scratch(uint32_t type, size_t n_cols, size_t n_tokens)
{
	const struct linnet_type_info *t = linnet_type_info(type);

	if (!t || !linnet_is_q32(t->act) || n_tokens <= LINNET_Q32_FEW)
		return 0;
	return linnet_arm_panels(n_cols) * (n_cols / 32) * sizeof(struct linnet_arm_panel_block);
}

void linnet_arm_act(struct linnet_kernels *k)
{
	k->act_bytes = act_bytes;
	k->act_pack = act_pack;
	k->act_granule = LINNET_Q32_TILE;
	k->matmul_scratch = matmul_scratch;
	k->row_granule = LINNET_ARM_PANEL_ROWS;
	k->piece_work = 128 << 20;
}
