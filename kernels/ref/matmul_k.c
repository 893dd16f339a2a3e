/* SPDX-License-Identifier: MIT */
/*
 * Products of the Q256 activations: the definition of their summation order
 * (kernels.h). A block of weights is unpacked once for all tokens; y holds the
 * chains meanwhile.
 */
#include "kernels/fill.h"
#include "kernels/ref/act.h"
#include "kernels/ref/k.h"
#include "kernels/ref/unpack256.h"

#include <math.h>

/* The chain of one row and token, continued by block b. */
static float step(float acc, const struct linnet_super *w, const struct linnet_ref_token *a,
		  size_t b, int has_min)
{
	int32_t isum = 0, msum = 0;

	for (int j = 0; j < 16; j++) {
		const int8_t *wq = w->q + j * 16, *aq = a->q + b * 256 + j * 16;
		int32_t dot = 0;

		for (int i = 0; i < 16; i++)
			dot += wq[i] * aq[i];
		isum += w->scale[j] * dot;
		msum += w->min[j] * a->asum[b * 16 + j];
	}
	if (has_min)
		return acc + fmaf(w->d * a->d[b], (float)isum,
				  -((w->dmin * a->d[b]) * (float)msum));
	return fmaf(w->d * a->d[b], (float)isum, acc);
}

#define MATMUL(type, has_min)							\
static void matmul_##type(const struct linnet_matmul *mm)			\
{										\
	const struct linnet_act_buf *act = mm->act;				\
	struct linnet_super s;							\
										\
	for (size_t r = mm->row0; r < mm->row1; r++) {				\
		const struct linnet_block_##type *w =				\
			(const void *)((const char *)mm->w + r * mm->row_bytes);	\
		float *y = mm->y + (r - mm->row0);				\
										\
		for (size_t t = 0; t < act->n_tokens; t++)			\
			y[t * mm->ldy] = 0;					\
		for (size_t b = 0; b < act->n_cols / 256; b++) {		\
			linnet_unpack_##type(&s, w + b);			\
			for (size_t t = 0; t < act->n_tokens; t++) {		\
				struct linnet_ref_token a =			\
					linnet_ref_token(LINNET_ACT_Q256, act, t);	\
										\
				y[t * mm->ldy] = step(y[t * mm->ldy], &s, &a, b, has_min); \
			}							\
		}								\
		for (size_t t = 0; mm->bias && t < act->n_tokens; t++)		\
			y[t * mm->ldy] += mm->bias[r];				\
	}									\
}

MATMUL(q2_k, 1)
MATMUL(q3_k, 0)
MATMUL(q4_k, 1)
MATMUL(q5_k, 1)
MATMUL(q6_k, 0)
MATMUL(iq4_xs, 0)

void linnet_kernels_ref_k(struct linnet_kernels *k)
{
	linnet_ref_fill_dequantize_k(k);

	k->matmul[LINNET_TYPE_Q2_K] = matmul_q2_k;
	k->matmul[LINNET_TYPE_Q3_K] = matmul_q3_k;
	k->matmul[LINNET_TYPE_Q4_K] = matmul_q4_k;
	k->matmul[LINNET_TYPE_Q5_K] = matmul_q5_k;
	k->matmul[LINNET_TYPE_Q6_K] = matmul_q6_k;
	k->matmul[LINNET_TYPE_IQ4_XS] = matmul_iq4_xs;
}
