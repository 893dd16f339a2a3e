// SPDX-License-Identifier: MIT
/*
 * Phi-3 (arXiv 2404.14219): fused query/key/value and gate/up matrices, LongRoPE
 * factors for short and long contexts.
 */
#include "families.h"

const struct linnet_family linnet_family_phi3 = {
	.arch = "phi3",
	.rope = LINNET_ROPE_NEOX,
	.window = LINNET_WINDOW_ALL,
	.rope_factors = true,
};
