/* SPDX-License-Identifier: MIT */
/*
 * The x86 levels. This file is compiled for any x86-64 and only takes addresses;
 * the instructions are in the files named after their level.
 */
#include "kernels/fill.h"

void linnet_kernels_avx2(struct linnet_kernels *k)
{
	linnet_kernels_avx2_mat(k);
	linnet_kernels_avx2_k(k);
	linnet_kernels_avx2_ops(k);
	linnet_kernels_avx2_limits(k);
}

void linnet_kernels_avx512(struct linnet_kernels *k)
{
	linnet_kernels_avx512_mat(k);
	linnet_kernels_avx512_k(k);
	linnet_kernels_avx512_ops(k);
	linnet_kernels_avx512_limits(k);
}
