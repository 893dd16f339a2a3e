/* SPDX-License-Identifier: MIT */
/*
 * Packing of the layouts in act_layout.h, written once for all levels. The file of a
 * level defines quantize4(group, x), which quantizes 128 floats as the 4 blocks of a
 * group, and group_q(group, b, half), where it put 16 elements of block b, and
 * includes this file.
 */
#ifndef LINNET_KERNELS_X86_ACT_PACK_H
#define LINNET_KERNELS_X86_ACT_PACK_H

#include "kernels/x86/act_layout.h"

#include <string.h>

/* Group g of a row of n_cols */
static inline void quantize_group(struct linnet_q32_group *dst, const float *x, size_t n_cols,
				  size_t g)
{
	float tail[128];

	if ((g + 1) * 128 <= n_cols) {
		quantize4(dst, x + g * 128);
		return;
	}
	memset(tail, 0, sizeof(tail));
	memcpy(tail, x + g * 128, (n_cols - g * 128) * sizeof(*x));
	quantize4(dst, tail);
}

static void pack_q32_few(const struct linnet_act_buf *dst, const float *x, size_t ldx,
			 size_t t0, size_t t1)
{
	size_t n = linnet_q32_groups(dst->n_cols);

	for (size_t t = t0; t < t1; t++)
		for (size_t g = 0; g < n; g++)
			quantize_group((struct linnet_q32_group *)dst->buf + g * dst->n_tokens + t,
				       x + t * ldx, dst->n_cols, g);
}

/* The tile that holds block b of token t */
static inline struct linnet_q32_tile *tile_of(const struct linnet_act_buf *dst, size_t b, size_t t)
{
	size_t n = dst->n_cols / 32, s = b % LINNET_Q32_CHAINS;
	size_t first = linnet_q32_chain(n, s), len = linnet_q32_chain(n, s + 1) - first;

	return (struct linnet_q32_tile *)dst->buf + first * linnet_q32_tiles(dst->n_tokens) +
	       t / LINNET_Q32_TILE * len + b / LINNET_Q32_CHAINS;
}

static void pack_q32_many(const struct linnet_act_buf *dst, const float *x, size_t ldx,
			  size_t t0, size_t t1)
{
	size_t n = dst->n_cols / 32;
	size_t end = t1 < dst->n_tokens ? t1 : linnet_q32_tiles(t1) * LINNET_Q32_TILE;

	for (size_t t = t0; t < end; t++) {
		struct linnet_q32_group g __attribute__((aligned(64)));
		size_t c = t % LINNET_Q32_TILE;

		memset(&g, 0, sizeof(g));
		for (size_t b = 0; b < n; b++) {
			struct linnet_q32_tile *tile = tile_of(dst, b, t);

			if (b % 4 == 0 && t < t1)
				quantize_group(&g, x + t * ldx, dst->n_cols, b / 4);
			memcpy(tile->q[c], group_q(&g, b % 4, 0), 16);
			memcpy(tile->q[c] + 16, group_q(&g, b % 4, 1), 16);
			tile->d[c] = g.d[b % 4];
			tile->nsum[c] = g.nsum[b % 4];
			tile->dsum[c] = g.dsum[b % 4];
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
		     size_t t0, size_t t1, size_t few)
{
	if (dst->n_tokens <= few)
		pack_q32_few(dst, x, ldx, t0, t1);
	else
		pack_q32_many(dst, x, ldx, t0, t1);
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
