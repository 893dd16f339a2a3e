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

static inline size_t linnet_q256_scratch(size_t n_tokens)
{
	return LINNET_Q256_PANELS * (LINNET_Q256_PANEL + n_tokens * LINNET_Q256_CHAINS);
}

void linnet_q256_pack_avx2(const struct linnet_act_buf *dst, const float *x, size_t ldx,
			   size_t t0, size_t t1);

void linnet_matmul_q2_k_avx2(const struct linnet_matmul *mm);
void linnet_matmul_q3_k_avx2(const struct linnet_matmul *mm);
void linnet_matmul_q4_k_avx2(const struct linnet_matmul *mm);
void linnet_matmul_q5_k_avx2(const struct linnet_matmul *mm);
void linnet_matmul_q6_k_avx2(const struct linnet_matmul *mm);
void linnet_matmul_iq4_xs_avx2(const struct linnet_matmul *mm);

/* More than LINNET_Q256_FEW tokens */
#define LINNET_Q256_DECLARE_MANY(type)						\
	void linnet_many_##type##_avx2(const struct linnet_matmul *mm);		\
	void linnet_many_##type##_avxvnni(const struct linnet_matmul *mm);	\
	void linnet_many_##type##_evexvnni(const struct linnet_matmul *mm);

LINNET_Q256_DECLARE_MANY(q2_k)
LINNET_Q256_DECLARE_MANY(q3_k)
LINNET_Q256_DECLARE_MANY(q4_k)
LINNET_Q256_DECLARE_MANY(q5_k)
LINNET_Q256_DECLARE_MANY(q6_k)
LINNET_Q256_DECLARE_MANY(iq4_xs)

#endif
