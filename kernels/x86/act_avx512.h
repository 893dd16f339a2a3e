/* SPDX-License-Identifier: MIT */
/*
 * Activations of the AVX-512 level, by act: layouts of act_layout.h for F32 and Q32,
 * with elements 0..15 of the 4 blocks of a group first and elements 16..31 after
 * them; Q256 is private to the files of the K types.
 */
#ifndef LINNET_KERNELS_X86_ACT_AVX512_H
#define LINNET_KERNELS_X86_ACT_AVX512_H

#include "kernels/act_layout.h"

#define LINNET_Q32_FEW		16	/* tokens up to which the layout is "few" */

/*
 * Scratch of the products of many tokens: as many panels of 32 rows as fit well in
 * the second-level cache beside the activations; one for few tiles, since there is
 * little to gain from the panels then.
 */
#define LINNET_Q32_PANEL_BLOCK	(24 * 64)	/* bytes of a block of a panel at most */
#define LINNET_Q32_PANELS	4		/* at most */

static inline size_t linnet_q32_panels(size_t n_cols, size_t n_tokens)
{
	size_t n = n_cols ? (768u << 10) / (n_cols / 32 * LINNET_Q32_PANEL_BLOCK) : 1;

	if (n < 1 || n_tokens <= 2 * LINNET_Q32_TILE)
		return 1;
	return n < LINNET_Q32_PANELS ? n : LINNET_Q32_PANELS;
}

static inline size_t linnet_q32_scratch(size_t n_cols, size_t n_tokens)
{
	return linnet_q32_panels(n_cols, n_tokens) * (n_cols / 32) * LINNET_Q32_PANEL_BLOCK;
}

#endif
