/* SPDX-License-Identifier: MIT */
/*
 * Packing of the layouts in act_layout.h, written once for all levels. The file of a
 * level defines quantize4(group, x, pow2), which quantizes 128 floats as the 4 blocks of a
 * group, with pow2 as LINNET_ACT_Q32_POW2 and else as LINNET_ACT_Q32, and
 * group_q(group, b, half), where it put 16 elements of block b, and includes this file.
 */
#ifndef LINNET_KERNELS_ACT_PACK_H
#define LINNET_KERNELS_ACT_PACK_H

#include "kernels/act_layout.h"

#include <stdbool.h>
#include <string.h>

/* Group g of a row of n_cols */
static inline void quantize_group(struct linnet_q32_group *dst, const float *x, size_t n_cols,
				  size_t g, bool pow2)
{
	float tail[128];

	if ((g + 1) * 128 <= n_cols) {
		quantize4(dst, x + g * 128, pow2);
		return;
	}
	memset(tail, 0, sizeof(tail));
	memcpy(tail, x + g * 128, (n_cols - g * 128) * sizeof(*x));
	quantize4(dst, tail, pow2);
}

static void pack_q32_few(const struct linnet_act_buf *dst, const float *x, size_t ldx,
			 size_t t0, size_t t1, bool pow2)
{
	size_t n = linnet_q32_groups(dst->n_cols);

	for (size_t t = t0; t < t1; t++)
		for (size_t g = 0; g < n; g++)
			quantize_group((struct linnet_q32_group *)dst->buf + g * dst->n_tokens + t,
				       x + t * ldx, dst->n_cols, g, pow2);
}

/*
 * Tile after tile, a group of its tokens at a time: so a tile is written once. Who
 * packs the last token clears what is left of its tile.
 */
static void pack_q32_many(const struct linnet_act_buf *dst, const float *x, size_t ldx,
			  size_t t0, size_t t1, bool pow2)
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
					quantize_group(&g, x + (t + c) * ldx, dst->n_cols, b / 4, pow2);
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

static size_t q32_bytes(size_t n_cols, size_t n_tokens, size_t few)
{
	const size_t groups = linnet_q32_groups(n_cols) * sizeof(struct linnet_q32_group);
	size_t tiles;

	if (n_tokens <= few)
		return groups * n_tokens;
	tiles = (n_cols / 32 * linnet_q32_tiles(n_tokens) * sizeof(struct linnet_q32_tile) + 63) /
		64 * 64;
	/* in short rows groups are filled in part, and tiles would take less */
	return tiles > groups * few ? tiles : groups * few;
}

static void pack_q32(const struct linnet_act_buf *dst, const float *x, size_t ldx,
		     size_t t0, size_t t1, size_t few, bool pow2)
{
	if (dst->n_tokens <= few)
		pack_q32_few(dst, x, ldx, t0, t1, pow2);
	else
		pack_q32_many(dst, x, ldx, t0, t1, pow2);
}

static size_t f32_bytes(size_t n_cols, size_t n_tokens)
{
	return linnet_f32_ld(n_cols) * n_tokens * sizeof(float);
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

#endif
