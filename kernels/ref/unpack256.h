/* SPDX-License-Identifier: MIT */
/*
 * The super-block types as one: 16 sub-blocks of 16 integers with a scale and a
 * minimum each, and two factors: x = (d * scale) * q - (dmin * min). Types whose
 * sub-blocks have 32 elements give two neighbours the same scale; sums over them
 * are exact integers, so this changes no result.
 */
#ifndef LINNET_KERNELS_REF_UNPACK256_H
#define LINNET_KERNELS_REF_UNPACK256_H

#include "kernels/blocks.h"
#include "kernels/half.h"

struct linnet_super {
	int8_t q[256];
	int8_t scale[16];
	uint8_t min[16];	/* 0 for types without minima */
	float d, dmin;
};

/* Two-bit part of element i. */
static inline int linnet_unpack_crumb(const uint8_t *b, int i)
{
	return b[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
}

/* Nibble of element i of Q4_K and Q5_K. */
static inline int linnet_unpack_nibble(const uint8_t *b, int i)
{
	return b[i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4) & 15;
}

/* High bit of element i, where bit k of byte j belongs to element 32k + j. */
static inline int linnet_unpack_bit(const uint8_t *b, int i)
{
	return b[i % 32] >> (i / 32) & 1;
}

/* Scales and minima of Q4_K and Q5_K. */
static inline void linnet_unpack_scales6(struct linnet_super *s, const uint8_t b[12])
{
	for (int j = 0; j < 16; j++) {
		int k = j / 2;

		s->scale[j] = k < 4 ? b[k] & 63 : (b[k + 4] & 15) | b[k - 4] >> 6 << 4;
		s->min[j] = k < 4 ? b[k + 4] & 63 : b[k + 4] >> 4 | b[k] >> 6 << 4;
	}
}

static inline void linnet_unpack_q2_k(struct linnet_super *s, const struct linnet_block_q2_k *b)
{
	for (int j = 0; j < 16; j++) {
		s->scale[j] = b->scales[j] & 15;
		s->min[j] = b->scales[j] >> 4;
	}
	for (int i = 0; i < 256; i++)
		s->q[i] = linnet_unpack_crumb(b->qs, i);
	s->d = linnet_f16_to_f32(b->d);
	s->dmin = linnet_f16_to_f32(b->dmin);
}

static inline void linnet_unpack_q3_k(struct linnet_super *s, const struct linnet_block_q3_k *b)
{
	for (int j = 0; j < 16; j++) {
		int low = b->scales[j % 8] >> (j / 8 * 4) & 15;
		int high = b->scales[8 + j % 4] >> (j / 4 * 2) & 3;

		s->scale[j] = (low | high << 4) - 32;
		s->min[j] = 0;
	}
	for (int i = 0; i < 256; i++)
		s->q[i] = (linnet_unpack_crumb(b->qs, i) | linnet_unpack_bit(b->hmask, i) << 2) - 4;
	s->d = linnet_f16_to_f32(b->d);
	s->dmin = 0;
}

static inline void linnet_unpack_q4_k(struct linnet_super *s, const struct linnet_block_q4_k *b)
{
	linnet_unpack_scales6(s, b->scales);
	for (int i = 0; i < 256; i++)
		s->q[i] = linnet_unpack_nibble(b->qs, i);
	s->d = linnet_f16_to_f32(b->d);
	s->dmin = linnet_f16_to_f32(b->dmin);
}

static inline void linnet_unpack_q5_k(struct linnet_super *s, const struct linnet_block_q5_k *b)
{
	linnet_unpack_scales6(s, b->scales);
	for (int i = 0; i < 256; i++)
		s->q[i] = linnet_unpack_nibble(b->qs, i) | linnet_unpack_bit(b->qh, i) << 4;
	s->d = linnet_f16_to_f32(b->d);
	s->dmin = linnet_f16_to_f32(b->dmin);
}

static inline void linnet_unpack_q6_k(struct linnet_super *s, const struct linnet_block_q6_k *b)
{
	for (int j = 0; j < 16; j++) {
		s->scale[j] = b->scales[j];
		s->min[j] = 0;
	}
	for (int i = 0; i < 256; i++) {
		int low = b->ql[i / 128 * 64 + i % 64] >> (i / 64 % 2 * 4) & 15;

		s->q[i] = (low | linnet_unpack_crumb(b->qh, i) << 4) - 32;
	}
	s->d = linnet_f16_to_f32(b->d);
	s->dmin = 0;
}

static inline void linnet_unpack_iq4_xs(struct linnet_super *s, const struct linnet_block_iq4_xs *b)
{
	for (int j = 0; j < 16; j++) {
		int k = j / 2;
		int low = b->scales_l[k / 2] >> (k % 2 * 4) & 15, high = b->scales_h >> (2 * k) & 3;

		s->scale[j] = (low | high << 4) - 32;
		s->min[j] = 0;
	}
	for (int i = 0; i < 256; i++)
		s->q[i] = linnet_iq4_values[b->qs[i / 32 * 16 + i % 16] >> (i / 16 % 2 * 4) & 15];
	s->d = linnet_f16_to_f32(b->d);
	s->dmin = 0;
}

#endif
