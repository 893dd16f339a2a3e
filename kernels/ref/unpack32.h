/* SPDX-License-Identifier: MIT */
/*
 * The types with blocks of 32 as integers and scales: x[i] = d * q[i] + m, with the
 * type's offset applied and m = 0 for types without a minimum. The integers are
 * those of the numeric contract in kernels.h.
 */
#ifndef LINNET_KERNELS_REF_UNPACK32_H
#define LINNET_KERNELS_REF_UNPACK32_H

#include "kernels/blocks.h"
#include "kernels/half.h"

#include <string.h>

typedef uint16_t linnet_u16_any __attribute__((aligned(1), may_alias));
typedef float linnet_f32_any __attribute__((aligned(1), may_alias));

static inline void linnet_unpack_nibbles(int8_t q[32], const uint8_t qs[16])
{
	for (int i = 0; i < 16; i++) {
		q[i] = qs[i] & 15;
		q[i + 16] = qs[i] >> 4;
	}
}

static inline void linnet_unpack_fifth_bits(int8_t q[32], const uint8_t qh[4])
{
	for (int i = 0; i < 32; i++)
		q[i] |= (qh[i / 8] >> i % 8 & 1) << 4;
}

static inline void linnet_unpack_q4_0(int8_t q[32], float *d, float *m,
				      const struct linnet_block_q4_0 *b)
{
	linnet_unpack_nibbles(q, b->qs);
	for (int i = 0; i < 32; i++)
		q[i] -= 8;
	*d = linnet_f16_to_f32(b->d);
	*m = 0;
}

static inline void linnet_unpack_q4_1(int8_t q[32], float *d, float *m,
				      const struct linnet_block_q4_1 *b)
{
	linnet_unpack_nibbles(q, b->qs);
	*d = linnet_f16_to_f32(b->d);
	*m = linnet_f16_to_f32(b->m);
}

static inline void linnet_unpack_q5_0(int8_t q[32], float *d, float *m,
				      const struct linnet_block_q5_0 *b)
{
	linnet_unpack_nibbles(q, b->qs);
	linnet_unpack_fifth_bits(q, b->qh);
	for (int i = 0; i < 32; i++)
		q[i] -= 16;
	*d = linnet_f16_to_f32(b->d);
	*m = 0;
}

static inline void linnet_unpack_q5_1(int8_t q[32], float *d, float *m,
				      const struct linnet_block_q5_1 *b)
{
	linnet_unpack_nibbles(q, b->qs);
	linnet_unpack_fifth_bits(q, b->qh);
	*d = linnet_f16_to_f32(b->d);
	*m = linnet_f16_to_f32(b->m);
}

static inline void linnet_unpack_q8_0(int8_t q[32], float *d, float *m,
				      const struct linnet_block_q8_0 *b)
{
	memcpy(q, b->qs, 32);
	*d = linnet_f16_to_f32(b->d);
	*m = 0;
}

static inline void linnet_unpack_iq4_nl(int8_t q[32], float *d, float *m,
					const struct linnet_block_iq4_nl *b)
{
	linnet_unpack_nibbles(q, b->qs);
	for (int i = 0; i < 32; i++)
		q[i] = linnet_iq4_values[q[i]];
	*d = linnet_f16_to_f32(b->d);
	*m = 0;
}

static inline void linnet_unpack_mxfp4(int8_t q[32], float *d, float *m,
				       const struct linnet_block_mxfp4 *b)
{
	linnet_unpack_nibbles(q, b->qs);
	for (int i = 0; i < 32; i++)
		q[i] = linnet_mxfp4_values[q[i]];
	*d = linnet_e8m0_half_to_f32(b->e);
	*m = 0;
}

#endif
