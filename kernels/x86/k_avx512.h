/* SPDX-License-Identifier: MIT */
/*
 * The super-block types (Q256) on AVX-512: one_k_avx512.c, few_k_avx512.c and
 * many_k_avx512.c say how the products work.
 */
#ifndef LINNET_KERNELS_X86_K_AVX512_H
#define LINNET_KERNELS_X86_K_AVX512_H

#include "kernels/x86/act256.h"

#define LINNET_Q256_FEW	16	/* tokens that products from registers are made for */
#define LINNET_Q256_ONE		4672	/* scratch for four super-blocks of a single token */

/* One token */
void linnet_one_q2_k_avx512(const struct linnet_matmul *mm);
void linnet_one_q3_k_avx512(const struct linnet_matmul *mm);
void linnet_one_q4_k_avx512(const struct linnet_matmul *mm);
void linnet_one_q5_k_avx512(const struct linnet_matmul *mm);
void linnet_one_q6_k_avx512(const struct linnet_matmul *mm);
void linnet_one_iq4_xs_avx512(const struct linnet_matmul *mm);

/* 2 to LINNET_Q256_FEW tokens; no scratch */
void linnet_few_q2_k_avx512(const struct linnet_matmul *mm);
void linnet_few_q3_k_avx512(const struct linnet_matmul *mm);
void linnet_few_q4_k_avx512(const struct linnet_matmul *mm);
void linnet_few_q5_k_avx512(const struct linnet_matmul *mm);
void linnet_few_q6_k_avx512(const struct linnet_matmul *mm);
void linnet_few_iq4_xs_avx512(const struct linnet_matmul *mm);

/* Any number of tokens */
size_t linnet_many_k_scratch_avx512(size_t n_tokens);
void linnet_many_q2_k_avx512(const struct linnet_matmul *mm);
void linnet_many_q3_k_avx512(const struct linnet_matmul *mm);
void linnet_many_q4_k_avx512(const struct linnet_matmul *mm);
void linnet_many_q5_k_avx512(const struct linnet_matmul *mm);
void linnet_many_q6_k_avx512(const struct linnet_matmul *mm);
void linnet_many_iq4_xs_avx512(const struct linnet_matmul *mm);

static inline size_t linnet_q256_scratch(size_t n_cols, size_t n_tokens)
{
	const size_t one = (n_cols / 256 + 3) / 4 * LINNET_Q256_ONE;
	const size_t many = linnet_many_k_scratch_avx512(n_tokens);

	return n_tokens <= LINNET_Q256_FEW || one > many ? one : many;
}

#endif
