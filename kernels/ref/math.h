/* SPDX-License-Identifier: MIT */
/*
 * exp, exp2 and tanh as every implementation computes them. They are built of fused
 * multiply-add, +, /, selects and integer operations on the bits alone, so that
 * vectors of any width give the same result in every lane.
 *
 *	exp	at most 1 ulp off; a result below 2^-126 is 0 (none is subnormal),
 *		one above the largest float is infinite
 *	exp2	of x <= 0: at most 2 ulp off; a result below 2^-126 is 0, that of 0 is 1
 *	tanh	at most 2 ulp off
 *
 * All keep NaN.
 */
#ifndef LINNET_KERNELS_REF_MATH_H
#define LINNET_KERNELS_REF_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* exp(x) is a normal float for x in [min, max]. */
#define LINNET_EXP_MIN		-0x1.5d589ep+6f
#define LINNET_EXP_MAX		0x1.62e42ep+6f
#define LINNET_LOG2_E		0x1.715476p+0f
/* ln 2 in two parts; the product of the first and a whole number up to 256 is exact */
#define LINNET_LN2_HI		0x1.62e430p-1f
#define LINNET_LN2_LO		-0x1.05c610p-29f
/* 1.5 * 2^23: adding it rounds to a whole number, which is left in the low bits */
#define LINNET_ROUND		0x1.8p+23f
/* exp(r) = 1 + r + r^2 (C2 + C3 r + ...) for |r| <= ln(2) / 2; minimax, 3e-9 */
#define LINNET_EXP_C2		0x1.fffffcp-2f
#define LINNET_EXP_C3		0x1.555492p-3f
#define LINNET_EXP_C4		0x1.5558f2p-5f
#define LINNET_EXP_C5		0x1.1239e2p-7f
#define LINNET_EXP_C6		0x1.6a2434p-10f

/* exp2(x) is a normal float for x in [min, 0]. */
#define LINNET_EXP2_MIN		-126.0f
/* exp2(r) = 1 + r (C1 + C2 r + ...) for |r| <= 1/2; minimax, 1e-7 */
#define LINNET_EXP2_C1		0x1.62e42ap-1f
#define LINNET_EXP2_C2		0x1.ebf9c2p-3f
#define LINNET_EXP2_C3		0x1.c6b6d8p-5f
#define LINNET_EXP2_C4		0x1.3ce8acp-7f
#define LINNET_EXP2_C5		0x1.5bda3cp-10f

/* tanh(x) = x + x^3 (C3 + C5 x^2 + ...) for |x| <= TANH_SMALL; minimax, 5e-9 */
#define LINNET_TANH_SMALL	0.625f
#define LINNET_TANH_C3		-0x1.555532p-2f
#define LINNET_TANH_C5		0x1.110726p-3f
#define LINNET_TANH_C7		-0x1.b83c5ap-5f
#define LINNET_TANH_C9		0x1.52269cp-6f
#define LINNET_TANH_C11		-0x1.75e1ccp-8f

/* gelu(x) = x / (1 + exp(-x A (1 + B x^2))): A = 2 sqrt(2 / pi) */
#define LINNET_GELU_A		1.5957691216f
#define LINNET_GELU_B		0.044715f

/* p * 2^n, where t is n + LINNET_ROUND: n is in its lowest bits. */
static inline float linnet_add_exponent(float p, float t)
{
	uint32_t k, bits;

	memcpy(&k, &t, sizeof(k));
	memcpy(&bits, &p, sizeof(bits));
	bits += k << 23;
	memcpy(&p, &bits, sizeof(p));
	return p;
}

static inline float linnet_expf(float x)
{
	float t, n, r, p;

	if (x != x)
		return x;
	if (x < LINNET_EXP_MIN)
		return 0;
	if (x > LINNET_EXP_MAX)
		return INFINITY;

	/* x = n ln 2 + r */
	t = fmaf(x, LINNET_LOG2_E, LINNET_ROUND);
	n = t - LINNET_ROUND;
	r = fmaf(n, -LINNET_LN2_HI, x);
	r = fmaf(n, -LINNET_LN2_LO, r);

	p = fmaf(LINNET_EXP_C6, r, LINNET_EXP_C5);
	p = fmaf(p, r, LINNET_EXP_C4);
	p = fmaf(p, r, LINNET_EXP_C3);
	p = fmaf(p, r, LINNET_EXP_C2);
	p = fmaf(p, r, 1);
	p = fmaf(p, r, 1);

	/* both ends of [min, max] leave a normal exponent */
	return linnet_add_exponent(p, t);
}

/* For x <= 0 or NaN. */
static inline float linnet_exp2f(float x)
{
	float t, r, p;

	if (x != x)
		return x;
	if (x < LINNET_EXP2_MIN)
		return 0;

	/* x = n + r, without rounding */
	t = x + LINNET_ROUND;
	r = x - (t - LINNET_ROUND);

	p = fmaf(LINNET_EXP2_C5, r, LINNET_EXP2_C4);
	p = fmaf(p, r, LINNET_EXP2_C3);
	p = fmaf(p, r, LINNET_EXP2_C2);
	p = fmaf(p, r, LINNET_EXP2_C1);
	p = fmaf(p, r, 1);

	return linnet_add_exponent(p, t);
}

static inline float linnet_tanhf(float x)
{
	float a = fabsf(x), u, p, y;

	if (a <= LINNET_TANH_SMALL) {
		u = x * x;
		p = fmaf(LINNET_TANH_C11, u, LINNET_TANH_C9);
		p = fmaf(p, u, LINNET_TANH_C7);
		p = fmaf(p, u, LINNET_TANH_C5);
		p = fmaf(p, u, LINNET_TANH_C3);
		y = fmaf(p * u, a, a);
	} else {
		y = 1 - 2 / (linnet_expf(a + a) + 1);
	}
	return copysignf(y, x);
}

#endif
