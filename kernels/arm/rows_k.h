/* SPDX-License-Identifier: MIT */
/*
 * Super-blocks of the Q256 types on AArch64, taken apart: 256 signed bytes, which go where
 * the kernel wants them, 16 scales, 16 minima and two factors. A type whose sub-blocks have
 * 32 elements has its scales in the even places, and its minima twice.
 */
#ifndef LINNET_KERNELS_ARM_ROWS_K_H
#define LINNET_KERNELS_ARM_ROWS_K_H

#include "kernels/arm/neon.h"
#include "kernels/blocks.h"

#include <string.h>

struct super {
	int8_t *q;		/* where put_fn puts elements */
	int32_t scale[16];
	int16_t min[16];
	float d, dmin;
};

/* Elements e .. e + 15 of a super-block whose scales are there already */
typedef void put_fn(const struct super *s, int e, uint8x16_t v);

struct type {
	void (*unpack)(struct super *s, const uint8_t *block, put_fn *put);
	size_t bytes;		/* of a block */
	int has_min, wide;	/* wide: a scale for 32 elements */
	int products;		/* weight times scale is a byte */
};

ALWAYS_INLINE float half_at(const uint8_t *p)
{
	float16_t h;

	memcpy(&h, p, 2);
	return (float)h;
}

/* Two bits of each byte, at bit 2 * n (0..3) */
ALWAYS_INLINE uint8x16_t crumbs(uint8x16_t v, const int n)
{
	return vandq_u8(vshlq_u8(v, vdupq_n_s8((int8_t)(-2 * n))), vdupq_n_u8(3));
}

/* `value` where bit n of the byte is set */
ALWAYS_INLINE uint8x16_t bits(uint8x16_t v, const int n, uint8_t value)
{
	return vandq_u8(vtstq_u8(v, vdupq_n_u8((uint8_t)(1 << n))), vdupq_n_u8(value));
}

/* Scales and minima of Q4_K and Q5_K: four of each lie in the bytes of a word. */
ALWAYS_INLINE void scales6(struct super *s, const uint8_t b[12])
{
	uint32_t w[3], scale[2], min[2];

	memcpy(w, b, sizeof(w));
	scale[0] = w[0] & 0x3f3f3f3f;
	scale[1] = (w[2] & 0x0f0f0f0f) | (w[0] >> 2 & 0x30303030);
	min[0] = w[1] & 0x3f3f3f3f;
	min[1] = (w[2] >> 4 & 0x0f0f0f0f) | (w[1] >> 2 & 0x30303030);
	UNROLL
	for (int i = 0; i < 2; i++) {
		const uint8x8_t m = vreinterpret_u8_u32(vdup_n_u32(min[i]));

		UNROLL
		for (int k = 0; k < 4; k++)
			s->scale[8 * i + 2 * k] = (int32_t)(scale[i] >> (8 * k) & 255);
		/* each minimum twice */
		vst1q_s16(s->min + 8 * i, vreinterpretq_s16_u16(vmovl_u8(vzip1_u8(m, m))));
	}
}

ALWAYS_INLINE void unpack_q2_k(struct super *s, const uint8_t *p, put_fn *put)
{
	const struct linnet_block_q2_k *b = (const void *)p;

	for (int j = 0; j < 16; j++) {
		s->scale[j] = b->scales[j] & 15;
		s->min[j] = b->scales[j] >> 4;
	}
	UNROLL
	for (int h = 0; h < 4; h++) {
		const uint8x16_t v = vld1q_u8(b->qs + 16 * h);

		UNROLL
		for (int n = 0; n < 4; n++)
			put(s, h / 2 * 128 + 32 * n + h % 2 * 16, crumbs(v, n));
	}
	s->d = half_at((const uint8_t *)&b->d);
	s->dmin = half_at((const uint8_t *)&b->dmin);
}

