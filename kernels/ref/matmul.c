/* SPDX-License-Identifier: MIT */
/*
 * Products of the F32 and Q32 activations: the definition of their summation orders
 * (kernels.h), as plainly as it can be said.
 */
#include "kernels/fill.h"
#include "kernels/ref/act.h"
#include "kernels/ref/mat.h"
#include "kernels/ref/unpack32.h"

#include <math.h>

static inline void store(const struct linnet_matmul *mm, size_t row, size_t token, float y)
{
	mm->y[token * mm->ldy + (row - mm->row0)] = mm->bias ? y + mm->bias[row] : y;
}

/* sum of 16 chains, of which chain c owns the elements c mod 16 */
#define MATMUL_F32(type, elem, to_f32)						\
static float dot_##type(const void *w, const float *x, size_t n)		\
{										\
	const elem *v = w;							\
	float acc[16] = { 0 };							\
										\
	for (size_t i = 0; i < n; i++)						\
		acc[i % 16] = fmaf(to_f32(v[i]), x[i], acc[i % 16]);		\
	for (size_t half = 8; half; half /= 2)					\
		for (size_t c = 0; c < half; c++)				\
			acc[c] += acc[c + half];				\
	return acc[0];								\
}										\
										\
static void matmul_##type(const struct linnet_matmul *mm)			\
{										\
	for (size_t r = mm->row0; r < mm->row1; r++) {				\
		const char *w = (const char *)mm->w + r * mm->row_bytes;	\
										\
		for (size_t t = 0; t < mm->act->n_tokens; t++) {		\
			struct linnet_ref_token a =				\
				linnet_ref_token(LINNET_ACT_F32, mm->act, t);	\
										\
			store(mm, r, t, dot_##type(w, a.x, mm->act->n_cols));	\
		}								\
	}									\
}

MATMUL_F32(f32, linnet_f32_any, (float))
MATMUL_F32(f16, linnet_u16_any, linnet_f16_to_f32)
MATMUL_F32(bf16, linnet_u16_any, linnet_bf16_to_f32)

/* four chains of blocks, of which chain s owns the blocks s mod 4 */
#define MATMUL_Q32(type, has_min)						\
static float dot_##type(const struct linnet_block_##type *w,			\
			const struct linnet_ref_token *a, size_t n_blocks)	\
{										\
	float c[4] = { 0 }, d, m;						\
	int8_t q[32];								\
										\
	for (size_t b = 0; b < n_blocks; b++) {					\
		const int8_t *aq = a->q + b * 32;				\
		int32_t isum = 0;						\
										\
		linnet_unpack_##type(q, &d, &m, w + b);				\
		for (int i = 0; i < 32; i++)					\
			isum += q[i] * aq[i];					\
		c[b % 4] = fmaf((float)isum, d * a->d[b], c[b % 4]);		\
		if (has_min)							\
			c[b % 4] = fmaf(m, a->d[b] * (float)a->asum[b], c[b % 4]); \
	}									\
	return ((c[0] + c[1]) + c[2]) + c[3];					\
}										\
										\
static void matmul_##type(const struct linnet_matmul *mm)			\
{										\
	for (size_t r = mm->row0; r < mm->row1; r++) {				\
		const void *w = (const char *)mm->w + r * mm->row_bytes;	\
										\
		for (size_t t = 0; t < mm->act->n_tokens; t++) {		\
			struct linnet_ref_token a =				\
				linnet_ref_token(LINNET_ACT_Q32, mm->act, t);	\
										\
			store(mm, r, t, dot_##type(w, &a, mm->act->n_cols / 32)); \
		}								\
	}									\
}

MATMUL_Q32(q4_0, 0)
MATMUL_Q32(q4_1, 1)
MATMUL_Q32(q5_0, 0)
MATMUL_Q32(q5_1, 1)
MATMUL_Q32(q8_0, 0)
MATMUL_Q32(iq4_nl, 0)
MATMUL_Q32(mxfp4, 0)

static size_t matmul_scratch(uint32_t type, size_t n_cols, size_t n_tokens)
{
	return 0;
}

void linnet_kernels_ref_mat(struct linnet_kernels *k)
{
	linnet_ref_fill_dequantize(k);

	k->act_bytes = linnet_ref_act_bytes;
	k->act_pack = linnet_ref_act_pack;
	k->act_granule = 1;

	k->matmul[LINNET_TYPE_F32] = matmul_f32;
	k->matmul[LINNET_TYPE_F16] = matmul_f16;
	k->matmul[LINNET_TYPE_BF16] = matmul_bf16;
	k->matmul[LINNET_TYPE_Q4_0] = matmul_q4_0;
	k->matmul[LINNET_TYPE_Q4_1] = matmul_q4_1;
	k->matmul[LINNET_TYPE_Q5_0] = matmul_q5_0;
	k->matmul[LINNET_TYPE_Q5_1] = matmul_q5_1;
	k->matmul[LINNET_TYPE_Q8_0] = matmul_q8_0;
	k->matmul[LINNET_TYPE_IQ4_NL] = matmul_iq4_nl;
	k->matmul[LINNET_TYPE_MXFP4] = matmul_mxfp4;
	k->matmul_scratch = matmul_scratch;
	k->row_granule = 1;
	k->piece_work = 2 << 20;
}
