/* SPDX-License-Identifier: MIT */
/*
 * Activations of the AArch64 levels, by act: layouts of act_layout.h for F32 and Q32,
 * with the q of a group in order; below for Q256. Those of many tokens have a layout of
 * their own on levels with products of bytes. And the panels into which the weights of
 * the Q32 types are unpacked for many tokens.
 */
#ifndef LINNET_KERNELS_ARM_ACT_H
#define LINNET_KERNELS_ARM_ACT_H

#include "kernels/act_layout.h"

#define LINNET_Q32_FEW		4	/* tokens up to which the layout is "few" */
#define LINNET_ARM_PANEL_ROWS	8

/* One super-block of one token; all tokens of super-block 0 come first. */
struct linnet_act256 {
	int8_t q[256];
	int16_t sum[16];	/* of 16 q */
	float d;
	uint8_t pad[28];
} __attribute__((aligned(64)));

#define LINNET_ARM_Q256_FEW	3	/* tokens up to which they are kept one by one */
#define LINNET_ARM_Q256_TILE	4

/*
 * One super-block of 4 tokens; all tokens of super-block 0 come first, and those that are
 * missing in the last tile are zero. Byte 8r + i of q[k][p] is element 8k + i of token
 * 2p + r. Sums of 32 and of 16 q, in digits: 128 times the first and the second, which is
 * not negative. They are laid out as elements are.
 */
struct linnet_arm_tile256 {
	int8_t q[32][2][16];
	int8_t sum32[2][2][16];
	int8_t sum16[2][2][2][16];
	float d[LINNET_ARM_Q256_TILE];
	uint8_t pad[48];
} __attribute__((aligned(64)));

/* Rooms in the scratch of many tokens: panels of 8 rows, and chains of a panel and a tile */
#define LINNET_ARM_Q256_PANELS	4
#define LINNET_ARM_Q256_PANEL	3328
#define LINNET_ARM_Q256_CHAINS	128

static inline size_t linnet_arm_tiles256(size_t n_tokens)
{
	return (n_tokens + LINNET_ARM_Q256_TILE - 1) / LINNET_ARM_Q256_TILE;
}

/*
 * A block of 8 rows: byte 4r + i of q[k][h] is element 4k + i of row 4h + r. With SMMLA
 * byte 8r + i of q[2k + p / 2][p % 2] is element 8k + i of row 2p + r.
 */
struct linnet_arm_panel_block {
	int8_t q[8][2][16];
	float d[8], m[8];
};

/* Panels that are unpacked at once: they stay near while all tokens meet them. */
static inline size_t linnet_arm_panels(size_t n_cols)
{
	size_t n = n_cols ? (96u << 10) / (n_cols / 32 * sizeof(struct linnet_arm_panel_block)) : 1;

	return n ? n : 1;
}

static inline size_t linnet_q32_scratch(size_t n_cols, size_t n_tokens)
{
	return linnet_arm_panels(n_cols) * (n_cols / 32) * sizeof(struct linnet_arm_panel_block);
}

static inline size_t linnet_q256_scratch(size_t n_cols, size_t n_tokens)
{
	return 0;
}

#endif
