/* SPDX-License-Identifier: MIT */
/* AVX-512: the operations between the products. Contract and bodies: kernels.h, lanes/. */
#include "kernels/fill.h"
#include "kernels/x86/attention.h"
#include "kernels/x86/v16_avx512.h"

#include "kernels/lanes/ops.h"

void linnet_kernels_avx512_ops(struct linnet_kernels *k)
{
	lanes_ops(k);
	k->attn = linnet_attention_avx512;
}
