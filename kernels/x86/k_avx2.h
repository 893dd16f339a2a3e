/* SPDX-License-Identifier: MIT */
/* The super-block types (Q256) on AVX2. */
#ifndef LINNET_KERNELS_X86_K_AVX2_H
#define LINNET_KERNELS_X86_K_AVX2_H

#include "kernels/x86/act256.h"

void linnet_q256_pack_avx2(const struct linnet_act_buf *dst, const float *x, size_t ldx,
			   size_t t0, size_t t1);

void linnet_matmul_q2_k_avx2(const struct linnet_matmul *mm);
void linnet_matmul_q3_k_avx2(const struct linnet_matmul *mm);
void linnet_matmul_q4_k_avx2(const struct linnet_matmul *mm);
void linnet_matmul_q5_k_avx2(const struct linnet_matmul *mm);
void linnet_matmul_q6_k_avx2(const struct linnet_matmul *mm);
void linnet_matmul_iq4_xs_avx2(const struct linnet_matmul *mm);

#endif
