/* SPDX-License-Identifier: MIT */
/* exp, exp2 and tanh of ref/math.h in sixteen lanes: the same operations, the same bits. */
#ifndef LINNET_KERNELS_LANES_MATH_H
#define LINNET_KERNELS_LANES_MATH_H

#include "kernels/ref/math.h"

/* For x <= 0 or NaN. */
V16_INLINE v16 v16_exp_of_negative(v16 x)
{
	v16 t = v16_fma(x, v16_set(LINNET_LOG2_E), v16_set(LINNET_ROUND));
	v16 n = v16_sub(t, v16_set(LINNET_ROUND));
	v16 r = v16_fma(n, v16_set(-LINNET_LN2_HI), x), p;

	r = v16_fma(n, v16_set(-LINNET_LN2_LO), r);
	p = v16_fma(v16_set(LINNET_EXP_C6), r, v16_set(LINNET_EXP_C5));
	p = v16_fma(p, r, v16_set(LINNET_EXP_C4));
	p = v16_fma(p, r, v16_set(LINNET_EXP_C3));
	p = v16_fma(p, r, v16_set(LINNET_EXP_C2));
	p = v16_fma(p, r, v16_set(1));
	p = v16_fma(p, r, v16_set(1));
	p = v16_add_exponent(p, t);
	p = v16_select(v16_lt(x, v16_set(LINNET_EXP_MIN)), v16_zero(), p);
	return v16_select(v16_nan(x), x, p);
}

V16_INLINE v16 v16_exp(v16 x)
{
	return v16_select(v16_lt(v16_set(LINNET_EXP_MAX), x), v16_set(INFINITY),
			  v16_exp_of_negative(x));
}

/* For LINNET_EXP2_MIN <= x <= 0; of other x it is anything. */
V16_INLINE v16 v16_exp2_of_small(v16 x)
{
	v16 t = v16_add(x, v16_set(LINNET_ROUND));
	v16 r = v16_sub(x, v16_sub(t, v16_set(LINNET_ROUND))), p;

	p = v16_fma(v16_set(LINNET_EXP2_C5), r, v16_set(LINNET_EXP2_C4));
	p = v16_fma(p, r, v16_set(LINNET_EXP2_C3));
	p = v16_fma(p, r, v16_set(LINNET_EXP2_C2));
	p = v16_fma(p, r, v16_set(LINNET_EXP2_C1));
	p = v16_fma(p, r, v16_set(1));
	return v16_add_exponent(p, t);
}

/* For x <= 0 or NaN. */
V16_INLINE v16 v16_exp2_of_negative(v16 x)
{
	v16 p = v16_exp2_of_small(x);

	p = v16_select(v16_lt(x, v16_set(LINNET_EXP2_MIN)), v16_zero(), p);
	return v16_select(v16_nan(x), x, p);
}

V16_INLINE v16 v16_tanh(v16 x)
{
	v16 a = v16_abs(x), u = v16_mul(x, x), p, y;

	p = v16_fma(v16_set(LINNET_TANH_C11), u, v16_set(LINNET_TANH_C9));
	p = v16_fma(p, u, v16_set(LINNET_TANH_C7));
	p = v16_fma(p, u, v16_set(LINNET_TANH_C5));
	p = v16_fma(p, u, v16_set(LINNET_TANH_C3));
	p = v16_fma(v16_mul(p, u), a, a);
	y = v16_add(v16_exp(v16_add(a, a)), v16_set(1));
	y = v16_sub(v16_set(1), v16_div(v16_set(2), y));
	return v16_copysign(v16_select(v16_le(a, v16_set(LINNET_TANH_SMALL)), p, y), x);
}

#endif
