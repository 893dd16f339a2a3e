// SPDX-License-Identifier: MIT
/* The list of families. */
#include "families.h"

const struct linnet_family *const linnet_families[] = {
	&linnet_family_llama,
	&linnet_family_qwen2,
	&linnet_family_qwen3,
	&linnet_family_qwen3moe,
	&linnet_family_phi3,
	&linnet_family_gemma2,
	&linnet_family_gemma3,
	NULL,
};
