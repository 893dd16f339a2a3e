/* SPDX-License-Identifier: MIT */
/*
 * Products of IQ4_NL weights, AVX-512. Nibbles pick from the table of values, biased by 128.
 */
#include "kernels/blocks.h"
#include "kernels/x86/mat_avx512.h"

#define BLOCK_BYTES	sizeof(struct linnet_block_iq4_nl)
#define QUANTS_AT	2
#define BIAS_SHIFT	7
#define HALF_SCALE	1
#define VALUE(i)	((char)(linnet_iq4_values[i] + 128))

#include "kernels/x86/nibbles_avx512.h"
#include "kernels/x86/matmul_q32_avx512.h"

void linnet_matmul_iq4_nl_avx512(const struct linnet_matmul *mm)
{
	matmul_q32(mm);
}
