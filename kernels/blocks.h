/* SPDX-License-Identifier: MIT */
/*
 * Blocks of the quantized types as they lie in a GGUF file: little-endian, packed,
 * at any alignment. A d, m or dmin of 16 bits is an IEEE half.
 *
 * Element i of a 32-block with nibbles is the low nibble of qs[i] for i < 16 and
 * the high nibble of qs[i - 16] above; bit i of qh is its fifth bit.
 */
#ifndef LINNET_KERNELS_BLOCKS_H
#define LINNET_KERNELS_BLOCKS_H

#include <stdint.h>

#define LINNET_BLOCK(name, bytes, ...)						\
	struct linnet_block_##name {						\
		__VA_ARGS__							\
	} __attribute__((packed));						\
	_Static_assert(sizeof(struct linnet_block_##name) == (bytes), #name)

/* x = d * (q - 8) */
LINNET_BLOCK(q4_0, 18, uint16_t d; uint8_t qs[16];);
/* x = d * q + m */
LINNET_BLOCK(q4_1, 20, uint16_t d; uint16_t m; uint8_t qs[16];);
/* x = d * (q - 16) */
LINNET_BLOCK(q5_0, 22, uint16_t d; uint8_t qh[4]; uint8_t qs[16];);
/* x = d * q + m */
LINNET_BLOCK(q5_1, 24, uint16_t d; uint16_t m; uint8_t qh[4]; uint8_t qs[16];);
/* x = d * q */
LINNET_BLOCK(q8_0, 34, uint16_t d; int8_t qs[32];);
/* x = d * linnet_iq4_values[q] */
LINNET_BLOCK(iq4_nl, 18, uint16_t d; uint8_t qs[16];);
/* x = 2^(e - 128) * linnet_mxfp4_values[q] */
LINNET_BLOCK(mxfp4, 17, uint8_t e; uint8_t qs[16];);

/*
 * Super-blocks of 256. Two-bit parts: bits 2j and 2j + 1 of byte 32h + i belong to
 * element 128h + 32j + i.
 */

/* 16 sub-blocks of 16: x = d * (scales[j] & 15) * q - dmin * (scales[j] >> 4) */
LINNET_BLOCK(q2_k, 84, uint8_t scales[16]; uint8_t qs[64]; uint16_t d; uint16_t dmin;);
/*
 * 16 sub-blocks of 16: x = d * (scale_j - 32) * (q - 4), the third bit of element
 * 32k + i in bit k of hmask[i]; 6-bit scales: 16 low nibbles in scales[0..7], the
 * high bits of scale 4k + i in bits 2k, 2k + 1 of scales[8 + i].
 */
LINNET_BLOCK(q3_k, 110, uint8_t hmask[32]; uint8_t qs[64]; uint8_t scales[12]; uint16_t d;);
/*
 * 8 sub-blocks of 32: x = d * scale_j * q - dmin * min_j; sub-blocks 2k and 2k + 1
 * are the low and the high nibbles of qs[32k..32k + 31]. Scales and minima have 6
 * bits: scale_j and min_j in the low bits of scales[j] and scales[4 + j] for j < 4;
 * above, in nibbles of scales[4 + j] with high bits on top of scales[j - 4], scales[j].
 */
LINNET_BLOCK(q4_k, 144, uint16_t d; uint16_t dmin; uint8_t scales[12]; uint8_t qs[128];);
/* As Q4_K, with the fifth bit of element 32k + i in bit k of qh[i] */
LINNET_BLOCK(q5_k, 176, uint16_t d; uint16_t dmin; uint8_t scales[12]; uint8_t qh[32];
	     uint8_t qs[128];);
/*
 * 16 sub-blocks of 16: x = d * scales[j] * (q - 32). Low nibbles: byte 64h + i of ql
 * has those of elements 128h + i and 128h + 64 + i; qh is a two-bit part.
 */
LINNET_BLOCK(q6_k, 210, uint8_t ql[128]; uint8_t qh[64]; int8_t scales[16]; uint16_t d;);
/*
 * 8 sub-blocks of 32 with the nibbles of a 32-block each: x = d * (scale_j - 32) *
 * linnet_iq4_values[q]; the low 4 bits of scale_j in nibble j of scales_l, its high
 * bits in bits 2j and 2j + 1 of scales_h.
 */
LINNET_BLOCK(iq4_xs, 136, uint16_t d; uint16_t scales_h; uint8_t scales_l[4]; uint8_t qs[128];);

#undef LINNET_BLOCK

__attribute__((unused))
static const int8_t linnet_iq4_values[16] = {
	-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
};

/* Twice the E2M1 values, so that they are integers. */
__attribute__((unused))
static const int8_t linnet_mxfp4_values[16] = {
	0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12,
};

#endif
