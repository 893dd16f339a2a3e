/* SPDX-License-Identifier: MIT */
/* Products of the Q256 types, level i8mm. */
#include "kernels/arm/matmul_k.h"

void linnet_arm_k_i8mm(struct linnet_kernels *k)
{
	fill_k(k);
}
