/* SPDX-License-Identifier: MIT */
/* What a machine of the level neon could do. */
#include "kernels/arm/limits.h"

void linnet_arm_limits_neon(struct linnet_kernels *k)
{
	fill_limits(k);
}
