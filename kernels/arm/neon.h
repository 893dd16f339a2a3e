/* SPDX-License-Identifier: MIT */
/* Pieces that all AArch64 kernels use. */
#ifndef LINNET_KERNELS_ARM_NEON_H
#define LINNET_KERNELS_ARM_NEON_H

#include <arm_neon.h>

#define ALWAYS_INLINE	static inline __attribute__((always_inline))
#ifdef __clang__
#define UNROLL		_Pragma("clang loop unroll(full)")
#else
#define UNROLL		_Pragma("GCC unroll 32")
#endif

/*
 * acc[i] += the product of bytes 4i..4i+3 of a and b. Without the instruction for it,
 * |a| <= 128 and |b| <= 127.
 */
ALWAYS_INLINE int32x4_t dot4(int32x4_t acc, int8x16_t a, int8x16_t b)
{
#ifdef __ARM_FEATURE_DOTPROD
	return vdotq_s32(acc, a, b);
#else
	int32x4_t lo = vpaddlq_s16(vmull_s8(vget_low_s8(a), vget_low_s8(b)));
	int32x4_t hi = vpaddlq_s16(vmull_high_s8(a, b));

	return vaddq_s32(acc, vpaddq_s32(lo, hi));
#endif
}

/* acc[i] += the product of bytes 4i..4i+3 of w and bytes 4 * lane.. of a; limits of dot4() */
ALWAYS_INLINE int32x4_t dot_lane(int32x4_t acc, int8x16_t w, int8x16_t a, const int lane)
{
#ifdef __ARM_FEATURE_DOTPROD
	switch (lane) {
	case 0: return vdotq_laneq_s32(acc, w, a, 0);
	case 1: return vdotq_laneq_s32(acc, w, a, 1);
	case 2: return vdotq_laneq_s32(acc, w, a, 2);
	default: return vdotq_laneq_s32(acc, w, a, 3);
	}
#else
	int32x4_t x = vreinterpretq_s32_s8(a);

	switch (lane) {
	case 0: x = vdupq_laneq_s32(x, 0); break;
	case 1: x = vdupq_laneq_s32(x, 1); break;
	case 2: x = vdupq_laneq_s32(x, 2); break;
	default: x = vdupq_laneq_s32(x, 3); break;
	}
	return dot4(acc, w, vreinterpretq_s8_s32(x));
#endif
}

/*
 * acc += the product of 16 bytes, in any lanes: two products of a pair stay below 2^15,
 * as |a| <= 128 and |b| <= 127.
 */
ALWAYS_INLINE int32x4_t dot16(int32x4_t acc, int8x16_t a, int8x16_t b)
{
#ifdef __ARM_FEATURE_DOTPROD
	return vdotq_s32(acc, a, b);
#else
	int16x8_t p = vmull_s8(vget_low_s8(a), vget_low_s8(b));

	return vpadalq_s16(acc, vmlal_high_s8(p, a, b));
#endif
}

/* Lane i: sum of the lanes of the ith of four */
ALWAYS_INLINE int32x4_t sums4(int32x4_t a, int32x4_t b, int32x4_t c, int32x4_t d)
{
	return vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d));
}

/* Sixteen floats, rounded to nearest even, as bytes */
ALWAYS_INLINE int8x16_t bytes_of_floats(float32x4_t a, float32x4_t b, float32x4_t c, float32x4_t d)
{
	int16x8_t lo = vcombine_s16(vqmovn_s32(vcvtnq_s32_f32(a)), vqmovn_s32(vcvtnq_s32_f32(b)));
	int16x8_t hi = vcombine_s16(vqmovn_s32(vcvtnq_s32_f32(c)), vqmovn_s32(vcvtnq_s32_f32(d)));

	return vcombine_s8(vqmovn_s16(lo), vqmovn_s16(hi));
}

#endif
