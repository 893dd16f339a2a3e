/* SPDX-License-Identifier: MIT */
/*
 * Activations and products of the x86 levels, see fill.h. Compiled for any x86-64:
 * addresses alone.
 */
#include "kernels/fill.h"
#include "kernels/x86/k_avx2.h"
#include "kernels/x86/mat_avx2.h"
#include "kernels/x86/mat_avx512.h"

void linnet_kernels_avx2_mat(struct linnet_kernels *k)
{
	linnet_fill_act(k, &linnet_act_avx2);
	k->row_granule = 32;
	k->piece_work = 256 << 20;

	k->matmul[LINNET_TYPE_F32] = linnet_matmul_f32_avx2;
	k->matmul[LINNET_TYPE_F16] = linnet_matmul_f16_avx2;
	k->matmul[LINNET_TYPE_BF16] = linnet_matmul_bf16_avx2;
	k->matmul[LINNET_TYPE_Q4_0] = linnet_matmul_q4_0_avx2;
	k->matmul[LINNET_TYPE_Q4_1] = linnet_matmul_q4_1_avx2;
	k->matmul[LINNET_TYPE_Q5_0] = linnet_matmul_q5_0_avx2;
	k->matmul[LINNET_TYPE_Q5_1] = linnet_matmul_q5_1_avx2;
	k->matmul[LINNET_TYPE_Q8_0] = linnet_matmul_q8_0_avx2;
	k->matmul[LINNET_TYPE_IQ4_NL] = linnet_matmul_iq4_nl_avx2;
	k->matmul[LINNET_TYPE_MXFP4] = linnet_matmul_mxfp4_avx2;
}

void linnet_kernels_avx2_k(struct linnet_kernels *k)
{
	k->matmul[LINNET_TYPE_Q2_K] = linnet_matmul_q2_k_avx2;
	k->matmul[LINNET_TYPE_Q3_K] = linnet_matmul_q3_k_avx2;
	k->matmul[LINNET_TYPE_Q4_K] = linnet_matmul_q4_k_avx2;
	k->matmul[LINNET_TYPE_Q5_K] = linnet_matmul_q5_k_avx2;
	k->matmul[LINNET_TYPE_Q6_K] = linnet_matmul_q6_k_avx2;
	k->matmul[LINNET_TYPE_IQ4_XS] = linnet_matmul_iq4_xs_avx2;
}

void linnet_kernels_avx512_mat(struct linnet_kernels *k)
{
	linnet_fill_act(k, &linnet_act_avx512);
	k->row_granule = 32;
	k->piece_work = 512 << 20;

	k->matmul[LINNET_TYPE_F32] = linnet_matmul_f32_avx512;
	k->matmul[LINNET_TYPE_F16] = linnet_matmul_f16_avx512;
	k->matmul[LINNET_TYPE_BF16] = linnet_matmul_bf16_avx512;
	k->matmul[LINNET_TYPE_Q4_0] = linnet_matmul_q4_0_avx512;
	k->matmul[LINNET_TYPE_Q4_1] = linnet_matmul_q4_1_avx512;
	k->matmul[LINNET_TYPE_Q5_0] = linnet_matmul_q5_0_avx512;
	k->matmul[LINNET_TYPE_Q5_1] = linnet_matmul_q5_1_avx512;
	k->matmul[LINNET_TYPE_Q8_0] = linnet_matmul_q8_0_avx512;
	k->matmul[LINNET_TYPE_IQ4_NL] = linnet_matmul_iq4_nl_avx512;
	k->matmul[LINNET_TYPE_MXFP4] = linnet_matmul_mxfp4_avx512;
}
