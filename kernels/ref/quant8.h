/* SPDX-License-Identifier: MIT */
/*
 * The scale of a block of 32 values in a Q8_0 or Q4_0 KV cache, of a query against one and
 * of the weights of its values, see attention.h.
 */
#ifndef LINNET_KERNELS_REF_QUANT8_H
#define LINNET_KERNELS_REF_QUANT8_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define LINNET_QUANT8_MIN	1e-30f

/*
 * Whether a block whose largest magnitude has the bits max has no integers but 0: *step is
 * its scale then, 0 or NaN.
 */
static inline bool linnet_quant_is_zero(float *step, uint32_t max)
{
	float a;

	memcpy(&a, &max, sizeof(a));
	*step = max >= 0x7f800000 ? NAN : 0;
	return max >= 0x7f800000 || a < LINNET_QUANT8_MIN;
}

/*
 * Returns the value of one step for the largest magnitude whose bits are max; *id is
 * what to multiply with to get steps. When *id is 0 all integers are 0.
 */
static inline float linnet_quant8_step(float *id, uint32_t max)
{
	float a, step;

	memcpy(&a, &max, sizeof(a));
	*id = 0;
	if (linnet_quant_is_zero(&step, max))
		return step;
	*id = 127 / a;
	return a / 127;
}

/* The same for a query and for weights of values: integers of two digits, of base 128. */
#define LINNET_DIGITS_MAX	16256

static inline float linnet_digits_step(float *id, uint32_t max)
{
	float a, step;

	memcpy(&a, &max, sizeof(a));
	*id = 0;
	if (linnet_quant_is_zero(&step, max))
		return step;
	*id = LINNET_DIGITS_MAX / a;
	return a / LINNET_DIGITS_MAX;
}

static inline uint32_t linnet_largest_magnitude(const float *x)
{
	uint32_t max = 0, u;

	/* as integers, magnitudes are in order and NaN above all */
	for (int i = 0; i < 32; i++) {
		memcpy(&u, &x[i], sizeof(u));
		u &= 0x7fffffff;
		max = u > max ? u : max;
	}
	return max;
}

static inline float linnet_quant8_scale(float *id, const float *x)
{
	return linnet_quant8_step(id, linnet_largest_magnitude(x));
}

/*
 * The same for Q4_0, a step being signed: the extreme value, a or -a by its sign, becomes
 * -8. negative: -a is among the values.
 */
static inline float linnet_quant4_step(float *id, uint32_t max, bool negative)
{
	float a, step;

	memcpy(&a, &max, sizeof(a));
	*id = 0;
	if (linnet_quant_is_zero(&step, max))
		return step;
	*id = negative ? 8 / a : -8 / a;
	return negative ? a / 8 : a / -8;
}

static inline float linnet_quant4_scale(float *id, const float *x)
{
	uint32_t max = 0, u;
	bool negative = false;

	for (int i = 0; i < 32; i++) {
		memcpy(&u, &x[i], sizeof(u));
		if ((u & 0x7fffffff) > max) {
			max = u & 0x7fffffff;
			negative = false;
		}
		negative |= (u & 0x7fffffff) == max && u >> 31;
	}
	return linnet_quant4_step(id, max, negative);
}

#endif
