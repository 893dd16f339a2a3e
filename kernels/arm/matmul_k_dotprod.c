/* SPDX-License-Identifier: MIT */
/* Products of the Q256 types, level dotprod. */
#include "kernels/arm/matmul_k.h"

void linnet_arm_k_dotprod(struct linnet_kernels *k)
{
	fill_k(k);
}
