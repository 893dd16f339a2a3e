/* SPDX-License-Identifier: MIT */
/*
 * Sixteen lanes in four NEON registers, for the bodies in kernels/lanes/. What each
 * function does is said in kernels/lanes/README.rst; the names are the same for
 * every instruction set. Any AArch64; with __ARM_FEATURE_DOTPROD integer products
 * take one instruction.
 */
#ifndef LINNET_KERNELS_ARM_V16_NEON_H
#define LINNET_KERNELS_ARM_V16_NEON_H

#include "kernels/arm/neon.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define V16_INLINE ALWAYS_INLINE

typedef struct { float32x4_t v[4]; } v16;
typedef struct { int32x4_t v[4]; } v16_int;
typedef struct { uint32x4_t v[4]; } v16_mask;	/* all bits or none */
typedef struct { int8x16_t v[4]; } v16_bytes;

#define V16_EACH(i)	UNROLL for (int i = 0; i < 4; i++)

V16_INLINE v16_mask v16_first(size_t n)
{
	static const uint32_t lane[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };
	v16_mask m;

	V16_EACH(i)
		m.v[i] = vcltq_u32(vld1q_u32(lane + 4 * i), vdupq_n_u32((uint32_t)n));
	return m;
}

V16_INLINE v16 v16_set(float x)
{
	float32x4_t a = vdupq_n_f32(x);

	return (v16) { { a, a, a, a } };
}

V16_INLINE v16 v16_zero(void) { return v16_set(0); }

V16_INLINE v16 v16_load(const float *p)
{
	v16 r;

	V16_EACH(i)
		r.v[i] = vld1q_f32(p + 4 * i);
	return r;
}

V16_INLINE void v16_store(float *p, v16 a)
{
	V16_EACH(i)
		vst1q_f32(p + 4 * i, a.v[i]);
}

V16_INLINE v16 v16_load_n(const float *p, size_t n)
{
	float x[16] = { 0 };

	memcpy(x, p, 4 * n);
	return v16_load(x);
}

V16_INLINE void v16_store_n(float *p, v16 a, size_t n)
{
	float x[16];

	v16_store(x, a);
	memcpy(p, x, 4 * n);
}

V16_INLINE v16 v16_load_f16(const void *p)
{
	v16 r;

	V16_EACH(i)
		r.v[i] = vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8((const uint8_t *)p + 8 * i)));
	return r;
}

V16_INLINE v16 v16_load_f16_n(const void *p, size_t n)
{
	uint16_t h[16] = { 0 };

	memcpy(h, p, 2 * n);
	return v16_load_f16(h);
}

V16_INLINE void v16_store_f16_n(void *p, v16 a, size_t n)
{
	uint8_t h[32];

	V16_EACH(i)
		vst1_u8(h + 8 * i, vreinterpret_u8_f16(vcvt_f16_f32(a.v[i])));
	memcpy(p, h, 2 * n);
}

V16_INLINE int8x16_t v16_low_nibbles(uint8x16_t a)
{
	return vreinterpretq_s8_u8(vsubq_u8(vandq_u8(a, vdupq_n_u8(15)), vdupq_n_u8(8)));
}

V16_INLINE int8x16_t v16_high_nibbles(uint8x16_t a)
{
	return vreinterpretq_s8_u8(vsubq_u8(vshrq_n_u8(a, 4), vdupq_n_u8(8)));
}

V16_INLINE void v16_store_i8(int8_t *p, v16 a)
{
	vst1q_s8(p, bytes_of_floats(a.v[0], a.v[1], a.v[2], a.v[3]));
}

#define V16_BINARY(name, op)						\
V16_INLINE v16 name(v16 a, v16 b)					\
{									\
	V16_EACH(i)							\
		a.v[i] = op(a.v[i], b.v[i]);				\
	return a;							\
}

V16_INLINE float32x4_t v16_max4(float32x4_t a, float32x4_t b)
{
	return vbslq_f32(vcgtq_f32(a, b), a, b);
}

V16_INLINE float32x4_t v16_min4(float32x4_t a, float32x4_t b)
{
	return vbslq_f32(vcltq_f32(a, b), a, b);
}

V16_INLINE float32x4_t v16_add_exponent4(float32x4_t p, float32x4_t t)
{
	return vreinterpretq_f32_u32(vaddq_u32(vreinterpretq_u32_f32(p),
					       vshlq_n_u32(vreinterpretq_u32_f32(t), 23)));
}

V16_BINARY(v16_add, vaddq_f32)
V16_BINARY(v16_sub, vsubq_f32)
V16_BINARY(v16_mul, vmulq_f32)
V16_BINARY(v16_div, vdivq_f32)
V16_BINARY(v16_max, v16_max4)
V16_BINARY(v16_min, v16_min4)
V16_BINARY(v16_add_exponent, v16_add_exponent4)

