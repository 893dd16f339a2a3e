/* SPDX-License-Identifier: MIT */
/*
 * Products of Q4_0 weights, AVX-512. Nibbles as they are, biased by 8.
 */
#include "kernels/blocks.h"
#include "kernels/x86/mat_avx512.h"

#define BLOCK_BYTES	sizeof(struct linnet_block_q4_0)
#define QUANTS_AT	2
#define BIAS_SHIFT	3
#define HALF_SCALE	1

#include "kernels/x86/nibbles_avx512.h"
#include "kernels/x86/matmul_q32_avx512.h"

void linnet_matmul_q4_0_avx512(const struct linnet_matmul *mm)
{
	matmul_q32(mm);
}
