/* SPDX-License-Identifier: MIT */
/* What a machine of the level i8mm could do. */
#include "kernels/arm/limits.h"

void linnet_arm_limits_i8mm(struct linnet_kernels *k)
{
	fill_limits(k);
}
