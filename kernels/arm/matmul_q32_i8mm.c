/* SPDX-License-Identifier: MIT */
/* Products of the Q32 types, level i8mm. */
#include "kernels/arm/matmul_q32.h"

void linnet_arm_q32_i8mm(struct linnet_kernels *k)
{
	fill_q32(k);
}
