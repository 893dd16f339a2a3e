/* SPDX-License-Identifier: MIT */
/* Parts of linnet_kernels_ref_mat(), one per file. */
#ifndef LINNET_KERNELS_REF_MAT_H
#define LINNET_KERNELS_REF_MAT_H

#include "kernels/kernels.h"

void linnet_ref_fill_dequantize(struct linnet_kernels *k);

#endif
