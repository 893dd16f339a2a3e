/* SPDX-License-Identifier: MIT */
/*
 * The x86 levels. This file is compiled for any x86-64 and only takes addresses;
 * the instructions are in the files named after their level.
 */
#include "kernels/fill.h"
#include "kernels/x86/vnni.h"

void linnet_kernels_avx2(struct linnet_kernels *k)
{
	linnet_kernels_avx2_mat(k);
	linnet_kernels_avx2_k(k);
	linnet_kernels_avx2_ops(k);
	linnet_kernels_limits_avx2(k);
}

/* On top of avx2, whose activations its products read */
void linnet_kernels_avxvnni(struct linnet_kernels *k)
{
	LINNET_VNNI_TYPES(LINNET_VNNI_FILL_avxvnni)
	linnet_kernels_limits_avxvnni(k);
}

void linnet_kernels_avx512(struct linnet_kernels *k)
{
	linnet_kernels_avx512_mat(k);
	linnet_kernels_avx512_k(k);
	linnet_kernels_avx512_ops(k);
	linnet_kernels_avx512_limits(k);
}
