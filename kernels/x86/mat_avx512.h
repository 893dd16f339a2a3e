/* SPDX-License-Identifier: MIT */
/* Activations and products of the AVX-512 level; one file per type. */
#ifndef LINNET_KERNELS_X86_MAT_AVX512_H
#define LINNET_KERNELS_X86_MAT_AVX512_H

#include "kernels/act_layout.h"

extern const struct linnet_act_ops linnet_act_avx512;

void linnet_matmul_f32_avx512(const struct linnet_matmul *mm);
void linnet_matmul_f16_avx512(const struct linnet_matmul *mm);
void linnet_matmul_bf16_avx512(const struct linnet_matmul *mm);
void linnet_matmul_q4_0_avx512(const struct linnet_matmul *mm);
void linnet_matmul_q4_1_avx512(const struct linnet_matmul *mm);
void linnet_matmul_q5_0_avx512(const struct linnet_matmul *mm);
void linnet_matmul_q5_1_avx512(const struct linnet_matmul *mm);
void linnet_matmul_q8_0_avx512(const struct linnet_matmul *mm);
void linnet_matmul_iq4_nl_avx512(const struct linnet_matmul *mm);
void linnet_matmul_mxfp4_avx512(const struct linnet_matmul *mm);

#endif