#define V16_UNARY(name, op)						\
V16_INLINE v16 name(v16 a)						\
{									\
	V16_EACH(i)							\
		a.v[i] = op(a.v[i]);					\
	return a;							\
}

V16_UNARY(v16_rint, vrndnq_f32)
V16_UNARY(v16_abs, vabsq_f32)
V16_UNARY(v16_neg, vnegq_f32)

V16_INLINE v16 v16_fma(v16 a, v16 b, v16 c)
{
	V16_EACH(i)
		c.v[i] = vfmaq_f32(c.v[i], a.v[i], b.v[i]);
	return c;
}

V16_INLINE v16 v16_fmsub(v16 a, v16 b, v16 c)
{
	return v16_fma(a, b, v16_neg(c));
}

V16_INLINE v16 v16_fmaddsub(v16 a, v16 b, v16 c)
{
	const uint32x4_t even = { 0x80000000, 0, 0x80000000, 0 };

	V16_EACH(i)
		c.v[i] = vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(c.v[i]), even));
	return v16_fma(a, b, c);
}

V16_INLINE v16_mask v16_lt(v16 a, v16 b)
{
	v16_mask m;

	V16_EACH(i)
		m.v[i] = vcltq_f32(a.v[i], b.v[i]);
	return m;
}

V16_INLINE v16_mask v16_le(v16 a, v16 b)
{
	v16_mask m;

	V16_EACH(i)
		m.v[i] = vcleq_f32(a.v[i], b.v[i]);
	return m;
}

V16_INLINE v16_mask v16_nan(v16 a)
{
	v16_mask m;

	V16_EACH(i)
		m.v[i] = vmvnq_u32(vceqq_f32(a.v[i], a.v[i]));
	return m;
}

V16_INLINE int v16_all(v16_mask m)
{
	return vminvq_u32(vandq_u32(vandq_u32(m.v[0], m.v[1]), vandq_u32(m.v[2], m.v[3]))) != 0;
}

V16_INLINE v16_mask v16_range(size_t lo, size_t hi)
{
	v16_mask a = v16_first(lo), b = v16_first(hi);

	V16_EACH(i)
		b.v[i] = vbicq_u32(b.v[i], a.v[i]);
	return b;
}

V16_INLINE v16 v16_select(v16_mask m, v16 a, v16 b)
{
	V16_EACH(i)
		a.v[i] = vbslq_f32(m.v[i], a.v[i], b.v[i]);
	return a;
}

V16_INLINE v16 v16_copysign(v16 a, v16 sign)
{
	V16_EACH(i)
		a.v[i] = vbslq_f32(vdupq_n_u32(0x80000000), sign.v[i], a.v[i]);
	return a;
}

V16_INLINE v16 v16_larger_magnitude(v16 max, v16 a)
{
	V16_EACH(i)
		max.v[i] = vreinterpretq_f32_u32(vmaxq_u32(vreinterpretq_u32_f32(max.v[i]),
					vreinterpretq_u32_f32(vabsq_f32(a.v[i]))));
	return max;
}

V16_INLINE uint32_t v16_max_magnitude(v16 a, v16 b)
{
	uint32x4_t m = vdupq_n_u32(0);

	V16_EACH(i) {
		m = vmaxq_u32(m, vreinterpretq_u32_f32(vabsq_f32(a.v[i])));
		m = vmaxq_u32(m, vreinterpretq_u32_f32(vabsq_f32(b.v[i])));
	}
	return vmaxvq_u32(m);
}

/* Lanes c + 8, then c + 4, 2, 1 onto c. */
V16_INLINE float v16_sum(v16 a)
{
	float32x4_t b = vaddq_f32(vaddq_f32(a.v[0], a.v[2]), vaddq_f32(a.v[1], a.v[3]));
	float32x2_t c = vadd_f32(vget_low_f32(b), vget_high_f32(b));

	return vget_lane_f32(c, 0) + vget_lane_f32(c, 1);
}

V16_INLINE float v16_largest(v16 a)
{
	return vmaxvq_f32(vmaxq_f32(vmaxq_f32(a.v[0], a.v[1]), vmaxq_f32(a.v[2], a.v[3])));
}

V16_INLINE float32x4_t v16_dup_even4(float32x4_t a) { return vtrn1q_f32(a, a); }
V16_INLINE float32x4_t v16_dup_odd4(float32x4_t a) { return vtrn2q_f32(a, a); }

V16_UNARY(v16_dup_even, v16_dup_even4)
V16_UNARY(v16_dup_odd, v16_dup_odd4)
V16_UNARY(v16_swap_pairs, vrev64q_f32)

V16_INLINE v16 v16_evens(v16 a, v16 b)
{
	return (v16) { { vuzp1q_f32(a.v[0], a.v[1]), vuzp1q_f32(a.v[2], a.v[3]),
			 vuzp1q_f32(b.v[0], b.v[1]), vuzp1q_f32(b.v[2], b.v[3]) } };
}

