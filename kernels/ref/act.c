/* SPDX-License-Identifier: MIT */
/* Quantized activations: the definition. Layout in act.h, rule in kernels.h. */
#include "kernels/ref/act.h"
#include "kernels/half.h"

#include <math.h>
#include <string.h>

#define F32_INF_BITS	0x7f800000u

float linnet_ref_quantize(enum linnet_act act, int8_t *q, const float *x)
{
	const size_t n = linnet_ref_block(act);
	uint32_t top = 0;
	float a, d, r;

	/* Bits of magnitudes order like the magnitudes, with NaN above infinity. */
	for (size_t i = 0; i < n; i++) {
		uint32_t u = linnet_f32_bits(x[i]) & 0x7fffffff;

		top = u > top ? u : top;
	}
	a = linnet_f32_from_bits(top);
	if (a < 1e-30f || top >= F32_INF_BITS) {
		memset(q, 0, n);
		return top >= F32_INF_BITS ? NAN : 0.0f;
	}
	d = a / 127.0f;
	if (act != LINNET_ACT_Q256)
		d = linnet_q32_step(d, act == LINNET_ACT_Q32 ? LINNET_Q32_ZERO_BITS :
							       LINNET_Q32_POW2_ZERO_BITS);
	r = act == LINNET_ACT_Q256 ? 127.0f / a : 1.0f / d;
	for (size_t i = 0; i < n; i++)
		q[i] = (int8_t)rintf(x[i] * r);
	return d;
}

size_t linnet_ref_act_bytes(enum linnet_act act, size_t n_cols, size_t n_tokens)
{
	return linnet_ref_token_bytes(act, n_cols) * n_tokens;
}

static void pack_blocks(enum linnet_act act, const struct linnet_ref_token *dst, const float *x,
			size_t n)
{
	const size_t block = linnet_ref_block(act), sum = act == LINNET_ACT_Q256 ? 16 : 32;

	for (size_t i = 0; i < n; i += block)
		dst->d[i / block] = linnet_ref_quantize(act, dst->q + i, x + i);
	for (size_t i = 0; i < n; i += sum) {
		int32_t s = 0;

		for (size_t j = 0; j < sum; j++)
			s += dst->q[i + j];
		dst->asum[i / sum] = s;
	}
}

void linnet_ref_act_pack(enum linnet_act act, const struct linnet_act_buf *dst,
			 const float *x, size_t ldx, size_t t0, size_t t1)
{
	for (size_t t = t0; t < t1; t++) {
		struct linnet_ref_token tok = linnet_ref_token(act, dst, t);

		if (act == LINNET_ACT_F32)
			memcpy(tok.x, x + t * ldx, dst->n_cols * sizeof(float));
		else
			pack_blocks(act, &tok, x + t * ldx, dst->n_cols);
	}
}
