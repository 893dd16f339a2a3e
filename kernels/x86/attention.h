/* SPDX-License-Identifier: MIT */
/* Attention of the x86 levels, see kernels/attention.h. */
#ifndef LINNET_KERNELS_X86_ATTENTION_H
#define LINNET_KERNELS_X86_ATTENTION_H

#include "kernels/attention.h"

extern const struct linnet_attention_ops linnet_attention_avx2;
extern const struct linnet_attention_ops linnet_attention_avx512;

#endif