V16_INLINE v16 v16_odds(v16 a, v16 b)
{
	return (v16) { { vuzp2q_f32(a.v[0], a.v[1]), vuzp2q_f32(a.v[2], a.v[3]),
			 vuzp2q_f32(b.v[0], b.v[1]), vuzp2q_f32(b.v[2], b.v[3]) } };
}

V16_INLINE v16_bytes v16_load_bytes(const void *p)
{
	v16_bytes r;

	V16_EACH(i)
		r.v[i] = vld1q_s8((const int8_t *)p + 16 * i);
	return r;
}

V16_INLINE v16_bytes v16_load_low(const void *p)
{
	v16_bytes r;

	V16_EACH(i)
		r.v[i] = v16_low_nibbles(vld1q_u8((const uint8_t *)p + 16 * i));
	return r;
}

V16_INLINE v16_bytes v16_load_high(const void *p)
{
	v16_bytes r;

	V16_EACH(i)
		r.v[i] = v16_high_nibbles(vld1q_u8((const uint8_t *)p + 16 * i));
	return r;
}

#define V16_DOT_BEGIN	0

V16_INLINE v16_int v16_dot(v16_int acc, v16_bytes a, int32_t digits)
{
	int8x16_t d = vreinterpretq_s8_s32(vdupq_n_s32(digits));

	V16_EACH(i)
		acc.v[i] = dot4(acc.v[i], a.v[i], d);
	return acc;
}

V16_INLINE v16_bytes v16_load_signed(const void *p) { return v16_load_bytes(p); }

V16_INLINE v16_bytes v16_load_low_nibbles(const void *p)
{
	v16_bytes r;

	V16_EACH(i)
		r.v[i] = vreinterpretq_s8_u8(vandq_u8(vld1q_u8((const uint8_t *)p + 16 * i),
						      vdupq_n_u8(15)));
	return r;
}

V16_INLINE v16_bytes v16_load_high_nibbles(const void *p)
{
	v16_bytes r;

	V16_EACH(i)
		r.v[i] = vreinterpretq_s8_u8(vshrq_n_u8(vld1q_u8((const uint8_t *)p + 16 * i), 4));
	return r;
}

V16_INLINE v16_bytes v16_four_bytes(const void *p)
{
	int8x16_t a;
	int32_t x;

	memcpy(&x, p, sizeof(x));
	a = vreinterpretq_s8_s32(vdupq_n_s32(x));
	return (v16_bytes) { { a, a, a, a } };
}

V16_INLINE v16_int v16_int_set(int32_t x)
{
	int32x4_t a = vdupq_n_s32(x);

	return (v16_int) { { a, a, a, a } };
}

V16_INLINE int32_t v16_int_sum(v16_int a)
{
	return vaddvq_s32(vaddq_s32(vaddq_s32(a.v[0], a.v[1]), vaddq_s32(a.v[2], a.v[3])));
}

V16_INLINE v16_int v16_dot_7x8(v16_int acc, v16_bytes u, v16_bytes s)
{
	V16_EACH(i)
		acc.v[i] = dot4(acc.v[i], u.v[i], s.v[i]);
	return acc;
}

V16_INLINE v16_int v16_join_digits(v16_int high, v16_int low)
{
	V16_EACH(i)
		low.v[i] = vaddq_s32(low.v[i], vshlq_n_s32(high.v[i], 7));
	return low;
}

V16_INLINE void v16_store_digits(int8_t *high, int8_t *low, v16 a)
{
	int16x8_t x = vcombine_s16(vmovn_s32(vcvtnq_s32_f32(a.v[0])),
				   vmovn_s32(vcvtnq_s32_f32(a.v[1])));
	int16x8_t y = vcombine_s16(vmovn_s32(vcvtnq_s32_f32(a.v[2])),
				   vmovn_s32(vcvtnq_s32_f32(a.v[3])));

	vst1q_s8(high, vcombine_s8(vshrn_n_s16(x, 7), vshrn_n_s16(y, 7)));
	vst1q_s8(low, vandq_s8(vcombine_s8(vmovn_s16(x), vmovn_s16(y)), vdupq_n_s8(127)));
}

V16_INLINE void v16_store_digits_64(int8_t *high, int8_t *low, v16 a, v16 b, v16 c, v16 d)
{
	v16_store_digits(high, low, a);
	v16_store_digits(high + 16, low + 16, b);
	v16_store_digits(high + 32, low + 32, c);
	v16_store_digits(high + 48, low + 48, d);
}

V16_INLINE v16 v16_from_int(v16_int a)
{
	v16 r;

	V16_EACH(i)
		r.v[i] = vcvtq_f32_s32(a.v[i]);
	return r;
}

V16_INLINE void v16_prefetch(const void *p)
{
	__asm__ volatile("prfm pldl2keep, %0" : : "Q"(*(const char *)p));
}

#endif
