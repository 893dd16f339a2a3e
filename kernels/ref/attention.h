/* SPDX-License-Identifier: MIT */
/* The definition of attention, see kernels/attention.h. */
#ifndef LINNET_KERNELS_REF_ATTENTION_H
#define LINNET_KERNELS_REF_ATTENTION_H

#include "kernels/attention.h"

extern const struct linnet_attention_ops linnet_attention_ref;

#endif
