/* SPDX-License-Identifier: MIT */
/*
 * The activations of a level, written once for all: packing of the layouts in act_layout.h,
 * and the sizes of everything whose layout the level chooses. The file of a level first
 * includes a header with
 *
 *	LINNET_Q32_FEW				tokens up to which the layout is "few"
 *	linnet_q32_scratch(n_cols, n_tokens)	of products of more tokens than these
 *	struct linnet_act256			a super-block of a token (Q256)
 *	linnet_q256_scratch(n_cols, n_tokens)
 *
 * then this file, and defines the functions declared below and a struct linnet_act_ops
 * with act_bytes(), act_pack() and matmul_scratch().
 */
#ifndef LINNET_KERNELS_ACT_PACK_H
#define LINNET_KERNELS_ACT_PACK_H

#include "kernels/act_layout.h"
#include "kernels/half.h"

#include <math.h>
#include <string.h>

#define F32_INF_BITS	0x7f800000u

/* Where a group has 16 elements of block b */
static inline int8_t *group_q(struct linnet_q32_group *g, size_t b, size_t half);
/* Quantize 128 floats as the 4 blocks of a group, by linnet_ref_quantize()'s rule. */
static inline void quantize4(enum linnet_act act, struct linnet_q32_group *g, const float *x);
/* 256 floats as a super-block */
static inline void quantize256(struct linnet_act256 *dst, const float *x);

static inline uint32_t zero_bits(enum linnet_act act)
{
	return act == LINNET_ACT_Q32 ? LINNET_Q32_ZERO_BITS : LINNET_Q32_POW2_ZERO_BITS;
}

/*
 * The step of a block by the bits of its largest magnitude, and *r by which elements are
 * multiplied; *r is 0 where all q are.
 */
static inline float step_of(enum linnet_act act, uint32_t top, float *r)
{
	const float a = linnet_f32_from_bits(top);
	float d;

	*r = 0.0f;
	if (top >= F32_INF_BITS)
		return NAN;
	if (a < 1e-30f)
		return 0.0f;
	d = a / 127.0f;
	if (act == LINNET_ACT_Q256) {
		*r = 127.0f / a;
		return d;
	}
	d = linnet_q32_step(d, zero_bits(act));
	*r = 1.0f / d;
	return d;
}

/* Group g of a row of n_cols */
static inline void quantize_group(enum linnet_act act, struct linnet_q32_group *dst,
				  const float *x, size_t n_cols, size_t g)
{
	float tail[128];

	if ((g + 1) * 128 <= n_cols) {
		quantize4(act, dst, x + g * 128);
		return;
	}
	memset(tail, 0, sizeof(tail));
	memcpy(tail, x + g * 128, (n_cols - g * 128) * sizeof(*x));
	quantize4(act, dst, tail);
}

static void pack_q32_few(enum linnet_act act, const struct linnet_act_buf *dst, const float *x,
			 size_t ldx, size_t t0, size_t t1)
{
	size_t n = linnet_q32_groups(dst->n_cols);

	for (size_t t = t0; t < t1; t++)
		for (size_t g = 0; g < n; g++)
			quantize_group(act, (struct linnet_q32_group *)dst->buf +
				       g * dst->n_tokens + t, x + t * ldx, dst->n_cols, g);
}

/*
 * Tile after tile, a group of its tokens at a time: so a tile is written once. Who
 * packs the last token clears what is left of its tile.
 */
static void pack_q32_many(enum linnet_act act, const struct linnet_act_buf *dst, const float *x,
			  size_t ldx, size_t t0, size_t t1)
{
	const size_t n = dst->n_cols / 32, tiles = linnet_q32_tiles(dst->n_tokens);
	const size_t end = t1 < dst->n_tokens ? t1 : tiles * LINNET_Q32_TILE;
	struct linnet_q32_group g __attribute__((aligned(64)));

	for (size_t t = t0 / LINNET_Q32_TILE * LINNET_Q32_TILE; t < end; t += LINNET_Q32_TILE) {
		const size_t c0 = t0 > t ? t0 - t : 0;
		const size_t c1 = end - t < LINNET_Q32_TILE ? end - t : LINNET_Q32_TILE;
		struct linnet_q32_tile *chain[LINNET_Q32_CHAINS];

		for (size_t s = 0; s < LINNET_Q32_CHAINS; s++) {
			size_t first = linnet_q32_chain(n, s);
			size_t len = linnet_q32_chain(n, s + 1) - first;

			chain[s] = (struct linnet_q32_tile *)dst->buf + first * tiles +
				   t / LINNET_Q32_TILE * len;
		}
		for (size_t b = 0; b < n; b += 4) {
			const size_t blocks = n - b < 4 ? n - b : 4;

			for (size_t c = c0; c < c1; c++) {
				if (t + c < t1)
					quantize_group(act, &g, x + (t + c) * ldx, dst->n_cols,
						       b / 4);
				else
					memset(&g, 0, sizeof(g));
				for (size_t s = 0; s < blocks; s++) {
					struct linnet_q32_tile *tile = chain[s] + b / 4;

					memcpy(tile->q[c], group_q(&g, s, 0), 16);
					memcpy(tile->q[c] + 16, group_q(&g, s, 1), 16);
					tile->d[c] = g.d[s];
					tile->nsum[c] = g.nsum[s];
					tile->dsum[c] = g.dsum[s];
				}
			}
		}
	}
}

