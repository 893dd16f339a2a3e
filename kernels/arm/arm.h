/* SPDX-License-Identifier: MIT */
/*
 * The AArch64 levels: neon runs on every AArch64; dotprod needs SDOT ("asimddp" in
 * /proc/cpuinfo). They differ in the products of bytes alone.
 */
#ifndef LINNET_KERNELS_ARM_ARM_H
#define LINNET_KERNELS_ARM_ARM_H

#include "kernels/kernels.h"

extern const struct linnet_attention_ops linnet_attention_neon;
extern const struct linnet_attention_ops linnet_attention_dotprod;

/* Activations and float products; the same for all levels. */
void linnet_arm_act(struct linnet_kernels *k);
void linnet_arm_f32(struct linnet_kernels *k);

void linnet_kernels_neon_ops(struct linnet_kernels *k);
void linnet_arm_q32_neon(struct linnet_kernels *k);
void linnet_arm_q32_dotprod(struct linnet_kernels *k);
void linnet_arm_k_neon(struct linnet_kernels *k);
void linnet_arm_k_dotprod(struct linnet_kernels *k);
void linnet_arm_limits_neon(struct linnet_kernels *k);
void linnet_arm_limits_dotprod(struct linnet_kernels *k);

#endif
