/* SPDX-License-Identifier: MIT */
/* AVX2: the operations between the products. Contract and bodies: kernels.h, lanes/. */
#include "kernels/fill.h"
#include "kernels/x86/attention.h"
#include "kernels/x86/v16_avx2.h"

#include "kernels/lanes/ops.h"

void linnet_kernels_avx2_ops(struct linnet_kernels *k)
{
	lanes_ops(k);
	k->attn = linnet_attention_avx2;
}