ALWAYS_INLINE void unpack_q3_k(struct super *s, const uint8_t *p, put_fn *put)
{
	const struct linnet_block_q3_k *b = (const void *)p;

	for (int j = 0; j < 16; j++) {
		int low = b->scales[j % 8] >> (j / 8 * 4) & 15;
		int high = b->scales[8 + j % 4] >> (j / 4 * 2) & 3;

		s->scale[j] = (low | high << 4) - 32;
	}
	UNROLL
	for (int h = 0; h < 4; h++) {
		const uint8x16_t v = vld1q_u8(b->qs + 16 * h), m = vld1q_u8(b->hmask + h % 2 * 16);

		UNROLL
		for (int n = 0; n < 4; n++)
			put(s, h / 2 * 128 + 32 * n + h % 2 * 16,
			    vsubq_u8(vorrq_u8(crumbs(v, n), bits(m, h / 2 * 4 + n, 4)),
				     vdupq_n_u8(4)));
	}
	s->d = half_at((const uint8_t *)&b->d);
}

ALWAYS_INLINE void unpack_q4_k(struct super *s, const uint8_t *p, put_fn *put)
{
	const struct linnet_block_q4_k *b = (const void *)p;

	scales6(s, b->scales);
	UNROLL
	for (int h = 0; h < 8; h++) {
		const uint8x16_t v = vld1q_u8(b->qs + 16 * h);
		const int e = h / 2 * 64 + h % 2 * 16;

		put(s, e, vandq_u8(v, vdupq_n_u8(15)));
		put(s, e + 32, vshrq_n_u8(v, 4));
	}
	s->d = half_at((const uint8_t *)&b->d);
	s->dmin = half_at((const uint8_t *)&b->dmin);
}

ALWAYS_INLINE void unpack_q5_k(struct super *s, const uint8_t *p, put_fn *put)
{
	const struct linnet_block_q5_k *b = (const void *)p;

	scales6(s, b->scales);
	UNROLL
	for (int h = 0; h < 8; h++) {
		const uint8x16_t v = vld1q_u8(b->qs + 16 * h), m = vld1q_u8(b->qh + h % 2 * 16);
		const int e = h / 2 * 64 + h % 2 * 16;

		put(s, e, vorrq_u8(vandq_u8(v, vdupq_n_u8(15)), bits(m, h / 2 * 2, 16)));
		put(s, e + 32, vorrq_u8(vshrq_n_u8(v, 4), bits(m, h / 2 * 2 + 1, 16)));
	}
	s->d = half_at((const uint8_t *)&b->d);
	s->dmin = half_at((const uint8_t *)&b->dmin);
}

ALWAYS_INLINE void unpack_q6_k(struct super *s, const uint8_t *p, put_fn *put)
{
	const struct linnet_block_q6_k *b = (const void *)p;
	const uint8x16_t off = vdupq_n_u8(32);

	for (int j = 0; j < 16; j++)
		s->scale[j] = b->scales[j];
	UNROLL
	for (int h = 0; h < 8; h++) {
		const uint8x16_t v = vld1q_u8(b->ql + 16 * h);
		const uint8x16_t m = vld1q_u8(b->qh + h / 4 * 32 + h % 2 * 16);
		const int n = h / 2 % 2;	/* crumb of the low nibbles; 2 + n of the high */
		const int e = h / 4 * 128 + h % 4 * 16;

		put(s, e, vsubq_u8(vorrq_u8(vandq_u8(v, vdupq_n_u8(15)),
					    vshlq_n_u8(crumbs(m, n), 4)), off));
		put(s, e + 64, vsubq_u8(vorrq_u8(vshrq_n_u8(v, 4),
						 vshlq_n_u8(crumbs(m, 2 + n), 4)), off));
	}
	s->d = half_at((const uint8_t *)&b->d);
}

ALWAYS_INLINE void unpack_iq4_xs(struct super *s, const uint8_t *p, put_fn *put)
{
	const struct linnet_block_iq4_xs *b = (const void *)p;
	const uint8x16_t t = vld1q_u8((const uint8_t *)linnet_iq4_values);
	uint16_t high;

	memcpy(&high, &b->scales_h, 2);
	UNROLL
	for (int k = 0; k < 8; k++) {
		const uint8x16_t v = vld1q_u8(b->qs + 16 * k);

		s->scale[2 * k] = ((b->scales_l[k / 2] >> (k % 2 * 4) & 15) |
				   (high >> (2 * k) & 3) << 4) - 32;
		put(s, 32 * k, vqtbl1q_u8(t, vandq_u8(v, vdupq_n_u8(15))));
		put(s, 32 * k + 16, vqtbl1q_u8(t, vshrq_n_u8(v, 4)));
	}
	s->d = half_at((const uint8_t *)&b->d);
}

#endif
