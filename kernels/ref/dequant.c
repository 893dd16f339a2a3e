/* SPDX-License-Identifier: MIT */
/*
 * Values of the unblocked types and of the types with blocks of 32: the definition.
 * Integers times a half's 11 bits fit a float, so a product here is exact, and a
 * minimum is added with one rounding.
 */
#include "kernels/ref/mat.h"
#include "kernels/ref/unpack32.h"

#include <string.h>

static void dequantize_f32(float *x, const void *row, size_t n)
{
	/* a hostile stream's operands may overlap in part */
	memmove(x, row, n * sizeof(*x));
}

static void dequantize_f16(float *x, const void *row, size_t n)
{
	const linnet_u16_any *h = row;

	for (size_t i = 0; i < n; i++)
		x[i] = linnet_f16_to_f32(h[i]);
}

static void dequantize_bf16(float *x, const void *row, size_t n)
{
	const linnet_u16_any *h = row;

	for (size_t i = 0; i < n; i++)
		x[i] = linnet_bf16_to_f32(h[i]);
}

#define DEQUANTIZE(type, has_min)						\
static void dequantize_##type(float *x, const void *row, size_t n)		\
{										\
	const struct linnet_block_##type *b = row;				\
	int8_t q[32];								\
	float d, m;								\
										\
	for (size_t i = 0; i < n; i += 32, b++) {				\
		linnet_unpack_##type(q, &d, &m, b);				\
		for (size_t j = 0; j < 32; j++)					\
			x[i + j] = has_min ? (float)q[j] * d + m : (float)q[j] * d; \
	}									\
}

DEQUANTIZE(q4_0, 0)
DEQUANTIZE(q4_1, 1)
DEQUANTIZE(q5_0, 0)
DEQUANTIZE(q5_1, 1)
DEQUANTIZE(q8_0, 0)
DEQUANTIZE(iq4_nl, 0)
DEQUANTIZE(mxfp4, 0)

void linnet_ref_fill_dequantize(struct linnet_kernels *k)
{
	k->dequantize[LINNET_TYPE_F32] = dequantize_f32;
	k->dequantize[LINNET_TYPE_F16] = dequantize_f16;
	k->dequantize[LINNET_TYPE_BF16] = dequantize_bf16;
	k->dequantize[LINNET_TYPE_Q4_0] = dequantize_q4_0;
	k->dequantize[LINNET_TYPE_Q4_1] = dequantize_q4_1;
	k->dequantize[LINNET_TYPE_Q5_0] = dequantize_q5_0;
	k->dequantize[LINNET_TYPE_Q5_1] = dequantize_q5_1;
	k->dequantize[LINNET_TYPE_Q8_0] = dequantize_q8_0;
	k->dequantize[LINNET_TYPE_IQ4_NL] = dequantize_iq4_nl;
	k->dequantize[LINNET_TYPE_MXFP4] = dequantize_mxfp4;
}
