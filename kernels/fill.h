/* SPDX-License-Identifier: MIT */
/*
 * The parts of each level's filler, one per area: mat (activations and the products
 * of the F32 and Q32 types), k (the Q256 types), ops (everything else), limits (what
 * the machine could do). A level is
 * filled on top of the lower ones. A part that replaces the layout of an activation
 * replaces all products that read it.
 */
#ifndef LINNET_KERNELS_FILL_H
#define LINNET_KERNELS_FILL_H

#include "kernels/kernels.h"

void linnet_kernels_ref_mat(struct linnet_kernels *k);
void linnet_kernels_ref_k(struct linnet_kernels *k);
void linnet_kernels_ref_ops(struct linnet_kernels *k);

void linnet_kernels_ref_limits(struct linnet_kernels *k);

void linnet_kernels_avx2_mat(struct linnet_kernels *k);
void linnet_kernels_avx2_k(struct linnet_kernels *k);
void linnet_kernels_avx2_ops(struct linnet_kernels *k);

void linnet_kernels_avx512_mat(struct linnet_kernels *k);
void linnet_kernels_avx512_k(struct linnet_kernels *k);
void linnet_kernels_avx512_ops(struct linnet_kernels *k);
void linnet_kernels_avx512_limits(struct linnet_kernels *k);

#endif
