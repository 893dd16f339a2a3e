/* SPDX-License-Identifier: MIT */
/* The AArch64 levels; what they are is said in arm.h. */
#include "kernels/arm/arm.h"
#include "kernels/fill.h"

void linnet_kernels_neon(struct linnet_kernels *k)
{
	linnet_arm_act(k);
	linnet_arm_f32(k);
	linnet_arm_q32_neon(k);
	linnet_arm_k_neon(k);
	linnet_kernels_neon_ops(k);
	linnet_arm_limits_neon(k);
}

void linnet_kernels_dotprod(struct linnet_kernels *k)
{
	linnet_arm_act_dot(k);
	linnet_arm_q32_dotprod(k);
	linnet_arm_k_dotprod(k);
	linnet_arm_limits_dotprod(k);
	k->attn = linnet_attention_dotprod;
}

void linnet_kernels_i8mm(struct linnet_kernels *k)
{
	linnet_arm_q32_i8mm(k);
	linnet_arm_k_i8mm(k);
	linnet_arm_limits_i8mm(k);
}
