/* SPDX-License-Identifier: MIT */
/*
 * Activations of the reference kernels: one record per token, 64-byte aligned.
 *
 *	F32:  float x[n_cols]
 *	Q32:  int8 q[n_cols], float d[n_cols / 32],  int32 asum[n_cols / 32]
 *	Q256: int8 q[n_cols], float d[n_cols / 256], int32 asum[n_cols / 16]
 *
 * asum is the sum of the q of 32 (Q32) or 16 (Q256) elements. Q32 stands for Q32_POW2, too.
 */
#ifndef LINNET_KERNELS_REF_ACT_H
#define LINNET_KERNELS_REF_ACT_H

#include "kernels/kernels.h"

struct linnet_ref_token {
	float *x;	/* F32 alone */
	int8_t *q;
	float *d;
	int32_t *asum;
};

static inline size_t linnet_ref_token_bytes(enum linnet_act act, size_t n_cols)
{
	size_t bytes = 0;

	switch (act) {
	case LINNET_ACT_F32:
		bytes = n_cols * 4;
		break;
	case LINNET_ACT_Q32:
	case LINNET_ACT_Q32_POW2:
		bytes = n_cols + n_cols / 32 * 8;
		break;
	case LINNET_ACT_Q256:
		bytes = n_cols + n_cols / 256 * 4 + n_cols / 16 * 4;
		break;
	case LINNET_ACT_COUNT:
		break;
	}
	return (bytes + 63) / 64 * 64;
}

/* Elements of a block of quantized activations */
static inline size_t linnet_ref_block(enum linnet_act act)
{
	return act == LINNET_ACT_Q256 ? 256 : 32;
}

static inline struct linnet_ref_token linnet_ref_token(enum linnet_act act,
						       const struct linnet_act_buf *a, size_t t)
{
	char *p = (char *)a->buf + t * linnet_ref_token_bytes(act, a->n_cols);
	struct linnet_ref_token v = { NULL };

	if (act == LINNET_ACT_F32) {
		v.x = (float *)p;
		return v;
	}
	v.q = (int8_t *)p;
	v.d = (float *)(p + a->n_cols);
	v.asum = (int32_t *)(v.d + a->n_cols / linnet_ref_block(act));
	return v;
}

/*
 * Quantize the elements of a block, by the rule of kernels.h; returns d. The
 * definition for every level.
 */
float linnet_ref_quantize(enum linnet_act act, int8_t *q, const float *x);

size_t linnet_ref_act_bytes(enum linnet_act act, size_t n_cols, size_t n_tokens);
void linnet_ref_act_pack(enum linnet_act act, const struct linnet_act_buf *dst,
			 const float *x, size_t ldx, size_t t0, size_t t1);

#endif
