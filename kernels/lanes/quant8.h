/* SPDX-License-Identifier: MIT */
/* A block of 32 for a Q8_0 or Q4_0 KV cache and for a query against one, as ref/quant8.h. */
#ifndef LINNET_KERNELS_LANES_QUANT8_H
#define LINNET_KERNELS_LANES_QUANT8_H

#include "kernels/ref/quant8.h"

V16_INLINE float v16_quant8_scale(float *id, const float *x)
{
	return linnet_quant8_step(id, v16_max_magnitude(v16_load(x), v16_load(x + 16)));
}

V16_INLINE float v16_quant4_scale(float *id, const float *x)
{
	v16 lo = v16_load(x), hi = v16_load(x + 16);
	uint32_t max = v16_max_magnitude(lo, hi);
	float a;

	memcpy(&a, &max, sizeof(a));
	/* with a NaN among them the answer does not matter */
	return linnet_quant4_step(id, max, v16_largest(v16_max(v16_neg(lo), v16_neg(hi))) == a);
}

#endif
