/* SPDX-License-Identifier: MIT */
/* The Q256 part of the AVX-512 level. */
#include "kernels/x86/k_avx512.h"
#include "kernels/fill.h"

#define MATMUL(type)								\
static void matmul_##type(const struct linnet_matmul *mm)			\
{										\
	if (mm->act->n_tokens == 1)						\
		linnet_one_##type##_avx512(mm);					\
	else if (mm->act->n_tokens <= LINNET_Q256_FEW)				\
		linnet_few_##type##_avx512(mm);					\
	else									\
		linnet_many_##type##_avx512(mm);					\
}

MATMUL(q2_k)
MATMUL(q3_k)
MATMUL(q4_k)
MATMUL(q5_k)
MATMUL(q6_k)
MATMUL(iq4_xs)

void linnet_kernels_avx512_k(struct linnet_kernels *k)
{
	k->matmul[LINNET_TYPE_Q2_K] = matmul_q2_k;
	k->matmul[LINNET_TYPE_Q3_K] = matmul_q3_k;
	k->matmul[LINNET_TYPE_Q4_K] = matmul_q4_k;
	k->matmul[LINNET_TYPE_Q5_K] = matmul_q5_k;
	k->matmul[LINNET_TYPE_Q6_K] = matmul_q6_k;
	k->matmul[LINNET_TYPE_IQ4_XS] = matmul_iq4_xs;
}
