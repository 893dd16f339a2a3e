/* SPDX-License-Identifier: MIT */
/*
 * Activations of the AVX2 level, by act: layouts of act_layout.h for F32 and Q32, with
 * elements 0..15 of blocks 0 and 1 of a group, their elements 16..31, and then blocks
 * 2 and 3 likewise. Q256 is in act256.h.
 */
#ifndef LINNET_KERNELS_X86_ACT_AVX2_H
#define LINNET_KERNELS_X86_ACT_AVX2_H

#include "kernels/act_layout.h"

#define LINNET_Q32_FEW		4	/* tokens up to which the layout is "few" */

/* A panel of 16 rows, and as many as fit the second-level cache of a small core, chain by chain */
#define LINNET_Q32_PANEL_BLOCK	(36 * 32)
#define LINNET_Q32_WIDE_TOKENS	(9 * 32)	/* a block of a tile's tokens in 16 bits */

static inline size_t linnet_q32_panels(size_t n_cols, size_t n_tokens)
{
	const size_t chain = linnet_q32_groups(n_cols) * LINNET_Q32_PANEL_BLOCK;
	const size_t n = chain ? (192u << 10) / chain : 1;

	if (n < 1 || n_tokens <= 2 * LINNET_Q32_TILE)
		return 1;
	return n < 8 ? n : 8;
}

static inline size_t linnet_q32_scratch(size_t n_cols, size_t n_tokens)
{
	return linnet_q32_panels(n_cols, n_tokens) * (n_cols / 32) * LINNET_Q32_PANEL_BLOCK +
	       linnet_q32_groups(n_cols) * LINNET_Q32_WIDE_TOKENS;
}

#endif