static void pack_f32(const struct linnet_act_buf *dst, const float *x, size_t ldx,
		     size_t t0, size_t t1)
{
	size_t n = dst->n_cols, ld = linnet_f32_ld(n);

	for (size_t t = t0; t < t1; t++) {
		float *y = (float *)dst->buf + t * ld;

		memcpy(y, x + t * ldx, n * sizeof(*y));
		memset(y + n, 0, (ld - n) * sizeof(*y));
	}
}

/* All tokens of super-block 0 come first. */
static void pack_q256(const struct linnet_act_buf *dst, const float *x, size_t ldx,
		      size_t t0, size_t t1)
{
	struct linnet_act256 *a = dst->buf;

	for (size_t t = t0; t < t1; t++)
		for (size_t b = 0; b < dst->n_cols / 256; b++)
			quantize256(a + b * dst->n_tokens + t, x + t * ldx + b * 256);
}

static void act_pack(enum linnet_act act, const struct linnet_act_buf *dst, const float *x,
		     size_t ldx, size_t t0, size_t t1)
{
	switch (act) {
	case LINNET_ACT_F32:
		pack_f32(dst, x, ldx, t0, t1);
		break;
	case LINNET_ACT_Q32:
	case LINNET_ACT_Q32_POW2:
		if (dst->n_tokens <= LINNET_Q32_FEW)
			pack_q32_few(act, dst, x, ldx, t0, t1);
		else
			pack_q32_many(act, dst, x, ldx, t0, t1);
		break;
	case LINNET_ACT_Q256:
		pack_q256(dst, x, ldx, t0, t1);
		break;
	case LINNET_ACT_COUNT:
		break;
	}
}

static size_t q32_bytes(size_t n_cols, size_t n_tokens)
{
	const size_t groups = linnet_q32_groups(n_cols) * sizeof(struct linnet_q32_group);
	size_t tiles;

	if (n_tokens <= LINNET_Q32_FEW)
		return groups * n_tokens;
	tiles = (n_cols / 32 * linnet_q32_tiles(n_tokens) * sizeof(struct linnet_q32_tile) + 63) /
		64 * 64;
	/* in short rows groups are filled in part, and tiles would take less */
	return tiles > groups * LINNET_Q32_FEW ? tiles : groups * LINNET_Q32_FEW;
}

static size_t act_bytes(enum linnet_act act, size_t n_cols, size_t n_tokens)
{
	switch (act) {
	case LINNET_ACT_F32:
		return linnet_f32_ld(n_cols) * n_tokens * sizeof(float);
	case LINNET_ACT_Q32:
	case LINNET_ACT_Q32_POW2:
		return q32_bytes(n_cols, n_tokens);
	case LINNET_ACT_Q256:
		return n_cols / 256 * n_tokens * sizeof(struct linnet_act256);
	case LINNET_ACT_COUNT:
		break;
	}
	return 0;
}

static size_t matmul_scratch(uint32_t type, size_t n_cols, size_t n_tokens)
{
	const struct linnet_type_info *t = linnet_type_info(type);

	switch (t ? t->act : LINNET_ACT_COUNT) {
	case LINNET_ACT_Q32:
	case LINNET_ACT_Q32_POW2:
		return n_tokens <= LINNET_Q32_FEW ? 0 : linnet_q32_scratch(n_cols, n_tokens);
	case LINNET_ACT_Q256:
		return linnet_q256_scratch(n_cols, n_tokens);
	case LINNET_ACT_F32:
	case LINNET_ACT_COUNT:
		break;
	}
	return 0;
}

#endif
