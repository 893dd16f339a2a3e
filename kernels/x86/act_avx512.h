/* SPDX-License-Identifier: MIT */
/*
 * Activations of the AVX-512 level, by act. The layout of Q32 depends on the number
 * of tokens, because few tokens want the weights unpacked in their file order and
 * many want them in panels:
 *
 *	n_tokens <= LINNET_Q32_FEW: per 4 blocks, per token a struct linnet_q32_group
 *	more: per chain (blocks s mod 4), per tile of 8 tokens, per block of the chain a
 *	struct linnet_q32_tile
 *
 * F32 is rows of floats, padded with zeros to a multiple of 16. What is missing in
 * the last group or tile is zero. Q256 is private to the files of the K types.
 */
#ifndef LINNET_KERNELS_X86_ACT_AVX512_H
#define LINNET_KERNELS_X86_ACT_AVX512_H

#include "kernels/kernels.h"

#define LINNET_Q32_FEW		8
#define LINNET_Q32_TILE		8
#define LINNET_Q32_CHAINS	4

/* Three cache lines for 128 columns: it has to stay in L1 while weights stream through. */
struct linnet_q32_group {
	int8_t lo[4][16];	/* elements 0..15 of blocks 0..3 */
	int8_t hi[4][16];	/* elements 16..31 */
	int32_t nsum[4];	/* -asum */
	float d[4];
	float dsum[4];		/* d * (float)asum */
	float pad[4];
};

struct linnet_q32_tile {
	int8_t q[LINNET_Q32_TILE][32];
	float d[LINNET_Q32_TILE];
	int32_t nsum[LINNET_Q32_TILE];
	float dsum[LINNET_Q32_TILE];
};

static inline size_t linnet_q32_groups(size_t n_cols)
{
	return (n_cols / 32 + 3) / 4;
}

static inline size_t linnet_q32_tiles(size_t n_tokens)
{
	return (n_tokens + LINNET_Q32_TILE - 1) / LINNET_Q32_TILE;
}

/* Blocks of the chains before s, of n_blocks in all: where chain s begins in a panel. */
static inline size_t linnet_q32_chain(size_t n_blocks, size_t s)
{
	size_t more = n_blocks % LINNET_Q32_CHAINS;

	return n_blocks / LINNET_Q32_CHAINS * s + (s < more ? s : more);
}

/*
 * Scratch of the products of many tokens: as many panels of 32 rows as fit well in
 * the second-level cache beside the activations; one for few tiles, since there is
 * little to gain from the panels then.
 */
#define LINNET_Q32_PANEL_BLOCK	(20 * 64)	/* bytes of a block of a panel at most */

static inline size_t linnet_q32_panels(size_t n_cols, size_t n_tokens)
{
	size_t n = n_cols ? (600u << 10) / (n_cols / 32 * LINNET_Q32_PANEL_BLOCK) : 1;

	if (n < 1 || n_tokens <= 2 * LINNET_Q32_TILE)
		return 1;
	return n < 8 ? n : 8;
}

static inline size_t linnet_q32_scratch(size_t n_cols, size_t n_tokens)
{
	if (n_tokens <= LINNET_Q32_FEW)
		return 0;
	return linnet_q32_panels(n_cols, n_tokens) * (n_cols / 32) * LINNET_Q32_PANEL_BLOCK;
}

/* Floats between tokens of F32 activations */
static inline size_t linnet_f32_ld(size_t n_cols)
{
	return (n_cols + 15) / 16 * 16;
}

size_t linnet_act_bytes_avx512(enum linnet_act act, size_t n_cols, size_t n_tokens);
void linnet_act_pack_avx512(enum linnet_act act, const struct linnet_act_buf *dst,
			    const float *x, size_t ldx, size_t t0, size_t t1);
size_t linnet_matmul_scratch_avx512(uint32_t type, size_t n_cols, size_t n_tokens);

#endif
