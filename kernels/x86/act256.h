/* SPDX-License-Identifier: MIT */
/* Q256 activations of the x86 levels. */
#ifndef LINNET_KERNELS_X86_ACT256_H
#define LINNET_KERNELS_X86_ACT256_H

#include "kernels/kernels.h"

/*
 * One super-block of one token; all tokens of super-block 0 come first. AVX2 has no use
 * for off16, off32, off4 and sum256 and leaves them as they are.
 */
struct linnet_act256 {
	int32_t q[64];		/* four int8 each */
	int32_t off16[16];	/* -32 * sums of 16 q, for types whose integers are signed */
	int32_t off32[8];	/* -128 * sums of 32 q */
	int32_t off4[16];	/* -4 * sums of 16 q */
	int16_t sum16[16];	/* sums of 16 q, for minima */
	int16_t sum32[8];
	float d;
	int32_t sum256;
	uint32_t pad[10];
} __attribute__((aligned(64)));

#endif
