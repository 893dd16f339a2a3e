/* SPDX-License-Identifier: MIT */
/*
 * Values of the super-block types: the definition. d * scale and dmin * min are
 * rounded, then times q, then their difference.
 */
#include "kernels/ref/k.h"
#include "kernels/ref/unpack256.h"

#define DEQUANTIZE(type, has_min)						\
static void dequantize_##type(float *x, const void *row, size_t n)		\
{										\
	const struct linnet_block_##type *b = row;				\
	struct linnet_super s;							\
										\
	for (size_t i = 0; i < n; i += 256, b++) {				\
		linnet_unpack_##type(&s, b);					\
		for (size_t j = 0; j < 256; j++) {				\
			float v = s.d * s.scale[j / 16] * s.q[j];		\
										\
			x[i + j] = has_min ? v - s.dmin * s.min[j / 16] : v;	\
		}								\
	}									\
}

DEQUANTIZE(q2_k, 1)
DEQUANTIZE(q3_k, 0)
DEQUANTIZE(q4_k, 1)
DEQUANTIZE(q5_k, 1)
DEQUANTIZE(q6_k, 0)
DEQUANTIZE(iq4_xs, 0)

void linnet_ref_fill_dequantize_k(struct linnet_kernels *k)
{
	k->dequantize[LINNET_TYPE_Q2_K] = dequantize_q2_k;
	k->dequantize[LINNET_TYPE_Q3_K] = dequantize_q3_k;
	k->dequantize[LINNET_TYPE_Q4_K] = dequantize_q4_k;
	k->dequantize[LINNET_TYPE_Q5_K] = dequantize_q5_k;
	k->dequantize[LINNET_TYPE_Q6_K] = dequantize_q6_k;
	k->dequantize[LINNET_TYPE_IQ4_XS] = dequantize_iq4_xs;
}
