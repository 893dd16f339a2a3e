/* SPDX-License-Identifier: MIT */
/* Attention of the level dotprod. Contract and body: kernels/attention.h, lanes/attention.h. */
#include "kernels/arm/attention.h"

const struct linnet_attention_ops linnet_attention_dotprod = LANES_ATTENTION;
