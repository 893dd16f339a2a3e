/* SPDX-License-Identifier: MIT */
/* Parts of linnet_kernels_ref_k(), one per file. */
#ifndef LINNET_KERNELS_REF_K_H
#define LINNET_KERNELS_REF_K_H

#include "kernels/kernels.h"

void linnet_ref_fill_dequantize_k(struct linnet_kernels *k);

#endif
