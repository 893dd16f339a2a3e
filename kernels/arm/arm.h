/* SPDX-License-Identifier: MIT */
/*
 * The AArch64 levels: neon runs on every AArch64; dotprod needs SDOT ("asimddp" in
 * /proc/cpuinfo), i8mm SMMLA as well ("i8mm"). They differ in the products of bytes alone,
 * i8mm from dotprod in those with many tokens.
 */
#ifndef LINNET_KERNELS_ARM_ARM_H
#define LINNET_KERNELS_ARM_ARM_H

#include "kernels/kernels.h"

extern const struct linnet_attention_ops linnet_attention_neon;
extern const struct linnet_attention_ops linnet_attention_dotprod;

/* Activations and float products; activations of levels above neon replace some of neon's. */
void linnet_arm_act(struct linnet_kernels *k);
void linnet_arm_act_dot(struct linnet_kernels *k);
void linnet_arm_f32(struct linnet_kernels *k);

void linnet_kernels_neon_ops(struct linnet_kernels *k);
void linnet_arm_q32_neon(struct linnet_kernels *k);
void linnet_arm_q32_dotprod(struct linnet_kernels *k);
void linnet_arm_k_neon(struct linnet_kernels *k);
void linnet_arm_k_dotprod(struct linnet_kernels *k);
void linnet_arm_q32_i8mm(struct linnet_kernels *k);
void linnet_arm_k_i8mm(struct linnet_kernels *k);
void linnet_arm_limits_neon(struct linnet_kernels *k);
void linnet_arm_limits_dotprod(struct linnet_kernels *k);
void linnet_arm_limits_i8mm(struct linnet_kernels *k);

void linnet_kernels_i8mm(struct linnet_kernels *k);	/* a filler, see kernels.h */

#endif
