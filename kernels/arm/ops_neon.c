/* SPDX-License-Identifier: MIT */
/* NEON: the operations between the products. Contract and bodies: kernels.h, lanes/. */
#include "kernels/arm/arm.h"
#include "kernels/arm/v16_neon.h"

#include "kernels/lanes/ops.h"

void linnet_kernels_neon_ops(struct linnet_kernels *k)
{
	lanes_ops(k);
	k->attn = linnet_attention_neon;
}
