// SPDX-License-Identifier: MIT
/*
 * Qwen2 and 2.5 (arXiv 2407.10671: biases on queries, keys and values), Qwen3 and its
 * mixtures of experts (arXiv 2505.09388: norms on each head instead).
 */
#include "families.h"

const struct linnet_family linnet_family_qwen2 = {
	.arch = "qwen2",
	.rope = LINNET_ROPE_NEOX,
};

const struct linnet_family linnet_family_qwen3 = {
	.arch = "qwen3",
	.rope = LINNET_ROPE_NEOX,
	.qk_norm = true,
};

const struct linnet_family linnet_family_qwen3moe = {
	.arch = "qwen3moe",
	.rope = LINNET_ROPE_NEOX,
	.qk_norm = true,
	.experts = true,
};
