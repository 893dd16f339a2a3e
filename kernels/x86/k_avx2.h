/* SPDX-License-Identifier: MIT */
/* The super-block types (Q256) on AVX2. */
#ifndef LINNET_KERNELS_X86_K_AVX2_H
#define LINNET_KERNELS_X86_K_AVX2_H

#include "kernels/x86/act256.h"

#define LINNET_Q256_FEW		4	/* tokens up to which weights stay in registers */

/* Panels of many tokens: 16 rows of a super-block, unpacked, and their chains; so many at once. */
#define LINNET_Q256_PANELS	2
#define LINNET_Q256_PANEL	(324 * 32)
#define LINNET_Q256_CHAINS	(2 * 32)	/* of a token */
#define LINNET_Q256_ONE		608	/* a super-block of a token, where there are few; */
					/* of a single one up to twice as much */

static inline size_t linnet_q256_scratch(size_t n_cols, size_t n_tokens)
{
	const size_t tokens = n_tokens < LINNET_Q256_FEW ? n_tokens : LINNET_Q256_FEW;
	const size_t few = n_cols / 256 * (tokens < 2 ? 2 : tokens) * LINNET_Q256_ONE;
	const size_t many = LINNET_Q256_PANELS * (LINNET_Q256_PANEL + n_tokens * LINNET_Q256_CHAINS);

	return n_tokens <= LINNET_Q256_FEW || few > many ? few : many;
}

void linnet_matmul_q2_k_avx2(const struct linnet_matmul *mm);
void linnet_matmul_q3_k_avx2(const struct linnet_matmul *mm);
void linnet_matmul_q4_k_avx2(const struct linnet_matmul *mm);
void linnet_matmul_q5_k_avx2(const struct linnet_matmul *mm);
void linnet_matmul_q6_k_avx2(const struct linnet_matmul *mm);
void linnet_matmul_iq4_xs_avx2(const struct linnet_matmul *mm);

/* Two to LINNET_Q256_FEW tokens of weights with a sign that stay bytes */
void linnet_few_iq4_xs_avx2(const struct linnet_matmul *mm);

/* One token, and more than LINNET_Q256_FEW */
#define LINNET_Q256_DECLARE(type)						\
	void linnet_one_##type##_avx2(const struct linnet_matmul *mm);		\
	void linnet_one_##type##_avxvnni(const struct linnet_matmul *mm);	\
	void linnet_one_##type##_evexvnni(const struct linnet_matmul *mm);	\
	void linnet_many_##type##_avx2(const struct linnet_matmul *mm);		\
	void linnet_many_##type##_avxvnni(const struct linnet_matmul *mm);	\
	void linnet_many_##type##_evexvnni(const struct linnet_matmul *mm);

LINNET_Q256_DECLARE(q2_k)
LINNET_Q256_DECLARE(q3_k)
LINNET_Q256_DECLARE(q4_k)
LINNET_Q256_DECLARE(q5_k)
LINNET_Q256_DECLARE(q6_k)
LINNET_Q256_DECLARE(iq4_xs)

#endif
