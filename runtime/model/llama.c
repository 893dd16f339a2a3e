// SPDX-License-Identifier: MIT
/*
 * Llama 1 to 3.x, Mistral, and, with experts, Mixtral (arXiv 2302.13971, 2310.06825,
 * 2401.04088). Rotates pairs of neighbours; Llama 3.1 and later bring frequency
 * factors.
 */
#include "families.h"

const struct linnet_family linnet_family_llama = {
	.arch = "llama",
	.rope = LINNET_ROPE_NORM,
	.window = LINNET_WINDOW_ALL,
	.rope_factors = true,
	.experts = true,
};
