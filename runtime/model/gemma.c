// SPDX-License-Identifier: MIT
/*
 * Gemma 2 (arXiv 2408.00118: soft caps, every other layer with a window) and Gemma 3
 * (arXiv 2503.19786: head norms, five layers with a window for each without, which
 * rotate by a base of their own). Norms are stored with their one added.
 */
#include "families.h"

const struct linnet_family linnet_family_gemma2 = {
	.arch = "gemma2",
	.rope = LINNET_ROPE_NEOX,
	.glu = LINNET_GLU_GELU_TANH,
	.window = LINNET_WINDOW_PERIOD,
	.window_period = 2,
	.window_default = 4096,
	.embd_scaled = true,
	.post_norms = true,
	.softcaps = true,
	.softcap_attn = 50,
	.softcap_final = 30,
	.wide_layers = 46,
};

const struct linnet_family linnet_family_gemma3 = {
	.arch = "gemma3",
	.rope = LINNET_ROPE_NEOX,
	.glu = LINNET_GLU_GELU_TANH,
	.window = LINNET_WINDOW_PERIOD,
	.window_period = 6,
	.embd_scaled = true,
	.post_norms = true,
	.qk_norm = true,
	.rope_base = 1e6f,
	.rope_base_local = 10000,
	.eps = 1e-6f,
	.wide_layers = 62,
};
