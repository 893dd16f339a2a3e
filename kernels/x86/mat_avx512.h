/* SPDX-License-Identifier: MIT */
/* Activations and products of the AVX-512 level; one file per type. */
#ifndef LINNET_KERNELS_X86_MAT_AVX512_H
#define LINNET_KERNELS_X86_MAT_AVX512_H

#include "kernels/kernels.h"

size_t linnet_act_bytes_avx512(enum linnet_act act, size_t n_cols, size_t n_tokens);
void linnet_act_pack_avx512(enum linnet_act act, const struct linnet_act_buf *dst,
			    const float *x, size_t ldx, size_t t0, size_t t1);
size_t linnet_matmul_scratch_avx512(uint32_t type, size_t n_cols, size_t n_tokens);

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
