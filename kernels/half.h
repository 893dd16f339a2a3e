/* SPDX-License-Identifier: MIT */
/*
 * Conversions between float and the small float formats: exact towards float,
 * round to nearest even from it, subnormals and infinities included. A NaN stays a
 * NaN and becomes quiet, as the conversion instructions of x86 and ARM do.
 */
#ifndef LINNET_KERNELS_HALF_H
#define LINNET_KERNELS_HALF_H

#include <stdint.h>
#include <string.h>

static inline uint32_t linnet_f32_bits(float x)
{
	uint32_t u;

	memcpy(&u, &x, sizeof(u));
	return u;
}

static inline float linnet_f32_from_bits(uint32_t u)
{
	float x;

	memcpy(&x, &u, sizeof(x));
	return x;
}

static inline float linnet_f16_to_f32(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16;
	uint32_t exp = h >> 10 & 31, man = h & 0x3ff;

	if (exp == 31)
		return linnet_f32_from_bits(sign | 0x7f800000 | man << 13 | (man ? 0x400000 : 0));
	if (exp == 0) {
		/* man * 2^-24 is exact, and a float's normal number */
		float x = (float)man * 0x1p-24f;

		return linnet_f32_from_bits(sign | linnet_f32_bits(x));
	}
	return linnet_f32_from_bits(sign | (exp + 112) << 23 | man << 13);
}

static inline uint16_t linnet_f32_to_f16(float x)
{
	uint32_t u = linnet_f32_bits(x);
	uint32_t sign = u >> 16 & 0x8000, man, rest, half, shift;

	u &= 0x7fffffff;
	if (u > 0x7f800000)
		return (uint16_t)(sign | 0x7e00 | (u >> 13 & 0x1ff));
	if (u >= 0x47800000)	/* 2^16 and up; 65520.. rounds up to it below */
		return (uint16_t)(sign | 0x7c00);
	if (u >= 0x38800000) {	/* a normal half: carry may run into the exponent */
		u -= 112u << 23;
		return (uint16_t)(sign | (u + 0xfff + (u >> 13 & 1)) >> 13);
	}
	if (u < 0x33000000)	/* below half of the least subnormal */
		return (uint16_t)sign;
	shift = 126 - (u >> 23);
	man = (u & 0x7fffff) | 0x800000;
	half = 1u << (shift - 1);
	rest = man & (2 * half - 1);
	man >>= shift;
	man += rest > half || (rest == half && (man & 1));
	return (uint16_t)(sign | man);
}

static inline float linnet_bf16_to_f32(uint16_t b)
{
	return linnet_f32_from_bits((uint32_t)b << 16);
}

static inline uint16_t linnet_f32_to_bf16(float x)
{
	uint32_t u = linnet_f32_bits(x);

	if ((u & 0x7fffffff) > 0x7f800000)
		return (uint16_t)(u >> 16 | 0x40);
	return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

/* The bits of a mantissa that are 0 in the steps of blocks of 32 activations */
#define LINNET_Q32_ZERO_BITS		0x1fffffu
#define LINNET_Q32_POW2_ZERO_BITS	0x7fffffu

/* d, a positive number, rounded up to one that has these bits 0 */
static inline float linnet_q32_step(float d, uint32_t zero_bits)
{
	return linnet_f32_from_bits((linnet_f32_bits(d) + zero_bits) & ~zero_bits);
}

/* Half of an E8M0 scale: 2^(e - 128), as MXFP4's doubled values take it. */
static inline float linnet_e8m0_half_to_f32(uint8_t e)
{
	return linnet_f32_from_bits(e < 2 ? 0x200000u << e : (uint32_t)(e - 1) << 23);
}

#endif
