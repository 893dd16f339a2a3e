/* SPDX-License-Identifier: MIT */
/*
 * Layouts of the F32 and Q32 activations that the vector levels share. That of Q32
 * depends on the number of tokens, because few tokens want the weights unpacked in
 * their file order and many want them in panels:
 *
 *	few:  per 4 blocks, per token a struct linnet_q32_group
 *	many: per chain (blocks s mod 4), per tile of 8 tokens, per block of the chain a
 *	      struct linnet_q32_tile
 *
 * F32 is rows of floats, padded with zeros to a multiple of 16. What is missing in
 * the last group or tile is zero.
 */
#ifndef LINNET_KERNELS_ACT_LAYOUT_H
#define LINNET_KERNELS_ACT_LAYOUT_H

#include "kernels/kernels.h"

#define LINNET_Q32_TILE		8
#define LINNET_Q32_CHAINS	4

/* Three cache lines for 128 columns: it has to stay in L1 while weights stream through. */
struct linnet_q32_group {
	int8_t q[128];		/* of 4 blocks, in an order that the level chooses */
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

/* The entries of the table that follow from a level's layouts: act_pack.h makes them. */
struct linnet_act_ops {
	size_t (*bytes)(enum linnet_act act, size_t n_cols, size_t n_tokens);
	void (*pack)(enum linnet_act act, const struct linnet_act_buf *dst, const float *x,
		     size_t ldx, size_t t0, size_t t1);
	size_t (*scratch)(uint32_t type, size_t n_cols, size_t n_tokens);
};

static inline void linnet_fill_act(struct linnet_kernels *k, const struct linnet_act_ops *ops)
{
	k->act_bytes = ops->bytes;
	k->act_pack = ops->pack;
	k->act_granule = LINNET_Q32_TILE;
	k->matmul_scratch = ops->scratch;
}

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

/* Floats between tokens of F32 activations */
static inline size_t linnet_f32_ld(size_t n_cols)
{
	return (n_cols + 15) / 16 * 16;
}

#endif
