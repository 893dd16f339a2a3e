/* SPDX-License-Identifier: MIT */
/* Products of the Q256 types, level neon. */
#include "kernels/arm/matmul_k.h"

void linnet_arm_k_neon(struct linnet_kernels *k)
{
	fill_k(k);
}
