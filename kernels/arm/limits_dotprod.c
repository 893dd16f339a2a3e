/* SPDX-License-Identifier: MIT */
/* What a machine of the level dotprod could do. */
#include "kernels/arm/limits.h"

void linnet_arm_limits_dotprod(struct linnet_kernels *k)
{
	fill_limits(k);
}
