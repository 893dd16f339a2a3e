/* SPDX-License-Identifier: MIT */
/*
 * The super-block types (Q256) on AVX-512: the layout of their activations and the
 * products. few_k_avx512.c and many_k_avx512.c say how they work.
 */
#ifndef LINNET_KERNELS_X86_K_AVX512_H
#define LINNET_KERNELS_X86_K_AVX512_H

#include "kernels/kernels.h"

/* One super-block of one token. All tokens of super-block 0 come first. */
struct linnet_act256 {
	int32_t q[64];		/* four int8 each */
	int32_t off16[16];	/* -32 * sums of 16 q, for types whose integers are signed */
	int32_t off32[8];	/* -128 * sums of 32 q */
	int16_t sum16[16];	/* sums of 16 q, for minima */
	int16_t sum32[8];
	float d;
	int32_t sum256;
	uint32_t pad[10];
} __attribute__((aligned(64)));

#define LINNET_Q256_FEW	4	/* tokens that products from registers are made for */

size_t linnet_q256_bytes_avx512(size_t n_cols, size_t n_tokens);
void linnet_q256_pack_avx512(const struct linnet_act_buf *dst, const float *x, size_t ldx,
			     size_t t0, size_t t1);
size_t linnet_q256_scratch_avx512(size_t n_tokens);

/* Up to LINNET_Q256_FEW tokens; no scratch */
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

#endif
