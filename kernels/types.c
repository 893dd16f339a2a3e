/* SPDX-License-Identifier: MIT */
/*
 * What each element type is. Keeps the contract of linnet_type_info() in
 * kernels.h; the layouts of the blocks are in blocks.h.
 */
#include "kernels/blocks.h"
#include "kernels/kernels.h"

#define TYPE(type, elems, block, act_)						\
	[LINNET_TYPE_##type] = { #type, elems, sizeof(block), LINNET_ACT_##act_ }

static const struct linnet_type_info types[LINNET_TYPE_COUNT] = {
	TYPE(F32,    1,   float,			F32),
	TYPE(F16,    1,   uint16_t,			F32),
	TYPE(BF16,   1,   uint16_t,			F32),
	TYPE(I32,    1,   int32_t,			F32),
	TYPE(Q4_0,   32,  struct linnet_block_q4_0,	Q32_POW2),
	TYPE(Q4_1,   32,  struct linnet_block_q4_1,	Q32_POW2),
	TYPE(Q5_0,   32,  struct linnet_block_q5_0,	Q32_POW2),
	TYPE(Q5_1,   32,  struct linnet_block_q5_1,	Q32_POW2),
	TYPE(Q8_0,   32,  struct linnet_block_q8_0,	Q32),
	TYPE(IQ4_NL, 32,  struct linnet_block_iq4_nl,	Q32_POW2),
	TYPE(MXFP4,  32,  struct linnet_block_mxfp4,	Q32_POW2),
	TYPE(Q2_K,   256, struct linnet_block_q2_k,	Q256),
	TYPE(Q3_K,   256, struct linnet_block_q3_k,	Q256),
	TYPE(Q4_K,   256, struct linnet_block_q4_k,	Q256),
	TYPE(Q5_K,   256, struct linnet_block_q5_k,	Q256),
	TYPE(Q6_K,   256, struct linnet_block_q6_k,	Q256),
	TYPE(IQ4_XS, 256, struct linnet_block_iq4_xs,	Q256),
};

const struct linnet_type_info *linnet_type_info(uint32_t type)
{
	if (type >= LINNET_TYPE_COUNT || !types[type].block_elems)
		return NULL;
	return &types[type];
}
