/* SPDX-License-Identifier: MIT */
/* The reference level: every entry of the table, in plain C. */
#include "kernels/fill.h"

void linnet_kernels_ref(struct linnet_kernels *k)
{
	linnet_kernels_ref_mat(k);
	linnet_kernels_ref_k(k);
	linnet_kernels_ref_ops(k);
	linnet_kernels_ref_limits(k);
}
